//! Converts receipts, the records `export#<window end>` and `replayed#<window end>#<location>` of the tenants table.

use audit_log_core::{
    late_arrivals::TrailingCounts,
    records::{
        AmendedManifest, EventPosition, Location, ManifestState, RECEIPT_PREFIX, RECEIPT_RETENTION, REPLAYED_PREFIX,
        Receipt, StoredManifest, StoredObject, StoredReceipt,
    },
    schedule::Window,
    tenant::{Compression, Format, Schema, TenantId},
    timestamp,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Item, key, n, s, text};

/// How many objects a receipt lists. Its manifest lists all.
const MAX_LISTED_OBJECTS: usize = 500;

/// How many bytes its list of objects has, by [`listed_bytes`]: an item of DynamoDB has at most 400 KB, and the rest of a receipt
/// less than 10 KB.
const MAX_LISTED_BYTES: usize = 380_000;

/// The bytes of a listed object without its texts of any length: names, numbers, checksum, minute and DynamoDB's overhead (by "Amazon
/// DynamoDB item sizes and formats" in the DynamoDB developer guide).
const BYTES_PER_OBJECT: usize = 200;

pub(crate) fn receipt_record(window_end: DateTime<Utc>) -> String {
    format!("{RECEIPT_PREFIX}{}", timestamp::seconds(window_end))
}

/// The record of the receipt of a window's last replay into a location.
pub(crate) fn replayed_record(window_end: DateTime<Utc>, location: &Location) -> String {
    format!("{REPLAYED_PREFIX}{}#{}", timestamp::seconds(window_end), location.hash())
}

/// The record of the receipt of an export.
pub(crate) fn receipt(tenant: &TenantId, receipt: &Receipt) -> Item {
    item(key(tenant, &receipt_record(receipt.window.to)), receipt)
}

/// The record of the receipt of a replay.
pub(crate) fn replayed_receipt(tenant: &TenantId, receipt: &Receipt) -> Item {
    item(key(tenant, &replayed_record(receipt.window.to, &receipt.location)), receipt)
}

fn listed_bytes(object: &StoredObject) -> usize {
    let last = object.last_event.as_ref().map_or(0, |last| last.recorded_at_id.len());
    BYTES_PER_OBJECT + object.key.len() + last
}

/// The first objects of a receipt, as many as an item has room for.
fn listed(objects: &[StoredObject]) -> impl Iterator<Item = &StoredObject> {
    let has_room = |bytes: &mut usize, object: &StoredObject| {
        *bytes += listed_bytes(object);
        (*bytes <= MAX_LISTED_BYTES).then_some(())
    };
    let fitting = objects.iter().scan(0, move |bytes, object| has_room(bytes, object).map(|()| object));
    fitting.take(MAX_LISTED_OBJECTS)
}

fn item(mut item: Item, receipt: &Receipt) -> Item {
    let object = |object: &StoredObject| {
        let mut item = Item::from([
            ("key".to_owned(), s(&object.key)),
            ("bytes".to_owned(), n(object.bytes)),
            ("events".to_owned(), n(object.events)),
            ("sha256".to_owned(), s(&object.sha256)),
        ]);
        item.extend(object.late.map(|minute| ("late".to_owned(), s(minute.interval()))));
        item.extend(object.last_event.clone().map(|last| ("last".to_owned(), s(last))));
        AttributeValue::M(item)
    };
    let objects = listed(&receipt.objects).map(object).collect();
    item.extend(
        [
            ("window_from", s(timestamp::seconds(receipt.window.from))),
            ("window_to", s(timestamp::seconds(receipt.window.to))),
            ("bucket", s(&receipt.location.bucket)),
            ("folder", s(&receipt.location.folder)),
            ("format", s(receipt.format.as_str())),
            ("compression", s(receipt.compression.as_str())),
            ("schema", s(receipt.schema.as_str())),
            ("objects", AttributeValue::L(objects)),
            ("object_count", n(receipt.objects.len())),
            ("events", n(receipt.events())),
            ("malformed", n(receipt.malformed)),
            ("bytes", n(receipt.bytes())),
            ("gap", AttributeValue::Bool(receipt.gap)),
            ("exported_at", s(timestamp::seconds(receipt.exported_at))),
            ("duration_ms", n(receipt.duration.num_milliseconds())),
            ("late", n(receipt.late)),
            ("expires_at", n((receipt.exported_at + RECEIPT_RETENTION).timestamp())),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    if let Some(StoredManifest { key, sha256, state, previous, amended }) = &receipt.manifest {
        let attributes = [
            ("manifest_key", Some(s(key))),
            ("manifest_sha256", Some(s(sha256))),
            ("manifest_state", Some(s(state.as_str()))),
            ("manifest_previous", previous.as_ref().map(s)),
            ("manifest_amended", amended.as_ref().map(amended_manifest)),
        ];
        item.extend(attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    }
    item
}

fn amended_manifest(AmendedManifest { number, sha256, amends, cause }: &AmendedManifest) -> AttributeValue {
    let attributes = [("number", n(number)), ("sha256", s(sha256)), ("amends", s(amends)), ("cause", s(cause))];
    AttributeValue::M(attributes.map(|(name, value)| (name.to_owned(), value)).into())
}

/// `None` if an attribute is missing or damaged.
pub(crate) fn stored_receipt(item: &Item) -> Option<StoredReceipt> {
    let number = |item: &Item, name: &str| text(item, name)?.parse::<u64>().ok();
    let object = |object: &AttributeValue| {
        let object = object.as_m().ok()?;
        Some(StoredObject {
            key: text(object, "key")?,
            bytes: number(object, "bytes")?,
            events: number(object, "events")?,
            sha256: text(object, "sha256")?,
            late: text(object, "late").and_then(|minute| Window::parse_interval(&minute)),
            last_event: text(object, "last").and_then(|last| EventPosition::parse(&last)),
        })
    };
    let instant = |name| timestamp::parse_seconds(&text(item, name)?);
    let window = Window { from: instant("window_from")?, to: instant("window_to")? };
    let receipt = Receipt {
        window,
        location: Location { bucket: text(item, "bucket")?, folder: text(item, "folder")? },
        format: Format::parse(&text(item, "format")?).ok()?,
        compression: Compression::parse(&text(item, "compression")?).ok()?,
        schema: Schema::parse(&text(item, "schema")?).ok()?,
        objects: item.get("objects")?.as_l().ok()?.iter().filter_map(object).collect(),
        trailing_counts: TrailingCounts::new(window),
        late: number(item, "late")?,
        malformed: number(item, "malformed")?,
        gap: item.get("gap").and_then(|gap| gap.as_bool().ok()).copied().unwrap_or(false),
        exported_at: instant("exported_at")?,
        duration: TimeDelta::milliseconds(number(item, "duration_ms")?.try_into().ok()?),
        manifest: manifest(item),
        signing_failure: None,
    };
    Some(StoredReceipt {
        receipt,
        object_count: number(item, "object_count")?,
        events: number(item, "events")?,
        bytes: number(item, "bytes")?,
    })
}

fn manifest(item: &Item) -> Option<StoredManifest> {
    let state = ManifestState::parse(&text(item, "manifest_state")?)?;
    let amended = |amended: &AttributeValue| {
        let amended = amended.as_m().ok()?;
        Some(AmendedManifest {
            number: text(amended, "number")?.parse().ok()?,
            sha256: text(amended, "sha256")?,
            amends: text(amended, "amends")?,
            cause: text(amended, "cause")?,
        })
    };
    Some(StoredManifest {
        key: text(item, "manifest_key")?,
        sha256: text(item, "manifest_sha256")?,
        state,
        previous: text(item, "manifest_previous"),
        amended: item.get("manifest_amended").and_then(amended),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By "Amazon DynamoDB item sizes and formats" in the DynamoDB developer guide.
    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::N(digits) => digits.len() / 2 + 2,
            AttributeValue::L(values) => 3 + values.iter().map(|value| size(value) + 1).sum::<usize>(),
            AttributeValue::M(map) => 3 + map.iter().map(|(name, value)| name.len() + size(value) + 1).sum::<usize>(),
            _ => 1,
        }
    }

    #[test]
    fn a_receipt_has_room_in_an_item_however_long_keys_and_ids_are() {
        let end = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let window = Window { from: end - TimeDelta::hours(1), to: end };
        let location = Location { bucket: "b".repeat(63), folder: "f".repeat(600) };
        let acme = TenantId::parse(&"t".repeat(64)).unwrap();
        for (key_bytes, id_bytes, count) in [(430, 150, 487), (430, 1024, 229), (1024, 1024, 169), (60, 100, 500)] {
            let object = StoredObject {
                key: "k".repeat(key_bytes),
                bytes: u64::MAX / 1_000,
                events: u64::MAX / 1_000,
                sha256: "a".repeat(64),
                late: Some(window),
                last_event: Some(EventPosition { recorded_at_id: "i".repeat(id_bytes), shard: u16::MAX }),
            };
            let empty = Receipt::empty(window, location.clone(), TrailingCounts::new(window));
            let item = receipt(&acme, &Receipt { objects: vec![object; 1_000], ..empty });
            let listed = item["objects"].as_l().unwrap().len();
            assert_eq!((listed, text(&item, "object_count")), (count, Some("1000".to_owned())));
            let bytes: usize = item.iter().map(|(name, value)| name.len() + size(value)).sum();
            assert!(bytes < 395_000, "{bytes} with {listed} objects");
        }
    }
}
