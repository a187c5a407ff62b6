//! Generates the events to export, and pages of them.
//!
//! An event is a template from a pool with its own time and id, both of fixed width, so that a page is made by copying and
//! patching. The id holds the event's number. So the next page can be made from the last key of a page, and ten million
//! events need no memory.

use std::ops::Range;

use anyhow::{Context as _, Result};
use audit_log_tests::events::{self, Spread};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

/// The window that every tenant exports. It has settled long ago.
pub(crate) const WINDOW_FROM: &str = "2025-11-21T10:00:00Z";
/// The window's end and the tick.
pub(crate) const WINDOW_TO: &str = "2025-11-21T11:00:00Z";
const WINDOW_MILLIS: u64 = 3_600_000;

/// About nine pages, so that no compressor finds a template twice within its window.
const POOL_SIZE: usize = 16_384;

/// DynamoDB ends a page with the item that exceeds 1 MB.
const PAGE_BYTES: usize = 1 << 20;

/// Limited by the bits for the number in an id.
pub(crate) const MAX_EVENTS_PER_SHARD: u64 = 1 << 24;

pub(crate) struct Pool {
    templates: Vec<Template>,
}

struct Template {
    /// The item in DynamoDB's JSON, without the first attribute `tenant_shard`.
    item: Vec<u8>,
    /// The exported document.
    document: Vec<u8>,
    /// The places of times and ids.
    item_stamps: Vec<usize>,
    item_ids: Vec<usize>,
    document_stamps: Vec<usize>,
    document_ids: Vec<usize>,
    /// The size by DynamoDB's count: names and values, but without `tenant_shard`'s value.
    size: usize,
}

/// The events of one partition of the events table.
#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// `<tenant>#<shard>`
    pub(crate) name: String,
    pub(crate) shard: u8,
    /// The number of events in the window.
    pub(crate) events: u64,
}

/// A response to a Query.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) body: Bytes,
    pub(crate) crc32: u32,
    /// The number after the last event's.
    pub(crate) end: u64,
}

impl Pool {
    pub(crate) fn new() -> Result<Self> {
        let (from, to): (DateTime<Utc>, DateTime<Utc>) = (WINDOW_FROM.parse()?, WINDOW_TO.parse()?);
        let events = events::generate("acme", POOL_SIZE, Spread::Window { from, to });
        let templates = events.iter().map(Template::new).collect::<Result<_>>()?;
        Ok(Self { templates })
    }

    fn template(&self, shard: u8, number: u64) -> &Template {
        let at = number as usize + usize::from(shard) * 997;
        &self.templates[at % self.templates.len()]
    }

    pub(crate) fn document(&self, partition: &Partition, number: u64) -> Vec<u8> {
        let template = self.template(partition.shard, number);
        let mut document = template.document.clone();
        let (stamp, id) = key(partition, number);
        patch(&mut document, &template.document_stamps, &stamp);
        patch(&mut document, &template.document_ids, &id);
        document
    }

    /// A page with the events of `numbers`, as many as DynamoDB would return.
    pub(crate) fn page(&self, partition: &Partition, numbers: Range<u64>) -> Page {
        let shard_attribute = format!(r#"{{"tenant_shard":{{"S":"{}"}},"#, partition.name);
        let mut items = Vec::with_capacity(PAGE_BYTES * 3 / 2);
        let (mut size, mut end) = (0, numbers.start);
        while end < numbers.end && size < PAGE_BYTES {
            let template = self.template(partition.shard, end);
            if end > numbers.start {
                items.push(b',');
            }
            items.extend_from_slice(shard_attribute.as_bytes());
            let start = items.len();
            items.extend_from_slice(&template.item);
            let (stamp, id) = key(partition, end);
            patch(&mut items[start..], &template.item_stamps, &stamp);
            patch(&mut items[start..], &template.item_ids, &id);
            size += template.size + partition.name.len();
            end += 1;
        }
        let count = end - numbers.start;
        let mut body = format!(r#"{{"Count":{count},"Items":["#).into_bytes();
        body.reserve_exact(items.len() + 256);
        body.extend_from_slice(&items);
        body.push(b']');
        if end < numbers.end {
            let last = json!({ "tenant_shard": { "S": partition.name }, "recorded_at_id": { "S": range_key(partition, end - 1) } });
            body.extend_from_slice(format!(r#","LastEvaluatedKey":{last}"#).as_bytes());
        }
        body.extend_from_slice(format!(r#","ScannedCount":{count}}}"#).as_bytes());
        Page { crc32: crc32fast::hash(&body), body: Bytes::from(body), end }
    }
}

impl Template {
    fn new(event: &events::Event) -> Result<Self> {
        let stamp = events::timestamp(event.recorded_at);
        let document = event.document.as_bytes().to_vec();
        let mut attributes: Vec<(&str, Value)> = vec![
            ("expires_at", json!({ "N": (event.recorded_at.timestamp() + 7_776_000).to_string() })),
            ("action", json!({ "S": event.action })),
            ("recorded_at_id", json!({ "S": event.recorded_at_id() })),
            ("log_type", json!({ "S": event.log_type })),
            ("event", json!({ "S": event.document })),
        ];
        attributes.extend(event.user_email.as_ref().map(|email| ("user_email", json!({ "S": email }))));
        let length = |value: &Value| value.as_object().and_then(text_length).unwrap_or_default();
        let sizes = attributes.iter().map(|(name, value)| name.len() + length(value));
        let size = "tenant_shard".len() + sizes.sum::<usize>();
        let parts: Vec<_> = attributes.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        let item = format!("{}}}", parts.join(",")).into_bytes();
        let found = |bytes: &[u8], part: &str, times: usize| {
            let places = places(bytes, part.as_bytes());
            (places.len() == times).then_some(places).with_context(|| format!("{part} is not in the event as expected"))
        };
        Ok(Self {
            item_stamps: found(&item, &stamp, 2)?,
            item_ids: found(&item, &event.id, 2)?,
            document_stamps: found(&document, &stamp, 1)?,
            document_ids: found(&document, &event.id, 1)?,
            item,
            document,
            size,
        })
    }
}

fn text_length(value: &Map<String, Value>) -> Option<usize> {
    value.values().next()?.as_str().map(str::len)
}

fn places(bytes: &[u8], part: &[u8]) -> Vec<usize> {
    let windows = bytes.windows(part.len()).enumerate();
    windows.filter(|(_, window)| *window == part).map(|(at, _)| at).collect()
}

fn patch(bytes: &mut [u8], places: &[usize], text: &[u8]) {
    for &at in places {
        bytes[at..at + text.len()].copy_from_slice(text);
    }
}

/// Milliseconds from the window's start to an event.
fn millis(partition: &Partition, number: u64) -> u64 {
    number * WINDOW_MILLIS / partition.events.max(1)
}

/// The first event at or after `millis` of the window.
fn first_at(partition: &Partition, millis: u64) -> u64 {
    (millis * partition.events).div_ceil(WINDOW_MILLIS).min(partition.events)
}

/// An event's time and its id, a UUID of version 7 whose first random bits are the event's number.
fn key(partition: &Partition, number: u64) -> ([u8; 24], [u8; 36]) {
    let millis = millis(partition, number);
    let mut stamp = [0; 24];
    // `2025-11-21T10:00:00.000Z`; the window is one hour of a day.
    stamp.copy_from_slice(b"2025-11-21T10:00:00.000Z");
    digits(&mut stamp[14..16], millis / 60_000);
    digits(&mut stamp[17..19], millis / 1_000 % 60);
    digits(&mut stamp[20..23], millis % 1_000);
    let mut id = *b"00000000-0000-7000-8000-000000000000";
    let unix = WINDOW_UNIX_MILLIS + millis;
    hex(&mut id[0..8], unix >> 16);
    hex(&mut id[9..13], unix & 0xffff);
    hex(&mut id[15..18], number >> 12);
    hex(&mut id[20..23], number & 0xfff);
    hex(&mut id[24..26], u64::from(partition.shard));
    // Not random, but looks so: a step of SplitMix64.
    let mut mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hex(&mut id[26..36], (mixed ^ (mixed >> 27)) & 0xff_ffff_ffff);
    (stamp, id)
}

const WINDOW_UNIX_MILLIS: u64 = 1_763_719_200_000;

pub(crate) fn range_key(partition: &Partition, number: u64) -> String {
    let (stamp, id) = key(partition, number);
    format!("{}#{}", String::from_utf8_lossy(&stamp), String::from_utf8_lossy(&id))
}

/// The number in a range key.
pub(crate) fn event_number(range_key: &str) -> Option<u64> {
    let (_, id) = range_key.split_once('#')?;
    let hex = |range| u64::from_str_radix(id.get(range)?, 16).ok();
    Some(hex(15..18)? << 12 | hex(20..23)?)
}

/// The numbers of the events between two bounds of range keys, the second excluded.
pub(crate) fn between(partition: &Partition, from: &str, to: &str) -> Option<Range<u64>> {
    let start: DateTime<Utc> = WINDOW_FROM.parse().ok()?;
    let offset = |bound: &str| {
        let at: DateTime<Utc> = bound.split('#').next()?.parse().ok()?;
        Some(u64::try_from((at - start).num_milliseconds()).unwrap_or(0).min(WINDOW_MILLIS))
    };
    Some(first_at(partition, offset(from)?)..first_at(partition, offset(to)?))
}

fn digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn hex(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 0xf) as usize];
        number >>= 4;
    }
}
