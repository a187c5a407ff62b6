//! The tenants table as whoever saves settings sees it.

use audit_log_core::{
    failure::Failure,
    ports::{Conditional, Settings, Tenants},
    records::{StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::TenantConfig,
    tenant::TenantId,
};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use chrono::{DateTime, Utc};

use super::{TenantsTable, at_version, unchanged, write};
use crate::attributes::{self, key, n, s};

impl Settings for TenantsTable {
    async fn records(&self, tenant: &TenantId) -> Result<TenantRecords, Failure> {
        self.load_one(tenant).await
    }

    async fn save(
        &self,
        config: &TenantConfig,
        saved_at: DateTime<Utc>,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
    ) -> Result<Conditional, Failure> {
        let (condition, values) = match as_read {
            Some(as_read) => unchanged(as_read),
            None => ("attribute_not_exists(tenant_id)".to_owned(), Vec::new()),
        };
        let StoredWatermark { exported_until, next_due, due_shard, .. } =
            StoredWatermark::connected(&config.tenant, schedule);
        let watermark = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key(&config.tenant, "watermark")))
            .update_expression("SET exported_until = :until, next_due = :due, due_shard = :shard")
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values.into_iter().collect()))
            .expression_attribute_values(":until", s(exported_until.unwrap_or_default()))
            .expression_attribute_values(":due", s(next_due.unwrap_or_default()))
            .expression_attribute_values(":shard", s(due_shard.unwrap_or_default()));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(attributes::config(config, config.version + 1, saved_at)))
            .condition_expression(at_version(config.version))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(config.version));
        let items = vec![
            TransactWriteItem::builder().set_update(watermark.build().ok()).build(),
            TransactWriteItem::builder().set_put(put.build().ok()).build(),
        ];
        self.transact(items, "the settings were saved").await
    }

    async fn disconnect(&self, tenant: &TenantId) -> Result<(), Failure> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .update_expression("REMOVE due_shard")
            .condition_expression("attribute_exists(tenant_id)");
        // Who was never connected is disconnected already: to lose this race is to have nothing to do.
        write("a tenant was disconnected", || update.clone().send()).await.map(|_| ())
    }
}
