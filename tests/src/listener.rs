//! A subscriber to the platform's event bus, with a rule and a queue.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::{LocalAws, PLATFORM_ACCOUNT, tools};

/// The local AWS delivers events before it answers the publisher.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(20);

/// A listener for one tenant's notifications.
#[derive(Debug)]
pub struct Listener<'a> {
    aws: &'a LocalAws,
    queue_url: String,
}

impl<'a> Listener<'a> {
    /// Makes the rule and the queue.
    pub async fn new(aws: &'a LocalAws, bus: &str, tenant: &str) -> Result<Self> {
        let call = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
        let name = format!("listener-to-{tenant}");
        let queue = call(&["sqs", "create-queue", "--queue-name", &name]).await?;
        let queue_url = queue["QueueUrl"].as_str().context("a queue without a URL")?.to_owned();
        let get = ["sqs", "get-queue-attributes", "--attribute-names", "QueueArn", "--queue-url", &queue_url];
        let attributes = call(&get).await?;
        let queue_arn = attributes["Attributes"]["QueueArn"].as_str().context("a queue without an ARN")?;
        let pattern = json!({ "source": ["audit-log-export"], "detail": { "tenantId": [tenant] } }).to_string();
        call(&["events", "put-rule", "--event-bus-name", bus, "--name", &name, "--event-pattern", &pattern]).await?;
        let target = format!("Id=queue,Arn={queue_arn}");
        call(&["events", "put-targets", "--event-bus-name", bus, "--rule", &name, "--targets", &target]).await?;
        Ok(Self { aws, queue_url })
    }

    /// Receives the next `count` events, in any order; fewer if no more come in time.
    pub async fn receive(&self, count: usize) -> Result<Vec<Value>> {
        let mut events = Vec::new();
        let until = tokio::time::Instant::now() + LISTEN_TIMEOUT;
        while events.len() < count && tokio::time::Instant::now() < until {
            let receive = ["sqs", "receive-message", "--queue-url", &self.queue_url];
            let receive = [&receive[..], &["--wait-time-seconds", "2", "--max-number-of-messages", "10"]].concat();
            let received = tools::aws_cli(self.aws, PLATFORM_ACCOUNT, &receive).await?;
            for message in received["Messages"].as_array().into_iter().flatten() {
                events.push(serde_json::from_str(message["Body"].as_str().context("no body")?)?);
                let handle = message["ReceiptHandle"].as_str().context("no receipt handle")?;
                let delete = ["sqs", "delete-message", "--queue-url", &self.queue_url, "--receipt-handle", handle];
                tools::aws_cli(self.aws, PLATFORM_ACCOUNT, &delete).await?;
            }
        }
        Ok(events)
    }
}
