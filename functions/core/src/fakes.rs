//! In-memory implementations of all ports for tests, with injected faults.
//!
//! They pass the same contract tests as the AWS adapters.

mod buckets;
mod connections;
mod erasure;
mod events;
mod faults;
mod fleet;
mod messages;
#[cfg(test)]
mod published_schema;
mod settings;
mod signing;
mod tenants;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};

pub use buckets::FakeUpload;
use faults::Faults;
pub use faults::{Fault, Op};
#[cfg(test)]
pub(crate) use published_schema::schema_errors;

use crate::{
    batch::Batch,
    event::{Body, StoredEvent},
    failure::{Failure, Party},
    lease::Lease,
    manifest::{ManifestKey, UsedKey},
    new_event::NewEvent,
    notification::Notification,
    outbox::{Announcement, Outbox},
    ports::{Fence, Recording, SlotKind},
    records::{
        ConnectedCount, ConnectionCheck, ExportHealth, FinalDeliveries, LastError, Receipt, Replay, StoredWatermark,
        TenantRecords,
    },
    settings::{Draft, TenantConfig},
    setup_draft::SetupDraft,
    tenant::TenantId,
    timestamp,
    verification::{Step, StepName, VerificationRequest},
};

/// All ports over one state, which clones share.
#[derive(Clone, Default)]
pub struct Fakes {
    state: Arc<Mutex<FakeState>>,
    faults: Faults,
    /// The events of a page; 0 for no limit.
    pub page_size: usize,
}

#[derive(Default)]
pub struct FakeState {
    pub tenants: BTreeMap<String, FakeTenant>,
    pub events: BTreeMap<(String, u16), BTreeMap<String, Body>>,
    /// The digest of each recorded event, by tenant and marker.
    pub markers: BTreeMap<(String, String), String>,
    pub buckets: BTreeMap<String, BTreeMap<String, FakeObject>>,
    /// The settings by which a bucket was opened last.
    pub opened: Option<TenantConfig>,
    /// Bucket and key of each stored object, in order.
    pub stored: Vec<(String, String)>,
    /// Whether S3 may still carry out a request that was given up.
    pub in_doubt: bool,
    pub queue: Vec<Batch>,
    pub notifications: Vec<Notification>,
    /// The tenants of the requests to publish.
    pub requested: Vec<String>,
    /// The tenants of the requests to export.
    pub requested_exports: Vec<String>,
    pub verified: Vec<VerificationRequest>,
    pub findings: BTreeMap<StepName, Step>,
    pub count: Option<ConnectedCount>,
    /// How many slots of a period a tenant has asked for.
    pub slots: BTreeMap<(TenantId, SlotKind, DateTime<Utc>), u32>,
    pub draws: u64,
    /// The key that signs manifests; none: the platform signs none.
    pub manifest_key: Option<ManifestKey>,
    pub manifest_keys: Vec<UsedKey>,
}

/// A tenant's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeTenant {
    pub config: Option<Draft>,
    pub setup_draft: Option<SetupDraft>,
    pub verified_version: Option<u64>,
    pub watermark: Option<StoredWatermark>,
    pub last_success_at: Option<DateTime<Utc>>,
    pub last_error: Option<(Failure, DateTime<Utc>)>,
    pub consecutive_failures: u64,
    pub failing_since: Option<DateTime<Utc>>,
    pub backoff_reset_at: Option<DateTime<Utc>>,
    pub lease: Option<Lease>,
    pub outbox: Outbox,
    pub final_deliveries: FinalDeliveries,
    pub receipts: BTreeMap<DateTime<Utc>, Receipt>,
    /// By the window's end and the location's hash.
    pub replayed: BTreeMap<(DateTime<Utc>, String), Receipt>,
    pub replay: Option<Replay>,
    pub connection_check: Option<ConnectionCheck>,
    /// Whether the stored check can't be read.
    pub unreadable_connection_check: bool,
    /// If the config only says that an erasure has begun.
    pub erasing_since: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeObject {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub metadata: [(&'static str, String); 4],
}

impl FakeState {
    /// Stores an event unless one of its id was stored before by its submitter, or one under its key.
    fn record(&mut self, event: &NewEvent) -> Recording {
        let tenant = event.tenant.to_string();
        let marker = (tenant.clone(), event.marker_hash());
        match self.markers.get(&marker) {
            None => {}
            Some(digest) if *digest == event.digest => return Recording::Duplicate,
            Some(_) => return Recording::Conflict,
        }
        let shard = self.events.entry((tenant, event.shard)).or_default();
        if shard.contains_key(&event.recorded_at_id()) {
            return Recording::KeyTaken;
        }
        shard.insert(event.recorded_at_id(), Body::Text(event.document.clone()));
        self.markers.insert(marker, event.digest.clone());
        Recording::Created
    }

    /// Records the audit event, and adds the notification to the outbox.
    fn announce(&mut self, Announcement { event, notification, final_deliveries }: &Announcement) {
        self.record(event);
        if let Some(after) = final_deliveries {
            self.tenants.entry(event.tenant.to_string()).or_default().final_deliveries = after.clone();
        }
        if let Some(notification) = notification {
            let outbox = &mut self.tenants.entry(event.tenant.to_string()).or_default().outbox;
            let addition = outbox.addition(notification);
            #[cfg(test)]
            assert_eq!(schema_errors(&addition.entry), [""; 0], "{:?}", addition.entry);
            outbox.add(addition);
        }
    }

    fn records(&self, tenant: &TenantId) -> TenantRecords {
        self.tenants.get(tenant.as_str()).map(FakeTenant::records).unwrap_or_default()
    }
}

impl FakeTenant {
    /// Whether a write under this fence meets its conditions.
    fn is_within(&self, Fence { lease, as_read }: Fence<'_>) -> bool {
        let is_unmoved = |stored: &StoredWatermark| {
            (&stored.exported_until, &stored.next_due) == (&as_read.exported_until, &as_read.next_due)
        };
        self.lease.as_ref().is_some_and(|stored| stored.token == lease.token)
            && self.watermark.as_ref().is_some_and(is_unmoved)
    }

    /// Whether a commit or a checkpoint meets its conditions.
    fn is_as_read(&self, config: &TenantConfig, fence: Fence<'_>) -> bool {
        let is_connected = self.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some());
        let was_failing = (self.consecutive_failures > 0) == fence.as_read.failing;
        self.is_within(fence) && is_connected && was_failing && version(self.config.as_ref()) == Some(config.version)
    }

    /// Whether the record `final_delivery` is as a write to it expects.
    fn has_revision_before(&self, after: Option<&FinalDeliveries>) -> bool {
        after.is_none_or(|after| self.final_deliveries.revision + 1 == after.revision)
    }

    /// Whether the record `replay` is as a write to it expects.
    fn has_replay_before(&self, after: &Replay) -> bool {
        self.replay.as_ref().map_or(0, |replay| replay.revision) + 1 == after.revision
    }

    fn records(&self) -> TenantRecords {
        let last_receipt = self.receipts.values().max_by_key(|receipt| receipt.exported_at);
        let last_object = last_receipt.and_then(|receipt| receipt.objects.last());
        let last_error = self.last_error.as_ref().map(|(failure, at)| LastError {
            code: failure.code.to_string(),
            message: failure.message.clone(),
            party: Some(failure.party.to_string()),
            at: Some(timestamp::whole_seconds(*at)),
        });
        let health = ExportHealth {
            last_success_at: self.last_success_at.map(timestamp::whole_seconds),
            last_object_key: last_object.map(|object| object.key.clone()),
            last_error,
            consecutive_failures: self.consecutive_failures,
            failing_since: self.failing_since.map(timestamp::whole_seconds),
            backoff_reset_at: self.backoff_reset_at.map(timestamp::whole_seconds),
        };
        let watermark = self.watermark.clone();
        let failing = self.consecutive_failures > 0;
        let refused = failing && self.last_error.as_ref().is_some_and(|(failure, _)| failure.party == Party::Customer);
        let watermark = watermark.map(|it| StoredWatermark { failing, refused, ..it });
        let (config, verified_version, lease) = (self.config.clone(), self.verified_version, self.lease.clone());
        let (has_notifications, final_deliveries) = (!self.outbox.is_empty(), self.final_deliveries.clone());
        let (setup_draft, replay) = (self.setup_draft.clone(), self.replay.clone());
        let replay_revision = replay.as_ref().map_or(0, |replay| replay.revision);
        TenantRecords {
            config,
            setup_draft,
            verified_version,
            watermark,
            health,
            lease,
            has_notifications,
            final_deliveries,
            replay,
            replay_revision,
        }
    }
}

impl Fakes {
    /// Don't hold the guard across an await.
    pub fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn put_event(&self, tenant: &TenantId, shard: u16, event: StoredEvent) {
        let mut state = self.state();
        state.events.entry((tenant.to_string(), shard)).or_default().insert(event.recorded_at_id, event.body);
    }

    /// The actions of a tenant's events, in order.
    pub fn actions(&self, tenant: &str) -> Vec<String> {
        let state = self.state();
        let bodies = state.events.iter().filter(|((of, _), _)| of == tenant).flat_map(|(_, events)| events.values());
        let action = |body: &Body| match body {
            Body::Text(text) => {
                let document: serde_json::Value = serde_json::from_str(text).ok()?;
                Some(document.get("action")?.as_str()?.to_owned())
            }
            Body::NoText(_) => None,
        };
        bodies.filter_map(action).collect()
    }

    /// Plans a fault for the next call of an operation, for one tenant or for any.
    pub fn once(&self, op: Op, tenant: Option<&str>, fault: Fault) {
        self.faults.plan(op, tenant, fault, false);
    }

    /// Makes every call of an operation fail, for one tenant or for all, until [`Fakes::heal`].
    pub fn always(&self, op: Op, tenant: Option<&str>, failure: Failure) {
        self.faults.plan(op, tenant, Fault::Fail(failure), true);
    }

    /// Fills a slice with bytes that differ from call to call.
    pub fn random(&self, bytes: &mut [u8]) -> bool {
        let mut state = self.state();
        state.draws += 1;
        let drawn = state.draws.to_be_bytes();
        bytes.iter_mut().zip(drawn.iter().cycle()).for_each(|(byte, drawn)| *byte = *drawn);
        true
    }

    /// Removes all planned faults.
    pub fn heal(&self) {
        self.faults.clear();
    }

    pub fn calls(&self, op: Op) -> usize {
        self.faults.calls(op)
    }

    async fn inject(&self, op: Op, tenant: &str) -> Result<(), Failure> {
        self.faults.inject(op, tenant).await
    }
}

/// The version of a stored config; none without a config.
fn version(config: Option<&Draft>) -> Option<u64> {
    config.map(|config| config.version.as_deref().unwrap_or("0").parse().unwrap_or(0))
}
