//! Finds late arrivals: events that became visible after their window was read, since their writer broke the settle
//! contract.
//!
//! The watermark holds counts for each of the last 15 minutes of the last window. The next window's reading begins with
//! these minutes. A minute whose events have changed is delivered again, as a whole, in an object of its own. Events that
//! come even later are not exported.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{schedule::Window, timestamp};

/// How far before a window its reading begins.
pub const TRAILING_PERIOD: TimeDelta = TimeDelta::minutes(15);

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// The number of a minute's events, and the sum of a hash of each. The hash tells a late event apart from none when another
/// was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count(u64, u64);

/// Counts of the events in each of a window's last minutes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailingCounts {
    /// In order and without gaps. The first may begin in the middle of a minute, where a tenant's exports begin.
    minutes: Vec<Window>,
    /// The beginning of each, as range keys begin.
    begins: Vec<String>,
    counts: Vec<Count>,
}

/// The stored form: JSON.
#[derive(Serialize, Deserialize)]
struct StoredCounts {
    minutes: String,
    counts: Vec<Count>,
}

impl TrailingCounts {
    /// Zeros for the last minutes of a window.
    pub fn new(window: Window) -> Self {
        Self::between(window.from.max(window.to - TRAILING_PERIOD), window.to)
    }

    fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let end_of_minute = |at: DateTime<Utc>| at.duration_trunc(MINUTE).unwrap_or(at) + MINUTE;
        let minute = |from| (from < to).then(|| Window { from, to: end_of_minute(from).min(to) });
        let minutes: Vec<_> = std::iter::successors(minute(from), |last| minute(last.to)).collect();
        let begins = minutes.iter().map(|minute| timestamp::millis(minute.from)).collect();
        Self { counts: vec![Count::default(); minutes.len()], minutes, begins }
    }

    /// Zeros for the same minutes.
    #[must_use]
    pub fn zeroed(&self) -> Self {
        Self { counts: vec![Count::default(); self.counts.len()], ..self.clone() }
    }

    pub fn from(&self) -> Option<DateTime<Utc>> {
        self.minutes.first().map(|minute| minute.from)
    }

    pub fn to(&self) -> Option<DateTime<Utc>> {
        self.minutes.last().map(|minute| minute.to)
    }

    /// Counts an event by its `recorded_at_id`, unless it is before these minutes.
    pub fn add(&mut self, recorded_at_id: &str) {
        if self.begins.first().is_some_and(|first| recorded_at_id >= first.as_str()) {
            let minute = self.begins.partition_point(|begin| begin.as_str() <= recorded_at_id) - 1;
            let digest = Sha256::digest(recorded_at_id);
            let hash = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
            let Count(count, sum) = &mut self.counts[minute];
            (*count, *sum) = (*count + 1, sum.wrapping_add(hash));
        }
    }

    /// Returns the minutes that may have new events, and at least how many new events there are. A minute with fewer events
    /// counts as well: some may have been deleted while others came.
    pub fn changed_since(&self, before: &Self) -> (Vec<Window>, u64) {
        let both = self.minutes.iter().zip(self.counts.iter().zip(&before.counts));
        let changed = both.filter(|(_, (now, before))| now != before && now.0 > 0);
        changed.fold((Vec::new(), 0), |(mut minutes, more), (minute, (now, before))| {
            minutes.push(*minute);
            (minutes, more + now.0.saturating_sub(before.0).max(1))
        })
    }

    /// Returns the stored form.
    pub fn to_text(&self) -> String {
        let minutes = self.from().zip(self.to()).map(|(from, to)| Window { from, to }.interval()).unwrap_or_default();
        serde_json::to_string(&StoredCounts { minutes, counts: self.counts.clone() }).unwrap_or_default()
    }

    /// Parses what [`TrailingCounts::to_text`] writes, and nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        let StoredCounts { minutes, counts } = serde_json::from_str(text).ok()?;
        let Window { from, to } = Window::parse_interval(&minutes)?;
        let read = (to - from <= TRAILING_PERIOD).then(|| Self::between(from, to))?;
        (read.counts.len() == counts.len()).then_some(Self { counts, ..read })
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
        let mut counts = TrailingCounts::new(window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"));
        assert_eq!(
            (counts.minutes.len(), counts.minutes[0]),
            (15, window("2026-11-21T10:45:00Z", "2026-11-21T10:46:00Z"))
        );
        for key in ["2026-11-21T10:44:59.999Z#a", "2026-11-21T10:45:00.000Z#b", "2026-11-21T10:45:59.999Z#c"] {
            counts.add(key);
        }
        counts.add("2026-11-21T10:59:00.000Z#d");
        let numbers: Vec<u64> = counts.counts.iter().map(|it| it.0).collect();
        assert_eq!((numbers[0], numbers[1], numbers[14]), (2, 0, 1));
        assert_eq!(numbers.iter().sum::<u64>(), 3, "earlier events are not counted");
        assert_eq!(TrailingCounts::parse(&counts.to_text()), Some(counts));
    }

    #[test]
    fn a_first_window_may_begin_in_the_middle_of_a_minute() {
        let counts = TrailingCounts::new(window("2026-11-21T10:58:30Z", "2026-11-21T11:00:00Z"));
        let minutes = [
            window("2026-11-21T10:58:30Z", "2026-11-21T10:59:00Z"),
            window("2026-11-21T10:59:00Z", "2026-11-21T11:00:00Z"),
        ];
        assert_eq!(counts.minutes, minutes);
        assert_eq!(TrailingCounts::parse(&counts.to_text()), Some(counts));
    }

    #[test]
    fn a_minute_has_changed_if_it_has_other_events_than_before_in_whatever_order_they_are_read() {
        let key = |minute: u32, id: &str| format!("2026-11-21T10:{minute}:10.000Z#{id}");
        let counts = |keys: &[String]| {
            let mut counts = TrailingCounts::new(window("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"));
            keys.iter().for_each(|key| counts.add(key));
            counts
        };
        let before = counts(&[key(50, "a"), key(51, "b"), key(52, "c"), key(53, "d")]);
        let now = counts(&[key(50, "a2"), key(50, "a1"), key(50, "a"), key(51, "other"), key(53, "d")]);
        let changed = [50, 51]
            .map(|minute| window(&format!("2026-11-21T10:{minute}:00Z"), &format!("2026-11-21T10:{}:00Z", minute + 1)));
        assert_eq!(now.changed_since(&before), (changed.to_vec(), 3), "not the minute whose events were all deleted");
        assert_eq!(counts(&[key(50, "a1"), key(50, "a2")]), counts(&[key(50, "a2"), key(50, "a1")]));
        assert_eq!(before.changed_since(&before), (vec![], 0));
    }

    #[test]
    fn damaged_counts_are_none() {
        for text in [
            "",
            "{}",
            r#"{"minutes":"2026-11-21T10:45:00Z/2026-11-21T11:00:00Z","counts":[[1,7]]}"#,
            r#"{"minutes":"2026-11-21T11:00:00Z/2026-11-21T10:00:00Z","counts":[[1,7]]}"#,
            r#"{"minutes":"1026-11-21T11:00:00Z/2026-11-21T10:00:00Z","counts":[]}"#,
        ] {
            assert_eq!(TrailingCounts::parse(text), None, "{text}");
        }
    }
}
