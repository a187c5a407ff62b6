//! The record `replay`, and the receipts that a replay reads and writes.

use audit_log_core::{
    failure::Failure,
    lease::Lease,
    outbox::Announcement,
    ports::{Conditional, ReplayWrite},
    records::{Location, REPLAYED_PREFIX, Replay, StoredReceipt},
    tenant::TenantId,
    timestamp,
};
use aws_sdk_dynamodb::types::{ConditionCheck, Put, TransactWriteItem};
use chrono::{DateTime, TimeDelta, Utc};

use super::{TenantsTable, erasure::ERASING, final_deliveries};
use crate::{
    attributes::{self, key, n, s},
    errors::AwsError,
};

pub(super) const RECORD: &str = "replay";

impl TenantsTable {
    /// The tenants of the index `pending` that have something to deliver again, once each.
    pub(super) async fn pending_redeliveries(&self) -> Result<Vec<String>, Failure> {
        let doing = "the pending final deliveries and replays were listed";
        self.pending_tenants(&[final_deliveries::RECORD, RECORD], doing).await
    }

    /// The put that replaces the record, on the condition that it has the revision before.
    fn put_replay(&self, tenant: &TenantId, after: &Replay) -> TransactWriteItem {
        let item = attributes::replay(tenant, RECORD, after);
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = match after.revision.saturating_sub(1) {
            0 => put.condition_expression("attribute_not_exists(revision)"),
            before => put.condition_expression("revision = :read").expression_attribute_values(":read", n(before)),
        };
        // `build` can't fail: the put has all required fields. Without one, DynamoDB would refuse the whole transaction.
        TransactWriteItem::builder().set_put(put.build().ok()).build()
    }

    pub(super) async fn replace_replay(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        ReplayWrite { after, receipt, announcement }: ReplayWrite<'_>,
    ) -> Result<Conditional, Failure> {
        let has_lease = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .condition_expression("lease = :lease")
            .expression_attribute_values(":lease", s(&lease.token));
        let mut items = vec![
            TransactWriteItem::builder().set_condition_check(has_lease.build().ok()).build(),
            self.put_replay(tenant, after),
        ];
        items.extend(receipt.map(|receipt| {
            let item = attributes::replayed_receipt(tenant, receipt);
            let put = Put::builder().table_name(&self.table).set_item(Some(item));
            TransactWriteItem::builder().set_put(put.build().ok()).build()
        }));
        self.transact_and_announce(items, announcement, "a replay was noted").await
    }

    pub(super) async fn store_replay_request(
        &self,
        tenant: &TenantId,
        after: &Replay,
        announcement: Option<&Announcement>,
    ) -> Result<Conditional, Failure> {
        let is_kept = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .condition_expression(format!("attribute_exists(tenant_id) AND attribute_not_exists({ERASING})"));
        let items = vec![
            TransactWriteItem::builder().set_condition_check(is_kept.build().ok()).build(),
            self.put_replay(tenant, after),
        ];
        self.transact_and_announce(items, announcement, "a replay was requested").await
    }

    pub(super) async fn export_receipts_after(
        &self,
        tenant: &TenantId,
        after: DateTime<Utc>,
        most: usize,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        // Windows end in whole seconds.
        let first = attributes::receipt_record(timestamp::whole_seconds(after) + TimeDelta::seconds(1));
        // '$' follows '#', so this sorts after every receipt.
        self.receipts_between(tenant, &first, "export$", Some(most)).await
    }

    pub(super) async fn replayed_receipts_between(
        &self,
        tenant: &TenantId,
        first: DateTime<Utc>,
        last: DateTime<Utc>,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        let [first, last] = [first, last].map(|end| format!("{REPLAYED_PREFIX}{}", timestamp::seconds(end)));
        // After each end comes '#' and a hash.
        self.receipts_between(tenant, &first, &format!("{last}$"), None).await
    }

    /// Reads the receipts whose records have names in a range, in the order of the names; consistently.
    async fn receipts_between(
        &self,
        tenant: &TenantId,
        first: &str,
        last: &str,
        most: Option<usize>,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        let mut items = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant AND #record BETWEEN :first AND :last")
            .expression_attribute_names("#record", "record")
            .expression_attribute_values(":tenant", s(tenant.as_str()))
            .expression_attribute_values(":first", s(first))
            .expression_attribute_values(":last", s(last))
            .consistent_read(true)
            .into_paginator()
            .page_size(most.and_then(|most| i32::try_from(most).ok()).unwrap_or(i32::MAX))
            .items()
            .send();
        let mut receipts = Vec::new();
        while most.is_none_or(|most| receipts.len() < most)
            && let Some(item) = items.next().await
        {
            let item = item.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("the receipts were read"))?;
            receipts.extend(attributes::stored_receipt(&item));
        }
        Ok(receipts)
    }

    pub(super) async fn last_replayed_receipt(
        &self,
        tenant: &TenantId,
        window_end: DateTime<Utc>,
        location: &Location,
    ) -> Result<Option<StoredReceipt>, Failure> {
        let record = attributes::replayed_record(window_end, location);
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key(tenant, &record)));
        let output = get.consistent_read(true).send().await;
        let output =
            output.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("a replay's receipt was read"))?;
        Ok(output.item.as_ref().and_then(attributes::stored_receipt))
    }
}
