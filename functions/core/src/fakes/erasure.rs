//! The erasure of a tenant in memory.

use chrono::{DateTime, Utc};

use super::{FakeState, FakeTenant, Fakes, Op, version};
use crate::{
    failure::Failure,
    ports::{Conditional, Erased, Erasure, EventsPart, Inventory},
    records::RECEIPT_PREFIX,
    settings::Draft,
    tenant::TenantId,
    timestamp,
};

/// How many items [`Erasure::erase_some`] erases at most, so that tests see several steps.
const PAGE: usize = 10;

impl FakeTenant {
    fn names(&self) -> Vec<String> {
        let records = [
            ("config", self.config.is_some() && !self.erasing),
            ("watermark", self.watermark.is_some() || self.lease.is_some()),
            ("outbox", self.outbox.sequence > 0),
            ("final_delivery", self.final_deliveries.revision > 0),
            ("connection_check", self.connection_check.is_some()),
        ];
        let records = records.into_iter().filter(|(_, exists)| *exists).map(|(name, _)| name.to_owned());
        let receipts = self.receipts.keys().map(|end| format!("{RECEIPT_PREFIX}{}", timestamp::seconds(*end)));
        records.chain(receipts).collect()
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
        let pending = [("outbox", stored.outbox.is_empty()), ("final_delivery", stored.final_deliveries.is_empty())];
        let pending = pending.into_iter().filter(|(_, is_empty)| !is_empty).map(|(name, _)| name.to_owned()).collect();
        let records = stored.records();
        let delivered_until = records.watermark.as_ref().and_then(|watermark| watermark.exported_until.clone());
        let slots = state.slots.keys().filter(|(of, ..)| of == tenant);
        let slots = slots.map(|(_, kind, since)| format!("{}#{}", kind.record(), timestamp::seconds(*since)));
        let names = stored.names().into_iter().chain(slots).collect();
        Ok(Inventory { records, names, begun: stored.erasing, pending, delivered_until })
    }

    async fn begin_erasure(
        &self,
        tenant: &TenantId,
        version_as_read: u64,
        now: DateTime<Utc>,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::BeginErasure, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let is_connected = stored.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some());
        let is_leased = stored.lease.as_ref().is_some_and(|lease| lease.excludes_others(now));
        let same_version = version(stored.config.as_ref()).unwrap_or(0) == version_as_read;
        let is_pending = !stored.outbox.is_empty() || !stored.final_deliveries.is_empty();
        if is_connected || is_leased || is_pending || !same_version {
            return Ok(Conditional::ConditionFailed);
        }
        stored.config = Some(Draft { version: Some((version_as_read + 1).to_string()), ..Draft::default() });
        stored.erasing = true;
        // All attributes of the watermark.
        *stored = FakeTenant {
            config: stored.config.take(),
            erasing: true,
            receipts: std::mem::take(&mut stored.receipts),
            connection_check: stored.connection_check.take(),
            ..FakeTenant::default()
        };
        Ok(Conditional::Written)
    }

    async fn count(&self, tenant: &TenantId, part: EventsPart) -> Result<u64, Failure> {
        Ok(self.state().keys(tenant, part).len() as u64)
    }

    async fn erase_some(&self, tenant: &TenantId, part: EventsPart) -> Result<Erased, Failure> {
        self.inject(Op::Erase, tenant.as_str()).await?;
        let mut state = self.state();
        let keys: Vec<String> = state.keys(tenant, part).into_iter().take(PAGE).collect();
        for key in &keys {
            match part {
                EventsPart::Shard(shard) => {
                    state.events.entry((tenant.to_string(), shard)).or_default().remove(key);
                }
                EventsPart::Markers(_) => drop(state.markers.remove(&(tenant.to_string(), key.clone()))),
            }
        }
        Ok(Erased { items: keys.len() as u64, more: keys.len() == PAGE })
    }

    async fn erase_records(&self, tenant: &TenantId, _names: &[String]) -> Result<(), Failure> {
        self.inject(Op::Erase, tenant.as_str()).await?;
        let mut state = self.state();
        state.slots.retain(|(of, ..), _| of != tenant);
        if let Some(stored) = state.tenants.get_mut(tenant.as_str()) {
            *stored = FakeTenant { config: stored.config.take(), erasing: stored.erasing, ..FakeTenant::default() };
        }
        Ok(())
    }

    async fn end_erasure(&self, tenant: &TenantId) -> Result<Conditional, Failure> {
        self.inject(Op::Erase, tenant.as_str()).await?;
        let mut state = self.state();
        match state.tenants.get(tenant.as_str()) {
            Some(FakeTenant { erasing: true, .. }) => {
                state.tenants.remove(tenant.as_str());
                Ok(Conditional::Written)
            }
            _ => Ok(Conditional::ConditionFailed),
        }
    }
}
