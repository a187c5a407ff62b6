//! Which requests reach a handler.

use axum::{Router, body::Body, response::Response, routing::get};
use http::{HeaderValue, Request};
use serde_json::Value;
use tower::ServiceExt as _;

use super::*;
use crate::issuer::TestIssuer;

#[derive(Clone)]
struct App(Option<std::sync::Arc<TokenVerifier>>);

impl HasTokenVerifier for App {
    fn token_verifier(&self) -> Option<&TokenVerifier> {
        self.0.as_deref()
    }

    fn now(&self) -> DateTime<Utc> {
        noon()
    }
}

fn noon() -> DateTime<Utc> {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

async fn whoami<P>(caller: Caller<P>) -> String {
    format!("{} of {}", caller.actor().id, caller.tenant())
}

/// Sends a request with these headers. Returns the answer's status, its challenge and its body.
async fn request(app: App, path: &str, authorization: &[&str]) -> (u16, Option<String>, String) {
    let router = Router::new()
        .route("/read", get(whoami::<Read>))
        .route("/admin", get(whoami::<Admin>))
        .route("/write", get(whoami::<WriteEvents>));
    let mut request = Request::get(path).body(Body::empty()).unwrap();
    for value in authorization {
        request.headers_mut().append(header::AUTHORIZATION, HeaderValue::try_from(*value).unwrap());
    }
    let response: Response = router.with_state(app).oneshot(request).await.unwrap();
    let challenge = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    let status = response.status().as_u16();
    let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, challenge, String::from_utf8(body.to_vec()).unwrap())
}

fn app(issuer: &TestIssuer) -> App {
    App(Some(std::sync::Arc::new(issuer.token_verifier())))
}

#[tokio::test]
async fn a_handler_is_reached_only_with_its_permission() {
    let issuer = TestIssuer::ed25519(noon());
    for (permission, allowed) in [
        ("audit-logs:read", [true, false, false]),
        ("audit-logs:admin", [true, true, false]),
        ("events:write", [false, false, true]),
        ("", [false, false, false]),
    ] {
        let header = format!("Bearer {}", issuer.token_for("acme", &[permission]));
        let paths = [("/read", Read::NAME), ("/admin", Admin::NAME), ("/write", WriteEvents::NAME)];
        for ((path, needed), allowed) in paths.into_iter().zip(allowed) {
            let (status, challenge, body) = request(app(&issuer), path, &[&header]).await;
            if allowed {
                assert_eq!((status, body.as_str()), (200, "acme-user of acme"));
            } else {
                assert_eq!(status, 403);
                assert!(body.contains(&format!("the permission {needed}")), "{body}");
                assert!(challenge.unwrap().contains(&format!(r#"scope="{needed}""#)));
            }
        }
    }
}

#[tokio::test]
async fn a_request_without_one_valid_bearer_token_is_refused_without_details() {
    let issuer = TestIssuer::ed25519(noon());
    let good = format!("Bearer {}", issuer.token_for("acme", &["audit-logs:read"]));
    let forged = format!("Bearer {}", TestIssuer::ed25519(noon()).token_for("acme", &["audit-logs:read"]));
    let mut claims = issuer.claims("acme", &["audit-logs:read"]);
    claims["exp"] = 1.into();
    let expired = format!("Bearer {}", issuer.token(&claims));
    let both = format!("{good}, {good}");
    for (headers, code, error) in [
        (&[][..], "missing_token", None),
        (&["Basic YWRhOnNlY3JldA=="], "missing_token", None),
        (&["Bearer"], "missing_token", None),
        (&[&good[7..]], "missing_token", None),
        (&["Bearer x"], "invalid_token", Some("invalid_token")),
        (&[&good, &good], "invalid_token", Some("invalid_token")),
        (&[&good, "Basic YWRhOnNlY3JldA=="], "invalid_token", Some("invalid_token")),
        (&[&both], "invalid_token", Some("invalid_token")),
        (&[&forged], "invalid_token", Some("invalid_token")),
        (&[&expired], "expired_token", Some("invalid_token")),
    ] {
        let (status, challenge, body) = request(app(&issuer), "/read", headers).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, problem["code"].as_str()), (401, Some(code)), "{headers:?}");
        let challenge = challenge.unwrap();
        assert_eq!(challenge.split(r#"error=""#).nth(1).map(|rest| rest.trim_end_matches('"')), error, "{challenge}");
        assert!(!body.contains("signature") && !body.contains("acme"), "{body}");
    }
    let (status, _, _) = request(app(&issuer), "/read", &[&good.replace("Bearer", "bEARER")]).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn every_request_is_refused_while_tokens_are_not_configured() {
    let issuer = TestIssuer::ed25519(noon());
    let good = format!("Bearer {}", issuer.token_for("acme", &["audit-logs:admin"]));
    for headers in [&[][..], &[good.as_str()]] {
        let (status, _, body) = request(App(None), "/read", headers).await;
        let problem: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, problem["code"].as_str()), (503, Some("tokens_not_configured")));
        assert_eq!(problem["party"], "platform");
        assert!(problem["hint"].as_str().unwrap().contains("TOKEN_ISSUER"));
    }
}
