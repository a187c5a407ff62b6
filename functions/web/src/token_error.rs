//! Why an access token is refused: in full for the log, in few words for the client.

use audit_log_core::failure::Party;

use crate::problem::{Code, Problem};

/// No variant holds anything of the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("no bearer token")]
    Missing,
    /// The token is not a signed token by RFC 7519, or it is ambiguous.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    #[error("the token's algorithm is not one of TOKEN_ALGORITHMS")]
    UntrustedAlgorithm,
    #[error("the issuer has no key with the token's kid")]
    UnknownKey,
    /// No key, or more than one, fits the token's headers `kid` and `alg`.
    #[error("no single key of the issuer fits the token's algorithm")]
    UnsuitableKey,
    #[error("the signature is not the issuer's")]
    InvalidSignature,
    #[error("the token has expired")]
    Expired,
    /// By `exp`.
    #[error("the token is valid for longer than TOKEN_MAX_HOURS")]
    TooLongLived,
    /// By the header `typ`.
    #[error("the token is of another type than JWT and at+jwt")]
    WrongType,
    /// By `nbf` or `iat`.
    #[error("the token is not valid yet")]
    NotYetValid,
    #[error("the issuer is not TOKEN_ISSUER")]
    WrongIssuer,
    #[error("the audience is not TOKEN_AUDIENCE")]
    WrongAudience,
    #[error("the claim TOKEN_TENANT_CLAIM is not one tenant's id")]
    NoTenant,
    #[error("TOKEN_ISSUER is not set")]
    NotConfigured,
    /// The last good download is too long ago, too.
    #[error("the issuer's keys can't be downloaded")]
    KeysUnavailable,
}

impl From<TokenError> for Problem {
    /// Also logs the error. The reason is for the platform; an answer would help a forger.
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotConfigured | TokenError::KeysUnavailable => {
                tracing::error!(reason = %error, "token refused");
            }
            _ => tracing::info!(reason = %error, "token refused"),
        }
        match error {
            TokenError::Missing => {
                Self::new(Code::MissingToken, "Send an access token in one header Authorization: Bearer <token>.")
            }
            TokenError::Expired => Self::new(Code::ExpiredToken, "The access token has expired. Sign in again."),
            TokenError::KeysUnavailable => Self::unavailable(),
            TokenError::NotConfigured => {
                Self::new(Code::TokensNotConfigured, "The platform has not configured access tokens yet.")
                    .party(Party::Platform)
                    .hint("Deploy with TOKEN_ISSUER, TOKEN_AUDIENCE, and TOKEN_JWKS_URL or TOKEN_JWKS set.")
            }
            _ => Self::new(Code::InvalidToken, "The access token is not valid. Sign in again."),
        }
    }
}
