//! DynamoDB's answers, which we scan ourselves: an answer that serde_json reads the same way is taken, and any other is
//! damage or means the same.

use std::collections::{BTreeMap, HashMap};

use audit_log_aws::events::decode_answer;
use audit_log_core::{
    event::{Body, StoredEvent},
    ports::Page,
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Takes the body of an answer.
pub fn check(data: &[u8]) -> bool {
    let decoded = decode_answer(data);
    let expected = std::str::from_utf8(data).ok().and_then(read);
    match (&decoded, expected) {
        (Some(decoded), Some(expected)) => assert_eq!(*decoded, expected, "another page than serde_json reads"),
        (None, Some(_)) => panic!("a good answer is taken for damage"),
        // In what it passes over, the scanner is not as strict: `01` is no number, and a name may stand there twice.
        (Some(page), None) => assert!(page.events.len() <= data.len() / 10, "more events than there is room for"),
        (None, None) => {}
    }
    decoded.is_some()
}

/// The page, by serde_json, if all of the answer is as DynamoDB sends it.
fn read(text: &str) -> Option<Page> {
    // Texts that are borrowed are written without escapes.
    serde_json::from_str::<HashMap<&str, IgnoredAny>>(text).ok()?;
    let answer: Value = serde_json::from_str(text).ok()?;
    if names(&answer) != colons(text) {
        return None;
    }
    let items = answer.get("Items")?.as_array()?;
    let events = items.iter().map(event).collect::<Option<Vec<_>>>()?;
    if answer.get("Count")?.as_u64()? != events.len() as u64 {
        return None;
    }
    let more_after = match answer.get("LastEvaluatedKey").unwrap_or(&Value::Null) {
        Value::Null => None,
        Value::Object(key) if key.is_empty() => None,
        key => {
            let key = attributes(key)?;
            let (r#type, value) = key.get("recorded_at_id")?;
            ["S", "N"].contains(r#type).then_some(())?;
            Some(value.as_str()?.to_owned())
        }
    };
    Some(Page { events, more_after })
}

/// How many members all objects have together; one that stands twice is counted once.
fn names(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(names).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(names).sum(),
        _ => 0,
    }
}

/// How many members all objects have together, by the colons outside of texts.
fn colons(json: &str) -> usize {
    let (mut in_text, mut escaped, mut colons) = (false, false, 0);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b':' if !in_text => colons += 1,
            _ => {}
        }
    }
    colons
}

/// An item's attributes by their names, each of one type, with its value.
fn attributes(item: &Value) -> Option<BTreeMap<&str, (&str, &Value)>> {
    fn attribute<'a>((name, value): (&'a String, &'a Value)) -> Option<(&'a str, (&'a str, &'a Value))> {
        let types = value.as_object().filter(|types| types.len() == 1)?;
        types.iter().next().map(|(r#type, value)| (name.as_str(), (r#type.as_str(), value)))
    }
    item.as_object()?.iter().map(attribute).collect()
}

fn event(item: &Value) -> Option<StoredEvent> {
    let all = attributes(item)?;
    let text = |name| all.get(name).filter(|(r#type, _)| *r#type == "S").and_then(|(_, value)| value.as_str());
    let recorded_at_id = text("recorded_at_id")?.to_owned();
    let body = match text("event") {
        Some(text) => Body::Text(text.to_owned()),
        None => Body::NoText(in_order(item)),
    };
    Some(StoredEvent { recorded_at_id, body })
}

fn in_order(item: &Value) -> String {
    let mut item = item.clone();
    item.sort_all_objects();
    item.to_string()
}
