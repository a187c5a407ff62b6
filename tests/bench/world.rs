//! The state of the fake AWS in a trial: its data, and what it observed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::data::{Page, Partition, Pool};

#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    /// The first hex digit of the id's SHA-256.
    pub(crate) due_shard: String,
    pub(crate) gzip: bool,
    pub(crate) schema: &'static str,
    pub(crate) partitions: Vec<Partition>,
}

impl Tenant {
    /// A tenant with events spread evenly over its shards.
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
        Self { id, due_shard, gzip: false, schema: "native", partitions }
    }

    pub(crate) fn gzipped(self) -> Self {
        Self { gzip: true, ..self }
    }

    pub(crate) fn in_ocsf(self) -> Self {
        Self { schema: "ocsf", ..self }
    }

    pub(crate) fn events(&self) -> u64 {
        self.partitions.iter().map(|partition| partition.events).sum()
    }

    pub(crate) fn bucket(&self) -> String {
        format!("{}-audit", self.id)
    }
}

/// The data to export, shared by all trials of a row.
pub(crate) struct Dataset {
    pub(crate) pool: Arc<Pool>,
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) by_id: HashMap<String, usize>,
    /// Each partition's index in `tenants` and in the tenant's `partitions`.
    pub(crate) by_partition: HashMap<String, (usize, usize)>,
    /// Pages that are made before the trial, by partition and first event.
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

    /// Makes all pages now, so that serving them only costs writing.
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

    /// A prepared page, if it is exactly the requested one.
    pub(crate) fn prepared_page(&self, partition: &Partition, start: u64, end: u64) -> Option<Page> {
        let page = self.pages.get(&partition.name)?.get(&start)?;
        (end == partition.events || page.end <= end).then(|| page.clone())
    }

    pub(crate) fn events(&self) -> u64 {
        self.tenants.iter().map(Tenant::events).sum()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behavior {
    /// Stores the objects' bytes, for the check.
    pub(crate) keep_objects: bool,
    /// The time between two pages of a partition, by DynamoDB's throughput limit.
    pub(crate) pace: Option<Duration>,
}

pub(crate) struct World {
    pub(crate) data: Arc<Dataset>,
    pub(crate) behavior: Behavior,
    observed: Mutex<Observed>,
    /// When each partition may return its next page.
    paced: Mutex<HashMap<String, Instant>>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// The number of calls by kind.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// The bytes that S3 received.
    pub(crate) stored_bytes: u64,
    /// When each tenant's watermark moved.
    pub(crate) commits: HashMap<String, Instant>,
    /// The attributes `lease` and `lease_until` of leased tenants.
    pub(crate) leases: HashMap<String, [(&'static str, Value); 2]>,
    /// Tenants' checkpoints, as written.
    pub(crate) checkpoints: HashMap<String, String>,
    /// The objects by bucket and key, with `keep_objects`.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    pub(crate) parts: BTreeMap<(String, u32), Vec<u8>>,
    /// Requests that the fake AWS doesn't support.
    pub(crate) unknown: Vec<String>,
}

impl World {
    pub(crate) fn new(data: &Arc<Dataset>, behavior: Behavior) -> Arc<Self> {
        let (observed, paced) = (Mutex::default(), Mutex::default());
        Arc::new(Self { data: Arc::clone(data), behavior, observed, paced })
    }

    pub(crate) fn observed(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and returns the number of calls of its kind.
    pub(crate) fn count(&self, call: &'static str) -> u64 {
        let mut observed = self.observed();
        let count = observed.calls.entry(call).or_default();
        *count += 1;
        *count
    }

    /// Waits until a partition's throughput allows another page.
    pub(crate) async fn pace(&self, partition: &Partition) {
        let Some(pace) = self.behavior.pace else { return };
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
