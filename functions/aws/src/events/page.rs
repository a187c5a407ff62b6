//! From the bytes of Query's answer to a page.
//!
//! An answer is taken whole or not at all: whatever DynamoDB can't have sent is damage, and the events in it are asked
//! for again. Above all it must never be taken for a shorter page. So besides being one whole JSON object, it has to have
//! `Items`, as many of them as its `Count` says, and where it has a `LastEvaluatedKey` that isn't empty, one to go on from
//! ("Query" in the DynamoDB API reference). The SDK would take an answer without items, or none at all, for an empty page.

use audit_log_core::{
    event::{Body, StoredEvent},
    ports::Page,
};

use super::{
    item::Item,
    scanner::{Damage, Scanner},
};

const NOT_UTF8: Damage = Damage("it is not UTF-8");

/// Decodes an answer's body.
pub(super) fn decode(body: &[u8]) -> Result<Page, Damage> {
    // Checked as a whole, so that it holds for what is skipped, too.
    std::str::from_utf8(body).map_err(|_| NOT_UTF8)?;
    let (mut items, mut count, mut last) = (None, None, None);
    let mut scanner = Scanner::new(body);
    scanner.object(|scanner, name| match name {
        b"Items" => once(&mut items, events(scanner)?),
        b"Count" => once(&mut count, scanner.skip()?),
        b"LastEvaluatedKey" => once(&mut last, scanner.skip()?),
        // A name that is written in another way could be one of these.
        name if name.contains(&b'\\') => Err(Damage("a name is escaped")),
        _ => scanner.skip().map(|_| ()),
    })?;
    scanner.end()?;
    let events: Vec<StoredEvent> = items.ok_or(Damage("it has no items"))?;
    if count != Some(events.len().to_string().as_bytes()) {
        return Err(Damage("it has not as many items as it says"));
    }
    Ok(Page { events, more_after: last.map(more_after).transpose()?.flatten() })
}

fn once<T>(place: &mut Option<T>, value: T) -> Result<(), Damage> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Damage("a member is there twice")),
    }
}

/// Where the next page begins; none if the key is null or empty, which says the same as no key at all.
fn more_after(key: &[u8]) -> Result<Option<String>, Damage> {
    match serde_json::from_slice::<Option<Item>>(key).map_err(|_| Damage("the last key is no item"))? {
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

/// Reads an item. Nearly every one has the key and the event once each, as texts: these two are read at once and the rest
/// is passed. Any other item is read again, at leisure and as a whole.
///
/// `key` and `text` are room to work in.
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

/// Reads `{"S":"…"}` and appends the text; false if it is an attribute of another type, or reads otherwise.
fn text_attribute(scanner: &mut Scanner<'_>, into: &mut Vec<u8>) -> Result<bool, Damage> {
    if !scanner.passes(b'{')? || scanner.peek()? != b'"' || scanner.raw_text()? != b"S" || !scanner.passes(b':')? {
        return Ok(false);
    }
    if scanner.peek()? != b'"' {
        return Ok(false);
    }
    scanner.text(into)?;
    scanner.passes(b'}')
}

/// An item whose writer broke the table's contract. Nothing of it is lost: its attributes are kept as DynamoDB wrote them.
fn unusual(item: &[u8]) -> Result<StoredEvent, Damage> {
    let item: Item = serde_json::from_slice(item).map_err(|_| Damage("an item is none"))?;
    let recorded_at_id = item.string("recorded_at_id").ok_or(Damage("an item has no key"))?.to_owned();
    let body = match item.string("event") {
        Some(text) => Body::Text(text.to_owned()),
        None => Body::NoText(item.into_json().to_string()),
    };
    Ok(StoredEvent { recorded_at_id, body })
}
