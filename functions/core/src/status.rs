//! How a tenant's export fares, for whoever looks at it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    onboarding::ConnectorState,
    records::{ExportHealth, TenantRecords},
    schedule::{MAX_WAIT, Schedule, full_hour},
};

/// How long after a full hour the rule fires.
const TICK: TimeDelta = TimeDelta::minutes(1);

/// What can be said of a tenant's exports at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// How far it has come.
    pub state: ConnectorState,
    /// All events recorded before this are in the bucket.
    pub exported_until: Option<DateTime<Utc>>,
    /// The tick that exports next, or tries to; none if nothing is scheduled.
    pub next_run_at: Option<DateTime<Utc>>,
    /// Since when exports have failed, if they do.
    pub failing_since: Option<DateTime<Utc>>,
    /// How many whole hours of events ought to be in the bucket and aren't.
    pub backlog_hours: i64,
}

impl Status {
    /// Of a tenant with these records, whose windows are left alone for `settle`. A watermark that can't be read has
    /// nothing to say; its tenant's exports fail, and the last error tells of that.
    pub fn of(records: &TenantRecords, settle: TimeDelta, now: DateTime<Utc>) -> Self {
        let state = ConnectorState::of(records);
        let schedule = records.watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
        let scheduled = schedule.filter(|_| state == ConnectorState::Scheduled);
        Self {
            state,
            exported_until: schedule.map(|schedule| schedule.exported_until),
            next_run_at: scheduled.map(|schedule| next_try(schedule, &records.health, settle, now)),
            failing_since: records.health.failing_since,
            backlog_hours: scheduled.map_or(0, |schedule| backlog(schedule, settle, now)),
        }
    }
}

/// How long after its end the first tick comes that waits for a window to settle.
fn first_tick(settle: TimeDelta) -> TimeDelta {
    let mut after = TICK;
    while settle - after >= MAX_WAIT {
        after += TimeDelta::hours(1);
    }
    after
}

/// The first tick from now on at which the tenant's next window is exported.
pub fn next_run(schedule: Schedule, settle: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let tick = full_hour(now) + TICK;
    let next = if tick < now { tick + TimeDelta::hours(1) } else { tick };
    next.max(schedule.next_due + first_tick(settle))
}

/// The same of a tenant whose exports may have failed for so long that not every tick tries.
fn next_try(schedule: Schedule, health: &ExportHealth, settle: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let mut next = next_run(schedule, settle, now);
    while !health.is_tried(full_hour(next)) {
        next += TimeDelta::hours(1);
    }
    next
}

/// A window is missed once its own tick is over.
fn backlog(schedule: Schedule, settle: TimeDelta, now: DateTime<Utc>) -> i64 {
    let last_end = full_hour(now - first_tick(settle));
    if schedule.next_due > last_end { 0 } else { (last_end - schedule.exported_until).num_hours() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::LastError;

    fn at(time: &str) -> DateTime<Utc> {
        format!("2026-11-21T{time}Z").parse().unwrap()
    }

    fn schedule(from: &str, due: &str) -> Schedule {
        Schedule { exported_until: at(from), next_due: at(due) }
    }

    #[test]
    fn the_next_run_is_the_tick_at_which_the_tenant_is_due() {
        for (due, now, expected) in [
            ("11:00:00", "10:20:00", "11:01:00"),
            ("16:00:00", "10:20:00", "16:01:00"),
            ("11:00:00", "11:00:30", "11:01:00"),
            ("11:00:00", "11:01:00", "11:01:00"),
            // Behind: it is tried again with every tick.
            ("03:00:00", "10:20:00", "11:01:00"),
        ] {
            let schedule = schedule("02:00:00", due);
            assert_eq!(next_run(schedule, TimeDelta::minutes(1), at(now)), at(expected), "{due} {now}");
        }
        // No tick waits for so long, so the next one takes the window.
        let slow = TimeDelta::minutes(10);
        assert_eq!(next_run(schedule("10:00:00", "11:00:00"), slow, at("10:20:00")), at("12:01:00"));
    }

    #[test]
    fn the_next_run_of_a_tenant_that_has_failed_for_days_is_its_next_try() {
        let error =
            |at| LastError { code: String::new(), message: String::new(), party: Some("customer".to_owned()), at };
        let health = ExportHealth {
            failing_since: Some(at("10:01:00") - TimeDelta::days(4)),
            last_error: Some(error(Some(at("08:01:00")))),
            ..ExportHealth::default()
        };
        let next = |health: &ExportHealth| {
            next_try(schedule("02:00:00", "03:00:00"), health, TimeDelta::minutes(1), at("10:20:00"))
        };
        assert_eq!(next(&health), at("14:01:00"));
        let saved = ExportHealth { backoff_reset_at: Some(at("10:10:00")), ..health };
        assert_eq!(next(&saved), at("11:01:00"));
    }

    #[test]
    fn a_backlog_is_what_earlier_ticks_ought_to_have_exported() {
        for (until, due, now, expected) in [
            ("10:00:00", "11:00:00", "10:59:59", 0),
            ("10:00:00", "11:00:00", "11:00:59", 0),
            ("10:00:00", "11:00:00", "11:01:00", 1),
            ("03:00:00", "04:00:00", "10:30:00", 7),
            ("00:00:00", "12:00:00", "10:30:00", 0),
        ] {
            let backlog = backlog(schedule(until, due), TimeDelta::minutes(1), at(now));
            assert_eq!(backlog, expected, "{until} {now}");
        }
        let slow = TimeDelta::minutes(10);
        assert_eq!(backlog(schedule("10:00:00", "11:00:00"), slow, at("11:30:00")), 0);
        assert_eq!(backlog(schedule("10:00:00", "11:00:00"), slow, at("12:01:00")), 1);
    }
}
