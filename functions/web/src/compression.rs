//! Compresses answers, so that a page is small on slow lines.
//!
//! API Gateway doesn't compress answers of an HTTP API. `lambda_http` encodes an answer with `Content-Encoding` in base64, as
//! API Gateway wants binary answers.

use std::io::Write as _;

use axum::{
    Router,
    body::{self, Body},
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, header};

/// Below this, the headers cost more than the compression saves.
const MIN_BYTES: usize = 1_000;

/// More would take longer than it saves.
const LEVEL: u32 = 6;

const FETCH_SITE: &str = "sec-fetch-site";

/// Compresses the answers of all routes and fallbacks that the router has so far, for clients that accept gzip.
pub fn compress<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(answer))
}

/// Whether a client accepts gzip, by RFC 9110, section 12.5.3.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let codings = lines.flat_map(|line| line.split(',')).map(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        (name, weight.is_none_or(|weight| weight.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0)))
    });
    let codings: Vec<(String, bool)> = codings.collect();
    let find = |wanted: &[&str]| codings.iter().find(|(name, _)| wanted.contains(&name.as_str()));
    find(&["gzip", "x-gzip"]).or_else(|| find(&["*"])).is_some_and(|(_, accepted)| *accepted)
}

/// `level` is from 0 to 9.
pub fn gzip(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), Compression::new(level));
    // Writing into memory doesn't fail. An empty result would not be taken for the content.
    if encoder.write_all(bytes).is_err() { Vec::new() } else { encoder.finish().unwrap_or_default() }
}

async fn answer(request: Request, next: Next) -> Response {
    let accepted = accepts_gzip(request.headers()) && !may_be_an_attack(request.headers());
    let mut response = next.run(request).await;
    if !is_compressible(response.headers()) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if accepted { compressed(response).await } else { response }
}

/// Whether the request has a session's cookie, but a page of another origin may have sent it: old browsers don't say. Such a
/// page may put guesses into the query, and somebody on the way may tell from the answer's compressed length which of them are
/// in the page (BREACH).
fn may_be_an_attack(headers: &HeaderMap) -> bool {
    let is_foreign = headers.get(FETCH_SITE).is_none_or(|site| site != "same-origin" && site != "none");
    is_foreign && headers.contains_key(header::COOKIE)
}

/// Whether an answer is text without an encoding yet. One with an `ETag` is left alone: the tag names its very bytes.
fn is_compressible(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = text(header::CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    let is_text = media_type.starts_with("text/")
        || media_type == "application/json"
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
        || media_type.ends_with("yaml");
    is_text && !headers.contains_key(header::CONTENT_ENCODING) && !headers.contains_key(header::ETAG)
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // Nothing is streamed, so the body is complete.
    let Ok(bytes) = body::to_bytes(body, usize::MAX).await else {
        return Response::from_parts(parts, Body::empty());
    };
    if bytes.len() < MIN_BYTES {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let packed = gzip(&bytes, LEVEL);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.insert(header::CONTENT_LENGTH, packed.len().into());
    Response::from_parts(parts, Body::from(packed))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::{http::StatusCode, response::IntoResponse as _, routing::any};
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use lambda_http::LambdaEvent;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;
    use crate::invocation;

    const BYTE_ORDER_MARK: &str = "\u{feff}";

    fn unpacked(bytes: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
        text
    }

    /// The answer's headers and body.
    async fn answered(
        headers: &[(&str, &str)],
        content: &[(&'static str, &'static str)],
        text: &str,
    ) -> (HeaderMap, Vec<u8>) {
        let (text, content) = (text.to_owned(), content.to_vec());
        let reply = move || {
            let (text, content) = (text.clone(), content.clone());
            async move {
                let mut response = (StatusCode::OK, text).into_response();
                response.headers_mut().remove(header::CONTENT_TYPE);
                for (name, value) in content {
                    response.headers_mut().insert(name, HeaderValue::from_static(value));
                }
                response
            }
        };
        let router = compress(Router::new().fallback(any(reply)));
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, *value));
        let (parts, body) = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
        (parts.headers, body::to_bytes(body, usize::MAX).await.unwrap().to_vec())
    }

    #[test]
    fn the_header_says_whether_gzip_is_accepted() {
        for (header, accepted) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP;q=0.5", true),
            ("x-gzip", true),
            ("*", true),
            ("br", false),
            ("gzip;q=0", false),
            ("gzip; q=0.0, *", false),
            ("identity", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_str(header).unwrap())]);
            assert_eq!(accepts_gzip(&headers), accepted, "{header}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn text_is_compressed_and_all_else_is_left_alone() {
        let (long, gzip) = ("The same line again.\n".repeat(200), [("accept-encoding", "gzip")]);
        for media_type in
            ["text/html; charset=utf-8", "text/csv", "application/json", "application/problem+json", "image/svg+xml"]
        {
            let (headers, body) = answered(&gzip, &[("content-type", media_type)], &long).await;
            assert!(headers["content-encoding"] == "gzip" && headers["vary"] == "accept-encoding", "{media_type}");
            assert_eq!(headers["content-length"], body.len().to_string());
            assert!(body.len() < long.len() / 5 && unpacked(&body) == long, "{media_type}");
            let (headers, body) = answered(&[], &[("content-type", media_type)], &long).await;
            assert!(body == long.as_bytes() && headers["vary"] == "accept-encoding", "{media_type}");
            assert!(!headers.contains_key("content-encoding"), "{media_type}");
        }
        for (content, text) in [
            ([("content-type", "image/png"), ("x", "")], long.as_str()),
            ([("content-type", "text/css"), ("content-encoding", "br")], &long),
            ([("content-type", "application/json"), ("etag", "\"3\"")], &long),
            ([("content-type", "text/html"), ("x", "")], "short"),
            ([("content-type", "text/html"), ("x", "")], ""),
        ] {
            let (headers, body) = answered(&gzip, &content, text).await;
            assert!(body == text.as_bytes(), "{content:?}");
            assert!(headers.get("content-encoding").is_none_or(|it| it != "gzip"), "{content:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_to_another_sites_page_with_a_cookie_is_not_compressed() {
        let (long, html) = ("x".repeat(5_000), [("content-type", "text/html")]);
        let (site, cookie, gzip) = ("sec-fetch-site", ("cookie", "session=x"), ("accept-encoding", "gzip"));
        for (sent, compressed) in [
            (vec![gzip, cookie, (site, "same-origin")], true),
            (vec![gzip, cookie, (site, "none")], true),
            (vec![gzip], true),
            (vec![gzip, cookie], false),
            (vec![gzip, (site, "cross-site")], true),
            (vec![gzip, cookie, (site, "cross-site")], false),
            (vec![gzip, cookie, (site, "same-site")], false),
        ] {
            let (headers, _) = answered(&sent, &html, &long).await;
            assert_eq!(headers.contains_key("content-encoding"), compressed, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn lambda_encodes_a_compressed_answer_in_base64_and_keeps_its_byte_order_mark() {
        let csv = format!("{BYTE_ORDER_MARK}{}", "Date,User\n".repeat(500));
        for accepted in ["gzip", "identity"] {
            let text = csv.clone();
            let reply = move || async move { ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], text) };
            let request = json!({
                "version": "2.0", "rawPath": "/", "rawQueryString": "",
                "headers": { "host": "api.test", "accept-encoding": accepted },
                "requestContext": {
                    "domainName": "api.test", "stage": "$default", "timeEpoch": 0,
                    "http": { "method": "GET", "path": "/" },
                },
                "isBase64Encoded": false,
            });
            let event = LambdaEvent::new(serde_json::from_value(request).unwrap(), lambda_http::Context::default());
            let router = compress(Router::new().fallback(any(reply)));
            let answer: Value = serde_json::to_value(invocation::answer(router, event).await.unwrap()).unwrap();
            let body = answer["body"].as_str().unwrap();
            let is_packed = accepted == "gzip";
            assert_eq!(answer["isBase64Encoded"], is_packed, "{answer}");
            let text = if is_packed { unpacked(&STANDARD.decode(body).unwrap()) } else { body.to_owned() };
            assert!(text == csv, "{accepted}");
        }
    }
}
