//! The bus on which others hear of how exports fare.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    notice::{Notice, SOURCE},
    ports::Bus,
};
use aws_config::SdkConfig;
use aws_sdk_eventbridge::{
    Client,
    types::{PutEventsRequestEntry, PutEventsResultEntry},
};
use metrics::counter;

use crate::{answers::Answer, telemetry::UNPUBLISHED};

/// How many events PutEvents takes, by the EventBridge API reference.
const EVENTS_AT_ONCE: usize = 10;

/// How often events that EventBridge left out of a call that succeeded are sent again.
const TRIES: u32 = 4;

/// How long all of it may take: a tenant's export waits, and its failure is recorded as an audit event in any case.
const WITHIN: Duration = Duration::from_secs(5);

/// The bus of a name.
#[derive(Debug, Clone)]
pub struct EventBus {
    client: Client,
    name: String,
}

/// A notice with its place among those that are to be published.
type Placed<'a> = (usize, &'a Notice);

impl EventBus {
    /// The bus of that name, in the account and region of the function.
    pub fn new(shared: &SdkConfig, name: impl Into<String>) -> Self {
        Self { client: Client::new(shared), name: name.into() }
    }

    /// Publishes some, and takes whatever is published out of `left`; comes back with why the others are not, if that was
    /// said.
    async fn publish_some(&self, left: &mut Vec<Placed<'_>>) -> Option<Failure> {
        let mut why = None;
        for tried in 1.. {
            let entries: Vec<_> = left.iter().map(|(_, notice)| self.entry(notice)).collect();
            let sent = self.client.put_events().set_entries(Some(entries)).send().await;
            let results = match sent {
                Ok(answer) => answer.entries.unwrap_or_default(),
                Err(error) => return Some(Answer::of(&error).from_eventbridge()),
            };
            // The results are in the order of the entries. What has an id there is published, and nothing else.
            let mut results = results.iter();
            let mut hopeless = false;
            left.retain(|_| {
                let result = results.next();
                if result.is_some_and(|result| result.event_id.is_some()) {
                    return false;
                }
                let code = result.and_then(PutEventsResultEntry::error_code).unwrap_or("ResponseError");
                // By "PutEventsResultEntry" in the EventBridge API reference, the rest fails at any further try, too.
                hopeless |=
                    !["InternalException", "InternalFailure", "ThrottlingException", "ResponseError"].contains(&code);
                why = Some(Answer::of_entry(code).from_eventbridge());
                true
            });
            if left.is_empty() || hopeless || tried >= TRIES {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100 << tried)).await;
        }
        why
    }

    fn entry(&self, notice: &Notice) -> PutEventsRequestEntry {
        PutEventsRequestEntry::builder()
            .event_bus_name(&self.name)
            .source(SOURCE)
            .detail_type(notice.kind.detail_type())
            .time(aws_smithy_types::DateTime::from_secs(notice.at.timestamp()))
            .detail(notice.detail().to_string())
            .build()
    }
}

impl Bus for EventBus {
    async fn publish(&self, notices: &[Notice]) -> Vec<(usize, Failure)> {
        let placed: Vec<Placed<'_>> = notices.iter().enumerate().collect();
        let mut unpublished = Vec::new();
        for some in placed.chunks(EVENTS_AT_ONCE) {
            let mut left = some.to_vec();
            let publishing = tokio::time::timeout(WITHIN, self.publish_some(&mut left)).await;
            let late = || Failure::new(Code::Unavailable, "EventBridge did not answer in time.");
            let why = publishing.ok().flatten().unwrap_or_else(late);
            unpublished.extend(left.into_iter().map(|(place, _)| (place, why.clone())));
        }
        for (place, Failure { code, message, .. }) in &unpublished {
            let notice = notices.get(*place);
            tracing::error!(
                tenant = notice.map(|it| it.tenant.as_str()),
                notice = notice.map(|it| it.kind.detail_type()),
                code = %code,
                reason = message,
                "a notice was not published"
            );
        }
        counter!(UNPUBLISHED).increment(unpublished.len() as u64);
        unpublished
    }
}
