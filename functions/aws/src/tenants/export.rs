//! The tenants table as the export sees it.

use std::collections::HashMap;

use audit_log_core::{
    failure::Failure,
    ports::{Conditional, Due, Tenants},
    record::NewEvent,
    records::{Doubt, Receipt, ReceiptDigest, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};
use chrono::{DateTime, Utc};

use super::{TenantsTable, at_version, unchanged, undisturbed, write};
use crate::{
    answers::Answer,
    attributes::{self, Item, key, n, s, text},
};

impl TenantsTable {
    fn config_is_at_version_of(&self, config: &TenantConfig) -> TransactWriteItem {
        let check = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "config")))
            .condition_expression(format!("attribute_exists(tenant_id) AND ({})", at_version(config.version)))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(config.version));
        TransactWriteItem::builder().set_condition_check(check.build().ok()).build()
    }
}

impl TenantsTable {
    async fn change_doubts(&self, tenant: &TenantId, how: &str, doubts: &[Doubt]) -> Result<(), Failure> {
        let marks = doubts.iter().map(ToString::to_string).collect();
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression(format!("{how} doubts :marks"))
            .condition_expression("attribute_exists(tenant_id)")
            .expression_attribute_values(":marks", AttributeValue::Ss(marks));
        write("a window was marked", || update.clone().send()).await.map(|_| ())
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
        self.listed(query, "the due tenants were read").await
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        let answer = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("due")
            .key_condition_expression("due_shard = :shard")
            .expression_attribute_values(":shard", s(shard.to_string()))
            .limit(1)
            .send()
            .await
            .map_err(|error| Answer::of(&error).from_dynamodb("the connected tenants were read"))?;
        Ok(answer.count() > 0)
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        let keys: Vec<Item> =
            tenants.iter().flat_map(|tenant| [key(tenant, "config"), key(tenant, "watermark")]).collect();
        let mut records: HashMap<String, TenantRecords> = HashMap::new();
        for item in self.items(&keys, "the tenants' records were read").await? {
            let record = records.entry(text(&item, "tenant_id").unwrap_or_default()).or_default();
            match text(&item, "record").as_deref() {
                Some("config") => record.config = Some(attributes::draft(&item)),
                Some("watermark") => {
                    record.watermark = Some(attributes::watermark(&item));
                    record.outcome = attributes::outcome(&item);
                    record.doubts = attributes::doubts(&item);
                }
                _ => {}
            }
        }
        Ok(tenants.iter().map(|id| (id.clone(), records.remove(id.as_str()).unwrap_or_default())).collect())
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        after: Schedule,
        receipt: &Receipt,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = undisturbed(as_read);
        let last_key = receipt.objects.last().map(|object| object.key.as_str()).unwrap_or_default();
        let mut watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "watermark")))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()))
            .expression_attribute_values(":until", s(timestamp::seconds(after.exported_until)))
            .expression_attribute_values(":due", s(timestamp::seconds(after.next_due)))
            .expression_attribute_values(":at", s(timestamp::seconds(receipt.exported_at)))
            .expression_attribute_values(":key", s(last_key))
            .expression_attribute_values(":tail", s(receipt.tail_text().unwrap_or_default()))
            .expression_attribute_values(":none", n(0));
        let moved = "exported_until = :until, next_due = :due, last_success_at = :at, last_object_key = :key, \
                     consecutive_failures = :none, tail = :tail";
        let ended = "progress, failing_since, renewed_at";
        watermark = match receipt.loss() {
            None => {
                let error = attributes::ERROR.join(", ");
                watermark.update_expression(format!("SET {moved} REMOVE {ended}, {error}"))
            }
            Some(loss) => {
                let (set, values) = attributes::failure(&loss, receipt.exported_at);
                let watermark = watermark.update_expression(format!("SET {moved}, {set} REMOVE {ended}"));
                values
                    .into_iter()
                    .fold(watermark, |update, (name, value)| update.expression_attribute_values(name, value))
            }
        };
        let put = Put::builder().table_name(&self.table).set_item(Some(attributes::receipt(&config.tenant, receipt)));
        // Each has all that its builder asks for; should one not, DynamoDB refuses the whole transaction.
        let items = vec![
            TransactWriteItem::builder().set_update(watermark.build().ok()).build(),
            self.config_is_at_version_of(config),
            TransactWriteItem::builder().set_put(put.build().ok()).build(),
        ];
        self.transact_and_tell(items, news, "the watermark was moved").await
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        as_read: &StoredWatermark,
        failure: &Failure,
        at: DateTime<Utc>,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = unchanged(as_read);
        let (set, error) = attributes::failure(failure, at);
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression(format!(
                "SET {set}, failing_since = if_not_exists(failing_since, :last_error_at) ADD consecutive_failures :one"
            ))
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().chain(error).collect()))
            .expression_attribute_values(":one", n(1));
        let items = vec![TransactWriteItem::builder().set_update(update.build().ok()).build()];
        self.transact_and_tell(items, news, "a failure was noted").await
    }

    async fn renew(&self, tenant: &TenantId, at: DateTime<Utc>) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression("SET renewed_at = :at")
            .condition_expression("attribute_exists(failing_since)")
            .expression_attribute_values(":at", s(timestamp::seconds(at)));
        // What doesn't fail needs no patience.
        write("a verification was noted", || update.clone().send()).await.map(|_| ())
    }

    async fn note_told(&self, tenant: &TenantId, told: Option<&str>) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .condition_expression("attribute_exists(tenant_id)");
        let update = match told {
            Some(told) => update.update_expression("SET told = :told").expression_attribute_values(":told", s(told)),
            None => update.update_expression("REMOVE told"),
        };
        write("what others were told was noted", || update.clone().send()).await.map(|_| ())
    }

    async fn keep_progress(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        progress: &str,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = undisturbed(as_read);
        let watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "watermark")))
            .update_expression("SET progress = :progress")
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()))
            .expression_attribute_values(":progress", s(progress));
        let items = vec![
            TransactWriteItem::builder().set_update(watermark.build().ok()).build(),
            self.config_is_at_version_of(config),
        ];
        self.transact_and_tell(items, None, "a window's progress was kept").await
    }

    async fn disturb(&self, tenant: &TenantId, progress: Option<&str>) -> Result<Conditional, Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .expression_attribute_values(":one", n(1));
        let update = match progress {
            Some(progress) => update
                .update_expression("ADD disturbed :one")
                .condition_expression("progress = :progress")
                .expression_attribute_values(":progress", s(progress)),
            None => update
                .update_expression("ADD disturbed :one REMOVE progress")
                .condition_expression("attribute_exists(tenant_id)"),
        };
        let written = write("a watermark was marked", || update.clone().send()).await?;
        // A tenant without a watermark has nothing that could be committed.
        Ok(if progress.is_none() { Conditional::Written } else { written })
    }

    async fn receipt(&self, tenant: &TenantId, window_end: DateTime<Utc>) -> Result<Option<ReceiptDigest>, Failure> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, &attributes::receipt_record(window_end))))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| Answer::of(&error).from_dynamodb("a receipt was read"))?;
        Ok(answer.item.as_ref().and_then(attributes::receipt_digest))
    }

    async fn doubt(&self, tenant: &TenantId, doubt: Doubt) -> Result<(), Failure> {
        // A tenant without a watermark has nothing that was committed.
        self.change_doubts(tenant, "ADD", &[doubt]).await
    }

    async fn settle(&self, tenant: &TenantId, doubts: &[Doubt]) -> Result<(), Failure> {
        if doubts.is_empty() { Ok(()) } else { self.change_doubts(tenant, "DELETE", doubts).await }
    }

    async fn amend_receipt(
        &self,
        tenant: &TenantId,
        as_read: &ReceiptDigest,
        receipt: &Receipt,
    ) -> Result<Conditional, Failure> {
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(attributes::receipt(tenant, receipt)))
            // The manifest has the keys, but not where they are; `bucket` is a reserved word.
            .condition_expression(format!(
                "manifest_sha256 = :manifest AND #bucket = :bucket AND window_from = :from AND ({})",
                if as_read.amended == 0 {
                    "attribute_not_exists(amended) OR amended = :amended"
                } else {
                    "amended = :amended"
                }
            ))
            .expression_attribute_values(":amended", n(as_read.amended))
            .expression_attribute_names("#bucket", "bucket")
            .expression_attribute_values(":manifest", s(&as_read.manifest_sha256))
            .expression_attribute_values(":bucket", s(&as_read.bucket))
            .expression_attribute_values(":from", s(timestamp::seconds(as_read.from)));
        write("a receipt was amended", || put.clone().send()).await
    }
}
