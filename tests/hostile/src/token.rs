//! Access tokens: whatever a request brings, only what the issuer has signed and what it says counts.

use std::sync::LazyLock;

use audit_log_web::{
    authority::Authority,
    caller::{Admin, Caller, HasAuthority, Permission, Read, WriteEvents},
    issuer::TestIssuer,
};
use axum::{extract::FromRequestParts, response::IntoResponse};
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use http::{HeaderValue, Request, header};
use serde_json::Value;

struct World {
    issuer: TestIssuer,
    authority: Authority,
}

/// A key of its own for each process: no corpus can hold a token that it has signed.
static WORLD: LazyLock<World> = LazyLock::new(|| {
    let issuer = TestIssuer::es256("2026-11-21T12:00:00Z".parse().expect("an instant"));
    World { authority: issuer.authority(), issuer }
});

impl HasAuthority for World {
    fn authority(&self) -> Option<&Authority> {
        Some(&self.authority)
    }

    fn now(&self) -> DateTime<Utc> {
        self.issuer.now
    }
}

/// Takes the header of a token and its claims, a line each, which are signed by the issuer; or, if they don't begin with
/// a brace, headers Authorization, a line each, of which none can be good.
pub fn check(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    if !text.starts_with('{') {
        let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let headers: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
        assert!(!may::<Read>(&headers).1, "nobody has signed this");
        return false;
    }
    let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
    let token = format!("Bearer {}", WORLD.issuer.token_of(header, claims));
    let headers = [HeaderValue::try_from(token).expect("a token is ASCII")];
    let (tenant, read) = may::<Read>(&headers);
    let (_, admin) = may::<Admin>(&headers);
    let (writer, write) = may::<WriteEvents>(&headers);
    assert!(read || !admin, "whoever administrates may look");
    if let Some(tenant) = tenant.or(writer) {
        is_what_it_says(header, claims, &tenant);
    }
    read || write
}

/// Whose the caller is, if their token has the permission, and whether it does.
fn may<P: Permission>(headers: &[HeaderValue]) -> (Option<String>, bool) {
    let mut request = Request::new(());
    for value in headers {
        request.headers_mut().append(header::AUTHORIZATION, value.clone());
    }
    let (mut parts, ()) = request.into_parts();
    let caller = Caller::<P>::from_request_parts(&mut parts, &*WORLD).now_or_never().expect("the keys are at hand");
    match caller {
        Ok(caller) => {
            assert!(caller.expires_at() > WORLD.now() - TimeDelta::seconds(31), "it has expired");
            assert!(!caller.actor().id.is_empty() && caller.actor().id.chars().count() <= 255);
            (Some(caller.tenant().to_string()), true)
        }
        Err(problem) => {
            let status = problem.into_response().status().as_u16();
            assert!([401, 403].contains(&status), "{status} is no refusal of a token");
            (None, false)
        }
    }
}

fn is_what_it_says(header: &str, claims: &str, tenant: &str) {
    let header: Value = serde_json::from_str(header).expect("what counts can be read");
    let claims: Value = serde_json::from_str(claims).expect("what counts can be read");
    assert_eq!((&header["alg"], header.get("crit")), (&Value::from("ES256"), None));
    assert_eq!(claims["iss"], WORLD.issuer.issuer.as_str());
    let audience = &claims["aud"];
    let ours = Value::from(WORLD.issuer.audience.as_str());
    assert!(*audience == ours || audience.as_array().is_some_and(|list| list.contains(&ours)), "someone else's");
    assert_eq!(claims["tenant_id"], tenant, "another tenant's");
    assert!(claims["exp"].is_number() && claims["sub"].is_string());
}
