//! Receives events from a queue: one event a message, for the tenant that the message names. The queue's policy decides who
//! may send.
//!
//! A message is either stored or reported as failed. The queue delivers a failed one again and in the end moves it to the
//! dead-letter queue; by "Handling errors for an SQS event source in Lambda" in the Lambda developer guide. Order is not kept.

use std::time::Duration;

use audit_log_core::{failure::Failure, ports::Recorder, tenant::TenantId};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store::{CONFLICT, Counts, Entry, Store, Stored};

/// The body of a message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body<'a> {
    tenant_id: String,
    #[serde(borrow)]
    event: &'a RawValue,
}

/// Stores the events of a batch, and returns the failed messages.
pub async fn record_batch<R: Recorder>(store: &Store<R>, batch: SqsEvent, within: Duration) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    let mut counts = Counts::default();
    // A message without an id can't be named. A blank name fails the whole batch, so that nothing is lost.
    let mut fail = |message: Option<String>| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = message.unwrap_or_default();
        response.batch_item_failures.push(failure);
    };
    let messages = batch.records.len();
    let (mut entries, mut ids) = (Vec::new(), Vec::new());
    for message in batch.records {
        match parse(store, &message) {
            Ok(entry) => {
                entries.push(entry);
                ids.push(message.message_id);
            }
            Err(Unreadable { tenant, reason }) => {
                counts.refused += 1;
                tracing::warn!(message_id = message.message_id, tenant, reason, "a message is refused");
                fail(message.message_id);
            }
        }
    }
    let stored = store.store_all(&entries, within).await;
    for ((entry, message_id), stored) in entries.iter().zip(ids).zip(stored) {
        match stored {
            Stored::Recorded => counts.recorded += 1,
            Stored::Duplicate => counts.duplicate += 1,
            Stored::Conflict => {
                counts.refused += 1;
                tracing::warn!(message_id, tenant = %entry.tenant, reason = CONFLICT, "a message is refused");
                fail(message_id);
            }
            Stored::Failed(Failure { code, message, .. }) => {
                counts.failed += 1;
                let (tenant, hint) = (&entry.tenant, code.hint());
                tracing::error!(message_id, %tenant, %code, reason = message, hint, "an event could not be stored");
                fail(message_id);
            }
        }
    }
    let Counts { recorded, duplicate, refused, failed } = counts;
    tracing::info!(messages, recorded, duplicate, refused, failed, "batch");
    store.observe(counts);
    response
}

/// Why a message has no valid event.
struct Unreadable {
    /// The tenant that the message names, if it names one.
    tenant: Option<String>,
    reason: String,
}

fn parse<R: Recorder>(store: &Store<R>, message: &SqsMessage) -> Result<Entry, Unreadable> {
    // serde's text may hold what was sent, and this one is logged.
    let body: Body<'_> = serde_json::from_str(message.body.as_deref().unwrap_or_default()).map_err(|_| {
        let shape = "the body of a message is {\"tenantId\": \"…\", \"event\": {…}} and nothing else";
        Unreadable { tenant: None, reason: shape.to_owned() }
    })?;
    let tenant = TenantId::parse(&body.tenant_id)
        .map_err(|invalid| Unreadable { tenant: None, reason: format!("/tenantId: {invalid}") })?;
    let event = store.validator().check(body.event.get());
    let event = event
        .map_err(|refused| Unreadable { tenant: Some(tenant.to_string()), reason: format!("/event: {refused}") })?;
    let id = event.id.clone().or_else(|| message.message_id.clone());
    let no_id = || Unreadable { tenant: Some(tenant.to_string()), reason: "the message has no messageId".to_owned() };
    let id = id.ok_or_else(no_id)?;
    Ok(Entry { tenant, id, event })
}
