//! Refuses requests that don't come through the platform's CDN.
//!
//! An HTTP API can't have a firewall (AWS WAF), so a platform that needs one puts CloudFront before the API. CloudFront
//! adds a secret header to each request ("Add custom headers to origin requests" in the CloudFront developer guide), and a
//! request without it went around the firewall.

use audit_log_core::deployment::ConfigError;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use crate::{
    headers,
    problem::{Code, Problem},
};

pub const HEADER: &str = "x-origin-secret";

/// Marks a request that came through the CDN, by its secret.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThroughCdn;

const MIN_SECRET_BYTES: usize = 16;

/// `ORIGIN_SECRET`: one secret, or two separated by a comma while they are rotated.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginSecret(Vec<String>);

impl OriginSecret {
    /// Returns `None` if the variable is missing or blank.
    ///
    /// # Errors
    /// If a secret is too short, or has a character that the template's parameter doesn't allow.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let Some(text) = lookup("ORIGIN_SECRET").filter(|text| !text.is_empty()) else { return Ok(None) };
        let secrets: Vec<String> = text.split(',').map(str::to_owned).collect();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=/.~-".contains(&byte);
        if secrets.iter().all(|secret| secret.len() >= MIN_SECRET_BYTES && secret.bytes().all(allowed)) {
            return Ok(Some(Self(secrets)));
        }
        let rule =
            format!("has secrets of at least {MIN_SECRET_BYTES} letters, digits and _+=/.~-, with a comma between");
        Err(ConfigError::new("ORIGIN_SECRET", rule))
    }

    fn accepts(&self, sent: &[u8]) -> bool {
        self.0.iter().any(|secret| is_equal(sent, secret.as_bytes()))
    }
}

/// Without the secrets.
impl std::fmt::Debug for OriginSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OriginSecret")
    }
}

/// Takes as long for a first wrong byte as for a last one, so that the time says nothing about a secret.
pub fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    given.len() == expected.len() && given.iter().zip(expected).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// Makes a router refuse requests without the secret, if there is one. The routes don't see the header.
pub fn guard(router: Router, secret: Option<OriginSecret>) -> Router {
    let Some(secret) = secret else { return router };
    router.layer(middleware::from_fn(move |request, next| check(secret.clone(), request, next)))
}

async fn check(secret: OriginSecret, mut request: Request, next: Next) -> Response {
    match request.headers_mut().remove(HEADER) {
        Some(sent) if secret.accepts(sent.as_bytes()) => {
            request.extensions_mut().insert(ThroughCdn);
            next.run(request).await
        }
        _ => {
            let detail = "This address takes no requests. Use the platform's public address.";
            headers::add(Problem::new(Code::PermissionDenied, detail).into_response()).await
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::HeaderMap, routing::any};
    use tower::ServiceExt as _;

    use super::*;

    const OLD: &str = "an-old-secret-0123";
    const NEW: &str = "the-new-secret-4567";

    fn secret(text: &str) -> Result<Option<OriginSecret>, ConfigError> {
        OriginSecret::from_lookup(|name| (name == "ORIGIN_SECRET").then(|| text.to_owned()))
    }

    async fn status(configured: &str, sent: Option<&str>) -> u16 {
        let seen = |headers: HeaderMap| async move { assert!(!headers.contains_key(HEADER)) };
        let router = guard(Router::new().fallback(any(seen)), secret(configured).unwrap());
        let request = Request::get("/v1/status");
        let request = sent.into_iter().fold(request, |request, value| request.header(HEADER, value));
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let is_refused = answer.status() == 403;
        assert_eq!(answer.headers().contains_key("strict-transport-security"), is_refused, "{answer:?}");
        answer.status().as_u16()
    }

    #[tokio::test]
    async fn only_requests_with_a_configured_secret_pass() {
        let both = format!("{OLD},{NEW}");
        for (configured, sent, expected) in [
            (NEW, Some(NEW), 200),
            (NEW, Some(OLD), 403),
            (NEW, Some(""), 403),
            (NEW, Some(&NEW[1..]), 403),
            (NEW, None, 403),
            (&both, Some(OLD), 200),
            (&both, Some(NEW), 200),
            (&both, Some(&both), 403),
            ("", None, 200),
        ] {
            assert_eq!(status(configured, sent).await, expected, "{configured:?} {sent:?}");
        }
    }

    #[test]
    fn a_secret_that_can_be_guessed_or_not_be_sent_is_refused_and_never_printed() {
        for wrong in ["short", "has a space 0123456", &format!("{NEW},"), "umlaut-äöü-0123456"] {
            let error = secret(wrong).unwrap_err().to_string();
            assert!(error.contains("ORIGIN_SECRET") && !error.contains(wrong), "{error}");
        }
        assert!(!format!("{:?}", secret(NEW)).contains(NEW));
    }
}
