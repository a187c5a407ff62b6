//! What is sent, read or refused; and the answers to paths and methods that there are not.
//!
//! Limits on a body's length are for the router to set, with [`axum::extract::DefaultBodyLimit`].

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

/// How much of a name that was sent is said again, in characters.
const MAX_NAME: usize = 60;

/// A body of JSON; also as an answer.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

/// The parameters of a query; one that is a list may come several times, as in `action=a&action=b`.
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
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "Send less, or in several requests."),
            _ => Problem::new(Code::MalformedBody, "The body broke off."),
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
            let (field, message) = blame(&error.path().to_string(), &error.inner().to_string());
            Problem::parameter(field, message)
        })
    }
}

/// The same router, refusing unknown paths and methods with problems, too. It comes last: routes that are added later
/// don't have it.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .fallback(async || Problem::new(Code::NotFound, "There is nothing under this path."))
        .method_not_allowed_fallback(async || {
            Problem::new(Code::MethodNotAllowed, "This path takes only the methods that the header Allow names.")
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Says where and what kind of mistake; serde's own text may hold what was sent.
fn malformed(path: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    if !error.is_data() {
        let detail = format!("The body is not JSON; what is wrong is at line {line}, column {column}.");
        return Problem::new(Code::MalformedBody, detail);
    }
    let detail = format!("The body has not the right shape at line {line}, column {column}.");
    let (field, message) = blame(path, &error.to_string());
    Problem::new(Code::MalformedBody, detail).field(field, message)
}

/// Which field or parameter is to blame, and for what, from the path to it and serde's text.
fn blame(path: &str, text: &str) -> (String, &'static str) {
    // serde's path to the root is a dot.
    let path = path.trim_start_matches('.');
    let name = || text.split('`').nth(1).unwrap_or_default();
    let inside = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let (field, message) = if text.starts_with("missing field") {
        (inside(name()), "is required")
    } else if text.starts_with("unknown field") {
        (path.to_owned(), "is not known here")
    } else if text.starts_with("duplicate field") {
        (inside(name()), "stands twice")
    } else {
        (path.to_owned(), "has a value of the wrong kind")
    };
    (field.chars().take(MAX_NAME).collect(), message)
}
