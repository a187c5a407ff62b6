//! When a failing tenant is tried again, and when its failure is announced again.
//!
//! All rules are pure functions of instants in the record `watermark`. Exports of a tenant are tried forever and `next_due`
//! doesn't move, so the backlog is delivered with its own keys once the cause is gone.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{failure::Party, records::ExportHealth, schedule::full_hour, timestamp};

/// Hours after its first failure in which a tenant is tried at every tick.
const EVERY_TICK_HOURS: i64 = 24;

/// Hours between two tries after that.
const RETRY_INTERVAL_HOURS: i64 = 6;

/// Hours by which a tick's message can be late: a queue keeps it for 14 days at most ("Amazon SQS message quotas" in the Amazon
/// SQS developer guide).
const LATEST_TICK_HOURS: i64 = 14 * 24;

/// Days after which a lasting failure is announced again.
const ANNOUNCED_DAYS: [i64; 3] = [1, 3, 7];

/// A backlog nears the retention if less than this is left, unless events are kept for less than twice this time.
const MIN_RETENTION_MARGIN: TimeDelta = TimeDelta::days(2);

impl ExportHealth {
    /// Returns the days of failing to announce with a failure at that instant: 0 for the first one, later each of the
    /// `ANNOUNCED_DAYS` once. None: it is not announced.
    pub fn days_to_announce(&self, at: DateTime<Utc>) -> Option<i64> {
        let Some(since) = self.failing_since.filter(|_| self.consecutive_failures > 0) else { return Some(0) };
        let last = self.last_error.as_ref().and_then(|error| error.at).unwrap_or(since);
        let days = days_failing(since, at);
        (days > days_failing(since, last)).then_some(days)
    }

    /// Whether the tenant is tried at a tick. Only customers' failures are backed off; the platform's may pass at any moment.
    /// Saved settings, and a verification that passed, begin a new first day.
    pub fn is_attempted(&self, tick: DateTime<Utc>) -> bool {
        let Some((since, error)) = self.failing_since.zip(self.last_error.as_ref()) else { return true };
        let by_customer = error.party.as_deref() == Some(Party::Customer.as_str());
        let Some(at) = error.at.filter(|_| by_customer) else { return true };
        let since = since.max(self.backoff_reset_at.unwrap_or(since));
        is_retry_due(since, at, tick)
    }
}

/// Whether a backlog nears the age at which events are deleted: a quarter of the retention is left, or two days if that is
/// more, but never more than half.
pub fn nears_retention(lag: TimeDelta, retention: Option<TimeDelta>) -> bool {
    retention.is_some_and(|retention| lag > age_near_retention(retention))
}

/// The age beyond which an event nears the retention.
pub fn age_near_retention(retention: TimeDelta) -> TimeDelta {
    retention - (retention / 4).max(MIN_RETENTION_MARGIN).min(retention / 2)
}

/// Returns when the first events that are not exported are deleted, if ever. `exported_until` is as the record holds it.
pub fn retained_until(exported_until: &str, retention: Option<TimeDelta>) -> Option<DateTime<Utc>> {
    Some(timestamp::parse_seconds(exported_until)? + retention?)
}

/// Whether a failing tenant is tried at a tick: always on its first day, and then if the last error is six hours old. Full
/// hours are compared, so that it doesn't matter how long a tick takes. A tick whose message comes late may be older than the
/// error, which then is recent. An error that is later than any such tick is from a clock that ran ahead, and delays nothing.
fn is_retry_due(failing_since: DateTime<Utc>, last_error_at: DateTime<Utc>, tick: DateTime<Utc>) -> bool {
    let is_recent = (-LATEST_TICK_HOURS..RETRY_INTERVAL_HOURS).contains(&hours(last_error_at, tick));
    hours(failing_since, tick) <= EVERY_TICK_HOURS || !is_recent
}

/// Returns the last of the `ANNOUNCED_DAYS` that a failure has lasted; 0 before the first.
fn days_failing(failing_since: DateTime<Utc>, at: DateTime<Utc>) -> i64 {
    let lasted = hours(failing_since, at);
    ANNOUNCED_DAYS.into_iter().rev().find(|days| lasted >= days * 24).unwrap_or(0)
}

fn hours(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (full_hour(to) - full_hour(from)).num_hours()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Code, records::LastError};

    fn at(day: u32, time: &str) -> DateTime<Utc> {
        format!("2026-11-{day:02}T{time}Z").parse().unwrap()
    }

    /// The hours after the first failure at which a tenant is tried by hourly ticks, if every try fails.
    fn tries(until: i64) -> Vec<i64> {
        let since = at(1, "10:01:30");
        let mut last = since;
        let mut attempts = Vec::new();
        for hour in 1..=until {
            let tick = at(1, "10:00:00") + TimeDelta::hours(hour);
            if is_retry_due(since, last, tick) {
                attempts.push(hour);
                // Some ticks take long.
                last = tick + TimeDelta::minutes(if hour % 2 == 0 { 1 } else { 14 });
            }
        }
        attempts
    }

    #[test]
    fn a_failing_tenant_is_tried_at_every_tick_of_its_first_day_and_then_every_six_hours_forever() {
        let tried = tries(24 * 60);
        assert_eq!(tried[..24], (1..=24).collect::<Vec<_>>());
        assert!(tried[23..].windows(2).all(|two| two[1] - two[0] == 6), "{tried:?}");
        assert_eq!(tried.last(), Some(&(24 * 60)));
    }

    #[test]
    fn a_lasting_failure_is_announced_at_tries_after_one_three_and_seven_days() {
        let since = at(1, "10:01:30");
        let days = |hour: i64| days_failing(since, at(1, "10:00:40") + TimeDelta::hours(hour));
        assert_eq!([0, 23, 24, 71, 72, 167, 168, 2_000].map(days), [0, 0, 1, 1, 3, 3, 7, 7]);
        assert!(ANNOUNCED_DAYS.iter().all(|days| tries(200).contains(&(days * 24))), "there is a try then");
    }

    #[test]
    fn each_failure_is_announced_once_at_first_and_once_after_each_of_the_days() {
        let since = at(1, "10:01:30");
        let failing = |last: i64| {
            let last_error = LastError {
                code: Code::AccessDenied.to_string(),
                message: String::new(),
                party: None,
                at: Some(since + TimeDelta::hours(last)),
            };
            let (failing_since, last_error) = (Some(since), Some(last_error));
            ExportHealth { failing_since, last_error, consecutive_failures: 1, ..ExportHealth::default() }
        };
        assert_eq!(ExportHealth::default().days_to_announce(since), Some(0));
        for (last, now, expected) in
            [(0, 1, None), (23, 24, Some(1)), (24, 30, None), (20, 80, Some(3)), (300, 301, None)]
        {
            assert_eq!(failing(last).days_to_announce(since + TimeDelta::hours(now)), expected, "{last} {now}");
        }
        let lost = ExportHealth { consecutive_failures: 0, failing_since: None, ..failing(1) };
        assert_eq!(lost.days_to_announce(since), Some(0), "the error of an exported window is no failure");
    }

    #[test]
    fn a_tick_that_comes_late_is_backed_off_by_an_error_after_it() {
        let since = at(1, "10:00:00");
        for (tick, is_due) in [
            (at(2, "10:00:00"), true),
            (at(2, "11:00:00"), false),
            (at(15, "10:00:00"), false),
            (at(15, "16:00:00"), true),
        ] {
            assert_eq!(is_retry_due(since, at(15, "10:01:30"), tick), is_due, "{tick}");
        }
    }

    #[test]
    fn an_error_from_a_clock_that_ran_ahead_delays_no_try() {
        assert!(is_retry_due(at(1, "10:00:00"), at(28, "10:00:00"), at(5, "10:00:00")));
        assert!(is_retry_due(at(28, "10:00:00"), at(28, "10:00:00"), at(5, "10:00:00")));
    }

    #[test]
    fn only_a_customers_failure_is_backed_off_and_not_after_a_save_or_a_verification() {
        let failing = |party: Option<&str>, backoff_reset_at| ExportHealth {
            failing_since: Some(at(1, "10:01:30")),
            backoff_reset_at,
            last_error: Some(LastError {
                code: Code::AccessDenied.to_string(),
                message: String::new(),
                party: party.map(str::to_owned),
                at: Some(at(5, "10:01:30")),
            }),
            ..ExportHealth::default()
        };
        let tick = at(5, "12:00:00");
        for (health, attempted) in [
            (failing(Some("customer"), None), false),
            (failing(Some("customer"), Some(at(5, "11:30:00"))), true),
            (failing(Some("customer"), Some(at(3, "11:30:00"))), false),
            (failing(Some("platform"), None), true),
            (failing(None, None), true),
            (ExportHealth::default(), true),
        ] {
            assert_eq!(health.is_attempted(tick), attempted, "{health:?}");
        }
    }

    #[test]
    fn a_backlog_nears_the_retention_when_a_quarter_of_it_is_left_or_two_days() {
        for (retention, lag, near) in [
            (Some(90), 24 * 67, false),
            (Some(90), 24 * 68, true),
            (Some(7), 24 * 5, false),
            (Some(7), 24 * 5 + 1, true),
            (Some(1), 11, false),
            (Some(1), 13, true),
            (None, 24 * 10_000, false),
        ] {
            assert_eq!(
                nears_retention(TimeDelta::hours(lag), retention.map(TimeDelta::days)),
                near,
                "{retention:?} {lag}"
            );
        }
    }
}
