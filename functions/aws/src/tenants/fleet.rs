//! Implements the port for all tenants together: the connected, the saved and those with notifications, and their count.

use std::collections::HashMap;

use audit_log_core::{
    failure::Failure,
    ports::{Conditional, Due, Fleet},
    records::ConnectedCount,
    tenant::DueShard,
};

use super::{TenantsTable, write};
use crate::{
    attributes::{Item, n, s, text},
    errors::AwsError,
};

/// No tenant has this key: a tenant id has no `#`.
fn count_key() -> Item {
    Item::from([("tenant_id".to_owned(), s("#platform")), ("record".to_owned(), s("reconciliation"))])
}

impl TenantsTable {
    /// The tenants that the index `pending` lists for some kinds of its records, in order.
    pub(super) async fn pending_tenants(&self, records: &[&str], doing: &str) -> Result<Vec<String>, Failure> {
        let values: HashMap<_, _> =
            (0..).zip(records).map(|(at, record)| (format!(":record{at}"), s(*record))).collect();
        let names: Vec<&str> = values.keys().map(String::as_str).collect();
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .index_name("pending")
            .filter_expression(format!("#record IN ({})", names.join(", ")))
            .expression_attribute_names("#record", "record")
            .set_expression_attribute_values(Some(values.clone()));
        let mut pending = self.scan_tenants(scan, doing).await?;
        pending.sort_unstable();
        // A tenant can have records of several kinds, and one that changes while the index is read can be listed twice.
        pending.dedup();
        Ok(pending)
    }
}

impl Fleet for TenantsTable {
    async fn connected(&self, shard: DueShard) -> Result<Vec<Due>, Failure> {
        let query = self.client.query().table_name(&self.table).key_condition_expression("due_shard = :shard");
        let query = query.expression_attribute_values(":shard", s(shard.to_string()));
        self.query_due_index(query, "the connected tenants were read").await
    }

    async fn saved(&self) -> Result<Vec<String>, Failure> {
        let scan = self.client.scan().table_name(&self.table).index_name("saved");
        self.scan_tenants(scan, "the saved settings were listed").await
    }

    async fn pending(&self) -> Result<Vec<String>, Failure> {
        self.pending_tenants(&["outbox"], "the outboxes with notifications were listed").await
    }

    async fn last_count(&self) -> Result<Option<ConnectedCount>, Failure> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(count_key())).consistent_read(true);
        let output =
            get.send().await.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("the last count was read"))?;
        let count = |item: Item| {
            let number = |name| text(&item, name)?.parse().ok();
            let (day, connected) = (text(&item, "day")?.parse().ok()?, number("connected")?);
            Some(ConnectedCount { day, connected, before: number("connected_before") })
        };
        Ok(output.item.and_then(count))
    }

    async fn save_count(&self, ConnectedCount { day, connected, before }: ConnectedCount) -> Result<(), Failure> {
        let mut item = count_key();
        let numbers = [("connected", Some(connected)), ("connected_before", before)];
        item.insert("day".to_owned(), s(day.to_string()));
        item.extend(numbers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), n(value?)))));
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        match write("the connected tenants were counted", || put.clone().send()).await? {
            Conditional::Written | Conditional::ConditionFailed => Ok(()),
        }
    }
}
