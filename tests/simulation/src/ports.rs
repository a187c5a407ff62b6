//! The fakes with faults around them: every call of a run goes through here, and may fail, lose its reply, be made twice,
//! never come back, or land after it was given up.

mod buckets;
mod tenants;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use audit_log_core::{
    export::Batch,
    failure::{Code, Failure},
    memory::{Memory, MemoryUpload},
    notice::{Kind, Notice},
    ports::{Bus, Events, Page, Queue, Stretch},
    tenant::TenantId,
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{bugs, patience, runs, world::World};

/// The ports of one run.
#[derive(Clone)]
pub struct Ports {
    /// The world that they reach.
    pub world: Arc<World>,
    /// The run's number.
    pub run: u64,
    /// Parts of the index that this run could not read.
    pub unread: Arc<Mutex<u32>>,
    /// Whom the index has listed.
    pub listed: Arc<Mutex<BTreeSet<String>>>,
    /// Puts that a planted bug makes too late.
    pub deferred: Arc<Mutex<Vec<(MemoryUpload, String)>>>,
    /// Who was handed over.
    pub sent: Arc<Mutex<BTreeSet<String>>>,
    /// The hour that the run stands for.
    pub tick: Arc<Mutex<Option<DateTime<Utc>>>>,
    /// Whom the run has looked at, and whether the model puts them off: at the first look, and at any.
    pub put_off: Arc<Mutex<BTreeMap<String, (bool, bool)>>>,
    /// Whether the run is about to store a committed window again: it has asked for its receipt.
    pub repairs: Arc<AtomicBool>,
    /// Whether the run has died.
    pub is_dead: Arc<AtomicBool>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Fails,
    LosesReply,
    Twice,
    Hangs,
    Detached,
}

/// Whatever a panic elsewhere has left of it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ports {
    /// Of a run.
    pub fn new(world: &Arc<World>, run: u64) -> Self {
        Self {
            world: Arc::clone(world),
            run,
            unread: Arc::default(),
            listed: Arc::default(),
            sent: Arc::default(),
            deferred: Arc::default(),
            tick: Arc::default(),
            put_off: Arc::default(),
            repairs: Arc::default(),
            is_dead: Arc::default(),
        }
    }

    fn memory(&self) -> &Memory {
        &self.world.memory
    }

    fn fate(&self) -> Fate {
        let (world, faults) = (&self.world, self.world.plan.faults);
        if world.is_calm() {
            Fate::Well
        } else if world.happens(faults.fail) {
            Fate::Fails
        } else if world.happens(faults.lost_reply) {
            Fate::LosesReply
        } else if world.happens(faults.twice) {
            Fate::Twice
        } else if world.happens(faults.hang) {
            Fate::Hangs
        } else if world.happens(faults.detached) {
            Fate::Detached
        } else {
            Fate::Well
        }
    }

    fn failure(&self) -> Failure {
        let code = match self.world.roll(4) {
            0 => Code::Throttled,
            1 => Code::PlatformDenied,
            2 => Code::CredentialsExpired,
            _ => Code::Unavailable,
        };
        Failure::new(code, "The simulation wanted it so.")
    }

    /// Ends the run in the middle of a repair, now and then.
    async fn may_die(&self) {
        let world = &self.world;
        if !self.repairs.load(Ordering::Relaxed) || !world.happens(world.plan.dead_repairs) {
            return;
        }
        let of_all = {
            let dead = &mut world.facts().dead_repairs;
            *dead += 1;
            *dead
        };
        if of_all <= world.plan.most_dead_repairs {
            self.say(|| "is killed in the middle of a repair".to_owned());
            self.is_dead.store(true, Ordering::Relaxed);
            pending().await
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        self.world.say(|| format!("run {:<3} {}", self.run, line()));
    }

    /// A call that changes nothing.
    async fn reads<R>(
        &self,
        what: &str,
        of: &str,
        call: impl Future<Output = Result<R, Failure>>,
    ) -> Result<R, Failure> {
        self.world.delay().await;
        match self.fate() {
            Fate::Fails | Fate::LosesReply => {
                self.say(|| format!("{what} {of}: fails"));
                Err(self.failure())
            }
            Fate::Hangs => {
                self.say(|| format!("{what} {of}: hangs"));
                pending().await
            }
            Fate::Well | Fate::Twice | Fate::Detached => {
                let result = call.await;
                self.world.delay().await;
                result
            }
        }
    }

    /// A call that changes something, and can be made once more.
    async fn writes<R, F>(&self, what: &str, of: &str, call: impl Fn() -> F + Send + 'static) -> Result<R, Failure>
    where
        R: std::fmt::Debug + Send + 'static,
        F: Future<Output = Result<R, Failure>> + Send + 'static,
    {
        self.world.delay().await;
        let fate = self.fate();
        match fate {
            Fate::Fails => {
                self.say(|| format!("{what} {of}: fails"));
                return Err(self.failure());
            }
            Fate::Hangs => {
                self.say(|| format!("{what} {of}: hangs"));
                return pending().await;
            }
            Fate::Detached => {
                self.say(|| format!("{what} {of}: given up while it is on its way"));
                let ports = self.clone();
                let (what, of) = (what.to_owned(), of.to_owned());
                self.world.spawn(async move {
                    tokio::time::sleep(std::time::Duration::from_millis(u64::from(ports.world.roll(8_000)))).await;
                    let landed = call().await;
                    ports.say(|| format!("{what} {of}: lands after all, {landed:?}"));
                    ports.world.look();
                });
                self.world.delay().await;
                return Err(Failure::new(Code::Unavailable, "No answer came in time."));
            }
            Fate::Twice => {
                let first = call().await;
                self.say(|| format!("{what} {of}: {first:?}, and once more"));
                self.world.look();
                self.world.delay().await;
            }
            Fate::Well | Fate::LosesReply => {}
        }
        let result = call().await;
        self.say(|| {
            format!("{what} {of}: {result:?}{}", if fate == Fate::LosesReply { ", but no answer" } else { "" })
        });
        self.world.look();
        self.world.delay().await;
        if fate == Fate::LosesReply { Err(self.failure()) } else { result }
    }
}

impl Events for Ports {
    async fn page(&self, stretch: Stretch<'_>) -> Result<Page, Failure> {
        let of = format!("{}#{} after {}", stretch.tenant, stretch.shard, stretch.after.unwrap_or("the beginning"));
        self.expire();
        let mut page = self.reads("page", &of, self.memory().page(bugs::stretch(stretch))).await?;
        bugs::page(&self.world, stretch, &mut page);
        // A page may be shorter than it could be, and even empty, although there are more.
        if self.world.happens(150) && !page.events.is_empty() {
            let keep = self.world.roll(u32::try_from(page.events.len()).unwrap_or(1)) as usize;
            let last = page.events[..keep].last().map(|event| event.recorded_at_id.clone());
            if let Some(last) = last.or_else(|| stretch.after.map(str::to_owned)) {
                page.events.truncate(keep);
                page.more_after = Some(last);
            }
        }
        self.say(|| format!("page {of}: {} events, more after {:?}", page.events.len(), page.more_after));
        Ok(page)
    }

    async fn page_back(&self, stretch: Stretch<'_>, most: usize) -> Result<Page, Failure> {
        self.memory().page_back(stretch, most).await
    }
}

impl Ports {
    /// Holds whom the model puts off.
    fn note_patience(&self, tenants: &[TenantId]) {
        let Some(tick) = *lock(&self.tick) else { return };
        let (facts, state) = (self.world.facts(), self.memory().state());
        for id in tenants.iter().map(TenantId::as_str) {
            let stored = state.tenants.get(id);
            let is = stored.is_some_and(|stored| patience::is_put_off(&facts, id, stored, tick));
            lock(&self.put_off).entry(id.to_owned()).or_insert((is, is)).1 |= is;
        }
    }

    /// Deletes what is kept no longer, as the table does some time after.
    fn expire(&self) {
        let Some(hours) = self.world.plan.retention else { return };
        let lag = TimeDelta::seconds(i64::from(self.world.roll(3_600)));
        let kept_from = timestamp::millis(self.world.now() - TimeDelta::hours(hours) - lag);
        let mut facts = self.world.facts();
        for ((tenant, shard), events) in &mut self.memory().state().events {
            let kept = events.split_off(&kept_from);
            for (key, body) in std::mem::replace(events, kept) {
                facts.expired.insert((tenant.clone(), *shard, key), body);
            }
        }
    }
}

impl Bus for Ports {
    async fn publish(&self, notices: &[Notice]) -> Vec<(usize, Failure)> {
        let mut unpublished = Vec::new();
        for (at, notice) in notices.iter().enumerate() {
            let (of, tenant) = (format!("{:?} {}", notice.kind, notice.tenant), notice.tenant.to_string());
            let (memory, published) = (self.memory().clone(), notice.clone());
            let call = move || {
                let (memory, notice) = (memory.clone(), published.clone());
                async move { memory.publish(&[notice]).await.pop().map_or(Ok(()), |(_, failure)| Err(failure)) }
            };
            if notice.kind != Kind::Recovered {
                self.world.facts().unnoted.insert((tenant.clone(), self.run));
            }
            let publishing = tokio::time::timeout(std::time::Duration::from_secs(5), self.writes("publish", &of, call));
            let late = |_| Err(Failure::new(Code::Unavailable, "The bus did not answer in time."));
            if let Err(failure) = publishing.await.unwrap_or_else(late) {
                self.world.facts().unheard.insert(tenant);
                unpublished.push((at, failure));
            }
        }
        unpublished
    }
}

impl Queue for Ports {
    async fn send(&self, batches: &[Batch]) -> Vec<(usize, Failure)> {
        let mut unsent = Vec::new();
        for (at, batch) in batches.iter().enumerate() {
            let world = Arc::clone(&self.world);
            let message = batch.clone();
            let call = move || {
                runs::deliver(&world, &message);
                std::future::ready(Ok(()))
            };
            match self.writes("send", &batch.tenants.join(" "), call).await {
                Ok(()) => lock(&self.sent).extend(batch.tenants.iter().cloned()),
                Err(failure) => unsent.push((at, failure)),
            }
        }
        unsent
    }
}
