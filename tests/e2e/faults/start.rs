//! What lies in the tables, the buckets and the queues at the start, and how it is put back to that.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::{
    self,
    types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest},
};
use audit_log_aws::sdk::s3::types::{Delete, ObjectIdentifier};
use audit_log_tests::{Item, PlatformOutputs};
use futures::future;
use serde_json::Value;

use crate::announcements::Announcement;
use crate::scenario::{FILES, Scenario};
use crate::world::{FAILING, RECOVERING, SHARDED, SHARDS, World};

/// All events of these tests were recorded before this, and what the system records comes after it.
const AFTER_ALL_WINDOWS: &str = "2026-11-21";

/// What one BatchWriteItem takes.
const BATCH: usize = 25;

/// Both tables as the exporter finds them.
pub(crate) struct Records {
    tenants_table: String,
    events_table: String,
    tenants: Vec<Item>,
    /// The tenants table as a later tick finds it.
    pub(crate) later: Vec<Item>,
    /// The audit events that onboarding has recorded; those of a run come beside them.
    of_onboarding: BTreeSet<String>,
}

pub(crate) fn attribute<'a>(item: &'a Item, name: &str) -> &'a str {
    match item.get(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => text,
        _ => "",
    }
}

pub(crate) fn is_record(item: &Item, record: &str) -> bool {
    attribute(item, "record") == record
}

impl Records {
    /// As onboarding leaves them; two tenants have failed since. Of one tenant, what was announced then is still in the
    /// outbox.
    pub(crate) async fn at_the_start(dynamodb: &dynamodb::Client, outputs: &PlatformOutputs) -> Result<Self> {
        let (tenants_table, events_table) = (outputs.tenants_table_name.clone(), outputs.events_table_name.clone());
        let mut tenants = scan(dynamodb, &tenants_table).await?;
        tenants.retain(|item| !is_record(item, "outbox") || attribute(item, "tenant_id") == FAILING);
        let has_failed = |item: &&mut Item| {
            [RECOVERING, SHARDED].contains(&attribute(item, "tenant_id")) && is_record(item, "watermark")
        };
        for watermark in tenants.iter_mut().filter(has_failed) {
            watermark.insert("consecutive_failures".to_owned(), AttributeValue::N("2".to_owned()));
            for (name, text) in [
                ("last_error_code", "access_denied"),
                ("last_error", "S3 refused it."),
                ("failing_since", "2026-11-20T09:01:00Z"),
            ] {
                watermark.insert(name.to_owned(), AttributeValue::S(text.to_owned()));
            }
        }
        let of_onboarding = BTreeSet::new();
        let mut records = Self { tenants_table, events_table, tenants, later: Vec::new(), of_onboarding };
        let recorded = records.recorded(dynamodb, &records.ids()).await?;
        records.of_onboarding = recorded.iter().map(|item| attribute(item, "recorded_at_id").to_owned()).collect();
        Ok(records)
    }

    /// The records that a scenario begins with.
    pub(crate) fn of(&self, scenario: Scenario) -> impl Iterator<Item = &Item> {
        let all = if scenario == Scenario::Later { &self.later } else { &self.tenants };
        all.iter().filter(move |item| scenario.tenants().contains(&attribute(item, "tenant_id")))
    }

    /// What the outboxes hold at the start.
    pub(crate) fn in_outboxes(&self, scenario: Scenario) -> Result<BTreeSet<Announcement>> {
        let outboxes = self.of(scenario).filter(|item| is_record(item, "outbox"));
        let entries: Vec<_> = outboxes.map(Announcement::in_outbox).collect::<Result<_>>()?;
        Ok(entries.into_iter().flatten().map(|(_, announcement)| announcement).collect())
    }

    fn ids(&self) -> Vec<String> {
        let ids: BTreeSet<_> = self.tenants.iter().map(|item| attribute(item, "tenant_id").to_owned()).collect();
        ids.into_iter().collect()
    }

    /// What the system has recorded in the present of these tests, which is after all windows, and the markers of that.
    async fn recorded(&self, dynamodb: &dynamodb::Client, tenants: &[impl AsRef<str>]) -> Result<Vec<Item>> {
        let partitions = tenants.iter().map(AsRef::as_ref).flat_map(|tenant| {
            let shards = if tenant == SHARDED { 0..SHARDS } else { 0..1 };
            let shards = shards.map(move |shard| (format!("{tenant}#{shard}"), AFTER_ALL_WINDOWS));
            shards.chain([(format!("{tenant}#id"), " ")])
        });
        let query = async |(partition, since): (String, &str)| {
            let query = dynamodb.query().table_name(&self.events_table).consistent_read(true);
            let query = query.key_condition_expression("tenant_shard = :partition AND recorded_at_id > :since");
            let query = query
                .expression_attribute_values(":partition", AttributeValue::S(partition))
                .expression_attribute_values(":since", AttributeValue::S(since.to_owned()));
            anyhow::Ok(query.send().await?.items.unwrap_or_default())
        };
        let recorded = future::try_join_all(partitions.map(query)).await?.into_iter().flatten();
        Ok(recorded.filter(|item| !self.of_onboarding.contains(attribute(item, "recorded_at_id"))).collect())
    }
}

async fn scan(dynamodb: &dynamodb::Client, table: &str) -> Result<Vec<Item>> {
    let scan = dynamodb.scan().table_name(table).consistent_read(true);
    Ok(scan.into_paginator().items().send().collect::<Result<_, _>>().await?)
}

async fn write(dynamodb: &dynamodb::Client, table: &str, writes: Vec<WriteRequest>) -> Result<()> {
    for batch in writes.chunks(BATCH) {
        let answer = dynamodb.batch_write_item().request_items(table, batch.to_vec()).send().await?;
        ensure!(answer.unprocessed_items.unwrap_or_default().is_empty(), "the local AWS left something out");
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

impl World {
    /// All that lies in the tenants table.
    pub(crate) async fn records(&self) -> Result<Vec<Item>> {
        scan(&self.dynamodb, &self.start.tenants_table).await
    }

    /// What the system has recorded of these tenants since the start.
    pub(crate) async fn recorded_since(&self, tenants: &[&str]) -> Result<Vec<Item>> {
        self.start.recorded(&self.dynamodb, tenants).await
    }

    /// Puts something there.
    pub(crate) async fn put_records(&self, items: &[Item]) -> Result<()> {
        write(&self.dynamodb, &self.start.tenants_table, items.iter().map(put).collect::<Result<_>>()?).await
    }

    /// Puts everything back to the start, with the scenario's tenants and no others.
    pub(crate) async fn restore(&self, scenario: Scenario) -> Result<()> {
        let tenants = scenario.tenants();
        if scenario == Scenario::FannedOut {
            self.drain().await?;
        }
        self.forget_heard().await?;
        let Records { tenants_table, events_table, .. } = &self.start;
        let wanted: Vec<&Item> = self.start.of(scenario).collect();
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
        let recorded = self.recorded_since(tenants).await?;
        let deletes = recorded.iter().map(|item| delete(item, ["tenant_shard", "recorded_at_id"]));
        write(&self.dynamodb, events_table, deletes.collect::<Result<_>>()?).await?;
        future::try_join_all(tenants.iter().map(|tenant| self.empty(tenant))).await?;
        Ok(())
    }

    /// The tenants table after an undisturbed tick, as if one of the last events of [`FILES`] had come after it was read.
    pub(crate) async fn after_a_tick(&self) -> Result<Vec<Item>> {
        self.restore(Scenario::Inline).await?;
        let outcome = self.run(Scenario::Inline, Scenario::Inline.hour(), None).await?;
        ensure!(!outcome.failed, "the first tick failed: {:?}", outcome.answers);
        let mut items = self.records().await?;
        let is_it = |item: &&mut Item| attribute(item, "tenant_id") == FILES && is_record(item, "watermark");
        let watermark = items.iter_mut().find(is_it).context("no watermark")?;
        let mut trailing: Value = serde_json::from_str(attribute(watermark, "trailing_counts"))?;
        let counts = trailing["counts"].as_array_mut().context("no counts")?;
        let count = counts.iter_mut().find(|count| count[0] != 0).context("an hour without an end")?;
        count[0] = (count[0].as_u64().unwrap_or_default() - 1).into();
        watermark.insert("trailing_counts".to_owned(), AttributeValue::S(trailing.to_string()));
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
