//! The last thirty days as bars: how many events were exported of each, and when exports failed and recovered.

use std::collections::BTreeMap;

use askama::Template;
use audit_log_core::{
    ports::Settings as _,
    records::StoredReceipt,
    schedule::Window,
    search::{FoundEvent, Search},
    system_events::LOG_TYPE,
};
use audit_log_web::{
    caller::{Caller, Read},
    problem::Problem,
};
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

use super::text::number;
use crate::{
    app::{App, Backend},
    logs::{self, Reach},
};

/// How many days are shown, today's included.
const DAYS: u16 = 30;

/// How many receipts are read at once, and how often: hourly exports make 720 of them in thirty days.
const BATCH: usize = 100;
const BATCHES: usize = 10;

/// How many failures and recoveries are looked for; more than one pair a window there can't be.
const MAX_MARKS: usize = 200;

/// The chart's measures, in its own units: of the space for the scale, and of the highest bar.
const LEFT: u64 = 52;
const TOP: u64 = 14;
const HIGHEST: u64 = 120;

/// How wide a bar is with its gaps, for wide screens and for narrow ones, by the classes of which the style shows one: a
/// chart that shrinks as a whole can't be read, and one that scrolls hides its latest days.
const STEPS: [(&str, u64); 2] = [("wide", 22), ("slim", 10)];

/// What is drawn, and told in a table beside it.
#[derive(Template)]
#[template(path = "chart.html")]
pub(super) struct Chart {
    days: Vec<Day>,
    /// What the scale ends at.
    most: u64,
    total: String,
    /// From which day on failures were looked for, where there was too much to look for them in all of it.
    marked_from: Option<String>,
}

/// One day, by UTC.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Day {
    date: NaiveDate,
    events: u64,
    windows: u64,
    failures: u64,
    recoveries: u64,
}

/// What the tenant's receipts and its own events tell of the last thirty days.
pub(super) async fn of<B: Backend>(app: &App<B>, caller: &Caller<Read>) -> Result<Chart, Problem> {
    let (tenant, now) = (caller.tenant(), app.time());
    let from = (now.date_naive() - TimeDelta::days(i64::from(DAYS) - 1)).and_time(NaiveTime::MIN).and_utc();
    let (mut receipts, mut before) = (Vec::new(), None);
    for _ in 0..BATCHES {
        let batch = app.settings().receipts(tenant, before, BATCH).await?;
        before = batch.last().map(|last| last.receipt.window.to);
        let more = batch.len() == BATCH && before.is_some_and(|before| before > from);
        receipts.extend(batch);
        if !more {
            break;
        }
    }
    let marks = Search {
        window: Window { from, to: now },
        actions: vec!["Export Failed".to_owned(), "Export Recovered".to_owned()],
        users: Vec::new(),
        log_types: vec![LOG_TYPE.to_owned()],
        text: String::new(),
    };
    let marks = logs::look(app, tenant, &marks, None, MAX_MARKS, Reach::SHORT).await?;
    Ok(Chart::new(from, &receipts, &marks.events, marks.next.as_deref()))
}

impl Chart {
    fn new(from: DateTime<Utc>, receipts: &[StoredReceipt], marks: &[FoundEvent], looked_until: Option<&str>) -> Self {
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
        let most = scale(days.iter().map(|day| day.events).max().unwrap_or_default());
        let total = number(days.iter().map(|day| day.events).sum());
        let marked_from = looked_until.and_then(date_of).map(label);
        Self { days, most, total, marked_from }
    }

    fn is_empty(&self) -> bool {
        self.days.iter().all(|day| day.windows + day.failures + day.recoveries == 0)
    }

    fn plots(&self) -> [Plot<'_>; 2] {
        STEPS.map(|(class, step)| {
            let bar = |(day, x): (_, u64)| Bar { day, x, step, most: self.most.max(1) };
            Plot { class, step, bars: self.days.iter().zip((0..).map(|at| LEFT + at * step)).map(bar).collect() }
        })
    }

    /// Where the lines of the scale are, and what they say.
    fn lines(&self) -> [(u64, String); 3] {
        [(TOP, number(self.most)), (TOP + HIGHEST / 2, number(self.most / 2)), (TOP + HIGHEST, "0".to_owned())]
    }
}

/// The chart as it is drawn for screens of one kind.
struct Plot<'a> {
    class: &'static str,
    step: u64,
    bars: Vec<Bar<'a>>,
}

impl Plot<'_> {
    fn width(&self) -> u64 {
        LEFT + u64::from(DAYS) * self.step
    }
}

/// A day's place in a chart.
struct Bar<'a> {
    day: &'a Day,
    x: u64,
    step: u64,
    most: u64,
}

impl Bar<'_> {
    /// What there is of a day is seen, however little it is.
    fn height(&self) -> u64 {
        (self.day.events * HIGHEST / self.most).max(u64::from(self.day.events > 0) * 2)
    }

    fn y(&self) -> u64 {
        TOP + HIGHEST - self.height()
    }

    /// To each side.
    fn gap(&self) -> u64 {
        self.step / 7
    }

    fn middle(&self) -> u64 {
        self.x + self.step / 2
    }
}

impl Day {
    fn label(&self) -> String {
        label(self.date)
    }

    /// Mondays carry the dates.
    fn begins_a_week(&self) -> bool {
        self.date.weekday() == Weekday::Mon
    }

    fn number(&self) -> String {
        number(self.events)
    }

    fn in_words(&self) -> String {
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

/// The next number above that has one digit that isn't zero, and is even.
fn scale(most: u64) -> u64 {
    let unit = 10_u64.pow(most.max(1).ilog10());
    let scaled = most.div_ceil(unit) * unit;
    scaled.max(2).next_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use audit_log_core::{records::Receipt, search::Columns};

    use super::*;

    fn receipt(from: &str, events: u64) -> StoredReceipt {
        let from: DateTime<Utc> = from.parse().unwrap();
        let window = Window { from, to: from + TimeDelta::hours(1) };
        let receipt = Receipt {
            window,
            bucket: "acme".to_owned(),
            objects: Vec::new(),
            trailing_counts: audit_log_core::late_arrivals::TrailingCounts::of(window),
            late: 0,
            malformed: 0,
            gap: false,
            exported_at: window.to,
            duration: TimeDelta::zero(),
        };
        StoredReceipt { events, ..StoredReceipt::of(&receipt) }
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
        assert_eq!((chart.days.len(), chart.total.as_str(), chart.most), (30, "12", 8));
        assert_eq!((of(0), of(1), of(2)), ((5, 1, 0, 0), (7, 2, 1, 1), (0, 0, 0, 0)));
        assert_eq!(chart.days[1].in_words(), "24 Oct: 7 events in 2 exports, exports failed, exports recovered");
        for plot in chart.plots() {
            let heights: Vec<u64> = plot.bars.iter().take(3).map(Bar::height).collect();
            assert_eq!((plot.bars.len(), heights), (30, vec![75, 105, 0]), "{}", plot.class);
        }
    }

    #[test]
    fn the_scale_ends_at_a_round_number_that_is_not_below_the_highest_bar() {
        let ends = [0, 1, 2, 7, 10, 11, 99, 1_234, 90_001].map(scale);
        assert_eq!(ends, [2, 2, 2, 8, 10, 20, 100, 2_000, 100_000]);
    }
}
