//! Requests to the console: no answer is a server error, and no request reads or changes anything of another tenant.
//!
//! An input is a line `<method> <path and query>`, a line with the content type, and the body. `CSRF` in a body stands for
//! the token of the session's forms.

use std::sync::{LazyLock, Mutex};

use audit_log_console::{
    app::{App, Deployment},
    embedding::Embedding,
    router,
};
use audit_log_core::{
    event::Body,
    fakes::{FakeState, FakeTenant, Fakes},
    records::StoredWatermark,
    schedule::Schedule,
    settings::Draft,
    tenant::{AccountId, Partition, Platform, Region, TenantId},
};
use audit_log_web::{invocation, issuer::TestIssuer};
use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use lambda_http::{Context, LambdaEvent};
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// Only the other tenant may read it.
const SECRET: &str = "none-of-your-business";

const OTHER: &str = "globex";

/// A console with a signed-in admin.
struct Console {
    runtime: Runtime,
    fakes: Fakes,
    router: Router,
    token: String,
    csrf: String,
}

static CONSOLE: LazyLock<Mutex<Console>> = LazyLock::new(|| {
    let fakes = Fakes::default();
    let issuer = TestIssuer::es256(now());
    let deployment = Deployment {
        platform: Platform {
            account: AccountId::parse("111111111111").expect("an account"),
            partition: Partition::Aws,
        },
        region: Region::parse("eu-west-1").expect("a region"),
        exporter_role: "audit-log-exporter".to_owned(),
        template_url: Some("https://templates.s3.amazonaws.com/audit-log-export-role/v1.0.0.yaml".to_owned()),
        settle: TimeDelta::minutes(1),
        retention: Some(TimeDelta::days(90)),
        searches_per_minute: 100_000,
        sign_in_origins: Vec::new(),
        embedding: Embedding::default(),
    };
    let random = |bytes: &mut [u8]| {
        bytes.fill(7);
        true
    };
    let router = router(App::new(fakes.clone(), deployment, Some(issuer.token_verifier()), now, random));
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let token = issuer.token_for("acme", &["audit-logs:admin"]);
    let mut console = Console { runtime, fakes, router, token, csrf: String::new() };
    console.reset();
    let (_, page) = console.send("GET", "/settings", "", "").expect("a page");
    let csrf = page.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    console.csrf = csrf.expect("a form").to_owned();
    Mutex::new(console)
});

fn now() -> DateTime<Utc> {
    "2026-11-21T10:03:12.345Z".parse().expect("an instant")
}

impl Console {
    /// Stores two tenants, each with settings and an event.
    fn reset(&self) {
        let mut state = FakeState::default();
        for (tenant, text) in [("acme", "own"), (OTHER, SECRET)] {
            let some = |text: &str| Some(text.to_owned());
            let config = Draft {
                external_id: some(&format!("external-id-{text}-0123456789")),
                role_arn: some(&format!("arn:aws:iam::222222222222:role/{text}")),
                bucket: some(&format!("{text}-bucket")),
                region: some("eu-west-1"),
                frequency_hours: some("1"),
                version: some("3"),
                ..Draft::default()
            };
            let hour = now() - TimeDelta::minutes(3);
            let schedule = Schedule { exported_until: hour, next_due: hour + TimeDelta::hours(1) };
            let id = TenantId::parse(tenant).expect("a tenant");
            let watermark = Some(StoredWatermark::connected(&id, schedule));
            state
                .tenants
                .insert(tenant.to_owned(), FakeTenant { config: Some(config), watermark, ..FakeTenant::default() });
            let event = json!({
                "id": "e-1", "date": "2026-11-21T09:00:00.000Z", "logType": "Scan", "action": text,
                "user": { "id": "u-1" }, "additionalInfo": {},
            });
            let key = "2026-11-21T09:00:00.000Z#e-1".to_owned();
            state.events.entry((tenant.to_owned(), 0)).or_default().insert(key, Body::Text(event.to_string()));
        }
        *self.fakes.state() = state;
    }

    /// Returns all data of the other tenant.
    fn other_tenant(&self) -> (Option<FakeTenant>, Vec<String>) {
        let state = self.fakes.state();
        let events = state.events.iter().filter(|((tenant, _), _)| tenant == OTHER);
        (state.tenants.get(OTHER).cloned(), events.flat_map(|(_, events)| events.keys().cloned()).collect())
    }

    /// Returns the answer's status and body; `None` if the input is not a request.
    fn send(&self, method: &str, target: &str, content_type: &str, body: &str) -> Option<(u64, String)> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query,
            "headers": {
                "host": "console.example", "authorization": format!("Bearer {}", self.token),
                "sec-fetch-site": "same-origin", "content-type": content_type, "if-match": "*",
            },
            "cookies": [format!("__Host-audit-log-session={}", self.token)],
            "requestContext": {
                "domainName": "console.example", "stage": "$default", "timeEpoch": 0,
                "http": { "method": method, "path": path },
            },
            "body": body.replace("CSRF", &self.csrf), "isBase64Encoded": false,
        });
        let event = LambdaEvent::new(serde_json::from_value(request).ok()?, Context::default());
        let answer = self.runtime.block_on(invocation::answer(self.router.clone(), event)).ok()?;
        let answer: Value = serde_json::to_value(answer).expect("an answer is JSON");
        Some((answer["statusCode"].as_u64().expect("a status"), answer["body"].as_str().unwrap_or_default().to_owned()))
    }
}

/// Takes a request. It is accepted if the answer is not an error.
pub fn check(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    let (content_type, body) = rest.split_once('\n').unwrap_or((rest, ""));
    let Some((method, target)) = line.split_once(' ') else { return false };
    let console = CONSOLE.lock().expect("no other panic");
    console.reset();
    let before = console.other_tenant();
    let Some((status, answer)) = console.send(method, target, content_type, body) else { return false };
    assert!(status < 500, "a server error: {answer}");
    assert!(!answer.contains(SECRET), "another tenant's data is shown");
    assert_eq!(console.other_tenant(), before, "another tenant's data is changed");
    status < 400
}
