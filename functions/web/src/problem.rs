//! Error answers by RFC 9457 (Problem Details for HTTP APIs), with a code for programs and a sentence for people.
//!
//! A problem never holds an SDK's text, a token, or the content of a body.

mod code;

use std::{borrow::Cow, time::Duration};

use audit_log_core::failure::{self, Failure, Party};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

pub use code::Code;

pub const MEDIA_TYPE: &str = "application/problem+json";

const RETRY_AFTER_OUTAGE: Duration = Duration::from_secs(5);

/// Why a request was refused. The answer has the header `Retry-After` if it is set, and `WWW-Authenticate` (RFC 6750) with
/// every 401 and with a 403 for a missing permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldProblem>,
    party: Option<Party>,
    hint: Option<Cow<'static, str>>,
    retry_after: Option<Duration>,
    scope: Option<&'static str>,
}

/// What is wrong with one field or parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The field's name, or the path to it.
    pub field: String,
    /// What is wrong with it, for the person who fills it in.
    pub message: String,
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Document<'a> {
    /// The kind of problem as a URI: `urn:audit-log-export:problem:` and the code.
    r#type: String,
    /// The kind of problem. Codes are stable.
    code: Code,
    /// The kind of problem in a few words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// What happened, in a sentence.
    detail: &'a str,
    /// The wrong fields or parameters.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [FieldProblem],
    /// Who must act, `customer` or `platform`. Absent if it is the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    party: Option<Party>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    hint: Option<&'a str>,
}

impl Problem {
    /// The detail is a sentence for people: what happened and, unless it is obvious, what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail, errors: Vec::new(), party: None, hint: None, retry_after: None, scope: None }
    }

    /// A wrong parameter of the query or the path.
    pub fn parameter(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Code::InvalidParameter, "A parameter of the request is invalid.").field(name, message)
    }

    pub fn missing_permission(permission: &'static str) -> Self {
        let detail = format!("The access token lacks the permission {permission}.");
        Self { scope: Some(permission), ..Self::new(Code::PermissionDenied, detail) }
    }

    /// The permission that the caller lacks, if that is what is wrong.
    pub fn missing_scope(&self) -> Option<&'static str> {
        self.scope
    }

    /// Something that this system depends on does not answer at the moment.
    pub fn unavailable() -> Self {
        Self::new(Code::Unavailable, "The service is temporarily unavailable. Try again.")
            .party(Party::Platform)
            .retry_after(RETRY_AFTER_OUTAGE)
    }

    /// Adds a wrong field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.errors.push(FieldProblem { field: field.into(), message: message.into() });
        self
    }

    /// Sets who must act.
    #[must_use]
    pub fn party(self, party: Party) -> Self {
        Self { party: Some(party), ..self }
    }

    /// Sets what to do.
    #[must_use]
    pub fn hint(self, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Sets when to try again, sent in whole seconds.
    #[must_use]
    pub fn retry_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub fn code(&self) -> Code {
        self.code
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    pub fn errors(&self) -> &[FieldProblem] {
        &self.errors
    }

    /// `None` if the client must act.
    pub fn acting_party(&self) -> Option<Party> {
        self.party
    }

    pub fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub fn wait(&self) -> Option<Duration> {
        self.retry_after
    }

    /// By RFC 6750, section 3, an error is named only if the request had a token.
    fn challenge(&self) -> Option<String> {
        const BEARER: &str = r#"Bearer realm="audit-log-export""#;
        match (self.code, self.scope) {
            (Code::MissingToken, _) => Some(BEARER.to_owned()),
            (Code::InvalidToken | Code::ExpiredToken, _) => Some(format!(r#"{BEARER}, error="invalid_token""#)),
            (Code::PermissionDenied, Some(scope)) => {
                Some(format!(r#"{BEARER}, error="insufficient_scope", scope="{scope}""#))
            }
            _ => None,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("urn:audit-log-export:problem:{}", self.code),
            code: self.code,
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            party: self.party,
            hint: self.hint.as_deref(),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        let mut response = (self.code.status(), [(header::CONTENT_TYPE, media_type)], body).into_response();
        if let Some(wait) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
        }
        if let Some(Ok(challenge)) = self.challenge().map(HeaderValue::try_from) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Failure> for Problem {
    /// The answer has the text of a failure that the customer can fix. The platform's failures are logged here, and
    /// answered without their text.
    fn from(failure: Failure) -> Self {
        let Failure { code, party, message } = failure;
        if party == Party::Platform {
            tracing::error!(code = %code, party = %party, reason = message, hint = code.hint(), "request failed");
            return Self::unavailable();
        }
        let kind = match code {
            failure::Code::ConfigInvalid => Code::InvalidFields,
            _ => Code::RoleRefused,
        };
        Self::new(kind, message).party(party).hint(code.hint())
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl ToSchema for Problem {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Document::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn sent(problem: Problem) -> (http::response::Parts, Value) {
        let (parts, body) = problem.into_response().into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (parts, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_problem_is_sent_without_members_that_are_not_set() {
        let problem = Problem::new(Code::RateLimited, "Slow down.").retry_after(Duration::from_secs(7));
        let (parts, body) = sent(problem).await;
        assert_eq!((parts.status.as_u16(), &parts.headers["retry-after"]), (429, &HeaderValue::from(7)));
        assert_eq!(parts.headers["content-type"], MEDIA_TYPE);
        let expected = json!({
            "type": "urn:audit-log-export:problem:rate_limited", "code": "rate_limited", "title": "Too many requests",
            "status": 429, "detail": "Slow down.",
        });
        assert_eq!(body, expected);

        let (_, body) = sent(Problem::parameter("limit", "is a number").party(Party::Customer).hint("Try 5.")).await;
        assert_eq!(body["errors"], json!([{ "field": "limit", "message": "is a number" }]));
        assert_eq!((&body["party"], &body["hint"]), (&json!("customer"), &json!("Try 5.")));
    }

    #[tokio::test]
    async fn the_challenge_names_an_error_only_if_there_was_a_token() {
        for (problem, challenge) in [
            (Problem::new(Code::MissingToken, ""), Some(r#"Bearer realm="audit-log-export""#)),
            (Problem::new(Code::ExpiredToken, ""), Some(r#"Bearer realm="audit-log-export", error="invalid_token""#)),
            (
                Problem::missing_permission("events:write"),
                Some(r#"Bearer realm="audit-log-export", error="insufficient_scope", scope="events:write""#),
            ),
            (Problem::new(Code::NotFound, ""), None),
        ] {
            let (parts, _) = sent(problem).await;
            assert_eq!(parts.headers.get("www-authenticate").map(|value| value.to_str().unwrap()), challenge);
        }
    }

    #[tokio::test]
    async fn a_failure_of_the_platform_is_answered_without_its_text() {
        let (parts, body) = sent(Failure::new(failure::Code::PlatformDenied, "table acme-internal").into()).await;
        assert_eq!((parts.status.as_u16(), &body["party"]), (503, &json!("platform")));
        assert!(!body.to_string().contains("acme-internal"), "{body}");

        let (parts, body) = sent(Failure::new(failure::Code::AssumeRoleDenied, "STS refused role x").into()).await;
        assert_eq!((parts.status.as_u16(), &body["code"]), (422, &json!("role_refused")));
        assert_eq!((&body["detail"], &body["party"]), (&json!("STS refused role x"), &json!("customer")));
        assert_eq!(body["hint"], failure::Code::AssumeRoleDenied.hint());
    }

    #[test]
    fn the_schema_has_the_members_that_are_sent_and_requires_those_that_always_are() {
        let schema = serde_json::to_value(Problem::schema()).unwrap();
        let members: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "detail", "errors", "hint", "party", "status", "title", "type"]);
        assert_eq!(schema["required"], json!(["type", "code", "title", "status", "detail"]));
        assert_eq!(Problem::name(), "Problem");
    }
}
