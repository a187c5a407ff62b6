//! The contract's world on the local AWS: the deployed tables, customers' stacks, and the deployed exporter's role.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use anyhow::{Context as _, Result};
use audit_log_aws::{
    buckets::{AssumedBuckets, PART_BYTES},
    bus::EventBus,
    events::EventsTable,
    pace::Pace,
    recorder::RecorderTables,
    sdk::{
        config::SdkConfig,
        credentials::Credentials,
        dynamodb::{self, types::AttributeValue},
        s3,
    },
    signer::KmsSigner,
    tenants::TenantsTable,
};
use audit_log_core::{
    export::Budget,
    notification::Notification,
    ports::{
        Buckets, Bus, Connections, Erasure, Events, Fleet, ManifestKeys, Recorder, Repairs, Rotations, Settings,
        Signer, Tenants,
    },
    records::{StoredWatermark, TenantRecords},
    settings::{Draft, TenantConfig},
    tenant::TenantId,
};
use audit_log_tests::{
    Bucket, Fixture, Item, Listener, Object, PLATFORM_ACCOUNT, Table, exporter_session, onboard, open_exporter_role,
    run_on_platform,
};
use chrono::TimeDelta;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};

use crate::world::{LeaseDamage, Recorded, World, clock, config};

/// The name of the keys in signatures.
pub(crate) const KEY_NAME: &str = "111111111111.eu-west-1.audit-log-export";

/// The adapters on the shared platform.
pub(crate) struct OnLocalAws<'a> {
    pub(crate) fixture: &'a Fixture,
    tenants: TenantsTable,
    settings: TenantsTable,
    recorder: RecorderTables,
    events: EventsTable,
    buckets: AssumedBuckets,
    bus: EventBus,
    exporter: SdkConfig,
}

/// Runs a test on the local AWS with empty tables.
pub(crate) fn on_local_aws(body: impl AsyncFnOnce(&OnLocalAws<'_>) -> Result<()>) -> Result<()> {
    run_on_platform(async |fixture| {
        // With the keys of manifests, which other tests leave there.
        fixture.platform.clear_table(Table::Tenants).await?;
        body(&OnLocalAws::new(fixture).await?).await
    })
}

impl<'a> OnLocalAws<'a> {
    async fn new(fixture: &'a Fixture) -> Result<Self> {
        let outputs = fixture.platform.outputs();
        // The console saves settings, and its rights differ from the exporter's.
        let console = fixture.aws.sdk_config(PLATFORM_ACCOUNT);
        let exporter = fixture.aws.sdk_config_with(exporters_credentials(fixture).await?);
        let events = |config| EventsTable::new(dynamodb::Client::new(config), &outputs.events_table_name);
        let table = |config| {
            let client = dynamodb::Client::new(config);
            TenantsTable::new(client, &outputs.tenants_table_name, events(config), TimeDelta::minutes(1))
        };
        Ok(Self {
            fixture,
            tenants: table(&exporter),
            settings: table(&console),
            recorder: RecorderTables::new(
                dynamodb::Client::new(&console),
                &outputs.tenants_table_name,
                &outputs.events_table_name,
                TimeDelta::minutes(1),
            ),
            events: events(&exporter),
            bus: EventBus::new(&exporter, &outputs.notification_bus_name),
            buckets: AssumedBuckets::new(
                &exporter,
                Pace::per_second(NonZeroU32::MAX),
                Budget::new(4 * PART_BYTES),
                false,
            ),
            exporter,
        })
    }

    /// The ARN of the key in the platform's stack.
    pub(crate) fn manifest_key_arn(&self) -> Result<&str> {
        self.fixture.platform.outputs().manifest_key_arn.as_deref().context("the stack has no key")
    }

    /// A signer with the exporter's rights and any key.
    pub(crate) fn signer_with(&self, key_arn: &str) -> KmsSigner {
        KmsSigner::new(&self.exporter, key_arn, KEY_NAME, self.tenants.clone())
    }

    /// A signer with any key and with the rights of the account.
    pub(crate) fn signer_of_account(&self, key_arn: &str) -> KmsSigner {
        let account = self.fixture.aws.sdk_config(PLATFORM_ACCOUNT);
        KmsSigner::new(&account, key_arn, KEY_NAME, self.tenants.clone())
    }

    /// A tenant's record as stored.
    pub(crate) async fn record(&self, tenant: &TenantId, record: &str) -> Result<Option<Item>> {
        let items = self.fixture.platform.items(Table::Tenants, tenant.as_str()).await?;
        Ok(items.into_iter().find(|item| text(item, "record").as_deref() == Some(record)))
    }

    fn bucket(&self, config: &TenantConfig) -> Bucket {
        Bucket::new(self.fixture.aws, config.role.account().as_str(), config.bucket.as_str())
    }

    fn customers_s3(&self, config: &TenantConfig) -> s3::Client {
        s3::Client::new(&self.fixture.aws.sdk_config(config.role.account().as_str()))
    }
}

/// An attribute that is a text or number.
pub(crate) fn text(item: &Item, name: &str) -> Option<String> {
    match item.get(name)? {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        _ => None,
    }
}

/// A session that all tests share.
async fn exporters_credentials(fixture: &Fixture) -> Result<Credentials> {
    static SESSION: OnceCell<Credentials> = OnceCell::const_new();
    let begin = async || {
        open_exporter_role(fixture.aws, &fixture.platform).await?;
        exporter_session(fixture.aws, &fixture.platform).await
    };
    Ok(SESSION.get_or_try_init(begin).await?.clone())
}

impl World for OnLocalAws<'_> {
    fn tenants(&self) -> &impl Tenants {
        &self.tenants
    }

    fn fleet(&self) -> &impl Fleet {
        &self.tenants
    }

    fn connections(&self) -> &impl Connections {
        &self.tenants
    }

    fn settings(&self) -> &impl Settings {
        &self.settings
    }

    /// With the exporter's rights: it completes rotations.
    fn rotations(&self) -> &impl Rotations {
        &self.tenants
    }

    fn repairs(&self) -> &impl Repairs {
        &self.tenants
    }

    fn recorder(&self) -> &impl Recorder {
        &self.recorder
    }

    fn events(&self) -> &impl Events {
        &self.events
    }

    fn buckets(&self) -> &impl Buckets {
        &self.buckets
    }

    /// With an operator's rights.
    fn erasure(&self) -> &impl Erasure {
        &self.settings
    }

    fn manifest_keys(&self) -> &impl ManifestKeys {
        &self.tenants
    }

    fn new_signer(&self) -> Result<impl Signer> {
        Ok(self.signer_with(self.manifest_key_arn()?))
    }

    async fn publish_and_receive(&self, notifications: &[Notification]) -> Result<Vec<(String, String)>> {
        let Fixture { aws, platform } = self.fixture;
        let listener = Listener::new(aws, &platform.outputs().notification_bus_name, "acme").await?;
        for notification in notifications {
            self.bus.publish(notification).await?;
        }
        let events = listener.receive(notifications.len()).await?;
        let text =
            |event: &Value| (event["detail-type"].as_str().unwrap_or_default().to_owned(), event["detail"].to_string());
        Ok(events.iter().map(text).collect())
    }

    async fn put_records(
        &self,
        tenant: &TenantId,
        TenantRecords { config, watermark, .. }: TenantRecords,
    ) -> Result<()> {
        for (record, fields) in [("config", config.map(config_fields)), ("watermark", watermark.map(watermark_fields))]
        {
            let Some(fields) = fields else { continue };
            let keys = [("tenant_id", Some(tenant.to_string())), ("record", Some(record.to_owned()))];
            // As text, wrong numbers included, except for those that conditions compare as numbers.
            let attribute = |(name, value): (&str, Option<String>)| {
                let (numbers, value) = (["version", "event_shards"], value?);
                let number = numbers.contains(&name) && value.parse::<i64>().is_ok();
                Some((name.to_owned(), if number { AttributeValue::N(value) } else { AttributeValue::S(value) }))
            };
            let item = keys.into_iter().chain(fields).filter_map(attribute).collect();
            self.fixture.platform.put_item(Table::Tenants, item).await?;
        }
        Ok(())
    }

    async fn put_unreadable_lease(&self, tenant: &TenantId, damage: LeaseDamage) -> Result<()> {
        let mut item = self.record(tenant, "watermark").await?.context("no watermark")?;
        item.insert("lease".to_owned(), AttributeValue::S("ff".repeat(16)));
        item.insert("lease_until".to_owned(), AttributeValue::N(clock("11:45")?.timestamp_millis().to_string()));
        match damage {
            LeaseDamage::TokenIsANumber => item.insert("lease".to_owned(), AttributeValue::N("7".to_owned())),
            LeaseDamage::EndIsAText => item.insert("lease_until".to_owned(), AttributeValue::S("11:45".to_owned())),
            LeaseDamage::NoEnd => item.remove("lease_until"),
            LeaseDamage::NoToken => item.remove("lease"),
        };
        self.fixture.platform.put_item(Table::Tenants, item).await
    }

    async fn put_unreadable_check(&self, tenant: &TenantId, without: Option<&str>) -> Result<()> {
        let finding = Item::from([("step".to_owned(), AttributeValue::Bool(true))]);
        let attributes = [
            ("tenant_id", AttributeValue::S(tenant.to_string())),
            ("record", AttributeValue::S("connection_check".to_owned())),
            ("checked_for", AttributeValue::S("2026-11-19T07:00:00Z".to_owned())),
            ("checked_at", AttributeValue::S("2026-11-19T07:31:02Z".to_owned())),
            ("config_version", AttributeValue::N("1".to_owned())),
            ("findings", AttributeValue::L(vec![AttributeValue::M(finding)])),
        ];
        let item = attributes.into_iter().filter(|(name, _)| Some(*name) != without);
        let item = item.map(|(name, value)| (name.to_owned(), value)).collect();
        self.fixture.platform.put_item(Table::Tenants, item).await
    }

    async fn put_event(&self, tenant: &TenantId, shard: u16, recorded_at_id: &str, event: Recorded) -> Result<()> {
        let mut item = Item::from([
            ("tenant_shard".to_owned(), AttributeValue::S(format!("{tenant}#{shard}"))),
            ("recorded_at_id".to_owned(), AttributeValue::S(recorded_at_id.to_owned())),
        ]);
        let event = match event {
            Recorded::Text(text) => Some(AttributeValue::S(text)),
            Recorded::Number(number) => Some(AttributeValue::N(number.to_string())),
            Recorded::Nothing => None,
        };
        if let Some(AttributeValue::S(text)) = &event {
            let event: Value = serde_json::from_str(text).unwrap_or_default();
            for (attribute, name) in [("action", "action"), ("log_type", "logType")] {
                let copy = event[name].as_str().map(|copy| AttributeValue::S(copy.to_owned()));
                item.extend(copy.map(|copy| (attribute.to_owned(), copy)));
            }
        }
        item.extend(event.map(|event| ("event".to_owned(), event)));
        self.fixture.platform.put_item(Table::Events, item).await
    }

    async fn customer(&self, tenant: &str) -> Result<TenantConfig> {
        // Stacks are shared, since each takes a second.
        static CUSTOMERS: Mutex<BTreeMap<String, Draft>> = Mutex::const_new(BTreeMap::new());
        let mut customers = CUSTOMERS.lock().await;
        let settings = match customers.get(tenant) {
            Some(settings) => settings.clone(),
            None => {
                let account = format!("2000000000{:02}", customers.len());
                let Fixture { aws, platform } = self.fixture;
                let customer = onboard(aws, platform, tenant, &account, Draft::default(), clock("10:00")?).await?;
                customers.insert(tenant.to_owned(), customer.settings.clone());
                customer.settings
            }
        };
        config(tenant, settings)
    }

    async fn delete_bucket(&self, config: &TenantConfig) -> Result<()> {
        self.customers_s3(config).delete_bucket().bucket(config.bucket.as_str()).send().await?;
        Ok(())
    }

    async fn keys(&self, config: &TenantConfig) -> Result<Vec<String>> {
        Ok(self.bucket(config).objects().await?.into_iter().map(|object| object.key).collect())
    }

    async fn object(&self, config: &TenantConfig, key: &str) -> Result<Object> {
        self.bucket(config).get(key).await
    }

    async fn unfinished(&self, config: &TenantConfig) -> Result<Vec<String>> {
        let s3 = self.customers_s3(config);
        let listed = s3.list_multipart_uploads().bucket(config.bucket.as_str()).send().await?;
        Ok(listed.uploads().iter().filter_map(|upload| upload.key.clone()).collect())
    }
}

fn config_fields(draft: Draft) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("external_id", draft.external_id),
        ("pending_external_id", draft.pending_external_id),
        ("role_arn", draft.role_arn),
        ("bucket", draft.bucket),
        ("region", draft.region),
        ("prefix", draft.prefix),
        ("frequency_hours", draft.frequency_hours),
        ("format", draft.format),
        ("compression", draft.compression),
        ("schema", draft.schema),
        ("encryption", draft.encryption),
        ("kms_key_arn", draft.kms_key_arn),
        ("bucket_owner", draft.bucket_owner),
        ("event_shards", draft.event_shards),
        ("version", draft.version),
    ]
}

fn watermark_fields(watermark: StoredWatermark) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("exported_until", watermark.exported_until),
        ("next_due", watermark.next_due),
        ("due_shard", watermark.due_shard),
        ("final_delivered_until", watermark.final_delivered_until),
    ]
}
