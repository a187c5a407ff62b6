//! The keys of a partition of the events table, for an erasure.

use audit_log_core::failure::Failure;
use aws_sdk_dynamodb::{operation::query::builders::QueryFluentBuilder, types::Select};

use super::EventsTable;
use crate::{
    attributes::{Item, s},
    errors::AwsError,
};

const DOING: &str = "a tenant's events were listed";

impl EventsTable {
    pub(crate) fn name(&self) -> &str {
        &self.table
    }

    fn query_partition(&self, partition: &str) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.table).key_condition_expression("tenant_shard = :shard");
        query.expression_attribute_values(":shard", s(partition))
    }

    /// Reads the keys of a partition's first items consistently, as many as DynamoDB reads at once; true if there are more.
    pub(crate) async fn first_keys(&self, partition: &str) -> Result<(Vec<Item>, bool), Failure> {
        let query = self.query_partition(partition).consistent_read(true);
        let output = query.projection_expression("tenant_shard, recorded_at_id").send().await;
        let output = output.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(DOING))?;
        Ok((output.items.unwrap_or_default(), output.last_evaluated_key.is_some()))
    }

    pub(crate) async fn count(&self, partition: &str) -> Result<u64, Failure> {
        let mut pages = self.query_partition(partition).select(Select::Count).into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::from_sdk(&error).dynamodb_failure(DOING))?;
            count += u64::try_from(page.count).unwrap_or_default();
        }
        Ok(count)
    }
}
