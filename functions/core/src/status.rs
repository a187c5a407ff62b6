//! The status of a tenant's exports, for API and pages.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    onboarding::ConnectorState,
    records::{ExportHealth, TenantRecords},
    schedule::{MAX_SETTLE_WAIT, Schedule, full_hour},
};

/// The hourly rule fires this long after the full hour.
const TICK_OFFSET: TimeDelta = TimeDelta::minutes(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    pub state: ConnectorState,
    /// All events recorded before this are in the bucket.
    pub exported_until: Option<DateTime<Utc>>,
    /// The next tick that tries to export; none if nothing is scheduled.
    pub next_run_at: Option<DateTime<Utc>>,
    pub failing_since: Option<DateTime<Utc>>,
    /// The whole hours of events that earlier ticks should have exported.
    pub backlog_hours: i64,
}

impl Status {
    /// Of a watermark that can't be read, nothing is known: the tenant's exports fail, and the last error says why.
    pub fn from_records(records: &TenantRecords, settle: TimeDelta, now: DateTime<Utc>) -> Self {
        let state = ConnectorState::from_records(records);
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

/// How long after a window's end the first tick comes that can wait for the window to settle.
fn first_tick_offset(settle: TimeDelta) -> TimeDelta {
    let mut after = TICK_OFFSET;
    while settle - after >= MAX_SETTLE_WAIT {
        after += TimeDelta::hours(1);
    }
    after
}

/// The first tick from now on that exports the tenant's next window.
pub fn next_run(schedule: Schedule, settle: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let tick = full_hour(now) + TICK_OFFSET;
    let next = if tick < now { tick + TimeDelta::hours(1) } else { tick };
    next.max(schedule.next_due + first_tick_offset(settle))
}

/// As [`next_run`], but skips the ticks that the backoff skips.
fn next_try(schedule: Schedule, health: &ExportHealth, settle: TimeDelta, now: DateTime<Utc>) -> DateTime<Utc> {
    let mut next = next_run(schedule, settle, now);
    while !health.is_attempted(full_hour(next)) {
        next += TimeDelta::hours(1);
    }
    next
}

/// A window counts as backlog once the tick that should have exported it is over.
fn backlog(schedule: Schedule, settle: TimeDelta, now: DateTime<Utc>) -> i64 {
    let last_end = full_hour(now - first_tick_offset(settle));
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
            // A tenant that is behind is tried at every tick.
            ("03:00:00", "10:20:00", "11:01:00"),
        ] {
            let schedule = schedule("02:00:00", due);
            assert_eq!(next_run(schedule, TimeDelta::minutes(1), at(now)), at(expected), "{due} {now}");
        }
        // No tick waits for so long, so the next one exports the window.
        let slow = TimeDelta::minutes(10);
        assert_eq!(next_run(schedule("10:00:00", "11:00:00"), slow, at("10:20:00")), at("12:01:00"));
    }

    #[test]
    fn the_next_run_of_a_tenant_that_has_failed_for_days_follows_the_backoff() {
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
    fn a_backlog_is_what_earlier_ticks_should_have_exported() {
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
