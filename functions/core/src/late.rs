//! Events that became visible after their window had been read, since their writer broke the settle contract.
//!
//! The watermark keeps how many events each of the last minutes of the last window had. The next window's reading begins
//! with these minutes, and a minute that has more events by then is delivered again, whole, in an object of its own.
//! Whatever comes later than that is not exported.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{schedule::Window, timestamp};

/// How far a window's reading looks back.
pub const LOOK_BACK: TimeDelta = TimeDelta::minutes(15);

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// How many events each of a window's last minutes has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// The minutes, in order and without gaps. The first may begin in its middle, where a tenant's exports begin.
    minutes: Vec<Window>,
    /// Where each of them begins, as a range key would.
    begins: Vec<String>,
    counts: Vec<u64>,
}

/// As the watermark holds it: JSON.
#[derive(Serialize, Deserialize)]
struct Text {
    minutes: String,
    counts: Vec<u64>,
}

impl Tail {
    /// Of a window that nothing was read of yet.
    pub fn of(window: Window) -> Self {
        Self::between(window.from.max(window.to - LOOK_BACK), window.to)
    }

    fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let end_of_minute = |at: DateTime<Utc>| at.duration_trunc(MINUTE).unwrap_or(at) + MINUTE;
        let minute = |from| (from < to).then(|| Window { from, to: end_of_minute(from).min(to) });
        let minutes: Vec<_> = std::iter::successors(minute(from), |last| minute(last.to)).collect();
        let begins = minutes.iter().map(|minute| timestamp::millis(minute.from)).collect();
        Self { counts: vec![0; minutes.len()], minutes, begins }
    }

    /// The same minutes, of which nothing was read yet.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self { counts: vec![0; self.counts.len()], ..self.clone() }
    }

    /// Where the first minute begins.
    pub fn from(&self) -> Option<DateTime<Utc>> {
        self.minutes.first().map(|minute| minute.from)
    }

    /// Where the last minute ends.
    pub fn to(&self) -> Option<DateTime<Utc>> {
        self.minutes.last().map(|minute| minute.to)
    }

    /// Counts an event by its `recorded_at_id`, if it is of one of these minutes or later.
    pub fn add(&mut self, recorded_at_id: &str) {
        if self.begins.first().is_some_and(|first| recorded_at_id >= first.as_str()) {
            let minute = self.begins.partition_point(|begin| begin.as_str() <= recorded_at_id) - 1;
            self.counts[minute] += 1;
        }
    }

    /// The minutes that have more events now than they had before, and how many more in all.
    pub fn grown_since(&self, before: &Self) -> (Vec<Window>, u64) {
        let both = self.minutes.iter().zip(self.counts.iter().zip(&before.counts));
        let grown = both.filter(|(_, (now, before))| {
            (now > before || planted!(LateForNoReason) && **now > 0) && !planted!(LateIsOverlooked)
        });
        grown.fold((Vec::new(), 0), |(mut minutes, more), (minute, (now, before))| {
            minutes.push(*minute);
            (minutes, more + now.saturating_sub(*before))
        })
    }

    /// As the watermark and a progress hold it.
    pub fn to_text(&self) -> String {
        let minutes = self.from().zip(self.to()).map(|(from, to)| Window { from, to }.interval()).unwrap_or_default();
        serde_json::to_string(&Text { minutes, counts: self.counts.clone() }).unwrap_or_default()
    }

    /// Reads what [`Tail::to_text`] writes, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let Text { minutes, counts } = serde_json::from_str(text).ok()?;
        let Window { from, to } = Window::parse_interval(&minutes)?;
        let tail = (to - from <= LOOK_BACK).then(|| Self::between(from, to))?;
        (tail.counts.len() == counts.len()).then_some(Self { counts, ..tail })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        Window { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    #[test]
    fn a_window_has_a_count_for_each_of_its_last_minutes() {
        let mut tail = Tail::of(window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"));
        assert_eq!((tail.minutes.len(), tail.minutes[0]), (15, window("2026-11-21T10:45:00Z", "2026-11-21T10:46:00Z")));
        for key in ["2026-11-21T10:44:59.999Z#a", "2026-11-21T10:45:00.000Z#b", "2026-11-21T10:45:59.999Z#c"] {
            tail.add(key);
        }
        tail.add("2026-11-21T10:59:00.000Z#d");
        assert_eq!((tail.counts[0], tail.counts[1], tail.counts[14]), (2, 0, 1));
        assert_eq!(tail.counts.iter().sum::<u64>(), 3, "what is before them is not counted");
        assert_eq!(Tail::parse(&tail.to_text()), Some(tail));
    }

    #[test]
    fn a_first_window_may_begin_in_the_middle_of_a_minute() {
        let tail = Tail::of(window("2026-11-21T10:58:30Z", "2026-11-21T11:00:00Z"));
        let minutes = [
            window("2026-11-21T10:58:30Z", "2026-11-21T10:59:00Z"),
            window("2026-11-21T10:59:00Z", "2026-11-21T11:00:00Z"),
        ];
        assert_eq!(tail.minutes, minutes);
        assert_eq!(Tail::parse(&tail.to_text()), Some(tail));
    }

    #[test]
    fn a_minute_has_grown_only_if_it_has_more_events_than_before() {
        let mut before = Tail::of(window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"));
        before.add("2026-11-21T10:50:10.000Z#a");
        before.add("2026-11-21T10:51:10.000Z#b");
        let mut now = before.anew();
        for key in ["2026-11-21T10:50:10.000Z#a", "2026-11-21T10:50:11.000Z#c", "2026-11-21T10:50:12.000Z#d"] {
            now.add(key);
        }
        let grown = vec![window("2026-11-21T10:50:00Z", "2026-11-21T10:51:00Z")];
        assert_eq!(now.grown_since(&before), (grown, 2), "and not the one that has fewer, since some were deleted");
        assert_eq!(before.grown_since(&before), (vec![], 0));
    }

    #[test]
    fn what_is_no_tail_is_none() {
        for text in [
            "",
            "{}",
            r#"{"minutes":"2026-11-21T10:45:00Z/2026-11-21T11:00:00Z","counts":[1]}"#,
            r#"{"minutes":"2026-11-21T11:00:00Z/2026-11-21T10:00:00Z","counts":[1]}"#,
            r#"{"minutes":"1026-11-21T11:00:00Z/2026-11-21T10:00:00Z","counts":[]}"#,
        ] {
            assert_eq!(Tail::parse(text), None, "{text}");
        }
    }
}
