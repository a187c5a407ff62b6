//! Reads of many records at once.

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

/// What one BatchGetItem takes (by "BatchGetItem" in the DynamoDB API reference).
const KEYS: usize = 100;

impl TenantsTable {
    /// The records of these keys that there are, read consistently, in any order.
    pub(super) async fn items(&self, keys: &[Item], doing: &str) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::new();
        for keys in keys.chunks(KEYS) {
            let mut keys = keys.to_vec();
            for tried in 1.. {
                let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build();
                let wanted = wanted.map_err(|_| still_busy(doing))?;
                let answer = self.client.batch_get_item().request_items(&self.table, wanted).send().await;
                let answer = answer.map_err(|error| AwsError::of(&error).from_dynamodb(doing))?;
                items.extend(answer.responses.unwrap_or_default().into_values().flatten());
                // Some of them may be left for another call.
                let left = answer.unprocessed_keys.unwrap_or_default().into_values().flat_map(|left| left.keys);
                keys = left.collect();
                if keys.is_empty() {
                    break;
                }
                if tried >= MAX_ATTEMPTS {
                    return Err(still_busy(doing));
                }
                pause(tried).await;
            }
        }
        Ok(items)
    }

    /// What a query of the index `due` lists, all pages of it.
    pub(super) async fn listed(&self, query: QueryFluentBuilder, doing: &str) -> Result<Vec<Due>, Failure> {
        let mut items = query.index_name("due").into_paginator().items().send();
        let mut listed = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::of(&error).from_dynamodb(doing))?;
            if let Some(tenant) = text(&item, "tenant_id") {
                listed.push(Due { tenant, next_due: text(&item, "next_due").unwrap_or_default() });
            }
        }
        Ok(listed)
    }

    /// The tenants that a scan of an index lists, all pages of it.
    pub(super) async fn scanned(&self, scan: ScanFluentBuilder, doing: &str) -> Result<Vec<String>, Failure> {
        let mut items = scan.into_paginator().items().send();
        let mut tenants = Vec::new();
        while let Some(item) = items.next().await {
            let item = item.map_err(|error| AwsError::of(&error).from_dynamodb(doing))?;
            tenants.extend(text(&item, "tenant_id"));
        }
        Ok(tenants)
    }
}
