//! Decodes the body of a response to Query.
//!
//! A body is accepted as a whole or refused as damaged, and then the events are read again. Above all a damaged body must
//! never count as a shorter page. So it has to be one complete JSON object with `Items`, as many as its `Count` says, and
//! with the table's key in a `LastEvaluatedKey` that isn't empty ("Query" in the DynamoDB API reference). The SDK would
//! accept a body without items, or no body at all, as an empty page.

use std::fmt;

use audit_log_core::{
    event::{Body, StoredEvent},
    ports::Page,
};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value};

/// Why DynamoDB can't have sent a body. The text repeats nothing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Damage(pub(super) &'static str);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response<T> {
    items: Vec<T>,
    count: usize,
    last_evaluated_key: Option<Map<String, Value>>,
}

/// What an export needs of an item. All its other attributes are skipped.
#[derive(Deserialize)]
struct Item {
    recorded_at_id: Text,
    #[serde(default)]
    event: Text,
}

/// The text of an attribute of type S; `None` for any other type, also one that this version doesn't know.
#[derive(Default)]
struct Text(Option<String>);

pub(super) fn decode(body: &[u8]) -> Result<Page, Damage> {
    // Checked for the whole body, which includes what is skipped.
    let body = std::str::from_utf8(body).map_err(|_| Damage("it is not UTF-8"))?;
    let Response { items, count, last_evaluated_key } = parse::<Item>(body)?;
    if count != items.len() {
        return Err(Damage("it has another number of items than it says"));
    }
    let has_other_items = items.iter().any(|item| item.event.0.is_none());
    let event = |Item { recorded_at_id, event }: Item| {
        let recorded_at_id = recorded_at_id.0.ok_or(Damage("an item has no key"))?;
        Ok(StoredEvent { recorded_at_id, body: Body::Text(event.0.unwrap_or_default()) })
    };
    let mut events = items.into_iter().map(event).collect::<Result<Vec<_>, _>>()?;
    if has_other_items {
        keep_whole(&mut events, body)?;
    }
    Ok(Page { events, more_after: more_after(last_evaluated_key)? })
}

/// Reads a body once more for the items whose event is no text. These are kept as DynamoDB wrote them, sorted by name, so that
/// the same item always gives the same bytes.
fn keep_whole(events: &mut [StoredEvent], body: &str) -> Result<(), Damage> {
    for (event, mut item) in events.iter_mut().zip(parse::<Value>(body)?.items) {
        if item["event"]["S"].is_null() {
            item.sort_all_objects();
            event.body = Body::NoText(item.to_string());
        }
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Result<Response<T>, Damage> {
    serde_json::from_str(body).map_err(|_| Damage("it is not the JSON of a page"))
}

/// Where the next page begins; `None` if the key is null or empty, which means the same as no key.
fn more_after(key: Option<Map<String, Value>>) -> Result<Option<String>, Damage> {
    let Some(key) = key.filter(|key| !key.is_empty()) else { return Ok(None) };
    let text = key.get("recorded_at_id").and_then(|key| key["S"].as_str());
    text.map(|text| Some(text.to_owned())).ok_or(Damage("the last key is not the table's"))
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Attribute;
        impl<'de> Visitor<'de> for Attribute {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an attribute")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Text, A::Error> {
                let text = match map.next_key()?.ok_or_else(|| A::Error::custom("an attribute has a type"))? {
                    AttributeType::S => Some(map.next_value()?),
                    AttributeType::Other => {
                        map.next_value::<IgnoredAny>()?;
                        None
                    }
                };
                match map.next_key::<AttributeType>()? {
                    None => Ok(Text(text)),
                    Some(_) => Err(A::Error::custom("an attribute has one type")),
                }
            }
        }
        deserializer.deserialize_map(Attribute)
    }
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum AttributeType {
    S,
    #[serde(other)]
    Other,
}
