//! The chart of the last 30 days: exported events by day, and when exports failed and recovered.

use std::collections::BTreeMap;

use askama::Template;
use audit_log_core::{
    ports::Settings as _,
    records::StoredReceipt,
    schedule::Window,
    search::{Filter, FoundEvent, Search, SearchPage},
    system_events::LOG_TYPE,
    timestamp,
};
use audit_log_web::{
    caller::{Caller, Read},
    problem::{Code, Problem},
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

use super::text::number;
use crate::{
    app::{App, Backend},
    logs::{self, ScanLimit},
};

/// Including today.
const DAYS: u16 = 30;

/// The receipts of one read, and the number of reads. Hourly exports make 720 receipts in 30 days.
const READ_RECEIPTS: usize = 100;
const MAX_READS: usize = 10;

/// Failures and recoveries to read. A window has at most one of each.
const MAX_MARKS: usize = 200;

/// In the units of the chart: the space for the scale and above the bars, and the height of the highest bar.
const LEFT: u64 = 52;
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
}

/// Reads the tenant's receipts and system events.
pub(super) async fn load<B: Backend>(app: &App<B>, caller: &Caller<Read>) -> Result<Chart, Problem> {
    let (tenant, now) = (caller.tenant(), app.time());
    let from = (now.date_naive() - TimeDelta::days(i64::from(DAYS) - 1)).and_time(NaiveTime::MIN).and_utc();
    let (mut receipts, mut before) = (Vec::new(), None);
    for _ in 0..MAX_READS {
        let batch = app.settings().receipts(tenant, before, READ_RECEIPTS).await?;
        before = batch.last().map(|last| last.receipt.window.to);
        let more = batch.len() == READ_RECEIPTS && before.is_some_and(|before| before > from);
        receipts.extend(batch);
        if !more {
            break;
        }
    }
    let marks = Search {
        actions: Filter::only(["Export Failed", "Export Recovered"]),
        log_types: Filter::only([LOG_TYPE]),
        ..Search::all(Window { from, to: now })
    };
    let marks = match logs::find(app, tenant, &marks, None, MAX_MARKS, ScanLimit::SHORT).await {
        // The status stays readable while something floods the search.
        Err(problem) if problem.code() == Code::RateLimited => {
            SearchPage { next: Some(timestamp::millis(now)), ..SearchPage::default() }
        }
        found => found?,
    };
    Ok(Chart::new(from, &receipts, &marks.events, marks.next.as_deref()))
}

impl Chart {
    fn new(from: DateTime<Utc>, receipts: &[StoredReceipt], marks: &[FoundEvent], read_until: Option<&str>) -> Self {
        let first = from.date_naive();
        let dates = first.iter_days().take(DAYS.into());
        let mut days: BTreeMap<NaiveDate, Day> = dates.map(|date| (date, Day { date, ..Day::default() })).collect();
        for stored in receipts {
            if let Some(day) = days.get_mut(&stored.receipt.window.from.date_naive()) {
                day.events += stored.events;
                day.windows += 1;
            }
        }
        for mark in marks {
            let Some(day) = date_of(&mark.position).and_then(|date| days.get_mut(&date)) else { continue };
            match mark.columns.action.as_str() {
                "Export Failed" => day.failures += 1,
                _ => day.recoveries += 1,
            }
        }
        let days: Vec<Day> = days.into_values().collect();
        let scale_end = round_up(days.iter().map(|day| day.events).max().unwrap_or_default());
        let total = number(days.iter().map(|day| day.events).sum());
        let marked_from = read_until.and_then(date_of).map(label);
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
        LEFT + u64::from(DAYS) * self.bar_width
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

/// The day of a `recorded_at_id`.
fn date_of(position: &str) -> Option<NaiveDate> {
    let recorded_at = position.split('#').next()?;
    Some(recorded_at.parse::<DateTime<Utc>>().ok()?.date_naive())
}

/// Up to the next even number with a single digit that isn't zero.
fn round_up(number: u64) -> u64 {
    let unit = 10_u64.pow(number.max(1).ilog10());
    let rounded = number.div_ceil(unit) * unit;
    rounded.max(2).next_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use audit_log_core::{records::Receipt, search::Columns};

    use super::*;

    fn receipt(from: &str, events: u64) -> StoredReceipt {
        let from: DateTime<Utc> = from.parse().unwrap();
        let window = Window { from, to: from + TimeDelta::hours(1) };
        let counts = audit_log_core::late_arrivals::TrailingCounts::new(window);
        let receipt = Receipt::empty(window, "acme", counts);
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
            Chart::new("2026-10-23T00:00:00Z".parse().unwrap(), &receipts, &marks, Some("2026-10-24T09:00:00.000Z#0"));
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
        }
    }

    #[test]
    fn the_scale_ends_at_a_round_number_that_is_not_below_the_highest_bar() {
        let ends = [0, 1, 2, 7, 10, 11, 99, 1_234, 90_001].map(round_up);
        assert_eq!(ends, [2, 2, 2, 8, 10, 20, 100, 2_000, 100_000]);
    }
}
