//! Receives events from a queue: one event a message, for the tenant that the message names. The queue's policy decides who
//! may send.
//!
//! A message is either stored or reported as failed. The queue delivers a failed one again and in the end moves it to the
//! dead-letter queue; by "Handling errors for an SQS event source in Lambda" in the Lambda developer guide. Order is not kept.

use std::{collections::BTreeMap, time::Duration};

use audit_log_core::{failure::Failure, new_event::Submitter, ports::Recorder, tenant::TenantId};
use aws_lambda_events::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent, SqsMessage};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::store::{CONFLICT, Counts, Entry, Store, Stored};

/// For a message without a sender. Lambda names the sender of each.
const UNKNOWN_SENDER: &str = "unknown";

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
        let submitter = submitter(&message);
        match parse(store, &message, &submitter) {
            Ok(entry) => {
                let replaced = entry.event.replaced_characters;
                if replaced > 0 {
                    let (message_id, tenant) = (&message.message_id, &entry.tenant);
                    tracing::warn!(message_id, %tenant, submitted_by = %submitter, replaced, "an event has halves of characters, and they are replaced");
                }
                entries.push(entry);
                ids.push(message.message_id);
            }
            Err(Unreadable { tenant, reason }) => {
                counts.refused += 1;
                let message_id = &message.message_id;
                tracing::warn!(message_id, tenant, submitted_by = %submitter, reason, "a message is refused");
                fail(message.message_id);
            }
        }
    }
    let stored = store.store_all(&entries, within).await;
    let mut of_submitters = BTreeMap::<_, Counts>::new();
    for ((entry, message_id), stored) in entries.iter().zip(ids).zip(stored) {
        let of_submitter = of_submitters.entry((&entry.tenant, entry.submitter.as_str())).or_default();
        match stored {
            Stored::Recorded => of_submitter.recorded += 1,
            Stored::Duplicate => of_submitter.duplicate += 1,
            Stored::Conflict => {
                of_submitter.refused += 1;
                let Entry { tenant, submitter, id, .. } = entry;
                tracing::warn!(message_id, %tenant, submitted_by = %submitter, id, reason = CONFLICT, "a message is refused");
                fail(message_id);
            }
            Stored::Failed(Failure { code, message, .. }) => {
                of_submitter.failed += 1;
                let (Entry { tenant, submitter, .. }, hint) = (entry, code.hint());
                tracing::error!(message_id, %tenant, submitted_by = %submitter, %code, reason = message, hint, "an event could not be stored");
                fail(message_id);
            }
        }
    }
    for ((tenant, submitted_by), of_submitter) in of_submitters {
        let Counts { recorded, duplicate, refused, failed } = of_submitter;
        tracing::info!(%tenant, submitted_by, recorded, duplicate, refused, failed, "messages");
        counts += of_submitter;
    }
    let Counts { recorded, duplicate, refused, failed } = counts;
    tracing::info!(messages, recorded, duplicate, refused, failed, "batch");
    store.observe(counts);
    response
}

/// The user or role that sent the message. Of a role, `SenderId` is `AROA…:session-name` (by "ReceiveMessage" in the Amazon SQS
/// API reference). The name of the session is left out: it differs between the instances of a service.
fn submitter(message: &SqsMessage) -> Submitter {
    let sender = message.attributes.get("SenderId").filter(|sender| !sender.is_empty());
    let sender = sender.map_or(UNKNOWN_SENDER, String::as_str);
    Submitter::from_queue(sender.split_once(':').map_or(sender, |(principal, _)| principal))
}

/// Why a message has no valid event.
struct Unreadable {
    /// The tenant that the message names, if it names one.
    tenant: Option<String>,
    reason: String,
}

fn parse<R: Recorder>(store: &Store<R>, message: &SqsMessage, submitter: &Submitter) -> Result<Entry, Unreadable> {
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
    Ok(Entry { tenant, submitter: submitter.clone(), id, event })
}
