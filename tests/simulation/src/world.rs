//! The simulated world of one seed: clock, dice, facts and trace.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use audit_log_core::{
    failure::{Code, Failure},
    fakes::Fakes,
    settings::TenantConfig,
    tenant::{Platform, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;
use tokio::time::Instant;

use crate::{
    facts::Facts,
    monitor::Monitor,
    plan::{MAX_SKEW, Plan, SETTLE},
};

pub struct World {
    pub fakes: Fakes,
    pub plan: Plan,
    pub platform: Platform,
    /// No more faults happen.
    pub calm: AtomicBool,
    /// The number of tasks that have not ended.
    pub active: AtomicUsize,
    pub max_object_bytes: AtomicU64,
    /// The number of runs so far.
    pub runs: AtomicU64,
    started: Instant,
    dice: Mutex<ChaCha8Rng>,
    facts: Mutex<Facts>,
    monitor: Mutex<Monitor>,
    trace: Option<Mutex<Vec<String>>>,
    violation: Mutex<Option<String>>,
}

/// Locks a mutex, even after a panic.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the result of a fake's call, which never waits.
///
/// # Errors
/// The call's own.
pub fn call_now<R>(call: impl Future<Output = Result<R, Failure>>) -> Result<R, Failure> {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Failure::new(Code::Unavailable, "A fake waited.")),
    }
}

impl World {
    pub fn new(plan: Plan, platform: Platform, dice: ChaCha8Rng, traced: bool) -> Self {
        let mut fakes = Fakes::default();
        fakes.page_size = plan.page_size;
        Self {
            fakes,
            calm: AtomicBool::new(false),
            active: AtomicUsize::new(0),
            max_object_bytes: AtomicU64::new(plan.max_object_bytes),
            runs: AtomicU64::new(0),
            started: Instant::now(),
            dice: Mutex::new(dice),
            facts: Mutex::new(Facts { sizes: BTreeSet::from([plan.max_object_bytes]), ..Facts::default() }),
            monitor: Mutex::new(Monitor::new(platform.clone(), plan.retention.map(TimeDelta::hours))),
            trace: traced.then(Mutex::default),
            violation: Mutex::default(),
            platform,
            plan,
        }
    }

    /// The true time. Runs and admins see it through clocks that are off.
    pub fn now(&self) -> DateTime<Utc> {
        self.plan.begins + TimeDelta::from_std(self.started.elapsed()).unwrap_or_default()
    }

    pub async fn sleep_until(&self, at: DateTime<Utc>) {
        if let Ok(left) = (at - self.now()).to_std() {
            tokio::time::sleep(left).await;
        }
    }

    /// A random number below `end`.
    pub fn roll(&self, end: u32) -> u32 {
        if end == 0 { 0 } else { lock(&self.dice).random_range(0..end) }
    }

    /// Rolls the dice for a fault. No fault happens once the world is calm.
    pub fn happens(&self, per_mille: u32) -> bool {
        !self.is_calm() && self.roll(1_000) < per_mille
    }

    /// A random clock skew, for a run that is not in the plan.
    pub fn skew_ms(&self) -> i64 {
        let max = u32::try_from(MAX_SKEW.num_milliseconds()).unwrap_or_default();
        i64::from(self.roll(2 * max + 1)) - i64::from(max)
    }

    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    pub fn facts(&self) -> MutexGuard<'_, Facts> {
        lock(&self.facts)
    }

    /// A tenant's config as stored now.
    pub fn config(&self, tenant: &str) -> Option<TenantConfig> {
        let draft = self.fakes.state().tenants.get(tenant)?.config.clone()?;
        draft.check(&TenantId::parse(tenant).ok()?, &self.platform).ok()
    }

    /// Records an event as late if a run, its clock ahead by the largest skew, may have read its window before now.
    pub fn note_visible(&self, tenant: &str, shard: u16, key: &str) {
        let stamp = key.split_once('#').and_then(|(stamp, _)| stamp.parse::<DateTime<Utc>>().ok());
        if stamp.is_some_and(|stamp| self.now() - stamp >= SETTLE - MAX_SKEW) {
            self.facts().late.entry((tenant.to_owned(), shard, key.to_owned())).or_insert(self.now());
        }
    }

    /// Waits for a call's duration: mostly none, often short, sometimes seconds.
    pub async fn delay(&self) {
        match self.roll(20) {
            0..13 => {}
            13..15 => tokio::task::yield_now().await,
            _ if self.happens(self.plan.faults.slow) => self.sleep_ms(self.plan.slowest_ms).await,
            _ => self.sleep_ms(150).await,
        }
    }

    /// Waits for a random time below `max`.
    pub async fn sleep_ms(&self, max: u32) {
        tokio::time::sleep(Duration::from_millis(u64::from(self.roll(max)))).await;
    }

    pub fn spawn(self: &Arc<Self>, task: impl Future<Output = ()> + 'static) {
        self.active.fetch_add(1, Ordering::Relaxed);
        let world = Arc::clone(self);
        tokio::task::spawn_local(async move {
            task.await;
            world.active.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// Lets the monitor check the world after a step.
    pub fn check_step(&self) {
        let mut monitor = lock(&self.monitor);
        let result = monitor.check_step(&mut self.fakes.state(), &mut self.facts(), self.now());
        drop(monitor);
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    /// Records a violation. The first one is the verdict.
    pub fn violate(&self, what: String) {
        self.say(|| format!("VIOLATION {what}"));
        lock(&self.violation).get_or_insert(what);
    }

    pub fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    /// Adds a line to the trace, if there is one.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(trace) = &self.trace {
            lock(trace).push(format!("{} {}", timestamp::millis(self.now()), line()));
        }
    }

    /// Formats a text for the trace; empty without one.
    pub fn format(&self, text: impl FnOnce() -> String) -> String {
        self.trace.as_ref().map(|_| text()).unwrap_or_default()
    }

    pub fn trace(&self) -> Vec<String> {
        self.trace.as_ref().map(|trace| lock(trace).clone()).unwrap_or_default()
    }
}
