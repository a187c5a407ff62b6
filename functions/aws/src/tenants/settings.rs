//! Implements the console's port: settings, the connector, receipts and slots.

use audit_log_core::{
    failure::Failure,
    new_event::NewEvent,
    outbox::Announcement,
    ports::{Conditional, Repairs, Rotations, Settings, SlotKind, Tenants, being_erased},
    records::{Replay, StoredReceipt, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::TenantConfig,
    setup_draft::SetupDraft,
    tenant::{ExternalId, ExternalIds, RoleArn, TenantId},
    timestamp,
};
use aws_sdk_dynamodb::types::{ConditionCheck, TransactWriteItem, Update};
use chrono::{DateTime, TimeDelta, Utc};

use super::{TenantsTable, erasure::ERASING, is_at_version, watermark_unchanged, write};
use crate::{
    attributes::{self, SETUP_DRAFT, key, n, s, text},
    errors::AwsError,
};

/// How long a count of slots is stored. It is of no use once its period is over.
const SLOTS_RETENTION: TimeDelta = TimeDelta::days(1);

/// The condition that a tenant has no watermark. Its record may exist and hold a lease.
const NO_WATERMARK: &str = "attribute_not_exists(exported_until)";

/// The condition that nothing was stored in any place, and that no run may be storing anything. What a run has stored of a final
/// delivery that it goes on with is in another record, whose revision the write is conditional on.
const NOTHING_STORED: &str = "attribute_not_exists(lease) AND attribute_not_exists(checkpoint) AND \
    attribute_not_exists(last_success_at) AND attribute_not_exists(trailing_counts) AND attribute_not_exists(manifest_sha256) AND \
    attribute_not_exists(final_delivered_until)";

impl Settings for TenantsTable {
    async fn records(&self, tenant: &TenantId) -> Result<TenantRecords, Failure> {
        self.load_one(tenant).await
    }

    async fn external_id(
        &self,
        tenant: &TenantId,
        candidate: &ExternalId,
        viewed: &NewEvent,
    ) -> Result<String, Failure> {
        // Write only if there is none yet, since writes conflict with the transactions of saves and exports.
        if self.load_one(tenant).await?.config.is_none_or(|config| config.external_id.is_none()) {
            let update = Update::builder()
                .table_name(&self.table)
                .set_key(Some(key(tenant, "config")))
                .update_expression("SET external_id = :candidate")
                .condition_expression(format!("attribute_not_exists(external_id) AND attribute_not_exists({ERASING})"))
                .expression_attribute_values(":candidate", s(candidate.as_str()));
            let items = vec![TransactWriteItem::builder().set_update(update.build().ok()).build()];
            let viewed = Announcement::silent(viewed.clone());
            // If another request wrote one first, that one is read below.
            let _ = self.transact_and_announce(items, Some(&viewed), "the external ID was created").await?;
        }
        let config = self.load_one(tenant).await?.config;
        config.and_then(|config| config.external_id).ok_or_else(being_erased)
    }

    async fn store_role(
        &self,
        tenant: &TenantId,
        role: Option<&RoleArn>,
        version: u64,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        let change = if role.is_some() { "role_arn = :role, #version = :next" } else { "#version = :next" };
        let removal = if role.is_some() { "" } else { " REMOVE role_arn" };
        let config = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .update_expression(format!("SET {change}{removal}"))
            .condition_expression(format!("attribute_exists(external_id) AND ({})", is_at_version(version)))
            .expression_attribute_names("#version", "version")
            .set_expression_attribute_values(role.map(|role| [(":role".to_owned(), s(role.as_str()))].into()))
            .expression_attribute_values(":version", n(version))
            .expression_attribute_values(":next", n(version + 1));
        let no_watermark = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .condition_expression(NO_WATERMARK);
        let items = vec![
            TransactWriteItem::builder().set_update(config.build().ok()).build(),
            TransactWriteItem::builder().set_condition_check(no_watermark.build().ok()).build(),
        ];
        self.transact_and_announce(items, Some(announcement), "the role was saved").await
    }

    async fn save_setup_draft(
        &self,
        tenant: &TenantId,
        version: u64,
        draft: &SetupDraft,
    ) -> Result<Conditional, Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .update_expression("SET #draft = :draft")
            // A tenant that is being erased has none.
            .condition_expression(format!("attribute_exists(external_id) AND ({})", is_at_version(version)))
            .expression_attribute_names("#draft", SETUP_DRAFT)
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(version))
            .expression_attribute_values(":draft", attributes::setup_draft_map(draft));
        write("a setup was saved", || update.clone().send()).await
    }

    async fn save(
        &self,
        config: &TenantConfig,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
        is_verified: bool,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        let (mut condition, values) = match as_read {
            Some(as_read) => watermark_unchanged(as_read),
            None => (NO_WATERMARK.to_owned(), Vec::new()),
        };
        let StoredWatermark { exported_until, next_due, due_shard, .. } =
            StoredWatermark::connected(&config.tenant, schedule);
        if as_read.is_some_and(|as_read| as_read.exported_until != exported_until) {
            condition.extend([" AND ", NOTHING_STORED]);
        }
        let saved_at = announcement.event.stamp.at;
        let watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "watermark")))
            .update_expression(
                "SET exported_until = :until, next_due = :due, due_shard = :shard, backoff_reset_at = :saved",
            )
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()))
            .expression_attribute_values(":until", s(exported_until.unwrap_or_default()))
            .expression_attribute_values(":due", s(next_due.unwrap_or_default()))
            .expression_attribute_values(":shard", s(due_shard.unwrap_or_default()))
            .expression_attribute_values(":saved", s(timestamp::seconds(saved_at)));
        let settings = attributes::settings(config, config.version + 1, is_verified, saved_at);
        let (set, left_out): (Vec<_>, Vec<_>) = settings.into_iter().partition(|(_, value)| value.is_some());
        let names = set.iter().chain(&left_out).map(|(name, _)| (format!("#{name}"), (*name).to_owned())).collect();
        let values = set.iter().filter_map(|(name, value)| Some((format!(":new_{name}"), value.clone()?))).collect();
        let set: Vec<String> = set.iter().map(|(name, _)| format!("#{name} = :new_{name}")).collect();
        let remove: Vec<String> = left_out.iter().map(|(name, _)| format!(", #{name}")).collect();
        let remove = format!(" REMOVE #draft{}", remove.concat());
        let settings = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "config")))
            // Only a rotation replaces a stored external ID, and one may be completed meanwhile.
            .update_expression(format!(
                "SET external_id = if_not_exists(external_id, :external_id), {}{remove}",
                set.join(", ")
            ))
            // An operator raises event_shards by hand, and this save must not lower it.
            .condition_expression(format!(
                "({}) AND attribute_not_exists({ERASING}) AND \
                 (attribute_not_exists(event_shards) OR event_shards <= :new_event_shards)",
                is_at_version(config.version)
            ))
            .set_expression_attribute_names(Some(names))
            .expression_attribute_names("#draft", SETUP_DRAFT)
            .set_expression_attribute_values(Some(values))
            .expression_attribute_values(":external_id", s(config.external_id.as_str()))
            .expression_attribute_values(":version", n(config.version));
        let items = vec![
            TransactWriteItem::builder().set_update(watermark.build().ok()).build(),
            TransactWriteItem::builder().set_update(settings.build().ok()).build(),
        ];
        self.transact_and_announce(items, Some(announcement), "the settings were saved").await
    }

    async fn disconnect(
        &self,
        tenant: &TenantId,
        version: u64,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        let watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression("REMOVE due_shard, signing_failed_since")
            .condition_expression("attribute_exists(due_shard)");
        let config = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .update_expression("SET #version = :next")
            .condition_expression(format!("attribute_exists(tenant_id) AND ({})", is_at_version(version)))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(version))
            .expression_attribute_values(":next", n(version + 1));
        let items =
            [watermark, config].map(|update| TransactWriteItem::builder().set_update(update.build().ok()).build());
        self.transact_and_announce(items.to_vec(), Some(announcement), "a tenant was disconnected").await
    }

    async fn receipts(
        &self,
        tenant: &TenantId,
        before: Option<DateTime<Utc>>,
        limit: usize,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        // '$' follows '#', so this sorts after every receipt.
        let before = before.map_or_else(|| "export$".to_owned(), attributes::receipt_record);
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("tenant_id = :tenant AND #record BETWEEN :first AND :before")
            .expression_attribute_names("#record", "record")
            .expression_attribute_values(":tenant", s(tenant.as_str()))
            .expression_attribute_values(":first", s("export#"))
            .expression_attribute_values(":before", s(&before))
            .scan_index_forward(false)
            .into_paginator()
            .page_size(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .items()
            .send();
        let mut receipts = Vec::new();
        while receipts.len() < limit
            && let Some(item) = pages.next().await
        {
            let item = item.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("the receipts were read"))?;
            if text(&item, "record").is_some_and(|record| record != before) {
                receipts.extend(attributes::stored_receipt(&item));
            }
        }
        Ok(receipts)
    }

    async fn replayed_receipts(
        &self,
        tenant: &TenantId,
        first: DateTime<Utc>,
        last: DateTime<Utc>,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        self.replayed_receipts_between(tenant, first, last).await
    }

    async fn request_replay(
        &self,
        tenant: &TenantId,
        after: &Replay,
        announcement: Option<&Announcement>,
    ) -> Result<Conditional, Failure> {
        self.store_replay_request(tenant, after, announcement).await
    }

    async fn take_slot(
        &self,
        tenant: &TenantId,
        kind: SlotKind,
        since: DateTime<Utc>,
        max: u32,
    ) -> Result<bool, Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, &kind.record(since))))
            .update_expression("SET expires_at = :expires ADD taken :one")
            .condition_expression("attribute_not_exists(taken) OR taken < :max")
            .expression_attribute_values(":expires", n((since + SLOTS_RETENTION).timestamp()))
            .expression_attribute_values(":max", n(max))
            .expression_attribute_values(":one", n(1));
        Ok(write("a slot was taken", || update.clone().send()).await? == Conditional::Written)
    }
}

impl Repairs for TenantsTable {
    async fn reset_backoff(&self, tenant: &TenantId, at: DateTime<Utc>) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression("SET backoff_reset_at = :at")
            .condition_expression("attribute_exists(failing_since)")
            .expression_attribute_values(":at", s(timestamp::seconds(at)));
        // A tenant that doesn't fail has no backoff.
        write("the backoff was reset", || update.clone().send()).await.map(|_| ())
    }

    async fn mark_verified(&self, tenant: &TenantId, version: u64) -> Result<Conditional, Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .update_expression("SET verified_version = :version")
            // The config of a tenant that is being erased has a version, too.
            .condition_expression(format!("attribute_exists(role_arn) AND ({})", is_at_version(version)))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(version));
        write("a verification was noted", || update.clone().send()).await
    }
}

impl Rotations for TenantsTable {
    async fn replace_external_ids(
        &self,
        tenant: &TenantId,
        as_read: &ExternalIds,
        after: &ExternalIds,
        role: Option<&RoleArn>,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        let values = [
            (":read", Some(as_read.current.as_str())),
            (":read_pending", as_read.pending.as_ref().map(ExternalId::as_str)),
            (":after", Some(after.current.as_str())),
            (":after_pending", after.pending.as_ref().map(ExternalId::as_str)),
            (":role", role.map(RoleArn::as_str)),
        ];
        let values = values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), s(value?)))).collect();
        let no_other_role = role.map_or("", |_| " AND (attribute_not_exists(role_arn) OR role_arn = :role)");
        let is_pending = match as_read.pending {
            Some(_) => "pending_external_id = :read_pending",
            None => "attribute_not_exists(pending_external_id)",
        };
        let pending = match after.pending {
            Some(_) => ", pending_external_id = :after_pending",
            None => " REMOVE pending_external_id",
        };
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .update_expression(format!("SET external_id = :after{pending}"))
            .condition_expression(format!("external_id = :read AND {is_pending}{no_other_role}"))
            .set_expression_attribute_values(Some(values));
        let items = vec![TransactWriteItem::builder().set_update(update.build().ok()).build()];
        self.transact_and_announce(items, Some(announcement), "the external ID was rotated").await
    }
}
