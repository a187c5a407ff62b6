//! What a token says once its signature has been checked: until when, for whom, and who is asking.

use audit_log_core::tenant::TenantId;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::{AuthorityConfig, Refusal};

/// How far two clocks may differ, in seconds.
const LEEWAY: f64 = 30.0;

/// The length of a subject; by OpenID Connect Core 1.0, section 2, it has at most 255 characters.
const MAX_SUBJECT: usize = 255;

/// How much of a name or an address is kept, in characters.
const MAX_TEXT: usize = 200;

/// What a caller may do. Neither reading nor administrating goes with writing events, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Permissions {
    /// `audit-logs:read`, or what implies it.
    pub read: bool,
    /// `audit-logs:admin`.
    pub admin: bool,
    /// `events:write`.
    pub write_events: bool,
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The claim `sub`.
    pub id: String,
    /// The claim `name`.
    pub name: Option<String>,
    /// The claim `email`.
    pub email: Option<String>,
}

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    tenant: TenantId,
    actor: Actor,
    permissions: Permissions,
    expires_at: DateTime<Utc>,
}

impl Verified {
    /// The one tenant that the token is bound to.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Who is asking.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// What they may do.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// From when on the token no longer counts, in whole seconds.
    pub fn expires_at(&self) -> DateTime<Utc> {
        self.expires_at
    }
}

/// Reads the claims of a token whose signature is the issuer's.
pub(super) fn read(
    claims: Map<String, Value>,
    config: &AuthorityConfig,
    now: DateTime<Utc>,
) -> Result<Verified, Refusal> {
    let claims = Value::Object(claims);
    let expires_at = check_times(&claims, now)?;
    if claims["iss"] != config.issuer.as_str() {
        return Err(Refusal::WrongIssuer);
    }
    if !texts(&claims["aud"]).ok_or(Refusal::WrongAudience)?.contains(&config.audience.as_str()) {
        return Err(Refusal::WrongAudience);
    }
    let tenant = at(&claims, &config.tenant_claim).and_then(Value::as_str).ok_or(Refusal::NoTenant)?;
    let tenant = TenantId::parse(tenant).map_err(|_| Refusal::NoTenant)?;
    let permissions = permissions(at(&claims, &config.permissions_claim))?;
    Ok(Verified { tenant, actor: actor(&claims)?, permissions, expires_at })
}

/// By RFC 7519, section 4.1: seconds since 1970, possibly with a fraction. Gives back when the token expires.
fn check_times(claims: &Value, now: DateTime<Utc>) -> Result<DateTime<Utc>, Refusal> {
    let seconds = |name: &str| match &claims[name] {
        Value::Null => Ok(None),
        value => value.as_f64().map(Some).ok_or(Refusal::Malformed("a time is not a number")),
    };
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 are far below 2^53")]
    let now = now.timestamp_millis() as f64 / 1000.0;
    let expires = seconds("exp")?.ok_or(Refusal::Malformed("exp is missing"))?;
    if now >= expires + LEEWAY {
        return Err(Refusal::Expired);
    }
    for name in ["nbf", "iat"] {
        if seconds(name)?.is_some_and(|time| time > now + LEEWAY) {
            return Err(Refusal::FromTheFuture);
        }
    }
    #[allow(clippy::cast_possible_truncation, reason = "what is beyond the largest number is as good as for ever")]
    let expires = expires.floor() as i64;
    Ok(DateTime::from_timestamp(expires, 0).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// The claim of a name, or the one that a JSON pointer leads to.
fn at<'a>(claims: &'a Value, name: &str) -> Option<&'a Value> {
    if name.starts_with('/') { claims.pointer(name) } else { claims.get(name) }
}

/// A text as a list of one, or a list of nothing but texts.
fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// From a list, or from texts separated by spaces as in an OAuth scope. Permissions of other systems are passed over.
fn permissions(claim: Option<&Value>) -> Result<Permissions, Refusal> {
    let mut permissions = Permissions::default();
    let Some(claim) = claim else { return Ok(permissions) };
    let granted = match claim {
        Value::String(list) => list.split(' ').collect(),
        list => texts(list).ok_or(Refusal::Malformed("the permissions are not texts"))?,
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

/// The subject is never cut: two people's could become one.
fn actor(claims: &Value) -> Result<Actor, Refusal> {
    let text = |name: &str| match &claims[name] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => Err(Refusal::Malformed("sub, name or email is not a text")),
    };
    let cut = |text: &str| text.chars().take(MAX_TEXT).collect();
    let id = text("sub")?.ok_or(Refusal::Malformed("sub is missing"))?;
    if id.chars().count() > MAX_SUBJECT {
        return Err(Refusal::Malformed("sub is too long"));
    }
    Ok(Actor { id: id.to_owned(), name: text("name")?.map(cut), email: text("email")?.map(cut) })
}
