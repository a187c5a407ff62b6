//! The record `manifest_keys` of the platform: the public parts of all keys that have signed manifests.

use audit_log_core::{
    failure::{Code, Failure},
    manifest::{ManifestKey, UsedKey},
    ports::{Conditional, ManifestKeys},
    timestamp,
};
use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};

use super::{MAX_ATTEMPTS, TenantsTable, pause, still_busy, write};
use crate::{
    attributes::{Item, n, s, text},
    errors::AwsError,
};

const NOTED: &str = "the manifest key was noted";

/// No tenant has this key: a tenant id has no `#`.
fn record() -> Item {
    Item::from([("tenant_id".to_owned(), s("#platform")), ("record".to_owned(), s("manifest_keys"))])
}

impl TenantsTable {
    /// Returns the keys, and the revision of the record; 0 without the record.
    async fn read_keys(&self, doing: &str) -> Result<(Vec<UsedKey>, u64), Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(record())).consistent_read(true);
        let got = get.send().await.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(doing))?;
        let Some(item) = got.item else { return Ok((Vec::new(), 0)) };
        let keys = item.get("keys").and_then(|keys| keys.as_l().ok());
        let keys: Option<Vec<UsedKey>> = keys.and_then(|keys| keys.iter().map(used_key).collect());
        let revision = text(&item, "revision").and_then(|revision| revision.parse().ok());
        // An old key that is forgotten makes its manifests unverifiable, so a damaged record is never replaced.
        keys.zip(revision)
            .ok_or_else(|| Failure::new(Code::Unexpected, "The record manifest_keys of #platform can't be read."))
    }
}

impl ManifestKeys for TenantsTable {
    async fn note_key(&self, key: &ManifestKey, now: DateTime<Utc>) -> Result<(), Failure> {
        for attempt in 1..=MAX_ATTEMPTS {
            let (keys, revision) = self.read_keys(NOTED).await?;
            let after = UsedKey::after_use(&keys, key, now);
            if after == keys {
                return Ok(());
            }
            let mut item = record();
            item.insert("keys".to_owned(), AttributeValue::L(after.iter().map(to_attribute).collect()));
            item.insert("revision".to_owned(), n(revision + 1));
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
            let put = match revision {
                0 => put.condition_expression("attribute_not_exists(revision)"),
                read => put.condition_expression("revision = :read").expression_attribute_values(":read", n(read)),
            };
            if write(NOTED, || put.clone().send()).await? == Conditional::Written {
                return Ok(());
            }
            // Another run has noted a key meanwhile.
            pause(attempt).await;
        }
        Err(still_busy(NOTED))
    }

    async fn manifest_keys(&self) -> Result<Vec<UsedKey>, Failure> {
        self.read_keys("the manifest keys were read").await.map(|(keys, _)| keys)
    }
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
    Some(UsedKey { key, first_used_at: instant("first_used_at")?, retired_at: instant("retired_at") })
}
