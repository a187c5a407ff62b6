//! The table of all problem codes.

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
        /// Clients depend on the codes, so one may be added but never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The same in every answer with the code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or does not match the schema.
    MalformedBody = "malformed_body", BAD_REQUEST, "The body is malformed";
    /// A parameter of the query or the path is missing or wrong.
    InvalidParameter = "invalid_parameter", BAD_REQUEST, "A parameter is invalid";
    MissingToken = "missing_token", UNAUTHORIZED, "An access token is required";
    InvalidToken = "invalid_token", UNAUTHORIZED, "The access token is not valid";
    ExpiredToken = "expired_token", UNAUTHORIZED, "The access token has expired";
    PermissionDenied = "permission_denied", FORBIDDEN, "Permission denied";
    /// It does not exist, or not for this caller.
    NotFound = "not_found", NOT_FOUND, "Not found";
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    ConnectorRequired = "connector_required", CONFLICT, "No bucket is connected";
    /// Another run exports the tenant. `Retry-After` says until when at most.
    ExportRunning = "export_running", CONFLICT, "An export is running";
    /// A replay is running. There is one at a time.
    ReplayRunning = "replay_running", CONFLICT, "A replay is running";
    /// There is no replay to stop.
    NoReplayRunning = "no_replay_running", CONFLICT, "No replay is running";
    /// Too many places that were left wait for their final delivery.
    FinalDeliveriesPending = "final_deliveries_pending", CONFLICT, "Final deliveries are pending";
    /// `If-Match` names an older version.
    ChangedMeanwhile = "changed_meanwhile", PRECONDITION_FAILED, "Someone else saved changes";
    /// A save needs `If-Match` with the version that it is based on.
    PreconditionRequired = "precondition_required", PRECONDITION_REQUIRED, "If-Match is required";
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// `errors` names each wrong field of the body.
    InvalidFields = "invalid_fields", UNPROCESSABLE_ENTITY, "Some fields are invalid";
    /// No window of the range can be delivered again.
    NothingToReplay = "nothing_to_replay", UNPROCESSABLE_ENTITY, "Nothing can be replayed";
    /// The customer's role can't be assumed, or not only with the external ID.
    RoleRefused = "role_refused", UNPROCESSABLE_ENTITY, "The role can't be used";
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, "Too many requests";
    /// Something that this system depends on does not answer.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "Temporarily unavailable";
    /// The platform has not configured an issuer of access tokens.
    TokensNotConfigured = "tokens_not_configured", SERVICE_UNAVAILABLE, "Sign-in is not configured";
}

/// The derived schema would name the variants instead of the codes.
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
    fn every_code_is_unique_in_snake_case_and_has_an_error_status() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code}");
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
