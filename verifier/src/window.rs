//! Windows of time, and the two ways in which instants are written.

use std::fmt;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Datelike as _, NaiveDate, NaiveDateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};

const IN_TEXTS: &str = "%Y-%m-%dT%H:%M:%SZ";
const IN_NAMES: &str = "%Y%m%dT%H%M%SZ";

/// A span of time from an instant, inclusive, to a later one, exclusive, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first instant.
    pub from: DateTime<Utc>,
    /// The first instant after it.
    pub to: DateTime<Utc>,
}

impl Window {
    /// Reads two instants as manifests' texts have them: `2026-11-21T10:00:00Z 2026-11-21T11:00:00Z`.
    ///
    /// # Errors
    /// If it isn't written exactly like that, or if the second instant isn't later.
    pub fn parse(text: &str) -> Result<Self> {
        let (from, to) = text.split_once(' ').context("a window needs two instants")?;
        Self::new(parse(from, IN_TEXTS)?, parse(to, IN_TEXTS)?)
    }

    /// Reads two instants as names have them: `20261121T100000Z_20261121T110000Z`.
    pub(crate) fn parse_name(text: &str) -> Result<Self> {
        let (from, to) = text.split_once('_').context("a window needs two instants")?;
        Self::new(parse(from, IN_NAMES)?, parse(to, IN_NAMES)?)
    }

    fn new(from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Self> {
        ensure!(from < to, "a window must end after it begins");
        Ok(Self { from, to })
    }

    /// The window as names have it.
    pub fn name(&self) -> String {
        format!("{}_{}", self.from.format(IN_NAMES), self.to.format(IN_NAMES))
    }

    /// The day of its first instant, which names the folder of its files.
    pub(crate) fn day(&self) -> String {
        self.from.format("%Y-%m-%d").to_string()
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.from < other.to && other.from < self.to
    }

    pub(crate) fn contains(&self, other: &Self) -> bool {
        self.from <= other.from && other.to <= self.to
    }

    /// The window and some time before it.
    pub(crate) fn with_time_before(self, before: TimeDelta) -> Self {
        Self { from: self.from - before, ..self }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", instant(self.from), instant(self.to))
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut window = serializer.serialize_struct("Window", 2)?;
        window.serialize_field("from", &instant(self.from))?;
        window.serialize_field("to", &instant(self.to))?;
        window.end()
    }
}

/// Writes an instant in whole seconds: `2026-11-21T10:00:00Z`.
pub fn instant(at: DateTime<Utc>) -> String {
    at.format(IN_TEXTS).to_string()
}

fn parse(text: &str, format: &str) -> Result<DateTime<Utc>> {
    let at = NaiveDateTime::parse_from_str(text, format).ok().map(|at| at.and_utc());
    // The parser of dates takes other writings too, such as a single digit for a month.
    let at = at.filter(|at| (0..=9999).contains(&at.year()) && at.format(format).to_string() == text);
    at.with_context(|| format!("{text:?} is not an instant"))
}

/// Reads an instant of the command line: RFC 3339, or a day, which is its midnight in UTC.
///
/// # Errors
/// If it is neither.
pub fn parse_argument(text: &str) -> Result<DateTime<Utc>> {
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    let at = day.map(|at| at.and_utc()).or_else(|| text.parse::<DateTime<Utc>>().ok());
    at.with_context(|| format!("{text:?} is not an instant: write 2026-11-21 or 2026-11-21T10:00:00Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_written_one_way_only() {
        let window = Window::parse("2026-11-21T10:00:00Z 2026-11-21T11:30:00Z").unwrap();
        assert_eq!(window.name(), "20261121T100000Z_20261121T113000Z");
        assert_eq!(Window::parse_name(&window.name()).unwrap(), window);
        for text in [
            "2026-11-21T10:00:00Z",
            "2026-11-21T10:00:00Z  2026-11-21T11:00:00Z",
            "2026-11-21T11:00:00Z 2026-11-21T10:00:00Z",
            "2026-11-21T10:00:00Z 2026-11-21T10:00:00Z",
            "2026-11-21T10:00:00Z 2026-11-21T11:00:00+00:00",
            "2026-11-21T10:00:00Z 2026-11-21T11:00:00.000Z",
            "2026-1-21T10:00:00Z 2026-11-21T11:00:00Z",
            "2026-11-21T10:00:00Z 2026-11-31T11:00:00Z",
        ] {
            assert!(Window::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_instant_on_the_command_line_may_be_a_day() {
        assert_eq!(instant(parse_argument("2026-11-21").unwrap()), "2026-11-21T00:00:00Z");
        assert_eq!(instant(parse_argument("2026-11-21T10:00:00+02:00").unwrap()), "2026-11-21T08:00:00Z");
        assert!(parse_argument("yesterday").is_err());
    }
}
