//! The export: brings each due window of each due tenant from the events table into the customer's bucket.
//!
//! This is the only path on which a tenant is exported. Its order is what the product promises: read a settled window,
//! store its objects, and only then move the watermark, all under the tenant's lease. If a run dies, a later run stores
//! the same objects again, once the lease has expired.
//!
//! The call path of one tick:
//! 1. [`Export::tick`] (here) lists the due tenants, those that are due longest first (`due`).
//! 2. `export_all` (here) loads their records (`prepare`) and makes a `TenantRun` of each (`tenant.rs`).
//! 3. `advance` (`advance.rs`) exports one tenant's next window (`next_window`).
//! 4. `acquire` (`held_lease.rs`) acquires the lease and publishes what earlier runs left in the outbox (`publish`).
//! 5. `store_window`, `copy_events` (`window.rs`) store the window's objects, from the checkpoint if there is one.
//! 6. `Reader::next_in_time` (`reader.rs`) returns the events of all shards in order.
//! 7. `redeliver_late_minutes` (`late_arrivals.rs`) delivers minutes again that have changed since the window before.
//! 8. `Writer::open`, `push`, `finish` (`writer.rs`) turn events into stored objects; `save_checkpoint` (`window.rs`).
//! 9. `store_manifest` (`signing.rs`) stores the window's signed manifest.
//! 10. `commit` (`advance.rs`) moves the watermark and stores the receipt; after a failure, `note_failure` notes it.
//! 11. `finish` (`held_lease.rs`) releases the lease, and [`Report::add`] (`report.rs`) adds the tenant to the report.
//! 12. `deliver_finals` (`final_delivery.rs`) delivers what is left to places that tenants have left, and `replay_all` (`replay.rs`)
//!     windows that admins want again, in the same way from 4.

mod advance;
mod budget;
mod fan_out;
mod final_delivery;
mod held_lease;
mod late_arrivals;
mod pending_delivery;
mod publish;
mod reader;
mod replay;
mod replayed_window;
mod report;
mod signing;
mod tenant;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{
    FutureExt as _, StreamExt,
    future::{Either, select},
    stream,
    stream::FuturesUnordered,
};

pub use budget::{Budget, BudgetPermit, EXEMPT_BYTES};
pub use fan_out::BatchResult;
pub use publish::{PUBLISH_TIMEOUT, Publishing};
pub use report::{
    Counts, Deferral, FailedTenant, FinalDeliveryCounts, Outcome, PendingReplays, ReplayCounts, Report, TenantReport,
};
use tenant::{AdvanceResult, DueTenant, InvalidTenant, TenantRun};

use crate::{
    backoff,
    failure::{Code, Failure, Party},
    lease::Lease,
    ocsf,
    ports::{Buckets, Bus, Events, Signer, Tenants},
    records::{Replay, TenantRecords},
    tenant::{DueShard, Platform, TenantId},
};

/// Tenants whose records are read at once: BatchGetItem takes 100 keys, and a tenant has five.
const TENANTS_PER_LOAD: usize = 20;

const CONCURRENT_LOADS: usize = 2;

/// How long tenants that notice `should_stop` may take to end in good order. `should_stop` must leave more time than that
/// before the process is stopped from outside.
pub const GRACE: Duration = Duration::from_secs(15);

/// What an operator can tune.
#[derive(Debug, Clone)]
pub struct Options {
    /// A window is read once its end is this long ago.
    pub settle: TimeDelta,
    /// How long events are kept; none: forever.
    pub retention: Option<TimeDelta>,
    /// How many tenants are exported side by side.
    pub concurrency: usize,
    /// Uncompressed bytes after which a window goes on in another object.
    pub max_object_bytes: u64,
    /// Windows of one tenant that a run exports at most.
    pub max_windows: u32,
    /// How long a run replays. With a queue, it goes on by a message to itself, so that others' batches come in between.
    pub replay_time: TimeDelta,
    /// Memory for what is read and not yet stored.
    pub budget: Budget,
    /// How events are written for tenants that chose OCSF.
    pub ocsf: Arc<ocsf::Mapping>,
}

/// One run's input: its hour, its clock and its limits.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The hour that the run is for.
    pub tick: DateTime<Utc>,
    pub platform: &'a Platform,
    /// The wall clock.
    pub now: &'a (dyn Fn() -> DateTime<Utc> + Send + Sync),
    /// Whether the remaining time is too short to begin or to go on with a window.
    pub should_stop: &'a (dyn Fn() -> bool + Send + Sync),
    /// When the run is ended from outside. Leases last longer than that.
    pub deadline: DateTime<Utc>,
    /// Fills a slice with random bytes; false if there are none.
    pub random: &'a (dyn Fn(&mut [u8]) -> bool + Send + Sync),
}

impl Run<'_> {
    fn new_lease(&self, until: DateTime<Utc>) -> Result<Lease, Failure> {
        let mut token = [0; 16];
        let filled = (self.random)(&mut token);
        let missing = || Failure::new(Code::Unavailable, "The system has no random numbers.");
        filled.then(|| Lease::new(token, until)).ok_or_else(missing)
    }
}

/// The export, over its ports.
pub struct Export<T, E, B, N, S> {
    pub tenants: T,
    pub events: E,
    pub buckets: B,
    pub bus: N,
    pub signer: S,
    pub options: Options,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Exports every due tenant: every tenant's first window before any second one. No tenant's failure affects another.
    ///
    /// # Errors
    /// If a shard of the index could not be read: its tenants were not exported, but all others were. The tick may be run
    /// again.
    pub async fn tick(&self, run: Run<'_>) -> Result<Report, Failure> {
        let mut report = Report::new(run.tick);
        let (mut due, unreadable) = self.due(run, &mut report).await?;
        self.add_redeliveries(&mut due).await;
        self.export_all(run, due, &mut report).await;
        match unreadable {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }

    /// Exports those of these tenants that are due, until the time is up, makes their final deliveries, and goes on with their
    /// replays. Records are loaded shortly before they are needed: those of a tenant that waits for long would be out of date.
    async fn export_all(&self, run: Run<'_>, due: Vec<String>, report: &mut Report) {
        let (mut waiting, ids) = parse_ids(due);
        let uncommitted_objects = Arc::default();
        let mut unread: VecDeque<&[TenantId]> = ids.chunks(TENANTS_PER_LOAD).collect();
        // Tenants with another window wait until every tenant has had its first.
        let mut again = VecDeque::new();
        let (mut leaving, mut replaying) = (Vec::new(), Vec::new());
        let (mut events, mut active, mut loads) = (FuturesUnordered::new(), BTreeSet::new(), Vec::new());
        let mut time_is_up = pin!(time_is_up(run));
        loop {
            while loads.len() < CONCURRENT_LOADS
                && waiting.len() < TENANTS_PER_LOAD
                && let Some(ids) = unread.pop_front()
            {
                loads.push(ids);
                let loaded = self.prepare(run, ids, &uncommitted_objects);
                events.push(loaded.map(move |loaded| RunEvent::Loaded(ids, loaded)).left_future());
            }
            while active.len() < self.options.concurrency.max(1)
                && let Some(tenant) =
                    waiting.pop_front().or_else(|| if loads.is_empty() { again.pop_front() } else { None })
            {
                active.insert(tenant.id().to_owned());
                events.push(self.advance(run, tenant).map(RunEvent::Advanced).right_future());
            }
            match select(events.next(), &mut time_is_up).await {
                Either::Left((Some(RunEvent::Loaded(ids, loaded)), _)) => {
                    loads.retain(|it| !std::ptr::eq(*it, ids));
                    waiting.extend(loaded.due);
                    leaving.extend(loaded.leaving);
                    replaying.extend(loaded.replaying);
                }
                Either::Left((Some(RunEvent::Advanced(AdvanceResult::More(mut tenant))), _)) => {
                    active.remove(tenant.config.tenant.as_str());
                    report.add_exported(std::mem::take(&mut tenant.counts));
                    again.push_back(DueTenant::Valid(tenant));
                }
                Either::Left((Some(RunEvent::Advanced(AdvanceResult::Ended(tenant))), _)) => {
                    active.remove(&tenant.tenant);
                    let is_near = backoff::nears_retention(tenant.lag, self.options.retention);
                    // A window that has only just become due is no backlog, however long the window and short the retention.
                    report.near_retention += u64::from(is_near && tenant.overdue > TimeDelta::hours(2));
                    report.add(tenant);
                }
                Either::Left((None, _)) => break,
                Either::Right(((), _)) => {
                    active.extend(waiting.iter().chain(&again).map(|tenant| tenant.id().to_owned()));
                    active.extend(unread.into_iter().chain(loads).flatten().map(ToString::to_string));
                    tracing::error!(tenants = active.len(), "the time is up, and these tenants are abandoned");
                    report.add_abandoned(active);
                    break;
                }
            }
        }
        drop(events);
        // Only now, so that they delay no window of any tenant.
        report.final_deliveries = self.deliver_finals(run, leaving).await;
        report.replays = self.replay_all(run, replaying).await;
        report.uncommitted_objects += uncommitted_objects.load(Ordering::Relaxed);
    }

    /// Returns the due tenants, longest due first, and the error of a shard that could not be read. Tenants that a run ends
    /// too early for are the first of the next.
    async fn due(&self, run: Run<'_>, report: &mut Report) -> Result<(Vec<String>, Option<Failure>), Failure> {
        let (mut due, mut unreadable) = (Vec::new(), None);
        let shards: Vec<_> = DueShard::all().map(|shard| self.tenants.due(shard, run.tick)).collect();
        for shard in stream::iter(shards).buffer_unordered(DueShard::COUNT).collect::<Vec<_>>().await {
            match shard {
                Ok(ids) => due.extend(ids),
                Err(failure) => unreadable = Some(failure),
            }
        }
        if due.is_empty() && unreadable.is_none() {
            report.no_connected_tenant = !self.any_connected().await?;
        }
        due.sort_unstable_by(|a, b| (&a.next_due, &a.tenant).cmp(&(&b.next_due, &b.tenant)));
        // A tenant whose watermark moves while the index is read can be listed twice.
        let mut listed = BTreeSet::new();
        let once = due.into_iter().filter(|due| listed.insert(due.tenant.clone()));
        Ok((once.map(|due| due.tenant).collect(), unreadable))
    }

    async fn any_connected(&self) -> Result<bool, Failure> {
        for shard in DueShard::all() {
            if self.tenants.any_connected(shard).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Loads and checks tenants' records; those that are not due are left out.
    async fn prepare(&self, run: Run<'_>, ids: &[TenantId], uncommitted_objects: &Arc<AtomicU64>) -> Loaded<B::Bucket> {
        let loaded = match self.tenants.load(ids).await {
            Ok(loaded) => loaded,
            Err(failure) => {
                let invalid =
                    |id: &TenantId| DueTenant::Invalid(InvalidTenant::unread(id.to_string(), failure.clone()));
                let due = ids.iter().map(invalid).collect();
                return Loaded { due, leaving: Vec::new(), replaying: Vec::new() };
            }
        };
        let those = |has: fn(&TenantRecords) -> bool| {
            loaded.iter().filter(|(_, records)| has(records)).map(|(id, _)| id.clone()).collect()
        };
        let leaving = those(|records| !records.final_deliveries.is_empty());
        let replaying = those(|records| records.replay.as_ref().is_some_and(Replay::is_running));
        let checked = loaded.into_iter().filter_map(|(id, records)| {
            match TenantRun::new(id, records, run, Arc::clone(uncommitted_objects)) {
                Ok(tenant) => tenant.map(|tenant| DueTenant::Valid(Box::new(tenant))),
                Err(invalid) => Some(DueTenant::Invalid(invalid)),
            }
        });
        Loaded { due: checked.collect(), leaving, replaying }
    }
}

/// Why a window was abandoned.
enum AbortReason {
    Deferred(Deferral),
    /// The records are no longer as they were read.
    Changed,
    Failed(Failure),
}

impl From<Failure> for AbortReason {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Loaded tenants.
struct Loaded<Bucket> {
    due: Vec<DueTenant<Bucket>>,
    /// Those with pending final deliveries, due or not.
    leaving: Vec<TenantId>,
    /// Those with a replay in progress.
    replaying: Vec<TenantId>,
}

/// What a run waits for.
enum RunEvent<'a, Bucket> {
    Loaded(&'a [TenantId], Loaded<Bucket>),
    Advanced(AdvanceResult<Bucket>),
}

/// Returns the valid ids, and a failed tenant for each of the others.
fn parse_ids<Bucket>(due: Vec<String>) -> (VecDeque<DueTenant<Bucket>>, Vec<TenantId>) {
    let (mut invalid, mut ids) = (VecDeque::new(), Vec::new());
    for text in due {
        match TenantId::parse(&text) {
            Ok(id) => ids.push(id),
            Err(error) => {
                let message = format!("The table lists a tenant under an id that can't be used: {error}.");
                let failure = Failure::by(Party::Platform, Code::ConfigInvalid, message);
                invalid.push_back(DueTenant::Invalid(InvalidTenant::unread(text, failure)));
            }
        }
    }
    (invalid, ids)
}

/// Ends [`GRACE`] after the run should stop: one call that hangs must not cost all tenants the report.
async fn time_is_up(run: Run<'_>) {
    while !(run.should_stop)() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(GRACE).await;
}
