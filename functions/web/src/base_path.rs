//! The path under which a domain of the platform serves the API and the pages.
//!
//! API Gateway leaves the key of an API mapping in `rawPath`: with the mapping `audit-logs`, `/audit-logs/status` arrives and
//! not `/status`. A named stage stays there, too. The routes know nothing of either.

use audit_log_core::deployment::ConfigError;
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};
use http::{Method, StatusCode, Uri, header, uri::PathAndQuery};

use crate::headers;

/// Begins with a slash and doesn't end in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasePath(String);

impl BasePath {
    /// `BASE_PATH`. Returns `None` if the variable is missing or blank.
    ///
    /// # Errors
    /// If it is not a path that the template's parameter allows.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let Some(text) = lookup("BASE_PATH").filter(|text| !text.is_empty()) else { return Ok(None) };
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        let is_segment = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
        if text.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_segment)) {
            return Ok(Some(Self(text)));
        }
        Err(ConfigError::new("BASE_PATH", "is a path such as /audit-logs, of letters, digits and _.-"))
    }

    /// The rest of a path below this one, blank or with a slash at its beginning.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.0.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Serves a router below the base path, if there is one. Requests for other paths reach it as they are: the API's own address
/// has no base path.
pub fn mount(router: Router, base: Option<BasePath>) -> Router {
    let Some(base) = base else { return router };
    Router::new().fallback_service(router).layer(middleware::from_fn_with_state(base, strip))
}

async fn strip(State(base): State<BasePath>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path();
    match base.rest(path) {
        // The pages' links are relative, so the address of the first page must end in a slash. The redirect is relative as
        // well, since a proxy may have put the base path below another.
        Some("") if matches!(*request.method(), Method::GET | Method::HEAD) => {
            let last = base.0.rsplit('/').next().unwrap_or_default();
            let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
            let location = [(header::LOCATION, format!("./{last}/{query}"))];
            return headers::add((StatusCode::PERMANENT_REDIRECT, location).into_response()).await;
        }
        Some(rest) => {
            if let Some(uri) = with_path(request.uri(), if rest.is_empty() { "/" } else { rest }) {
                *request.uri_mut() = uri;
            }
        }
        None => {}
    }
    next.run(request).await
}

fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::any};
    use tower::ServiceExt as _;

    use super::*;

    fn base(text: &str) -> Result<Option<BasePath>, ConfigError> {
        BasePath::from_lookup(|name| (name == "BASE_PATH").then(|| text.to_owned()))
    }

    /// The status, and what the router has seen or where the answer leads.
    async fn answer(base_path: &str, method: &str, address: &str) -> (u16, String) {
        let echo = |uri: Uri| async move { uri.to_string() };
        let router = mount(Router::new().fallback(any(echo)), base(base_path).unwrap());
        let request = Request::builder().method(method).uri(address).body(Body::empty()).unwrap();
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        if let Some(location) = answer.headers().get(header::LOCATION) {
            return (status, location.to_str().unwrap().to_owned());
        }
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn routes_see_paths_without_the_base_path() {
        for (base, sent, seen) in [
            ("/audit-logs", "https://a.test/audit-logs/status?x=/audit-logs", "https://a.test/status?x=/audit-logs"),
            ("/audit-logs", "/audit-logs/", "/"),
            ("/audit-logs", "/audit-logs/audit-logs/x", "/audit-logs/x"),
            ("/audit-logs", "/status", "/status"),
            ("/audit-logs", "/audit-logs-of-others/x", "/audit-logs-of-others/x"),
            ("/audit-logs", "/audit-logs.csv?q=1", "/audit-logs.csv?q=1"),
            ("/a/b", "/a/b/v1/events", "/v1/events"),
            ("/a/b", "/a/v1/events", "/a/v1/events"),
            ("", "/audit-logs/status", "/audit-logs/status"),
        ] {
            assert_eq!(answer(base, "GET", sent).await, (200, seen.to_owned()), "{base} {sent}");
        }
        assert_eq!(answer("/audit-logs", "POST", "/audit-logs?x=1").await, (200, "/?x=1".to_owned()));
    }

    #[tokio::test]
    async fn the_bare_base_path_leads_to_its_first_page() {
        for (base, sent, location) in
            [("/audit-logs", "/audit-logs?signedIn=yes", "./audit-logs/?signedIn=yes"), ("/a/b", "/a/b", "./b/")]
        {
            assert_eq!(answer(base, "GET", sent).await, (308, location.to_owned()), "{sent}");
        }
    }

    #[test]
    fn a_path_that_no_mapping_has_is_refused() {
        for wrong in ["audit-logs", "/", "/audit-logs/", "//x", "/a//b", "/..", "/a/../b", "/.", "/a b", "/ä", "/a?b"]
        {
            assert!(base(wrong).is_err(), "{wrong}");
        }
        assert_eq!(base("").unwrap(), None);
    }
}
