//! Limits how often a tenant may do what costs the platform much.

use std::time::Duration;

use audit_log_core::{
    failure::{Code as FailureCode, Failure},
    ports::{Settings as _, SlotKind},
    tenant::TenantId,
};
use audit_log_web::problem::{Code, Problem};
use chrono::{DurationRound, TimeDelta};

use crate::app::{App, Backend};

/// Each makes requests to AWS in the customer's account.
const MAX_VERIFICATIONS_PER_MINUTE: u32 = 10;

/// Each invokes the exporter, which makes such requests too.
pub(crate) const MAX_RETRIES_PER_MINUTE: u32 = MAX_VERIFICATIONS_PER_MINUTE;

/// Each is an audit event, which is exported.
const MAX_SESSION_CHANGES_PER_MINUTE: u32 = 120;

/// Each may store a year's files again.
pub(crate) const MAX_REPLAYS_PER_DAY: u32 = 3;

/// Each reads up to a year's receipts. A request for a replay counts as well.
const MAX_PREVIEWS_PER_MINUTE: u32 = 20;

/// Takes one of the tenant's slots of this minute, or of this day for replays. Refuses the request if none is left.
pub(crate) async fn take_slot<B: Backend>(app: &App<B>, tenant: &TenantId, kind: SlotKind) -> Result<(), Problem> {
    let (most, what) = match kind {
        SlotKind::Verification => (MAX_VERIFICATIONS_PER_MINUTE, "verifications"),
        SlotKind::Retry => (MAX_RETRIES_PER_MINUTE, "requests to export"),
        SlotKind::Search => (app.deployment().searches_per_minute, "searches of the audit logs"),
        SlotKind::Session => (MAX_SESSION_CHANGES_PER_MINUTE, "sign-ins and sign-outs"),
        SlotKind::Replay => (MAX_REPLAYS_PER_DAY, "replays"),
        SlotKind::Preview => (MAX_PREVIEWS_PER_MINUTE, "previews of replays"),
    };
    let (period, of) = match kind {
        SlotKind::Replay => (TimeDelta::days(1), "day"),
        _ => (TimeDelta::minutes(1), "minute"),
    };
    let now = app.time();
    let overflow = |_| Failure::new(FailureCode::Unavailable, "The clock is wrong.");
    let since = now.duration_trunc(period).map_err(overflow)?;
    if app.settings().take_slot(tenant, kind, since, most).await? {
        return Ok(());
    }
    let wait = (since + period - now).num_seconds().max(1).unsigned_abs();
    let detail = format!("Only {most} {what} a {of} are allowed. Wait, then try again.");
    Err(Problem::new(Code::RateLimited, detail).retry_after(Duration::from_secs(wait)))
}
