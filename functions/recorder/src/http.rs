//! Receives events over HTTP: `POST /v1/events`, for the tenant of the caller's token.

use std::{sync::Arc, time::Duration};

use audit_log_core::{
    ingestion::RefusedEvent,
    new_event::{Submitter, repeatable_id},
    ports::Recorder,
    tenant::TenantId,
};
use audit_log_web::{
    access_log::log_requests,
    access_token::TokenVerifier,
    body::{self, Json},
    caller::{Caller, HasTokenVerifier, WriteEvents},
    headers,
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

use crate::{
    answer,
    invocation::time_left,
    openapi,
    store::{Entry, NoRandomness, Store},
};

/// Lambda takes 6 MB for a request as a whole.
pub const MAX_BODY_BYTES: usize = 4 << 20;

pub const MAX_EVENTS: usize = 500;

/// An HTTP API times out after 30 seconds, and its own answer has no outcomes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

const IDEMPOTENCY_KEY: &str = "idempotency-key";

struct App<R>(Arc<Shared<R>>);

struct Shared<R> {
    store: Arc<Store<R>>,
    token_verifier: Option<TokenVerifier>,
}

impl<R> Clone for App<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Recorder> HasTokenVerifier for App<R> {
    fn token_verifier(&self) -> Option<&TokenVerifier> {
        self.0.token_verifier.as_ref()
    }

    fn now(&self) -> DateTime<Utc> {
        self.0.store.now()
    }
}

/// The events of a request. Each is parsed on its own, so that an invalid one doesn't fail the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Events {
    events: Vec<Box<RawValue>>,
}

/// Without a token verifier, everything but the two documents is refused.
pub fn router<R: Recorder + Send + Sync + 'static>(
    store: Arc<Store<R>>,
    token_verifier: Option<TokenVerifier>,
) -> Router {
    let schema = store.validator().schema();
    let document = openapi::document();
    let routes = Router::new()
        .route("/v1/events", post(record::<R>).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
        .route("/v1/events/openapi.json", get(async move || published(document)))
        .route("/v1/events/schema.json", get(async move || published(schema)));
    let router = body::with_fallbacks(routes).with_state(App(Arc::new(Shared { store, token_verifier })));
    log_requests(headers::protect(router))
}

fn published(document: Value) -> Response {
    Json(document).into_response()
}

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
    let submitter = Submitter::from_token(&caller.actor().id);
    let key = idempotency_key(&headers)?;
    if !(1..=MAX_EVENTS).contains(&events.len()) {
        let problem = Problem::new(Code::InvalidFields, "Send from 1 to 500 events in a request.");
        return Err(problem.field("events", format!("has 1 to {MAX_EVENTS} events")));
    }
    let parsed =
        events.iter().enumerate().map(|(index, event)| entry(store, tenant, &submitter, key, index, event.get()));
    let parsed: Vec<Result<Entry, RefusedEvent>> = parsed.collect::<Result<_, NoRandomness>>().map_err(|error| {
        tracing::error!(%tenant, reason = %error, "a request failed");
        Problem::unavailable()
    })?;
    let entries: Vec<Entry> = parsed.iter().flatten().cloned().collect();
    let stored = store.store_all(&entries, within).await;
    let outcomes = answer::outcomes(&parsed, stored);
    let counts = answer::counts(&outcomes);
    tracing::info!(
        %tenant,
        submitted_by = %submitter,
        recorded = counts.recorded,
        duplicate = counts.duplicate,
        refused = counts.refused,
        failed = counts.failed,
        "request"
    );
    store.observe(counts);
    Ok(answer::answer(counts, outcomes))
}

/// Checks one event of a request and gives it an id.
fn entry<R: Recorder>(
    store: &Store<R>,
    tenant: &TenantId,
    submitter: &Submitter,
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
        (None, Some(key)) => repeatable_id(tenant, submitter, key, index),
        (None, None) => store.new_id()?,
    };
    Ok(Ok(Entry { tenant: tenant.clone(), submitter: submitter.clone(), id, event }))
}

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
