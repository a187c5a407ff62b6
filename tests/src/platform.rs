//! The deployed platform: its rules, its functions and its two tables.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use audit_log_aws::sdk::config::retry::RetryConfig;
use audit_log_aws::sdk::dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use audit_log_aws::sdk::lambda::primitives::Blob;
use audit_log_aws::sdk::{dynamodb, lambda};
use audit_log_web::issuer::TestIssuer;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::Value;

use crate::events::Event;
use crate::{Api, LocalAws, PLATFORM_ACCOUNT, Rules, tools};

/// The limit of BatchWriteItem.
const MAX_BATCH_ITEMS: usize = 25;

/// More at once don't make the local AWS faster.
const CONCURRENT_BATCHES: usize = 4;

pub type Item = HashMap<String, AttributeValue>;

/// A text or number of an item; blank if it has none.
#[must_use]
pub fn attribute<'a>(item: &'a Item, name: &str) -> &'a str {
    match item.get(name) {
        Some(AttributeValue::S(text) | AttributeValue::N(text)) => text,
        _ => "",
    }
}

/// One of the platform's two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// Each tenant's config, watermark, outbox and receipts, by `tenant_id` and `record`.
    Tenants,
    /// The recorded events, by `tenant_shard` and `recorded_at_id`.
    Events,
}

impl Table {
    const fn keys(self) -> [&'static str; 2] {
        match self {
            Self::Tenants => ["tenant_id", "record"],
            Self::Events => ["tenant_shard", "recorded_at_id"],
        }
    }
}

/// The outputs of the platform's stack.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase")]
pub struct PlatformOutputs {
    pub exporter_function_name: String,
    pub exporter_role_arn: String,
    pub tenants_table_name: String,
    pub events_table_name: String,
    pub console_function_name: String,
    pub recorder_function_name: String,
    /// The address on AWS. The local AWS serves the API under its id.
    pub api_url: String,
    pub api_id: String,
    pub ingestion_queue_url: String,
    pub ingestion_queue_arn: String,
    pub ingestion_dead_letters_url: String,
    pub notification_bus_name: String,
    /// None if the platform signs no manifests.
    pub manifest_key_arn: Option<String>,
    /// Only with `FanOut`.
    pub export_queue_url: Option<String>,
}

/// The platform on a local AWS.
#[derive(Debug)]
pub struct Platform<'a> {
    aws: &'a LocalAws,
    outputs: PlatformOutputs,
    rules: Rules,
    api: Api,
    log_group: String,
    dynamodb: dynamodb::Client,
    lambda: lambda::Client,
}

impl<'a> Platform<'a> {
    pub(crate) async fn new(aws: &'a LocalAws, outputs: PlatformOutputs, issuer: TestIssuer) -> Result<Self> {
        let config = aws.sdk_config(PLATFORM_ACCOUNT);
        // A retried invocation would be a second tick.
        let once = config.clone().into_builder().retry_config(RetryConfig::disabled()).build();
        let lambda = lambda::Client::new(&once);
        let function = lambda.get_function_configuration().function_name(&outputs.exporter_function_name);
        let function = function.send().await?;
        let function_arn = function.function_arn.context("a function without an ARN")?;
        let log_group = function.logging_config.and_then(|logging| logging.log_group).context("no log group")?;
        let policy = lambda.get_policy().function_name(&outputs.exporter_function_name).send().await;
        let policy = policy.context("no rule may invoke the function")?.policy.context("an empty policy")?;
        let rules = Rules::load(aws, &function_arn, &policy).await?;
        // The output `api_url` doesn't resolve here.
        let api = Api::new(format!("{}/_aws/execute-api/{}/$default", aws.endpoint(), outputs.api_id), issuer)?;
        Ok(Self { aws, outputs, rules, api, log_group, dynamodb: dynamodb::Client::new(&config), lambda })
    }

    #[must_use]
    pub fn outputs(&self) -> &PlatformOutputs {
        &self.outputs
    }

    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    #[must_use]
    pub fn log_group(&self) -> &str {
        &self.log_group
    }

    /// The event that the deployed rule of the tick sends at a time.
    pub fn rule_event(&self, time: DateTime<Utc>) -> Result<Value> {
        self.rules.tick.event(time)
    }

    /// Disables the deployed rules: a test's hour is never the real one.
    pub async fn pause_rules(&self) -> Result<()> {
        self.rules.tick.set_state(self.aws, "disable-rule").await?;
        self.rules.check.set_state(self.aws, "disable-rule").await
    }

    pub async fn resume_rules(&self) -> Result<()> {
        self.rules.tick.set_state(self.aws, "enable-rule").await?;
        self.rules.check.set_state(self.aws, "enable-rule").await
    }

    /// Invokes the exporter as the tick's rule does at a time, and returns the report.
    pub async fn tick(&self, time: DateTime<Utc>) -> Result<Value> {
        self.invoke(&self.rule_event(time)?).await
    }

    /// Invokes the exporter as the hourly check's rule does at a time, and returns the report.
    pub async fn check(&self, time: DateTime<Utc>) -> Result<Value> {
        self.invoke(&self.rules.check.event(time)?).await
    }

    /// Invokes the exporter. An error holds the function's error and the end of its log.
    pub async fn invoke(&self, event: &Value) -> Result<Value> {
        let invocation = self.lambda.invoke().function_name(&self.outputs.exporter_function_name);
        let answer = invocation.payload(Blob::new(event.to_string())).send().await?;
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        if let Some(kind) = answer.function_error {
            let log = self.logs().await?;
            let tail = &log[log.len().saturating_sub(20)..];
            bail!("the function failed ({kind}): {}\n{}", String::from_utf8_lossy(&payload), tail.join("\n"));
        }
        serde_json::from_slice(&payload).context("the function's answer")
    }

    /// All lines of the exporter's log. It is an error if the function was never invoked.
    pub async fn logs(&self) -> Result<Vec<String>> {
        let filter = ["logs", "filter-log-events", "--log-group-name", &self.log_group];
        let answer = tools::aws_cli(self.aws, PLATFORM_ACCOUNT, &filter).await?;
        let events = answer["events"].as_array().context("no list of log events")?;
        Ok(events.iter().filter_map(|event| Some(event["message"].as_str()?.trim_end().to_owned())).collect())
    }

    /// Writes a tenant's events into the table, as a service does.
    pub async fn put_events(&self, tenant: &str, events: &[Event]) -> Result<()> {
        let puts = events.iter().map(|event| PutRequest::builder().set_item(Some(event.item(tenant))).build());
        let writes = puts.map(|put| Ok(WriteRequest::builder().put_request(put?).build()));
        self.write(Table::Events, writes.collect::<Result<_>>()?).await
    }

    /// Stores a tenant's external ID, as its admin's first look at the connector does, instead of all else in its config.
    pub async fn store_external_id(&self, tenant: &str, external_id: &str) -> Result<()> {
        let config = [("tenant_id", tenant), ("record", "config"), ("external_id", external_id)];
        let item = config.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())));
        self.put_item(Table::Tenants, item.into()).await
    }

    /// Puts an item without checking it.
    pub async fn put_item(&self, table: Table, item: Item) -> Result<()> {
        self.dynamodb.put_item().table_name(self.name(table)).set_item(Some(item)).send().await?;
        Ok(())
    }

    /// The items of a partition, in order: a tenant's records, or the events of a tenant's shard.
    pub async fn items(&self, table: Table, hash_key: &str) -> Result<Vec<Item>> {
        let query = self.dynamodb.query().table_name(self.name(table)).consistent_read(true);
        let query =
            query.key_condition_expression("#hash = :hash").expression_attribute_names("#hash", table.keys()[0]);
        let query = query.expression_attribute_values(":hash", AttributeValue::S(hash_key.to_owned()));
        let items = query.into_paginator().items().send();
        Ok(items.collect::<Result<_, _>>().await?)
    }

    /// All keys that have signed manifests, as verifier keys, the one in use first.
    pub async fn manifest_keys(&self) -> Result<Vec<String>> {
        let answer = self.api.send("", "GET", "/v1/manifest-keys", &[], None).await?.ok()?;
        let keys = answer["keys"].as_array().context("no list of keys")?.iter();
        keys.map(|key| Ok(key["verifierKey"].as_str().context("a key without a verifier key")?.to_owned())).collect()
    }

    /// A tenant's record; empty if there is none.
    pub async fn record(&self, tenant: &str, record: &str) -> Result<Item> {
        let [hash, range] = Table::Tenants.keys();
        let get = self.dynamodb.get_item().table_name(self.name(Table::Tenants)).consistent_read(true);
        let get = get.key(hash, AttributeValue::S(tenant.to_owned()));
        let get = get.key(range, AttributeValue::S(record.to_owned()));
        Ok(get.send().await?.item.unwrap_or_default())
    }

    /// Deletes all items of both tables but the keys of manifests, which a running exporter doesn't write again.
    pub async fn clear(&self) -> Result<()> {
        let keys = self.record("#platform", "manifest_keys").await?;
        self.clear_table(Table::Tenants).await?;
        if !keys.is_empty() {
            self.put_item(Table::Tenants, keys).await?;
        }
        self.clear_table(Table::Events).await
    }

    pub async fn clear_table(&self, table: Table) -> Result<()> {
        let scan = self.dynamodb.scan().table_name(self.name(table)).consistent_read(true);
        let [hash, range] = table.keys();
        let scan = scan.projection_expression("#hash, #range");
        let scan = scan.expression_attribute_names("#hash", hash).expression_attribute_names("#range", range);
        let keys: Vec<Item> = scan.into_paginator().items().send().collect::<Result<_, _>>().await?;
        let deletes = keys.into_iter().map(|key| DeleteRequest::builder().set_key(Some(key)).build());
        let writes = deletes.map(|delete| Ok(WriteRequest::builder().delete_request(delete?).build()));
        self.write(table, writes.collect::<Result<_>>()?).await
    }

    fn name(&self, table: Table) -> &str {
        match table {
            Table::Tenants => &self.outputs.tenants_table_name,
            Table::Events => &self.outputs.events_table_name,
        }
    }

    async fn write(&self, table: Table, writes: Vec<WriteRequest>) -> Result<()> {
        let batches = stream::iter(writes.chunks(MAX_BATCH_ITEMS).map(<[_]>::to_vec)).map(Ok);
        batches.try_for_each_concurrent(CONCURRENT_BATCHES, |batch| self.write_batch(table, batch)).await
    }

    /// Writes a batch, and repeats what the table left unprocessed.
    async fn write_batch(&self, table: Table, mut batch: Vec<WriteRequest>) -> Result<()> {
        let table = self.name(table);
        while !batch.is_empty() {
            let answer = self.dynamodb.batch_write_item().request_items(table, batch).send().await?;
            batch = answer.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default();
        }
        Ok(())
    }
}
