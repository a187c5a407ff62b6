//! Invokes the exporter as the platform does: by rule and queue, with retries, and within a time limit.

use std::{
    fmt::Debug,
    pin::Pin,
    sync::{Arc, LazyLock, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use audit_log_core::{
    batch::Batch,
    export::{BatchResult, Budget, Export, GRACE, Options, Report, Run},
    failure::Failure,
    ocsf::Mapping,
    schedule,
    tenant::TenantId,
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    bugs::{Bug, is_planted},
    plan::SETTLE,
    ports::Ports,
    world::World,
};

/// After this, a message goes to the dead-letter queue.
const MAX_RECEIVES: u32 = 5;

#[allow(clippy::expect_used, reason = "a mapping that can't be read must stop the simulation")]
static OCSF: LazyLock<Arc<Mapping>> = LazyLock::new(|| {
    let mapping = Mapping::parse(include_str!("../../../functions/schema/ocsf.json"));
    Arc::new(mapping.expect("the mapping"))
});

/// A run that is no longer polled after some await, as if its process had been killed.
struct Killable<F> {
    run: Pin<Box<F>>,
    polls_left: Option<u32>,
}

impl<F: Future> Future for Killable<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls_left == Some(0) {
            return Poll::Ready(None);
        }
        self.polls_left = self.polls_left.map(|left| left - 1);
        self.run.as_mut().poll(context).map(Some)
    }
}

/// One run with its ports and clock.
struct Invocation {
    world: Arc<World>,
    ports: Ports,
    number: u64,
    skew: TimeDelta,
}

impl Invocation {
    fn new(world: &Arc<World>, skew_ms: i64) -> Self {
        let number = world.runs.fetch_add(1, Ordering::Relaxed) + 1;
        let skew = TimeDelta::milliseconds(skew_ms);
        let ports = Ports::new(world, number, skew, deliver);
        Self { world: Arc::clone(world), ports, number, skew }
    }

    fn export(&self) -> Export<Ports, Ports, Ports, Ports, Ports> {
        let plan = &self.world.plan;
        let options = Options {
            settle: if is_planted(Bug::ZeroSettle) { TimeDelta::zero() } else { SETTLE },
            retention: plan.retention.map(TimeDelta::hours),
            concurrency: plan.concurrency,
            max_object_bytes: self.world.max_object_bytes.load(Ordering::Relaxed),
            replay_time: TimeDelta::seconds(if self.world.is_calm() { 900 } else { plan.replay_time }),
            max_windows: if self.world.is_calm() { 1_000 } else { plan.max_windows },
            budget: Budget::new(1 << 22),
            ocsf: Arc::clone(&OCSF),
        };
        let ports = || self.ports.clone();
        Export { tenants: ports(), events: ports(), buckets: ports(), bus: ports(), signer: ports(), options }
    }

    /// Runs a job within an invocation's time limit. Returns `None` if the run dies.
    async fn run<R: Debug>(&self, event_time: DateTime<Utc>, job: impl AsyncFnOnce(Run<'_>) -> R) -> Option<R> {
        let Self { world, number, skew, .. } = self;
        let now = || world.now() + *skew;
        let tick = schedule::tick(event_time, now());
        self.ports.seen().tick = Some(tick);
        world.say(|| format!("run {number:<3} begins for {}, its clock is {skew} off", timestamp::seconds(tick)));
        let limit = TimeDelta::seconds(if world.is_calm() { 800 } else { world.plan.time_limit });
        let end = world.now() + limit;
        let should_stop = || world.now() >= end;
        let killed_after = limit.to_std().unwrap_or_default() + GRACE + Duration::from_secs(10);
        let random = |bytes: &mut [u8]| {
            for byte in bytes.iter_mut() {
                let shared = u32::try_from(tick.timestamp() % 251).unwrap_or_default();
                let byte_of = if is_planted(Bug::TokenIsShared) { shared } else { world.roll(256) };
                *byte = u8::try_from(byte_of).unwrap_or_default();
            }
            !world.happens(world.plan.faults.fail / 10)
        };
        let platform = &world.platform;
        let deadline = now() + TimeDelta::from_std(killed_after).unwrap_or_default();
        let run = Run { tick, platform, now: &now, should_stop: &should_stop, deadline, random: &random };
        // Most runs are short, so a crash in the first steps must be as likely as one after hundreds.
        let polls_left = world.happens(world.plan.crashes).then(|| 1 + world.roll(1 << (2 + world.roll(9))));
        let killable = Killable { run: Box::pin(job(run)), polls_left };
        let result = tokio::time::timeout(killed_after, killable).await.ok().flatten();
        match &result {
            Some(result) => world.say(|| format!("run {number:<3} ends: {result:?}")),
            None => world.say(|| format!("run {number:<3} dies")),
        }
        result
    }

    async fn tick(&self, event_time: DateTime<Utc>) -> Option<Result<Report, Failure>> {
        // In the end, one run exports everything itself.
        let fan_out = self.world.plan.fan_out && !self.world.is_calm();
        let export = self.export();
        let job = async |run: Run<'_>| {
            if fan_out { export.enqueue_due(run, &self.ports).await } else { export.tick(run).await }
        };
        let result = self.run(event_time, job).await;
        if let Some(result) = &result {
            if fan_out {
                self.check_queued(result);
            }
            self.check_report(result.as_ref().ok());
            let unread = self.ports.seen().unread;
            if unread > 0 && result.is_ok() {
                self.world.violate("a due shard could not be read, and the tick succeeds".to_owned());
            }
        }
        result
    }

    /// All listed tenants were queued, or the run fails.
    fn check_queued(&self, result: &Result<Report, Failure>) {
        let seen = self.ports.seen();
        if result.is_ok() && !seen.listed.is_subset(&seen.sent) {
            self.world.violate(format!("{:?} were due and only {:?} were queued", seen.listed, seen.sent));
        }
    }

    fn check_report(&self, report: Option<&Report>) {
        let Some(report) = report else { return };
        let (seen, world) = (self.ports.seen(), &self.world);
        // A deferred tenant may have been queued after all.
        if report.due != report.queued + report.exported + report.failed + report.deferred {
            world.violate(format!("the counts of a report don't add up: {report:?}"));
        }
        // Another run may have recorded a failure meanwhile, but no backoff applies without a failure.
        let max = seen.backed_off.values().filter(|(_, ever)| *ever).count() as u64;
        if report.backed_off > max {
            world.violate(format!("backoff applies to {} tenants, and by the model to {max}", report.backed_off));
        }
        if report.leased != seen.leased.len() as u64 {
            world.violate(format!("{} tenants are leased to other runs, and not {}", seen.leased.len(), report.leased));
        }
        if let Some(failed) = report.failures.iter().find(|failed| seen.leased.contains(&failed.tenant_id)) {
            world.violate(format!("another run's lease is reported as a failure: {failed:?}"));
        }
        if report.lease_lost > seen.released.len() as u64 {
            world.violate(format!("a run lost its lease: {:?}", report.failures));
        }
    }

    async fn export_batches(&self, batches: &[Batch]) -> Option<BatchResult> {
        let latest = batches.iter().map(|batch| batch.tick).max()?;
        let export = self.export();
        let job = async |run: Run<'_>| export.export_batches(run, batches, Some(&self.ports)).await;
        let done = self.run(latest, job).await?;
        self.check_report(Some(&done.report));
        let sent = self.ports.seen().sent.clone();
        let is_received_again = |tenant: &String| {
            done.failed.iter().any(|at| batches.get(*at).is_some_and(|it| it.tenants.contains(tenant)))
        };
        for tenant in &done.report.unfinished {
            if !sent.contains(tenant) && !is_received_again(tenant) {
                self.world.violate(format!("no run continues {tenant}, which a run left unfinished"));
            }
        }
        for tenant in &done.report.failed_by_platform {
            if !is_received_again(tenant) {
                self.world.violate(format!("the platform failed at {tenant}, and its batch is not received again"));
            }
        }
        Some(done)
    }
}

/// Invokes the function until it succeeds, at most three times, as the platform does.
async fn invoke(world: &Arc<World>, mut attempt: impl AsyncFnMut(&Arc<World>) -> bool) {
    for repeated in 0..3_u64 {
        tokio::time::sleep(Duration::from_secs(repeated * 60)).await;
        if attempt(world).await {
            return;
        }
    }
}

/// A tick by the rule, with retries.
pub async fn tick(world: &Arc<World>, event_time: DateTime<Utc>, skew_ms: i64) {
    let attempt =
        async |world: &Arc<World>| matches!(Invocation::new(world, skew_ms).tick(event_time).await, Some(Ok(_)));
    invoke(world, attempt).await;
}

/// The parts of the hourly check that make final deliveries and publish outboxes.
pub async fn check(world: &Arc<World>, skew_ms: i64) {
    let attempt = async |world: &Arc<World>| {
        let invocation = Invocation::new(world, skew_ms);
        let export = invocation.export();
        let job = async |run: Run<'_>| {
            let delivered = export.deliver_pending_finals(run).await;
            export.publish_pending(run).await.and_then(|published| delivered.map(|_| published))
        };
        matches!(invocation.run(world.now(), job).await, Some(Ok(_)))
    };
    invoke(world, attempt).await;
}

/// Publishes a tenant's outbox, as the console requests after a change.
pub async fn publish(world: &Arc<World>, tenant: &TenantId, skew_ms: i64) {
    let attempt = async |world: &Arc<World>| {
        let invocation = Invocation::new(world, skew_ms);
        let export = invocation.export();
        let job = async |run: Run<'_>| export.publish_one(run, tenant).await;
        matches!(invocation.run(world.now(), job).await, Some(Ok(_)))
    };
    invoke(world, attempt).await;
}

/// Goes on with a tenant's replay, as the console requests after a request.
pub async fn replay(world: &Arc<World>, tenant: &TenantId, skew_ms: i64) {
    let attempt = async |world: &Arc<World>| {
        let invocation = Invocation::new(world, skew_ms);
        let export = invocation.export();
        let job = async |run: Run<'_>| export.export_one(run, tenant, Some(&invocation.ports)).await;
        invocation.run(world.now(), job).await.is_some()
    };
    invoke(world, attempt).await;
}

/// Delivers a message once or twice.
fn deliver(world: &Arc<World>, batch: &Batch) {
    for _ in 0..1 + u32::from(world.happens(150)) {
        let task = receive(Arc::clone(world), batch.clone());
        world.spawn(task);
    }
}

/// Receives a message until it is done, at most [`MAX_RECEIVES`] times.
fn receive(world: Arc<World>, batch: Batch) -> Pin<Box<dyn Future<Output = ()>>> {
    Box::pin(async move {
        // One invocation may get several messages.
        let apart = world.roll(2) == 0;
        let alone = |tenant: &String| Batch { tick: batch.tick, tenants: vec![tenant.clone()] };
        let mut batches = if apart { batch.tenants.iter().map(alone).collect() } else { vec![batch.clone()] };
        for _ in 0..MAX_RECEIVES {
            world.sleep_ms(if world.happens(100) { 3_000_000 } else { 5_000 }).await;
            if let Some(done) = Invocation::new(&world, world.skew_ms()).export_batches(&batches).await {
                batches = done.failed.iter().filter_map(|at| batches.get(*at).cloned()).collect();
            }
            if batches.is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        world.say(|| format!("dead-lettered: {batches:?}"));
    })
}
