//! Events that were checked, into the table: each once, and each with its outcome.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use audit_log_core::{
    failure::{Code, Failure},
    ingestion::{EventValidator, ValidEvent},
    new_event::{Stamp, time_ordered_id},
    ports::{Recorder, Recording},
    tenant::{EventShards, TenantId},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use crate::shards::{READ_TIMEOUT, Shards};

/// How many writes, and reads before them, are on their way side by side.
const CONCURRENCY: usize = 32;

/// The world outside, as the shell hands it in.
#[allow(missing_debug_implementations, reason = "it holds nothing but functions")]
pub struct World {
    /// The time.
    pub now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    /// Random bytes, for the ids of events that come without one.
    pub random: Box<dyn Fn() -> Result<[u8; 10], NoRandomness> + Send + Sync>,
    /// Is told of each batch and each request.
    pub observe: Box<dyn Fn(Counts) + Send + Sync>,
}

/// The system has no random bytes to give.
#[derive(Debug, thiserror::Error)]
#[error("the system has no random bytes to give: {0}")]
pub struct NoRandomness(pub String);

/// What became of the events of a batch or a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Stored now.
    pub recorded: u64,
    /// Stored before.
    pub duplicate: u64,
    /// Not events as they should be.
    pub refused: u64,
    /// Not stored, though they should be.
    pub failed: u64,
}

/// An event that was checked, whose it is, and its id.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Whose.
    pub tenant: TenantId,
    /// The sender's id for it, or one that was made.
    pub id: String,
    /// What is to be stored.
    pub event: ValidEvent,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It is stored now.
    Recorded,
    /// An event of this id was stored before: by an earlier entry, an earlier request, or a try of this very request
    /// whose answer got lost.
    Duplicate,
    /// Another event has this id already, and this one is not stored.
    Conflict,
    /// It is not known to be stored.
    Failed(Failure),
}

/// Why an event whose id is another's is refused, for whoever sent it.
pub(crate) const CONFLICT: &str = "/id is that of another event, which is stored; send this one with an id, or under an \
                                Idempotency-Key, of its own";

/// Where events go.
#[allow(missing_debug_implementations, reason = "it holds functions")]
pub struct Store<R> {
    recorder: R,
    validator: EventValidator,
    retention: Option<TimeDelta>,
    world: World,
    shards: Shards,
}

impl<R: Recorder> Store<R> {
    /// Stores what `validator` accepts, and keeps it for the time of `retention`, or for ever.
    pub fn new(recorder: R, validator: EventValidator, retention: Option<TimeDelta>, world: World) -> Self {
        Self { recorder, validator, retention, world, shards: Shards::default() }
    }

    /// What is accepted.
    pub fn validator(&self) -> &EventValidator {
        &self.validator
    }

    /// The time.
    pub fn now(&self) -> DateTime<Utc> {
        (self.world.now)()
    }

    /// An id for an event that has none.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn new_id(&self) -> Result<String, NoRandomness> {
        Ok(time_ordered_id(self.now(), &(self.world.random)()?))
    }

    /// Tells the shell what became of a batch or a request.
    pub fn observe(&self, counts: Counts) {
        (self.world.observe)(counts);
    }

    /// Stores entries, and says of each, in their order, what became of it. Of several entries with one id the first is
    /// written, and the others share its fate if they say the same. What is not done when the time is up has failed.
    pub async fn all(&self, entries: &[Entry], within: Duration) -> Vec<Stored> {
        let until = Instant::now() + within;
        let mut firsts = HashMap::new();
        let first_of: Vec<usize> = entries
            .iter()
            .enumerate()
            .map(|(index, entry)| *firsts.entry((&entry.tenant, &entry.id)).or_insert(index))
            .collect();
        let tenants = entries.iter().map(|entry| &entry.tenant).collect();
        let shards = self.shards_of(tenants, until.min(Instant::now() + READ_TIMEOUT)).await;
        let one = |index: usize| {
            let entry = &entries[index];
            let shards = shards.get(&entry.tenant).copied().unwrap_or(EventShards::ONE);
            async move { (index, self.one(entry, shards, until).await) }
        };
        let writes: Vec<_> = (0..entries.len()).filter(|index| first_of[*index] == *index).map(one).collect();
        let stored: HashMap<usize, Stored> = stream::iter(writes).buffer_unordered(CONCURRENCY).collect().await;
        let fate = |(index, first): (usize, &usize)| match &stored[first] {
            _ if !entries[index].event.says_the_same_as(&entries[*first].event) => Stored::Conflict,
            Stored::Recorded if index != *first => Stored::Duplicate,
            stored => stored.clone(),
        };
        first_of.iter().enumerate().map(fate).collect()
    }

    async fn shards_of<'a>(
        &self,
        tenants: BTreeSet<&'a TenantId>,
        until: Instant,
    ) -> BTreeMap<&'a TenantId, EventShards> {
        let of = |tenant| async move { (tenant, self.shards.of(tenant, &self.recorder, self.now(), until).await) };
        let reads: Vec<_> = tenants.into_iter().map(of).collect();
        stream::iter(reads).buffer_unordered(CONCURRENCY).collect().await
    }

    /// A first try that gets no answer has half of the time that is left, so that there is some for a second one. That
    /// one has another stamp, by the contract of [`Stamp`]; the marker of the id keeps it from storing a second event.
    async fn one(&self, entry: &Entry, shards: EventShards, until: Instant) -> Stored {
        let halfway = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        match self.try_until(halfway, entry, shards).await {
            Stored::Failed(Failure { code: Code::Unavailable, .. }) => self.try_until(until, entry, shards).await,
            stored => stored,
        }
    }

    async fn try_until(&self, until: Instant, entry: &Entry, shards: EventShards) -> Stored {
        let late = || Stored::Failed(Failure::new(Code::Unavailable, "The time was up before the event was stored."));
        if Instant::now() >= until {
            return late();
        }
        let stamp = Stamp { at: self.now(), retention: self.retention };
        let event = entry.event.stamped(&entry.tenant, shards, stamp, &entry.id);
        match timeout_at(until, self.recorder.record(&event)).await {
            Ok(Ok(Recording::Created)) => Stored::Recorded,
            Ok(Ok(Recording::Duplicate)) => Stored::Duplicate,
            Ok(Ok(Recording::Conflict)) => Stored::Conflict,
            Ok(Err(failure)) => Stored::Failed(failure),
            Err(_) => late(),
        }
    }
}
