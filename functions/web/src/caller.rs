//! The extractor with which a handler requires a permission.
//!
//! A handler that takes a [`Caller`] is reached only with a verified token that has the permission. Its tenant comes only
//! from that token.

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use audit_log_core::{system_events::Client, tenant::TenantId};
use axum::extract::FromRequestParts;
use chrono::{DateTime, Utc};
use http::{HeaderMap, header, request::Parts};

use crate::{
    access_log,
    access_token::{Actor, Permissions, TokenVerifier, VerifiedToken},
    client::client,
    problem::Problem,
    token_error::TokenError,
};

/// A router's state that can verify tokens.
pub trait HasTokenVerifier {
    /// `None` if tokens are not configured, so every request is refused.
    fn token_verifier(&self) -> Option<&TokenVerifier>;

    fn now(&self) -> DateTime<Utc>;
}

/// A permission that a handler can require.
pub trait Permission: sealed::Sealed + Send + Sync + 'static {
    /// Its name in tokens.
    const NAME: &'static str;

    fn is_in(permissions: Permissions) -> bool;
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $field:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl sealed::Sealed for $name {}

        impl Permission for $name {
            const NAME: &'static str = $text;

            fn is_in(permissions: Permissions) -> bool {
                permissions.$field
            }
        }
    )*};
}

permissions! {
    /// Allows to read the tenant's audit logs and settings.
    Read = "audit-logs:read", read;
    /// Allows to change the tenant's settings, and implies [`Read`].
    Admin = "audit-logs:admin", admin;
    /// Allows to record events, and nothing else.
    WriteEvents = "events:write", write_events;
}

/// A caller with the permission `P` for one tenant. Only a verified token makes one.
#[derive(Debug, Clone)]
pub struct Caller<P> {
    token: VerifiedToken,
    client: Client,
    permission: PhantomData<fn() -> P>,
}

impl<P> Caller<P> {
    pub fn tenant(&self) -> &TenantId {
        self.token.tenant()
    }

    pub fn actor(&self) -> &Actor {
        self.token.actor()
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// All permissions of the token.
    pub fn permissions(&self) -> Permissions {
        self.token.permissions()
    }

    /// When the token expires.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.token.expires_at()
    }
}

impl<P: Permission> Caller<P> {
    /// Verifies a token of a request that did not come in its header `Authorization`, such as a cookie's.
    ///
    /// # Errors
    /// If the token is not valid, or lacks the permission.
    pub async fn from_token<S: HasTokenVerifier>(token: &str, request: &Parts, state: &S) -> Result<Self, Problem> {
        Self::verify(Ok(token), request, state).await
    }

    /// Without a verifier, also a request without a token is answered with [`TokenError::NotConfigured`].
    async fn verify<S: HasTokenVerifier>(
        token: Result<&str, TokenError>,
        request: &Parts,
        state: &S,
    ) -> Result<Self, Problem> {
        let verifier = state.token_verifier().ok_or(TokenError::NotConfigured)?;
        let token = verifier.verify(token?, state.now()).await?;
        access_log::note(request, &token);
        if !P::is_in(token.permissions()) {
            tracing::info!(tenant = %token.tenant(), permission = P::NAME, "permission missing");
            return Err(Problem::missing_permission(P::NAME));
        }
        Ok(Self { client: client(request, token.id()), token, permission: PhantomData })
    }
}

impl<S: HasTokenVerifier + Send + Sync, P: Permission> FromRequestParts<S> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Self::verify(bearer_token(&parts.headers), parts, state).await
    }
}

/// Returns the token of the one header `Authorization`, by RFC 6750, section 2.1. Two of them are refused: a proxy may
/// have checked the other one.
fn bearer_token(headers: &HeaderMap) -> Result<&str, TokenError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(TokenError::Missing)?;
    if values.next().is_some() {
        return Err(TokenError::Malformed("two headers Authorization"));
    }
    let value = value.to_str().map_err(|_| TokenError::Malformed("not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(TokenError::Missing),
    }
}
