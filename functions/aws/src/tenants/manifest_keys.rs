//! The record `manifest_keys` of the platform: the public parts of all keys that have signed manifests.

use audit_log_core::{
    failure::{Code, Failure},
    manifest::{ManifestKey, UsedKey},
    ports::{Conditional, ManifestKeys},
};
use chrono::{DateTime, Utc};

use super::{MAX_ATTEMPTS, TenantsTable, pause, still_busy, write};
use crate::{
    attributes::{self, n},
    errors::AwsError,
};

const DOING: &str = "the manifest key was noted";

impl TenantsTable {
    /// Returns the keys and the revision of the record; 0 without the record.
    async fn read_keys(&self, doing: &str) -> Result<(Vec<UsedKey>, u64), Failure> {
        let key = Some(attributes::manifest_keys_key());
        let get = self.client.get_item().table_name(&self.table).set_key(key).consistent_read(true);
        let got = get.send().await.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(doing))?;
        let Some(item) = got.item else { return Ok((Vec::new(), 0)) };
        // An old key that is forgotten makes its manifests unverifiable, so a damaged record is never replaced.
        let damaged = || Failure::new(Code::Unexpected, "The record manifest_keys of #platform can't be read.");
        attributes::stored_manifest_keys(&item).ok_or_else(damaged)
    }
}

impl ManifestKeys for TenantsTable {
    async fn note_key(&self, key: &ManifestKey, now: DateTime<Utc>) -> Result<(), Failure> {
        for attempt in 1..=MAX_ATTEMPTS {
            let (keys, revision) = self.read_keys(DOING).await?;
            let after = UsedKey::after_use(&keys, key, now);
            if after == keys {
                return Ok(());
            }
            let item = attributes::manifest_keys(&after, revision + 1);
            let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
            let put = match revision {
                0 => put.condition_expression("attribute_not_exists(tenant_id)"),
                read => put.condition_expression("revision = :read").expression_attribute_values(":read", n(read)),
            };
            if write(DOING, || put.clone().send()).await? == Conditional::Written {
                return Ok(());
            }
            // Another run has noted a key meanwhile.
            pause(attempt).await;
        }
        Err(still_busy(DOING))
    }

    async fn manifest_keys(&self) -> Result<Vec<UsedKey>, Failure> {
        self.read_keys("the manifest keys were read").await.map(|(keys, _)| keys)
    }
}
