//! Recording events, each together with the marker of its id.

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
    events::EventsTable,
    tenants::{Transacted, transact, within, writes_within},
};

/// Writes into the events table, and reads of the tenants table over how many shards.
#[derive(Debug, Clone)]
pub struct RecorderTables {
    client: Client,
    tenants: String,
    events: EventsTable,
    within: Duration,
}

impl RecorderTables {
    /// The tables of these names; a write is given up within half of `settle`.
    pub fn new(client: Client, tenants: impl Into<String>, events: impl Into<String>, settle: TimeDelta) -> Self {
        let events = EventsTable::new(client.clone(), events);
        Self { client, tenants: tenants.into(), events, within: writes_within(settle) }
    }
}

impl Recorder for RecorderTables {
    async fn record(&self, event: &NewEvent) -> Result<Recording, Failure> {
        const DOING: &str = "an event was recorded";
        let items = self.events.puts(event);
        match within(self.within, DOING, transact(&self.client, &items, DOING)).await? {
            Transacted::Written => Ok(Recording::Created),
            Transacted::Refused(failed) => {
                // A marker without a digest tells no more than the id.
                let known = failed.iter().find_map(|(_, marker)| text(marker, "digest"));
                let same = known.is_none_or(|digest| digest == event.digest);
                Ok(if same { Recording::Duplicate } else { Recording::Conflict })
            }
        }
    }

    async fn event_shards(&self, tenant: &TenantId) -> Result<EventShards, Failure> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.tenants)
            .set_key(Some(key(tenant, "config")))
            .projection_expression("event_shards")
            .send()
            .await
            .map_err(|error| AwsError::of(&error).from_dynamodb("a tenant's event_shards was read"))?;
        let Some(shards) = answer.item.filter(|item| item.contains_key("event_shards")) else {
            return Ok(EventShards::ONE);
        };
        let shards = EventShards::parse(&text(&shards, "event_shards").unwrap_or_default());
        shards.map_err(|invalid| Failure::by(Party::Platform, Code::ConfigInvalid, invalid.0))
    }
}
