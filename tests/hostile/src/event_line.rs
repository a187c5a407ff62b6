//! Event bodies: any body in the table becomes one line of an export, and none of it is lost.

use std::{collections::HashSet, fmt, sync::LazyLock};

use audit_log_core::{
    event::{Body, StoredEvent},
    ocsf::Mapping,
    tenant::TenantId,
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

static OCSF: LazyLock<(Mapping, TenantId)> = LazyLock::new(|| {
    let mapping = Mapping::parse(include_str!("../../../functions/schema/ocsf.json"));
    (mapping.expect("the mapping"), TenantId::parse("acme").expect("a tenant id"))
});

/// Takes a body. It is accepted if it is exported without a wrapper.
pub fn check(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data).into_owned();
    let key = format!("2026-11-21T10:03:12.345Z#{text}");
    let accepted = check_body(&key, &text);
    // A key without an id, and an attribute that is not a string.
    check_body(&text.replace('#', ""), &text);
    let (line, malformed) = export_line(&key, Body::NoText(text.clone()));
    assert!(malformed, "an attribute that is not a string is not wrapped");
    check_wrapper(&line, &key, &text);
    accepted
}

fn export_line(recorded_at_id: &str, body: Body) -> (String, bool) {
    let event = StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body };
    let (line, malformed) = event.line();
    assert!(!line.contains(['\n', '\r']), "the line has a line break");
    // Only an object begins with a brace and is valid JSON to its end.
    assert!(line.starts_with('{') && serde_json::from_str::<IgnoredAny>(&line).is_ok(), "the line is not one object");
    let repeats = |text: &str| serde_json::from_str::<Repeats>(text).ok().map(|Repeats(repeats)| repeats);
    assert_ne!(repeats(&line), Some(true), "an object of the line has two members of one name");
    if let Body::Text(text) = &event.body
        && text.trim_ascii_start().starts_with('{')
        && let Some(repeats) = repeats(text)
    {
        assert_eq!(malformed, repeats, "wrapped without a reason");
    }
    let ocsf = OCSF.0.event(&OCSF.1, &line, event.recorded_at_id.split('#').next());
    assert!(!ocsf.contains(['\n', '\r']), "the line in OCSF has a line break");
    assert!(ocsf.starts_with('{') && serde_json::from_str::<IgnoredAny>(&ocsf).is_ok(), "no object in OCSF");
    assert_ne!(repeats(&ocsf), Some(true), "an object in OCSF has two members of one name");
    (line.into_owned(), malformed)
}

/// Whether an object has two members whose names are the same in lower case. Not of texts that this can't read: those with half
/// a character, or nested deep.
struct Repeats(bool);

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RepeatsVisitor).map(Self)
    }
}

struct RepeatsVisitor;

impl<'de> Visitor<'de> for RepeatsVisitor {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let mut repeats = false;
        while let Some(Repeats(inner)) = elements.next_element()? {
            repeats |= inner;
        }
        Ok(repeats)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<bool, A::Error> {
        let (mut repeats, mut names) = (false, HashSet::new());
        while let Some((name, Repeats(inner))) = members.next_entry::<String, _>()? {
            repeats |= inner | !names.insert(name.to_lowercase());
        }
        Ok(repeats)
    }
}

fn check_body(recorded_at_id: &str, text: &str) -> bool {
    let (line, malformed) = export_line(recorded_at_id, Body::Text(text.to_owned()));
    if malformed {
        check_wrapper(&line, recorded_at_id, text);
        return false;
    }
    if text.trim_ascii().contains(['\n', '\r']) {
        let without_whitespace = |text: &str| text.replace(|c: char| c.is_ascii_whitespace(), "");
        assert_eq!(without_whitespace(&line), without_whitespace(text), "more than whitespace was removed");
    } else {
        assert_eq!(line, text.trim_ascii(), "an event on one line was changed");
    }
    // serde_json has no value for some JSON, such as 1e999, which is exported all the same.
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert_eq!(serde_json::from_str::<Value>(&line).ok(), Some(value), "the line has another value");
    }
    true
}

fn check_wrapper(line: &str, recorded_at_id: &str, text: &str) {
    let wrapper: Value = serde_json::from_str(line).expect("a wrapper is JSON");
    assert_eq!(wrapper["additionalInfo"]["raw"], text, "a part of the event was lost");
    let (date, id) = recorded_at_id.split_once('#').unwrap_or((recorded_at_id, ""));
    assert_eq!((wrapper["date"].as_str(), wrapper["id"].as_str()), (Some(date), Some(id)), "another event");
    assert_eq!(wrapper["action"], "Malformed Audit Event");
}
