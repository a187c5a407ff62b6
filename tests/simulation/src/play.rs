//! Plays a seed from its first action to its verdict.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use audit_log_core::{
    records::Replay,
    schedule::next_full_hour,
    tenant::{AccountId, Partition, Platform},
};
use chrono::TimeDelta;

use crate::{
    admin::{Admin, AdminAction},
    manifests, model,
    plan::{Action, Plan, SHARED_BUCKET, TENANTS, dice},
    runs,
    world::World,
};

#[derive(Debug, Clone)]
pub struct Verdict {
    /// The first violation.
    pub violation: Option<String>,
    /// Empty unless it was asked for.
    pub trace: Vec<String>,
    pub runs: u64,
    /// The number of committed windows.
    pub windows: usize,
}

/// The same seed always has the same verdict and the same trace.
///
/// # Errors
/// If the async runtime can't start.
pub fn play(seed: u64, traced: bool) -> Result<Verdict, std::io::Error> {
    // Its clock stops while a task is at work, and then jumps to the next timer.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let account = AccountId::parse("111111111111").map_err(|invalid| std::io::Error::other(invalid.0))?;
    let platform = Platform { account, partition: Partition::Aws };
    let actors = tokio::task::LocalSet::new();
    Ok(runtime.block_on(actors.run_until(async {
        let world = Arc::new(World::new(Plan::new(seed), platform, dice(seed, 2), traced));
        run_plan(&world).await;
        if world.violation().is_none()
            && let Err(violation) = model::check(&world)
        {
            world.violate(violation);
        }
        Verdict {
            violation: world.violation(),
            trace: world.trace(),
            runs: world.runs.load(Ordering::Relaxed),
            windows: world.fakes.state().tenants.values().map(|tenant| tenant.receipts.len()).sum(),
        }
    })))
}

async fn run_plan(world: &Arc<World>) {
    let own = TENANTS.iter().flat_map(|tenant| [1, 2].map(|number| format!("{tenant}-bucket-{number}")));
    world.fakes.state().manifest_key = world.plan.key.map(manifests::key);
    world.fakes.state().buckets =
        own.chain([SHARED_BUCKET.to_owned()]).map(|bucket| (bucket, Default::default())).collect();
    for (at, action) in world.plan.timeline.clone() {
        world.sleep_until(at).await;
        if world.violation().is_some() {
            return;
        }
        act(world, action);
    }
    world.sleep_until(world.plan.ends).await;
    world.calm.store(true, Ordering::Relaxed);
    world.facts().refused.clear();
    world.facts().key_is_down = false;
    world.say(|| "no more faults".to_owned());
    wait_for_tasks(world).await;
    let stored = |name: &str| world.fakes.state().tenants.get(name).cloned();
    for (tenant, name) in TENANTS.iter().enumerate() {
        let watermark = stored(name).and_then(|stored| stored.watermark);
        if watermark.is_some_and(|watermark| watermark.due_shard.is_none()) && world.roll(2) == 0 {
            Admin { world: Arc::clone(world), tenant, skew_ms: 0 }.act(&AdminAction::Reconnect).await;
        }
    }
    // Most tenants need two ticks: one for the due windows and one for the deferred ones. The lease of a dead run must end
    // first, and a tenant that has failed for days is attempted every six hours.
    for nth in 0..10 {
        let is_waiting = |name: &&str| {
            stored(name).is_some_and(|stored| {
                let is_connected = stored.watermark.as_ref().is_some_and(|it| it.due_shard.is_some());
                !stored.outbox.is_empty()
                    || !stored.final_deliveries.is_empty()
                    || stored.replay.as_ref().is_some_and(Replay::is_running)
                    || is_connected && (stored.consecutive_failures > 0 || stored.lease.is_some())
            })
        };
        if nth >= 2 && !TENANTS.iter().any(is_waiting) {
            break;
        }
        let tick = next_full_hour(world.now()) + TimeDelta::minutes(1);
        world.sleep_until(tick).await;
        runs::tick(world, tick, 0).await;
        wait_for_tasks(world).await;
        runs::check(world, 0).await;
        wait_for_tasks(world).await;
    }
}

fn act(world: &Arc<World>, action: Action) {
    let admin = |tenant, skew_ms, action: AdminAction| {
        let admin = Admin { world: Arc::clone(world), tenant, skew_ms };
        world.spawn(async move { admin.act(&action).await });
    };
    match action {
        Action::Put { tenant, shard, key, body } => {
            world.say(|| format!("{}#{shard} records {key}", TENANTS[tenant]));
            let place = (TENANTS[tenant].to_owned(), shard);
            world.note_visible(TENANTS[tenant], shard, &key);
            world.fakes.state().events.entry(place).or_default().insert(key, body);
        }
        Action::Save { tenant, draft, skew_ms, history } => admin(tenant, skew_ms, AdminAction::Save(draft, history)),
        Action::Disconnect { tenant, skew_ms } => admin(tenant, skew_ms, AdminAction::Disconnect),
        Action::Reconnect { tenant, skew_ms } => admin(tenant, skew_ms, AdminAction::Reconnect),
        Action::Move { tenant, bucket, skew_ms } => admin(tenant, skew_ms, AdminAction::Move(bucket)),
        Action::Replay { tenant, from, to, skew_ms } => admin(tenant, skew_ms, AdminAction::Replay(from, to)),
        Action::StopReplay { tenant } => admin(tenant, 0, AdminAction::StopReplay),
        Action::Tick { event_time, skew_ms } => {
            let of = Arc::clone(world);
            world.spawn(async move { runs::tick(&of, event_time, skew_ms).await });
        }
        Action::Check { skew_ms } => {
            let of = Arc::clone(world);
            world.spawn(async move { runs::check(&of, skew_ms).await });
        }
        Action::Refuse { tenant, at_the_role } => {
            world.say(|| format!("the customer of {} refuses everything, at the role: {at_the_role}", TENANTS[tenant]));
            world.facts().refused.insert(TENANTS[tenant].to_owned(), at_the_role);
        }
        Action::Allow { tenant } => {
            world.say(|| format!("the customer of {} refuses nothing", TENANTS[tenant]));
            world.facts().refused.remove(TENANTS[tenant]);
        }
        Action::Key(number) => {
            world.say(|| format!("the key for manifests is {number:?}"));
            world.fakes.state().manifest_key = number.map(manifests::key);
        }
        Action::KeyDown => {
            world.say(|| "the key for manifests signs nothing".to_owned());
            world.facts().key_is_down = true;
        }
        Action::KeyUp => {
            world.say(|| "the key for manifests signs".to_owned());
            world.facts().key_is_down = false;
        }
        Action::Resize(bytes) => {
            world.say(|| format!("MAX_OBJECT_BYTES is {bytes}"));
            world.facts().sizes.insert(bytes);
            world.max_object_bytes.store(bytes, Ordering::Relaxed);
        }
    }
}

/// Waits until no task is at work and no request is in flight.
async fn wait_for_tasks(world: &World) {
    let since = world.now();
    while world.active.load(Ordering::Relaxed) > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if world.now() - since > TimeDelta::days(3) {
            world.violate("a task never ends".to_owned());
            return;
        }
    }
}
