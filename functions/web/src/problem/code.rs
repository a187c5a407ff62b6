//! Every code that an answer can be refused with, in one table.

use std::fmt;

use http::StatusCode;
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// Declares each code once, with its status and its title.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)*) => {
        /// A stable code for a kind of refusal; clients go by it, so a code is added but never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As answers and logs have it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The answer's HTTP status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The kind in a few words, the same in every answer.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or not of the shape that was asked for.
    MalformedBody = "malformed_body", BAD_REQUEST, "The body can't be read";
    /// A parameter of the query or the path is missing or wrong.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A parameter can't be used";
    /// No access token came along.
    MissingToken = "missing_token", UNAUTHORIZED, "An access token is needed";
    /// The access token is not one that this system accepts.
    InvalidToken = "invalid_token", UNAUTHORIZED, "The access token is not valid";
    /// The access token was good once.
    ExpiredToken = "expired_token", UNAUTHORIZED, "The access token has expired";
    /// The caller is known, and may not do this.
    PermissionDenied = "permission_denied", FORBIDDEN, "A permission is lacking";
    /// There is no such thing, or none that this caller may know of.
    NotFound = "not_found", NOT_FOUND, "There is nothing here";
    /// The path exists, for another method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "The method is not possible here";
    /// The tenant has no connected bucket yet.
    ConnectorRequired = "connector_required", CONFLICT, "No bucket is connected";
    /// Someone saved in between; `If-Match` did not hold.
    ChangedMeanwhile = "changed_meanwhile", PRECONDITION_FAILED, "It was changed meanwhile";
    /// A save has to say, with `If-Match`, what it is based on.
    PreconditionRequired = "precondition_required", PRECONDITION_REQUIRED, "If-Match is needed";
    /// The body is longer than this path takes.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is not sent as JSON.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body has to be JSON";
    /// Fields of the body are wrong; each is named.
    InvalidFields = "invalid_fields", UNPROCESSABLE_ENTITY, "Some fields can't be used";
    /// The customer's role can't be assumed, or not safely.
    RoleRefused = "role_refused", UNPROCESSABLE_ENTITY, "The role can't be used";
    /// Too many requests came from this caller.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// Something that this system needs does not answer.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Not available at the moment";
    /// The platform has not said yet whose tokens count.
    TokensNotConfigured = "tokens_not_configured", SERVICE_UNAVAILABLE, "Sign-in is not set up";
}

/// Written out, since the derived one names the variants and not the codes.
impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let codes = Self::ALL.iter().map(|code| code.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes)).into()
    }
}

impl ToSchema for Code {}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_a_snake_case_word_of_its_own_for_a_refusal() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code}");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
