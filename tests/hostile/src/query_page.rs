//! DynamoDB's answers, which the reader decodes itself: it reads the page that is in the parsed JSON, or refuses the answer.

use std::collections::{BTreeMap, HashMap};

use audit_log_aws::events::decode_response;
use audit_log_core::{
    event::{Body, StoredEvent},
    ports::Page,
};
use serde::de::IgnoredAny;
use serde_json::Value;

/// Takes the body of an answer.
pub fn check(data: &[u8]) -> bool {
    let decoded = decode_response(data);
    let expected = std::str::from_utf8(data).ok().and_then(read_parsed);
    match (&decoded, expected) {
        (Some(decoded), Some(expected)) => assert_eq!(*decoded, expected, "the JSON has another page"),
        (None, Some(_)) => panic!("a valid answer is refused"),
        // In the parts that it skips, the decoder is less strict: it allows duplicate names, halves of characters, huge numbers
        // and deep nesting.
        (Some(page), None) => assert!(page.events.len() <= data.len() / 10, "more events than fit into the answer"),
        (None, None) => {}
    }
    decoded.is_some()
}

/// Reads the page from the parsed JSON, if all of the answer has the form that DynamoDB sends.
fn read_parsed(text: &str) -> Option<Page> {
    // serde borrows only names without escapes.
    serde_json::from_str::<HashMap<&str, IgnoredAny>>(text).ok()?;
    let answer: Value = serde_json::from_str(text).ok()?;
    if count_members(&answer) != count_colons(text) {
        return None;
    }
    let items = answer.get("Items")?.as_array()?;
    let events = items.iter().map(read_event).collect::<Option<Vec<_>>>()?;
    if answer.get("Count")?.as_u64()? != events.len() as u64 {
        return None;
    }
    let more_after = match answer.get("LastEvaluatedKey").unwrap_or(&Value::Null) {
        Value::Null => None,
        Value::Object(key) if key.is_empty() => None,
        key => {
            let key = attributes(key)?;
            let (r#type, value) = key.get("recorded_at_id")?;
            (*r#type == "S").then_some(())?;
            Some(value.as_str()?.to_owned())
        }
    };
    Some(Page { events, more_after })
}

/// Counts the members of all objects; duplicates count once.
fn count_members(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(count_members).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(count_members).sum(),
        _ => 0,
    }
}

/// Counts the members of all objects, with duplicates, by the colons outside strings.
fn count_colons(json: &str) -> usize {
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

/// Reads an item's attributes: by name, the type and the value.
fn attributes(item: &Value) -> Option<BTreeMap<&str, (&str, &Value)>> {
    fn attribute<'a>((name, value): (&'a String, &'a Value)) -> Option<(&'a str, (&'a str, &'a Value))> {
        let types = value.as_object().filter(|types| types.len() == 1)?;
        types.iter().next().map(|(r#type, value)| (name.as_str(), (r#type.as_str(), value)))
    }
    item.as_object()?.iter().map(attribute).collect()
}

fn read_event(item: &Value) -> Option<StoredEvent> {
    let all = attributes(item)?;
    let text = |name| all.get(name).filter(|(r#type, _)| *r#type == "S").and_then(|(_, value)| value.as_str());
    let recorded_at_id = text("recorded_at_id")?.to_owned();
    let body = match text("event") {
        Some(text) => Body::Text(text.to_owned()),
        None => Body::NoText(sorted_json(item)),
    };
    Some(StoredEvent { recorded_at_id, body })
}

fn sorted_json(item: &Value) -> String {
    let mut item = item.clone();
    item.sort_all_objects();
    item.to_string()
}
