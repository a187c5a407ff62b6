//! Passes a request of an HTTP API from Lambda to a router.
//!
//! `lambda_http` panics if the parts of a request are not a valid URL. An API passes the client's query on as it was sent
//! (`rawQueryString` of the payload format 2.0, by "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway
//! developer guide), so the query is encoded here as browsers do. All other parts come from the API itself, and a request
//! with an invalid one is refused.
//!
//! The path of a request begins with the key of the API mapping through which it came, and with the name of a stage that is not
//! `$default`. The routes know of neither, so both are removed. What is left has as many segments as the API's own route.
//!
//! `lambda_http` also decodes a text that it answers, and so removes its byte order mark. A second mark keeps the first one.

use axum::{
    Router,
    body::{self, Body},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{
    StatusCode, Uri,
    header::{HOST, LOCATION},
    uri::Authority,
};
use lambda_http::{
    Adapter, Error, LambdaEvent, Service as _, aws_lambda_events::apigw::ApiGatewayV2httpRequest,
    request::LambdaRequest,
};
use serde::Serialize;
use tower::ServiceExt;
use url::Url;

use crate::headers;

/// In a route's key, what matches the rest of a path.
const GREEDY: &str = "{proxy+}";

/// In UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the event is not a valid request of an HTTP API or a function URL")]
pub struct MalformedRequest;

/// # Errors
/// [`MalformedRequest`]. Nothing that a client can send causes it.
pub async fn answer(
    router: Router,
    LambdaEvent { payload, context }: LambdaEvent<LambdaRequest>,
) -> Result<impl Serialize, Error> {
    let LambdaRequest::ApiGatewayV2(request) = payload else { return Err(MalformedRequest.into()) };
    let request = below_base_path(request);
    let router = match location_with_slash(&request) {
        Some(location) => Router::new().fallback(async move || redirect(location).await),
        None => router,
    };
    let request = LambdaRequest::ApiGatewayV2(encode_query(request)?);
    let router = ServiceExt::<lambda_http::Request>::and_then(router, keep_byte_order_mark);
    // Not awaited in one expression, since that would keep the adapter, which is not `Send`.
    let answer = Adapter::from(router).call(LambdaEvent::new(request, context));
    answer.await
}

/// Doubles the mark at the beginning of an answer, if it has one. The header Content-Length counts one.
async fn keep_byte_order_mark(response: Response) -> Result<Response, Error> {
    let (parts, body) = response.into_parts();
    // Nothing is streamed, so the body is complete.
    let bytes = body::to_bytes(body, usize::MAX).await?;
    let body = match bytes.starts_with(BYTE_ORDER_MARK) {
        true => Body::from([BYTE_ORDER_MARK, &bytes].concat()),
        false => Body::from(bytes),
    };
    Ok(Response::from_parts(parts, body))
}

/// Marks a request that was redirected already, for an API that doesn't pass the slash at the end on.
const SLASH_ADDED: &str = "slash=added";

/// Removes what comes before the path of the API's route.
fn below_base_path(mut request: ApiGatewayV2httpRequest) -> ApiGatewayV2httpRequest {
    let route = request.route_key.as_deref().and_then(|key| key.split_once(' ')).map(|(_, path)| path);
    let matched = route.and_then(|route| match route.split_once(GREEDY) {
        Some((start, _)) => Some(format!("{start}{}", request.path_parameters.get("proxy")?)),
        None => Some(route.to_owned()),
    });
    let (Some(matched), Some(path)) = (matched, request.raw_path.as_deref()) else { return request };
    // Not compared as text, since API Gateway decodes parameters.
    let segments = matched.matches('/').count();
    if let Some((start, _)) = path.rmatch_indices('/').nth(segments.saturating_sub(1)) {
        request.raw_path = Some(path.get(start..).unwrap_or(path).to_owned());
        // Or else `lambda_http` puts a stage's name before the path.
        request.request_context.stage = Some("$default".to_owned());
    }
    request
}

/// Where the first page is, for a request of a base path without a slash at its end: relative links would lead beside it. The
/// location is relative as well, since a proxy may have put the base path below another.
fn location_with_slash(request: &ApiGatewayV2httpRequest) -> Option<String> {
    let query = request.raw_query_string.as_deref().unwrap_or_default();
    let last = request.raw_path.as_deref()?.strip_prefix('/').filter(|last| !last.is_empty())?;
    let is_bare = request.route_key.as_deref() == Some("GET /") && !query.contains(SLASH_ADDED);
    let separator = if query.is_empty() { "" } else { "&" };
    is_bare.then(|| format!("./{last}/?{query}{separator}{SLASH_ADDED}"))
}

async fn redirect(location: String) -> Response {
    headers::add((StatusCode::PERMANENT_REDIRECT, [(LOCATION, location)]).into_response()).await
}

/// Encodes the query, so that the request's parts are a valid URL.
fn encode_query(mut request: ApiGatewayV2httpRequest) -> Result<ApiGatewayV2httpRequest, MalformedRequest> {
    // It could be any text, and nothing here needs the scheme.
    request.headers.remove("x-forwarded-proto");
    let host = request.headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or(request.request_context.domain_name.as_deref()).unwrap_or("localhost");
    let path = request.raw_path.as_deref().unwrap_or_default();
    let stage = request.request_context.stage.as_deref().filter(|stage| *stage != "$default");
    let is_path = path.starts_with('/') && stage.is_none_or(|stage| !stage.is_empty() && !stage.contains(['?', '#']));
    let stage = stage.map(|stage| format!("/{stage}")).unwrap_or_default();
    let mut url = Url::parse(&format!("https://{host}{stage}{path}")).map_err(|_| MalformedRequest)?;
    url.set_query(request.raw_query_string.as_deref().filter(|query| !query.is_empty()));
    let body = request.body.as_deref().filter(|_| request.is_base64_encoded).unwrap_or_default();
    if !is_path
        || Authority::try_from(host).is_err()
        || Uri::try_from(url.as_str()).is_err()
        || STANDARD.decode(body).is_err()
    {
        return Err(MalformedRequest);
    }
    request.raw_query_string = url.query().map(str::to_owned);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use axum::{body::Bytes, extract::RawQuery, http::Uri, routing::any};
    use serde_json::{Value, json};

    use super::*;

    fn request() -> Value {
        json!({
            "version": "2.0", "rawPath": "/v1/events", "rawQueryString": "", "headers": { "host": "api.test" },
            "requestContext": {
                "domainName": "api.test", "stage": "$default", "timeEpoch": 0,
                "http": { "method": "GET", "path": "/v1/events" },
            },
            "isBase64Encoded": false,
        })
    }

    async fn answered(changed: impl FnOnce(&mut Value)) -> Result<Value, String> {
        let mut request = request();
        changed(&mut request);
        let echo = |uri: Uri, RawQuery(query): RawQuery, body: Bytes| async move {
            format!("{} {} {}", uri.path(), query.unwrap_or_default(), body.len())
        };
        let request = serde_json::from_value(request).unwrap();
        let event = LambdaEvent::new(request, lambda_http::Context::default());
        let answer = answer(Router::new().fallback(any(echo)), event).await.map_err(|error| error.to_string())?;
        Ok(serde_json::to_value(answer).unwrap()["body"].clone())
    }

    #[tokio::test]
    async fn any_query_and_path_of_a_client_are_answered() {
        for (query, read) in [
            ("a=b&c=%2Fd+e", "a=b&c=%2Fd+e"),
            ("a=<b>\"c\" d#e", "a=%3Cb%3E%22c%22%20d%23e"),
            ("zoë=\u{0}\u{7f}", "zo%C3%AB=%00%7F"),
            ("%zz?{}|^`\\'", "%zz?{}|^`\\%27"),
        ] {
            let answer = answered(|request| request["rawQueryString"] = json!(query)).await;
            assert_eq!(answer, Ok(json!(format!("/v1/events {read} 0"))), "{query}");
        }
        for (path, read) in [("/", "/"), ("/a b/<ü>", "/a%20b/%3C%C3%BC%3E"), ("//x/../y", "//y"), ("/%zz", "/%zz")] {
            let answer = answered(|request| request["rawPath"] = json!(path)).await;
            assert_eq!(answer, Ok(json!(format!("{read}  0"))), "{path}");
        }
        let proto = answered(|request| request["headers"]["x-forwarded-proto"] = json!("not a scheme")).await;
        assert_eq!(proto, Ok(json!("/v1/events  0")));
        let stage = answered(|request| request["requestContext"]["stage"] = json!("live")).await;
        assert_eq!(stage, Ok(json!("/live/v1/events  0")));
    }

    #[tokio::test]
    async fn routes_see_paths_without_base_path_and_stage() {
        for (route, proxy, sent, seen) in [
            ("GET /{proxy+}", "status", "/status", "/status"),
            ("GET /{proxy+}", "status", "/audit-logs/status", "/status"),
            ("GET /{proxy+}", "connector/external-id", "/a/b/connector/external-id", "/connector/external-id"),
            ("GET /{proxy+}", "audit-logs/x", "/audit-logs/audit-logs/x", "/audit-logs/x"),
            ("GET /{proxy+}", "manifest-keys/a b", "/live/manifest-keys/a%20b", "/manifest-keys/a%20b"),
            // An encoded slash is no end of a segment.
            ("GET /{proxy+}", "a/b", "/a%2Fb", "/a%2Fb"),
            ("GET /", "", "/", "/"),
            ("GET /", "", "/audit-logs/", "/"),
            ("POST /v1/events", "", "/audit-logs/v1/events", "/v1/events"),
            ("POST /v1/events", "", "/v1/events", "/v1/events"),
            ("$default", "", "/audit-logs/v1/events", "/audit-logs/v1/events"),
        ] {
            for stage in ["$default", "live"] {
                let answer = answered(|request| {
                    request["rawPath"] = json!(sent);
                    request["routeKey"] = json!(route);
                    request["pathParameters"] = json!({ "proxy": proxy });
                    request["requestContext"]["stage"] = json!(if seen == sent { "$default" } else { stage });
                });
                assert_eq!(answer.await, Ok(json!(format!("{seen}  0"))), "{route} {sent} {stage}");
            }
        }
    }

    #[tokio::test]
    async fn a_base_path_without_a_slash_leads_to_its_first_page_once() {
        for (path, query, location) in [
            ("/audit-logs", "", Some("./audit-logs/?slash=added")),
            ("/a/b", "signedIn=yes", Some("./b/?signedIn=yes&slash=added")),
            ("/audit-logs/", "", None),
            ("/", "", None),
            ("/audit-logs", "slash=added", None),
        ] {
            let mut request = request();
            (request["rawPath"], request["rawQueryString"]) = (json!(path), json!(query));
            request["routeKey"] = json!("GET /");
            let event = LambdaEvent::new(serde_json::from_value(request).unwrap(), lambda_http::Context::default());
            let router = Router::new().fallback(any(async || "page"));
            let answer = serde_json::to_value(answer(router, event).await.unwrap()).unwrap();
            assert_eq!(answer["statusCode"], if location.is_some() { 308 } else { 200 }, "{path}: {answer}");
            assert_eq!(answer["headers"]["location"].as_str(), location, "{path}");
        }
    }

    #[tokio::test]
    async fn a_texts_byte_order_mark_is_kept() {
        for text in ["\u{feff}Date,User", "\u{feff}\u{feff}x", "Date,User", "", "x\u{feff}"] {
            let router = Router::new().fallback(any(move || async move { text }));
            let request = serde_json::from_value(request()).unwrap();
            let answer = answer(router, LambdaEvent::new(request, lambda_http::Context::default())).await.unwrap();
            let answer = serde_json::to_value(answer).unwrap();
            let body = answer["body"].as_str().unwrap_or_default();
            assert_eq!((body, &answer["headers"]["content-length"]), (text, &json!(text.len().to_string())));
        }
    }

    #[tokio::test]
    async fn a_request_that_no_api_sends_is_refused() {
        let refused = Err(MalformedRequest.to_string());
        for path in ["", "v1/events", "@evil.test/", ":99999/"] {
            assert_eq!(answered(|request| request["rawPath"] = json!(path)).await, refused, "{path}");
        }
        for host in ["", "a b", "999.999.999.999", "[::1", "a/../b\\", "api.test/v2", "api.test?"] {
            assert_eq!(answered(|request| request["headers"]["host"] = json!(host)).await, refused, "{host}");
        }
        for stage in ["", "?", "a#b"] {
            assert_eq!(answered(|request| request["requestContext"]["stage"] = json!(stage)).await, refused, "{stage}");
        }
        let long = answered(|request| request["rawQueryString"] = json!("a".repeat(70_000))).await;
        assert_eq!(long, refused, "API Gateway takes 10,240 bytes");
        let base64 = answered(|request| {
            request["isBase64Encoded"] = json!(true);
            request["body"] = json!("no base64");
        });
        assert_eq!(base64.await, refused);
    }
}
