//! Stores valid events, each once, and returns the outcome of each.

use std::{
    collections::{BTreeMap, HashMap},
    ops::AddAssign,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use audit_log_core::{
    failure::{Code, Failure},
    ingestion::{EventValidator, ValidEvent},
    new_event::{Stamp, Submitter, time_ordered_id},
    ports::{Recorder, Recording},
    tenant::{EventShards, TenantId},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep, timeout_at};

/// Writes of one tenant at the same time.
const MAX_CONCURRENT_WRITES: usize = 32;

/// Tenants whose events are written side by side. A batch of the queue has at most 100 messages, by `BatchSize` in
/// infra/template.yaml, so no tenant waits for another one.
const MAX_CONCURRENT_TENANTS: usize = 100;

/// Short, since events can be stored without knowing the number of shards.
const SHARDS_READ_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a number of shards is cached. The number only grows, so an old one names shards that are exported.
const SHARDS_TTL: TimeDelta = TimeDelta::seconds(60);

const MAX_CACHED_TENANTS: usize = 10_000;

/// After this the time of an event differs: it is stored in milliseconds.
const RESTAMP_PAUSE: Duration = Duration::from_millis(1);

/// What the library needs from the function's `main`.
#[allow(missing_debug_implementations, reason = "it holds nothing but functions")]
pub struct World {
    pub now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Random bytes, for the ids of events that come without one.
    pub random: Box<dyn Fn() -> Result<[u8; 10], NoRandomness> + Send + Sync>,
    /// Called after each batch and each request.
    pub observe: Box<dyn Fn(Counts) + Send + Sync>,
}

#[derive(Debug, thiserror::Error)]
#[error("the system has no random numbers: {0}")]
pub struct NoRandomness(pub String);

/// The outcomes of the events of a batch or a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored by this batch or request.
    pub recorded: u64,
    /// Stored before.
    pub duplicate: u64,
    /// Not valid.
    pub refused: u64,
    /// Valid, and not stored.
    pub failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.recorded += other.recorded;
        self.duplicate += other.duplicate;
        self.refused += other.refused;
        self.failed += other.failed;
    }
}

/// A valid event with its tenant, submitter and id.
#[derive(Debug, Clone)]
pub struct Entry {
    pub tenant: TenantId,
    pub submitter: Submitter,
    /// From the sender, or generated.
    pub id: String,
    pub event: ValidEvent,
}

/// The outcome of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    Recorded,
    /// The same event was stored before: by an earlier entry, an earlier request, or an attempt whose response got lost.
    Duplicate,
    /// Another event of the same submitter has this id. This one is not stored.
    Conflict,
    /// It may not be stored.
    Failed(Failure),
}

/// The reason for the sender.
pub(crate) const CONFLICT: &str = "/id is that of another event of yours, which is stored; send this one with another id, or \
                                   another Idempotency-Key";

#[allow(missing_debug_implementations, reason = "it holds functions")]
pub struct Store<R> {
    recorder: R,
    validator: EventValidator,
    retention: Option<TimeDelta>,
    world: World,
    /// The number of shards of tenants, and when each was read.
    shards: Mutex<HashMap<TenantId, (EventShards, DateTime<Utc>)>>,
}

impl<R: Recorder> Store<R> {
    /// Without a `retention`, events are never deleted.
    pub fn new(recorder: R, validator: EventValidator, retention: Option<TimeDelta>, world: World) -> Self {
        Self { recorder, validator, retention, world, shards: Mutex::default() }
    }

    pub fn validator(&self) -> &EventValidator {
        &self.validator
    }

    pub fn now(&self) -> DateTime<Utc> {
        (self.world.now)()
    }

    /// An id for an event without one.
    ///
    /// # Errors
    /// If there are no random numbers.
    pub fn new_id(&self) -> Result<String, NoRandomness> {
        Ok(time_ordered_id(self.now(), &(self.world.random)()?))
    }

    pub fn observe(&self, counts: Counts) {
        (self.world.observe)(counts);
    }

    /// Stores entries and returns the outcome of each, in their order. Of several entries with one id of one submitter the first
    /// is written, and the others have its outcome if they say the same. Entries that are not stored in time have failed. No
    /// tenant's entries wait for those of another one: its shards may be throttled for as long as there is time.
    pub async fn store_all(&self, entries: &[Entry], within: Duration) -> Vec<Stored> {
        let until = Instant::now() + within;
        let mut firsts = HashMap::new();
        let first_of: Vec<usize> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| *firsts.entry((&entry.tenant, &entry.submitter, &entry.id)).or_insert(index))
            .collect();
        let mut tenants = BTreeMap::<&TenantId, Vec<(usize, &Entry)>>::new();
        for (index, entry) in entries.iter().enumerate().filter(|(index, _)| first_of[*index] == *index) {
            tenants.entry(&entry.tenant).or_default().push((index, entry));
        }
        let writes: Vec<_> = tenants.into_iter().map(|(tenant, firsts)| self.store_of(tenant, firsts, until)).collect();
        let stored: Vec<_> = stream::iter(writes).buffer_unordered(MAX_CONCURRENT_TENANTS).collect().await;
        let stored: HashMap<usize, Stored> = stored.into_iter().flatten().collect();
        let outcome = |(index, first): (usize, &usize)| match &stored[first] {
            _ if !entries[index].event.has_same_content(&entries[*first].event) => Stored::Conflict,
            Stored::Recorded if index != *first => Stored::Duplicate,
            stored => stored.clone(),
        };
        first_of.iter().enumerate().map(outcome).collect()
    }

    /// Stores entries of one tenant, and returns the index and the outcome of each.
    async fn store_of(&self, tenant: &TenantId, entries: Vec<(usize, &Entry)>, until: Instant) -> Vec<(usize, Stored)> {
        let shards = self.event_shards(tenant, until.min(Instant::now() + SHARDS_READ_TIMEOUT)).await;
        let store = |(index, entry)| async move { (index, self.store_one(entry, shards, until).await) };
        let writes: Vec<_> = entries.into_iter().map(store).collect();
        stream::iter(writes).buffer_unordered(MAX_CONCURRENT_WRITES).collect().await
    }

    /// The number of a tenant's shards. It is one, which every export reads, if the real number can't be read in time.
    async fn event_shards(&self, tenant: &TenantId, until: Instant) -> EventShards {
        let now = self.now();
        if let Some((shards, read_at)) = self.shards.lock().unwrap_or_else(PoisonError::into_inner).get(tenant)
            && (now - *read_at).abs() < SHARDS_TTL
        {
            return *shards;
        }
        let reason = match timeout_at(until, self.recorder.event_shards(tenant)).await {
            Ok(Ok(shards)) => {
                let mut cached = self.shards.lock().unwrap_or_else(PoisonError::into_inner);
                if cached.len() >= MAX_CACHED_TENANTS {
                    cached.clear();
                }
                cached.insert(tenant.clone(), (shards, now));
                return shards;
            }
            Ok(Err(Failure { message, .. })) => message,
            Err(_) => "DynamoDB did not answer in time.".to_owned(),
        };
        tracing::warn!(%tenant, reason, "event_shards could not be read; the events go into shard 0");
        EventShards::ONE
    }

    /// The first attempt gets half of the time, so that there is some left for a second one after no answer. That one has
    /// another stamp, by the contract of [`Stamp`]; the marker of the id keeps it from storing a second event.
    async fn store_one(&self, entry: &Entry, shards: EventShards, until: Instant) -> Stored {
        let halfway = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        match self.try_until(halfway, entry, shards).await {
            Stored::Failed(Failure { code: Code::Unavailable, .. }) => self.try_until(until, entry, shards).await,
            stored => stored,
        }
    }

    async fn try_until(&self, until: Instant, entry: &Entry, shards: EventShards) -> Stored {
        let timed_out =
            || Stored::Failed(Failure::new(Code::Unavailable, "The time was up before the event was stored."));
        while Instant::now() < until {
            let stamp = Stamp { at: self.now(), retention: self.retention };
            let event = entry.event.stamped(&entry.tenant, &entry.submitter, shards, stamp, &entry.id);
            return match timeout_at(until, self.recorder.record(&event)).await {
                Ok(Ok(Recording::Created)) => Stored::Recorded,
                Ok(Ok(Recording::Duplicate)) => Stored::Duplicate,
                Ok(Ok(Recording::Conflict)) => Stored::Conflict,
                Ok(Ok(Recording::KeyTaken)) => {
                    sleep(RESTAMP_PAUSE).await;
                    continue;
                }
                Ok(Err(failure)) => Stored::Failed(failure),
                Err(_) => timed_out(),
            };
        }
        timed_out()
    }
}
