//! The records of both tables at the start.

use std::collections::BTreeSet;

use anyhow::Result;
use audit_log_aws::sdk::dynamodb::{self, types::AttributeValue};
use audit_log_tests::{Item, PlatformOutputs, attribute};
use futures::future;

use crate::announcements::Announcement;
use crate::scenario::{FAILING, RECOVERING, SHARDED, SHARDS, Scenario};

/// The tests' events are recorded before this, and system events after it.
const PRESENT: &str = "2026-11-21";

pub(crate) struct InitialRecords {
    pub(crate) tenants_table: String,
    pub(crate) events_table: String,
    tenants: Vec<Item>,
    /// The tenants table at the start of a later tick.
    pub(crate) later: Vec<Item>,
    /// The same at the start of replays.
    pub(crate) replay: Vec<Item>,
    /// The audit events of onboarding, which aren't a run's.
    onboarding_events: BTreeSet<String>,
}

pub(crate) fn is_record(item: &Item, record: &str) -> bool {
    attribute(item, "record") == record
}

impl InitialRecords {
    /// Reads the tables after onboarding, and marks two tenants as failing. One outbox keeps its notifications.
    pub(crate) async fn load(dynamodb: &dynamodb::Client, outputs: &PlatformOutputs) -> Result<Self> {
        let (tenants_table, events_table) = (outputs.tenants_table_name.clone(), outputs.events_table_name.clone());
        let mut tenants = scan(dynamodb, &tenants_table).await?;
        tenants.retain(|item| !is_record(item, "outbox") || attribute(item, "tenant_id") == FAILING);
        let has_failed = |item: &&mut Item| {
            [RECOVERING, SHARDED].contains(&attribute(item, "tenant_id")) && is_record(item, "watermark")
        };
        for watermark in tenants.iter_mut().filter(has_failed) {
            watermark.insert("consecutive_failures".to_owned(), AttributeValue::N("2".to_owned()));
            for (name, text) in [
                ("last_error_code", "access_denied"),
                ("last_error", "S3 refused it."),
                ("failing_since", "2026-11-20T09:01:00Z"),
            ] {
                watermark.insert(name.to_owned(), AttributeValue::S(text.to_owned()));
            }
        }
        let onboarding_events = BTreeSet::new();
        let mut records =
            Self { tenants_table, events_table, tenants, later: Vec::new(), replay: Vec::new(), onboarding_events };
        let recorded = records.system_events(dynamodb, &records.ids()).await?;
        records.onboarding_events = recorded.iter().map(|item| attribute(item, "recorded_at_id").to_owned()).collect();
        Ok(records)
    }

    /// The records at the start of a scenario.
    pub(crate) fn records(&self, scenario: Scenario) -> impl Iterator<Item = &Item> {
        let all = match scenario {
            Scenario::Later => &self.later,
            Scenario::Replay => &self.replay,
            _ => &self.tenants,
        };
        all.iter().filter(move |item| scenario.tenants().contains(&attribute(item, "tenant_id")))
    }

    /// The entries of the outboxes at the start.
    pub(crate) fn outbox_entries(&self, scenario: Scenario) -> Result<BTreeSet<Announcement>> {
        let outboxes = self.records(scenario).filter(|item| is_record(item, "outbox"));
        let entries: Vec<_> = outboxes.map(Announcement::from_outbox).collect::<Result<_>>()?;
        Ok(entries.into_iter().flatten().map(|(_, announcement)| announcement).collect())
    }

    fn ids(&self) -> Vec<String> {
        let ids: BTreeSet<_> = self.tenants.iter().map(|item| attribute(item, "tenant_id").to_owned()).collect();
        ids.into_iter().collect()
    }

    /// The recorded system events, without those of onboarding.
    pub(crate) async fn system_events(
        &self,
        dynamodb: &dynamodb::Client,
        tenants: &[impl AsRef<str>],
    ) -> Result<Vec<Item>> {
        let partitions = tenants.iter().map(AsRef::as_ref).flat_map(|tenant| {
            let shards = if tenant == SHARDED { 0..SHARDS } else { 0..1 };
            shards.map(move |shard| format!("{tenant}#{shard}"))
        });
        let query = async |partition: String| {
            let query = dynamodb.query().table_name(&self.events_table).consistent_read(true);
            let query = query.key_condition_expression("tenant_shard = :partition AND recorded_at_id > :since");
            let query = query
                .expression_attribute_values(":partition", AttributeValue::S(partition))
                .expression_attribute_values(":since", AttributeValue::S(PRESENT.to_owned()));
            anyhow::Ok(query.send().await?.items.unwrap_or_default())
        };
        let recorded = future::try_join_all(partitions.map(query)).await?.into_iter().flatten();
        Ok(recorded.filter(|item| !self.onboarding_events.contains(attribute(item, "recorded_at_id"))).collect())
    }
}

pub(crate) async fn scan(dynamodb: &dynamodb::Client, table: &str) -> Result<Vec<Item>> {
    let scan = dynamodb.scan().table_name(table).consistent_read(true);
    Ok(scan.into_paginator().items().send().collect::<Result<_, _>>().await?)
}
