//! The headers that every answer of this system has.

use axum::{Router, middleware, response::Response};
use http::{HeaderName, HeaderValue, header};

/// No answer is kept, guessed to be of another type, or asked for without TLS. By OWASP's "REST Security Cheat Sheet",
/// section "Security Headers".
const FIXED: [(HeaderName, HeaderValue); 2] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
];

/// Adds the headers to all answers of the routes and the fallbacks that the router has so far.
pub fn protect<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::map_response(add))
}

/// An answer may say by itself how long it is kept.
pub(crate) async fn add(mut response: Response) -> Response {
    response.headers_mut().extend(FIXED);
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
