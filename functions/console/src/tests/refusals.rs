//! Refused requests. `audit_log_web` tests how access tokens are verified; this tests that every operation does it.

use super::*;
use crate::openapi;

/// Every operation that needs a token: method, path, and whether the read permission is enough.
pub(super) fn operations() -> Vec<(String, String, bool)> {
    let document: Value = serde_json::from_str(&openapi::document()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let operations_of_path = item.as_object().unwrap().iter();
        for (method, _) in operations_of_path.filter(|(_, operation)| operation["security"] != json!([{}])) {
            let read = ["/v1/exports", "/v1/status", "/v1/audit-logs", "/v1/replays/current"]
                .iter()
                .any(|it| path.starts_with(it));
            let read = read && method == "get";
            operations.push((method.to_uppercase(), path.clone(), read));
        }
    }
    assert_eq!(operations.len(), 18, "{operations:?}");
    operations
}

#[tokio::test]
async fn every_operation_refuses_missing_invalid_and_insufficient_tokens() {
    let world = World::with("acme").await;
    let claims = world.issuer.claims("acme", &[ADMIN]);
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    let stranger = TestIssuer::es256(now());
    let before = world.fakes.state().tenants.clone();
    for (method, path, read) in operations() {
        for (token, expected) in [
            (String::new(), (401, "missing_token")),
            ("nonsense".to_owned(), (401, "invalid_token")),
            (world.issuer.unsigned_token(&claims), (401, "invalid_token")),
            (world.issuer.hs256_token(world.issuer.public_key_pem().as_bytes(), &claims), (401, "invalid_token")),
            (stranger.token(&claims), (401, "invalid_token")),
            (world.issuer.token(&with("aud", "somebody-else".into())), (401, "invalid_token")),
            (world.issuer.token(&with("iss", "https://evil.example/".into())), (401, "invalid_token")),
            (world.issuer.token(&with("exp", (now().timestamp() - 60).into())), (401, "expired_token")),
            (world.issuer.token(&with("tenant_id", json!(["acme", "globex"]))), (401, "invalid_token")),
            (world.issuer.token_for("acme", &[]), (403, "permission_denied")),
            (world.issuer.token_for("acme", &["events:write"]), (403, "permission_denied")),
            (world.token("acme", READ), if read { (200, "") } else { (403, "permission_denied") }),
        ] {
            let answer = world.send(&token, &method, &path, &[("if-match", "*")], None).await;
            if expected.0 == 200 && path == "/v1/replays/current" {
                assert_eq!(answer.refusal(), (404, "not_found".to_owned()), "there was none yet");
            } else if expected.0 == 200 {
                assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text);
            } else {
                assert_eq!(answer.refusal(), (expected.0, expected.1.to_owned()), "{method} {path} {token}");
            }
        }
    }
    assert_eq!(world.fakes.state().tenants, before, "something was changed");
}

#[tokio::test]
async fn without_a_token_issuer_every_operation_refuses() {
    let deployment = Deployment {
        platform: Platform { account: AccountId::parse("111111111111").unwrap(), partition: Partition::Aws },
        region: Region::parse("eu-west-1").unwrap(),
        exporter_role: "audit-log-exporter".to_owned(),
        template_url: None,
        settle: TimeDelta::minutes(1),
        retention: None,
        searches_per_minute: 100_000,
        sign_in_origins: Vec::new(),
        embedding: Embedding::default(),
    };
    let issuer = TestIssuer::es256(now());
    let app = App::new(Fakes::default(), deployment, None, now, fill);
    let world = World { fakes: Fakes::default(), issuer, router: router(app) };
    for (method, path, _) in operations() {
        let refused = world.send(&world.token("acme", ADMIN), &method, &path, &[], None).await;
        assert_eq!(refused.refusal(), (503, "tokens_not_configured".to_owned()), "{method} {path}");
    }
    for path in ["/openapi.json", "/v1/manifest-keys"] {
        assert_eq!(world.send("", "GET", path, &[], None).await.status, 200, "{path} needs no token");
    }
}

#[tokio::test]
async fn an_unreadable_body_is_refused_and_changes_nothing() {
    let world = World::with("acme").await;
    let before = world.fakes.state().tenants.clone();
    let token = world.token("acme", ADMIN);
    let large = format!("{{\"bucket\":\"{}\"}}", "x".repeat(64 << 10));
    for (method, path) in
        [("PUT", "/v1/connector"), ("PUT", "/v1/export-settings"), ("POST", "/v1/export-settings/verify")]
    {
        for (content_type, body, expected) in [
            ("application/json", "{", (400, "malformed_body")),
            ("application/json", "[1]", (400, "malformed_body")),
            ("application/json", "\"x\"", (400, "malformed_body")),
            ("application/json", "\u{feff}{}", (400, "malformed_body")),
            ("application/json", &large, (413, "body_too_large")),
            ("text/plain", "{}", (415, "unsupported_media_type")),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header("authorization", format!("Bearer {token}"))
                .header("content-type", content_type)
                .header("if-match", "*");
            let refused = world.raw(request.body(body.to_owned().into()).unwrap()).await;
            let words = format!("{method} {path}: {}", &refused.text);
            assert_eq!(refused.refusal(), (expected.0, expected.1.to_owned()), "{words}");
        }
    }
    assert_eq!(world.fakes.state().tenants, before);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let world = World::new();
    let token = world.token("acme", ADMIN);
    for path in ["/v1", "/v2/connector", "/v1/connector/", "/v1/tenants/globex/connector"] {
        assert_eq!(world.send(&token, "GET", path, &[], None).await.refusal(), (404, "not_found".to_owned()), "{path}");
    }
    let refused = world.send(&token, "PATCH", "/v1/connector", &[], None).await;
    assert_eq!(refused.refusal(), (405, "method_not_allowed".to_owned()));
    assert!(refused.header("allow").contains("PUT"), "{:?}", refused.headers);
}
