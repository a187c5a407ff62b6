//! Stores events for the recorder, each with the marker of its submitter and id.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure, Party},
    new_event::NewEvent,
    ports::{Recorder, Recording},
    tenant::{EventShards, TenantId},
};
use aws_sdk_dynamodb::Client;
use chrono::TimeDelta;

use crate::{
    attributes::{key, text},
    errors::AwsError,
    events::{EventsTable, MARKER},
    tenants::{TransactionResult, transact, with_timeout, write_timeout},
};

#[derive(Debug, Clone)]
pub struct RecorderTables {
    client: Client,
    tenants: String,
    events: EventsTable,
    write_timeout: Duration,
}

impl RecorderTables {
    /// A write times out within half of `settle`.
    pub fn new(client: Client, tenants: impl Into<String>, events: impl Into<String>, settle: TimeDelta) -> Self {
        let events = EventsTable::new(client.clone(), events);
        Self { client, tenants: tenants.into(), events, write_timeout: write_timeout(settle) }
    }
}

impl Recorder for RecorderTables {
    async fn record(&self, event: &NewEvent) -> Result<Recording, Failure> {
        const DOING: &str = "an event was recorded";
        let items = self.events.puts(event);
        match with_timeout(self.write_timeout, DOING, transact(&self.client, &items, DOING)).await? {
            TransactionResult::Written => Ok(Recording::Created),
            TransactionResult::ConditionFailed(failed) => {
                let marker = failed.iter().find(|(index, _)| *index == MARKER);
                let Some((_, marker)) = marker else { return Ok(Recording::KeyTaken) };
                // A marker without a digest says only that the id is known.
                let same = text(marker, "digest").is_none_or(|digest| digest == event.digest);
                Ok(if same { Recording::Duplicate } else { Recording::Conflict })
            }
        }
    }

    async fn event_shards(&self, tenant: &TenantId) -> Result<EventShards, Failure> {
        let output = self
            .client
            .get_item()
            .table_name(&self.tenants)
            .set_key(Some(key(tenant, "config")))
            .projection_expression("event_shards")
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(&error).dynamodb_failure("a tenant's event_shards was read"))?;
        let Some(shards) = output.item.filter(|item| item.contains_key("event_shards")) else {
            return Ok(EventShards::ONE);
        };
        let shards = EventShards::parse(&text(&shards, "event_shards").unwrap_or_default());
        shards.map_err(|invalid| Failure::by(Party::Platform, Code::ConfigInvalid, invalid.0))
    }
}
