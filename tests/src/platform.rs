//! The deployed platform: its hourly tick, and its tables as the services that write to them see them.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use audit_log_aws::sdk::config::retry::RetryConfig;
use audit_log_aws::sdk::dynamodb::types::{AttributeValue, DeleteRequest, PutRequest, WriteRequest};
use audit_log_aws::sdk::lambda::primitives::Blob;
use audit_log_aws::sdk::{dynamodb, lambda};
use audit_log_web::issuer::TestIssuer;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;

use crate::events::Event;
use crate::{Api, LocalAws, PLATFORM_ACCOUNT, PlatformOutputs, Rules, tools};

/// What one BatchWriteItem takes.
const BATCH: usize = 25;

/// Batches on their way at a time: the local AWS has nothing to gain from more.
const CONCURRENT_BATCHES: usize = 4;

/// An item of a table.
pub type Item = HashMap<String, AttributeValue>;

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

/// The platform, deployed on a local AWS.
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
    /// Finds what a stack has deployed.
    pub(crate) async fn new(aws: &'a LocalAws, outputs: PlatformOutputs, issuer: TestIssuer) -> Result<Self> {
        let config = aws.sdk_config(PLATFORM_ACCOUNT);
        // An invocation that is retried would be a tick that nobody asked for.
        let once = config.clone().into_builder().retry_config(RetryConfig::disabled()).build();
        let lambda = lambda::Client::new(&once);
        let function = lambda.get_function_configuration().function_name(&outputs.exporter_function_name);
        let function = function.send().await?;
        let function_arn = function.function_arn.context("a function without an ARN")?;
        let log_group = function.logging_config.and_then(|logging| logging.log_group).context("no log group")?;
        let policy = lambda.get_policy().function_name(&outputs.exporter_function_name).send().await;
        let policy = policy.context("no rule may invoke the function")?.policy.context("an empty policy")?;
        let rules = Rules::of(aws, &function_arn, &policy).await?;
        // A browser on AWS would use the stack's output; here it is a name that nobody resolves.
        let api = Api::new(format!("{}/_aws/execute-api/{}/$default", aws.endpoint(), outputs.api_id), issuer)?;
        Ok(Self { aws, outputs, rules, api, log_group, dynamodb: dynamodb::Client::new(&config), lambda })
    }

    /// What the stack says about itself.
    #[must_use]
    pub fn outputs(&self) -> &PlatformOutputs {
        &self.outputs
    }

    /// Its HTTP API.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Where the function logs to.
    #[must_use]
    pub fn log_group(&self) -> &str {
        &self.log_group
    }

    /// The event that the deployed rule for the tick sends to the function at a time.
    ///
    /// # Errors
    /// When the rule makes nonsense of it.
    pub fn rule_event(&self, time: DateTime<Utc>) -> Result<Value> {
        self.rules.tick.event(time)
    }

    /// Keeps the deployed rules from firing by themselves: whatever the real hour is, it is none of a test's.
    ///
    /// # Errors
    /// When they are gone.
    pub async fn pause_rules(&self) -> Result<()> {
        self.rules.tick.switch(self.aws, "disable-rule").await?;
        self.rules.check.switch(self.aws, "disable-rule").await
    }

    /// Lets the deployed rules fire again.
    ///
    /// # Errors
    /// When they are gone.
    pub async fn resume_rules(&self) -> Result<()> {
        self.rules.tick.switch(self.aws, "enable-rule").await?;
        self.rules.check.switch(self.aws, "enable-rule").await
    }

    /// Invokes the function as its rule does at a time, and waits for its answer.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub async fn tick(&self, time: DateTime<Utc>) -> Result<Value> {
        self.invoke(&self.rule_event(time)?).await
    }

    /// Invokes the function as its rule for the hourly check does at a time, and waits for its answer.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub async fn check(&self, time: DateTime<Utc>) -> Result<Value> {
        self.invoke(&self.rules.check.event(time)?).await
    }

    /// Invokes the function with any event, and waits for its answer.
    ///
    /// # Errors
    /// When the function fails: then with its error and the tail of its log.
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

    /// Everything that the function has logged, a line each.
    ///
    /// # Errors
    /// When the log can't be read; a function that was never invoked has none.
    pub async fn logs(&self) -> Result<Vec<String>> {
        let filter = ["logs", "filter-log-events", "--log-group-name", &self.log_group];
        let answer = tools::aws_cli(self.aws, PLATFORM_ACCOUNT, &filter).await?;
        let events = answer["events"].as_array().context("no list of log events")?;
        Ok(events.iter().filter_map(|event| Some(event["message"].as_str()?.trim_end().to_owned())).collect())
    }

    /// Records a tenant's events, as any service does.
    ///
    /// # Errors
    /// When the table refuses them.
    pub async fn put_events(&self, tenant: &str, events: &[Event]) -> Result<()> {
        let puts = events.iter().map(|event| PutRequest::builder().set_item(Some(event.item(tenant))).build());
        let writes = puts.map(|put| Ok(WriteRequest::builder().put_request(put?).build()));
        self.write(Table::Events, writes.collect::<Result<_>>()?).await
    }

    /// Puts an item as it is, well-formed or not.
    ///
    /// # Errors
    /// When the table refuses it.
    pub async fn put_item(&self, table: Table, item: Item) -> Result<()> {
        self.dynamodb.put_item().table_name(self.name(table)).set_item(Some(item)).send().await?;
        Ok(())
    }

    /// The items under a hash key, in order: a tenant's records, or the events of a tenant's shard.
    ///
    /// # Errors
    /// When the table can't be read.
    pub async fn items(&self, table: Table, hash_key: &str) -> Result<Vec<Item>> {
        let query = self.dynamodb.query().table_name(self.name(table)).consistent_read(true);
        let query =
            query.key_condition_expression("#hash = :hash").expression_attribute_names("#hash", table.keys()[0]);
        let query = query.expression_attribute_values(":hash", AttributeValue::S(hash_key.to_owned()));
        let items = query.into_paginator().items().send();
        Ok(items.collect::<Result<_, _>>().await?)
    }

    /// One of a tenant's records; empty if there is none.
    ///
    /// # Errors
    /// When the table can't be read.
    pub async fn record(&self, tenant: &str, record: &str) -> Result<Item> {
        let [hash, range] = Table::Tenants.keys();
        let get = self.dynamodb.get_item().table_name(self.name(Table::Tenants)).consistent_read(true);
        let get = get.key(hash, AttributeValue::S(tenant.to_owned()));
        let get = get.key(range, AttributeValue::S(record.to_owned()));
        Ok(get.send().await?.item.unwrap_or_default())
    }

    /// Deletes all items of both tables, so that one deployment serves many tests.
    ///
    /// # Errors
    /// When a table refuses.
    pub async fn clear(&self) -> Result<()> {
        self.clear_table(Table::Tenants).await?;
        self.clear_table(Table::Events).await
    }

    /// Deletes all items of a table.
    ///
    /// # Errors
    /// When the table refuses.
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
        let batches = stream::iter(writes.chunks(BATCH).map(<[_]>::to_vec)).map(Ok);
        batches.try_for_each_concurrent(CONCURRENT_BATCHES, |batch| self.write_batch(table, batch)).await
    }

    /// Writes one batch, and again what the table has left unprocessed, until nothing is left.
    async fn write_batch(&self, table: Table, mut batch: Vec<WriteRequest>) -> Result<()> {
        let table = self.name(table);
        while !batch.is_empty() {
            let answer = self.dynamodb.batch_write_item().request_items(table, batch).send().await?;
            batch = answer.unprocessed_items.and_then(|mut left| left.remove(table)).unwrap_or_default();
        }
        Ok(())
    }
}
