//! Which bodies and queries are read, and how the others are refused.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::*;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Order {
    role_arn: String,
    #[serde(default)]
    windows: Vec<Window>,
}

#[derive(Serialize, Deserialize)]
struct Window {
    hours: u8,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    #[serde(default)]
    action: Vec<String>,
    limit: Option<u8>,
}

async fn answer(request: http::request::Builder, body: impl Into<Body>) -> (u16, http::HeaderMap, Value) {
    let router = Router::new()
        .route("/body", post(async |Json(order): Json<Order>| Json(order)).layer(DefaultBodyLimit::max(100)))
        .route("/query", get(async |Query(filter): Query<Filter>| Json(filter)));
    let response = with_fallbacks(router).oneshot(request.body(body.into()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status.as_u16(), parts.headers, serde_json::from_slice(&body).unwrap())
}

fn sent(content_type: &str) -> http::request::Builder {
    Request::post("/body").header("content-type", content_type)
}

#[tokio::test]
async fn a_body_is_read_if_its_content_type_is_json() {
    let body = r#"{"roleArn": "x", "windows": [{"hours": 1}]}"#;
    for good in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
        let (status, _, echo) = answer(sent(good), body).await;
        assert_eq!((status, echo), (200, json!({ "roleArn": "x", "windows": [{ "hours": 1 }] })), "{good}");
    }
    for bad in ["text/plain", "text/json", "application/jsonp", "multipart/form-data; boundary=application/json", ""] {
        let (status, _, problem) = answer(sent(bad), body).await;
        assert_eq!((status, &problem["code"]), (415, &json!("unsupported_media_type")), "{bad}");
    }
    let (status, _, _) = answer(Request::post("/body"), body).await;
    assert_eq!(status, 415);
}

#[tokio::test]
async fn a_malformed_body_is_refused_with_the_place_and_without_its_content() {
    for (body, detail, field) in [
        ("{\n  \"roleArn\": secret", "line 2, column 14", None),
        (r#"{"roleArn": "secret""#, "line 1, column 20", None),
        (r#"{"roleArn": "x"} secret"#, "line 1, column 18", None),
        ("", "line 1, column 0", None),
        (r#"{"roleArn": ["secret"]}"#, "line 1", Some(("roleArn", "has the wrong type or is out of range"))),
        (
            r#"{"roleArn": "x", "windows": [{"hours": "secret"}]}"#,
            "line 1",
            Some(("windows[0].hours", "has the wrong type or is out of range")),
        ),
        (r#"{"roleArn": "x", "windows": [{}]}"#, "line 1", Some(("windows[0].hours", "is required"))),
        (r#"{"windows": []}"#, "line 1", Some(("roleArn", "is required"))),
        (r#"{"roleArn": "x", "role": "secret"}"#, "line 1", Some(("role", "is unknown"))),
        (r#"{"roleArn": "secret", "roleArn": "x"}"#, "line 1", Some(("roleArn", "is given twice"))),
        (r#""secret""#, "line 1", Some(("", "has the wrong type or is out of range"))),
    ] {
        let (status, _, problem) = answer(sent("application/json"), body).await;
        assert_eq!((status, &problem["code"]), (400, &json!("malformed_body")), "{body}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
        let errors = field.map(|(field, message)| json!([{ "field": field, "message": message }]));
        assert_eq!(problem.get("errors"), errors.as_ref(), "{body}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_or_without_a_content_length() {
    let long = json!({ "roleArn": "x".repeat(100) }).to_string();
    let chunks: Vec<_> = long.as_bytes().chunks(10).map(|chunk| Ok::<_, Infallible>(chunk.to_vec())).collect();
    for body in [Body::from(long), Body::from_stream(futures::stream::iter(chunks))] {
        let (status, _, problem) = answer(sent("application/json"), body).await;
        assert_eq!((status, &problem["code"]), (413, &json!("body_too_large")));
    }
}

#[tokio::test]
async fn a_parameter_that_is_a_list_may_come_several_times() {
    let (status, _, filter) = answer(Request::get("/query?action=Log%20in&limit=5&action=b+c"), "").await;
    assert_eq!((status, filter), (200, json!({ "action": ["Log in", "b c"], "limit": 5 })));
    let (status, _, filter) = answer(Request::get("/query"), "").await;
    assert_eq!((status, filter), (200, json!({ "action": [], "limit": null })));
    for (query, field, message) in [
        ("limit=secret", "limit", "has the wrong type or is out of range"),
        ("limit=256", "limit", "has the wrong type or is out of range"),
        ("limit=1&limit=2", "limit", "has the wrong type or is out of range"),
        ("actions=secret", "actions", "is unknown"),
    ] {
        let (status, _, problem) = answer(Request::get(format!("/query?{query}")), "").await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_parameter")), "{query}");
        assert_eq!(problem["errors"], json!([{ "field": field, "message": message }]), "{query}");
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let (status, headers, problem) = answer(Request::get("/nowhere"), "").await;
    assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    assert_eq!(headers["content-type"], "application/problem+json");
    let (status, headers, problem) = answer(Request::delete("/body"), "").await;
    assert_eq!((status, &problem["code"]), (405, &json!("method_not_allowed")));
    assert_eq!(headers["allow"], "POST");
}
