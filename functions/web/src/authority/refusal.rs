//! Why a token does not count: in full for the log, in few words for whoever sent it.

use audit_log_core::failure::Party;

use crate::problem::{Code, Problem};

/// Why a request has no authority. None of these holds anything of the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token, or not as a bearer token.
    #[error("there is no bearer token")]
    Missing,
    /// The token is not a signed token as RFC 7519 has it, or says something in a way that could be read in two.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The token's algorithm is not one of those that are trusted.
    #[error("the token's algorithm is not one of TOKEN_ALGORITHMS")]
    Algorithm,
    /// No known key has the token's `kid`.
    #[error("the issuer has no key of the token's kid")]
    UnknownKey,
    /// There is no key, or more than one, that the token can have been signed with by what it says of itself.
    #[error("no single key of the issuer suits the token's algorithm")]
    UnsuitableKey,
    /// Someone else signed it.
    #[error("the signature is not the issuer's")]
    Signature,
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It will be good later, by `nbf`, or was issued later, by `iat`.
    #[error("the token is from the future")]
    FromTheFuture,
    /// Someone else issued it.
    #[error("the issuer is not TOKEN_ISSUER")]
    WrongIssuer,
    /// It is meant for someone else.
    #[error("the audience is not TOKEN_AUDIENCE")]
    WrongAudience,
    /// It is not bound to one tenant.
    #[error("the claim TOKEN_TENANT_CLAIM is not one tenant's id")]
    NoTenant,
    /// Nobody has said yet whose tokens count.
    #[error("TOKEN_ISSUER is not set")]
    NotConfigured,
    /// The issuer's keys can't be downloaded, and none were, lately.
    #[error("the issuer's keys can't be downloaded")]
    KeysUnavailable,
}

impl From<Refusal> for Problem {
    /// Logs the refusal, too: its reason is for the platform, and an answer would tell it to a forger.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotConfigured | Refusal::KeysUnavailable => tracing::error!(reason = %refusal, "token refused"),
            _ => tracing::info!(reason = %refusal, "token refused"),
        }
        match refusal {
            Refusal::Missing => {
                Self::new(Code::MissingToken, "Send an access token, in one header Authorization: Bearer <token>.")
            }
            Refusal::Expired => Self::new(Code::ExpiredToken, "The access token has expired. Sign in again."),
            Refusal::KeysUnavailable => Self::unavailable(),
            Refusal::NotConfigured => {
                Self::new(Code::TokensNotConfigured, "Whose access tokens count here has not been set up yet.")
                    .party(Party::Platform)
                    .hint("Deploy with TOKEN_ISSUER, TOKEN_AUDIENCE, and TOKEN_JWKS_URL or TOKEN_JWKS set.")
            }
            _ => Self::new(Code::InvalidToken, "The access token is not one that counts here. Sign in again."),
        }
    }
}
