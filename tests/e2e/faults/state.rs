//! What lies in the tables, the buckets and the queue: put back to the start, and read at the end.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::{
    self,
    types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest},
};
use audit_log_aws::sdk::s3::types::{Delete, ObjectIdentifier};
use audit_log_core::object::sha256;
use audit_log_tests::{Item, PlatformOutputs, gunzip};
use futures::future;

use crate::run::Scenario;
use crate::world::{RECOVERING, SHARDED, SHARDS, World};

/// What differs between two runs that did the same: times, whether a run has warned another, and what of a failure has been
/// published (what was not goes out with the next one).
const DIFFERS: [&str; 9] = [
    "exported_at",
    "duration_ms",
    "expires_at",
    "last_success_at",
    "last_error_at",
    "failing_since",
    "renewed_at",
    "told",
    "disturbed",
];

/// All events of these tests were recorded before this, and what the system records comes after it.
const AFTER_ALL_WINDOWS: &str = "2026-11-21";

/// What one BatchWriteItem takes.
const BATCH: usize = 25;

/// Both tables as the exporter finds them.
pub(crate) struct Records {
    tenants_table: String,
    events_table: String,
    tenants: Vec<Item>,
    /// The audit events that onboarding has recorded; those of a run come beside them.
    told: BTreeSet<String>,
}

/// What is promised to be the same, however a run was disturbed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct State {
    /// Size and ETag of every object, by bucket and key. The ETag is the MD5 of an object's bytes, or of those of its
    /// parts.
    pub(crate) objects: BTreeMap<String, String>,
    /// Every receipt and watermark, by tenant and record.
    pub(crate) records: BTreeMap<String, BTreeMap<String, AttributeValue>>,
    /// Audit events of failures less those of recoveries, by tenant.
    pub(crate) told: BTreeMap<String, i64>,
    /// Uploads that were begun and neither finished nor aborted, by bucket and key.
    pub(crate) unfinished: Vec<String>,
}

fn attribute<'a>(item: &'a Item, name: &str) -> &'a str {
    match item.get(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => text,
        _ => "",
    }
}

impl Records {
    pub(crate) async fn at_the_start(dynamodb: &dynamodb::Client, outputs: &PlatformOutputs) -> Result<Self> {
        let (tenants_table, events_table) = (outputs.tenants_table_name.clone(), outputs.events_table_name.clone());
        let mut tenants = scan(dynamodb, &tenants_table).await?;
        let is_recovering =
            |item: &&mut Item| attribute(item, "tenant_id") == RECOVERING && attribute(item, "record") == "watermark";
        let watermark = tenants.iter_mut().find(is_recovering).context("no watermark")?;
        let told = format!("{}/0", attribute(watermark, "exported_until"));
        watermark.insert("consecutive_failures".to_owned(), AttributeValue::N("2".to_owned()));
        for (name, text) in [
            ("last_error_code", "access_denied"),
            ("last_error", "S3 refused it."),
            ("failing_since", "2026-11-20T09:01:00Z"),
            ("told", &told),
        ] {
            watermark.insert(name.to_owned(), AttributeValue::S(text.to_owned()));
        }
        let mut records = Self { tenants_table, events_table, tenants, told: BTreeSet::new() };
        let told = records.told(dynamodb, &records.ids()).await?;
        records.told = told.iter().map(|item| attribute(item, "recorded_at_id").to_owned()).collect();
        Ok(records)
    }

    fn ids(&self) -> Vec<String> {
        let ids: BTreeSet<_> = self.tenants.iter().map(|item| attribute(item, "tenant_id").to_owned()).collect();
        ids.into_iter().collect()
    }

    /// What the system has recorded in the present of these tests, which is after all windows, and the markers of that.
    async fn told(&self, dynamodb: &dynamodb::Client, tenants: &[impl AsRef<str>]) -> Result<Vec<Item>> {
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
        let told = future::try_join_all(partitions.map(query)).await?.into_iter().flatten();
        Ok(told.filter(|item| !self.told.contains(attribute(item, "recorded_at_id"))).collect())
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
    /// Puts everything back to the start, with these tenants and nobody else.
    pub(crate) async fn restore(&self, scenario: Scenario) -> Result<()> {
        let tenants = scenario.tenants();
        if scenario == Scenario::FannedOut {
            self.drain().await?;
        }
        let Records { tenants_table, events_table, tenants: start, .. } = &self.start;
        let wanted: Vec<&Item> = start.iter().filter(|item| tenants.contains(&attribute(item, "tenant_id"))).collect();
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
        let told = self.start.told(&self.dynamodb, tenants).await?;
        let told = told.iter().map(|item| delete(item, ["tenant_shard", "recorded_at_id"])).collect::<Result<_>>()?;
        write(&self.dynamodb, events_table, told).await?;
        future::try_join_all(tenants.iter().map(|tenant| self.empty(tenant))).await?;
        Ok(())
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

    /// A tenant's bucket: its name, each object's key with size and ETag, and the keys of unfinished uploads.
    async fn contents(&self, tenant: &str) -> Result<(String, Vec<(String, String)>, Vec<String>)> {
        let (bucket, s3) = self.bucket(tenant)?;
        let (objects, uploads) =
            tokio::try_join!(async { anyhow::Ok(s3.list_objects_v2().bucket(&bucket).send().await?) }, async {
                anyhow::Ok(s3.list_multipart_uploads().bucket(&bucket).send().await?)
            },)?;
        let objects = objects.contents.unwrap_or_default().into_iter().map(|object| {
            let (size, e_tag) = (object.size.unwrap_or_default(), object.e_tag.unwrap_or_default());
            (object.key.unwrap_or_default(), format!("{size} bytes {e_tag}"))
        });
        let uploads = uploads.uploads.unwrap_or_default().into_iter().filter_map(|upload| upload.key);
        Ok((bucket, objects.collect(), uploads.collect()))
    }

    /// What lies there now.
    pub(crate) async fn state(&self, scenario: Scenario) -> Result<State> {
        let tenants = scenario.tenants();
        let mut state = State::default();
        for item in scan(&self.dynamodb, &self.start.tenants_table).await? {
            if attribute(&item, "record") == "config" {
                continue;
            }
            let name = format!("{} {}", attribute(&item, "tenant_id"), attribute(&item, "record"));
            let mut record: BTreeMap<_, _> =
                item.into_iter().filter(|(name, _)| !DIFFERS.contains(&name.as_str())).collect();
            // Each run that fails is counted, and there are more of them.
            if let Some(AttributeValue::N(count)) = record.get_mut("consecutive_failures")
                && count != "0"
            {
                "some".clone_into(count);
            }
            state.records.insert(name, record);
        }
        for item in self.start.told(&self.dynamodb, tenants).await? {
            let tenant = attribute(&item, "tenant_shard").split('#').next().unwrap_or_default().to_owned();
            let sign = match attribute(&item, "action") {
                "Export Failed" => 1,
                "Export Recovered" => -1,
                _ => continue,
            };
            *state.told.entry(tenant).or_default() += sign;
        }
        state.told.retain(|_, balance| *balance != 0);
        for (bucket, contents, uploads) in future::try_join_all(tenants.iter().map(|it| self.contents(it))).await? {
            state.objects.extend(contents.into_iter().map(|(key, what)| (format!("{bucket}/{key}"), what)));
            state.unfinished.extend(uploads.into_iter().map(|key| format!("{bucket}/{key}")));
        }
        Ok(state)
    }
}

impl World {
    /// Compares each receipt with the objects, byte for byte, and the objects' texts with the events that were recorded.
    pub(crate) async fn check_receipts(&self, scenario: Scenario) -> Result<()> {
        let receipts = scan(&self.dynamodb, &self.start.tenants_table).await?;
        for tenant in scenario.tenants() {
            let (bucket, s3) = self.bucket(tenant)?;
            let mut texts = String::new();
            let is_ours = |item: &&Item| attribute(item, "tenant_id") == *tenant;
            let mut receipts: Vec<_> = receipts.iter().filter(is_ours).collect();
            receipts.sort_by_key(|item| attribute(item, "record"));
            for object in receipts.into_iter().filter_map(|item| item.get("objects")?.as_l().ok()).flatten() {
                let object = object.as_m().ok().context("an object that is no map")?;
                let key = attribute(object, "key");
                let bytes = s3.get_object().bucket(&bucket).key(key).send().await?.body.collect().await?.to_vec();
                ensure!(sha256(&bytes) == attribute(object, "sha256"), "{bucket}/{key} is not what its receipt says");
                texts += &if key.ends_with(".gz") { gunzip(&bytes)? } else { String::from_utf8(bytes)? };
            }
            let mut rest = texts.as_str();
            for event in self.events(tenant)? {
                let after = rest.split_once(event).map(|(_, after)| after);
                rest = after.with_context(|| format!("an event of {tenant} is missing, or not in order"))?;
            }
        }
        Ok(())
    }
}

impl State {
    /// What differs, in words; empty where nothing does. Unfinished uploads are looked at apart.
    pub(crate) fn differs_from(&self, other: &Self) -> String {
        let mut differences = Vec::new();
        differ("object", &self.objects, &other.objects, &mut differences);
        differ("record", &self.records, &other.records, &mut differences);
        differ("told of", &self.told, &other.told, &mut differences);
        differences.join("; ")
    }
}

fn differ<V: PartialEq + std::fmt::Debug>(
    what: &str,
    is: &BTreeMap<String, V>,
    should: &BTreeMap<String, V>,
    differences: &mut Vec<String>,
) {
    let keys: BTreeSet<&String> = is.keys().chain(should.keys()).collect();
    for key in keys {
        let (is, should) = (is.get(key), should.get(key));
        if is != should {
            differences.push(format!("{what} {key} is {is:?} and should be {should:?}"));
        }
    }
}
