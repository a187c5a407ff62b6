//! Converts the platform's record `manifest_keys`.

use audit_log_core::{
    manifest::{ManifestKey, UsedKey},
    timestamp,
};
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Item, n, s, text};

/// No tenant has this key: a tenant id has no `#`.
pub(crate) fn manifest_keys_key() -> Item {
    Item::from([("tenant_id".to_owned(), s("#platform")), ("record".to_owned(), s("manifest_keys"))])
}

pub(crate) fn manifest_keys(keys: &[UsedKey], revision: u64) -> Item {
    let mut item = manifest_keys_key();
    item.insert("keys".to_owned(), AttributeValue::L(keys.iter().map(to_attribute).collect()));
    item.insert("revision".to_owned(), n(revision));
    item
}

/// The keys and the revision; `None` if an attribute is missing or damaged.
pub(crate) fn stored_manifest_keys(item: &Item) -> Option<(Vec<UsedKey>, u64)> {
    let keys = item.get("keys")?.as_l().ok()?;
    let keys = keys.iter().map(used_key).collect::<Option<_>>()?;
    Some((keys, item.get("revision")?.as_n().ok()?.parse().ok()?))
}

fn to_attribute(UsedKey { key, first_used_at, retired_at }: &UsedKey) -> AttributeValue {
    let attributes = [
        ("name", Some(s(&key.name))),
        ("public_key", Some(s(key.to_base64()))),
        ("first_used_at", Some(s(timestamp::seconds(*first_used_at)))),
        ("retired_at", retired_at.map(|at| s(timestamp::seconds(at)))),
    ];
    AttributeValue::M(attributes.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

fn used_key(value: &AttributeValue) -> Option<UsedKey> {
    let item = value.as_m().ok()?;
    let instant = |name| timestamp::parse_seconds(&text(item, name)?);
    let key = ManifestKey::from_base64(&text(item, "name")?, &text(item, "public_key")?)?;
    let retired_at = if item.contains_key("retired_at") { Some(instant("retired_at")?) } else { None };
    Some(UsedKey { key, first_used_at: instant("first_used_at")?, retired_at })
}
