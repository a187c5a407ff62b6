//! Restores tables, buckets and queues to their state at the start.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::{
    self,
    types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest},
};
use audit_log_aws::sdk::s3::types::{Delete, ObjectIdentifier};
use audit_log_core::{
    event::User,
    records::{Place, Progress, RECEIPT_PREFIX, Replay},
    schedule::Window,
    tenant::{DueShard, TenantId},
};
use audit_log_tests::{Item, attribute, events};
use chrono::Utc;
use futures::future;
use serde_json::Value;

use crate::scenario::{FILES, REPLAYED, Scenario};
use crate::start::{InitialRecords, is_record, scan};
use crate::world::{World, clock};

/// The limit of BatchWriteItem.
const MAX_BATCH_ITEMS: usize = 25;

impl World {
    /// All items of the tenants table.
    pub(crate) async fn records(&self) -> Result<Vec<Item>> {
        scan(&self.dynamodb, &self.start.tenants_table).await
    }

    /// The system events of these tenants since the start.
    pub(crate) async fn system_events(&self, tenants: &[&str]) -> Result<Vec<Item>> {
        self.start.system_events(&self.dynamodb, tenants).await
    }

    /// Writes items into the tenants table.
    pub(crate) async fn put_records(&self, items: &[Item]) -> Result<()> {
        write(&self.dynamodb, &self.start.tenants_table, items.iter().map(put).collect::<Result<_>>()?).await
    }

    /// Restores the start of a scenario, with its tenants alone.
    pub(crate) async fn restore(&self, scenario: Scenario) -> Result<()> {
        let tenants = scenario.tenants();
        if scenario == Scenario::FannedOut {
            self.drain().await?;
        }
        self.clear_received().await?;
        let InitialRecords { tenants_table, events_table, .. } = &self.start;
        let wanted: Vec<&Item> = self.start.records(scenario).collect();
        let record = |item: &Item| (attribute(item, "tenant_id").to_owned(), attribute(item, "record").to_owned());
        let kept: BTreeSet<_> = wanted.iter().map(|item| record(item)).collect();
        let mut writes = Vec::new();
        for item in scan(&self.dynamodb, tenants_table).await? {
            if !kept.contains(&record(&item)) {
                writes.push(delete(&item, ["tenant_id", "record"])?);
            }
        }
        for item in wanted {
            writes.push(put(item)?);
        }
        write(&self.dynamodb, tenants_table, writes).await?;
        let recorded = self.system_events(tenants).await?;
        let markers = recorded.iter().map(marker_key).collect::<Result<Vec<_>>>()?;
        let deletes = recorded.iter().chain(&markers).map(|item| delete(item, ["tenant_shard", "recorded_at_id"]));
        write(&self.dynamodb, events_table, deletes.collect::<Result<_>>()?).await?;
        future::try_join_all(tenants.iter().map(|tenant| self.empty(tenant))).await?;
        Ok(())
    }

    /// The tenants table after an undisturbed tick, changed as if an event of [`FILES`] became visible after its window was read.
    pub(crate) async fn after_a_tick(&self) -> Result<Vec<Item>> {
        self.restore(Scenario::Inline).await?;
        let outcome = self.run(Scenario::Inline, Scenario::Inline.hour(), None).await?;
        ensure!(!outcome.failed, "the first tick failed: {:?}", outcome.answers);
        let mut items = self.records().await?;
        let is_it = |item: &&mut Item| attribute(item, "tenant_id") == FILES && is_record(item, "watermark");
        let watermark = items.iter_mut().find(is_it).context("no watermark")?;
        let mut trailing: Value = serde_json::from_str(attribute(watermark, "trailing_counts"))?;
        let counts = trailing["counts"].as_array_mut().context("no counts")?;
        let count = counts.iter_mut().find(|count| count[0] != 0).context("no event in the trailing counts")?;
        count[0] = (count[0].as_u64().unwrap_or_default() - 1).into();
        watermark.insert("trailing_counts".to_owned(), AttributeValue::S(trailing.to_string()));
        Ok(items)
    }

    /// The tenants table after an undisturbed tick before a late event of [`FILES`] was visible, with replays of all windows. The
    /// windows were exported so long ago that no request is in doubt, and none is due.
    pub(crate) async fn with_replays(&self) -> Result<Vec<Item>> {
        self.restore(Scenario::Inline).await?;
        let events = &self.start.events_table;
        let partition = AttributeValue::S(format!("{FILES}#0"));
        let query = self.dynamodb.query().table_name(events).key_condition_expression("tenant_shard = :partition");
        let recorded =
            query.expression_attribute_values(":partition", partition).send().await?.items.unwrap_or_default();
        let late = recorded.get(recorded.len() / 2).context("no events")?.clone();
        write(&self.dynamodb, events, vec![delete(&late, ["tenant_shard", "recorded_at_id"])?]).await?;
        let outcome = self.run(Scenario::Inline, Scenario::Inline.hour(), None).await?;
        ensure!(!outcome.failed, "the first tick failed: {:?}", outcome.answers);
        write(&self.dynamodb, events, vec![put(&late)?]).await?;
        let mut items = self.records().await?;
        items.retain(|item| REPLAYED.contains(&attribute(item, "tenant_id")) && !is_record(item, "outbox"));
        for item in &mut items {
            let (name, at) = match attribute(item, "record") {
                "watermark" => ("next_due", "2099-01-01T00:00:00Z"),
                record if record.starts_with(RECEIPT_PREFIX) => ("exported_at", "2026-11-20T11:01:00Z"),
                _ => continue,
            };
            item.insert(name.to_owned(), AttributeValue::S(at.to_owned()));
        }
        #[allow(clippy::disallowed_methods, reason = "a replay that waits for days is ended")]
        let requested_at = Utc::now();
        for tenant in REPLAYED {
            let range = Window { from: clock("08:00")?, to: clock("11:00")? };
            let by = User { id: "ada".to_owned(), name: None, email: None };
            let id = format!("replay-of-{tenant}");
            let (customer, _) = self.find(tenant)?;
            let tenant = TenantId::parse(tenant)?;
            let place = Place::of(&tenant, &customer.settings).context("settings that lead nowhere")?;
            let replay = Replay::new(id, range, place, Progress::default(), by, requested_at, None);
            let record = [
                ("tenant_id", tenant.to_string()),
                ("record", "replay".to_owned()),
                ("replay", replay.to_text()),
                ("pending_shard", DueShard::from_tenant(&tenant).to_string()),
            ];
            let mut record: Item = record.map(|(name, text)| (name.to_owned(), AttributeValue::S(text))).into();
            record.insert("revision".to_owned(), AttributeValue::N(replay.revision.to_string()));
            items.push(record);
        }
        Ok(items)
    }

    async fn empty(&self, tenant: &str) -> Result<()> {
        let (bucket, s3) = self.bucket(tenant)?;
        let objects = s3.list_objects_v2().bucket(&bucket).send().await?.contents.unwrap_or_default();
        if !objects.is_empty() {
            let id = |key: Option<String>| ObjectIdentifier::builder().set_key(key).build();
            let ids = objects.into_iter().map(|object| id(object.key)).collect::<Result<_, _>>()?;
            let delete = Delete::builder().set_objects(Some(ids)).build()?;
            s3.delete_objects().bucket(&bucket).delete(delete).send().await?;
        }
        for upload in s3.list_multipart_uploads().bucket(&bucket).send().await?.uploads.unwrap_or_default() {
            let abort = s3.abort_multipart_upload().bucket(&bucket).set_key(upload.key);
            abort.set_upload_id(upload.upload_id).send().await?;
        }
        Ok(())
    }
}

/// The key of the marker of a recorded event.
fn marker_key(event: &Item) -> Result<Item> {
    let [shard, recorded_at_id, submitted_by] =
        ["tenant_shard", "recorded_at_id", "submitted_by"].map(|name| attribute(event, name));
    let (shard, hash) = events::marker_key(shard, recorded_at_id, submitted_by).context("no key of an event")?;
    let key = [("tenant_shard", shard), ("recorded_at_id", hash)];
    Ok(key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value))).into())
}

async fn write(dynamodb: &dynamodb::Client, table: &str, writes: Vec<WriteRequest>) -> Result<()> {
    for batch in writes.chunks(MAX_BATCH_ITEMS) {
        let answer = dynamodb.batch_write_item().request_items(table, batch.to_vec()).send().await?;
        ensure!(answer.unprocessed_items.unwrap_or_default().is_empty(), "the local AWS left items unprocessed");
    }
    Ok(())
}

fn put(item: &Item) -> Result<WriteRequest> {
    let put = PutRequest::builder().set_item(Some(item.clone())).build()?;
    Ok(WriteRequest::builder().put_request(put).build())
}

fn delete(item: &Item, key: [&str; 2]) -> Result<WriteRequest> {
    let key = key.iter().filter_map(|name| Some(((*name).to_owned(), item.get(*name)?.clone()))).collect();
    let delete = DeleteRequest::builder().set_key(Some(key)).build()?;
    Ok(WriteRequest::builder().delete_request(delete).build())
}
