//! Converts receipts, the records `export#<window end>` of the tenants table.

use audit_log_core::{
    late_arrivals::TrailingCounts,
    records::{ManifestState, RECEIPT_PREFIX, RECEIPT_RETENTION, Receipt, StoredManifest, StoredObject, StoredReceipt},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, TimeDelta, Utc};

use super::{Item, key, n, s, text};

/// How many objects a receipt lists, since an item of DynamoDB has at most 400 KB. Its manifest lists all.
const MAX_LISTED_OBJECTS: usize = 500;

pub(crate) fn receipt_record(window_end: DateTime<Utc>) -> String {
    format!("{RECEIPT_PREFIX}{}", timestamp::seconds(window_end))
}

pub(crate) fn receipt(tenant: &TenantId, receipt: &Receipt) -> Item {
    let object = |object: &StoredObject| {
        let mut item = Item::from([
            ("key".to_owned(), s(&object.key)),
            ("bytes".to_owned(), n(object.bytes)),
            ("events".to_owned(), n(object.events)),
            ("sha256".to_owned(), s(&object.sha256)),
        ]);
        item.extend(object.late.map(|minute| ("late".to_owned(), s(minute.interval()))));
        AttributeValue::M(item)
    };
    let objects = receipt.objects.iter().take(MAX_LISTED_OBJECTS).map(object).collect();
    let mut item = key(tenant, &receipt_record(receipt.window.to));
    item.extend(
        [
            ("window_from", s(timestamp::seconds(receipt.window.from))),
            ("window_to", s(timestamp::seconds(receipt.window.to))),
            ("bucket", s(&receipt.bucket)),
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
    if let Some(StoredManifest { key, sha256, state }) = &receipt.manifest {
        let attributes =
            [("manifest_key", key.as_str()), ("manifest_sha256", sha256), ("manifest_state", state.as_str())];
        item.extend(attributes.map(|(name, value)| (name.to_owned(), s(value))));
    }
    item
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
        })
    };
    let instant = |name| timestamp::parse_seconds(&text(item, name)?);
    let window = Window { from: instant("window_from")?, to: instant("window_to")? };
    let receipt = Receipt {
        window,
        bucket: text(item, "bucket")?,
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
    Some(StoredManifest { key: text(item, "manifest_key")?, sha256: text(item, "manifest_sha256")?, state })
}
