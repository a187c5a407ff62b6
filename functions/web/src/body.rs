//! Reads JSON bodies and query parameters, and answers what can't be read, and unknown paths and methods, with problems.
//!
//! The router limits the length of bodies, with [`axum::extract::DefaultBodyLimit`].

#[cfg(test)]
mod tests;

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use crate::problem::{Code, Problem};

/// Longer names are cut, since the client sends them.
const MAX_FIELD_CHARS: usize = 60;

/// A JSON body, of a request or an answer.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

/// The parameters of a query. A list is one parameter several times: `action=a&action=b`.
#[derive(Debug, Clone, Copy)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let detail = "Send the body with the header Content-Type: application/json.";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let body = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "Send a smaller body or more requests."),
            _ => Problem::new(Code::MalformedBody, "The body is incomplete."),
        })?;
        let mut json = serde_json::Deserializer::from_slice(&body);
        let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
            let path = error.path().to_string();
            malformed(&path, error.inner())
        })?;
        json.end().map_err(|error| malformed("", &error))?;
        Ok(Self(value))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let parameters = serde_html_form::Deserializer::from_bytes(query);
        serde_path_to_error::deserialize(parameters).map(Self).map_err(|error| {
            let (field, message) = describe(&error.path().to_string(), &error.inner().to_string());
            Problem::parameter(field, message)
        })
    }
}

/// Answers unknown paths and methods with problems. Call it last: it doesn't apply to routes that are added later.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(async || Problem::new(Code::NotFound, "This path does not exist.")).method_not_allowed_fallback(
        async || Problem::new(Code::MethodNotAllowed, "Use one of the methods in the header Allow."),
    )
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Names the place and the kind of a mistake, without serde's text, which may hold what was sent.
fn malformed(path: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    if !error.is_data() {
        let detail = format!("The body is not JSON: see line {line}, column {column}.");
        return Problem::new(Code::MalformedBody, detail);
    }
    let detail = format!("The body does not match the schema: see line {line}, column {column}.");
    let (field, message) = describe(path, &error.to_string());
    Problem::new(Code::MalformedBody, detail).field(field, message)
}

/// Returns the wrong field or parameter, and what is wrong with it, from its path and serde's text.
fn describe(path: &str, text: &str) -> (String, &'static str) {
    // serde's path to the root is a dot.
    let path = path.trim_start_matches('.');
    let name = || text.split('`').nth(1).unwrap_or_default();
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let (field, message) = if text.starts_with("missing field") {
        (inside(name()), "is required")
    } else if text.starts_with("unknown field") {
        (path.to_owned(), "is unknown")
    } else if text.starts_with("duplicate field") {
        (inside(name()), "is given twice")
    } else {
        (path.to_owned(), "has the wrong type or is out of range")
    };
    (field.chars().take(MAX_FIELD_CHARS).collect(), message)
}
