//! Passes a request of an HTTP API from Lambda to a router.
//!
//! `lambda_http` panics if the parts of a request are not a valid URL. An API passes the client's query on as it was sent
//! (`rawQueryString` of the payload format 2.0, by "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway
//! developer guide), so the query is encoded here as browsers do. All other parts come from the API itself, and a request
//! with an invalid one is refused.
//!
//! `lambda_http` also decodes a text that it answers, and so removes its byte order mark. A second mark keeps the first one.

use axum::{
    Router,
    body::{self, Body},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Uri, header::HOST, uri::Authority};
use lambda_http::{
    Adapter, Error, LambdaEvent, Service as _, aws_lambda_events::apigw::ApiGatewayV2httpRequest,
    request::LambdaRequest,
};
use serde::Serialize;
use tower::ServiceExt;
use url::Url;

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
    let request = LambdaRequest::ApiGatewayV2(encode_query(request)?);
    let router = ServiceExt::<lambda_http::Request>::and_then(router, keep_byte_order_mark);
    Adapter::from(router).call(LambdaEvent::new(request, context)).await
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
