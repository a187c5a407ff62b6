//! Erases a tenant from both tables, for an operator.

use std::collections::HashMap;

use audit_log_core::{
    failure::Failure,
    ports::{Begun, Conditional, Erased, Erasure, EventsPart, Inventory, Tenants},
    tenant::TenantId,
    timestamp,
};
use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, DeleteRequest, Put, TransactWriteItem, WriteRequest,
};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    MAX_ATTEMPTS, TenantsTable, TransactionResult, is_at_version, lease_is_free, pause, still_busy, transact, write,
};
use crate::{
    attributes::{Item, key, n, s, text},
    errors::AwsError,
};

/// The records that may wait for a run. While they do, they have the attribute `pending_shard`.
const PENDING: [&str; 3] = ["outbox", "final_delivery", "replay"];

/// The attribute of a config that only says that an erasure has begun.
pub(super) const ERASING: &str = "erasing_since";

/// By "BatchWriteItem" in the DynamoDB API reference.
const MAX_WRITES_PER_CALL: usize = 25;

/// By "TransactWriteItems" in the DynamoDB API reference, 100 at most; one is the condition.
const MAX_DELETES_PER_TRANSACTION: usize = 99;

/// More would only be throttled: a partition takes 1,000 writes a second (by "DynamoDB burst and adaptive capacity" in the
/// DynamoDB developer guide).
const CONCURRENT_CALLS: usize = 4;

fn partition(tenant: &TenantId, part: EventsPart) -> String {
    match part {
        EventsPart::Shard(shard) => format!("{tenant}#{shard}"),
        EventsPart::Markers(byte) => format!("{tenant}#id#{byte:02x}"),
    }
}

const DOING: &str = "a tenant was erased";

/// The attributes of the config of an erasure, besides its key.
fn mark(Begun { version, since }: Begun) -> [(&'static str, AttributeValue); 2] {
    [("version", n(version)), (ERASING, s(timestamp::seconds(since)))]
}

/// The condition that a config is that of an erasure; `#version` is the name of `version`.
fn is_marked(begun: Begun) -> (String, HashMap<String, AttributeValue>) {
    let values = mark(begun).map(|(name, value)| (format!(":{name}"), value));
    (format!("#version = :version AND {ERASING} = :{ERASING}"), values.into())
}

impl TenantsTable {
    /// Whether the stored config is that of this erasure.
    async fn goes_on(&self, tenant: &TenantId, begun: Begun) -> Result<bool, Failure> {
        let config = self.items(&[key(tenant, "config")], DOING).await?.pop().unwrap_or_default();
        Ok(mark(begun).iter().all(|(name, value)| config.get(*name) == Some(value)))
    }

    /// Deletes events or markers.
    async fn delete_all(&self, keys: Vec<Item>) -> Result<(), Failure> {
        let calls = keys.chunks(MAX_WRITES_PER_CALL).map(<[Item]>::to_vec);
        let calls = stream::iter(calls).map(|keys| self.delete_batch(keys));
        calls.buffer_unordered(CONCURRENT_CALLS).try_collect().await
    }

    async fn delete_batch(&self, keys: Vec<Item>) -> Result<(), Failure> {
        // `build` can't fail: a request has its only required field.
        let delete = |key| DeleteRequest::builder().set_key(Some(key)).build().ok();
        let mut writes: Vec<WriteRequest> =
            keys.into_iter().map(|key| WriteRequest::builder().set_delete_request(delete(key)).build()).collect();
        let mut attempt = 0;
        while !writes.is_empty() {
            let sent = writes.len();
            let output = self.client.batch_write_item().request_items(self.events.name(), writes).send().await;
            let output = output.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(DOING))?;
            // DynamoDB may leave requests for another call.
            writes = output.unprocessed_items.unwrap_or_default().into_values().flatten().collect();
            attempt = if writes.len() < sent { 0 } else { attempt + 1 };
            if attempt >= MAX_ATTEMPTS {
                return Err(still_busy(DOING));
            }
            if !writes.is_empty() {
                pause(attempt + 1).await;
            }
        }
        Ok(())
    }
}

impl Erasure for TenantsTable {
    async fn inventory(&self, tenant: &TenantId) -> Result<Inventory, Failure> {
        let records = self.load_one(tenant).await?;
        let mut inventory = Inventory { records, ..Inventory::default() };
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant")
            .expression_attribute_values(":tenant", s(tenant.as_str()))
            .projection_expression(format!("#record, pending_shard, {ERASING}, exported_until, final_delivered_until"))
            .expression_attribute_names("#record", "record")
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        while let Some(item) = items.next().await {
            let item =
                item.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("a tenant's records were listed"))?;
            let name = text(&item, "record").unwrap_or_default();
            if item.contains_key("pending_shard") {
                inventory.pending.push(name.clone());
            }
            if name == "watermark" {
                inventory.delivered_until = text(&item, "exported_until").max(text(&item, "final_delivered_until"));
            }
            if item.contains_key(ERASING) {
                inventory.begun = true;
            } else {
                inventory.names.push(name);
            }
        }
        Ok(inventory)
    }

    async fn begin_erasure(
        &self,
        tenant: &TenantId,
        version: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Begun>, Failure> {
        let begun = Begun { version: version + 1, since: timestamp::whole_seconds(now) };
        let mut config = key(tenant, "config");
        config.extend(mark(begun).map(|(name, value)| (name.to_owned(), value)));
        let config = Put::builder()
            .table_name(&self.table)
            .set_item(Some(config))
            .condition_expression(is_at_version(version))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(version));
        let (lease_is_free, values) = lease_is_free(now);
        let watermark = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .condition_expression(format!("attribute_not_exists(due_shard) AND ({lease_is_free})"))
            .set_expression_attribute_values(Some(values.into_iter().collect()));
        let pending = PENDING.map(|record| {
            Delete::builder()
                .table_name(&self.table)
                .set_key(Some(key(tenant, record)))
                .condition_expression("attribute_not_exists(pending_shard)")
        });
        let deletes = [watermark].into_iter().chain(pending);
        let deletes = deletes.map(|delete| TransactWriteItem::builder().set_delete(delete.build().ok()).build());
        // `build` can't fail: all have all required fields. Without one, DynamoDB would refuse the whole transaction.
        let put = TransactWriteItem::builder().set_put(config.build().ok()).build();
        let items: Vec<_> = [put].into_iter().chain(deletes).collect();
        let written = transact(&self.client, &items, "the erasure of a tenant was begun").await?;
        Ok(matches!(written, TransactionResult::Written).then_some(begun))
    }

    async fn count(&self, tenant: &TenantId, part: EventsPart) -> Result<u64, Failure> {
        self.events.count(&partition(tenant, part)).await
    }

    async fn erase_some(&self, tenant: &TenantId, begun: Begun, part: EventsPart) -> Result<Option<Erased>, Failure> {
        let (keys, more) = self.events.first_keys(&partition(tenant, part)).await?;
        let items = keys.len() as u64;
        // Read after the keys: as long as the erasure goes on, nobody has connected the tenant, so no key is that of an event of
        // a tenant that came back. An event's key has the time of its recording, so a later event has another.
        if items > 0 && !self.goes_on(tenant, begun).await? {
            return Ok(None);
        }
        self.delete_all(keys).await?;
        Ok(Some(Erased { items, more }))
    }

    async fn erase_records(&self, tenant: &TenantId, begun: Begun, names: &[String]) -> Result<Conditional, Failure> {
        let (condition, values) = is_marked(begun);
        let goes_on = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .condition_expression(condition)
            .expression_attribute_names("#version", "version")
            .set_expression_attribute_values(Some(values));
        // `build` can't fail: all have all required fields. Without one, DynamoDB would refuse the whole transaction.
        let goes_on = TransactWriteItem::builder().set_condition_check(goes_on.build().ok()).build();
        let names: Vec<&String> = names.iter().filter(|name| *name != "config").collect();
        if names.is_empty() && !self.goes_on(tenant, begun).await? {
            return Ok(Conditional::ConditionFailed);
        }
        for names in names.chunks(MAX_DELETES_PER_TRANSACTION) {
            let deletes = names.iter().map(|name| {
                let delete = Delete::builder().table_name(&self.table).set_key(Some(key(tenant, name)));
                TransactWriteItem::builder().set_delete(delete.build().ok()).build()
            });
            let items: Vec<_> = [goes_on.clone()].into_iter().chain(deletes).collect();
            if let TransactionResult::ConditionFailed(_) = transact(&self.client, &items, DOING).await? {
                return Ok(Conditional::ConditionFailed);
            }
        }
        Ok(Conditional::Written)
    }

    async fn end_erasure(&self, tenant: &TenantId, begun: Begun) -> Result<Conditional, Failure> {
        let (condition, values) = is_marked(begun);
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .condition_expression(condition)
            .expression_attribute_names("#version", "version")
            .set_expression_attribute_values(Some(values));
        write("the erasure of a tenant was ended", || delete.clone().send()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_documented_record_that_waits_for_a_run_keeps_its_tenant_from_being_erased() {
        let rows = include_str!("../../../../docs/data-model.md").lines().filter(|line| line.starts_with("| `"));
        let waiting = rows.filter(|row| row.contains("`pending_shard` S")).filter_map(|row| row.split('`').nth(1));
        let waiting: Vec<&str> = waiting.collect();
        assert!(["outbox", "final_delivery", "replay"].iter().all(|name| waiting.contains(name)), "{waiting:?}");
        assert!(waiting.iter().all(|name| PENDING.contains(name)), "{waiting:?}");
    }
}
