//! Decodes the body of a response to Query.
//!
//! A body is accepted as a whole or refused as damaged, and then the events are read again. Above all a damaged body must
//! never count as a shorter page. So it has to be one complete JSON object with `Items`, as many as its `Count` says, and
//! with the table's key in a `LastEvaluatedKey` that isn't empty ("Query" in the DynamoDB API reference). The SDK would
//! accept a body without items, or no body at all, as an empty page.

use audit_log_core::{
    event::{Body, StoredEvent},
    ports::Page,
};

use super::{
    item::RawItem,
    scanner::{Damage, Scanner},
};

const NOT_UTF8: Damage = Damage("it is not UTF-8");

pub(super) fn decode(body: &[u8]) -> Result<Page, Damage> {
    // Checked for the whole body, which includes what is skipped.
    std::str::from_utf8(body).map_err(|_| NOT_UTF8)?;
    let (mut items, mut count, mut last) = (None, None, None);
    let mut scanner = Scanner::new(body);
    scanner.object(|scanner, name| match name {
        b"Items" => set_once(&mut items, events(scanner)?),
        b"Count" => set_once(&mut count, scanner.skip()?),
        b"LastEvaluatedKey" => set_once(&mut last, scanner.skip()?),
        // An escaped name could be one of these.
        name if name.contains(&b'\\') => Err(Damage("a name is escaped")),
        _ => scanner.skip().map(|_| ()),
    })?;
    scanner.end()?;
    let events: Vec<StoredEvent> = items.ok_or(Damage("it has no items"))?;
    if count != Some(events.len().to_string().as_bytes()) {
        return Err(Damage("it has another number of items than it says"));
    }
    Ok(Page { events, more_after: last.map(more_after).transpose()?.flatten() })
}

fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), Damage> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Damage("a member is duplicate")),
    }
}

/// Where the next page begins; `None` if the key is null or empty, which means the same as no key.
fn more_after(key: &[u8]) -> Result<Option<String>, Damage> {
    match serde_json::from_slice::<Option<RawItem>>(key).map_err(|_| Damage("the last key is not an item"))? {
        None => Ok(None),
        Some(key) if key.is_empty() => Ok(None),
        Some(key) => key
            .text("recorded_at_id")
            .map(|text| Some(text.to_owned()))
            .ok_or(Damage("the last key is not the table's")),
    }
}

fn events(scanner: &mut Scanner<'_>) -> Result<Vec<StoredEvent>, Damage> {
    let mut events = Vec::new();
    let (mut key, mut text) = (Vec::new(), Vec::new());
    scanner.array(|scanner| {
        events.push(event(scanner, &mut key, &mut text)?);
        Ok(())
    })?;
    Ok(events)
}

/// Reads an item. Nearly all have the key and the event once each, as texts: these are read and the rest is skipped. Any
/// other item is read again as a whole.
///
/// `key` and `text` are buffers.
fn event(scanner: &mut Scanner<'_>, key: &mut Vec<u8>, text: &mut Vec<u8>) -> Result<StoredEvent, Damage> {
    key.clear();
    text.clear();
    scanner.peek()?;
    let before = scanner.clone();
    let (mut keys, mut texts, mut usual) = (0, 0, true);
    scanner.object(|scanner, name| {
        let (into, seen) = match name {
            b"recorded_at_id" => (&mut *key, &mut keys),
            b"event" => (&mut *text, &mut texts),
            name => {
                usual &= !name.contains(&b'\\');
                return scanner.skip().map(|_| ());
            }
        };
        *seen += 1;
        let value = scanner.clone();
        if !text_attribute(scanner, into)? {
            usual = false;
            *scanner = value;
            scanner.skip()?;
        }
        Ok(())
    })?;
    if !(usual && keys == 1 && texts == 1) {
        return unusual(before.clone().skip()?);
    }
    let text_of = |bytes: &[u8]| std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| NOT_UTF8);
    Ok(StoredEvent { recorded_at_id: text_of(key)?, body: Body::Text(text_of(text)?) })
}

/// Reads `{"S":"…"}` and appends the text; false if the attribute has another type or is written in another way.
fn text_attribute(scanner: &mut Scanner<'_>, into: &mut Vec<u8>) -> Result<bool, Damage> {
    if !scanner.consume(b'{')? || scanner.peek()? != b'"' || scanner.raw_text()? != b"S" || !scanner.consume(b':')? {
        return Ok(false);
    }
    if scanner.peek()? != b'"' {
        return Ok(false);
    }
    scanner.text(into)?;
    scanner.consume(b'}')
}

/// Reads an item of any shape. Without a text, all its attributes are kept as DynamoDB wrote them.
fn unusual(item: &[u8]) -> Result<StoredEvent, Damage> {
    let item: RawItem = serde_json::from_slice(item).map_err(|_| Damage("an item is not valid"))?;
    let recorded_at_id = item.string("recorded_at_id").ok_or(Damage("an item has no key"))?.to_owned();
    let body = match item.string("event") {
        Some(text) => Body::Text(text.to_owned()),
        None => Body::NoText(item.into_json().to_string()),
    };
    Ok(StoredEvent { recorded_at_id, body })
}
