//! Tests of the recorder on the core's fakes.

mod http;
mod invocation;
mod published;
mod queue;
mod store;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use ::http::{HeaderMap, Request, StatusCode};
use audit_log_core::{
    failure::{Code, Failure},
    fakes::Fakes,
    ingestion::{Catalogue, EventValidator},
    new_event::NewEvent,
    ports::{Recorder, Recording},
    tenant::{EventShards, TenantId},
};
use audit_log_web::issuer::TestIssuer;
use axum::{
    Router,
    body::{Body, to_bytes},
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    config,
    store::{Counts, Store, World},
};

/// The fakes, with lost answers and writes that hang.
#[derive(Clone, Default)]
struct FaultyRecorder {
    fakes: Fakes,
    /// Every write that was started.
    started: Arc<Mutex<Vec<NewEvent>>>,
    /// How many of the next answers to writes get lost.
    lost_answers: Arc<Mutex<usize>>,
    /// Whether writes never end.
    hangs: Arc<Mutex<bool>>,
    /// The tenant whose shards are throttled, and how long a write of it takes before it is refused.
    throttled: Arc<Mutex<Option<(String, Duration)>>>,
}

impl Recorder for FaultyRecorder {
    async fn record(&self, event: &NewEvent) -> Result<Recording, Failure> {
        self.started.lock().unwrap().push(event.clone());
        if *self.hangs.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        let throttled = self.throttled.lock().unwrap().clone();
        if let Some((_, wait)) = throttled.filter(|(tenant, _)| *tenant == event.tenant.as_str()) {
            tokio::time::sleep(wait).await;
            return Err(Failure::new(Code::Throttled, "Busy."));
        }
        let recorded = self.fakes.record(event).await?;
        let mut lost = self.lost_answers.lock().unwrap();
        if *lost == 0 {
            return Ok(recorded);
        }
        *lost -= 1;
        Err(Failure::new(Code::Unavailable, "No answer."))
    }

    async fn event_shards(&self, tenant: &TenantId) -> Result<EventShards, Failure> {
        self.fakes.event_shards(tenant).await
    }
}

/// A recorder with its fakes.
struct Bench {
    recorder: FaultyRecorder,
    issuer: TestIssuer,
    /// Milliseconds since the start.
    clock: Arc<AtomicI64>,
    observed: Arc<Mutex<Vec<Counts>>>,
    store: Arc<Store<FaultyRecorder>>,
    router: Router,
}

fn start() -> DateTime<Utc> {
    "2026-11-21T10:03:12.345Z".parse().unwrap()
}

impl Bench {
    fn new() -> Self {
        let (recorder, issuer) = (FaultyRecorder::default(), TestIssuer::es256(start()));
        let (clock, random) = (Arc::new(AtomicI64::new(0)), AtomicU8::new(0));
        let observed = Arc::<Mutex<Vec<Counts>>>::default();
        let world = World {
            now: Box::new({
                let clock = Arc::clone(&clock);
                // Each reading differs, so that a later stamp differs from an earlier one.
                move || start() + TimeDelta::milliseconds(clock.fetch_add(1, Relaxed))
            }),
            random: Box::new(move || Ok([random.fetch_add(1, Relaxed); 10])),
            observe: Box::new({
                let observed = Arc::clone(&observed);
                move |counts| observed.lock().unwrap().push(counts)
            }),
        };
        let validator = EventValidator::new(Catalogue::parse(config::CATALOGUE).unwrap());
        let store = Arc::new(Store::new(recorder.clone(), validator, Some(TimeDelta::days(90)), world));
        let router = crate::http::router(Arc::clone(&store), Some(issuer.token_verifier()));
        Self { recorder, issuer, clock, observed, store, router }
    }

    fn fakes(&self) -> &Fakes {
        &self.recorder.fakes
    }

    fn token(&self, tenant: &str) -> String {
        self.issuer.token_for(tenant, &["events:write"])
    }

    async fn post(&self, tenant: &str, body: &Value) -> (StatusCode, Value) {
        self.post_with(tenant, &[], body).await
    }

    async fn post_with(&self, tenant: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, Value) {
        self.post_with_token(&self.token(tenant), headers, body).await
    }

    /// A request of a service of acme with this subject.
    async fn post_as(&self, subject: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, Value) {
        let mut claims = self.issuer.claims("acme", &["events:write"]);
        claims["sub"] = json!(subject);
        self.post_with_token(&self.issuer.token(&claims), headers, body).await
    }

    async fn post_with_token(&self, token: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, Value) {
        let mut request = Request::post("/v1/events")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, _, body) = self.send(request.body(body.to_string().into()).unwrap()).await;
        (status, body)
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Value) {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&body).unwrap())
    }

    /// A tenant's stored events, in the order of its shards and their keys.
    fn stored(&self, tenant: &str) -> Vec<Value> {
        let state = self.fakes().state();
        let events = state.events.iter().filter(|((of, _), _)| of == tenant).flat_map(|(_, events)| events.values());
        let document = |body: &audit_log_core::event::Body| match body {
            audit_log_core::event::Body::Text(text) => serde_json::from_str(text).unwrap(),
            audit_log_core::event::Body::NoText(_) => panic!("the recorder stores texts"),
        };
        events.map(document).collect()
    }

    fn ids(&self, tenant: &str) -> Vec<String> {
        self.stored(tenant).iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// An event with an id.
fn login(id: &str) -> Value {
    json!({ "id": id, "logType": "Authentication", "action": "Login", "user": { "id": "u-17" } })
}

/// An event without an id.
fn scan() -> Value {
    json!({ "logType": "Scan", "action": "Scan Now", "user": { "id": "u-17", "email": "ada@acme.example" } })
}

/// The status of each event in an answer.
fn statuses(answer: &Value) -> Vec<&str> {
    answer["results"].as_array().unwrap().iter().map(|result| result["status"].as_str().unwrap()).collect()
}
