//! One tick: who is due, and each of their windows from the events table into the customer's bucket.
//!
//! This is the only path on which a tenant is exported. The order of its steps is what the product promises: read a
//! settled window, store its objects, and only then move the watermark, all under the tenant's lease. A run that dies
//! anywhere leaves a watermark that makes a later run store the same objects again, once the lease has expired.

mod advance;
mod budget;
mod failures;
mod fan_out;
mod held_lease;
mod late_arrivals;
mod publish;
mod reader;
mod report;
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

pub use budget::{Budget, FREE_BYTES, Taken};
pub use fan_out::Done;
pub use publish::{PUBLISH_TIMEOUT, Publishing};
pub use report::{Counts, Deferral, FailedTenant, Outcome, Report, TenantReport};
use tenant::{InvalidTenant, Progress, TenantRun, Waiting};

use crate::{
    backoff,
    failure::{Code, Failure, Party},
    lease::Lease,
    ports::{Buckets, Bus, Events, Tenants},
    tenant::{DueShard, Platform, TenantId},
};

/// How many tenants' records are read at once; BatchGetItem takes 100 keys, and a tenant has three.
const LOAD_BATCH: usize = 33;

/// How many of those reads are on their way side by side.
const CONCURRENT_LOADS: usize = 2;

/// How long a run goes on for whoever is in the middle of something when it should stop. The caller's `should_stop` has
/// to leave more than that.
pub const GRACE: Duration = Duration::from_secs(15);

/// What an operator can tune.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long after its end a window is left alone.
    pub settle: TimeDelta,
    /// For how long events are kept, if not for ever.
    pub retention: Option<TimeDelta>,
    /// How many tenants are exported side by side.
    pub concurrency: usize,
    /// Where a window is split into another object, in uncompressed bytes.
    pub max_object_bytes: u64,
    /// How many windows of one tenant a run exports at most.
    pub max_windows: u32,
    /// How much may be held in memory.
    pub budget: Budget,
}

/// What this run is given of the world outside.
#[derive(Clone, Copy)]
pub struct Run<'a> {
    /// The hour that it stands for.
    pub tick: DateTime<Utc>,
    /// Whose system it is.
    pub platform: &'a Platform,
    /// The wall clock.
    pub now: &'a (dyn Fn() -> DateTime<Utc> + Send + Sync),
    /// Whether the remaining time is too short to begin or go on with a window.
    pub should_stop: &'a (dyn Fn() -> bool + Send + Sync),
    /// When the run is ended from outside; leases last beyond that.
    pub deadline: DateTime<Utc>,
    /// Fills a slice with random bytes, or says that it couldn't.
    pub random: &'a (dyn Fn(&mut [u8]) -> bool + Send + Sync),
}

impl Run<'_> {
    /// A lease that no other run has, until an instant.
    fn new_lease(&self, until: DateTime<Utc>) -> Result<Lease, Failure> {
        let mut token = [0; 16];
        let filled = (self.random)(&mut token);
        let missing = || Failure::new(Code::Unavailable, "The system has no random numbers.");
        filled.then(|| Lease::new(token, until)).ok_or_else(missing)
    }
}

/// The export, over whatever implements its ports.
pub struct Export<T, E, B, N> {
    /// The tenants' records.
    pub tenants: T,
    /// The recorded events.
    pub events: E,
    /// The customers' buckets.
    pub buckets: B,
    /// Who hears of failures and recoveries.
    pub bus: N,
    /// What an operator can tune.
    pub options: Options,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Exports every due tenant. Every tenant's first window goes before anyone's second, and no tenant's failure
    /// touches another.
    ///
    /// # Errors
    /// If a part of the index could not be read: then the tick did not run for whoever is listed there. Everyone
    /// else was exported all the same, and the tick may be run again.
    pub async fn tick(&self, run: Run<'_>) -> Result<Report, Failure> {
        let mut report = Report::new(run.tick);
        let (due, unreadable) = self.due(run).await;
        if due.is_empty() && unreadable.is_none() {
            report.no_connected_tenant = !self.any_connected().await?;
        }
        self.export_all(run, due, &mut report).await;
        match unreadable {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }

    /// Exports whoever of these is due, until the time is up. Records are read as the turns come: those of a tenant that
    /// waits for long would be out of date.
    async fn export_all(&self, run: Run<'_>, due: Vec<String>, report: &mut Report) {
        let (mut waiting, ids) = parsed(due);
        let kept = Arc::default();
        let mut unread: VecDeque<&[TenantId]> = ids.chunks(LOAD_BATCH).collect();
        // Those who have had a turn wait until everybody has had one.
        let mut again = VecDeque::new();
        let (mut running, mut turns, mut loads) = (FuturesUnordered::new(), BTreeSet::new(), Vec::new());
        let mut time_is_up = pin!(time_is_up(run));
        loop {
            while loads.len() < CONCURRENT_LOADS
                && waiting.len() < LOAD_BATCH
                && let Some(ids) = unread.pop_front()
            {
                loads.push(ids);
                running
                    .push(self.prepare(run, ids, &kept).map(move |loaded| RunEvent::Loaded(ids, loaded)).left_future());
            }
            while turns.len() < self.options.concurrency.max(1)
                && let Some(tenant) =
                    waiting.pop_front().or_else(|| if loads.is_empty() { again.pop_front() } else { None })
            {
                turns.insert(tenant.id().to_owned());
                running.push(self.advance(run, tenant).map(RunEvent::Turn).right_future());
            }
            match select(running.next(), &mut time_is_up).await {
                Either::Left((Some(RunEvent::Loaded(ids, loaded)), _)) => {
                    loads.retain(|it| !std::ptr::eq(*it, ids));
                    waiting.extend(loaded);
                }
                Either::Left((Some(RunEvent::Turn(Progress::More(mut tenant))), _)) => {
                    turns.remove(tenant.config.tenant.as_str());
                    report.add_exported(std::mem::take(&mut tenant.counts));
                    again.push_back(Waiting::Export(tenant));
                }
                Either::Left((Some(RunEvent::Turn(Progress::Ended(tally))), _)) => {
                    turns.remove(&tally.tenant);
                    let is_near = backoff::nears_retention(tally.lag, self.options.retention);
                    // What is only just due is no backlog, however long the window and short the retention.
                    report.near_retention += u64::from(is_near && tally.late > TimeDelta::hours(2));
                    report.add(tally);
                }
                Either::Left((None, _)) => break,
                Either::Right(((), _)) => {
                    turns.extend(waiting.iter().chain(&again).map(|tenant| tenant.id().to_owned()));
                    turns.extend(unread.into_iter().chain(loads).flatten().map(ToString::to_string));
                    let left = turns.len();
                    tracing::error!(tenants = left, "the time is up, and these are given up as if the run had died");
                    report.add_given_up(turns);
                    break;
                }
            }
        }
        report.kept += kept.load(Ordering::Relaxed);
    }

    /// Whoever the index lists as due, and the failure of a shard that could not be read. Whoever has waited longest is the
    /// first, so that a run that ends early leaves no one behind for good.
    async fn due(&self, run: Run<'_>) -> (Vec<String>, Option<Failure>) {
        let (mut due, mut unreadable) = (Vec::new(), None);
        let shards: Vec<_> = DueShard::all().map(|shard| self.tenants.due(shard, run.tick)).collect();
        for shard in stream::iter(shards).buffer_unordered(DueShard::COUNT).collect::<Vec<_>>().await {
            match shard {
                Ok(ids) => due.extend(ids),
                Err(failure) => unreadable = Some(failure),
            }
        }
        due.sort_unstable_by(|a, b| (&a.next_due, &a.tenant).cmp(&(&b.next_due, &b.tenant)));
        // A tenant whose export moves on while the index is read can be listed twice.
        let mut listed = BTreeSet::new();
        let once = due.into_iter().filter(|due| listed.insert(due.tenant.clone()));
        (once.map(|due| due.tenant).collect(), unreadable)
    }

    async fn any_connected(&self) -> Result<bool, Failure> {
        for shard in DueShard::all() {
            if self.tenants.any_connected(shard).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Reads the records of some tenants.
    async fn prepare(&self, run: Run<'_>, ids: &[TenantId], kept: &Arc<AtomicU64>) -> Vec<Waiting<B::Bucket>> {
        let loaded = match self.tenants.load(ids).await {
            Ok(loaded) => loaded,
            Err(failure) => {
                let refused = |id: &TenantId| Waiting::Invalid(InvalidTenant::unread(id.to_string(), failure.clone()));
                return ids.iter().map(refused).collect();
            }
        };
        let tenants = loaded.into_iter().map(|(id, records)| TenantRun::new(id, records, run));
        let waiting = tenants.filter_map(|tenant| match tenant {
            Ok(tenant) => tenant.map(|it| Waiting::Export(Box::new(it.counting(kept)))),
            Err(refused) => Some(Waiting::Invalid(refused)),
        });
        waiting.collect()
    }
}

/// AbortReason a window was given up.
enum AbortReason {
    /// The run's time is over.
    OutOfTime,
    /// The records are no longer as they were read.
    Changed,
    Failed(Failure),
}

impl From<Failure> for AbortReason {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a run waits for.
enum RunEvent<'a, Bucket> {
    Loaded(&'a [TenantId], Vec<Waiting<Bucket>>),
    Turn(Progress<Bucket>),
}

/// The ids that can be used, and a refusal for each of the others.
fn parsed<Bucket>(due: Vec<String>) -> (VecDeque<Waiting<Bucket>>, Vec<TenantId>) {
    let (mut refused, mut ids) = (VecDeque::new(), Vec::new());
    for text in due {
        match TenantId::parse(&text) {
            Ok(id) => ids.push(id),
            Err(invalid) => {
                let message = format!("The table lists a tenant under an id that can't be used: {invalid}.");
                let failure = Failure::by(Party::Platform, Code::ConfigInvalid, message);
                refused.push_back(Waiting::Invalid(InvalidTenant::unread(text, failure)));
            }
        }
    }
    (refused, ids)
}

/// Ends some time after the run should stop: long enough for whoever noticed it to give up in good order, and before
/// the process is stopped from outside. One call that hangs must not cost everyone the report.
async fn time_is_up(run: Run<'_>) {
    while !(run.should_stop)() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(GRACE).await;
}
