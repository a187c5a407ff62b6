//! The body of an event: whatever the table holds becomes one line of an export, and nothing of it is lost.

use audit_log_core::event::{Body, StoredEvent};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Takes a text; it is accepted if it goes through unwrapped.
pub fn check(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data).into_owned();
    let usual = format!("2026-11-21T10:03:12.345Z#{text}");
    let accepted = is_kept(&usual, &text);
    // A key without an id, and a body that was no text.
    is_kept(&text.replace('#', ""), &text);
    let (line, malformed) = line_of(&usual, Body::NoText(text.clone()));
    assert!(malformed, "what is no text is always wrapped");
    is_wrapped(&line, &usual, &text);
    accepted
}

fn line_of(recorded_at_id: &str, body: Body) -> (String, bool) {
    let event = StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body };
    let (line, malformed) = event.line();
    assert!(!line.contains(['\n', '\r']), "a line has a line break");
    // Only what is one object begins with a brace and can be read to its end.
    assert!(line.starts_with('{') && serde_json::from_str::<IgnoredAny>(&line).is_ok(), "a line is not one object");
    (line.into_owned(), malformed)
}

fn is_kept(recorded_at_id: &str, text: &str) -> bool {
    let (line, malformed) = line_of(recorded_at_id, Body::Text(text.to_owned()));
    if malformed {
        is_wrapped(&line, recorded_at_id, text);
        return false;
    }
    if text.trim_ascii().contains(['\n', '\r']) {
        let rest = |text: &str| text.replace(|c: char| c.is_ascii_whitespace(), "");
        assert_eq!(rest(&line), rest(text), "more than whitespace was taken out");
    } else {
        assert_eq!(line, text.trim_ascii(), "an event on one line was changed");
    }
    // There is JSON that serde_json has no value for, such as 1e999; it goes through all the same.
    if let Ok(said) = serde_json::from_str::<Value>(text) {
        assert_eq!(serde_json::from_str::<Value>(&line).ok(), Some(said), "a line says something else");
    }
    true
}

fn is_wrapped(line: &str, recorded_at_id: &str, text: &str) {
    let said: Value = serde_json::from_str(line).expect("what is wrapped can be read");
    assert_eq!(said["additionalInfo"]["raw"], text, "something of an event was lost");
    let (date, id) = recorded_at_id.split_once('#').unwrap_or((recorded_at_id, ""));
    assert_eq!((said["date"].as_str(), said["id"].as_str()), (Some(date), Some(id)), "it is another event");
    assert_eq!(said["action"], "Malformed Audit Event");
}
