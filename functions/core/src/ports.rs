//! The ports: what the services need of AWS, one trait for each consumer.
//!
//! Each is implemented by `fakes` and by the crate `aws`, and both pass the same contract tests. Implementations
//! retry; a [`Failure`] that they return is final for this run.

mod erasure;
mod manifests;
mod probes;

use std::future::Future;

use chrono::{DateTime, Utc};

pub use erasure::{Begun, Erased, Erasure, EventsPart, Inventory, being_erased};
pub use manifests::{ManifestKeys, Signer};
pub use probes::{Access, Action, DeliveryFailure, Probes, Reach};

use crate::{
    batch::Batch,
    event::StoredEvent,
    failure::Failure,
    filter::CopyFilter,
    lease::Lease,
    new_event::NewEvent,
    notification::Notification,
    object::ObjectSpec,
    outbox::{Announcement, Outbox},
    records::{
        ConnectedCount, ConnectionCheck, ExportHealth, FinalDeliveries, Location, Receipt, Replay, StoredReceipt,
        StoredWatermark, TenantRecords,
    },
    schedule::{Schedule, Window},
    settings::TenantConfig,
    setup_draft::SetupDraft,
    tenant::{DueShard, EventShards, ExternalId, ExternalIds, RoleArn, TenantId},
    timestamp,
    verification::{Verification, VerificationRequest},
};

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Conditional {
    Written,
    /// A record was no longer as it was read; nothing was written.
    ConditionFailed,
}

/// What a lease is acquired for. It decides the condition, beside that no other run has the lease.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// An export: the tenant is connected, and its schedule is as it was read.
    Export(&'a StoredWatermark),
    /// Publishing the outbox: no other condition.
    Publish,
    /// A final delivery or a replay: no other condition, since their records are read under the lease.
    Redelivery,
}

/// How the attempt to acquire a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum Acquisition {
    /// The run has the lease. The record `watermark` was like this at that moment.
    Acquired(StoredWatermark, ExportHealth),
    /// Another run has the lease until then.
    HeldUntil(DateTime<Utc>),
    /// The tenant's schedule is no longer as it was read.
    ConditionFailed,
}

/// The condition of a run's writes to the record `watermark`: the run has the lease, and the schedule is as it was read.
#[derive(Debug, Clone, Copy)]
pub struct Fence<'a> {
    pub lease: &'a Lease,
    pub as_read: &'a StoredWatermark,
}

/// What a commit writes, all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// The new schedule.
    pub after: Schedule,
    pub receipt: &'a Receipt,
    /// The end of failures, if there were any.
    pub announcement: Option<&'a Announcement>,
    /// Whether the lease is released.
    pub releases: bool,
}

/// What a failure writes, all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct FailureRecord<'a> {
    pub failure: &'a Failure,
    pub at: DateTime<Utc>,
    pub announcement: Option<&'a Announcement>,
    /// Whether the lease is released.
    pub releases: bool,
}

/// What a final delivery writes, all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct FinalDeliveryWrite<'a> {
    /// The record `final_delivery`, with a revision of one more than as it was read.
    pub after: &'a FinalDeliveries,
    /// The watermark's new `final_delivered_until`.
    pub delivered_until: Option<DateTime<Utc>>,
    pub announcement: Option<&'a Announcement>,
}

/// What a replay writes, all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct ReplayWrite<'a> {
    /// The record `replay`, with a revision of one more than as it was read.
    pub after: &'a Replay,
    /// What was stored for a window. The export's own receipt stays as it is.
    pub receipt: Option<&'a Receipt>,
    pub announcement: Option<&'a Announcement>,
}

/// An entry of the index `due`, unchecked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    pub tenant: String,
    pub next_due: String,
}

/// The tenants' records, for the export.
pub trait Tenants: Sync {
    /// Returns one shard's tenants with a `next_due` at or before the tick. Only a hint: the index lags.
    fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> impl Future<Output = Result<Vec<Due>, Failure>> + Send;

    /// Whether a shard of the index holds any connected tenant, due or not.
    fn any_connected(&self, shard: DueShard) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// Returns the records of each tenant, read consistently; one entry for each id, in any order.
    fn load(
        &self,
        tenants: &[TenantId],
    ) -> impl Future<Output = Result<Vec<(TenantId, TenantRecords)>, Failure>> + Send;

    fn load_one(&self, tenant: &TenantId) -> impl Future<Output = Result<TenantRecords, Failure>> + Send {
        async {
            let loaded = self.load(std::slice::from_ref(tenant)).await?;
            Ok(loaded.into_iter().next().map(|(_, records)| records).unwrap_or_default())
        }
    }

    /// Returns the tenants with pending final deliveries or a replay in progress, once each and in any order: the index `pending`.
    /// Only a hint: the index lags.
    fn redeliveries(&self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Replaces the record `final_delivery`. Conditional on the lease, and on the record's revision as read. An audit event that
    /// was recorded before stays as it is.
    fn write_final_deliveries(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        write: FinalDeliveryWrite<'_>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Replaces the record `replay`, and stores the receipt of a replayed window under its window and location. Conditional on the
    /// lease, and on the record's revision as read. An audit event that was recorded before stays as it is.
    fn write_replay(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        write: ReplayWrite<'_>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Returns the export's receipts whose windows end after an instant, earliest first, at most `most`; read consistently.
    fn receipts_after(
        &self,
        tenant: &TenantId,
        after: DateTime<Utc>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<StoredReceipt>, Failure>> + Send;

    /// Returns the receipt of the last replay of the window with that end into a location; read consistently.
    fn replayed_receipt(
        &self,
        tenant: &TenantId,
        window_end: DateTime<Utc>,
        location: &Location,
    ) -> impl Future<Output = Result<Option<StoredReceipt>, Failure>> + Send;

    /// Acquires the tenant's lease, on the condition that no lease [excludes others](Lease::excludes_others) at `now`, and on
    /// that of the purpose. If the stored lease is this very one, it is acquired again: an earlier answer was lost.
    fn acquire_lease(
        &self,
        tenant: &TenantId,
        purpose: Purpose<'_>,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<Acquisition, Failure>> + Send;

    /// Removes the tenant's lease if it is this one.
    fn release_lease(&self, tenant: &TenantId, lease: &Lease) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Moves the watermark, clears its failures, stores the receipt and announces the end of failures, all or nothing.
    /// Conditional on the fence, on the tenant being connected, on whether it was failing, and on the config's version. Never
    /// writes `due_shard`. An audit event that was recorded before stays as it is.
    fn commit(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        commit: Commit<'_>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Stores a [`Checkpoint`](crate::checkpoint::Checkpoint) of the due window on the watermark. Conditional like a commit.
    fn save_checkpoint(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        checkpoint: &str,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Notes a failure and the beginning of failures on the watermark, counts and announces it, all or nothing. Conditional on
    /// the fence. An audit event that was recorded before stays as it is.
    fn record_failure(
        &self,
        tenant: &TenantId,
        fence: Fence<'_>,
        record: FailureRecord<'_>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Returns the tenant's outbox, read consistently.
    fn outbox(&self, tenant: &TenantId) -> impl Future<Output = Result<Outbox, Failure>> + Send;

    /// Removes published entries from the outbox by their ids, and no others.
    fn remove_published(
        &self,
        tenant: &TenantId,
        as_read: &Outbox,
        ids: &[String],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The tenants' records, for their admins. Each change and its announcement are written all or nothing, together with the
/// record `final_delivery` of a change that leaves a place, which is conditional on the record's revision as read.
pub trait Settings: Sync {
    /// Returns the tenant's records, read consistently.
    fn records(&self, tenant: &TenantId) -> impl Future<Output = Result<TenantRecords, Failure>> + Send;

    /// Returns the stored external ID, or stores `candidate` and the event of the first look at it, all or nothing. From then
    /// on only a [rotation](Rotations) changes it.
    fn external_id(
        &self,
        tenant: &TenantId,
        candidate: &ExternalId,
        viewed: &NewEvent,
    ) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Stores or removes the role of a tenant that has no settings yet; raises the config's version by one.
    /// Conditional on that version, on there being an external ID, and on there being no watermark.
    fn store_role(
        &self,
        tenant: &TenantId,
        role: Option<&RoleArn>,
        version: u64,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Replaces what an unfinished setup has typed, and changes nothing else. Conditional on the config's version, and on there being
    /// an external ID.
    fn save_setup_draft(
        &self,
        tenant: &TenantId,
        version: u64,
        draft: &SetupDraft,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Stores both records and connects the tenant: the config with its version raised by one, the watermark with `schedule`
    /// and the time of the change, which begins a new first day of a failing tenant. Removes what a setup has typed. Stored external IDs
    /// stay as they are. `is_verified` says whether these settings have passed a verification. Conditional on the config's version, on the watermark as read, and on the stored `event_shards` being no more
    /// than the config's. A schedule that begins elsewhere than the stored one is also conditional on there being no lease, expired or
    /// not, and on [nothing having been stored](TenantRecords::has_begun).
    fn save(
        &self,
        config: &TenantConfig,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
        is_verified: bool,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Removes the tenant from the schedule and raises the config's version by one. All else stays, so that a reconnected tenant
    /// goes on where it stopped. Conditional on that version, and on the tenant being in the schedule.
    fn disconnect(
        &self,
        tenant: &TenantId,
        version: u64,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Returns the tenant's receipts whose windows end before an instant, latest first, at most `most`.
    fn receipts(
        &self,
        tenant: &TenantId,
        before: Option<DateTime<Utc>>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<StoredReceipt>, Failure>> + Send;

    /// Returns the receipts of replays whose windows end from `first` to `last`, both included, in any order.
    fn replayed_receipts(
        &self,
        tenant: &TenantId,
        first: DateTime<Utc>,
        last: DateTime<Utc>,
    ) -> impl Future<Output = Result<Vec<StoredReceipt>, Failure>> + Send;

    /// Stores the record `replay`: a new request, or that one is to be stopped. Conditional on the record's revision being one less,
    /// and on the tenant having a config that is not being erased.
    fn request_replay(
        &self,
        tenant: &TenantId,
        after: &Replay,
        announcement: Option<&Announcement>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Takes one of the tenant's `most` slots of a kind in the period that begins at `since`; false if none is left.
    fn take_slot(
        &self,
        tenant: &TenantId,
        kind: SlotKind,
        since: DateTime<Utc>,
        most: u32,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// What a tenant may do only so often in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotKind {
    Verification,
    /// A request to export now.
    Retry,
    Search,
    /// A sign-in or a sign-out.
    Session,
    Replay,
    /// A look at what a replay would do, which reads many receipts.
    Preview,
}

impl SlotKind {
    /// Returns the name of the record that counts the slots of the period that begins at `since`.
    pub fn record(self, since: DateTime<Utc>) -> String {
        let kind = match self {
            Self::Verification => "verification_slots",
            Self::Retry => "retry_slots",
            Self::Search => "search_slots",
            Self::Session => "session_slots",
            Self::Replay => "replay_slots",
            Self::Preview => "preview_slots",
        };
        format!("{kind}#{}", timestamp::seconds(since))
    }
}

/// What is noted once a tenant's exports may work again.
pub trait Repairs: Sync {
    /// Resets the backoff of a failing tenant: notes on the watermark that its settings were found to work, or that an admin
    /// asked for a retry. Writes nothing if the tenant doesn't fail.
    fn reset_backoff(&self, tenant: &TenantId, at: DateTime<Utc>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Notes on the config that the settings of this version have passed a verification. Conditional on that version, which
    /// stays as it is: exports in progress go on.
    fn mark_verified(
        &self,
        tenant: &TenantId,
        version: u64,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;
}

/// Rotations of a tenant's external ID.
pub trait Rotations: Sync {
    /// Replaces the tenant's external IDs, with the audit event, all or nothing. Conditional on both as read and, if a role is
    /// given, on the tenant having that role or none. Changes nothing else, in particular not the config's version: exports in
    /// progress go on.
    fn replace_external_ids(
        &self,
        tenant: &TenantId,
        as_read: &ExternalIds,
        after: &ExternalIds,
        role: Option<&RoleArn>,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;
}

/// Connection checks.
pub trait Connections: Sync {
    /// Returns each tenant's last check, read consistently; one entry for each id, in any order. None also if the stored check
    /// can't be read.
    fn last_checks(
        &self,
        tenants: &[TenantId],
    ) -> impl Future<Output = Result<Vec<(TenantId, Option<ConnectionCheck>)>, Failure>> + Send;

    fn last_check(&self, tenant: &TenantId) -> impl Future<Output = Result<Option<ConnectionCheck>, Failure>> + Send {
        async {
            let found = self.last_checks(std::slice::from_ref(tenant)).await?;
            Ok(found.into_iter().find_map(|(_, check)| check))
        }
    }

    /// Replaces the last check and announces a change, all or nothing. Conditional on the last check as read (for none, on there
    /// being none that can be read), on the config's version that was checked, and on the tenant being connected. An audit
    /// event that was recorded before stays as it is.
    fn save_check(
        &self,
        tenant: &TenantId,
        as_read: Option<&ConnectionCheck>,
        found: &ConnectionCheck,
        announcement: Option<&Announcement>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;
}

/// All tenants at once, for the hourly check. Indexes lag, so what they list is a hint.
pub trait Fleet: Sync {
    /// Returns every entry of one shard of the index `due`, due or not: the connected tenants.
    fn connected(&self, shard: DueShard) -> impl Future<Output = Result<Vec<Due>, Failure>> + Send;

    /// Returns the ids of all tenants with saved settings, connected or not, in any order: the index `saved`.
    fn saved(&self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Returns the ids of all tenants whose outbox is not empty, in order: the index `pending`.
    fn pending(&self) -> impl Future<Output = Result<Vec<String>, Failure>> + Send;

    /// Returns the last count of connected tenants, read consistently.
    fn last_count(&self) -> impl Future<Output = Result<Option<ConnectedCount>, Failure>> + Send;

    /// Replaces the last count.
    fn save_count(&self, count: ConnectedCount) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// How recording an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    Created,
    /// This event had been stored before; nothing was written.
    Duplicate,
    /// Another event of the same submitter had been stored under this id; nothing was written.
    Conflict,
    /// Another submitter's event with the same id has the same time, and so the same key; nothing was written. The event can
    /// be stored with a later stamp.
    KeyTaken,
}

pub trait Recorder: Sync {
    /// Stores an event with a marker of its submitter, its id and its digest, on the condition that there is no such marker
    /// and no event under its key. Fails before half of the time that windows take to settle has passed; then the event may
    /// be sent again, with a new stamp.
    fn record(&self, event: &NewEvent) -> impl Future<Output = Result<Recording, Failure>> + Send;

    /// Returns over how many shards the tenant's events may be spread, by its config; without a config, one.
    fn event_shards(&self, tenant: &TenantId) -> impl Future<Output = Result<EventShards, Failure>> + Send;
}

/// Verifies connections for functions that can't assume customers' roles.
pub trait Verifier: Sync {
    /// Verifies a connection as [`crate::verify::verify`] does.
    fn verify(&self, request: &VerificationRequest) -> impl Future<Output = Result<Verification, Failure>> + Send;
}

/// The queue of batches.
pub trait Queue: Sync {
    /// Sends each batch, at least once. Returns the positions of those that may not have been sent, and why.
    fn send(&self, batches: &[Batch]) -> impl Future<Output = Vec<(usize, Failure)>> + Send;
}

pub trait Bus: Sync {
    /// Publishes a notification, at least once. Returns soon: the tenant's export waits for it.
    fn publish(&self, notification: &Notification) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Without a bus, notifications are dropped.
impl<B: Bus> Bus for Option<B> {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        match self {
            Some(bus) => bus.publish(notification).await,
            None => Ok(()),
        }
    }
}

/// Asks the exporter for work on one tenant, without waiting until it is done.
pub trait ExporterTrigger: Sync {
    /// Asks it to publish the tenant's outbox.
    fn request_publishing(&self, tenant: &TenantId) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Asks it to export what is due of the tenant.
    fn request_export(&self, tenant: &TenantId) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The events of one shard in a window, or the rest of them.
#[derive(Debug, Clone, Copy)]
pub struct EventRange<'a> {
    pub tenant: &'a TenantId,
    pub shard: u16,
    pub window: Window,
    /// The reading begins beyond this `recorded_at_id`, in its direction; none: at the window's first event.
    pub after: Option<&'a str>,
}

/// Some events of a range.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In the direction of reading; may be empty although more follow.
    pub events: Vec<StoredEvent>,
    /// The last `recorded_at_id` that was read; none if the range ends with this page.
    pub more_after: Option<String>,
}

/// Some events of a range, the latest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PageBack {
    /// May be empty although more follow.
    pub events: Vec<StoredEvent>,
    /// The last `recorded_at_id` that was read, sent or not; none if the range ends with this page.
    pub more_after: Option<String>,
    pub scanned: Scanned,
}

/// What was read, sent or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scanned {
    pub events: u64,
    /// As the table counts them, with keys and copies.
    pub bytes: u64,
}

pub trait Events: Sync {
    /// Reads the next page of a range, consistently.
    fn page(&self, range: EventRange<'_>) -> impl Future<Output = Result<Page, Failure>> + Send;

    /// Reads the next page from the latest event backwards, at most `most` events, and returns those that pass the filter; it
    /// may return others. It is not consistent, so never export what it returns.
    fn page_back(
        &self,
        range: EventRange<'_>,
        most: usize,
        filter: Option<CopyFilter<'_>>,
    ) -> impl Future<Output = Result<PageBack, Failure>> + Send;
}

/// The customers' buckets.
pub trait Buckets: Sync {
    /// A bucket with one tenant's credentials, which are dropped with it.
    type Bucket: Bucket;

    /// Assumes the tenant's role. The session's name has `window`, the first that is exported in it, so that the customer finds
    /// the export in CloudTrail.
    fn open(&self, config: &TenantConfig, window: Window)
    -> impl Future<Output = Result<Self::Bucket, Failure>> + Send;
}

/// One tenant's folder in its bucket.
pub trait Bucket: Send + Sync {
    type Upload: Upload;

    /// Begins an object. Nothing is sent before there are bytes.
    fn upload(&self, spec: ObjectSpec) -> Self::Upload;
}

/// How storing an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Finish {
    pub result: Result<(), Failure>,
    /// Whether a failed attempt may still be carried out, whatever the result.
    pub in_doubt: bool,
}

/// An object that is being uploaded; not visible in the bucket until it is finished.
pub trait Upload: Send {
    fn write(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Stores the object, replacing an earlier one of the same key. `sha256` is that of all its bytes, in lower-case hex.
    fn finish(self, sha256: &str) -> impl Future<Output = Finish> + Send;

    /// Aborts the upload and leaves nothing behind that the customer would pay for.
    fn abort(self) -> impl Future<Output = ()> + Send;
}
