//! The three ways in which an instant is written, each with one owner.

use chrono::{DateTime, Datelike as _, NaiveDateTime, SecondsFormat, SubsecRound, Utc};

/// Whole seconds, as the watermark holds them: `2026-11-21T11:00:00Z`.
pub fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Exactly three fraction digits, as an event's `recorded_at` and `date`: `2026-11-21T10:03:12.345Z`.
///
/// A window's bounds are compared with `recorded_at` as text, so they are written this way too: `11:00:00Z` sorts
/// after `11:00:00.000Z`, and an event at the edge would land on the wrong side.
pub fn millis(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Without separators, as an object's key and a session's name hold it: `20261121T110000Z`.
pub fn compact(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// Reads what [`seconds`] writes, and nothing else. No instant of a year beyond 9999 was ever written, and with
/// one nobody could reckon.
pub fn parse_seconds(text: &str) -> Option<DateTime<Utc>> {
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").ok()?.and_utc();
    (seconds(at) == text && (1..=9999).contains(&at.year())).then_some(at)
}

/// The instant without its fraction of a second.
pub fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_read_back_only_in_the_form_it_is_written() {
        let at = parse_seconds("2026-11-21T11:00:00Z").unwrap();
        assert_eq!(seconds(at), "2026-11-21T11:00:00Z");
        assert_eq!(millis(at), "2026-11-21T11:00:00.000Z");
        assert_eq!(compact(at), "20261121T110000Z");
        for other in ["", "2026-11-21", "2026-11-21T11:00:00.000Z", "2026-11-21T11:00:00+00:00", "2026-1-21T11:00:00Z"]
        {
            assert_eq!(parse_seconds(other), None, "{other}");
        }
        for other in ["-0001-01-01T00:00:00Z", "+10000-01-01T00:00:00Z", "+262142-12-31T23:59:59Z"] {
            assert_eq!(parse_seconds(other), None, "{other}");
        }
    }
}
