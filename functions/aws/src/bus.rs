//! Publishes notifications on the event bus.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    notification::{Notification, SOURCE},
    ports::Bus,
};
use aws_config::SdkConfig;
use aws_sdk_eventbridge::{
    Client,
    types::{PutEventsRequestEntry, PutEventsResultEntry},
};

use crate::{errors::AwsError, telemetry::Metric};

/// How often an event is sent that EventBridge refuses in a call that succeeds.
const MAX_ATTEMPTS: u32 = 4;

/// Short, because a tenant's export waits and the notification stays in the outbox.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct EventBus {
    client: Client,
    name: String,
}

impl EventBus {
    /// `name` is a bus in the account and region of the function.
    pub fn new(shared: &SdkConfig, name: impl Into<String>) -> Self {
        Self { client: Client::new(shared), name: name.into() }
    }

    async fn put(&self, notification: &Notification) -> Result<(), Failure> {
        for attempt in 1.. {
            let sent = self.client.put_events().entries(self.entry(notification)).send().await;
            let output = sent.map_err(|error| AwsError::from_sdk(&error).eventbridge_failure())?;
            let result = output.entries().first();
            // Only an event with an id is published.
            if result.is_some_and(|result| result.event_id.is_some()) {
                break;
            }
            let code = result.and_then(PutEventsResultEntry::error_code).unwrap_or("ResponseError");
            // By "PutEventsResultEntry" in the EventBridge API reference, retries can't help with other codes.
            let transient = ["InternalException", "InternalFailure", "ThrottlingException", "ResponseError"];
            if !transient.contains(&code) || attempt >= MAX_ATTEMPTS {
                return Err(AwsError::from_batch_entry(code).eventbridge_failure());
            }
            tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
        }
        Ok(())
    }

    fn entry(&self, notification: &Notification) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(notification.kind.detail_type())
            .time(aws_smithy_types::DateTime::from_secs(notification.at.timestamp()))
            .detail(notification.detail().to_string())
            .build()
    }
}

impl Bus for EventBus {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        let timed_out = |_| Err(Failure::new(Code::Unavailable, "EventBridge did not answer in time."));
        let published = tokio::time::timeout(PUBLISH_TIMEOUT, self.put(notification)).await.unwrap_or_else(timed_out);
        published.inspect_err(|_| Metric::UnpublishedNotifications.add(1))
    }
}
