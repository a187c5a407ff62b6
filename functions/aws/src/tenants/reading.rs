//! Reads many records at once, by keys or by an index.

use audit_log_core::{failure::Failure, ports::Due};
use aws_sdk_dynamodb::{
    operation::{query::builders::QueryFluentBuilder, scan::builders::ScanFluentBuilder},
    types::KeysAndAttributes,
};

use super::{MAX_ATTEMPTS, TenantsTable, pause, still_busy};
use crate::{
    attributes::{Item, text},
    errors::AwsError,
};

/// By "BatchGetItem" in the DynamoDB API reference.
const MAX_KEYS_PER_CALL: usize = 100;

impl TenantsTable {
    /// Reads the records of these keys consistently. They come in any order; a key without a record is left out.
    pub(super) async fn items(&self, keys: &[Item], doing: &str) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        for keys in keys.chunks(MAX_KEYS_PER_CALL) {
            let mut keys = keys.to_vec();
            for attempt in 1.. {
                let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
                let wanted = wanted.map_err(|_| still_busy(doing))?;
                let output = self.client.batch_get_item().request_items(&self.table, wanted).send().await;
                let output = output.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(doing))?;
                items.extend(output.responses.unwrap_or_default().into_values().flatten());
                // DynamoDB may leave keys for another call.
                keys = output.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys).collect();
                if keys.is_empty() {
                    break;
                }
                if attempt >= MAX_ATTEMPTS {
                    return Err(still_busy(doing));
                }
                pause(attempt).await;
            }
        }
        Ok(items)
    }

    /// Reads all pages of a query of the index `due`.
    pub(super) async fn query_due_index(&self, query: QueryFluentBuilder, doing: &str) -> Result<Vec<Due>, Failure> {
        let mut items = query.index_name("due").into_paginator().items().send();
        let mut due = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(doing))?;
            if let Some(tenant) = text(&item, "tenant_id") {
                due.push(Due { tenant, next_due: text(&item, "next_due").unwrap_or_default() });
            }
        }
        Ok(due)
    }

    /// Reads all pages of an index's scan, and returns the tenants.
    pub(super) async fn scan_tenants(&self, scan: ScanFluentBuilder, doing: &str) -> Result<Vec<String>, Failure> {
        let mut items = scan.into_paginator().items().send();
        let mut tenants = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(doing))?;
            tenants.extend(text(&item, "tenant_id"));
        }
        Ok(tenants)
    }
}
