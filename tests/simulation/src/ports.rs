//! The fakes with faults around them: every call of a run goes through here, and may fail, lose its reply, be made twice,
//! never come back, or land after it was given up.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use audit_log_core::{
    export::Batch,
    failure::{Code, Failure},
    memory::{Memory, MemoryUpload},
    notice::Notice,
    object::ObjectSpec,
    ports::{Bucket, Buckets, Bus, Conditional, Due, Events, Page, Queue, Stretch, Tenants, Upload},
    record::NewEvent,
    records::{Doubt, Receipt, ReceiptDigest, StoredWatermark, TenantRecords},
    schedule::{Schedule, Window},
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{bugs, patience, runs, world::World};

/// For how long a role's credentials last.
const SESSION: TimeDelta = TimeDelta::minutes(15);

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

impl Tenants for Ports {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<Due>, Failure> {
        // Sixteen calls a run: only some of them go wrong.
        let due = if self.world.roll(8) == 0 {
            self.reads("due", &shard.to_string(), self.memory().due(shard, tick)).await
        } else {
            self.memory().due(shard, tick).await
        };
        match &due {
            Ok(due) => lock(&self.listed).extend(due.iter().map(|due| due.tenant.clone())),
            Err(_) => *lock(&self.unread) += 1,
        }
        due
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        self.memory().any_connected(shard).await
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        let names: Vec<_> = tenants.iter().map(TenantId::as_str).collect();
        let load = async {
            let loaded = self.memory().load(tenants).await;
            self.note_patience(tenants);
            loaded
        };
        self.reads("load", &names.join(" "), load).await
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        after: Schedule,
        receipt: &Receipt,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        let of = format!("{} {} {} objects", config.tenant, receipt.window, receipt.objects.len());
        if planted!(ProgressBeforePut) {
            bugs::put_deferred(self).await;
        }
        let (memory, config, as_read) = (self.memory().clone(), config.clone(), as_read.clone());
        let (config, as_read) = bugs::commit_condition(&self.world, config, as_read);
        let (receipt, news) = (receipt.clone(), news.cloned());
        let call = move || {
            let (memory, config, as_read) = (memory.clone(), config.clone(), as_read.clone());
            let (receipt, news) = (receipt.clone(), news.clone());
            async move { memory.commit(&config, &as_read, after, &receipt, news.as_ref()).await }
        };
        let result = self.writes("commit", &of, call).await;
        bugs::put_deferred(self).await;
        result
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        as_read: &StoredWatermark,
        failure: &Failure,
        at: DateTime<Utc>,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        let of = format!("{tenant} {} {}", failure.code, failure.message);
        let (memory, tenant, as_read) = (self.memory().clone(), tenant.clone(), as_read.clone());
        let (failure, news) = (failure.clone(), news.cloned());
        let call = move || {
            let (memory, tenant, as_read) = (memory.clone(), tenant.clone(), as_read.clone());
            let (failure, news) = (failure.clone(), news.clone());
            async move {
                bugs::failure_moves_the_watermark(&memory, &tenant);
                memory.record_failure(&tenant, &as_read, &failure, at, news.as_ref()).await
            }
        };
        self.writes("note failure", &of, call).await
    }

    async fn renew(&self, tenant: &TenantId, at: DateTime<Utc>) -> Result<(), Failure> {
        self.memory().renew(tenant, at).await
    }

    async fn note_told(&self, tenant: &TenantId, told: Option<&str>) -> Result<(), Failure> {
        let (memory, of, told) = (self.memory().clone(), tenant.clone(), told.map(str::to_owned));
        let call = move || {
            let (memory, of, told) = (memory.clone(), of.clone(), told.clone());
            async move { memory.note_told(&of, told.as_deref()).await }
        };
        let noted = self.writes("note told", tenant.as_str(), call).await;
        if noted.is_err() {
            self.world.facts().unheard.insert(tenant.to_string());
        }
        noted
    }

    async fn keep_progress(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        progress: &str,
    ) -> Result<Conditional, Failure> {
        let of = config.tenant.to_string();
        if planted!(WatermarkBeforePut) {
            bugs::put_deferred(self).await;
        }
        let (memory, config) = (self.memory().clone(), config.clone());
        let (as_read, progress) = (as_read.clone(), progress.to_owned());
        let (config, as_read) = bugs::progress_condition(&self.world, config, as_read);
        let call = move || {
            let (memory, config) = (memory.clone(), config.clone());
            let (as_read, progress) = (as_read.clone(), progress.clone());
            async move { memory.keep_progress(&config, &as_read, &progress).await }
        };
        let result = self.writes("keep progress", &of, call).await;
        bugs::put_deferred(self).await;
        result
    }

    async fn disturb(&self, tenant: &TenantId, progress: Option<&str>) -> Result<Conditional, Failure> {
        let (memory, of, progress) = (self.memory().clone(), tenant.clone(), progress.map(str::to_owned));
        let call = move || {
            let (memory, of, progress) = (memory.clone(), of.clone(), progress.clone());
            async move { bugs::disturb(&memory, &of, progress.as_deref()).await }
        };
        self.writes("disturb", tenant.as_str(), call).await
    }

    async fn receipt(&self, tenant: &TenantId, window_end: DateTime<Utc>) -> Result<Option<ReceiptDigest>, Failure> {
        let of = format!("{tenant} {}", timestamp::seconds(window_end));
        self.reads("receipt", &of, self.memory().receipt(tenant, window_end)).await
    }

    async fn doubt(&self, tenant: &TenantId, doubt: Doubt) -> Result<(), Failure> {
        let (memory, tenant) = (self.memory().clone(), tenant.clone());
        let of = format!("{tenant} {doubt}");
        let call = move || {
            let (memory, tenant) = (memory.clone(), tenant.clone());
            async move { memory.doubt(&tenant, doubt).await }
        };
        self.writes("doubt", &of, call).await
    }

    async fn settle(&self, tenant: &TenantId, doubts: &[Doubt]) -> Result<(), Failure> {
        let (memory, tenant, doubts) = (self.memory().clone(), tenant.clone(), doubts.to_vec());
        let of = tenant.to_string();
        let call = move || {
            let (memory, tenant, doubts) = (memory.clone(), tenant.clone(), doubts.clone());
            async move { memory.settle(&tenant, &doubts).await }
        };
        self.writes("settle", &of, call).await
    }

    async fn amend_receipt(
        &self,
        tenant: &TenantId,
        as_read: &ReceiptDigest,
        receipt: &Receipt,
    ) -> Result<Conditional, Failure> {
        let of = format!("{tenant} {}", receipt.window);
        let (memory, tenant) = (self.memory().clone(), tenant.clone());
        let (as_read, receipt) = (as_read.clone(), receipt.clone());
        let call = move || {
            let (memory, tenant) = (memory.clone(), tenant.clone());
            let (as_read, receipt) = (as_read.clone(), receipt.clone());
            async move { memory.amend_receipt(&tenant, &as_read, &receipt).await }
        };
        if planted!(AmendDoesNothing) {
            return Ok(Conditional::Written);
        }
        self.writes("amend receipt", &of, call).await
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

impl Buckets for Ports {
    type Bucket = SimulatedBucket;

    async fn open(&self, config: &TenantConfig, window: Window) -> Result<SimulatedBucket, Failure> {
        if lock(&self.put_off).get(config.tenant.as_str()).is_some_and(|(first, _)| *first) {
            self.world.violate(format!("{} is tried, though that is not due yet", config.tenant));
        }
        if self.world.facts().refused.get(config.tenant.as_str()) == Some(&true) {
            self.say(|| format!("assume role {}: denied", config.tenant));
            return Err(Failure::new(Code::AssumeRoleDenied, "The role may not be assumed."));
        }
        let bucket = self.reads("assume role", config.tenant.as_str(), self.memory().open(config, window)).await?;
        Ok(SimulatedBucket { ports: self.clone(), bucket, tenant: config.tenant.clone(), opened: self.world.now() })
    }
}

/// One tenant's bucket, as long as its credentials last.
pub struct SimulatedBucket {
    ports: Ports,
    bucket: <Memory as Buckets>::Bucket,
    tenant: TenantId,
    opened: DateTime<Utc>,
}

impl Bucket for SimulatedBucket {
    type Upload = SimulatedUpload;

    fn upload(&self, spec: ObjectSpec) -> SimulatedUpload {
        SimulatedUpload {
            ports: self.ports.clone(),
            tenant: self.tenant.clone(),
            opened: self.opened,
            key: spec.key.clone(),
            // A store that is made twice stores the same object twice.
            uploads: [self.bucket.upload(spec.clone()), self.bucket.upload(spec)],
        }
    }
}

/// An object on its way.
pub struct SimulatedUpload {
    ports: Ports,
    tenant: TenantId,
    opened: DateTime<Utc>,
    key: String,
    uploads: [MemoryUpload; 2],
}

impl Upload for SimulatedUpload {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        for upload in &mut self.uploads {
            upload.write(bytes.clone()).await?;
        }
        self.ports.reads("write", &self.key, async { Ok(()) }).await
    }

    async fn finish(self, sha256: &str) -> Result<(), Failure> {
        let Self { ports, tenant, opened, key, uploads } = self;
        if ports.world.now() - opened > SESSION {
            return Err(Failure::new(Code::CredentialsExpired, "The session is over."));
        }
        let refused = ports.world.facts().refused.contains_key(tenant.as_str());
        if refused && planted!(DeniedIsWell) {
            return Ok(());
        }
        if refused {
            ports.say(|| format!("put {key}: 403"));
            return Err(Failure::new(Code::AccessDenied, "The bucket refused the object."));
        }
        if planted!(WatermarkBeforePut) || planted!(ProgressBeforePut) {
            let [upload, _] = uploads;
            lock(&ports.deferred).push((upload, sha256.to_owned()));
            return Ok(());
        }
        let (uploads, sha256) = (Mutex::new(uploads.into_iter()), sha256.to_owned());
        let call = move || {
            let upload = lock(&uploads).next();
            let sha256 = sha256.clone();
            async move {
                match upload {
                    Some(upload) => upload.finish(&sha256).await,
                    None => Ok(()),
                }
            }
        };
        let result = ports.writes("put", &key, call).await;
        bugs::misplace(&ports.world, &tenant, &key);
        if planted!(FailedPutIsWell) { Ok(()) } else { result }
    }

    async fn abort(self) {
        self.ports.say(|| format!("abort {}", self.key));
        self.ports.world.delay().await;
    }
}

impl Bus for Ports {
    async fn publish(&self, notices: &[Notice]) -> Vec<(usize, Failure)> {
        let mut unpublished = Vec::new();
        for (at, notice) in notices.iter().enumerate() {
            let (of, tenant) = (format!("{:?} {}", notice.kind, notice.tenant), notice.tenant.to_string());
            let (memory, notice) = (self.memory().clone(), notice.clone());
            let call = move || {
                let (memory, notice) = (memory.clone(), notice.clone());
                async move { memory.publish(&[notice]).await.pop().map_or(Ok(()), |(_, failure)| Err(failure)) }
            };
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
