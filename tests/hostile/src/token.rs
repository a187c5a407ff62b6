//! Access tokens: only a token that the issuer has signed is accepted, and only with its own claims.

use std::sync::LazyLock;

use audit_log_web::{
    access_token::TokenVerifier,
    caller::{Admin, Caller, HasTokenVerifier, Permission, Read, WriteEvents},
    issuer::TestIssuer,
};
use axum::{extract::FromRequestParts, response::IntoResponse};
use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use http::{HeaderValue, Request, header};
use serde_json::Value;

struct App {
    issuer: TestIssuer,
    token_verifier: TokenVerifier,
}

/// Each process makes its own key, so no corpus can hold a token that it has signed.
static APP: LazyLock<App> = LazyLock::new(|| {
    let issuer = TestIssuer::es256("2026-11-21T12:00:00Z".parse().expect("an instant"));
    App { token_verifier: issuer.token_verifier(), issuer }
});

impl HasTokenVerifier for App {
    fn token_verifier(&self) -> Option<&TokenVerifier> {
        Some(&self.token_verifier)
    }

    fn now(&self) -> DateTime<Utc> {
        self.issuer.now
    }
}

/// Takes a token's header and claims, a line each, and signs them. If the input doesn't begin with a brace, it is headers
/// `Authorization`, a line each, and none is valid.
pub fn check(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    if !text.starts_with('{') {
        let lines = data.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let headers: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
        assert!(!authorize::<Read>(&headers).1, "a token without the issuer's signature");
        return false;
    }
    let (header, claims) = text.split_once('\n').unwrap_or((&text, ""));
    let token = format!("Bearer {}", APP.issuer.token_of(header, claims));
    let headers = [HeaderValue::try_from(token).expect("a token is ASCII")];
    let (tenant, read) = authorize::<Read>(&headers);
    let (_, admin) = authorize::<Admin>(&headers);
    let (writer, write) = authorize::<WriteEvents>(&headers);
    assert!(read || !admin, "admin implies read");
    if let Some(tenant) = tenant.or(writer) {
        check_claims(header, claims, &tenant);
    }
    read || write
}

/// Returns the tenant, and whether the token has the permission.
fn authorize<P: Permission>(headers: &[HeaderValue]) -> (Option<String>, bool) {
    let mut request = Request::new(());
    for value in headers {
        request.headers_mut().append(header::AUTHORIZATION, value.clone());
    }
    let (mut parts, ()) = request.into_parts();
    let caller =
        Caller::<P>::from_request_parts(&mut parts, &*APP).now_or_never().expect("inline keys need no download");
    match caller {
        Ok(caller) => {
            assert!(caller.expires_at() > APP.now() - TimeDelta::seconds(31), "the token has expired");
            assert!(caller.expires_at() <= APP.now() + TimeDelta::hours(24) + TimeDelta::seconds(30), "a long life");
            assert!(!caller.actor().id.is_empty() && caller.actor().id.chars().count() <= 255);
            (Some(caller.tenant().to_string()), true)
        }
        Err(problem) => {
            let status = problem.into_response().status().as_u16();
            assert!([401, 403].contains(&status), "{status} for a refused token");
            (None, false)
        }
    }
}

fn check_claims(header: &str, claims: &str, tenant: &str) {
    let header: Value = serde_json::from_str(header).expect("a valid token is JSON");
    let claims: Value = serde_json::from_str(claims).expect("a valid token is JSON");
    assert_eq!((&header["alg"], header.get("crit")), (&Value::from("ES256"), None));
    let typ = header.get("typ").map(|typ| typ.as_str().unwrap_or_default().to_ascii_lowercase());
    assert!(typ.is_none_or(|typ| ["jwt", "at+jwt"].contains(&typ.trim_start_matches("application/"))), "another type");
    assert_eq!(claims["iss"], APP.issuer.issuer.as_str());
    let audience = &claims["aud"];
    let ours = Value::from(APP.issuer.audience.as_str());
    assert!(*audience == ours || audience.as_array().is_some_and(|list| list.contains(&ours)), "another audience");
    assert_eq!(claims["tenant_id"], tenant, "another tenant");
    assert!(claims["exp"].is_number() && claims["sub"].is_string());
}
