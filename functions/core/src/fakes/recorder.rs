//! Recording events in memory.

use super::{Fakes, Op};
use crate::{
    failure::{Code, Failure},
    new_event::NewEvent,
    ports::{Recorder, Recording},
    tenant::{EventShards, TenantId},
};

impl Recorder for Fakes {
    async fn record(&self, event: &NewEvent) -> Result<Recording, Failure> {
        self.pass(Op::Record, event.tenant.as_str()).await?;
        Ok(self.state().record(event))
    }

    async fn event_shards(&self, tenant: &TenantId) -> Result<EventShards, Failure> {
        self.pass(Op::EventShards, tenant.as_str()).await?;
        let shards = self.state().records(tenant).config.and_then(|config| config.event_shards);
        let damaged = |invalid: crate::tenant::Invalid| Failure::new(Code::ConfigInvalid, invalid.0);
        shards.map_or(Ok(EventShards::ONE), |text| EventShards::parse(&text).map_err(damaged))
    }
}
