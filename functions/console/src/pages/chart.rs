//! The chart of the last 30 days: exported events by day, and when exports failed and recovered.

use std::collections::BTreeMap;

use askama::Template;
use audit_log_core::{records::StoredReceipt, search::FoundEvent};
use chrono::{DateTime, Datelike, NaiveDate, Utc, Weekday};

use super::{
    history::{DAYS, History, recorded_at},
    incidents::Incident,
    text::number,
};

/// In the units of the chart: the space for the scale, for half a date beside the last bar, and above the bars, and the height of
/// the highest bar.
const LEFT: u64 = 52;
const RIGHT: u64 = 14;
const TOP: u64 = 14;
const MAX_HEIGHT: u64 = 120;

/// CSS class and width of a bar with its gaps. The style shows the chart for wide or the one for narrow screens: a chart
/// that shrinks can't be read, and one that scrolls hides its latest days.
const BAR_WIDTHS: [(&str, u64); 2] = [("wide", 22), ("slim", 10)];

/// Drawn as bars, and written as a table below.
#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    days: Vec<Day>,
    scale_end: u64,
    total: String,
    /// The first day with failures and recoveries, if there were too many to read those of all days.
    marked_from: Option<String>,
}

/// A day in UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Day {
    date: NaiveDate,
    events: u64,
    windows: u64,
    failures: u64,
    recoveries: u64,
    /// The incident that began or ended on this day.
    failure_id: Option<String>,
    recovery_id: Option<String>,
}

impl Chart {
    /// The marks link to the incidents.
    pub(super) fn from_history(history: &History, incidents: &[Incident]) -> Self {
        let mut chart = Self::new(history.from, &history.receipts, &history.events, history.events_from);
        for incident in incidents {
            let ended_on = incident.ended_at.map(|at| at.date_naive());
            for day in &mut chart.days {
                if day.failures > 0 && day.date == incident.began_at.date_naive() {
                    day.failure_id.get_or_insert_with(|| incident.id.clone());
                }
                if day.recoveries > 0 && Some(day.date) == ended_on {
                    day.recovery_id.get_or_insert_with(|| incident.id.clone());
                }
            }
        }
        chart
    }

    fn new(
        from: DateTime<Utc>,
        receipts: &[StoredReceipt],
        events: &[FoundEvent],
        events_from: Option<DateTime<Utc>>,
    ) -> Self {
        let first = from.date_naive();
        let dates = first.iter_days().take(DAYS.into());
        let mut days: BTreeMap<NaiveDate, Day> = dates.map(|date| (date, Day { date, ..Day::default() })).collect();
        for stored in receipts {
            if let Some(day) = days.get_mut(&stored.receipt.window.from.date_naive()) {
                day.events += stored.events;
                day.windows += 1;
            }
        }
        for event in events {
            let date = recorded_at(&event.position).map(|at| at.date_naive());
            let Some(day) = date.and_then(|date| days.get_mut(&date)) else { continue };
            match event.columns.action.as_str() {
                "Export Failed" => day.failures += 1,
                "Export Recovered" => day.recoveries += 1,
                _ => {}
            }
        }
        let days: Vec<Day> = days.into_values().collect();
        let scale_end = round_up(days.iter().map(|day| day.events).max().unwrap_or_default());
        let total = number(days.iter().map(|day| day.events).sum());
        let marked_from = events_from.map(|from| label(from.date_naive()));
        Self { days, scale_end, total, marked_from }
    }

    fn is_empty(&self) -> bool {
        self.days.iter().all(|day| day.windows + day.failures + day.recoveries == 0)
    }

    fn plots(&self) -> [Plot<'_>; 2] {
        BAR_WIDTHS.map(|(class, bar_width)| {
            let bar = |(day, x): (_, u64)| Bar { day, x, width: bar_width, scale_end: self.scale_end.max(1) };
            Plot {
                class,
                bar_width,
                bars: self.days.iter().zip((0..).map(|at| LEFT + at * bar_width)).map(bar).collect(),
            }
        })
    }

    /// Height and label of each line of the scale.
    fn lines(&self) -> [(u64, String); 3] {
        [
            (TOP, number(self.scale_end)),
            (TOP + MAX_HEIGHT / 2, number(self.scale_end / 2)),
            (TOP + MAX_HEIGHT, "0".to_owned()),
        ]
    }
}

/// The chart for one kind of screen.
struct Plot<'a> {
    class: &'static str,
    bar_width: u64,
    bars: Vec<Bar<'a>>,
}

impl Plot<'_> {
    fn width(&self) -> u64 {
        LEFT + u64::from(DAYS) * self.bar_width + RIGHT
    }

    /// The marks of the chart for narrow screens are too small to be touched. The table has the same links.
    fn is_wide(&self) -> bool {
        self.class == "wide"
    }

    fn has_links(&self) -> bool {
        self.is_wide() && self.bars.iter().any(|bar| bar.day.failure_id.is_some() || bar.day.recovery_id.is_some())
    }
}

struct Bar<'a> {
    day: &'a Day,
    x: u64,
    width: u64,
    scale_end: u64,
}

impl Bar<'_> {
    /// A day with events is visible, however few they are.
    fn height(&self) -> u64 {
        (self.day.events * MAX_HEIGHT / self.scale_end).max(u64::from(self.day.events > 0) * 2)
    }

    fn y(&self) -> u64 {
        TOP + MAX_HEIGHT - self.height()
    }

    /// On each side.
    fn gap(&self) -> u64 {
        self.width / 7
    }

    fn recovery_y(&self) -> u64 {
        if self.day.failures > 0 { 157 } else { 145 }
    }

    fn middle(&self) -> u64 {
        self.x + self.width / 2
    }
}

impl Day {
    fn label(&self) -> String {
        label(self.date)
    }

    /// Mondays are labeled.
    fn begins_a_week(&self) -> bool {
        self.date.weekday() == Weekday::Mon
    }

    fn number(&self) -> String {
        number(self.events)
    }

    fn tooltip(&self) -> String {
        let mut words = format!("{}: {} events in {} exports", self.label(), self.number(), self.windows);
        for (count, what) in [(self.failures, "failed"), (self.recoveries, "recovered")] {
            if count > 0 {
                words += &format!(", exports {what}");
            }
        }
        words
    }
}

fn label(date: NaiveDate) -> String {
    date.format("%-d %b").to_string()
}

/// Up to the next even number with a single digit that isn't zero.
fn round_up(number: u64) -> u64 {
    let unit = 10_u64.pow(number.max(1).ilog10());
    let rounded = number.div_ceil(unit) * unit;
    rounded.max(2).next_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use audit_log_core::{
        records::{Location, Receipt},
        schedule::Window,
        search::Columns,
    };
    use chrono::TimeDelta;

    use super::*;

    fn receipt(from: &str, events: u64) -> StoredReceipt {
        let from: DateTime<Utc> = from.parse().unwrap();
        let window = Window { from, to: from + TimeDelta::hours(1) };
        let counts = audit_log_core::late_arrivals::TrailingCounts::new(window);
        let location = Location { bucket: "acme".to_owned(), folder: "audit-logs/tenant=acme/".to_owned() };
        let receipt = Receipt::empty(window, location, counts);
        StoredReceipt { events, ..StoredReceipt::from_receipt(&receipt) }
    }

    #[test]
    fn each_day_has_its_own_events_failures_and_recoveries() {
        let mark = |position: &str, action: &str| FoundEvent {
            position: position.to_owned(),
            document: String::new(),
            columns: Columns { action: action.to_owned(), ..Columns::default() },
        };
        let marks = [
            mark("2026-10-24T09:01:00.000Z#1", "Export Failed"),
            mark("2026-10-24T12:01:00.000Z#2", "Export Recovered"),
            mark("2026-10-01T12:01:00.000Z#3", "Export Failed"),
        ];
        let receipts = [
            receipt("2026-10-23T23:00:00Z", 5),
            receipt("2026-10-24T00:00:00Z", 7),
            receipt("2026-10-24T01:00:00Z", 0),
            receipt("2026-10-22T23:00:00Z", 1_000),
        ];
        let chart =
            Chart::new("2026-10-23T00:00:00Z".parse().unwrap(), &receipts, &marks, "2026-10-24T09:00:00Z".parse().ok());
        assert_eq!(chart.marked_from.as_deref(), Some("24 Oct"));
        let of = |at: usize| {
            let Day { events, windows, failures, recoveries, .. } = chart.days[at];
            (events, windows, failures, recoveries)
        };
        assert_eq!((chart.days.len(), chart.total.as_str(), chart.scale_end), (30, "12", 8));
        assert_eq!((of(0), of(1), of(2)), ((5, 1, 0, 0), (7, 2, 1, 1), (0, 0, 0, 0)));
        assert_eq!(chart.days[1].tooltip(), "24 Oct: 7 events in 2 exports, exports failed, exports recovered");
        for plot in chart.plots() {
            let heights: Vec<u64> = plot.bars.iter().take(3).map(Bar::height).collect();
            assert_eq!((plot.bars.len(), heights), (30, vec![75, 105, 0]), "{}", plot.class);
            let last = plot.bars.last().unwrap();
            assert!(plot.width() - last.middle() >= 18, "half of a date such as 30 Nov: {}", plot.class);
        }
    }

    #[test]
    fn the_scale_ends_at_a_round_number_that_is_not_below_the_highest_bar() {
        let ends = [0, 1, 2, 7, 10, 11, 99, 1_234, 90_001].map(round_up);
        assert_eq!(ends, [2, 2, 2, 8, 10, 20, 100, 2_000, 100_000]);
    }
}
