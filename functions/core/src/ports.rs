//! What the export needs of the world: few traits, each by its consumer's need.
//!
//! Each is implemented twice, in memory ([`crate::fakes`]) and against AWS, and both pass the same contract tests.
//! Implementations retry what is worth retrying; a [`Failure`] that comes out of here is final for this run.

mod connections;
mod fleet;
mod probes;

use std::future::Future;

use chrono::{DateTime, Utc};

pub use connections::Connections;
pub use fleet::Fleet;
pub use probes::{Access, Action, Probes, Reach};

use crate::{
    batch::Batch,
    event::StoredEvent,
    failure::Failure,
    lease::Lease,
    new_event::NewEvent,
    notification::Notification,
    object::ObjectSpec,
    outbox::{Announcement, Outbox},
    records::{ExportHealth, Receipt, StoredReceipt, StoredWatermark, TenantRecords},
    schedule::{Schedule, Window},
    settings::TenantConfig,
    tenant::{DueShard, EventShards, ExternalId, RoleArn, TenantId},
    verification::{Verification, VerificationRequest},
};

/// How a conditional write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Conditional {
    /// It was written.
    Written,
    /// The record was no longer as it was read; nothing was written.
    ConditionFailed,
}

/// What a lease is acquired for, and with it, on what condition beside there being no other.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// A regular export: the tenant is connected, and due as it was read.
    Export(&'a StoredWatermark),
    /// Publishing what the outbox holds, of any tenant.
    Publish,
}

/// How the attempt to acquire a lease ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
#[allow(clippy::large_enum_variant, reason = "there is one at a time, and it is taken apart at once")]
pub enum Acquisition {
    /// It is this run's. The record `watermark` was as it is here at that very moment.
    Acquired(StoredWatermark, ExportHealth),
    /// Another run has it until then.
    HeldUntil(DateTime<Utc>),
    /// The tenant is no longer as it was read.
    ConditionFailed,
}

/// Under what a write to the record `watermark` holds: the run's lease, and the point at which the watermark stood as it was
/// read.
#[derive(Debug, Clone, Copy)]
pub struct Fence<'a> {
    /// The run's lease.
    pub lease: &'a Lease,
    /// The watermark as read.
    pub as_read: &'a StoredWatermark,
}

/// What a commit writes, all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct Commit<'a> {
    /// Where the watermark stands afterwards.
    pub after: Schedule,
    /// What was stored.
    pub receipt: &'a Receipt,
    /// The end of failures, if there were any.
    pub announcement: Option<&'a Announcement>,
    /// Whether the lease ends with it.
    pub releases: bool,
}

/// What is recorded of a failure, all or nothing.
#[derive(Debug, Clone, Copy)]
pub struct FailureRecord<'a> {
    /// What went wrong.
    pub failure: &'a Failure,
    /// When.
    pub at: DateTime<Utc>,
    /// What is announced of it, if anything.
    pub announcement: Option<&'a Announcement>,
    /// Whether the lease ends with it.
    pub releases: bool,
}

/// An entry of the index `due`, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// The tenant's id.
    pub tenant: String,
    /// Since when it has been due.
    pub next_due: String,
}

/// The tenants' records, as the export sees them.
pub trait Tenants: Sync {
    /// Whoever is in one shard of the index with a `next_due` at or before the tick. Only a hint: the index lags.
    fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> impl Future<Output = Result<Vec<Due>, Failure>> + Send;

    /// Whether a shard of the index holds any connected tenant, due or not.
    fn any_connected(&self, shard: DueShard) -> impl Future<Output = Result<bool, Failure>> + Send;

    /// The records of each tenant, read consistently; one entry for each id, in any order.
    fn load(
        &self,
        tenants: &[TenantId],
    ) -> impl Future<Output = Result<Vec<(TenantId, TenantRecords)>, Failure>> + Send;

    /// The same for one tenant.
    fn load_one(&self, tenant: &TenantId) -> impl Future<Output = Result<TenantRecords, Failure>> + Send {
        async {
            let loaded = self.load(std::slice::from_ref(tenant)).await?;
            Ok(loaded.into_iter().next().map(|(_, records)| records).unwrap_or_default())
        }
    }

    /// Acquires the tenant's lease, if no other [excludes others](Lease::excludes_others) at `now`, or it is this very one: a call
    /// whose answer was lost is repeated. Conditional as the purpose says.
    fn acquire_lease(
        &self,
        tenant: &TenantId,
        purpose: Purpose<'_>,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> impl Future<Output = Result<Acquisition, Failure>> + Send;

    /// Ends a lease before its time; nothing is written if it is not this one.
    fn release_lease(&self, tenant: &TenantId, lease: &Lease) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Moves the watermark, clears its last error and when that began, stores the receipt and announces the end of failures, all
    /// or nothing. Conditional on the fence, on the tenant being connected, on whether it was failing, and on the config's
    /// version. Never writes `due_shard`. An audit event that was recorded before stays as it is.
    fn commit(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        commit: Commit<'_>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Keeps on the watermark how far the window that is due was stored; moves nothing. Conditional like a commit.
    fn save_checkpoint(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        checkpoint: &str,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Notes a failure on the watermark, and since when there are failures, counts and announces it, all or nothing; moves
    /// nothing. Conditional on the fence. An audit event that was recorded before stays as it is.
    fn record_failure(
        &self,
        tenant: &TenantId,
        fence: Fence<'_>,
        record: FailureRecord<'_>,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Begins a new first day of a tenant that fails: notes on the watermark that the tenant's settings are known to work at
    /// that time. Moves nothing; nothing is written where nothing fails.
    fn reset_backoff(&self, tenant: &TenantId, at: DateTime<Utc>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// The tenant's outbox, read consistently.
    fn outbox(&self, tenant: &TenantId) -> impl Future<Output = Result<Outbox, Failure>> + Send;

    /// Removes entries that are published from the outbox, by their ids, and no others.
    fn remove_published(
        &self,
        tenant: &TenantId,
        as_read: &Outbox,
        ids: &[String],
    ) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// The tenants' records, as whoever connects a tenant sees them. What an admin changes is recorded as an audit event of
/// the tenant, together with the change or not at all.
pub trait Settings: Sync {
    /// Both of the tenant's records, read consistently.
    fn records(&self, tenant: &TenantId) -> impl Future<Output = Result<TenantRecords, Failure>> + Send;

    /// The tenant's external ID, which from now on never changes: the one that is stored, or else `candidate`.
    fn external_id(
        &self,
        tenant: &TenantId,
        candidate: &ExternalId,
    ) -> impl Future<Output = Result<String, Failure>> + Send;

    /// Stores the role of a tenant that has no settings yet, or takes it back; raises the config's version by one.
    /// Conditional on that version, on there being an external ID, and on there being no watermark.
    fn store_role(
        &self,
        tenant: &TenantId,
        role: Option<&RoleArn>,
        version: u64,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Stores both records and connects the tenant, all or nothing: the config with its version raised by one, the
    /// watermark at `schedule`, and on it the time of the change, from which on a failing tenant is tried as on its first
    /// day. Conditional on the config's version, on the watermark as read, and on there being no more
    /// `event_shards` than the config has.
    fn save(
        &self,
        config: &TenantConfig,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// Takes the tenant out of the schedule, raises the config's version by one, and keeps everything else, so that a
    /// reconnected tenant goes on where it stopped. Conditional on that version, and on the tenant being in the schedule.
    fn disconnect(
        &self,
        tenant: &TenantId,
        version: u64,
        announcement: &Announcement,
    ) -> impl Future<Output = Result<Conditional, Failure>> + Send;

    /// The tenant's receipts whose windows end before an instant, the latest first.
    fn receipts(
        &self,
        tenant: &TenantId,
        before: Option<DateTime<Utc>>,
        most: usize,
    ) -> impl Future<Output = Result<Vec<StoredReceipt>, Failure>> + Send;

    /// Takes one of the tenant's `most` turns within the stretch of time that begins at `since`; false if all of them are
    /// taken.
    fn take_verification_slot(
        &self,
        tenant: &TenantId,
        since: DateTime<Utc>,
        most: u32,
    ) -> impl Future<Output = Result<bool, Failure>> + Send;
}

/// Whether an event was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// It is stored now.
    Created,
    /// This event was stored before; nothing was written.
    Duplicate,
    /// Another event was stored under this id before; nothing was written.
    Conflict,
}

/// Where events are recorded.
pub trait Recorder: Sync {
    /// Stores an event together with a marker of its id and its digest, on the condition that there is no such marker. Gives up within
    /// half of the time that windows settle for; an event that was given up may be sent again, with a new stamp.
    fn record(&self, event: &NewEvent) -> impl Future<Output = Result<Recording, Failure>> + Send;

    /// Over how many shards the tenant's events may be spread: what its config says, or one where there is none.
    fn event_shards(&self, tenant: &TenantId) -> impl Future<Output = Result<EventShards, Failure>> + Send;
}

/// Whoever verifies connections on behalf of those who may not assume roles themselves.
pub trait Verifier: Sync {
    /// Verifies a connection; [`crate::verify::verify`] says what that is.
    fn verify(&self, request: &VerificationRequest) -> impl Future<Output = Result<Verification, Failure>> + Send;
}

/// Where due tenants wait for another invocation to export them.
pub trait Queue: Sync {
    /// Sends each batch, at least once. Comes back with the places of those that may not have been sent, and why.
    fn send(&self, batches: &[Batch]) -> impl Future<Output = Vec<(usize, Failure)>> + Send;
}

/// Where notifications are published.
pub trait Bus: Sync {
    /// Publishes a notification, at least once. Comes back soon, since the tenant's export waits for it.
    fn publish(&self, notification: &Notification) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// Without a bus, every notification is taken and dropped.
impl<B: Bus> Bus for Option<B> {
    async fn publish(&self, notification: &Notification) -> Result<(), Failure> {
        match self {
            Some(bus) => bus.publish(notification).await,
            None => Ok(()),
        }
    }
}

/// Asks the exporter, from outside, to publish what a tenant's outbox holds.
pub trait PublishTrigger: Sync {
    /// Asks and does not wait for the answer.
    fn request_publishing(&self, tenant: &TenantId) -> impl Future<Output = Result<(), Failure>> + Send;
}

/// A stretch of one shard's events.
#[derive(Debug, Clone, Copy)]
pub struct EventRange<'a> {
    /// Whose.
    pub tenant: &'a TenantId,
    /// Of which shard of the tenant.
    pub shard: u16,
    /// Of which window.
    pub window: Window,
    /// Going on right beyond this `recorded_at_id`, in the direction of reading, or from where the window begins.
    pub after: Option<&'a str>,
}

/// Some events in order, and whether there may be more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// In `recorded_at_id` order, or the other way round; may be empty although more follow.
    pub events: Vec<StoredEvent>,
    /// The last `recorded_at_id` that was looked at, if the stretch does not end with this page.
    pub more_after: Option<String>,
}

/// The recorded events.
pub trait Events: Sync {
    /// The next page of a stretch, read consistently.
    fn page(&self, stretch: EventRange<'_>) -> impl Future<Output = Result<Page, Failure>> + Send;

    /// The next page of a stretch from its latest event backwards, at most `most` events. Not read consistently: this is
    /// for looking at, and never for exporting.
    fn page_back(&self, stretch: EventRange<'_>, most: usize) -> impl Future<Output = Result<Page, Failure>> + Send;
}

/// The customers' buckets.
pub trait Buckets: Sync {
    /// One tenant's bucket under one tenant's credentials, which end with it.
    type Bucket: Bucket;

    /// Assumes the tenant's role. `window`, the first that is exported in the session, names it, so that the customer's
    /// CloudTrail tells which export it was.
    fn open(&self, config: &TenantConfig, window: Window)
    -> impl Future<Output = Result<Self::Bucket, Failure>> + Send;
}

/// One tenant's folder in its bucket.
pub trait Bucket: Send + Sync {
    /// An object on its way.
    type Upload: Upload;

    /// Begins an object. Nothing is visible in the bucket, or even sent, until there are bytes to send.
    fn upload(&self, spec: ObjectSpec) -> Self::Upload;
}

/// How storing an object ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Finish {
    /// Whether it is stored.
    pub result: Result<(), Failure>,
    /// Whether an attempt that was given up may still be carried out, whatever came of the others.
    pub in_doubt: bool,
}

/// An object on its way into a bucket; invisible there until it is finished.
pub trait Upload: Send {
    /// Takes the next bytes.
    fn write(&mut self, bytes: Vec<u8>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Stores the object, replacing an earlier one of the same key. `sha256` is that of all its bytes, in lower-case hex.
    fn finish(self, sha256: &str) -> impl Future<Output = Finish> + Send;

    /// Gives the object up and leaves nothing behind that the customer would pay for.
    fn abort(self) -> impl Future<Output = ()> + Send;
}
