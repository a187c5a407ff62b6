//! The function as the platform invokes it: by the rule and by the queue, again after it failed, and never for longer than
//! its time.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use audit_log_core::{
    export::{Batch, Budget, Done, Export, GRACE, Options, Report, Run},
    failure::Failure,
    schedule, timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    plan::SETTLE,
    ports::{Ports, lock},
    world::World,
};

/// How often a message is received before it is put aside.
const RECEIVES: u32 = 5;

/// A run that stops being polled at some await, as a process that is killed there.
struct Fragile<F> {
    run: Pin<Box<F>>,
    polls_left: Option<u32>,
    /// Whether somebody else has ended it.
    is_dead: Arc<AtomicBool>,
}

impl<F: Future> Future for Fragile<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == Some(0) {
            return Poll::Ready(None);
        }
        self.polls_left = self.polls_left.map(|left| left - 1);
        let polled = self.run.as_mut().poll(context).map(Some);
        if self.is_dead.load(Ordering::Relaxed) { Poll::Ready(None) } else { polled }
    }
}

/// One run and the surroundings of its invocation.
struct Invocation {
    world: Arc<World>,
    ports: Ports,
    number: u64,
    skew: TimeDelta,
}

impl Invocation {
    fn new(world: &Arc<World>, skew_ms: i64) -> Self {
        let number = world.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let ports = Ports::new(world, number);
        Self { world: Arc::clone(world), ports, number, skew: TimeDelta::milliseconds(skew_ms) }
    }

    fn export(&self) -> Export<Ports, Ports, Ports, Ports> {
        let plan = &self.world.plan;
        let options = Options {
            settle: SETTLE,
            retention: plan.retention.map(TimeDelta::hours),
            concurrency: plan.concurrency,
            max_object_bytes: self.world.max_object_bytes.load(Ordering::Relaxed),
            max_windows: if self.world.is_calm() { 1_000 } else { plan.max_windows },
            budget: Budget::new(1 << 22),
        };
        let ports = || self.ports.clone();
        Export { tenants: ports(), events: ports(), buckets: ports(), bus: ports(), options }
    }

    /// Runs something for as long as an invocation may take, unless it dies before; none if it does.
    async fn within<R, F: Future<Output = R>>(
        &self,
        event_time: DateTime<Utc>,
        job: impl FnOnce(DateTime<Utc>) -> F,
        limit: Duration,
    ) -> Option<R> {
        let Self { world, number, skew, .. } = self;
        let tick = schedule::tick(event_time, world.now() + *skew);
        *lock(&self.ports.tick) = Some(tick);
        world.say(|| format!("run {number:<3} begins for {}, its clock is {skew} off", timestamp::seconds(tick)));
        // Most runs are short, so that a crash among their first steps must be as likely as one among hundreds.
        let polls_left = world.happens(world.plan.crashes).then(|| 1 + world.roll(1 << (2 + world.roll(9))));
        let is_dead = Arc::clone(&self.ports.is_dead);
        let fragile = Fragile { run: Box::pin(job(tick)), polls_left, is_dead };
        let result = tokio::time::timeout(limit, fragile).await.ok().flatten();
        if result.is_none() {
            world.say(|| format!("run {number:<3} dies"));
            world.facts().died = true;
        }
        result
    }

    /// What is the same for each run: its limit, and its two closures over the clock.
    fn limit(&self) -> TimeDelta {
        TimeDelta::seconds(if self.world.is_calm() { 800 } else { self.world.plan.time_limit })
    }

    fn clock(&self) -> impl Fn() -> DateTime<Utc> + Send + Sync + use<> {
        let (world, skew) = (Arc::clone(&self.world), self.skew);
        move || world.now() + skew
    }

    fn should_stop(&self) -> impl Fn() -> bool + Send + Sync + use<> {
        let (world, end) = (Arc::clone(&self.world), self.world.now() + self.limit());
        move || world.now() >= end
    }

    /// When the platform kills it.
    fn killed_after(&self) -> Duration {
        self.limit().to_std().unwrap_or_default() + GRACE + Duration::from_secs(10)
    }

    async fn tick(&self, event_time: DateTime<Utc>) -> Option<Result<Report, Failure>> {
        let (export, now, should_stop) = (self.export(), self.clock(), self.should_stop());
        let (platform, ports) = (&self.world.platform, &self.ports);
        // In the end, one run at a time does everything itself.
        let fan_out = self.world.plan.fan_out && !self.world.is_calm();
        let job = |tick| {
            let run = Run { tick, platform, now: &now, should_stop: &should_stop };
            let export = &export;
            async move { if fan_out { export.hand_over(run, ports).await } else { export.tick(run).await } }
        };
        let result = self.within(event_time, job, self.killed_after()).await;
        if let Some(result) = &result {
            self.world.say(|| format!("run {:<3} ends: {result:?}", self.number));
            if fan_out {
                self.handed_over(result);
            }
            self.adds_up(result.as_ref().ok());
            let unread = *lock(&self.ports.unread);
            if unread > 0 && result.is_ok() {
                self.world
                    .violate("a part of the index could not be read, and the tick says that all is well".to_owned());
            }
        }
        result
    }

    /// Whoever was listed as due was handed over, or the run says that it failed.
    fn handed_over(&self, result: &Result<Report, Failure>) {
        let listed = lock(&self.ports.listed);
        let sent = lock(&self.ports.sent);
        if result.is_ok() && !listed.is_subset(&sent) {
            self.world.violate(format!("{listed:?} were due and only {sent:?} were handed over"));
        }
    }

    fn adds_up(&self, report: Option<&Report>) {
        if let Some(report) = report
            && report.due != report.queued + report.exported + report.failed + report.deferred
        {
            self.world.violate(format!("the figures of a run don't add up: {report:?}"));
        }
        // Somebody else's failure may have come in between, but nobody is put off without one.
        let most = lock(&self.ports.put_off).values().filter(|(_, ever)| *ever).count() as u64;
        if let Some(report) = report
            && report.put_off > most
        {
            self.world.violate(format!("{} tenants were put off, and the model puts off {most}", report.put_off));
        }
    }

    async fn batches(&self, batches: &[Batch]) -> Option<Done> {
        let (export, now, should_stop) = (self.export(), self.clock(), self.should_stop());
        let (platform, ports) = (&self.world.platform, &self.ports);
        let latest = batches.iter().map(|batch| batch.tick).max()?;
        let job = |tick| {
            let run = Run { tick, platform, now: &now, should_stop: &should_stop };
            let export = &export;
            async move { export.batches(run, batches, Some(ports)).await }
        };
        let done = self.within(latest, job, self.killed_after()).await?;
        self.world.say(|| format!("run {:<3} ends: {done:?}", self.number));
        self.adds_up(Some(&done.report));
        let sent = lock(&self.ports.sent);
        let comes_again = |tenant: &String| {
            done.failed.iter().any(|at| batches.get(*at).is_some_and(|it| it.tenants.contains(tenant)))
        };
        for tenant in &done.report.unfinished {
            if !sent.contains(tenant) && !comes_again(tenant) {
                self.world.violate(format!("nobody goes on with {tenant}, whom a run left unfinished"));
            }
        }
        for tenant in &done.report.failed_by_platform {
            if !comes_again(tenant) {
                self.world.violate(format!("the platform failed at {tenant}, and its batch does not come again"));
            }
        }
        drop(sent);
        Some(done)
    }
}

/// Waits until no other run is at work, where there are no overlaps; what a dead run has sent still lands before.
async fn turn(world: &World) -> Option<tokio::sync::MutexGuard<'_, ()>> {
    if world.plan.overlaps {
        return None;
    }
    let turn = world.turn.lock().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    Some(turn)
}

/// A tick by the rule, and its repetitions if it fails.
pub async fn tick(world: &Arc<World>, event_time: DateTime<Utc>, skew_ms: i64) {
    for repeated in 0..3_u64 {
        tokio::time::sleep(Duration::from_secs(repeated * 60)).await;
        let turn = turn(world).await;
        let result = Invocation::new(world, skew_ms).tick(event_time).await;
        drop(turn);
        if matches!(result, Some(Ok(_))) {
            return;
        }
    }
}

/// A message on its way to the function, once or twice.
pub fn deliver(world: &Arc<World>, batch: &Batch) {
    for _ in 0..1 + u32::from(world.happens(150)) {
        let message = message(Arc::clone(world), batch.clone());
        world.spawn(message);
    }
}

/// Received until it is done with, and five times at most.
fn message(world: Arc<World>, batch: Batch) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        // Several messages may come in one invocation.
        let apart = world.roll(2) == 0;
        let alone = |tenant: &String| Batch { tick: batch.tick, tenants: vec![tenant.clone()] };
        let mut batches = if apart { batch.tenants.iter().map(alone).collect() } else { vec![batch.clone()] };
        for _ in 0..RECEIVES {
            let wait = if world.happens(100) { 3_000_000 } else { 5_000 };
            tokio::time::sleep(Duration::from_millis(u64::from(world.roll(wait)))).await;
            let turn = turn(&world).await;
            let skew_ms = i64::from(world.roll(20_000)) - 10_000;
            if let Some(done) = Invocation::new(&world, skew_ms).batches(&batches).await {
                batches = done.failed.iter().filter_map(|at| batches.get(*at).cloned()).collect();
            }
            drop(turn);
            if batches.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        world.say(|| format!("put aside: {batches:?}"));
    })
}
