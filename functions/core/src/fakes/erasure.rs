//! The erasure of a tenant in memory.

use chrono::{DateTime, Utc};

use super::{FakeState, FakeTenant, Fakes, Op, version};
use crate::{
    failure::Failure,
    outbox::Outbox,
    ports::{Begun, Conditional, Erased, Erasure, EventsPart, Inventory},
    records::{FinalDeliveries, RECEIPT_PREFIX, REPLAYED_PREFIX, Replay},
    settings::Draft,
    tenant::TenantId,
    timestamp,
};

/// How many items [`Erasure::erase_some`] erases at most, so that tests see several steps.
const PAGE: usize = 10;

/// The name of a receipt's record.
fn receipt_name(end: DateTime<Utc>) -> String {
    format!("{RECEIPT_PREFIX}{}", timestamp::seconds(end))
}

/// The name of the record of a replayed window's receipt.
fn replayed_name((end, location): &(DateTime<Utc>, String)) -> String {
    format!("{REPLAYED_PREFIX}{}#{location}", timestamp::seconds(*end))
}

impl FakeTenant {
    fn is_erased_by(&self, begun: Begun) -> bool {
        self.erasing_since == Some(begun.since) && version(self.config.as_ref()) == Some(begun.version)
    }

    fn names(&self) -> Vec<String> {
        let records = [
            ("config", self.config.is_some() && self.erasing_since.is_none()),
            ("watermark", self.watermark.is_some() || self.lease.is_some()),
            ("outbox", self.outbox.sequence > 0),
            ("final_delivery", self.final_deliveries.revision > 0),
            ("replay", self.replay.is_some()),
            ("connection_check", self.connection_check.is_some()),
        ];
        let records = records.into_iter().filter(|(_, exists)| *exists).map(|(name, _)| name.to_owned());
        let receipts = self.receipts.keys().copied().map(receipt_name).chain(self.replayed.keys().map(replayed_name));
        records.chain(receipts).collect()
    }

    /// The names of the records that wait for a run.
    fn pending(&self) -> Vec<String> {
        let pending = [
            ("outbox", !self.outbox.is_empty()),
            ("final_delivery", !self.final_deliveries.is_empty()),
            ("replay", self.replay.as_ref().is_some_and(Replay::is_running)),
        ];
        pending.into_iter().filter(|(_, is_pending)| *is_pending).map(|(name, _)| name.to_owned()).collect()
    }

    /// Without the named records, except the config.
    fn without(self, names: &[String]) -> Self {
        let is_named = |name: &str| names.iter().any(|named| named == name);
        let mut rest = if is_named("watermark") {
            let Self { config, erasing_since, outbox, final_deliveries, receipts, connection_check, .. } = self;
            let (replay, replayed) = (self.replay, self.replayed);
            Self {
                config,
                erasing_since,
                outbox,
                final_deliveries,
                receipts,
                connection_check,
                replay,
                replayed,
                ..Self::default()
            }
        } else {
            self
        };
        if is_named("outbox") {
            rest.outbox = Outbox::default();
        }
        if is_named("final_delivery") {
            rest.final_deliveries = FinalDeliveries::default();
        }
        if is_named("replay") {
            rest.replay = None;
        }
        if is_named("connection_check") {
            rest.connection_check = None;
        }
        rest.receipts.retain(|end, _| !is_named(&receipt_name(*end)));
        rest.replayed.retain(|replayed, _| !is_named(&replayed_name(replayed)));
        rest
    }
}

impl FakeState {
    /// The keys of a part: of events by shard, of markers by the first byte of the hash.
    fn keys(&self, tenant: &TenantId, part: EventsPart) -> Vec<String> {
        match part {
            EventsPart::Shard(shard) => {
                let events = self.events.get(&(tenant.to_string(), shard));
                events.into_iter().flat_map(|events| events.keys().cloned()).collect()
            }
            EventsPart::Markers(byte) => {
                let markers = self.markers.keys().filter(|(of, _)| of == tenant.as_str()).map(|(_, hash)| hash);
                markers.filter(|hash| hash.starts_with(&format!("{byte:02x}"))).cloned().collect()
            }
        }
    }
}

impl Erasure for Fakes {
    async fn inventory(&self, tenant: &TenantId) -> Result<Inventory, Failure> {
        self.inject(Op::Inventory, tenant.as_str()).await?;
        let state = self.state();
        let Some(stored) = state.tenants.get(tenant.as_str()) else { return Ok(Inventory::default()) };
        let pending = stored.pending();
        let records = stored.records();
        let watermark = records.watermark.clone().unwrap_or_default();
        let delivered_until = watermark.exported_until.max(watermark.final_delivered_until);
        let slots = state.slots.keys().filter(|(of, ..)| of == tenant);
        let slots = slots.map(|(_, kind, since)| kind.record(*since));
        let names = stored.names().into_iter().chain(slots).collect();
        Ok(Inventory { records, names, begun: stored.erasing_since.is_some(), pending, delivered_until })
    }

    async fn begin_erasure(
        &self,
        tenant: &TenantId,
        version_as_read: u64,
        now: DateTime<Utc>,
    ) -> Result<Option<Begun>, Failure> {
        self.inject(Op::BeginErasure, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let is_connected = stored.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some());
        let is_leased = stored.lease.as_ref().is_some_and(|lease| lease.excludes_others(now));
        let same_version = version(stored.config.as_ref()).unwrap_or(0) == version_as_read;
        if is_connected || is_leased || !stored.pending().is_empty() || !same_version {
            return Ok(None);
        }
        let begun = Begun { version: version_as_read + 1, since: timestamp::whole_seconds(now) };
        let removed = ["watermark", "outbox", "final_delivery", "replay"].map(str::to_owned);
        *stored = FakeTenant {
            config: Some(Draft { version: Some(begun.version.to_string()), ..Draft::default() }),
            erasing_since: Some(begun.since),
            ..std::mem::take(stored).without(&removed)
        };
        Ok(Some(begun))
    }

    async fn count(&self, tenant: &TenantId, part: EventsPart) -> Result<u64, Failure> {
        Ok(self.state().keys(tenant, part).len() as u64)
    }

    async fn erase_some(&self, tenant: &TenantId, begun: Begun, part: EventsPart) -> Result<Option<Erased>, Failure> {
        self.inject(Op::Erase, tenant.as_str()).await?;
        let mut state = self.state();
        if !state.tenants.get(tenant.as_str()).is_some_and(|stored| stored.is_erased_by(begun)) {
            return Ok(None);
        }
        let keys: Vec<String> = state.keys(tenant, part).into_iter().take(PAGE).collect();
        for key in &keys {
            match part {
                EventsPart::Shard(shard) => {
                    state.events.entry((tenant.to_string(), shard)).or_default().remove(key);
                }
                EventsPart::Markers(_) => drop(state.markers.remove(&(tenant.to_string(), key.clone()))),
            }
        }
        Ok(Some(Erased { items: keys.len() as u64, more: keys.len() == PAGE }))
    }

    async fn erase_records(&self, tenant: &TenantId, begun: Begun, names: &[String]) -> Result<Conditional, Failure> {
        self.inject(Op::Erase, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.get_mut(tenant.as_str()).filter(|stored| stored.is_erased_by(begun));
        let Some(stored) = stored else { return Ok(Conditional::ConditionFailed) };
        *stored = std::mem::take(stored).without(names);
        state.slots.retain(|(of, kind, since), _| of != tenant || !names.contains(&kind.record(*since)));
        Ok(Conditional::Written)
    }

    async fn end_erasure(&self, tenant: &TenantId, begun: Begun) -> Result<Conditional, Failure> {
        self.inject(Op::Erase, tenant.as_str()).await?;
        let mut state = self.state();
        if !state.tenants.get(tenant.as_str()).is_some_and(|stored| stored.is_erased_by(begun)) {
            return Ok(Conditional::ConditionFailed);
        }
        state.tenants.remove(tenant.as_str());
        Ok(Conditional::Written)
    }
}
