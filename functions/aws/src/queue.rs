//! The queue in which due tenants wait for another invocation of the exporter.

use std::time::Duration;

use audit_log_core::{batch::Batch, failure::Failure, ports::Queue};
use aws_config::SdkConfig;
use aws_sdk_sqs::{
    Client,
    types::{BatchResultErrorEntry, SendMessageBatchRequestEntry},
};
use futures::{StreamExt as _, stream};

use crate::errors::AwsError;

/// How many messages SendMessageBatch takes, by the SQS API reference.
const MESSAGES_PER_BATCH: usize = 10;

/// How many of those calls are on their way side by side.
const CONCURRENCY: usize = 8;

/// How often messages that SQS left out of a call that succeeded are sent again.
const MAX_ATTEMPTS: u32 = 5;

/// The queue behind a URL.
#[derive(Debug, Clone)]
pub struct ExportQueue {
    client: Client,
    url: String,
}

/// A batch with its place among those that are to be sent.
type Placed<'a> = (usize, &'a Batch);

impl ExportQueue {
    /// The queue of that URL.
    pub fn new(shared: &SdkConfig, url: impl Into<String>) -> Self {
        Self { client: Client::new(shared), url: url.into() }
    }

    /// Sends some; comes back with what was not sent.
    async fn send_some(&self, mut left: Vec<Placed<'_>>) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for tried in 1.. {
            // An entry's id is its index among those of this call. It has all that its builder asks for.
            let entry = |(index, (_, batch)): (usize, &Placed<'_>)| {
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
                entry.message_body(batch.to_body()).build().ok()
            };
            let entries: Vec<_> = left.iter().enumerate().filter_map(entry).collect();
            let sent = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
            let (taken, refused) = match sent {
                Ok(answer) => (answer.successful, answer.failed),
                Err(error) => {
                    let failure = AwsError::of(&error).from_sqs();
                    unsent.extend(left.iter().map(|(place, _)| (*place, failure.clone())));
                    break;
                }
            };
            // What is named as taken is sent, and nothing else.
            let mut again = Vec::new();
            for (index, placed) in left.iter().enumerate() {
                let is_this = |id: &str| id.parse() == Ok(index);
                if taken.iter().any(|entry| is_this(entry.id())) {
                    continue;
                }
                let refused = refused.iter().find(|entry| is_this(entry.id()));
                let hopeless = refused.is_some_and(BatchResultErrorEntry::sender_fault);
                if hopeless || tried >= MAX_ATTEMPTS {
                    let code = refused.map_or("ResponseError", BatchResultErrorEntry::code);
                    unsent.push((placed.0, AwsError::of_entry(code).from_sqs()));
                } else {
                    again.push(*placed);
                }
            }
            if again.is_empty() {
                break;
            }
            left = again;
            tokio::time::sleep(Duration::from_millis(100 << tried)).await;
        }
        unsent
    }
}

impl Queue for ExportQueue {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let placed: Vec<Placed<'_>> = batches.iter().enumerate().collect();
        let calls: Vec<_> = placed.chunks(MESSAGES_PER_BATCH).map(|some| self.send_some(some.to_vec())).collect();
        let unsent: Vec<Vec<_>> = stream::iter(calls).buffer_unordered(CONCURRENCY).collect().await;
        unsent.into_iter().flatten().collect()
    }
}
