//! The contract's world on the fakes.

use anyhow::{Context as _, Result};
use audit_log_core::{
    event::{Body, StoredEvent},
    fakes::{FakeTenant, Fakes},
    manifest::ManifestKey,
    notification::Notification,
    ports::{
        Buckets, Bus, Connections, Erasure, Events, Fleet, ManifestKeys, Recorder, Repairs, Rotations, Settings,
        Signer, Tenants,
    },
    records::TenantRecords,
    settings::{Draft, TenantConfig},
    tenant::TenantId,
};
use audit_log_tests::Object;

use crate::world::{LeaseDamage, Recorded, World, config};

/// Few, so that tests read several pages.
const EVENTS_PER_PAGE: usize = 10;

/// Runs a test on new fakes.
pub(crate) fn in_memory(body: impl AsyncFnOnce(&Fakes) -> Result<()>) -> Result<()> {
    let mut fakes = Fakes::default();
    fakes.page_size = EVENTS_PER_PAGE;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(body(&fakes))
}

impl World for Fakes {
    fn tenants(&self) -> &impl Tenants {
        self
    }

    fn fleet(&self) -> &impl Fleet {
        self
    }

    fn connections(&self) -> &impl Connections {
        self
    }

    fn settings(&self) -> &impl Settings {
        self
    }

    fn rotations(&self) -> &impl Rotations {
        self
    }

    fn repairs(&self) -> &impl Repairs {
        self
    }

    fn recorder(&self) -> &impl Recorder {
        self
    }

    fn events(&self) -> &impl Events {
        self
    }

    fn buckets(&self) -> &impl Buckets {
        self
    }

    fn erasure(&self) -> &impl Erasure {
        self
    }

    fn manifest_keys(&self) -> &impl ManifestKeys {
        self
    }

    fn new_signer(&self) -> Result<impl Signer> {
        let key = ManifestKey { name: "platform".to_owned(), public_key: vec![1, 2, 3] };
        self.state().manifest_key = Some(key);
        Ok(self.clone())
    }

    async fn publish_and_receive(&self, notifications: &[Notification]) -> Result<Vec<(String, String)>> {
        for notification in notifications {
            self.publish(notification).await?;
        }
        let published = |notification: &Notification| {
            (notification.kind.detail_type().to_owned(), notification.detail().to_string())
        };
        Ok(self.state().notifications.iter().map(published).collect())
    }

    async fn put_records(
        &self,
        tenant: &TenantId,
        TenantRecords { config, watermark, .. }: TenantRecords,
    ) -> Result<()> {
        self.state().tenants.insert(tenant.to_string(), FakeTenant { config, watermark, ..FakeTenant::default() });
        Ok(())
    }

    async fn put_unreadable_lease(&self, tenant: &TenantId, _damage: LeaseDamage) -> Result<()> {
        self.state().tenants.get_mut(tenant.as_str()).context("no such tenant")?.lease = None;
        Ok(())
    }

    async fn put_unreadable_check(&self, tenant: &TenantId, _without: Option<&str>) -> Result<()> {
        self.state().tenants.get_mut(tenant.as_str()).context("no such tenant")?.unreadable_connection_check = true;
        Ok(())
    }

    async fn put_event(&self, tenant: &TenantId, shard: u16, recorded_at_id: &str, event: Recorded) -> Result<()> {
        let body = match event {
            Recorded::Text(text) => Body::Text(text),
            Recorded::Number(number) => Body::NoText(format!(r#"{{"event":{{"N":"{number}"}}}}"#)),
            Recorded::Nothing => Body::NoText("{}".to_owned()),
        };
        self.put_event(tenant, shard, StoredEvent { recorded_at_id: recorded_at_id.to_owned(), body });
        Ok(())
    }

    async fn customer(&self, tenant: &str) -> Result<TenantConfig> {
        let config = config(tenant, Draft { bucket: Some(format!("{tenant}-audit-logs")), ..Draft::default() })?;
        self.state().buckets.entry(config.bucket.to_string()).or_default();
        Ok(config)
    }

    async fn delete_bucket(&self, config: &TenantConfig) -> Result<()> {
        self.state().buckets.remove(config.bucket.as_str()).context("no such bucket")?;
        Ok(())
    }

    async fn keys(&self, config: &TenantConfig) -> Result<Vec<String>> {
        let state = self.state();
        let bucket = state.buckets.get(config.bucket.as_str()).context("no such bucket")?;
        Ok(bucket.keys().cloned().collect())
    }

    async fn object(&self, config: &TenantConfig, key: &str) -> Result<Object> {
        let state = self.state();
        let bucket = state.buckets.get(config.bucket.as_str()).context("no such bucket")?;
        let object = bucket.get(key).context("no such object")?;
        Ok(Object {
            bytes: object.bytes.clone(),
            content_type: Some(object.content_type.to_owned()),
            content_encoding: None,
            encryption: None,
            kms_key: None,
            metadata: object.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        })
    }

    async fn unfinished(&self, _config: &TenantConfig) -> Result<Vec<String>> {
        // An unfinished upload of the fake is dropped.
        Ok(Vec::new())
    }
}
