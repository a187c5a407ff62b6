//! The tenants table: configs, watermarks, receipts, outboxes and the indexes `due`, `saved` and `pending`.

mod connections;
mod export;
mod fleet;
mod outbox;
mod reading;
mod settings;

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    ports::{Conditional, Fence},
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
    attributes::{Item, n, s},
    errors::AwsError,
    events::EventsTable,
};

/// How often a transaction that met another one, or a batch that came back in part, is tried again.
const MAX_ATTEMPTS: u32 = 8;

/// The tenants' records in DynamoDB, and the audit events that go with a change of them.
#[derive(Debug, Clone)]
pub struct TenantsTable {
    client: Client,
    table: String,
    events: EventsTable,
    within: Duration,
}

impl TenantsTable {
    /// The table of that name. Audit events of changes are recorded in `events`, or given up with the change that they tell of,
    /// within half of `settle`.
    pub fn new(client: Client, table: impl Into<String>, events: EventsTable, settle: TimeDelta) -> Self {
        Self { client, table: table.into(), events, within: writes_within(settle) }
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
            Transacted::Refused(_) => Self::ConditionFailed,
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
        if !worth_retrying || tried >= MAX_ATTEMPTS {
            let failure = AwsError::of(&error).from_dynamodb(doing);
            return Err(if worth_retrying { still_busy(doing) } else { failure });
        }
        pause(tried).await;
    }
    Ok(Transacted::Written)
}

/// Writes one item.
async fn write<Done, E, Sending>(doing: &str, send: impl Fn() -> Sending) -> Result<Conditional, Failure>
where
    E: ProvideErrorMetadata,
    Sending: Future<Output = Result<Done, SdkError<E, HttpResponse>>>,
{
    let sent = write_or_refusal(doing, send).await?;
    Ok(if sent.is_ok() { Conditional::Written } else { Conditional::ConditionFailed })
}

/// Writes one item; comes back with DynamoDB's answer, or with its refusal where the condition does not hold. A conflict with a
/// transaction is no refusal, and the SDK does not retry it.
async fn write_or_refusal<Done, E, Sending>(
    doing: &str,
    send: impl Fn() -> Sending,
) -> Result<Result<Done, SdkError<E, HttpResponse>>, Failure>
where
    E: ProvideErrorMetadata,
    Sending: Future<Output = Result<Done, SdkError<E, HttpResponse>>>,
{
    let mut tried = 1;
    loop {
        let error = match send().await {
            Ok(done) => return Ok(Ok(done)),
            Err(error) => error,
        };
        match error.code() {
            Some("ConditionalCheckFailedException") => return Ok(Err(error)),
            Some("TransactionConflictException") if tried < MAX_ATTEMPTS => pause(tried).await,
            Some("TransactionConflictException") => return Err(still_busy(doing)),
            _ => return Err(AwsError::of(&error).from_dynamodb(doing)),
        }
        tried += 1;
    }
}

fn still_busy(doing: &str) -> Failure {
    Failure::new(Code::Throttled, format!("DynamoDB was still busy with the same items while {doing}."))
}

/// Longer before each further try: 25 ms, 50 ms, … 3.2 s.
async fn pause(tried: u32) {
    tokio::time::sleep(Duration::from_millis(25 << tried.min(7))).await;
}

/// A condition, and the values that it names.
type Condition = (String, Vec<(String, AttributeValue)>);

/// The condition that a watermark stands where it was read, which a save and the acquisition of a lease go by.
fn stands_as_read(StoredWatermark { exported_until, next_due, due_shard, .. }: &StoredWatermark) -> Condition {
    let fields = [("exported_until", exported_until), ("next_due", next_due), ("due_shard", due_shard)];
    let (condition, values) = as_read(&fields);
    (format!("attribute_exists(tenant_id) AND {condition}"), values)
}

/// The condition that a write under a lease holds.
fn within_fence(Fence { lease, as_read: StoredWatermark { exported_until, next_due, .. } }: Fence<'_>) -> Condition {
    let (condition, mut values) = as_read(&[("exported_until", exported_until), ("next_due", next_due)]);
    values.push((":lease".to_owned(), s(&lease.token)));
    (format!("lease = :lease AND {condition}"), values)
}

/// The same, and that the tenant is connected, and fails or doesn't as it was read.
fn as_read_within_fence(fence: Fence<'_>) -> Condition {
    let (condition, mut values) = within_fence(fence);
    values.push((":no_failures".to_owned(), n(0)));
    let failures = if fence.as_read.failing {
        "consecutive_failures > :no_failures"
    } else {
        "attribute_not_exists(consecutive_failures) OR consecutive_failures = :no_failures"
    };
    (format!("{condition} AND attribute_exists(due_shard) AND ({failures})"), values)
}

fn as_read(fields: &[(&str, &Option<String>)]) -> Condition {
    let mut values = Vec::new();
    let condition = |(name, value): &(&str, &Option<String>)| match value {
        None => format!("attribute_not_exists({name})"),
        Some(value) => {
            values.push((format!(":read_{name}"), s(value)));
            format!("{name} = :read_{name}")
        }
    };
    let conditions: Vec<String> = fields.iter().map(condition).collect();
    (conditions.join(" AND "), values)
}

/// The condition that a config is at the version that was read; `#version` stands for `version`.
fn at_version(version: u64) -> &'static str {
    if version == 0 { "attribute_not_exists(#version) OR #version = :version" } else { "#version = :version" }
}
