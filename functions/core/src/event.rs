//! The lines of an export: recorded events, and those that the export adds about a window.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use crate::{member_names, schedule::Window, tenant::TenantId, timestamp};

/// How far the clock that deletes expired events may be ahead of this one.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(1);

/// The columns of an event that is exported inside another one, as malformed.
pub(crate) const MALFORMED_LOG_TYPE: &str = "System";
pub(crate) const MALFORMED_ACTION: &str = "Malformed Audit Event";

/// Whether an event that was recorded at an instant may have been deleted by now. Without a retention, none ever is.
pub fn may_be_deleted(recorded: DateTime<Utc>, retention: Option<TimeDelta>, now: DateTime<Utc>) -> bool {
    earliest_kept(retention, now).is_some_and(|earliest| recorded < earliest)
}

/// Returns the instant before which recorded events may have been deleted by now; none without a retention.
pub fn earliest_kept(retention: Option<TimeDelta>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    retention.map(|retention| now + CLOCK_SKEW - retention)
}

/// An event as stored in the events table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// `<recorded_at>#<id>`, the table's range key; events are exported in its order.
    pub recorded_at_id: String,
    pub body: Body,
}

/// The attribute `event`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A well-formed event is one JSON object.
    Text(String),
    /// The attribute is absent or has another type. This is the whole item as JSON.
    NoText(String),
}

impl StoredEvent {
    /// The bytes of its key and its text.
    pub(crate) fn len(&self) -> u64 {
        let (Body::Text(text) | Body::NoText(text)) = &self.body;
        u64::try_from(self.recorded_at_id.len() + text.len()).unwrap_or(u64::MAX)
    }

    /// Returns the event's line in an export, without a line break, and whether it is malformed.
    ///
    /// A JSON object is exported byte for byte; if it has line breaks, the whitespace between its tokens is removed.
    /// Anything else is malformed, and so is an object with a repeated name, on which query engines fail: it is exported as
    /// the text of a system event, never dropped.
    pub fn line(&self) -> (Cow<'_, str>, bool) {
        let (text, reason) = match &self.body {
            Body::NoText(item) => (item, Cow::Borrowed("the item has no attribute event of type S")),
            Body::Text(text) => match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) if text.trim_ascii_start().starts_with('{') => match member_names::find_repeated(text) {
                    None => return (on_one_line(text), false),
                    Some(repeated) => (text, Cow::Owned(repeated.to_string())),
                },
                Ok(_) => (text, Cow::Borrowed("the event is JSON, but not an object")),
                Err(_) => (text, Cow::Borrowed("the event is not JSON")),
            },
        };
        let (recorded_at, id) = self.recorded_at_id.split_once('#').unwrap_or((&self.recorded_at_id, ""));
        let wrapped = Document {
            id,
            date: recorded_at,
            log_type: MALFORMED_LOG_TYPE,
            action: MALFORMED_ACTION,
            user: &User::system(),
            additional_info: &Malformed { reason: &reason, raw: text },
        };
        (Cow::Owned(wrapped.to_line()), true)
    }
}

/// Compacts valid JSON that has line breaks and leaves other JSON unchanged.
///
/// Inside a JSON string a line break is always escaped, so a raw one is between tokens.
fn on_one_line(json: &str) -> Cow<'_, str> {
    let json = json.trim_ascii();
    let broken = memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some();
    if broken { Cow::Owned(compact(json)) } else { Cow::Borrowed(json) }
}

/// Removes the whitespace between the tokens of valid JSON.
pub(crate) fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let characters = json.chars().filter(|&c| {
        let keep = in_string || !c.is_ascii_whitespace();
        if escaped {
            escaped = false;
        } else if in_string && c == '\\' {
            escaped = true;
        } else if c == '"' {
            in_string = !in_string;
        }
        keep
    });
    characters.collect()
}

/// An event as exported; the fields have the schema's order.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document<'a, Info> {
    pub(crate) id: &'a str,
    pub(crate) date: &'a str,
    pub(crate) log_type: &'a str,
    pub(crate) action: &'a str,
    pub(crate) user: &'a User,
    pub(crate) additional_info: &'a Info,
}

impl<Info: Serialize> Document<'_, Info> {
    pub(crate) fn to_line(&self) -> String {
        // Serializing texts, numbers and JSON into memory can't fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The user who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The platform's id of the user.
    pub id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl User {
    pub fn system() -> Self {
        Self { id: "system".to_owned(), name: Some("System".to_owned()), email: None }
    }
}

#[derive(Serialize)]
struct Malformed<'a> {
    reason: &'a str,
    raw: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WindowInfo {
    window_from: String,
    window_to: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_count: Option<u64>,
}

/// The only event in the file of an empty window.
pub fn heartbeat(tenant: &TenantId, window: Window) -> String {
    window_event(tenant, window, "Audit Log Export Completed", Some(0))
}

/// Announces that a window begins before the events' retention, so that events may be missing.
pub fn retention_exceeded(tenant: &TenantId, window: Window) -> String {
    window_event(tenant, window, "Audit Log Retention Exceeded", None)
}

/// An event about a whole window. Its id depends on the arguments alone, so that a retry makes the same line.
fn window_event(tenant: &TenantId, window: Window, action: &'static str, event_count: Option<u64>) -> String {
    /// Never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0x0e66_4ae1_7b8f_4d0c_9a52_61d3_c4f0_8b17);
    let id = Uuid::new_v5(&NAMESPACE, format!("{tenant}/{window}/{action}").as_bytes()).to_string();
    let (window_from, window_to) = (timestamp::seconds(window.from), timestamp::seconds(window.to));
    Document {
        id: &id,
        date: &timestamp::millis(window.to),
        log_type: "System",
        action,
        user: &User::system(),
        additional_info: &WindowInfo { window_from, window_to, event_count },
    }
    .to_line()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(body: Body) -> StoredEvent {
        StoredEvent { recorded_at_id: "2026-11-21T10:03:12.345Z#01K".to_owned(), body }
    }

    fn assert_line(text: &str, line: &str) {
        let event = stored(Body::Text(text.to_owned()));
        assert_eq!(event.line(), (Cow::Borrowed(line), false));
    }

    #[test]
    fn a_json_object_on_one_line_is_exported_byte_for_byte() {
        for text in [
            "{}",
            r#"{"id":"1", "n":1.50e+2, "nested":{"id":"1"}}"#,
            r#"{"name":"Jürgen 🦀 \u00e9 \ud83e\udd80 \/"}"#,
            "{\"u2028\":\"\u{2028}\"}",
        ] {
            assert_line(text, text);
        }
    }

    #[test]
    fn a_pretty_printed_event_is_compacted_and_its_strings_stay_unchanged() {
        assert_line(
            "{\n  \"a b\": \"x  \\\" \\n y\\\\\",\r\n\t\"c\": [1, 2]\n}\n",
            r#"{"a b":"x  \" \n y\\","c":[1,2]}"#,
        );
        assert_line(" {\"a\": 1}\n", "{\"a\": 1}");
    }

    #[test]
    fn a_text_that_is_not_one_json_object_is_wrapped_and_never_dropped() {
        for raw in ["", "hello", "[1]", "null", "{\"a\":1", "{} {}", "\u{feff}{}", "{'a':1}", "{\"a\":\"\n\"}", "\u{0}"]
        {
            let event = stored(Body::Text(raw.to_owned()));
            let (line, malformed) = event.line();
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(malformed, "{raw:?}");
            assert_eq!(parsed["additionalInfo"]["raw"], raw);
            assert!(!line.contains(['\n', '\r']));
        }
    }

    #[test]
    fn an_event_on_which_query_engines_fail_for_a_repeated_name_is_wrapped_with_the_place() {
        for (raw, place) in [
            (r#"{"id":"1","dup":1,"dup":2}"#, "/dup"),
            (r#"{"id":"1","ID":"1"}"#, "/ID"),
            (r#"{"id":"1","additionalInfo":{"urls":[{},{"URL":1,"Url":2}]}}"#, "/additionalInfo/urls/1/Url"),
        ] {
            let event = stored(Body::Text(raw.to_owned()));
            let (line, malformed) = event.line();
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert!(malformed, "{raw}");
            assert_eq!(parsed["additionalInfo"]["raw"], raw);
            let reason = parsed["additionalInfo"]["reason"].as_str().unwrap();
            assert!(reason.starts_with(&format!("{place} occurs twice in the same object")), "{reason}");
        }
    }

    #[test]
    fn a_wrapped_event_keeps_its_id_and_date() {
        insta::assert_snapshot!(stored(Body::Text("oops".to_owned())).line().0, @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"System","action":"Malformed Audit Event","user":{"id":"system","name":"System"},"additionalInfo":{"reason":"the event is not JSON","raw":"oops"}}"#);
        insta::assert_snapshot!(stored(Body::NoText(r#"{"event":{"M":{}}}"#.to_owned())).line().0, @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"System","action":"Malformed Audit Event","user":{"id":"system","name":"System"},"additionalInfo":{"reason":"the item has no attribute event of type S","raw":"{\"event\":{\"M\":{}}}"}}"#);
    }

    #[test]
    fn events_about_a_window_depend_on_tenant_and_window_alone() {
        let window =
            Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
        let acme = TenantId::parse("acme").unwrap();
        insta::assert_snapshot!(heartbeat(&acme, window), @r#"{"id":"6f2e4a09-7892-5b9b-b7d7-45cc4e37464c","date":"2026-11-21T11:00:00.000Z","logType":"System","action":"Audit Log Export Completed","user":{"id":"system","name":"System"},"additionalInfo":{"windowFrom":"2026-11-21T10:00:00Z","windowTo":"2026-11-21T11:00:00Z","eventCount":0}}"#);
        insta::assert_snapshot!(retention_exceeded(&acme, window), @r#"{"id":"87ceee60-9115-5057-b518-1325cac26462","date":"2026-11-21T11:00:00.000Z","logType":"System","action":"Audit Log Retention Exceeded","user":{"id":"system","name":"System"},"additionalInfo":{"windowFrom":"2026-11-21T10:00:00Z","windowTo":"2026-11-21T11:00:00Z"}}"#);
        assert_ne!(heartbeat(&acme, window), heartbeat(&TenantId::parse("acm").unwrap(), window));
    }

    proptest! {
        #[test]
        fn a_line_has_no_line_break_and_keeps_the_content(text in r#"[ \n\r\t{}\[\]:,"\\a-c0-9ü]{0,40}"#) {
            let event = stored(Body::Text(text.clone()));
            let (line, malformed) = event.line();
            prop_assert!(!line.contains(['\n', '\r']));
            let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
            if malformed {
                prop_assert_eq!(parsed["additionalInfo"]["raw"].as_str(), Some(text.as_str()));
            } else {
                prop_assert_eq!(parsed, serde_json::from_str::<serde_json::Value>(&text).unwrap());
            }
        }
    }
}
