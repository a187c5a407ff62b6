//! Sends batches of due tenants to other invocations of the exporter, through SQS.

use std::time::Duration;

use audit_log_core::{batch::Batch, failure::Failure, ports::Queue};
use aws_config::SdkConfig;
use aws_sdk_sqs::{
    Client,
    types::{BatchResultErrorEntry, SendMessageBatchRequestEntry},
};
use futures::{StreamExt as _, stream};

use crate::errors::AwsError;

/// By "SendMessageBatch" in the SQS API reference.
const MAX_MESSAGES_PER_CALL: usize = 10;

const MAX_CONCURRENT_CALLS: usize = 8;

/// How often a message is sent that SQS refuses in a call that succeeds.
const MAX_ATTEMPTS: u32 = 5;

#[derive(Debug, Clone)]
pub struct ExportQueue {
    client: Client,
    url: String,
}

/// A batch with its index in the whole list.
type Indexed<'a> = (usize, &'a Batch);

impl ExportQueue {
    pub fn new(shared: &SdkConfig, url: impl Into<String>) -> Self {
        Self { client: Client::new(shared), url: url.into() }
    }

    /// Sends up to ten batches in one call. Returns those that were not sent.
    async fn send_chunk(&self, mut pending: Vec<Indexed<'_>>) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for attempt in 1.. {
            // An entry's id is its index in this call. `build` can't fail: the entry has all required fields.
            let entry = |(index, (_, batch)): (usize, &Indexed<'_>)| {
                let entry = SendMessageBatchRequestEntry::builder().id(index.to_string());
                entry.message_body(batch.to_body()).build().ok()
            };
            let entries: Vec<_> = pending.iter().enumerate().filter_map(entry).collect();
            let sent = self.client.send_message_batch().queue_url(&self.url).set_entries(Some(entries)).send().await;
            let (accepted, refused) = match sent {
                Ok(output) => (output.successful, output.failed),
                Err(error) => {
                    let failure = AwsError::from_sdk(&error).sqs_failure();
                    unsent.extend(pending.iter().map(|(index, _)| (*index, failure.clone())));
                    break;
                }
            };
            // Only what SQS names as successful is sent.
            let mut again = Vec::new();
            for (position, indexed) in pending.iter().enumerate() {
                let is_this = |id: &str| id.parse() == Ok(position);
                if accepted.iter().any(|entry| is_this(entry.id())) {
                    continue;
                }
                let refused = refused.iter().find(|entry| is_this(entry.id()));
                let is_permanent = refused.is_some_and(BatchResultErrorEntry::sender_fault);
                if is_permanent || attempt >= MAX_ATTEMPTS {
                    let code = refused.map_or("ResponseError", BatchResultErrorEntry::code);
                    unsent.push((indexed.0, AwsError::from_batch_entry(code).sqs_failure()));
                } else {
                    again.push(*indexed);
                }
            }
            if again.is_empty() {
                break;
            }
            pending = again;
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        }
        unsent
    }
}

impl Queue for ExportQueue {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let indexed: Vec<Indexed<'_>> = batches.iter().enumerate().collect();
        let calls: Vec<_> =
            indexed.chunks(MAX_MESSAGES_PER_CALL).map(|chunk| self.send_chunk(chunk.to_vec())).collect();
        let unsent: Vec<Vec<_>> = stream::iter(calls).buffer_unordered(MAX_CONCURRENT_CALLS).collect().await;
        unsent.into_iter().flatten().collect()
    }
}
