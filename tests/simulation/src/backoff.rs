//! The model of the backoff: which tenants are attempted at a tick, and which failures must be announced. It uses observed
//! failures and saves, and shares no code with the core.

use audit_log_core::{failure::Party, fakes::FakeTenant};
use chrono::{DateTime, Utc};

use crate::facts::Facts;

pub(crate) fn hour(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(3_600)
}

/// Whether a tenant is not attempted at a tick. Its exports have failed by the customer's fault for more than a day since
/// the last save, and last failed less than six hours before the tick, or after it.
pub fn is_backed_off(facts: &Facts, id: &str, tenant: &FakeTenant, tick: DateTime<Utc>) -> bool {
    let (Some(first), Some((failure, last))) = (facts.failing_since.get(id), &tenant.last_error) else { return false };
    let since = facts.saved_at.get(id).map_or(*first, |saved| *saved.max(first));
    let waited = hour(tick) - hour(*last);
    failure.party == Party::Customer && hour(tick) - hour(since) > 24 && waited < 6
}

/// Records failures and recoveries from a tenant's records. `until` is its watermark at the last step.
pub fn observe(facts: &mut Facts, id: &str, tenant: &FakeTenant, until: Option<&str>) {
    let until = until.unwrap_or_default().to_owned();
    let Some((_, at)) = tenant.last_error.as_ref().filter(|_| tenant.consecutive_failures > 0) else {
        if facts.failing_since.remove(id).is_some() {
            facts.due_announcements.insert((id.to_owned(), "Export Recovered", until, 0));
        }
        return;
    };
    let first = *facts.failing_since.entry(id.to_owned()).or_insert(*at);
    let lasted = hour(*at) - hour(first);
    let days = [168, 72, 24].into_iter().find(|hours| lasted >= *hours).unwrap_or(0) / 24;
    let action = if days == 0 { "Export Failed" } else { "Export Still Failing" };
    facts.due_announcements.insert((id.to_owned(), action, until, days));
}
