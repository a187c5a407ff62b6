//! Logs one line for each request, with the tenant and the subject of its access token.
//!
//! The API's own access log can't have these, since only the functions verify tokens. Both logs have the API's request id.

use std::sync::{Arc, OnceLock};

use axum::{
    Router,
    extract::{MatchedPath, Request},
    middleware::{self, Next},
    response::Response,
};
use http::request::Parts;
use lambda_http::{RequestExt as _, request::RequestContext};

use crate::access_token::VerifiedToken;

/// The token of a request, once it is verified.
#[derive(Debug, Clone, Default)]
struct TokenSlot(Arc<OnceLock<VerifiedToken>>);

/// Adds the log to all routes and fallbacks that the router has so far.
pub fn log_requests<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(log))
}

/// Notes the token for the line of its request. If a request has several, the first one counts.
pub(crate) fn note(parts: &Parts, token: &VerifiedToken) {
    if let Some(TokenSlot(slot)) = parts.extensions.get() {
        let _ = slot.set(token.clone());
    }
}

async fn log(mut request: Request, next: Next) -> Response {
    let token = TokenSlot::default();
    request.extensions_mut().insert(token.clone());
    let method = request.method().clone();
    let route = request.extensions().get().map(MatchedPath::as_str).unwrap_or("none").to_owned();
    let request_id = match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.clone(),
        _ => None,
    };
    let response = next.run(request).await;
    let token = token.0.get();
    tracing::info!(
        api_request_id = request_id,
        %method,
        route,
        status = response.status().as_u16(),
        tenant = token.map(|token| tracing::field::display(token.tenant())),
        subject = token.map(|token| token.actor().id.as_str()),
        "request answered"
    );
    response
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Body,
        http::{Request, header},
        routing::get,
    };
    use chrono::{DateTime, Utc};
    use tower::ServiceExt as _;

    use super::*;
    use crate::{
        access_token::TokenVerifier,
        caller::{Admin, Caller, HasTokenVerifier},
        issuer::TestIssuer,
        log_lines::LogLines,
    };

    #[derive(Clone)]
    struct App(Arc<TokenVerifier>);

    impl HasTokenVerifier for App {
        fn token_verifier(&self) -> Option<&TokenVerifier> {
            Some(&self.0)
        }

        fn now(&self) -> DateTime<Utc> {
            "2026-11-21T12:00:00Z".parse().unwrap()
        }
    }

    #[tokio::test]
    async fn each_request_is_logged_with_tenant_and_subject_and_without_its_token_or_query() {
        let issuer = TestIssuer::ed25519("2026-11-21T12:00:00Z".parse().unwrap());
        let app = App(Arc::new(issuer.token_verifier()));
        let routes = Router::new().route("/admin/{part}", get(async |_: Caller<Admin>| ()));
        let router = log_requests(routes).with_state(app);
        for (permission, expected) in [
            (Some("audit-logs:admin"), " status=200 tenant=acme subject=\"acme-user\""),
            (Some("audit-logs:read"), " status=403 tenant=acme subject=\"acme-user\""),
            (None, " status=401"),
        ] {
            let lines = LogLines::default();
            let guard = lines.collect();
            let token = permission.map(|permission| issuer.token_for("acme", &[permission]));
            let mut request = Request::get("/admin/x?q=secret");
            if let Some(token) = &token {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            drop(guard);
            let lines = lines.text();
            let line = format!(" message=request answered method=GET route=\"/admin/{{part}}\"{expected}");
            assert!(lines.contains(&line), "{lines}");
            assert!(!lines.contains("secret") && token.is_none_or(|token| !lines.contains(&token)), "{lines}");
        }
    }
}
