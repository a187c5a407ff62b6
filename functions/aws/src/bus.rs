//! The bus on which others hear of how exports fare.

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
use metrics::counter;

use crate::{errors::AwsError, telemetry::UNPUBLISHED};

/// How often an event that EventBridge left out of a call that succeeded is sent.
const MAX_ATTEMPTS: u32 = 4;

/// How long all of it may take: a tenant's export waits, and the notification stays in the outbox in any case.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The bus of a name.
#[derive(Debug, Clone)]
pub struct EventBus {
    client: Client,
    name: String,
}

impl EventBus {
    /// The bus of that name, in the account and region of the function.
    pub fn new(shared: &SdkConfig, name: impl Into<String>) -> Self {
        Self { client: Client::new(shared), name: name.into() }
    }

    async fn put(&self, notification: &Notification) -> Result<(), Failure> {
        for tried in 1.. {
            let sent = self.client.put_events().entries(self.entry(notification)).send().await;
            let answer = sent.map_err(|error| AwsError::of(&error).from_eventbridge())?;
            let result = answer.entries().first();
            // What has an id there is published, and nothing else.
            if result.is_some_and(|result| result.event_id.is_some()) {
                break;
            }
            let code = result.and_then(PutEventsResultEntry::error_code).unwrap_or("ResponseError");
            // By "PutEventsResultEntry" in the EventBridge API reference, the rest fails at any further try, too.
            let passes = ["InternalException", "InternalFailure", "ThrottlingException", "ResponseError"];
            if !passes.contains(&code) || tried >= MAX_ATTEMPTS {
                return Err(AwsError::of_entry(code).from_eventbridge());
            }
            tokio::time::sleep(Duration::from_millis(100 << tried)).await;
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
        let late = |_| Err(Failure::new(Code::Unavailable, "EventBridge did not answer in time."));
        let published = tokio::time::timeout(TIMEOUT, self.put(notification)).await.unwrap_or_else(late);
        published.inspect_err(|_| counter!(UNPUBLISHED).increment(1))
    }
}
