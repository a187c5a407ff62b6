//! The answers to requests, with the outcome of each event.

use std::time::Duration;

use audit_log_core::{failure::Failure, ingestion::RefusedEvent};
use audit_log_web::{
    body::Json,
    problem::{self, Code},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{CONFLICT, Counts, Entry, Stored};

const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What happened to an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// This request stored it.
    Recorded,
    /// An event of yours with this id was stored before. Don't send this one again.
    Duplicate,
    /// It is not a valid event, or its id is that of another event of yours. It is not stored.
    Refused,
    /// It may not be stored. Send it again with this id.
    Failed,
}

/// The outcome of one event of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Outcome {
    /// Its index in the request, from 0.
    #[schema(minimum = 0)]
    pub index: usize,
    /// Its id, from the sender or generated. Left out if the event is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<String>,
    /// What happened to it.
    pub status: Status,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
    /// How many halves of characters were replaced by U+FFFD. Left out if there was none.
    #[serde(rename = "replacedCharacters", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub replaced_characters: Option<usize>,
}

/// Every event of the request is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recorded {
    /// How many events this request stored.
    pub recorded: u64,
    /// How many events were stored before.
    pub duplicate: u64,
    /// Each event, in the order of the request.
    pub results: Vec<Outcome>,
}

/// Some events of the request are not stored: a problem by RFC 9457, with the outcome of each event.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// The kind of problem as a URI.
    pub r#type: String,
    /// The kind of problem: `invalid_fields`, or `unavailable` if events can be sent again unchanged.
    #[schema(value_type = String)]
    pub code: Code,
    /// The kind of problem in a few words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Each event, in the order of the request. Left out if the whole request is refused, and then nothing is stored.
    #[schema(required = false)]
    pub results: Vec<Outcome>,
}

/// The outcome of each event, in the order of the request. `stored` has those of the valid events.
pub(crate) fn outcomes(read: &[Result<Entry, RefusedEvent>], stored: Vec<Stored>) -> Vec<Outcome> {
    let mut stored = stored.into_iter();
    let outcome = |(index, read): (usize, &Result<Entry, RefusedEvent>)| match read {
        Err(refused) => {
            let reason = Some(refused.to_string());
            Outcome { index, id: None, status: Status::Refused, reason, replaced_characters: None }
        }
        Ok(Entry { tenant, submitter, id, event }) => {
            let stored = stored.next();
            let reason = (stored == Some(Stored::Conflict)).then(|| CONFLICT.to_owned());
            let status = match stored {
                Some(Stored::Conflict) => {
                    tracing::warn!(%tenant, submitted_by = %submitter, id, reason = CONFLICT, "an event is refused");
                    Status::Refused
                }
                Some(Stored::Recorded) => Status::Recorded,
                Some(Stored::Duplicate) => Status::Duplicate,
                Some(Stored::Failed(Failure { code, message, .. })) => {
                    let hint = code.hint();
                    tracing::error!(%tenant, submitted_by = %submitter, id, %code, reason = message, hint, "an event could not be stored");
                    Status::Failed
                }
                None => Status::Failed,
            };
            let replaced_characters = Some(event.replaced_characters).filter(|count| *count > 0);
            Outcome { index, id: Some(id.clone()), status, reason, replaced_characters }
        }
    };
    read.iter().enumerate().map(outcome).collect()
}

pub(crate) fn counts(outcomes: &[Outcome]) -> Counts {
    outcomes.iter().fold(Counts::default(), |mut counts, outcome| {
        match outcome.status {
            Status::Recorded => counts.recorded += 1,
            Status::Duplicate => counts.duplicate += 1,
            Status::Refused => counts.refused += 1,
            Status::Failed => counts.failed += 1,
        }
        counts
    })
}

/// The whole answer. If some events failed and others were refused, it is that of the failed ones: these can be sent again.
pub(crate) fn answer(counts: Counts, results: Vec<Outcome>) -> Response {
    let Counts { recorded, duplicate, refused, failed } = counts;
    if failed > 0 {
        let detail = format!(
            "{failed} of the events could not be stored; results says which. Send the same request again in a moment: events \
             with an id, or sent with the header Idempotency-Key, are stored only once. Otherwise send only those that \
             failed, with the ids in results."
        );
        let mut response = refusal(Code::Unavailable, detail, results);
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.as_secs().into());
        return response;
    }
    if refused > 0 {
        let detail = format!(
            "{refused} of the events are refused and not stored; results says which and why. The other {} are stored. Correct \
             the refused events and send them again, with another Idempotency-Key if this request has one.",
            recorded + duplicate
        );
        return refusal(Code::InvalidFields, detail, results);
    }
    (StatusCode::OK, Json(Recorded { recorded, duplicate, results })).into_response()
}

fn refusal(code: Code, detail: String, results: Vec<Outcome>) -> Response {
    let (r#type, title) = (format!("urn:audit-log-export:problem:{code}"), code.title());
    let refusal = Refusal { r#type, code, title, status: code.status().as_u16(), detail, results };
    let media_type = HeaderValue::from_static(problem::MEDIA_TYPE);
    let mut response = (code.status(), Json(refusal)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}
