//! The tenants table: configs, watermarks, receipts and the indexes `due` and `saved`.

mod connections;
mod export;
mod fleet;
mod reading;
mod settings;

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    ports::Conditional,
    record::NewEvent,
    records::StoredWatermark,
};
use aws_sdk_dynamodb::{
    Client,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, TransactWriteItem},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use chrono::TimeDelta;

use crate::{
    answers::Answer,
    attributes::{Item, n, s},
    events::EventsTable,
};

/// How often a transaction that met another one, or a batch that came back in part, is tried again.
const TRIES: u32 = 8;

/// The tenants' records in DynamoDB, and the audit events that go with a change of them.
#[derive(Debug, Clone)]
pub struct TenantsTable {
    client: Client,
    table: String,
    events: EventsTable,
    within: Duration,
}

impl TenantsTable {
    /// The table of that name. News are recorded in `events`, or given up with the change that they tell of, within
    /// half of `settle`.
    pub fn new(client: Client, table: impl Into<String>, events: EventsTable, settle: TimeDelta) -> Self {
        Self { client, table: table.into(), events, within: writes_within(settle) }
    }

    /// Writes all or nothing, and with it the news. News whose id is known were told before: then the rest is written
    /// alone.
    async fn transact_and_tell(
        &self,
        mut items: Vec<TransactWriteItem>,
        news: Option<&NewEvent>,
        doing: &str,
    ) -> Result<Conditional, Failure> {
        let change = items.len();
        let Some(news) = news else { return transact(&self.client, &items, doing).await.map(Conditional::from) };
        items.extend(self.events.puts(news));
        match within(self.within, doing, transact(&self.client, &items, doing)).await? {
            Transacted::Refused(failed) if failed.iter().all(|(index, _)| *index >= change) => {
                items.truncate(change);
                transact(&self.client, &items, doing).await.map(Conditional::from)
            }
            transacted => Ok(transacted.into()),
        }
    }
}

/// How long a write of an event may take: half of the time that windows settle for, or an event could come to lie in a
/// window that was read. At least two seconds, for whoever lets nothing settle, and at most thirty.
pub(crate) fn writes_within(settle: TimeDelta) -> Duration {
    (settle / 2).to_std().unwrap_or_default().clamp(Duration::from_secs(2), Duration::from_secs(30))
}

/// What comes in time, or the failure to.
pub(crate) async fn within<T>(
    time: Duration,
    doing: &str,
    write: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let late = |_| Failure::new(Code::Unavailable, format!("DynamoDB did not answer in time while {doing}."));
    tokio::time::timeout(time, write).await.map_err(late)?
}

/// How a transaction ended.
pub(crate) enum Transacted {
    Written,
    /// Conditions did not hold: those of the items with these indexes, which are as they are here where that was asked
    /// for. Nothing was written.
    Refused(Vec<(usize, Item)>),
}

impl From<Transacted> for Conditional {
    fn from(transacted: Transacted) -> Self {
        match transacted {
            Transacted::Written => Self::Written,
            Transacted::Refused(_) => Self::LostRace,
        }
    }
}

/// Writes all or nothing. Only a condition that does not hold is a refusal; two transactions on one item at the same
/// time are not, and are tried again.
///
/// By "TransactWriteItems" in the DynamoDB API reference: a cancelled transaction gives a reason for each item, in their
/// order, and the SDK does not retry it.
pub(crate) async fn transact(client: &Client, items: &[TransactWriteItem], doing: &str) -> Result<Transacted, Failure> {
    for tried in 1.. {
        let sent = client.transact_write_items().set_transact_items(Some(items.to_vec())).send().await;
        let Err(error) = sent else { break };
        let reasons = match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => cancelled.cancellation_reasons(),
            _ => &[],
        };
        let codes = || reasons.iter().map(|reason| reason.code().unwrap_or_default());
        let failed: Vec<(usize, Item)> = reasons
            .iter()
            .enumerate()
            .filter(|(_, reason)| reason.code() == Some("ConditionalCheckFailed"))
            .map(|(index, reason)| (index, reason.item.clone().unwrap_or_default()))
            .collect();
        if !failed.is_empty() {
            return Ok(Transacted::Refused(failed));
        }
        let passes = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
        let worth_retrying = codes().any(|code| passes.contains(&code))
            || matches!(error.as_service_error(), Some(TransactWriteItemsError::TransactionInProgressException(_)));
        if !worth_retrying || tried >= TRIES {
            let failure = Answer::of(&error).from_dynamodb(doing);
            return Err(if worth_retrying { still_busy(doing) } else { failure });
        }
        pause(tried).await;
    }
    Ok(Transacted::Written)
}

/// Writes one item. A conflict with a transaction is no lost race, and the SDK does not retry it.
async fn write<Done, E, Sending>(doing: &str, send: impl Fn() -> Sending) -> Result<Conditional, Failure>
where
    E: ProvideErrorMetadata,
    Sending: Future<Output = Result<Done, SdkError<E, HttpResponse>>>,
{
    for tried in 1.. {
        let Err(error) = send().await else { break };
        match error.code() {
            Some("ConditionalCheckFailedException") => return Ok(Conditional::LostRace),
            Some("TransactionConflictException") if tried < TRIES => pause(tried).await,
            Some("TransactionConflictException") => return Err(still_busy(doing)),
            _ => return Err(Answer::of(&error).from_dynamodb(doing)),
        }
    }
    Ok(Conditional::Written)
}

fn still_busy(doing: &str) -> Failure {
    Failure::new(Code::Throttled, format!("DynamoDB was still busy with the same items while {doing}."))
}

/// Longer before each further try: 25 ms, 50 ms, … 3.2 s.
async fn pause(tried: u32) {
    tokio::time::sleep(Duration::from_millis(25 << tried.min(7))).await;
}

/// The condition that a watermark is as it was read, and the values that it names.
fn unchanged(as_read: &StoredWatermark) -> (String, Vec<(String, AttributeValue)>) {
    let fields = [
        ("exported_until", &as_read.exported_until),
        ("next_due", &as_read.next_due),
        ("due_shard", &as_read.due_shard),
    ];
    let (mut conditions, mut values) = (vec!["attribute_exists(tenant_id)".to_owned()], Vec::new());
    for (name, value) in fields {
        match value {
            None => conditions.push(format!("attribute_not_exists({name})")),
            Some(value) => {
                conditions.push(format!("{name} = :read_{name}"));
                values.push((format!(":read_{name}"), s(value)));
            }
        }
    }
    (conditions.join(" AND "), values)
}

/// The same, and that nobody has marked it since, or noted the first failure.
fn undisturbed(as_read: &StoredWatermark) -> (String, Vec<(String, AttributeValue)>) {
    let (condition, mut values) = unchanged(as_read);
    let failures = "attribute_not_exists(consecutive_failures) OR consecutive_failures = :no_failures";
    let failures = if as_read.failing { "consecutive_failures > :no_failures" } else { failures };
    let condition = format!("{condition} AND ({failures})");
    values.push((":no_failures".to_owned(), n(0)));
    let condition = match &as_read.disturbed {
        None => format!("{condition} AND attribute_not_exists(disturbed)"),
        Some(count) => {
            values.push((":read_disturbed".to_owned(), n(count)));
            format!("{condition} AND disturbed = :read_disturbed")
        }
    };
    match &as_read.progress {
        None => (format!("{condition} AND attribute_not_exists(progress)"), values),
        Some(progress) => {
            values.push((":read_progress".to_owned(), s(progress)));
            (format!("{condition} AND progress = :read_progress"), values)
        }
    }
}

/// The condition that a config is at the version that was read; `#version` stands for `version`.
fn at_version(version: u64) -> &'static str {
    if version == 0 { "attribute_not_exists(#version) OR #version = :version" } else { "#version = :version" }
}
