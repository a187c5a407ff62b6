//! The planted bugs that live at the ports, and the score of all of them. Without the feature `planted-bugs`, all that is
//! here does nothing.

use audit_log_core::{
    memory::Memory,
    ports::{Conditional, Page, Stretch, Tenants as _, Upload as _},
    records::StoredWatermark,
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};
use chrono::TimeDelta;

use crate::{
    plan::TENANTS,
    ports::{Ports, lock},
    world::World,
};

/// Makes the puts that a bug has put off.
pub async fn put_deferred(ports: &Ports) {
    let deferred = std::mem::take(&mut *lock(&ports.deferred));
    for (upload, sha256) in deferred {
        // Whoever waited for it was told long ago that it is stored.
        let _ = upload.finish(&sha256).await;
        ports.world.look();
    }
}

/// What a commit is conditional on.
pub fn commit_condition(
    world: &World,
    mut config: TenantConfig,
    mut as_read: StoredWatermark,
) -> (TenantConfig, StoredWatermark) {
    if !(planted!(CommitUnconditionally) || planted!(CommitWhateverWasSaved) || planted!(CommitUndisturbed)) {
        return (config, as_read);
    }
    let stored = world.memory.state().tenants.get(config.tenant.as_str()).cloned().unwrap_or_default();
    let is = stored.watermark.unwrap_or_default();
    if planted!(CommitUnconditionally) || planted!(CommitWhateverWasSaved) {
        let version = stored.config.and_then(|config| config.version?.parse().ok());
        config.version = version.unwrap_or(config.version);
    }
    if planted!(CommitUnconditionally) {
        as_read = StoredWatermark { failing: stored.consecutive_failures > 0, ..is };
    } else if planted!(CommitUndisturbed) && as_read.disturbed != is.disturbed {
        as_read = StoredWatermark { disturbed: is.disturbed, progress: is.progress, ..as_read };
    }
    (config, as_read)
}

/// What the keeping of progress is conditional on.
pub fn progress_condition(
    world: &World,
    config: TenantConfig,
    as_read: StoredWatermark,
) -> (TenantConfig, StoredWatermark) {
    if !planted!(ProgressUnconditionally) {
        return (config, as_read);
    }
    let stored = world.memory.state().tenants.get(config.tenant.as_str()).cloned().unwrap_or_default();
    let failing = stored.consecutive_failures > 0;
    (config, stored.watermark.map_or(as_read, |is| StoredWatermark { failing, ..is }))
}

/// Disturbs, or not.
///
/// # Errors
/// As the port has it.
pub async fn disturb(
    memory: &Memory,
    tenant: &TenantId,
    progress: Option<&str>,
) -> Result<Conditional, audit_log_core::failure::Failure> {
    if planted!(DisturbDoesNothing) {
        return Ok(Conditional::Written);
    }
    let kept = |memory: &Memory| memory.state().tenants.get(tenant.as_str())?.watermark.clone()?.progress;
    let before = kept(memory);
    let disturbed = memory.disturb(tenant, progress).await?;
    if planted!(DisturbKeepsProgress)
        && let Some(watermark) = memory.state().tenants.get_mut(tenant.as_str()).and_then(|it| it.watermark.as_mut())
    {
        watermark.progress = before;
    }
    Ok(disturbed)
}

/// Passes a window over because it has failed.
pub fn failure_moves_the_watermark(memory: &Memory, tenant: &TenantId) {
    if planted!(FailureMovesTheWatermark)
        && let Some(watermark) = memory.state().tenants.get_mut(tenant.as_str()).and_then(|it| it.watermark.as_mut())
        && let Ok(schedule) = watermark.schedule()
    {
        watermark.exported_until = Some(timestamp::seconds(schedule.next_due));
        watermark.next_due = Some(timestamp::seconds(schedule.next_due + TimeDelta::hours(1)));
    }
}

/// What is asked for.
pub fn stretch(asked: Stretch<'_>) -> Stretch<'_> {
    if planted!(WindowHoldsItsEnd) {
        let to = asked.window.to + TimeDelta::milliseconds(1);
        return Stretch { window: Window { to, ..asked.window }, ..asked };
    }
    asked
}

/// What is answered.
pub fn page(world: &World, asked: Stretch<'_>, page: &mut Page) {
    let body = |tenant: &str, key: &str| {
        let state = world.memory.state();
        state.events.get(&(tenant.to_owned(), asked.shard)).and_then(|events| events.get(key).cloned())
    };
    if planted!(StalePageToken)
        && let Some(key) = asked.after
        && let Some(body) = body(asked.tenant.as_str(), key)
    {
        page.events.insert(0, audit_log_core::event::StoredEvent { recorded_at_id: key.to_owned(), body });
    }
    if planted!(PageTokenOffByOne) && asked.after.is_some() && !page.events.is_empty() {
        page.events.remove(0);
    }
    if planted!(WindowLacksItsBegin) {
        let begin = timestamp::millis(asked.window.from);
        page.events.retain(|event| !event.recorded_at_id.starts_with(&begin));
    }
    if planted!(AnothersEvents)
        && let Some(event) = page.events.first_mut()
        && let Some(other) = TENANTS.iter().find(|other| **other != asked.tenant.as_str())
    {
        let state = world.memory.state();
        let of_other = state.events.iter().find(|((of, _), _)| of == other);
        if let Some(body) = of_other.and_then(|(_, events)| events.values().next()) {
            event.body = body.clone();
        }
    }
}

/// Moves an object that was just stored to where it doesn't belong.
pub fn misplace(world: &World, tenant: &TenantId, key: &str) {
    let other = TENANTS.iter().find(|other| **other != tenant.as_str()).copied().unwrap_or_default();
    let to_folder = |key: &str| key.replace(&format!("tenant={tenant}/"), &format!("tenant={other}/"));
    let to_bucket = format!("{other}-bucket-1");
    let mut state = world.memory.state();
    let Some(bucket) = state.buckets.iter().find(|(_, it)| it.contains_key(key)).map(|(name, _)| name.clone()) else {
        return;
    };
    let (target, new_key) = if planted!(AnothersFolder) {
        (bucket.clone(), to_folder(key))
    } else if planted!(AnothersBucket) {
        (to_bucket, key.to_owned())
    } else {
        return;
    };
    let object = state.buckets.get_mut(&bucket).and_then(|objects| objects.remove(key));
    if let (Some(object), Some(objects)) = (object, state.buckets.get_mut(&target)) {
        objects.insert(new_key.clone(), object);
        state.stored.push((target, new_key));
    }
    drop(state);
    world.look();
}

/// A bug, and the first seed that catches it.
#[cfg(feature = "planted-bugs")]
#[derive(Debug, Clone)]
pub struct Score {
    /// Which.
    pub bug: audit_log_core::planted::Bug,
    /// The first seed that fails with it, and why.
    pub caught: Option<(u64, String)>,
}

/// Plays seeds with a bug planted, until one fails.
///
/// # Errors
/// If this machine can't run them.
#[cfg(feature = "planted-bugs")]
pub fn score(bug: audit_log_core::planted::Bug, seeds: u64) -> Result<Score, std::io::Error> {
    audit_log_core::planted::plant(Some(bug));
    let mut caught = None;
    for seed in 0..seeds {
        caught = crate::play(seed, false)?.violation.map(|violation| (seed, violation));
        if caught.is_some() {
            break;
        }
    }
    audit_log_core::planted::plant(None);
    Ok(Score { bug, caught })
}
