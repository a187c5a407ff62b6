//! What the local AWS holds for a trial, and what it saw of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::data::{Page, Partition, Pool};

/// The window that every tenant has to export; long ago, so that nobody waits for it to settle.
pub(crate) const WINDOW_FROM: &str = "2025-11-21T10:00:00Z";
/// Its end, which is the tick.
pub(crate) const WINDOW_TO: &str = "2025-11-21T11:00:00Z";
/// Its length.
pub(crate) const WINDOW_MILLIS: u64 = 3_600_000;

/// A tenant with something to export.
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    /// The first hex digit of the id's SHA-256, as the index `due` has it.
    pub(crate) due_shard: String,
    pub(crate) gzip: bool,
    pub(crate) partitions: Vec<Partition>,
}

impl Tenant {
    /// A tenant with so many events, spread evenly over its shards.
    pub(crate) fn new(id: impl Into<String>, events: u64, shards: u8) -> Self {
        let id = id.into();
        let digest = Sha256::digest(id.as_bytes());
        let due_shard = format!("{:x}", digest.first().map_or(0, |byte| byte >> 4));
        let shards = u64::from(shards.max(1));
        let partition = |shard: u64| Partition {
            name: format!("{id}#{shard}"),
            shard: shard as u8,
            events: events / shards + u64::from(shard < events % shards),
        };
        let partitions = (0..shards).map(partition).collect();
        Self { id, due_shard, gzip: false, partitions }
    }

    pub(crate) fn gzipped(self) -> Self {
        Self { gzip: true, ..self }
    }

    pub(crate) fn events(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.events).sum()
    }

    pub(crate) fn bucket(&self) -> String {
        format!("{}-audit", self.id)
    }
}

/// What there is to export, shared by all trials of a row.
pub(crate) struct Dataset {
    pub(crate) pool: Arc<Pool>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) by_id: HashMap<String, usize>,
    /// Where each partition is: its tenant, and its place there.
    pub(crate) by_partition: HashMap<String, (usize, usize)>,
    /// Pages that are made before the clock starts, by partition and first event.
    pages: HashMap<String, HashMap<u64, Page>>,
}

impl Dataset {
    pub(crate) fn new(pool: &Arc<Pool>, tenants: Vec<Tenant>) -> Self {
        let by_id = tenants.iter().enumerate().map(|(at, tenant)| (tenant.id.clone(), at)).collect();
        let places = tenants.iter().enumerate().flat_map(|(at, tenant)| {
            let partitions = tenant.partitions.iter().enumerate();
            partitions.map(move |(place, partition)| (partition.name.clone(), (at, place)))
        });
        let by_partition = places.collect();
        Self { pool: Arc::clone(pool), tenants, by_id, by_partition, pages: HashMap::new() }
    }

    /// Makes all pages now, so that serving them costs nothing but the writing.
    pub(crate) fn prepared(mut self) -> Self {
        for partition in self.tenants.iter().flat_map(|tenant| &tenant.partitions) {
            let pages = self.pages.entry(partition.name.clone()).or_default();
            let mut start = 0;
            while start < partition.events {
                let page = self.pool.page(partition, start..partition.events);
                let end = page.end;
                pages.insert(start, page);
                start = end;
            }
        }
        self
    }

    /// A page that was made before, if it is exactly what is asked for.
    pub(crate) fn prepared_page(&self, partition: &Partition, start: u64, end: u64) -> Option<Page> {
        let page = self.pages.get(&partition.name)?.get(&start)?;
        (end == partition.events || page.end <= end).then(|| page.clone())
    }

    pub(crate) fn events(&self) -> u64 {
        self.tenants.iter().map(Tenant::events).sum()
    }
}

/// How a trial's world behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behaviour {
    /// Keeps the objects, to read them afterwards.
    pub(crate) keep_objects: bool,
    /// The time that DynamoDB's limit of a partition's throughput takes for a page.
    pub(crate) pace: Option<Duration>,
}

/// One trial's world.
pub(crate) struct World {
    pub(crate) data: Arc<Dataset>,
    pub(crate) behaviour: Behaviour,
    seen: Mutex<Seen>,
    /// When each partition may give its next page.
    paced: Mutex<HashMap<String, Instant>>,
}

/// What a trial did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// How many calls there were of each kind.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// The bytes that S3 took.
    pub(crate) stored_bytes: u64,
    /// When each tenant's watermark moved.
    pub(crate) commits: HashMap<String, Instant>,
    /// The leases that runs have, as attributes of the tenants' watermarks: the token, and until when.
    pub(crate) leases: HashMap<String, [(&'static str, Value); 2]>,
    /// How far a tenant's window is stored, in its own words.
    pub(crate) checkpoints: HashMap<String, String>,
    /// The objects, by bucket and key, where they are kept.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// The parts of unfinished uploads, by upload and number.
    pub(crate) parts: BTreeMap<(String, u32), Vec<u8>>,
    /// What was asked for that this AWS does not know.
    pub(crate) unknown: Vec<String>,
}

impl World {
    pub(crate) fn new(data: &Arc<Dataset>, behaviour: Behaviour) -> Arc<Self> {
        let (seen, paced) = (Mutex::default(), Mutex::default());
        Arc::new(Self { data: Arc::clone(data), behaviour, seen, paced })
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and tells how many of its kind there were with it.
    pub(crate) fn count(&self, call: &'static str) -> u64 {
        let mut seen = self.seen();
        let count = seen.calls.entry(call).or_default();
        *count += 1;
        *count
    }

    /// Lets a partition's page wait until its throughput allows for it.
    pub(crate) async fn pace(&self, partition: &Partition) {
        let Some(pace) = self.behaviour.pace else { return };
        let ready = {
            let mut paced = self.paced.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let ready = paced.get(&partition.name).map_or(now, |ready| now.max(*ready)) + pace;
            paced.insert(partition.name.clone(), ready);
            ready
        };
        tokio::time::sleep_until(ready.into()).await;
    }
}
