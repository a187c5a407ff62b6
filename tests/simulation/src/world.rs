//! The world of one seed: its clock, its dice, and what is known to be true.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use audit_log_core::{event::Body, memory::Memory, tenant::Platform, timestamp};
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::{monitor::Monitor, plan::Plan, ports::lock};

/// Whose key, in which shard.
pub type EventKey = (String, u16, String);

/// One seed's world.
pub struct World {
    /// The fakes.
    pub memory: Memory,
    /// What the seed wants.
    pub plan: Plan,
    /// Whose system it is.
    pub platform: Platform,
    /// Whether the trouble is over.
    pub calm: AtomicBool,
    /// How many actors are at work.
    pub active: AtomicUsize,
    /// Where files are split now.
    pub max_object_bytes: AtomicU64,
    /// How many runs there were.
    pub runs: AtomicU64,
    /// Held by the one run that is at work, where runs don't overlap.
    pub turn: tokio::sync::Mutex<()>,
    started: Instant,
    dice: Mutex<ChaCha8Rng>,
    facts: Mutex<Facts>,
    monitor: Mutex<Monitor>,
    trace: Option<Mutex<Vec<String>>>,
    violation: Mutex<Option<String>>,
}

/// What is known to be true, whatever the system says.
#[derive(Default)]
pub struct Facts {
    /// Events whose writers broke the settle contract, and when they became visible.
    pub late: BTreeMap<EventKey, DateTime<Utc>>,
    /// Events that the table has deleted since.
    pub expired: BTreeMap<EventKey, Body>,
    /// Whom the customer's side refuses, and whether at the role.
    pub refused: BTreeMap<String, bool>,
    /// Buckets and folders that each tenant was ever configured with.
    pub folders: BTreeMap<String, BTreeSet<(String, String)>>,
    /// How often each tenant's settings were saved, its first save not counted.
    pub saves: BTreeMap<String, u32>,
    /// The longest window that any of its frequencies makes, in hours.
    pub longest: BTreeMap<String, i64>,
    /// Where each tenant's exports began.
    pub begins: BTreeMap<String, DateTime<Utc>>,
    /// Every size that files were split by.
    pub sizes: BTreeSet<u64>,
    /// Whether the operator changed where files are split.
    pub resized: bool,
    /// Since when each tenant has failed.
    pub failing: BTreeMap<String, DateTime<Utc>>,
    /// When the settings of each tenant were last saved, since its last success.
    pub renewed: BTreeMap<String, DateTime<Utc>>,
    /// What has to be told: where a tenant's watermark stood, and after how many days of failures.
    pub due_news: BTreeSet<(String, String, i64)>,
    /// Whose notices met with trouble on their way.
    pub unheard: BTreeSet<String>,
    /// Whose failure a run has told of, and that run, until it has noted what it told: if it is cut off in between, nobody
    /// knows that there is an end to tell.
    pub unnoted: BTreeSet<(String, u64)>,
    /// Whether any run has died.
    pub died: bool,
    /// How many have died while they stored a committed window again.
    pub dead_repairs: u32,
    /// When the settings of each tenant were saved for the last time.
    pub saved: BTreeMap<String, DateTime<Utc>>,
}

impl World {
    /// As it is before anything happens.
    pub fn new(plan: Plan, platform: Platform, dice: ChaCha8Rng, traced: bool) -> Self {
        let mut memory = Memory::default();
        memory.page_size = plan.page_size;
        Self {
            memory,
            platform,
            calm: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            max_object_bytes: AtomicU64::new(plan.max_object_bytes),
            runs: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
            started: Instant::now(),
            dice: Mutex::new(dice),
            facts: Mutex::new(Facts { sizes: BTreeSet::from([plan.max_object_bytes]), ..Facts::default() }),
            monitor: Mutex::default(),
            trace: traced.then(Mutex::default),
            violation: Mutex::default(),
            plan,
        }
    }

    /// The time as it really is; nobody in this world reads it from a clock of their own.
    pub fn now(&self) -> DateTime<Utc> {
        self.plan.begins + TimeDelta::from_std(self.started.elapsed()).unwrap_or_default()
    }

    /// Waits until an instant.
    pub async fn sleep_until(&self, at: DateTime<Utc>) {
        if let Ok(left) = (at - self.now()).to_std() {
            tokio::time::sleep(left).await;
        }
    }

    /// A number below `end`.
    pub fn roll(&self, end: u32) -> u32 {
        if end == 0 { 0 } else { lock(&self.dice).random_range(0..end) }
    }

    /// Whether something happens that does so many times out of a thousand. Nothing does any more once it is calm.
    pub fn happens(&self, per_mille: u32) -> bool {
        !self.is_calm() && self.roll(1_000) < per_mille
    }

    /// Whether the trouble is over.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// What is known to be true.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// What a call takes: mostly nothing, often a little, and sometimes seconds.
    pub async fn delay(&self) {
        match self.roll(20) {
            0..10 => {}
            10..13 => tokio::task::yield_now().await,
            _ if self.happens(self.plan.faults.slow) => self.sleep_ms(self.plan.slowest_ms).await,
            _ => self.sleep_ms(150).await,
        }
    }

    async fn sleep_ms(&self, most: u32) {
        tokio::time::sleep(Duration::from_millis(u64::from(self.roll(most)))).await;
    }

    /// Starts something that goes on by itself.
    pub fn spawn(self: &Arc<Self>, actor: impl Future<Output = ()> + Send + 'static) {
        self.active.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(self);
        tokio::spawn(async move {
            actor.await;
            world.active.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Looks at everything after a step.
    pub fn look(&self) {
        let found = lock(&self.monitor).look(self);
        if let Err(violation) = found {
            self.violate(violation);
        }
    }

    /// Something that must never be; the first of them is the verdict.
    pub fn violate(&self, what: String) {
        self.say(|| format!("VIOLATION {what}"));
        lock(&self.violation).get_or_insert(what);
    }

    /// The verdict so far.
    pub fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    /// A line of the trace, if anybody reads it.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            lock(trace).push(format!("{} {}", timestamp::millis(self.now()), line()));
        }
    }

    /// All that was said.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| lock(trace).clone()).unwrap_or_default()
    }
}
