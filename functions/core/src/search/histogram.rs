//! Counts events by time.

use chrono::{DateTime, TimeDelta, Utc};

use crate::schedule::Window;

/// The bars of a histogram, at most. On a narrow screen more of them are too thin to be chosen.
const MAX_BARS: usize = 31;

/// The lengths of a bar, in minutes. The last one is enough for the longest period of a search, 400 days.
const STEPS: [i64; 15] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2 * 1_440, 7 * 1_440, 14 * 1_440];

/// The number of events in each part of a window. The parts are equally long and begin at multiples of their length, in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram {
    /// The start of the first part, at or before the window's.
    start: DateTime<Utc>,
    step: TimeDelta,
    counts: Vec<u64>,
}

impl Histogram {
    pub(super) fn new(window: Window) -> Self {
        let parts = |step: TimeDelta| {
            let seconds = step.num_seconds().max(1);
            let first = window.from.timestamp().div_euclid(seconds);
            // The window's end is excluded.
            let last = (window.to - TimeDelta::milliseconds(1)).timestamp().div_euclid(seconds);
            (first * seconds, usize::try_from(last - first + 1).unwrap_or(1))
        };
        let steps = STEPS.map(TimeDelta::minutes);
        let fitting = steps.into_iter().find(|step| parts(*step).1 <= MAX_BARS);
        let step = fitting.unwrap_or(TimeDelta::days(14));
        let (start, length) = parts(step);
        let start = DateTime::from_timestamp(start, 0).unwrap_or(window.from);
        Self { start, step, counts: vec![0; length.clamp(1, MAX_BARS)] }
    }

    pub(super) fn count(&mut self, at: DateTime<Utc>) {
        let part = (at - self.start).num_milliseconds().div_euclid(self.step.num_milliseconds().max(1));
        if let Some(count) = usize::try_from(part).ok().and_then(|part| self.counts.get_mut(part)) {
            *count += 1;
        }
    }

    pub fn step(&self) -> TimeDelta {
        self.step
    }

    /// Each part with its count, the earliest first. The first and the last one may reach beyond the search's window.
    pub fn bars(&self) -> impl Iterator<Item = (Window, u64)> {
        let starts = std::iter::successors(Some(self.start), |start| Some(*start + self.step));
        starts.zip(&self.counts).map(|(from, count)| (Window { from, to: from + self.step }, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn the_bars_cover_the_window_and_are_few() {
        for (minutes, step) in
            [(1, 1), (60, 2), (24 * 60, 60), (7 * 1_440, 360), (30 * 1_440, 1_440), (400 * 1_440, 14 * 1_440)]
        {
            let to = at("2026-11-21T10:03:12.345Z");
            let window = Window { from: to - TimeDelta::minutes(minutes), to };
            let histogram = Histogram::new(window);
            let bars: Vec<_> = histogram.bars().map(|(bar, _)| bar).collect();
            assert_eq!(histogram.step(), TimeDelta::minutes(step), "{minutes}");
            assert!(bars.len() <= MAX_BARS, "{minutes}: {}", bars.len());
            assert!(bars[0].from <= window.from && window.from < bars[0].to, "{minutes}");
            let last = bars.last().unwrap();
            assert!(last.from < window.to && window.to <= last.to, "{minutes}");
        }
    }

    #[test]
    fn an_event_counts_in_the_bar_of_its_time() {
        let window = Window { from: at("2026-11-21T10:00:00Z"), to: at("2026-11-21T10:03:00Z") };
        let mut histogram = Histogram::new(window);
        for time in ["10:00:00.000", "10:00:59.999", "10:02:00.000", "10:03:00.000", "09:59:59.999"] {
            histogram.count(at(&format!("2026-11-21T{time}Z")));
        }
        assert_eq!(histogram.bars().map(|(_, count)| count).collect::<Vec<_>>(), [2, 0, 1]);
    }
}
