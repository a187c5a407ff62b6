//! Reads and writes the tenants table: configs, watermarks, receipts and outboxes, by key and by the indexes `due`, `saved` and
//! `pending`.

mod connections;
mod erasure;
mod export;
mod final_deliveries;
mod fleet;
mod manifest_keys;
mod outbox;
mod reading;
mod replays;
mod settings;

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    lease::MAX_LEASE,
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
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};

use crate::{
    attributes::{Item, n, s},
    errors::AwsError,
    events::EventsTable,
};

/// How often a write that conflicts with a transaction, or a batch of which only a part comes back, is sent.
const MAX_ATTEMPTS: u32 = 8;

#[derive(Debug, Clone)]
pub struct TenantsTable {
    client: Client,
    table: String,
    events: EventsTable,
    write_timeout: Duration,
}

impl TenantsTable {
    /// A change's audit event goes into `events` within half of `settle`, or event and change time out.
    pub fn new(client: Client, table: impl Into<String>, events: EventsTable, settle: TimeDelta) -> Self {
        Self { client, table: table.into(), events, write_timeout: write_timeout(settle) }
    }
}

/// How long the write of an event may take. With more than the time that windows settle, the event could get into a window
/// that was read already. At least two seconds, even if windows don't settle, and at most thirty.
pub(crate) fn write_timeout(settle: TimeDelta) -> Duration {
    (settle / 2).to_std().unwrap_or_default().clamp(Duration::from_secs(2), Duration::from_secs(30))
}

pub(crate) async fn with_timeout<T>(
    timeout: Duration,
    doing: &str,
    write: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let timed_out = |_| Failure::new(Code::Unavailable, format!("DynamoDB did not answer in time while {doing}."));
    tokio::time::timeout(timeout, write).await.map_err(timed_out)?
}

pub(crate) enum TransactionResult {
    Written,
    /// Nothing was written. Has the index of each item whose condition failed, with the stored item if the request asked for it.
    ConditionFailed(Vec<(usize, Item)>),
}

impl From<TransactionResult> for Conditional {
    fn from(result: TransactionResult) -> Self {
        match result {
            TransactionResult::Written => Self::Written,
            TransactionResult::ConditionFailed(_) => Self::ConditionFailed,
        }
    }
}

/// Writes all items or none. Retries after a conflict with another transaction.
///
/// By "TransactWriteItems" in the DynamoDB API reference, a cancelled transaction gives a reason for each item, in their
/// order. The SDK does not retry it.
pub(crate) async fn transact(
    client: &Client,
    items: &[TransactWriteItem],
    doing: &str,
) -> Result<TransactionResult, Failure> {
    for attempt in 1.. {
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
            return Ok(TransactionResult::ConditionFailed(failed));
        }
        let transient = ["TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"];
        let is_transient = codes().any(|code| transient.contains(&code))
            || matches!(error.as_service_error(), Some(TransactWriteItemsError::TransactionInProgressException(_)));
        if !is_transient || attempt >= MAX_ATTEMPTS {
            let failure = AwsError::from_sdk(&error).dynamodb_failure(doing);
            return Err(if is_transient { still_busy(doing) } else { failure });
        }
        pause(attempt).await;
    }
    Ok(TransactionResult::Written)
}

/// Writes one item.
async fn write<Output, E, Sending>(doing: &str, send: impl Fn() -> Sending) -> Result<Conditional, Failure>
where
    E: ProvideErrorMetadata,
    Sending: Future<Output = Result<Output, SdkError<E, HttpResponse>>>,
{
    let sent = write_with_output(doing, send).await?;
    Ok(if sent.is_ok() { Conditional::Written } else { Conditional::ConditionFailed })
}

/// Writes one item, and returns the output, or the error if the condition fails. Retries after a conflict with a transaction,
/// which the SDK does not.
async fn write_with_output<Output, E, Sending>(
    doing: &str,
    send: impl Fn() -> Sending,
) -> Result<Result<Output, SdkError<E, HttpResponse>>, Failure>
where
    E: ProvideErrorMetadata,
    Sending: Future<Output = Result<Output, SdkError<E, HttpResponse>>>,
{
    let mut attempt = 1;
    loop {
        let error = match send().await {
            Ok(output) => return Ok(Ok(output)),
            Err(error) => error,
        };
        match error.code() {
            Some("ConditionalCheckFailedException") => return Ok(Err(error)),
            Some("TransactionConflictException") if attempt < MAX_ATTEMPTS => pause(attempt).await,
            Some("TransactionConflictException") => return Err(still_busy(doing)),
            _ => return Err(AwsError::from_sdk(&error).dynamodb_failure(doing)),
        }
        attempt += 1;
    }
}

fn still_busy(doing: &str) -> Failure {
    Failure::new(Code::Throttled, format!("DynamoDB was still busy with the same items while {doing}."))
}

/// Waits before the next attempt, longer each time: 50 ms, 100 ms, … 3.2 s.
async fn pause(attempt: u32) {
    tokio::time::sleep(Duration::from_millis(25 << attempt.min(7))).await;
}

/// A condition and its values.
type Condition = (String, Vec<(String, AttributeValue)>);

/// The condition that a watermark is as it was read, for a save and the acquisition of a lease.
fn watermark_unchanged(StoredWatermark { exported_until, next_due, due_shard, .. }: &StoredWatermark) -> Condition {
    let fields = [("exported_until", exported_until), ("next_due", next_due), ("due_shard", due_shard)];
    let (condition, values) = equal_as_read(&fields);
    (format!("attribute_exists(tenant_id) AND {condition}"), values)
}

/// The condition that no lease excludes others at an instant.
fn lease_is_free(now: DateTime<Utc>) -> Condition {
    // In milliseconds, as `lease_until` is, so that this condition and `excludes_others` agree.
    let now = now.trunc_subsecs(3);
    let condition = "attribute_not_exists(lease) OR NOT attribute_type(lease, :text) OR attribute_not_exists(lease_until) OR \
                     NOT attribute_type(lease_until, :number) OR lease_until < :now OR lease_until > :implausible";
    let values = [
        (":now", n(now.timestamp_millis())),
        (":implausible", n((now + MAX_LEASE).timestamp_millis())),
        (":text", s("S")),
        (":number", s("N")),
    ];
    (condition.to_owned(), values.map(|(name, value)| (name.to_owned(), value)).to_vec())
}

/// The condition of a write under a lease.
fn fence_holds(Fence { lease, as_read: StoredWatermark { exported_until, next_due, .. } }: Fence<'_>) -> Condition {
    let (condition, mut values) = equal_as_read(&[("exported_until", exported_until), ("next_due", next_due)]);
    values.push((":lease".to_owned(), s(&lease.token)));
    (format!("lease = :lease AND {condition}"), values)
}

/// The same for a write that also needs the tenant to be connected, and to fail or not as it was read.
fn fence_holds_while_connected(fence: Fence<'_>) -> Condition {
    let (condition, mut values) = fence_holds(fence);
    values.push((":no_failures".to_owned(), n(0)));
    let failures = if fence.as_read.failing {
        "consecutive_failures > :no_failures"
    } else {
        "attribute_not_exists(consecutive_failures) OR consecutive_failures = :no_failures"
    };
    (format!("{condition} AND attribute_exists(due_shard) AND ({failures})"), values)
}

fn equal_as_read(fields: &[(&str, &Option<String>)]) -> Condition {
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

/// The condition that a config has the version that was read; `#version` is the name of `version`.
fn is_at_version(version: u64) -> &'static str {
    if version == 0 { "attribute_not_exists(#version) OR #version = :version" } else { "#version = :version" }
}
