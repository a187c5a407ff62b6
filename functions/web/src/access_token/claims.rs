//! Checks the claims of a token with a valid signature: its times, issuer, audience, tenant, permissions and subject.

use audit_log_core::tenant::TenantId;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use super::TokenConfig;
use crate::token_error::TokenError;

/// How far the issuer's clock may differ from this one.
const MAX_CLOCK_SKEW_SECONDS: f64 = 30.0;

/// By OpenID Connect Core 1.0, section 2.
const MAX_SUBJECT_CHARS: usize = 255;

/// Of the claim `jti`. It is never cut, like the subject.
const MAX_ID_CHARS: usize = 255;

/// Longer names and addresses are cut.
const MAX_TEXT_CHARS: usize = 200;

/// What a caller may do. `admin` implies `read`; `write_events` neither implies another one nor is implied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// `audit-logs:read` or `audit-logs:admin`.
    pub read: bool,
    /// `audit-logs:admin`.
    pub admin: bool,
    /// `events:write`.
    pub write_events: bool,
}

/// The person or program that calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The claim `sub`.
    pub id: String,
    /// The claim `name`.
    pub name: Option<String>,
    /// The claim `email`.
    pub email: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    id: Option<String>,
    tenant: TenantId,
    actor: Actor,
    permissions: Permissions,
    expires_at: DateTime<Utc>,
}

impl VerifiedToken {
    /// The claim `jti`.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// In whole seconds.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}

pub(super) fn validate(
    claims: Map<String, Value>,
    config: &TokenConfig,
    now: DateTime<Utc>,
) -> Result<VerifiedToken, TokenError> {
    let claims = Value::Object(claims);
    let expires_at = check_times(&claims, config.max_lifetime, now)?;
    if claims["iss"] != config.issuer.as_str() {
        return Err(TokenError::WrongIssuer);
    }
    if !strings(&claims["aud"]).ok_or(TokenError::WrongAudience)?.contains(&config.audience.as_str()) {
        return Err(TokenError::WrongAudience);
    }
    let tenant = find_claim(&claims, &config.tenant_claim).and_then(Value::as_str).ok_or(TokenError::NoTenant)?;
    let tenant = TenantId::parse(tenant).map_err(|_| TokenError::NoTenant)?;
    let permissions = parse_permissions(find_claim(&claims, &config.permissions_claim))?;
    Ok(VerifiedToken { id: parse_id(&claims)?, tenant, actor: parse_actor(&claims)?, permissions, expires_at })
}

/// Checks the times, by RFC 7519, section 4.1: seconds since 1970, possibly with a fraction. Returns when the token expires.
fn check_times(claims: &Value, max_lifetime: TimeDelta, now: DateTime<Utc>) -> Result<DateTime<Utc>, TokenError> {
    let seconds = |name: &str| match &claims[name] {
        Value::Null => Ok(None),
        value => value.as_f64().map(Some).ok_or(TokenError::Malformed("a time is not a number")),
    };
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let now = now.timestamp_millis() as f64 / 1000.0;
    let expires = seconds("exp")?.ok_or(TokenError::Malformed("exp is missing"))?;
    if now >= expires + MAX_CLOCK_SKEW_SECONDS {
        return Err(TokenError::Expired);
    }
    #[allow(clippy::cast_precision_loss, reason = "a lifetime is at most a year")]
    if expires > now + max_lifetime.num_seconds() as f64 + MAX_CLOCK_SKEW_SECONDS {
        return Err(TokenError::TooLongLived);
    }
    for name in ["nbf", "iat"] {
        if seconds(name)?.is_some_and(|time| time > now + MAX_CLOCK_SKEW_SECONDS) {
            return Err(TokenError::NotYetValid);
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "it is at most a year ahead")]
    let expires = expires.floor() as i64;
    Ok(DateTime::from_timestamp(expires, 0).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// Finds a claim by its name or by a JSON pointer.
fn find_claim<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// Reads one string, or a list of strings.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Reads a list of strings, or one string with spaces between the permissions, as an OAuth scope. Permissions of other
/// systems are ignored.
fn parse_permissions(claim: Option<&Value>) -> Result<Permissions, TokenError> {
    let mut permissions = Permissions::default();
    let Some(claim) = claim else { return Ok(permissions) };
    let granted = match claim {
        Value::String(list) => list.split(' ').collect(),
        list => strings(list).ok_or(TokenError::Malformed("the permissions are not strings"))?,
    };
    for name in granted {
        match name {
            "audit-logs:read" => permissions.read = true,
            "audit-logs:admin" => (permissions.read, permissions.admin) = (true, true),
            "events:write" => permissions.write_events = true,
            _ => {}
        }
    }
    Ok(permissions)
}

/// By RFC 7519, section 4.1.7, an id is a string.
fn parse_id(claims: &Value) -> Result<Option<String>, TokenError> {
    match &claims["jti"] {
        Value::Null => Ok(None),
        Value::String(id) if id.chars().count() <= MAX_ID_CHARS => Ok(Some(id.clone()).filter(|id| !id.is_empty())),
        _ => Err(TokenError::Malformed("jti is not a string, or too long")),
    }
}

/// The subject is never cut: two people's subjects could become the same.
fn parse_actor(claims: &Value) -> Result<Actor, TokenError> {
    let text = |name: &str| match &claims[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => Err(TokenError::Malformed("sub, name or email is not a string")),
    };
    let cut = |text: &str| text.chars().take(MAX_TEXT_CHARS).collect();
    let id = text("sub")?.ok_or(TokenError::Malformed("sub is missing"))?;
    if id.chars().count() > MAX_SUBJECT_CHARS {
        return Err(TokenError::Malformed("sub is too long"));
    }
    Ok(Actor { id: id.to_owned(), name: text("name")?.map(cut), email: text("email")?.map(cut) })
}
