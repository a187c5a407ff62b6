//! Erases a tenant from both tables, for an operator.

use audit_log_core::{
    failure::Failure,
    ports::{Conditional, Erased, Erasure, EventsPart, Inventory, Tenants},
    tenant::TenantId,
    timestamp,
};
use aws_sdk_dynamodb::types::{Delete, DeleteRequest, Put, TransactWriteItem, WriteRequest};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{MAX_ATTEMPTS, TenantsTable, is_at_version, lease_is_free, pause, still_busy, transact, write};
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

/// More would only be throttled: a partition takes 1,000 writes a second (by "DynamoDB burst and adaptive capacity" in the
/// DynamoDB developer guide).
const CONCURRENT_CALLS: usize = 4;

fn partition(tenant: &TenantId, part: EventsPart) -> String {
    match part {
        EventsPart::Shard(shard) => format!("{tenant}#{shard}"),
        EventsPart::Markers(byte) => format!("{tenant}#id#{byte:02x}"),
    }
}

impl TenantsTable {
    /// Deletes the items of these keys.
    async fn delete_all(&self, table: &str, keys: Vec<Item>) -> Result<(), Failure> {
        let calls = keys.chunks(MAX_WRITES_PER_CALL).map(<[Item]>::to_vec);
        let calls = stream::iter(calls).map(|keys| self.delete_batch(table, keys));
        calls.buffer_unordered(CONCURRENT_CALLS).try_collect().await
    }

    async fn delete_batch(&self, table: &str, keys: Vec<Item>) -> Result<(), Failure> {
        const DOING: &str = "a tenant was erased";
        // `build` can't fail: a request has its only required field.
        let delete = |key| DeleteRequest::builder().set_key(Some(key)).build().ok();
        let mut writes: Vec<WriteRequest> =
            keys.into_iter().map(|key| WriteRequest::builder().set_delete_request(delete(key)).build()).collect();
        let mut attempt = 0;
        while !writes.is_empty() {
            let sent = writes.len();
            let output = self.client.batch_write_item().request_items(table, writes).send().await;
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

    async fn begin_erasure(&self, tenant: &TenantId, version: u64, now: DateTime<Utc>) -> Result<Conditional, Failure> {
        let mut config = key(tenant, "config");
        config.extend([("version".to_owned(), n(version + 1)), (ERASING.to_owned(), s(timestamp::seconds(now)))]);
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
        Ok(transact(&self.client, &items, "the erasure of a tenant was begun").await?.into())
    }

    async fn count(&self, tenant: &TenantId, part: EventsPart) -> Result<u64, Failure> {
        self.events.count(&partition(tenant, part)).await
    }

    async fn erase_some(&self, tenant: &TenantId, part: EventsPart) -> Result<Erased, Failure> {
        let (keys, more) = self.events.first_keys(&partition(tenant, part)).await?;
        let items = keys.len() as u64;
        self.delete_all(self.events.name(), keys).await?;
        Ok(Erased { items, more })
    }

    async fn erase_records(&self, tenant: &TenantId, names: &[String]) -> Result<(), Failure> {
        self.delete_all(&self.table, names.iter().map(|name| key(tenant, name)).collect()).await
    }

    async fn end_erasure(&self, tenant: &TenantId) -> Result<Conditional, Failure> {
        let delete = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .condition_expression(format!("attribute_exists({ERASING})"));
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
        assert!(waiting.contains(&"outbox") && waiting.iter().all(|name| PENDING.contains(name)), "{waiting:?}");
    }
}
