//! The API as a client sees it, over the fakes.

mod auditing;
mod connecting;
mod docs;
mod isolation;
mod manifest_keys;
mod pages;
mod reading;
mod refusals;
mod replaying;
mod retrying;
mod schema;
mod verifying;

use audit_log_core::{
    event::{Body, StoredEvent},
    failure::{Code, Failure, Party},
    fakes::{Fakes, Fault, Op},
    tenant::{AccountId, Partition, Platform, Region, TenantId},
    verification::{Step, StepName, StepStatus},
};
use audit_log_web::issuer::TestIssuer;
use axum::{Router, body::Body as HttpBody};
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::{
    app::{App, Deployment},
    embedding::Embedding,
    router,
};

const ROLE: &str = "arn:aws:iam::222222222222:role/audit";
const ADMIN: &str = "audit-logs:admin";
const READ: &str = "audit-logs:read";

fn now() -> DateTime<Utc> {
    "2026-11-21T10:03:12.345Z".parse().unwrap()
}

/// Bytes that differ from call to call.
fn fill(bytes: &mut [u8]) -> bool {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let call = CALLS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    bytes.fill(7);
    bytes[..8].copy_from_slice(&call);
    true
}

/// The router over the fakes, and an issuer of access tokens.
struct World {
    fakes: Fakes,
    issuer: TestIssuer,
    router: Router,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// Status and code of a refusal, which must be a problem.
    fn refusal(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        (self.status.as_u16(), self.json()["code"].as_str().unwrap().to_owned())
    }

    /// The fields that a refusal names, in order.
    fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].as_array().cloned().unwrap_or_default();
        let mut fields: Vec<String> = errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
        fields.sort_unstable();
        fields
    }
}

impl World {
    fn new() -> Self {
        Self::with_searches(100_000)
    }

    /// With this limit of searches a minute for each tenant.
    fn with_searches(searches_per_minute: u32) -> Self {
        Self::configured(searches_per_minute, Embedding::default())
    }

    fn with_embedding(embedding: Embedding) -> Self {
        Self::configured(100_000, embedding)
    }

    fn configured(searches_per_minute: u32, embedding: Embedding) -> Self {
        let (fakes, issuer) = (Fakes::default(), TestIssuer::es256(now()));
        let deployment = Deployment {
            platform: Platform { account: AccountId::parse("111111111111").unwrap(), partition: Partition::Aws },
            region: Region::parse("eu-west-1").unwrap(),
            exporter_role: "audit-log-exporter".to_owned(),
            template_url: Some("https://templates.s3.amazonaws.com/audit-log-export-role/v1.0.0.yaml".to_owned()),
            settle: TimeDelta::minutes(1),
            retention: Some(TimeDelta::days(90)),
            searches_per_minute,
            sign_in_origins: vec!["https://platform.example".to_owned()],
            embedding,
        };
        let app = App::new(fakes.clone(), deployment, Some(issuer.token_verifier()), now, fill);
        Self { fakes, issuer, router: router(app) }
    }

    /// With a tenant whose settings are saved.
    async fn with(tenant: &str) -> Self {
        let world = Self::new();
        world.onboard(tenant).await;
        world
    }

    /// Connects a role and saves settings.
    async fn onboard(&self, tenant: &str) {
        self.admin(tenant, "GET", "/v1/connector", None).await;
        let connected = self.admin(tenant, "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
        assert_eq!(connected.status, 200, "{}", connected.text);
        let saved = self.save(tenant, settings(tenant)).await;
        assert_eq!(saved.status, 200, "{}", saved.text);
    }

    /// Saves settings over any version.
    async fn save(&self, tenant: &str, settings: Value) -> Answer {
        self.send(&self.token(tenant, ADMIN), "PUT", "/v1/export-settings", &[("if-match", "*")], Some(settings)).await
    }

    fn token(&self, tenant: &str, permission: &str) -> String {
        self.issuer.token_for(tenant, &[permission])
    }

    async fn admin(&self, tenant: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(&self.token(tenant, ADMIN), method, path, &[], body).await
    }

    async fn get(&self, tenant: &str, path: &str) -> Answer {
        self.send(&self.token(tenant, READ), "GET", path, &[], None).await
    }

    async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.raw(request.body(body.map_or_else(HttpBody::empty, |body| body.to_string().into())).unwrap()).await
    }

    async fn raw(&self, request: Request<HttpBody>) -> Answer {
        let (status, headers, bytes) = self.transferred(request).await;
        Answer { status, headers, text: String::from_utf8(bytes).unwrap() }
    }

    /// The answer as it is sent, which may be compressed.
    async fn transferred(&self, request: Request<HttpBody>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    /// Plans the result of a step of all later verifications.
    fn plan_step(&self, step: StepName, status: StepStatus, code: Code) {
        self.plan_step_by(code.party(), step, status, code);
    }

    /// Plans a step that another party than the code's must act on.
    fn plan_step_by(&self, party: Party, step: StepName, status: StepStatus, code: Code) {
        let (message, hint) = ("As planned.".to_owned(), Some("Do this.".to_owned()));
        let planned = Step { step, status, code: Some(code), message, hint, party: Some(party) };
        self.fakes.state().findings.insert(step, planned);
    }

    /// The tenant's audit events of an action, in the order of their ids.
    fn recorded(&self, tenant: &str, action: &str) -> Vec<Value> {
        let state = self.fakes.state();
        let bodies = state.events.iter().filter(|((of, _), _)| of == tenant).flat_map(|(_, events)| events.values());
        let parse = |body: &Body| match body {
            Body::Text(text) => serde_json::from_str::<Value>(text).unwrap(),
            Body::NoText(_) => Value::Null,
        };
        bodies.map(parse).filter(|event| event["action"] == action).collect()
    }

    /// Removes the audit events of downloads, which have the filters.
    fn forget_downloads(&self) {
        let is_download = |body: &Body| matches!(body, Body::Text(text) if text.contains("\"Audit Logs Downloaded\""));
        self.fakes.state().events.values_mut().for_each(|events| events.retain(|_, body| !is_download(body)));
    }

    /// Records an event.
    fn event(&self, tenant: &str, minutes_ago: i64, action: &str) {
        let at = now() - TimeDelta::minutes(minutes_ago);
        let recorded_at = at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let event = json!({
            "id": format!("{tenant}-{minutes_ago}"), "date": recorded_at.to_string(), "logType": "Authentication",
            "action": action, "user": { "id": "u", "email": format!("ada@{tenant}.example") },
            "additionalInfo": { "note": format!("of {tenant}") },
        });
        let recorded_at_id = format!("{recorded_at}#{tenant}-{minutes_ago}");
        let stored = StoredEvent { recorded_at_id, body: Body::Text(event.to_string()) };
        self.fakes.put_event(&TenantId::parse(tenant).unwrap(), 0, stored);
    }
}

fn settings(tenant: &str) -> Value {
    json!({ "bucket": format!("{tenant}-audit-logs"), "region": "eu-west-1", "prefix": "security" })
}
