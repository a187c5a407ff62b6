//! One line of an export: a recorded event as it was stored, or one that the system makes itself.

use std::borrow::Cow;

use serde::{Deserialize, Serialize, de::IgnoredAny};
use uuid::Uuid;

use crate::{schedule::Window, tenant::TenantId, timestamp};

/// An event as the events table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// `<recorded_at>#<id>`, the table's range key; events are exported in its order.
    pub recorded_at_id: String,
    /// What was recorded.
    pub body: Body,
}

/// What the attribute `event` held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A text, which should be one JSON object.
    Text(String),
    /// No text: the item had no such attribute, or one of another type. This is all that the item had, as JSON.
    NoText(String),
}

impl StoredEvent {
    /// The event's line in an export, without a line break, and whether it had to be wrapped as malformed.
    ///
    /// One JSON object goes through byte for byte. If it spans several lines, the whitespace between its tokens is
    /// taken out, so that a line is an event. Anything else is never dropped: it becomes the text of a system event.
    pub fn line(&self) -> (Cow<'_, str>, bool) {
        let (text, reason) = match &self.body {
            Body::NoText(item) => (item, "the item has no attribute event of type S"),
            Body::Text(text) => match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) if text.trim_ascii_start().starts_with('{') => return (on_one_line(text), false),
                Ok(_) => (text, "the event is JSON, but not an object"),
                Err(_) => (text, "the event is not JSON"),
            },
        };
        let (recorded_at, id) = self.recorded_at_id.split_once('#').unwrap_or((&self.recorded_at_id, ""));
        let wrapped = Document {
            id,
            date: recorded_at,
            log_type: "System",
            action: "Malformed Audit Event",
            user: &User::system(),
            additional_info: &Malformed { reason, raw: text },
        };
        (Cow::Owned(wrapped.to_line()), true)
    }
}

/// Takes the whitespace between tokens out of valid JSON that has line breaks; leaves any other as it is.
///
/// A line break inside a JSON string is always escaped, so one that stands there bare is between tokens.
fn on_one_line(json: &str) -> Cow<'_, str> {
    let json = json.trim_ascii();
    let broken = memchr::memchr2(b'\n', b'\r', json.as_bytes()).is_some();
    if broken { Cow::Owned(compact(json)) } else { Cow::Borrowed(json) }
}

/// Takes the whitespace between tokens out of valid JSON.
pub(crate) fn compact(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let kept = json.chars().filter(|&c| {
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
    kept.collect()
}

/// An event as it is exported; the order of the fields is the schema's.
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
        // Serialising texts, numbers and JSON into memory has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The platform's id for them.
    pub id: String,
    /// Their name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Their address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
}

impl User {
    /// The system itself, who has no address.
    pub fn system() -> Self {
        Self { id: "system".to_owned(), name: Some("System".to_owned()), email: None }
    }
}

#[derive(Serialize)]
struct Malformed<'a> {
    reason: &'static str,
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

/// Says of an empty window that it was exported and had no events.
pub fn heartbeat(tenant: &TenantId, window: Window) -> String {
    about_window(tenant, window, "Audit Log Export Completed", Some(0))
}

/// Says of a window that it begins before the events' retention, so that some of its events may be missing.
pub fn retention_exceeded(tenant: &TenantId, window: Window) -> String {
    about_window(tenant, window, "Audit Log Retention Exceeded", None)
}

/// An event about a window as a whole. Its id depends on nothing but what it says, so a retry makes the same line.
fn about_window(tenant: &TenantId, window: Window, action: &'static str, event_count: Option<u64>) -> String {
    /// The namespace of these ids; never changes.
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

    fn check(text: &str, line: &str) {
        let event = stored(Body::Text(text.to_owned()));
        assert_eq!(event.line(), (Cow::Borrowed(line), false));
    }

    #[test]
    fn one_json_object_on_one_line_goes_through_byte_for_byte() {
        for text in [
            "{}",
            r#"{"id":"1", "n":1.50e+2, "dup":1, "dup":2}"#,
            r#"{"name":"Jürgen 🦀 \u00e9 \ud83e\udd80 \/"}"#,
            "{\"u2028\":\"\u{2028}\"}",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_pretty_printed_event_is_compacted_but_its_strings_are_not_touched() {
        check("{\n  \"a b\": \"x  \\\" \\n y\\\\\",\r\n\t\"c\": [1, 2]\n}\n", r#"{"a b":"x  \" \n y\\","c":[1,2]}"#);
        check(" {\"a\": 1}\n", "{\"a\": 1}");
    }

    #[test]
    fn whatever_is_not_one_json_object_is_wrapped_and_never_dropped() {
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
    fn a_wrapped_event_keeps_its_id_and_date() {
        insta::assert_snapshot!(stored(Body::Text("oops".to_owned())).line().0, @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"System","action":"Malformed Audit Event","user":{"id":"system","name":"System"},"additionalInfo":{"reason":"the event is not JSON","raw":"oops"}}"#);
        insta::assert_snapshot!(stored(Body::NoText(r#"{"event":{"M":{}}}"#.to_owned())).line().0, @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"System","action":"Malformed Audit Event","user":{"id":"system","name":"System"},"additionalInfo":{"reason":"the item has no attribute event of type S","raw":"{\"event\":{\"M\":{}}}"}}"#);
    }

    #[test]
    fn the_systems_own_events_depend_on_nothing_but_tenant_and_window() {
        let window =
            Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() };
        let acme = TenantId::parse("acme").unwrap();
        insta::assert_snapshot!(heartbeat(&acme, window), @r#"{"id":"6f2e4a09-7892-5b9b-b7d7-45cc4e37464c","date":"2026-11-21T11:00:00.000Z","logType":"System","action":"Audit Log Export Completed","user":{"id":"system","name":"System"},"additionalInfo":{"windowFrom":"2026-11-21T10:00:00Z","windowTo":"2026-11-21T11:00:00Z","eventCount":0}}"#);
        insta::assert_snapshot!(retention_exceeded(&acme, window), @r#"{"id":"87ceee60-9115-5057-b518-1325cac26462","date":"2026-11-21T11:00:00.000Z","logType":"System","action":"Audit Log Retention Exceeded","user":{"id":"system","name":"System"},"additionalInfo":{"windowFrom":"2026-11-21T10:00:00Z","windowTo":"2026-11-21T11:00:00Z"}}"#);
        assert_ne!(heartbeat(&acme, window), heartbeat(&TenantId::parse("acm").unwrap(), window));
    }

    proptest! {
        #[test]
        fn a_line_is_one_line_and_says_the_same(text in r#"[ \n\r\t{}\[\]:,"\\a-c0-9ü]{0,40}"#) {
            let event = stored(Body::Text(text.clone()));
            let (line, malformed) = event.line();
            prop_assert!(!line.contains(['\n', '\r']));
            let said: serde_json::Value = serde_json::from_str(&line).unwrap();
            if malformed {
                prop_assert_eq!(said["additionalInfo"]["raw"].as_str(), Some(text.as_str()));
            } else {
                prop_assert_eq!(said, serde_json::from_str::<serde_json::Value>(&text).unwrap());
            }
        }
    }
}
