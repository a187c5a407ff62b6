//! Implements the export's port: due tenants, leases, watermarks and receipts.

use std::collections::HashMap;

use audit_log_core::{
    failure::{Code, Failure},
    lease::Lease,
    outbox::Outbox,
    ports::{
        Acquisition, Commit, Conditional, Due, FailureRecord, Fence, FinalDeliveryWrite, Purpose, ReplayWrite, Tenants,
    },
    records::{Location, StoredReceipt, TenantRecords},
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};
use aws_sdk_dynamodb::{
    operation::update_item::UpdateItemError,
    types::{ConditionCheck, Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};
use chrono::{DateTime, SubsecRound as _, Utc};

use super::{
    TenantsTable, fence_holds, fence_holds_while_connected, final_deliveries, is_at_version, lease_is_free, replays,
    watermark_unchanged, write, write_with_output,
};
use crate::{
    attributes::{self, Item, key, n, s, text},
    errors::AwsError,
};

impl TenantsTable {
    fn config_is_at_version_of(&self, config: &TenantConfig) -> TransactWriteItem {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "config")))
            .condition_expression(format!("attribute_exists(tenant_id) AND ({})", is_at_version(config.version)))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(config.version));
        TransactWriteItem::builder().set_condition_check(check.build().ok()).build()
    }
}

impl Tenants for TenantsTable {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<Due>, Failure> {
        let query = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("due_shard = :shard AND next_due <= :tick")
            .expression_attribute_values(":shard", s(shard.to_string()))
            .expression_attribute_values(":tick", s(timestamp::seconds(tick)));
        self.query_due_index(query, "the due tenants were read").await
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        let output = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_shard = :shard")
            .expression_attribute_values(":shard", s(shard.to_string()))
            .limit(1)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("the connected tenants were read"))?;
        Ok(output.count() > 0)
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        const RECORDS: [&str; 5] = ["config", "watermark", "outbox", final_deliveries::RECORD, replays::RECORD];
        let keys = |tenant| RECORDS.map(|record| key(tenant, record));
        let keys: Vec<Item> = tenants.iter().flat_map(keys).collect();
        let mut records: HashMap<String, TenantRecords> = HashMap::new();
        for item in self.items(&keys, "the tenants' records were read").await? {
            let record = records.entry(text(&item, "tenant_id").unwrap_or_default()).or_default();
            match text(&item, "record").as_deref() {
                Some("config") => {
                    record.config = Some(attributes::draft(&item));
                    record.setup_draft = attributes::setup_draft(&item);
                    record.verified_version = attributes::verified_version(&item);
                }
                Some("watermark") => {
                    record.watermark = attributes::watermark(&item);
                    record.health = attributes::health(&item);
                    record.lease = attributes::lease(&item);
                }
                Some("outbox") => {
                    record.has_notifications = attributes::entries(&item).is_some_and(|entries| !entries.is_empty());
                }
                Some(final_deliveries::RECORD) => record.final_deliveries = final_deliveries::final_deliveries(&item),
                Some(replays::RECORD) => {
                    record.replay_revision = attributes::replay_revision(&item);
                    record.replay = attributes::stored_replay(&item);
                    if record.replay.is_none() {
                        tracing::error!(
                            tenant = text(&item, "tenant_id"),
                            "unreadable replay; a new request replaces it"
                        );
                    }
                }
                _ => {}
            }
        }
        Ok(tenants.iter().map(|id| (id.clone(), records.remove(id.as_str()).unwrap_or_default())).collect())
    }

    async fn redeliveries(&self) -> Result<Vec<String>, Failure> {
        self.pending_redeliveries().await
    }

    async fn write_final_deliveries(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        write: FinalDeliveryWrite<'_>,
    ) -> Result<Conditional, Failure> {
        self.replace_final_deliveries(tenant, lease, write).await
    }

    async fn write_replay(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        write: ReplayWrite<'_>,
    ) -> Result<Conditional, Failure> {
        self.replace_replay(tenant, lease, write).await
    }

    async fn receipts_after(
        &self,
        tenant: &TenantId,
        after: DateTime<Utc>,
        most: usize,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        self.export_receipts_after(tenant, after, most).await
    }

    async fn replayed_receipt(
        &self,
        tenant: &TenantId,
        window_end: DateTime<Utc>,
        location: &Location,
    ) -> Result<Option<StoredReceipt>, Failure> {
        self.last_replayed_receipt(tenant, window_end, location).await
    }

    async fn acquire_lease(
        &self,
        tenant: &TenantId,
        purpose: Purpose<'_>,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> Result<Acquisition, Failure> {
        // In milliseconds, as `lease_until` is, so that this condition and `excludes_others` agree.
        let now = now.trunc_subsecs(3);
        let (is_free, lease_values) = lease_is_free(now);
        let is_free = format!("{is_free} OR lease = :lease");
        let (condition, values) = match purpose {
            Purpose::Export(as_read) => {
                let (condition, values) = watermark_unchanged(as_read);
                (format!("({is_free}) AND {condition}"), values)
            }
            Purpose::Publish | Purpose::Redelivery => (is_free, Vec::new()),
        };
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression("SET lease = :lease, lease_until = :until")
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().chain(lease_values).collect()))
            .expression_attribute_values(":lease", s(&lease.token))
            .expression_attribute_values(":until", n(lease.until.timestamp_millis()))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match write_with_output("a lease was acquired", || update.clone().send()).await? {
            Ok(output) => {
                let item = output.attributes.unwrap_or_default();
                let watermark = attributes::watermark(&item).unwrap_or_default();
                Ok(Acquisition::Acquired(watermark, attributes::health(&item)))
            }
            Err(error) => {
                let item = match error.into_service_error() {
                    UpdateItemError::ConditionalCheckFailedException(failed) => failed.item,
                    _ => None,
                };
                let held = item.as_ref().and_then(attributes::lease).filter(|held| held.token != lease.token);
                let held = held.filter(|held| held.excludes_others(now));
                Ok(held.map_or(Acquisition::ConditionFailed, |held| Acquisition::HeldUntil(held.until)))
            }
        }
    }

    async fn release_lease(&self, tenant: &TenantId, lease: &Lease) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression("REMOVE lease, lease_until")
            .condition_expression("lease = :lease")
            .expression_attribute_values(":lease", s(&lease.token));
        write("a lease was released", || update.clone().send()).await.map(|_| ())
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        Commit { after, receipt, announcement, releases }: Commit<'_>,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = fence_holds_while_connected(fence);
        let last_key = receipt.objects.last().map(|object| object.key.as_str()).unwrap_or_default();
        let mut set = "exported_until = :until, next_due = :due, last_success_at = :at, last_object_key = :key, \
                       consecutive_failures = :none, trailing_counts = :counts"
            .to_owned();
        let (mut removed, mut set_values) = (vec!["checkpoint", "failing_since", "backoff_reset_at"], Vec::new());
        if releases {
            removed.extend(["lease", "lease_until"]);
        }
        if receipt.signing_failure.is_none() {
            removed.push("signing_failed_since");
        }
        if let Some(manifest) = &receipt.manifest {
            set.push_str(", manifest_sha256 = :manifest");
            set_values.push((":manifest".to_owned(), s(&manifest.sha256)));
        }
        match receipt.loss() {
            None => removed.extend(attributes::FAILURE_ATTRIBUTES),
            Some(loss) => {
                let (error, values) = attributes::failure(&loss, receipt.exported_at);
                set = format!("{set}, {error}");
                set_values.extend(values);
            }
        }
        let watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "watermark")))
            .update_expression(format!("SET {set} REMOVE {}", removed.join(", ")))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().chain(set_values).collect()))
            .expression_attribute_values(":until", s(timestamp::seconds(after.exported_until)))
            .expression_attribute_values(":due", s(timestamp::seconds(after.next_due)))
            .expression_attribute_values(":at", s(timestamp::seconds(receipt.exported_at)))
            .expression_attribute_values(":key", s(last_key))
            .expression_attribute_values(":none", n(0))
            .expression_attribute_values(":counts", s(receipt.trailing_counts.to_text()));
        let put = Put::builder().table_name(&self.table).set_item(Some(attributes::receipt(&config.tenant, receipt)));
        // `build` can't fail: all have all required fields. Without one, DynamoDB would refuse the whole transaction.
        let items = vec![
            TransactWriteItem::builder().set_update(watermark.build().ok()).build(),
            self.config_is_at_version_of(config),
            TransactWriteItem::builder().set_put(put.build().ok()).build(),
        ];
        self.transact_and_announce(items, announcement, "the watermark was moved").await
    }

    async fn save_checkpoint(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        checkpoint: &str,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = fence_holds_while_connected(fence);
        let watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "watermark")))
            .update_expression("SET checkpoint = :checkpoint")
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()))
            .expression_attribute_values(":checkpoint", s(checkpoint));
        let items = vec![
            TransactWriteItem::builder().set_update(watermark.build().ok()).build(),
            self.config_is_at_version_of(config),
        ];
        self.transact_and_announce(items, None, "a checkpoint was saved").await
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        fence: Fence<'_>,
        FailureRecord { failure, at, announcement, releases }: FailureRecord<'_>,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = fence_holds(fence);
        let (set, error) = attributes::failure(failure, at);
        let mut removed = if releases { vec!["lease", "lease_until"] } else { Vec::new() };
        let signing = if failure.code == Code::SigningFailed {
            ", signing_failed_since = if_not_exists(signing_failed_since, :last_error_at)"
        } else {
            removed.push("signing_failed_since");
            ""
        };
        let removed = if removed.is_empty() { String::new() } else { format!(" REMOVE {}", removed.join(", ")) };
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression(format!(
                "SET {set}, failing_since = if_not_exists(failing_since, :last_error_at){signing} ADD consecutive_failures :one{removed}"
            ))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().chain(error).collect()))
            .expression_attribute_values(":one", n(1));
        let items = vec![TransactWriteItem::builder().set_update(update.build().ok()).build()];
        self.transact_and_announce(items, announcement, "a failure was recorded").await
    }

    async fn outbox(&self, tenant: &TenantId) -> Result<Outbox, Failure> {
        let item = self.outbox_item(tenant, "an outbox was read").await?;
        Ok(attributes::outbox(tenant, &item))
    }

    async fn remove_published(&self, tenant: &TenantId, as_read: &Outbox, ids: &[String]) -> Result<(), Failure> {
        self.remove_entries(tenant, as_read, ids).await
    }
}
