//! The histogram of the audit logs: a bar for each part of the period, as a link that narrows the period to it.

use audit_log_core::schedule::Window;
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};

use super::query::LogsQuery;
use crate::{
    logs::AuditLogSummary,
    pages::text::{number, weight},
};

/// The units of the highest bar.
pub(super) const HEIGHT: u64 = 48;

/// The bytes that all links may add to the page. Beyond them, no bar is a link.
const MAX_LINKS_BYTES: usize = 6_000;

pub(super) struct Timeline {
    pub(super) bars: Vec<Bar>,
    pub(super) from: String,
    pub(super) to: String,
    /// How long a bar is.
    pub(super) step: String,
    /// Of the highest bar.
    pub(super) most: String,
}

pub(super) struct Bar {
    pub(super) height: u64,
    /// Period and number of events.
    pub(super) label: String,
    pub(super) is_counted: bool,
    /// `None` if the bar would narrow nothing.
    pub(super) link: Option<String>,
}

impl Bar {
    pub(super) fn y(&self) -> u64 {
        HEIGHT - self.height
    }
}

impl Timeline {
    /// None if the period has no events, as far as they were counted.
    pub(super) fn new(query: &LogsQuery, window: Window, summary: &AuditLogSummary) -> Option<Self> {
        let at = |text: &str| text.parse::<DateTime<Utc>>().ok();
        let counted_from = summary.counted_from.as_deref().and_then(at);
        let parts: Vec<(Window, u64)> = summary
            .histogram
            .iter()
            .filter_map(|part| Some((Window { from: at(&part.from)?, to: at(&part.to)? }, part.count)))
            .collect();
        let most = parts.iter().map(|(_, count)| *count).max().filter(|most| *most > 0)?;
        let step = parts.first().map(|(part, _)| part.to - part.from)?;
        let bar = |(part, count): &(Window, u64)| {
            // A filled bar is visible, however few its events are.
            let height = (count * HEIGHT / most).max(u64::from(*count > 0) * 2);
            let inside = Window { from: part.from.max(window.from), to: part.to.min(window.to) };
            let is_counted = counted_from.is_none_or(|from| from < part.to);
            let is_partial = counted_from.is_some_and(|from| part.from < from);
            let counts = match (is_counted, is_partial, *count) {
                (false, ..) => "not counted".to_owned(),
                (_, true, count) => format!("at least {}", events(count)),
                (_, _, count) => events(count),
            };
            let label = format!("{}: {counts}", span(*part));
            Bar { height, label, is_counted, link: (parts.len() > 1).then(|| query.narrowed(inside)) }
        };
        let mut bars: Vec<Bar> = parts.iter().map(bar).collect();
        if bars.iter().filter_map(|bar| bar.link.as_deref()).map(weight).sum::<usize>() > MAX_LINKS_BYTES {
            bars.iter_mut().for_each(|bar| bar.link = None);
        }
        Some(Self { bars, from: moment(window.from), to: moment(window.to), step: length(step), most: number(most) })
    }
}

fn events(count: u64) -> String {
    format!("{} {}", number(count), if count == 1 { "event" } else { "events" })
}

fn moment(at: DateTime<Utc>) -> String {
    at.format("%-d %b, %H:%M").to_string()
}

/// `21 Nov, 10:00 to 16:00`. A day is `21 Nov`.
fn span(Window { from, to }: Window) -> String {
    let day = |at: DateTime<Utc>| at.format("%-d %b").to_string();
    let is_whole = |at: DateTime<Utc>| at.duration_trunc(TimeDelta::days(1)).is_ok_and(|midnight| midnight == at);
    let last = to - TimeDelta::milliseconds(1);
    match (is_whole(from) && is_whole(to), from.date_naive() == last.date_naive()) {
        (true, true) => day(from),
        (true, false) => format!("{} to {}", day(from), day(last)),
        (false, true) => format!("{} to {}", moment(from), to.format("%H:%M")),
        (false, false) => format!("{} to {}", moment(from), moment(to)),
    }
}

fn length(step: TimeDelta) -> String {
    let (minutes, hours, days) = (step.num_minutes(), step.num_hours(), step.num_days());
    let (count, unit) = match (days, hours) {
        (1.., _) => (days, "day"),
        (_, 1..) => (hours, "hour"),
        _ => (minutes, "minute"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::TimeCount;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn summary(counts: &[u64], counted_from: Option<&str>) -> AuditLogSummary {
        let part = |(hour, count): (usize, &u64)| TimeCount {
            from: format!("2026-11-21T{hour:02}:00:00Z"),
            to: format!("2026-11-21T{:02}:00:00Z", hour + 1),
            count: *count,
        };
        let histogram = counts.iter().enumerate().map(|(at, count)| part((at + 10, count))).collect();
        AuditLogSummary { histogram, counted_from: counted_from.map(str::to_owned), ..AuditLogSummary::default() }
    }

    #[test]
    fn each_bar_says_its_period_and_count_and_narrows_the_period() {
        let window = Window { from: at("2026-11-21T10:30:00Z"), to: at("2026-11-21T13:00:00Z") };
        let timeline = Timeline::new(&LogsQuery::default(), window, &summary(&[1, 0, 480], None)).unwrap();
        let bars: Vec<_> = timeline.bars.iter().map(|bar| (bar.height, bar.label.as_str())).collect();
        let expected = [
            (2, "21 Nov, 10:00 to 11:00: 1 event"),
            (0, "21 Nov, 11:00 to 12:00: 0 events"),
            (48, "21 Nov, 12:00 to 13:00: 480 events"),
        ];
        assert_eq!(bars, expected);
        let link = "?period=custom&from=2026-11-21T10%3A30&to=2026-11-21T11%3A00";
        assert_eq!(timeline.bars[0].link.as_deref(), Some(link), "it stays within the period");
        assert_eq!((timeline.step.as_str(), timeline.most.as_str()), ("1 hour", "480"));
        assert!(Timeline::new(&LogsQuery::default(), window, &summary(&[0, 0], None)).is_none());
        let one = Timeline::new(&LogsQuery::default(), window, &summary(&[7], None)).unwrap();
        assert_eq!(one.bars[0].link, None, "it would lead to the same page");
    }

    #[test]
    fn what_was_not_counted_is_not_shown_as_empty() {
        let window = Window { from: at("2026-11-21T10:00:00Z"), to: at("2026-11-21T13:00:00Z") };
        let cut = summary(&[0, 3, 9], Some("2026-11-21T11:30:00.000Z"));
        let bars = Timeline::new(&LogsQuery::default(), window, &cut).unwrap().bars;
        let labels: Vec<_> = bars.iter().map(|bar| (bar.is_counted, bar.label.rsplit(": ").next().unwrap())).collect();
        assert_eq!(labels, [(false, "not counted"), (true, "at least 3 events"), (true, "9 events")]);
    }

    #[test]
    fn parts_and_lengths_are_named() {
        for (from, to, name) in [
            ("2026-11-21T10:00:00Z", "2026-11-21T10:02:00Z", "21 Nov, 10:00 to 10:02"),
            ("2026-11-21T18:00:00Z", "2026-11-22T00:00:00Z", "21 Nov, 18:00 to 00:00"),
            ("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z", "21 Nov"),
            ("2026-11-21T00:00:00Z", "2026-11-28T00:00:00Z", "21 Nov to 27 Nov"),
        ] {
            assert_eq!(span(Window { from: at(from), to: at(to) }), name);
        }
        let lengths = [2, 60, 360, 1_440, 20_160].map(|minutes| length(TimeDelta::minutes(minutes)));
        assert_eq!(lengths, ["2 minutes", "1 hour", "6 hours", "1 day", "14 days"]);
    }
}
