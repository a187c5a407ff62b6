//! The three text forms of an instant.

use chrono::{DateTime, Datelike as _, NaiveDateTime, SecondsFormat, SubsecRound, Utc};

/// Whole seconds, as in the watermark: `2026-11-21T11:00:00Z`.
pub fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Exactly three fraction digits, as in an event's `recorded_at` and `date`: `2026-11-21T10:03:12.345Z`.
///
/// A window's bounds are compared with `recorded_at` as text, so they have this form too: `11:00:00Z` sorts after
/// `11:00:00.000Z`, and an event right at a bound would be in the wrong window.
pub fn millis(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Without separators, as in an object's key and a session's name: `20261121T110000Z`.
pub fn compact(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// Parses exactly the form of [`seconds`]. Years beyond 9999 are refused: none was ever written, and arithmetic could
/// overflow.
pub fn parse_seconds(text: &str) -> Option<DateTime<Utc>> {
    let at = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%SZ").ok()?.and_utc();
    (seconds(at) == text && (1..=9999).contains(&at.year())).then_some(at)
}

/// Cuts off the fraction of a second.
pub fn whole_seconds(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(0)
}

/// Instants in stored JSON, in the form of [`seconds`].
pub(crate) mod serde_seconds {
    use chrono::{DateTime, Utc};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(at: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::seconds(*at))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DateTime<Utc>, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_seconds(&text).ok_or_else(|| D::Error::custom("not an instant in whole seconds"))
    }
}

/// The same for instants that may be missing.
pub(crate) mod serde_optional_seconds {
    use chrono::{DateTime, Utc};
    use serde::{Deserializer, Serializer};

    use super::serde_seconds;

    pub(crate) fn serialize<S: Serializer>(at: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serde_seconds::serialize(at, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error> {
        serde_seconds::deserialize(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_parsed_only_in_the_form_in_which_it_is_written() {
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
