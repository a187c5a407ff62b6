//! The world in memory: every port, with state that can be looked at and faults that can be planned.
//!
//! It passes the same contract tests as the AWS adapters, so what is proved on it holds for them.

mod buckets;
mod faults;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};

use faults::Faults;
pub use faults::{Fault, Op};

use crate::{
    event::{Body, StoredEvent},
    failure::Failure,
    ports::{Conditional, Events, Page, Settings, Stretch, Tenants},
    records::{Receipt, ReceiptDigest, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, TenantConfig},
    tenant::{DueShard, TenantId},
    timestamp,
};

/// All ports over one shared state; a clone sees the same world.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    faults: Faults,
    /// How many events a page holds at most; 0 for all.
    pub page_size: usize,
}

/// What there is.
#[derive(Default)]
#[allow(missing_docs, reason = "each is the table or bucket of that name")]
pub struct State {
    pub tenants: BTreeMap<String, Tenant>,
    pub events: BTreeMap<(String, u16), BTreeMap<String, Body>>,
    pub buckets: BTreeMap<String, BTreeMap<String, Object>>,
}

/// A tenant's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the record or attribute of that name")]
pub struct Tenant {
    pub config: Option<Draft>,
    pub watermark: Option<StoredWatermark>,
    pub last_error: Option<Failure>,
    pub consecutive_failures: u64,
    pub receipts: BTreeMap<DateTime<Utc>, Receipt>,
}

/// An object in a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is what S3 calls by that name")]
pub struct Object {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub metadata: [(&'static str, String); 4],
}

impl Memory {
    /// The state, to look at or to change. Don't hold it across an await.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records an event in a tenant's shard.
    pub fn put_event(&self, tenant: &TenantId, shard: u16, event: StoredEvent) {
        let mut state = self.state();
        state.events.entry((tenant.to_string(), shard)).or_default().insert(event.recorded_at_id, event.body);
    }

    /// Plans a fault for the next call of an operation, for one tenant or for any.
    pub fn once(&self, op: Op, tenant: Option<&str>, fault: Fault) {
        self.faults.plan(op, tenant, fault, false);
    }

    /// Makes every call of an operation fail, for one tenant or for all, until [`Memory::heal`].
    pub fn always(&self, op: Op, tenant: Option<&str>, failure: Failure) {
        self.faults.plan(op, tenant, Fault::Fail(failure), true);
    }

    /// Ends all planned faults.
    pub fn heal(&self) {
        self.faults.clear();
    }

    /// How often an operation was called.
    pub fn calls(&self, op: Op) -> usize {
        self.faults.calls(op)
    }

    async fn pass(&self, op: Op, tenant: &str) -> Result<(), Failure> {
        self.faults.pass(op, tenant).await
    }
}

impl Tenants for Memory {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<String>, Failure> {
        self.pass(Op::Due, &shard.to_string()).await?;
        let tick = timestamp::seconds(tick);
        let is_due = |watermark: &StoredWatermark| {
            watermark.due_shard == Some(shard.to_string())
                && watermark.next_due.as_ref().is_some_and(|due| *due <= tick)
        };
        let state = self.state();
        let due = state.tenants.iter().filter(|(_, tenant)| tenant.watermark.as_ref().is_some_and(is_due));
        Ok(due.map(|(id, _)| id.clone()).collect())
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        self.pass(Op::AnyConnected, &shard.to_string()).await?;
        let mut watermarks: Vec<_> =
            self.state().tenants.values().filter_map(|tenant| tenant.watermark.clone()).collect();
        watermarks.retain(|watermark| watermark.next_due.is_some());
        Ok(watermarks.into_iter().any(|watermark| watermark.due_shard == Some(shard.to_string())))
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        for tenant in tenants {
            self.pass(Op::Load, tenant.as_str()).await?;
        }
        let state = self.state();
        let records = |tenant: &TenantId| {
            let stored = state.tenants.get(tenant.as_str()).cloned().unwrap_or_default();
            (tenant.clone(), TenantRecords { config: stored.config, watermark: stored.watermark })
        };
        Ok(tenants.iter().map(records).collect())
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        after: Schedule,
        receipt: &Receipt,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::Commit, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        if stored.watermark.as_ref() != Some(as_read) || version(stored.config.as_ref()) != Some(config.version) {
            return Ok(Conditional::LostRace);
        }
        stored.watermark = Some(as_read.at(after));
        stored.last_error = receipt.loss();
        stored.consecutive_failures = 0;
        stored.receipts.insert(receipt.window.to, receipt.clone());
        Ok(Conditional::Written)
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        as_read: &StoredWatermark,
        failure: &Failure,
        _at: DateTime<Utc>,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::RecordFailure, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        if !stored.watermark.as_ref().is_some_and(|stored| stored.stands_where(as_read)) {
            return Ok(Conditional::LostRace);
        }
        stored.last_error = Some(failure.clone());
        stored.consecutive_failures += 1;
        Ok(Conditional::Written)
    }

    async fn disturb(&self, tenant: &TenantId) -> Result<(), Failure> {
        self.pass(Op::Disturb, tenant.as_str()).await?;
        if let Some(watermark) = self.state().tenants.get_mut(tenant.as_str()).and_then(|t| t.watermark.as_mut()) {
            let before = watermark.disturbed.as_deref().and_then(|count| count.parse().ok()).unwrap_or(0_u64);
            watermark.disturbed = Some((before + 1).to_string());
        }
        Ok(())
    }

    async fn receipt(&self, tenant: &TenantId, window_end: DateTime<Utc>) -> Result<Option<ReceiptDigest>, Failure> {
        self.pass(Op::Receipt, tenant.as_str()).await?;
        let state = self.state();
        let stored = state.tenants.get(tenant.as_str()).and_then(|tenant| tenant.receipts.get(&window_end));
        Ok(stored.map(ReceiptDigest::of))
    }

    async fn amend_receipt(
        &self,
        tenant: &TenantId,
        as_read: &ReceiptDigest,
        receipt: &Receipt,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::AmendReceipt, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.get_mut(tenant.as_str()).and_then(|t| t.receipts.get_mut(&receipt.window.to));
        match stored {
            Some(stored) if ReceiptDigest::of(stored) == *as_read => {
                *stored = receipt.clone();
                Ok(Conditional::Written)
            }
            _ => Ok(Conditional::LostRace),
        }
    }
}

/// The version of a stored config; none if there is no config.
fn version(config: Option<&Draft>) -> Option<u64> {
    config.map(|config| config.version.as_deref().unwrap_or("0").parse().unwrap_or(0))
}

impl Settings for Memory {
    async fn records(&self, tenant: &TenantId) -> Result<TenantRecords, Failure> {
        let stored = self.state().tenants.get(tenant.as_str()).cloned().unwrap_or_default();
        Ok(TenantRecords { config: stored.config, watermark: stored.watermark })
    }

    async fn save(
        &self,
        config: &TenantConfig,
        _saved_at: DateTime<Utc>,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
    ) -> Result<Conditional, Failure> {
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        let unchanged = match (&stored.watermark, as_read) {
            (Some(stored), Some(as_read)) => stored.stands_where(as_read),
            (stored, as_read) => stored.is_none() && as_read.is_none(),
        };
        if !unchanged || version(stored.config.as_ref()).unwrap_or(0) != config.version {
            return Ok(Conditional::LostRace);
        }
        stored.config = Some(Draft::of(config, config.version + 1));
        let disturbed = stored.watermark.take().and_then(|watermark| watermark.disturbed);
        stored.watermark = Some(StoredWatermark { disturbed, ..StoredWatermark::connected(&config.tenant, schedule) });
        Ok(Conditional::Written)
    }

    async fn disconnect(&self, tenant: &TenantId) -> Result<(), Failure> {
        if let Some(watermark) = self.state().tenants.get_mut(tenant.as_str()).and_then(|t| t.watermark.as_mut()) {
            watermark.due_shard = None;
        }
        Ok(())
    }
}

impl Events for Memory {
    async fn page(&self, stretch: Stretch<'_>) -> Result<Page, Failure> {
        self.pass(Op::Page, stretch.tenant.as_str()).await?;
        let (from, to) = (timestamp::millis(stretch.window.from), timestamp::millis(stretch.window.to));
        let limit = if self.page_size == 0 { usize::MAX } else { self.page_size };
        let state = self.state();
        let shard = state.events.get(&(stretch.tenant.to_string(), stretch.shard));
        let in_window = shard
            .into_iter()
            .flatten()
            .filter(|(key, _)| **key >= from && **key <= to && stretch.after.is_none_or(|after| key.as_str() > after));
        let event = |(key, body): (&String, &Body)| StoredEvent { recorded_at_id: key.clone(), body: body.clone() };
        let events: Vec<StoredEvent> = in_window.take(limit).map(event).collect();
        let more_after =
            (events.len() == limit).then(|| events.last().map(|last| last.recorded_at_id.clone())).flatten();
        Ok(Page { events, more_after })
    }
}
