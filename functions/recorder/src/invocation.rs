//! Handles an invocation: a batch of a queue, or a request of an HTTP API.

use std::{sync::Arc, time::Duration};

use audit_log_core::ports::Recorder;
use audit_log_web::invocation;
use aws_lambda_events::sqs::SqsEvent;
use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::request::LambdaRequest;
use lambda_runtime::{Context, Error, LambdaEvent};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::{RawValue, to_raw_value};

use crate::{queue, store::Store};

/// The time at the end of an invocation for the answer.
const RESERVE: TimeDelta = TimeDelta::seconds(3);

/// For an invocation without a deadline.
const DEFAULT_TIME_LEFT: Duration = Duration::from_secs(20);

enum Input {
    Queue(SqsEvent),
    Http(Box<LambdaRequest>),
}

/// The fields that decide which input it is.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Records")]
    records: Option<Vec<Record>>,
    #[serde(rename = "requestContext")]
    request_context: Option<RequestContext>,
}

#[derive(Deserialize)]
struct Record {
    #[serde(rename = "eventSource")]
    event_source: Option<String>,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Option<IgnoredAny>,
}

/// Why an event is refused. The text says which events are accepted.
#[derive(Debug, thiserror::Error)]
#[error(
    "this is {0}; the recorder takes batches of an SQS queue, whose Records have the eventSource aws:sqs, and requests of an HTTP API or a function URL with the payload format 2.0"
)]
struct UnsupportedEvent(&'static str);

/// # Errors
/// If the event is neither a batch nor a request. An error inside of one of these is part of its answer.
pub async fn handle<R: Recorder>(
    store: &Arc<Store<R>>,
    router: &Router,
    event: LambdaEvent<Box<RawValue>>,
) -> Result<Box<RawValue>, Error> {
    let LambdaEvent { payload, context } = event;
    match decode(&payload)? {
        Input::Queue(batch) => {
            let within = time_left(&context, store.now()).unwrap_or(DEFAULT_TIME_LEFT);
            Ok(to_raw_value(&queue::record_batch(store, batch, within).await)?)
        }
        Input::Http(request) => {
            let answer = invocation::answer(router.clone(), LambdaEvent::new(*request, context)).await?;
            Ok(to_raw_value(&answer)?)
        }
    }
}

/// The time until the function has to answer: zero if that time is over, `None` without a deadline.
pub(crate) fn time_left(context: &Context, now: DateTime<Utc>) -> Option<Duration> {
    let deadline = i64::try_from(context.deadline).ok().filter(|millis| *millis > 0)?;
    let deadline = DateTime::from_timestamp_millis(deadline)?;
    Some((deadline - RESERVE - now).to_std().unwrap_or_default())
}

/// serde's texts may hold what was sent, so none is repeated.
fn decode(payload: &RawValue) -> Result<Input, UnsupportedEvent> {
    let envelope: Envelope =
        serde_json::from_str(payload.get()).map_err(|_| UnsupportedEvent("an event of another shape"))?;
    if let Some(records) = envelope.records {
        if records.is_empty() || records.iter().any(|record| record.event_source.as_deref() != Some("aws:sqs")) {
            return Err(UnsupportedEvent("a batch of another source"));
        }
        return serde_json::from_str(payload.get()).map(Input::Queue).map_err(|_| UnsupportedEvent("a damaged batch"));
    }
    match envelope.request_context {
        Some(RequestContext { http: Some(_) }) => serde_json::from_str(payload.get())
            .map(|request| Input::Http(Box::new(request)))
            .map_err(|_| UnsupportedEvent("a damaged request")),
        _ => Err(UnsupportedEvent("an event of another kind")),
    }
}
