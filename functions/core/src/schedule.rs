//! When a tenant is due, and for which windows of time.
//!
//! Everything here is a pure function of the watermark, the frequency and the tick, so that a retry, a duplicate tick
//! and two runs at once all plan the same windows.

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{tenant::Frequency, timestamp};

/// The longest time that a run waits for a window to settle. Longer than that, the next tick exports it.
pub const MAX_SETTLE_WAIT: TimeDelta = TimeDelta::minutes(2);

/// Returns the hour that a run is for: that of the event which started it, or the wall clock's if that is earlier. An event
/// from a clock that runs ahead must not export hours that aren't over.
pub fn tick(event_time: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
    full_hour(event_time.min(now))
}

/// Returns the last full hour at or before an instant.
pub fn full_hour(at: DateTime<Utc>) -> DateTime<Utc> {
    // Truncating to an hour fails only for instants that lie centuries outside of what a timestamp can hold.
    at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at)
}

/// Returns the first full hour strictly after an instant.
pub fn next_full_hour(at: DateTime<Utc>) -> DateTime<Utc> {
    full_hour(at) + TimeDelta::hours(1)
}

/// A period of time, `from` included and `to` excluded, both in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Window {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

impl Window {
    /// Returns the ISO 8601 interval that records hold: `2026-11-21T10:00:00Z/2026-11-21T11:00:00Z`.
    pub fn interval(self) -> String {
        format!("{}/{}", timestamp::seconds(self.from), timestamp::seconds(self.to))
    }

    /// Parses what [`Window::interval`] writes, and nothing else.
    pub fn parse_interval(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('/')?;
        Some(Self { from: timestamp::parse_seconds(from)?, to: timestamp::parse_seconds(to)? })
    }

    pub fn overlaps(self, other: Self) -> bool {
        self.from < other.to && other.from < self.to
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.interval()
    }
}

impl TryFrom<String> for Window {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse_interval(&text).ok_or("not an interval in whole seconds")
    }
}

impl std::fmt::Display for Window {
    /// Writes it as keys and session names hold it: `20261121T100000Z_20261121T110000Z`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", timestamp::compact(self.from), timestamp::compact(self.to))
    }
}

/// How far a tenant has been exported and when it is due again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// All events recorded before this instant are in the tenant's bucket.
    pub exported_until: DateTime<Utc>,
    /// The end of the next window; the tenant is due from then on.
    pub next_due: DateTime<Utc>,
}

impl Schedule {
    /// The schedule after the first save: it begins at `start` (the save itself, or the chosen start of history), and is due
    /// at the next full hour.
    pub fn first_save(start: DateTime<Utc>) -> Self {
        let exported_until = timestamp::whole_seconds(start);
        Self { exported_until, next_due: next_full_hour(exported_until) }
    }

    /// The schedule after a later save: due at the next full hour, or earlier if it already was, so that a backlog keeps its
    /// windows. If the clock of the save is behind the watermark, the window still doesn't end where it begins.
    pub fn later_save(self, saved_at: DateTime<Utc>) -> Self {
        Self { next_due: self.next_due.min(next_full_hour(saved_at.max(self.exported_until))), ..self }
    }

    /// The window that is due at the tick, if any.
    pub fn due_window(self, tick: DateTime<Utc>) -> Option<Window> {
        (self.next_due <= tick).then_some(Window { from: self.exported_until, to: self.next_due })
    }

    /// The schedule after the due window was exported.
    pub fn advance(self, frequency: Frequency) -> Self {
        Self { exported_until: self.next_due, next_due: self.next_due + frequency.duration() }
    }
}

/// Returns how long to wait until a window has settled: zero if it has, none if that is [`MAX_SETTLE_WAIT`] or longer.
///
/// A window is read only once the wall clock has passed its end by `settle`: an event is stamped right before it is
/// written, and the write may take up to half of that.
pub fn wait_to_settle(window: Window, now: DateTime<Utc>, settle: TimeDelta) -> Option<TimeDelta> {
    let wait = (window.to + settle - now).max(TimeDelta::zero());
    (wait < MAX_SETTLE_WAIT).then_some(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn windows(mut schedule: Schedule, frequency: Frequency, tick: DateTime<Utc>) -> (Vec<Window>, Schedule) {
        let mut windows = Vec::new();
        while let Some(window) = schedule.due_window(tick) {
            windows.push(window);
            schedule = schedule.advance(frequency);
        }
        (windows, schedule)
    }

    #[test]
    fn the_first_export_is_at_the_next_full_hour_strictly_after_the_save() {
        for (saved, from, due) in [
            ("2026-11-21T10:03:12.345Z", "2026-11-21T10:03:12Z", "2026-11-21T11:00:00Z"),
            ("2026-11-21T10:00:00Z", "2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"),
            ("2026-11-21T23:59:59.999Z", "2026-11-21T23:59:59Z", "2026-11-22T00:00:00Z"),
        ] {
            assert_eq!(Schedule::first_save(at(saved)), Schedule { exported_until: at(from), next_due: at(due) });
        }
    }

    #[test]
    fn the_tick_is_the_events_own_hour_unless_the_clock_says_earlier() {
        let late_by_a_retry = tick(at("2026-11-21T11:01:00Z"), at("2026-11-21T13:30:00Z"));
        let clock_behind = tick(at("2026-11-21T11:01:00Z"), at("2026-11-21T10:59:58Z"));
        assert_eq!((late_by_a_retry, clock_behind), (at("2026-11-21T11:00:00Z"), at("2026-11-21T10:00:00Z")));
    }

    #[test]
    fn a_window_is_read_only_after_it_has_settled() {
        let window = Window { from: at("2026-11-21T10:00:00Z"), to: at("2026-11-21T11:00:00Z") };
        let minute = TimeDelta::minutes(1);
        for (now, expected) in [
            ("2026-11-21T11:01:00Z", Some(TimeDelta::zero())),
            ("2026-11-21T11:00:59Z", Some(TimeDelta::seconds(1))),
            ("2026-11-21T10:59:00.001Z", Some(TimeDelta::milliseconds(119_999))),
            ("2026-11-21T10:59:00Z", None),
        ] {
            assert_eq!(wait_to_settle(window, at(now), minute), expected, "{now}");
        }
    }

    #[test]
    fn a_save_in_the_middle_of_a_backlog_keeps_its_windows() {
        let behind = Schedule { exported_until: at("2026-11-21T03:00:00Z"), next_due: at("2026-11-21T04:00:00Z") };
        assert_eq!(behind.later_save(at("2026-11-21T10:30:00Z")), behind);
        let daily = Schedule { exported_until: at("2026-11-21T03:00:00Z"), next_due: at("2026-11-22T03:00:00Z") };
        assert_eq!(daily.later_save(at("2026-11-21T10:30:00Z")).next_due, at("2026-11-21T11:00:00Z"));
        let slow_clock = daily.later_save(at("2026-11-21T02:59:59Z"));
        assert_eq!(slow_clock.next_due, at("2026-11-21T04:00:00Z"), "later than what was exported");
    }

    /// What happens to a tenant.
    #[derive(Debug, Clone)]
    enum Step {
        /// The clock goes on by so many seconds, and a tick comes.
        Tick(i64),
        /// The clock goes on by so many seconds, and the settings are saved with this frequency.
        Save(i64, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let pause = prop_oneof![0..7_200i64, 0..400_000i64];
        prop_oneof![
            pause.clone().prop_map(Step::Tick),
            (pause, 1..=24u8).prop_map(|(pause, hours)| Step::Save(pause, hours))
        ]
    }

    fn every(hours: u8) -> Frequency {
        Frequency::parse(&hours.to_string()).unwrap()
    }

    proptest! {
        #[test]
        fn windows_tile_time_whatever_the_save_the_outage_and_the_frequency(
            start in 1_700_000_000_000..1_900_000_000_000i64,
            first in 1..=24u8,
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let mut now = DateTime::from_timestamp_millis(start).unwrap();
            let (mut schedule, mut frequency) = (Schedule::first_save(now), every(first));
            let mut end_of_last = schedule.exported_until;
            for step in steps {
                match step {
                    Step::Save(pause, hours) => {
                        now += TimeDelta::seconds(pause);
                        schedule = schedule.later_save(now);
                        frequency = every(hours);
                        prop_assert!(schedule.next_due <= next_full_hour(now));
                    }
                    Step::Tick(pause) => {
                        now += TimeDelta::seconds(pause);
                        let (exported, after) = windows(schedule, frequency, tick(now, now));
                        for window in exported {
                            prop_assert_eq!(window.from, end_of_last, "a gap or an overlap");
                            prop_assert!(window.from < window.to, "an empty window");
                            prop_assert!(window.to <= now, "a window that isn't over");
                            end_of_last = window.to;
                        }
                        schedule = after;
                        prop_assert!(now < schedule.next_due, "something due was left");
                    }
                }
                prop_assert_eq!(schedule.exported_until, end_of_last);
                prop_assert_eq!(full_hour(schedule.next_due), schedule.next_due);
            }
        }

        #[test]
        fn catching_up_yields_the_very_windows_that_would_have_been(
            start in 1_700_000_000..1_900_000_000i64,
            hours in 1..=24u8,
            outage in 0..200i64,
        ) {
            let start = DateTime::from_timestamp(start, 0).unwrap();
            let (first, frequency) = (Schedule::first_save(start), every(hours));
            let end = next_full_hour(start) + TimeDelta::hours(outage);
            let mut hourly = (Vec::new(), first);
            let mut tick = next_full_hour(start);
            while tick <= end {
                let (windows, after) = windows(hourly.1, frequency, tick);
                prop_assert!(windows.len() <= 1);
                hourly.0.extend(windows);
                hourly.1 = after;
                tick += TimeDelta::hours(1);
            }
            prop_assert_eq!(windows(first, frequency, end), hourly);
        }
    }
}
