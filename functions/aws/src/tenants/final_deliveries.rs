//! The record `final_delivery`: what is left to deliver to the places that a tenant has left.

use audit_log_core::{
    failure::Failure,
    lease::Lease,
    ports::{Conditional, FinalDeliveryWrite},
    records::FinalDeliveries,
    tenant::{DueShard, TenantId},
    timestamp,
};
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem, Update};

use super::TenantsTable;
use crate::attributes::{Item, key, n, s, text};

pub(super) const RECORD: &str = "final_delivery";

impl TenantsTable {
    /// The put that replaces the record, on the condition that it has the revision before. An empty record stays, outside of the
    /// index `pending`: neither function has the right to delete.
    pub(super) fn put_final_deliveries(&self, tenant: &TenantId, after: &FinalDeliveries) -> TransactWriteItem {
        let mut item = key(tenant, RECORD);
        item.insert("revision".to_owned(), n(after.revision));
        if !after.is_empty() {
            let places = after.to_texts().into_iter().map(s).collect();
            item.insert("places".to_owned(), AttributeValue::L(places));
            item.insert("pending_shard".to_owned(), s(DueShard::from_tenant(tenant).to_string()));
        }
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        let put = match after.revision.saturating_sub(1) {
            0 => put.condition_expression("attribute_not_exists(revision)"),
            before => put.condition_expression("revision = :read").expression_attribute_values(":read", n(before)),
        };
        // `build` can't fail: the put has all required fields. Without one, DynamoDB would refuse the whole transaction.
        TransactWriteItem::builder().set_put(put.build().ok()).build()
    }

    pub(super) async fn replace_final_deliveries(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        FinalDeliveryWrite { after, delivered_until, announcement }: FinalDeliveryWrite<'_>,
    ) -> Result<Conditional, Failure> {
        const HAS_LEASE: &str = "lease = :lease";
        let watermark = key(tenant, "watermark");
        let watermark = match delivered_until {
            Some(until) => {
                let update = Update::builder()
                    .table_name(&self.table)
                    .set_key(Some(watermark))
                    .update_expression("SET final_delivered_until = :until")
                    .condition_expression(HAS_LEASE)
                    .expression_attribute_values(":lease", s(&lease.token))
                    .expression_attribute_values(":until", s(timestamp::seconds(until)));
                TransactWriteItem::builder().set_update(update.build().ok()).build()
            }
            None => {
                let check = ConditionCheck::builder()
                    .table_name(&self.table)
                    .set_key(Some(watermark))
                    .condition_expression(HAS_LEASE)
                    .expression_attribute_values(":lease", s(&lease.token));
                TransactWriteItem::builder().set_condition_check(check.build().ok()).build()
            }
        };
        let items = vec![watermark, self.put_final_deliveries(tenant, after)];
        self.transact_and_announce(items, announcement, "a final delivery was noted").await
    }
}

/// The record. A list that can't be read is one place that can't be read, so that no write replaces it.
pub(super) fn final_deliveries(item: &Item) -> FinalDeliveries {
    let revision = text(item, "revision").and_then(|revision| revision.parse().ok()).unwrap_or(0);
    let unreadable = |value: &AttributeValue| format!("{value:?}");
    let text = |value: &AttributeValue| value.as_s().cloned().unwrap_or_else(|_| unreadable(value));
    let texts: Vec<String> = match item.get("places") {
        None => Vec::new(),
        Some(AttributeValue::L(places)) => places.iter().map(text).collect(),
        Some(other) => vec![unreadable(other)],
    };
    FinalDeliveries::parse(revision, texts)
}
