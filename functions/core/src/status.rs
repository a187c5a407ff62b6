//! The status of a tenant's exports, for API and pages. The state is derived here alone, so that all of them agree.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    onboarding::ConnectorState,
    records::{ConnectionCheck, ExportHealth, LastError, TenantRecords},
    schedule::{MAX_SETTLE_WAIT, Schedule, full_hour},
};

/// The hourly rule fires this long after the full hour.
const TICK_OFFSET: TimeDelta = TimeDelta::minutes(1);

/// The state of a tenant's exports: the first of these that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ExportState {
    /// Exports were scheduled and are stopped.
    Disconnected,
    /// There is no role, or no settings were ever saved.
    NotConnected,
    /// The last runs have failed, or the watermark is damaged.
    Failing,
    /// As failing, but after the last failure the settings were saved, a verification passed, or an admin asked for a retry.
    Retrying,
    /// The settings have neither passed a verification nor delivered a window.
    NotVerified,
    /// No window was ever exported.
    WaitingForFirstExport,
    Healthy,
}

impl ExportState {
    /// `check` is the last connection check; one of other settings doesn't count.
    pub fn from_records(records: &TenantRecords, check: Option<&ConnectionCheck>) -> Self {
        let TenantRecords { watermark, health, .. } = records;
        match ConnectorState::from_records(records) {
            ConnectorState::Disconnected => return Self::Disconnected,
            ConnectorState::NotConnected | ConnectorState::Connected => return Self::NotConnected,
            ConnectorState::Scheduled => {}
        }
        let is_damaged = watermark.as_ref().is_none_or(|watermark| watermark.schedule().is_err());
        let has_passed = |check: &ConnectionCheck| records.version() == Some(check.version) && !check.fails();
        if is_damaged || health.is_failing() && !is_retried(health) {
            Self::Failing
        } else if health.is_failing() {
            Self::Retrying
        } else if !records.is_verified() && !check.is_some_and(has_passed) {
            Self::NotVerified
        } else if health.last_success_at.is_none() {
            Self::WaitingForFirstExport
        } else {
            Self::Healthy
        }
    }
}

/// Whether the next run of a failing tenant may succeed: something was repaired after the last failure.
fn is_retried(health: &ExportHealth) -> bool {
    let failed_at = health.last_error.as_ref().and_then(|error| error.at).or(health.failing_since);
    health.backoff_reset_at.is_some_and(|reset_at| failed_at.is_none_or(|failed_at| reset_at > failed_at))
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub state: ExportState,
    /// The state of the connection alone: whether there is a role, and whether exports are scheduled.
    pub connector: ConnectorState,
    /// All events recorded before this are in the bucket.
    pub exported_until: Option<DateTime<Utc>>,
    /// The next tick that tries to export; none if nothing is scheduled.
    pub next_run_at: Option<DateTime<Utc>>,
    pub failing_since: Option<DateTime<Utc>>,
    /// The whole hours of events that earlier ticks should have exported.
    pub backlog_hours: i64,
    /// Why the last run failed, if exports fail.
    pub failure: Option<LastError>,
    /// Why the last window lacks events, if it does. Its export has not failed.
    pub loss: Option<LastError>,
}

impl Status {
    /// Of a watermark that can't be read, nothing is known: the tenant's exports fail, and the last error says why.
    pub fn from_records(
        records: &TenantRecords,
        check: Option<&ConnectionCheck>,
        settle: TimeDelta,
        now: DateTime<Utc>,
    ) -> Self {
        let connector = ConnectorState::from_records(records);
        let schedule = records.watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
        let scheduled = schedule.filter(|_| connector == ConnectorState::Scheduled);
        let last_error = records.health.last_error.clone();
        let (failure, loss) = if records.health.is_failing() { (last_error, None) } else { (None, last_error) };
        Self {
            state: ExportState::from_records(records, check),
            connector,
            exported_until: schedule.map(|schedule| schedule.exported_until),
            next_run_at: scheduled.map(|schedule| next_try(schedule, &records.health, settle, now)),
            failing_since: records.health.failing_since,
            backlog_hours: scheduled.map_or(0, |schedule| backlog(schedule, settle, now)),
            failure,
            loss,
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
    use crate::{
        records::{Finding, LastError, StoredWatermark},
        settings::Draft,
        tenant::TenantId,
    };

    /// All that the state depends on, a value of each at a time.
    #[derive(Debug, Clone, Copy)]
    struct Case {
        has_role: bool,
        has_settings: bool,
        is_scheduled: bool,
        is_damaged: bool,
        is_failing: bool,
        /// Whether the backoff was reset, and whether after the last error.
        reset: Option<bool>,
        has_exported: bool,
        verified_version: Option<u64>,
        /// The version of the last check, and whether it found a failure.
        check: Option<(u64, bool)>,
        has_error: bool,
    }

    const VERSION: u64 = 3;

    impl Case {
        fn all() -> Vec<Self> {
            let checks = [None, Some((VERSION, false)), Some((VERSION, true)), Some((VERSION - 1, false))];
            let mut cases = Vec::new();
            for bits in 0..128_u8 {
                let bit = |n: u8| bits & (1 << n) != 0;
                for reset in [None, Some(false), Some(true)] {
                    for verified_version in [None, Some(VERSION - 1), Some(VERSION)] {
                        cases.extend(checks.map(|check| Self {
                            has_role: bit(0),
                            has_settings: bit(1),
                            is_scheduled: bit(2),
                            is_damaged: bit(3),
                            is_failing: bit(4),
                            reset,
                            has_exported: bit(5),
                            verified_version,
                            check,
                            has_error: bit(6),
                        }));
                    }
                }
            }
            cases
        }

        fn state(self) -> ExportState {
            let schedule = schedule("10:00:00", "11:00:00");
            let connected = StoredWatermark::connected(&TenantId::parse("acme").unwrap(), schedule);
            let watermark = StoredWatermark {
                due_shard: connected.due_shard.clone().filter(|_| self.is_scheduled),
                next_due: connected.next_due.clone().filter(|_| !self.is_damaged),
                ..connected
            };
            let role_arn = self.has_role.then(|| "arn:aws:iam::222222222222:role/audit".to_owned());
            let error =
                LastError { code: String::new(), message: String::new(), party: None, at: Some(at("10:01:00")) };
            let health = ExportHealth {
                last_success_at: self.has_exported.then(|| at("08:01:00")),
                // A loss sets the error of a tenant that doesn't fail.
                last_error: (self.has_error || self.is_failing).then_some(error),
                consecutive_failures: self.is_failing.into(),
                failing_since: self.is_failing.then(|| at("09:01:00")),
                backoff_reset_at: self.reset.map(|later| at(if later { "10:01:01" } else { "10:01:00" })),
                ..ExportHealth::default()
            };
            let records = TenantRecords {
                config: Some(Draft { role_arn, version: Some(VERSION.to_string()), ..Draft::default() }),
                verified_version: self.verified_version,
                watermark: self.has_settings.then_some(watermark),
                health,
                ..TenantRecords::default()
            };
            let finding =
                || Finding { step: String::new(), is_failure: true, code: String::new(), message: String::new() };
            let check = self.check.map(|(version, fails)| ConnectionCheck {
                due_hour: at("08:00:00"),
                at: at("08:31:00"),
                version,
                findings: fails.then(finding).into_iter().collect(),
            });
            ExportState::from_records(&records, check.as_ref())
        }
    }

    #[test]
    fn the_state_is_the_first_that_applies_in_every_combination() {
        type Applies = fn(Case) -> bool;
        // Each holds if none above it does.
        let table: [(Applies, ExportState); 8] = [
            (|it| it.has_role && it.has_settings && !it.is_scheduled, ExportState::Disconnected),
            (|it| !it.has_role || !it.has_settings, ExportState::NotConnected),
            (|it| it.is_damaged, ExportState::Failing),
            (|it| it.is_failing && it.reset != Some(true), ExportState::Failing),
            (|it| it.is_failing, ExportState::Retrying),
            (
                |it| {
                    let is_delivered = it.has_exported && it.reset.is_none();
                    let has_passed = it.verified_version == Some(VERSION) || it.check == Some((VERSION, false));
                    !is_delivered && !has_passed
                },
                ExportState::NotVerified,
            ),
            (|it| !it.has_exported, ExportState::WaitingForFirstExport),
            (|_| true, ExportState::Healthy),
        ];
        let mut seen = std::collections::BTreeMap::<ExportState, u32>::new();
        for case in Case::all() {
            let (_, expected) = table.iter().find(|(applies, _)| applies(case)).unwrap();
            assert_eq!(case.state(), *expected, "{case:?}");
            *seen.entry(*expected).or_default() += 1;
        }
        assert_eq!((seen.len(), seen.values().sum::<u32>()), (7, 4_608), "{seen:?}");
    }

    #[test]
    fn a_failure_without_a_time_is_retried_after_the_first_one() {
        let health = |failing_since, backoff_reset_at| ExportHealth {
            consecutive_failures: 1,
            failing_since,
            backoff_reset_at,
            ..ExportHealth::default()
        };
        for (health, expected) in [
            (health(Some(at("09:00:00")), None), false),
            (health(Some(at("09:00:00")), Some(at("09:00:00"))), false),
            (health(Some(at("09:00:00")), Some(at("09:00:01"))), true),
            (health(None, Some(at("09:00:01"))), true),
        ] {
            assert_eq!(is_retried(&health), expected, "{health:?}");
        }
    }

    #[test]
    fn the_error_of_an_exported_window_is_a_loss_and_no_failure() {
        let error = LastError { code: "x".to_owned(), message: String::new(), party: None, at: None };
        let health = |consecutive_failures| ExportHealth {
            last_error: Some(error.clone()),
            consecutive_failures,
            ..ExportHealth::default()
        };
        for (failures, failure, loss) in [(0, None, Some(error.clone())), (1, Some(error.clone()), None)] {
            let records = TenantRecords { health: health(failures), ..TenantRecords::default() };
            let status = Status::from_records(&records, None, TimeDelta::minutes(1), at("10:00:00"));
            assert_eq!((status.failure, status.loss), (failure, loss), "{failures}");
        }
    }

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
