//! The authority that a handler asks for by naming it in its arguments.
//!
//! A handler that takes a [`Caller`] can't be reached without a verified token that has the permission, and whose
//! tenant it is about comes from nowhere but that token.

#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use audit_log_core::tenant::TenantId;
use axum::extract::FromRequestParts;
use chrono::{DateTime, Utc};
use http::{HeaderMap, header, request::Parts};

use crate::{
    authority::{Actor, Authority, Permissions, Refusal, Verified},
    problem::Problem,
};

/// A state that knows whose tokens count.
pub trait HasAuthority {
    /// Who decides; `None` if that has not been set up, and so nobody is let in.
    fn authority(&self) -> Option<&Authority>;

    /// The time.
    fn now(&self) -> DateTime<Utc>;
}

/// A permission that a handler may ask for.
pub trait Permission: sealed::Sealed + Send + Sync + 'static {
    /// Its name in tokens.
    const NAME: &'static str;

    /// Whether it is among these.
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
    /// Looking at the tenant's audit logs and settings.
    Read = "audit-logs:read", read;
    /// Changing the tenant's settings; whoever may do that may also look.
    Admin = "audit-logs:admin", admin;
    /// Recording events, and nothing else.
    WriteEvents = "events:write", write_events;
}

/// A caller who has the permission `P` for one tenant. It is proof of a verified token: nothing else makes one.
#[derive(Debug, Clone)]
pub struct Caller<P> {
    verified: Verified,
    permission: PhantomData<fn() -> P>,
}

impl<P> Caller<P> {
    /// The one tenant that the caller acts for.
    pub fn tenant(&self) -> &TenantId {
        self.verified.tenant()
    }

    /// Who it is.
    pub fn actor(&self) -> &Actor {
        self.verified.actor()
    }

    /// What else they may do, for answers that say so.
    pub fn permissions(&self) -> Permissions {
        self.verified.permissions()
    }

    /// From when on the token no longer counts.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.verified.expires_at()
    }
}

impl<P: Permission> Caller<P> {
    /// Whoever a token is of that came some other way than in its own header, such as a page's cookie.
    ///
    /// # Errors
    /// If the token does not count, or lacks the permission.
    pub async fn of_token<S: HasAuthority>(token: &str, state: &S) -> Result<Self, Problem> {
        let authority = state.authority().ok_or(Refusal::NotConfigured)?;
        let verified = authority.authenticate(token, state.now()).await?;
        Self::of(verified)
    }

    fn of(verified: Verified) -> Result<Self, Problem> {
        if !P::is_in(verified.permissions()) {
            tracing::info!(tenant = %verified.tenant(), permission = P::NAME, "a permission is lacking");
            return Err(Problem::lacking(P::NAME));
        }
        Ok(Self { verified, permission: PhantomData })
    }
}

impl<S: HasAuthority + Send + Sync, P: Permission> FromRequestParts<S> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let authority = state.authority().ok_or(Refusal::NotConfigured)?;
        let verified = authority.authenticate(bearer(&parts.headers)?, state.now()).await?;
        Self::of(verified)
    }
}

/// The token of the one header that may bring it, by RFC 6750, section 2.1. Of two headers, whatever stands before this
/// function may have looked at the other one.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed("there are two headers Authorization"));
    }
    let value = value.to_str().map_err(|_| Refusal::Malformed("it is not ASCII"))?;
    match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Refusal::Missing),
    }
}
