//! The way in over HTTP: `POST /v1/events`, of the tenant that the caller's token is bound to.

mod answer;

use std::{sync::Arc, time::Duration};

use audit_log_core::{ingestion::RefusedEvent, new_event::repeatable_id, ports::Recorder, tenant::TenantId};
use audit_log_web::{
    authority::Authority,
    body::{self, Json},
    caller::{Caller, HasAuthority, WriteEvents},
    problem::{Code, Problem},
};
use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRequestParts, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, request::Parts};
use lambda_http::RequestExt as _;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

pub use answer::{Outcome, Recorded, Refusal, Status};

use crate::{
    invocation::time_left,
    openapi,
    store::{Entry, NoRandomness, Store},
};

/// How long a body may be, in bytes. Lambda takes 6 MB for a request with all that belongs to it.
pub const MAX_BODY_BYTES: usize = 4 << 20;

/// How many events a request may bring.
pub const MAX_EVENTS: usize = 500;

/// When to answer at the latest. An HTTP API waits for 30 seconds, and what it then answers tells of no event.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// The header under whose value a request may be sent again.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// What the handlers share.
struct App<R>(Arc<Shared<R>>);

struct Shared<R> {
    store: Arc<Store<R>>,
    authority: Option<Authority>,
}

impl<R> Clone for App<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Recorder> HasAuthority for App<R> {
    fn authority(&self) -> Option<&Authority> {
        self.0.authority.as_ref()
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.store.now()
    }
}

/// The events of a request. Each is read on its own, so that one that can't be read takes no other along.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    events: Vec<Box<RawValue>>,
}

/// The routes. Without an authority everything but the two documents is refused.
pub fn router<R: Recorder + Send + Sync + 'static>(store: Arc<Store<R>>, authority: Option<Authority>) -> Router {
    let schema = store.validator().schema();
    let document = openapi::document();
    let routes = Router::new()
        .route("/v1/events", post(record::<R>).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
        .route("/v1/events/openapi.json", get(async move || published(document)))
        .route("/v1/events/schema.json", get(async move || published(schema)));
    body::with_fallbacks(routes).with_state(App(Arc::new(Shared { store, authority })))
}

fn published(document: Value) -> Response {
    Json(document).into_response()
}

/// How long a handler has.
struct TimeLeft(Duration);

impl<R: Recorder + Send + Sync> FromRequestParts<App<R>> for TimeLeft {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App<R>) -> Result<Self, Self::Rejection> {
        let left = parts.extensions.lambda_context_ref().and_then(|context| time_left(context, app.now()));
        Ok(Self(left.unwrap_or(ANSWER_TIMEOUT).min(ANSWER_TIMEOUT)))
    }
}

async fn record<R: Recorder + Send + Sync + 'static>(
    State(app): State<App<R>>,
    caller: Caller<WriteEvents>,
    TimeLeft(within): TimeLeft,
    headers: HeaderMap,
    Json(Events { events }): Json<Events>,
) -> Result<Response, Problem> {
    let store = &app.0.store;
    let tenant = caller.tenant();
    let key = idempotency_key(&headers)?;
    if !(1..=MAX_EVENTS).contains(&events.len()) {
        let problem = Problem::new(Code::InvalidFields, "Send from 1 to 500 events in a request.");
        return Err(problem.field("events", format!("has 1 to {MAX_EVENTS} events")));
    }
    let read = events.iter().enumerate().map(|(index, event)| entry(store, tenant, key, index, event.get()));
    let read: Vec<Result<Entry, RefusedEvent>> = read.collect::<Result<_, NoRandomness>>().map_err(|error| {
        tracing::error!(%tenant, reason = %error, "a request failed");
        Problem::unavailable()
    })?;
    let entries: Vec<Entry> = read.iter().flatten().cloned().collect();
    let stored = store.all(&entries, within).await;
    let outcomes = answer::outcomes(&read, stored, tenant);
    let counts = answer::counts(&outcomes);
    tracing::info!(
        %tenant,
        recorded = counts.recorded,
        duplicate = counts.duplicate,
        refused = counts.refused,
        failed = counts.failed,
        "request"
    );
    store.observe(counts);
    Ok(answer::answer(counts, outcomes))
}

/// Reads one event of a request.
fn entry<R: Recorder>(
    store: &Store<R>,
    tenant: &TenantId,
    key: Option<&str>,
    index: usize,
    event: &str,
) -> Result<Result<Entry, RefusedEvent>, NoRandomness> {
    let event = match store.validator().check(event) {
        Ok(event) => event,
        Err(refused) => return Ok(Err(refused)),
    };
    let id = match (&event.id, key) {
        (Some(id), _) => id.clone(),
        (None, Some(key)) => repeatable_id(tenant, key, index),
        (None, None) => store.new_id()?,
    };
    Ok(Ok(Entry { tenant: tenant.clone(), id, event }))
}

/// The value of the header `Idempotency-Key`, if there is one.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    let key = value.to_str().ok().filter(|key| (1..=128).contains(&key.len()) && key.bytes().all(allowed));
    match (key, values.next()) {
        (Some(key), None) => Ok(Some(key)),
        _ => Err(Problem::parameter("Idempotency-Key", "is one header of 1 to 128 letters, digits or any of _.:-")),
    }
}
