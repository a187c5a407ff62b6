//! The way in from a queue: one event a message, of whichever tenant the message says. Who may send to the queue is its
//! own policy's to say.
//!
//! A message is either stored or reported as failed, so that the queue sends it again and in the end puts it aside; by
//! "Handling errors for an SQS event source in Lambda" in the Lambda developer guide. Order is not kept.

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

/// Stores a batch's events, and names the messages that have to come again.
pub async fn take<R: Recorder>(store: &Store<R>, batch: SqsEvent, within: Duration) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    let mut counts = Counts::default();
    // A message without an id can't be named, and a blank name fails the whole batch: then nothing is lost.
    let mut fail = |message: Option<String>| {
        let mut failure = BatchItemFailure::default();
        failure.item_identifier = message.unwrap_or_default();
        response.batch_item_failures.push(failure);
    };
    let messages = batch.records.len();
    let (mut entries, mut ids) = (Vec::new(), Vec::new());
    for message in batch.records {
        match read(store, &message) {
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
    let stored = store.all(&entries, within).await;
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

/// Why a message holds no event, and whose it would be, if it says so.
struct Unreadable {
    tenant: Option<String>,
    reason: String,
}

fn read<R: Recorder>(store: &Store<R>, message: &SqsMessage) -> Result<Entry, Unreadable> {
    // serde's own text may hold what was sent, and this one ends in the log.
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
