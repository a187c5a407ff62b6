//! How patient the export is with a tenant that keeps failing, and when its failure is told of once more.
//!
//! All of it is a pure function of instants that the watermark's record holds: nobody is ever given up, `next_due` doesn't
//! move, and so the backlog comes by itself, with its own keys, once the cause is gone.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{failure::Party, records::Outcome, schedule::full_hour, timestamp};

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
    if planted!(GivesUpAfterAWeek) && hours(failing_since, tick) >= 7 * 24 {
        return false;
    }
    if hours(failing_since, tick) <= EVERY_TICK && !planted!(ImpatientFromTheStart) {
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

impl Outcome {
    /// Whether the tenant is tried at a tick. Only a failure that the customer has to mend is worth waiting for; the
    /// platform's own may pass at any moment. Saved settings, and a verification that passed, begin a new first day.
    pub fn is_tried(&self, tick: DateTime<Utc>) -> bool {
        let Some((since, error)) = self.failing_since.zip(self.last_error.as_ref()) else { return true };
        let by_customer = error.party.as_deref() == Some(Party::Customer.as_str());
        let Some(at) = error.at.filter(|_| by_customer) else { return true };
        let since = since.max(self.renewed_at.unwrap_or(since));
        is_due_for_a_try(since, at, tick)
    }
}

/// What others were last told of a tenant's failure: at which point of the watermark, and after how many days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Where the watermark stood, as it was stored. It stands there for one failure, however long that lasts.
    pub exported_until: String,
    /// One of [`DAYS`], 0 for the first failure, or -1 where the failure did not come to be recorded.
    pub days: i64,
}

impl Told {
    /// Reads what [`Self::to_text`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (exported_until, days) = text.rsplit_once('/')?;
        Some(Self { exported_until: exported_until.to_owned(), days: days.parse().ok()? })
    }

    /// As the watermark's record holds it: `2026-11-21T10:00:00Z/3`.
    pub fn to_text(&self) -> String {
        format!("{}/{}", self.exported_until, self.days)
    }

    /// The same of a failure that is not recorded: it has an end to hear of, but the next one is news.
    #[must_use]
    pub fn unrecorded(self) -> Self {
        Self { days: -1, ..self }
    }

    /// Whether whoever knows this knows that, too.
    pub fn covers(&self, other: &Self) -> bool {
        self.exported_until == other.exported_until && self.days >= other.days
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
    fn an_error_from_the_future_puts_nobody_off() {
        assert!(is_due_for_a_try(at(1, "10:00:00"), at(28, "10:00:00"), at(5, "10:00:00")));
        assert!(is_due_for_a_try(at(28, "10:00:00"), at(28, "10:00:00"), at(5, "10:00:00")));
    }

    #[test]
    fn only_a_customers_failure_is_waited_for_and_not_after_a_save_or_a_verification() {
        let failing = |party: Option<&str>, renewed_at| Outcome {
            failing_since: Some(at(1, "10:01:30")),
            renewed_at,
            last_error: Some(LastError {
                code: Code::AccessDenied.to_string(),
                message: String::new(),
                party: party.map(str::to_owned),
                at: Some(at(5, "10:01:30")),
            }),
            ..Outcome::default()
        };
        let tick = at(5, "12:00:00");
        for (outcome, tried) in [
            (failing(Some("customer"), None), false),
            (failing(Some("customer"), Some(at(5, "11:30:00"))), true),
            (failing(Some("customer"), Some(at(3, "11:30:00"))), false),
            (failing(Some("platform"), None), true),
            (failing(None, None), true),
            (Outcome::default(), true),
        ] {
            assert_eq!(outcome.is_tried(tick), tried, "{outcome:?}");
        }
    }

    #[test]
    fn what_was_told_is_read_as_it_was_written_and_covers_what_is_less() {
        let told = |until: &str, days| Told { exported_until: until.to_owned(), days };
        let three = told("2026-11-21T10:00:00Z", 3);
        assert_eq!(Told::parse(&three.to_text()), Some(three.clone()));
        assert_eq!([Told::parse("3"), Told::parse("x/y")], [None, None]);
        assert!(three.covers(&three) && three.covers(&told("2026-11-21T10:00:00Z", 0)));
        assert!(!three.covers(&told("2026-11-21T10:00:00Z", 7)) && !three.covers(&told("2026-11-21T11:00:00Z", 0)));
        let unrecorded = Told::parse(&three.clone().unrecorded().to_text()).unwrap();
        assert!(!unrecorded.covers(&told("2026-11-21T10:00:00Z", 0)));
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
