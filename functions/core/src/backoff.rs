//! How long the export waits between tries of a tenant that keeps failing, and when its failure is announced once more.
//!
//! All of it is a pure function of instants that the record `watermark` holds. No tenant is ever given up and `next_due`
//! doesn't move, so the backlog is delivered by itself, with its own keys, once the cause is gone.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{failure::Party, records::ExportHealth, schedule::full_hour, timestamp};

/// For how many hours after its first failure a tenant is tried at every tick.
const EVERY_TICK: i64 = 24;

/// How many hours lie between two tries after that.
const THEN_EVERY: i64 = 6;

/// After how many days a failure that lasts is told of again.
pub const DAYS: [i64; 3] = [1, 3, 7];

/// The least that a backlog has to be away from the events' retention, unless events are not even kept for twice that.
const NEAR: TimeDelta = TimeDelta::days(2);

/// Whether a tenant that fails is tried at a tick: always on its first day, and then if the last error is six hours old.
/// Hours are counted by their beginnings, so that it doesn't matter how long a tick takes.
pub fn is_due_for_a_try(failing_since: DateTime<Utc>, last_error_at: DateTime<Utc>, tick: DateTime<Utc>) -> bool {
    if hours(failing_since, tick) <= EVERY_TICK {
        return true;
    }
    has_waited(last_error_at, tick)
}

/// Whether it was long enough ago for another try of what keeps failing. A try of a clock that runs ahead is no reason to
/// wait for that clock.
pub fn has_waited(last_try: DateTime<Utc>, tick: DateTime<Utc>) -> bool {
    !(0..THEN_EVERY).contains(&hours(last_try, tick))
}

/// How many of the days of [`DAYS`] a failure has lasted; 0 before the first.
pub fn days_failing(failing_since: DateTime<Utc>, at: DateTime<Utc>) -> i64 {
    let lasted = hours(failing_since, at);
    DAYS.into_iter().rev().find(|days| lasted >= days * 24).unwrap_or(0)
}

fn hours(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (full_hour(to) - full_hour(from)).num_hours()
}

impl ExportHealth {
    /// After how many days a failure at that instant is to be announced, if it is: 0 for the first one, and later each of
    /// [`DAYS`] once.
    pub fn to_announce(&self, at: DateTime<Utc>) -> Option<i64> {
        let Some(since) = self.failing_since.filter(|_| self.consecutive_failures > 0) else { return Some(0) };
        let last = self.last_error.as_ref().and_then(|error| error.at).unwrap_or(since);
        let days = days_failing(since, at);
        (days > days_failing(since, last)).then_some(days)
    }

    /// Whether the tenant is tried at a tick. Only a failure that the customer has to mend is worth waiting for; the
    /// platform's own may pass at any moment. Saved settings, and a verification that passed, begin a new first day.
    pub fn is_tried(&self, tick: DateTime<Utc>) -> bool {
        let Some((since, error)) = self.failing_since.zip(self.last_error.as_ref()) else { return true };
        let by_customer = error.party.as_deref() == Some(Party::Customer.as_str());
        let Some(at) = error.at.filter(|_| by_customer) else { return true };
        let since = since.max(self.backoff_reset_at.unwrap_or(since));
        is_due_for_a_try(since, at, tick)
    }
}

/// Whether a backlog comes near to what is deleted: a quarter of the retention is left, or two days if that is more, but
/// never more than half.
pub fn nears_retention(lag: TimeDelta, retention: Option<TimeDelta>) -> bool {
    retention.is_some_and(|retention| lag > retention - (retention / 4).max(NEAR).min(retention / 2))
}

/// From when on events that are not exported are deleted, if ever. `exported_until` is as it is stored.
pub fn kept_until(exported_until: &str, retention: Option<TimeDelta>) -> Option<DateTime<Utc>> {
    Some(timestamp::parse_seconds(exported_until)? + retention?)
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
        let mut tried = Vec::new();
        for hour in 1..=until {
            let tick = at(1, "10:00:00") + TimeDelta::hours(hour);
            if is_due_for_a_try(since, last, tick) {
                tried.push(hour);
                // Some take long.
                last = tick + TimeDelta::minutes(if hour % 2 == 0 { 1 } else { 14 });
            }
        }
        tried
    }

    #[test]
    fn a_failing_tenant_is_tried_at_every_tick_of_its_first_day_and_then_every_six_hours_for_ever() {
        let tried = tries(24 * 60);
        assert_eq!(tried[..24], (1..=24).collect::<Vec<_>>());
        assert!(tried[23..].windows(2).all(|two| two[1] - two[0] == 6), "{tried:?}");
        assert_eq!(tried.last(), Some(&(24 * 60)));
    }

    #[test]
    fn a_failure_that_lasts_is_told_of_at_tries_after_one_three_and_seven_days() {
        let since = at(1, "10:01:30");
        let told = |hour: i64| days_failing(since, at(1, "10:00:40") + TimeDelta::hours(hour));
        assert_eq!([0, 23, 24, 71, 72, 167, 168, 2_000].map(told), [0, 0, 1, 1, 3, 3, 7, 7]);
        assert!(DAYS.iter().all(|days| tries(200).contains(&(days * 24))), "it is tried then");
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
        assert_eq!(ExportHealth::default().to_announce(since), Some(0));
        for (last, now, expected) in
            [(0, 1, None), (23, 24, Some(1)), (24, 30, None), (20, 80, Some(3)), (300, 301, None)]
        {
            assert_eq!(failing(last).to_announce(since + TimeDelta::hours(now)), expected, "{last} {now}");
        }
        let lost = ExportHealth { consecutive_failures: 0, failing_since: None, ..failing(1) };
        assert_eq!(lost.to_announce(since), Some(0), "the error of a window that was exported is no failure");
    }

    #[test]
    fn an_error_from_the_future_puts_nobody_off() {
        assert!(is_due_for_a_try(at(1, "10:00:00"), at(28, "10:00:00"), at(5, "10:00:00")));
        assert!(is_due_for_a_try(at(28, "10:00:00"), at(28, "10:00:00"), at(5, "10:00:00")));
    }

    #[test]
    fn only_a_customers_failure_is_waited_for_and_not_after_a_save_or_a_verification() {
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
        for (health, tried) in [
            (failing(Some("customer"), None), false),
            (failing(Some("customer"), Some(at(5, "11:30:00"))), true),
            (failing(Some("customer"), Some(at(3, "11:30:00"))), false),
            (failing(Some("platform"), None), true),
            (failing(None, None), true),
            (ExportHealth::default(), true),
        ] {
            assert_eq!(health.is_tried(tick), tried, "{health:?}");
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
