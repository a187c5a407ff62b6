//! What a request is answered: of each of its events, what became of it.

use std::time::Duration;

use audit_log_core::{failure::Failure, ingestion::RefusedEvent, tenant::TenantId};
use audit_log_web::{
    body::Json,
    problem::{self, Code},
};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::{CONFLICT, Counts, Entry, Stored};

/// When to send events again that could not be stored.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is stored now.
    Recorded,
    /// An event of this id was stored before; this one is not, and need not be sent again.
    Duplicate,
    /// It is not an event as it should be, or its id is another event's; it is not stored.
    Refused,
    /// It is not known to be stored; send it again with this id.
    Failed,
}

/// What became of one event of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Outcome {
    /// Its place in the request, from 0.
    #[schema(minimum = 0)]
    pub index: usize,
    /// Its id, the sender's or one that was made; left out where it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub id: Option<String>,
    /// What became of it.
    pub status: Status,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// Every event of the request is stored.
#[derive(Debug, Serialize, ToSchema)]
pub struct Recorded {
    /// How many are stored now.
    pub recorded: u64,
    /// How many were stored before.
    pub duplicate: u64,
    /// Each event, in the order of the request.
    pub results: Vec<Outcome>,
}

/// Some events of the request are not stored: a problem by RFC 9457 that tells of each.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refusal {
    /// The kind of problem as a URI.
    pub r#type: String,
    /// The kind of problem: `invalid_fields`, or `unavailable` if events have to be sent again as they are.
    #[schema(value_type = String)]
    pub code: Code,
    /// The kind of problem in a few words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// Each event, in the order of the request; left out where the request was refused as a whole, so that nothing of it
    /// is stored.
    #[schema(required = false)]
    pub results: Vec<Outcome>,
}

/// Of each event, in the order of the request. `stored` has those that were not refused.
pub(super) fn outcomes(read: &[Result<Entry, RefusedEvent>], stored: Vec<Stored>, tenant: &TenantId) -> Vec<Outcome> {
    let mut stored = stored.into_iter();
    let outcome = |(index, read): (usize, &Result<Entry, RefusedEvent>)| match read {
        Err(refused) => Outcome { index, id: None, status: Status::Refused, reason: Some(refused.to_string()) },
        Ok(entry) => {
            let stored = stored.next();
            let reason = (stored == Some(Stored::Conflict)).then(|| CONFLICT.to_owned());
            let status = match stored {
                Some(Stored::Conflict) => Status::Refused,
                Some(Stored::Recorded) => Status::Recorded,
                Some(Stored::Duplicate) => Status::Duplicate,
                Some(Stored::Failed(Failure { code, message, .. })) => {
                    let (id, hint) = (&entry.id, code.hint());
                    tracing::error!(%tenant, id, %code, reason = message, hint, "an event could not be stored");
                    Status::Failed
                }
                None => Status::Failed,
            };
            Outcome { index, id: Some(entry.id.clone()), status, reason }
        }
    };
    read.iter().enumerate().map(outcome).collect()
}

pub(super) fn counts(outcomes: &[Outcome]) -> Counts {
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

/// The whole answer. Events that failed come before events that were refused: those are worth sending again.
pub(super) fn answer(counts: Counts, results: Vec<Outcome>) -> Response {
    let Counts { recorded, duplicate, refused, failed } = counts;
    if failed > 0 {
        let detail = format!(
            "{failed} of the events could not be stored at the moment; results says which. Send the same request again \
             in a moment: what has an id, or came with the header Idempotency-Key, is not doubled. Without either, send \
             only those that failed, with the ids that results gives them."
        );
        let mut response = refusal(Code::Unavailable, detail, results);
        response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.as_secs().into());
        return response;
    }
    if refused > 0 {
        let detail = format!(
            "{refused} of the events are not as they should be and are not stored; results says which, and why. The \
             other {} are stored. Correct those that were refused and send them again, under another Idempotency-Key if \
             this request has one.",
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
