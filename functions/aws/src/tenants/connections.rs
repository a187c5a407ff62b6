//! Stores the results of connection checks, in the record `connection_check` of each tenant.

use std::collections::HashMap;

use audit_log_core::{
    failure::Failure,
    outbox::Announcement,
    ports::{Conditional, Connections},
    records::{ConnectionCheck, Finding},
    tenant::TenantId,
    timestamp,
};
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem};

use super::{TenantsTable, is_at_version};
use crate::attributes::{Item, key, n, s, text};

const RECORD: &str = "connection_check";

impl Connections for TenantsTable {
    async fn last_checks(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, Option<ConnectionCheck>)>, Failure> {
        let keys: Vec<Item> = tenants.iter().map(|tenant| key(tenant, RECORD)).collect();
        let items = self.items(&keys, "the last connection checks were read").await?;
        let found = items.into_iter().filter_map(|item| Some((text(&item, "tenant_id")?, connection_check(&item)?)));
        let mut found: HashMap<String, ConnectionCheck> = found.collect();
        Ok(tenants.iter().map(|id| (id.clone(), found.remove(id.as_str()))).collect())
    }

    async fn save_check(
        &self,
        tenant: &TenantId,
        as_read: Option<&ConnectionCheck>,
        found: &ConnectionCheck,
        announcement: Option<&Announcement>,
    ) -> Result<Conditional, Failure> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item(tenant, found)));
        let put = match as_read {
            None => {
                let stored = self.items(&[key(tenant, RECORD)], "the last connection check was read").await?.pop();
                let stored = stored.unwrap_or_default();
                if connection_check(&stored).is_some() {
                    return Ok(Conditional::ConditionFailed);
                }
                // A damaged record counts as none, as long as it doesn't change.
                let (condition, values) = is_unchanged(stored);
                put.condition_expression(condition).set_expression_attribute_values(values)
            }
            Some(as_read) => put
                .condition_expression("checked_for = :read_for AND checked_at = :read_at")
                .expression_attribute_values(":read_for", s(timestamp::seconds(as_read.due_hour)))
                .expression_attribute_values(":read_at", s(timestamp::seconds(as_read.at))),
        };
        let same_config = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "config")))
            .condition_expression(format!("attribute_exists(tenant_id) AND ({})", is_at_version(found.version)))
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":version", n(found.version));
        let is_connected = ConditionCheck::builder()
            .table_name(&self.table)
            .set_key(Some(key(tenant, "watermark")))
            .condition_expression("attribute_exists(due_shard)");
        let items = vec![
            TransactWriteItem::builder().set_put(put.build().ok()).build(),
            TransactWriteItem::builder().set_condition_check(same_config.build().ok()).build(),
            TransactWriteItem::builder().set_condition_check(is_connected.build().ok()).build(),
        ];
        self.transact_and_announce(items, announcement, "a connection check was stored").await
    }
}

const ATTRIBUTES: [&str; 4] = ["checked_for", "checked_at", "config_version", "findings"];

/// The condition that a damaged or missing record is still the same, and its values.
fn is_unchanged(mut stored: Item) -> (String, Option<Item>) {
    let stored = ATTRIBUTES.map(|name| (name, stored.remove(name)));
    let condition = stored.each_ref().map(|(name, value)| match value {
        Some(_) => format!("{name} = :{name}"),
        None => format!("attribute_not_exists({name})"),
    });
    let values: Item = stored.into_iter().filter_map(|(name, value)| Some((format!(":{name}"), value?))).collect();
    // DynamoDB refuses an empty map of values.
    (condition.join(" AND "), Some(values).filter(|values| !values.is_empty()))
}

fn item(tenant: &TenantId, ConnectionCheck { due_hour, at, version, findings }: &ConnectionCheck) -> Item {
    let finding = |Finding { step, is_failure, code, message }: &Finding| {
        let status = if *is_failure { FAILED } else { "warning" };
        let texts = [("step", step.as_str()), ("status", status), ("code", code), ("message", message)];
        AttributeValue::M(texts.into_iter().map(|(name, value)| (name.to_owned(), s(value))).collect())
    };
    let mut item = key(tenant, RECORD);
    item.extend(ATTRIBUTES.map(str::to_owned).into_iter().zip([
        s(timestamp::seconds(*due_hour)),
        s(timestamp::seconds(*at)),
        n(version),
        AttributeValue::L(findings.iter().map(finding).collect()),
    ]));
    item
}

/// The status of a finding that is no warning.
const FAILED: &str = "failed";

/// `None` if an attribute is missing or damaged; then the next check replaces the record.
fn connection_check(item: &Item) -> Option<ConnectionCheck> {
    let instant = |name| timestamp::parse_seconds(&text(item, name)?);
    let finding = |finding: &AttributeValue| {
        let finding = finding.as_m().ok()?;
        let is_failure = text(finding, "status")? == FAILED;
        let [step, code, message] = ["step", "code", "message"].map(|name| text(finding, name));
        Some(Finding { step: step?, is_failure, code: code?, message: message? })
    };
    let findings: Option<Vec<Finding>> = item.get("findings")?.as_l().ok()?.iter().map(finding).collect();
    Some(ConnectionCheck {
        due_hour: instant("checked_for")?,
        at: instant("checked_at")?,
        version: text(item, "config_version")?.parse().ok()?,
        findings: findings?,
    })
}
