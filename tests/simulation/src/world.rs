//! The world of one seed: its clock, its dice, and what is known to be true.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use audit_log_core::{
    event::Body,
    failure::{Code, Failure},
    fakes::Fakes,
    notification::Kind,
    settings::TenantConfig,
    tenant::{Platform, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::{
    monitor::Monitor,
    plan::{MAX_SKEW, Plan, SETTLE},
    ports::lock,
};

/// Whose key, in which shard.
pub type EventKey = (String, u16, String);

/// One seed's world.
pub struct World {
    /// The fakes.
    pub fakes: Fakes,
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
    started: Instant,
    dice: Mutex<ChaCha8Rng>,
    facts: Mutex<Facts>,
    monitor: Mutex<Monitor>,
    trace: Option<Mutex<Vec<String>>>,
    violation: Mutex<Option<String>>,
}

/// A put that may still land.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Whose object.
    pub tenant: String,
    /// Which run's.
    pub run: u64,
    /// Bucket and key.
    pub place: (String, String),
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// What is known to be true, whatever the system says.
#[derive(Default)]
pub struct Facts {
    /// Events that became visible so late that their window may have been read before, and when.
    pub late: BTreeMap<EventKey, DateTime<Utc>>,
    /// Events that the table has deleted since.
    pub expired: BTreeMap<EventKey, Body>,
    /// Whom the customer's side refuses, and whether at the role.
    pub refused: BTreeMap<String, bool>,
    /// Buckets and folders that each tenant was ever configured with.
    pub folders: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Where each tenant's watermark stood when an admin changed something, the first save not counted.
    pub changed_at: BTreeSet<(String, String)>,
    /// The longest window that any of its frequencies makes, in hours.
    pub longest: BTreeMap<String, i64>,
    /// Where each tenant's exports began.
    pub begins: BTreeMap<String, DateTime<Utc>>,
    /// Every size that files were split by.
    pub sizes: BTreeSet<u64>,
    /// Since when each tenant has failed.
    pub failing: BTreeMap<String, DateTime<Utc>>,
    /// When the settings of each tenant were last saved, since its last success.
    pub renewed: BTreeMap<String, DateTime<Utc>>,
    /// What has to be announced of failures: tenant, action, where the watermark stood, and after how many days.
    pub due_announcements: BTreeSet<(String, &'static str, String, i64)>,
    /// What admins have changed: by the audit event's id, whose, its action and the notification's kind.
    pub changes: BTreeMap<String, (String, &'static str, Kind)>,
    /// When the settings of each tenant were changed for the last time.
    pub changed: BTreeMap<String, DateTime<Utc>>,
    /// Which run has made each lease, by its token.
    pub holders: BTreeMap<String, u64>,
    /// Puts that may still land.
    pub on_their_way: BTreeMap<u64, Put>,
    /// What the receipts say of each object, by bucket and key.
    pub committed: BTreeMap<(String, String), String>,
    /// How many puts there were.
    pub puts: u64,
}

/// The result of what needs no waiting, as all of the fakes' calls.
///
/// # Errors
/// As the call has it.
pub fn at_once<R>(call: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Failure::new(Code::Unavailable, "A fake waits for something.")),
    }
}

impl World {
    /// As it is before anything happens.
    pub fn new(plan: Plan, platform: Platform, dice: ChaCha8Rng, traced: bool) -> Self {
        let mut fakes = Fakes::default();
        fakes.page_size = plan.page_size;
        Self {
            fakes,
            platform,
            calm: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            max_object_bytes: AtomicU64::new(plan.max_object_bytes),
            runs: AtomicU64::new(0),
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

    /// How far the clock of a run is off that nobody has planned, in milliseconds.
    pub fn skew_ms(&self) -> i64 {
        let most = u32::try_from(MAX_SKEW.num_milliseconds()).unwrap_or_default();
        i64::from(self.roll(2 * most + 1)) - i64::from(most)
    }

    /// Whether the trouble is over.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// What is known to be true.
    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// A tenant's config as it is stored now.
    pub fn config(&self, tenant: &str) -> Option<TenantConfig> {
        let draft = self.fakes.state().tenants.get(tenant)?.config.clone()?;
        draft.check(&TenantId::parse(tenant).ok()?, &self.platform).ok()
    }

    /// Takes note of an event that is visible from now on: whether a run, its clock ahead as far as clocks can be, may have read
    /// its window before.
    pub fn note_visible(&self, tenant: &str, shard: u16, key: &str) {
        let stamp = key.split_once('#').and_then(|(stamp, _)| stamp.parse::<DateTime<Utc>>().ok());
        if stamp.is_some_and(|stamp| self.now() - stamp >= SETTLE - MAX_SKEW) {
            self.facts().late.entry((tenant.to_owned(), shard, key.to_owned())).or_insert(self.now());
        }
    }

    /// What a call takes: mostly nothing, often a little, and sometimes seconds.
    pub async fn delay(&self) {
        match self.roll(20) {
            0..13 => {}
            13..15 => tokio::task::yield_now().await,
            _ if self.happens(self.plan.faults.slow) => self.sleep_ms(self.plan.slowest_ms).await,
            _ => self.sleep_ms(150).await,
        }
    }

    /// Waits for so long at most.
    pub async fn sleep_ms(&self, most: u32) {
        tokio::time::sleep(Duration::from_millis(u64::from(self.roll(most)))).await;
    }

    /// Starts something that goes on by itself.
    pub fn spawn(self: &Arc<Self>, actor: impl Future<Output = ()> + 'static) {
        self.active.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(self);
        tokio::task::spawn_local(async move {
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

    /// A name in the trace, if anybody reads it.
    pub fn name(&self, name: impl FnOnce() -> String) -> String {
        self.trace.as_ref().map(|_| name()).unwrap_or_default()
    }

    /// All that was said.
    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| lock(trace).clone()).unwrap_or_default()
    }
}
