//! Bugs in reads and writes of the tenants' records.

use audit_log_core::{
    failure::Failure,
    fakes::Fakes,
    late_arrivals::TrailingCounts,
    lease::Lease,
    object::ObjectSpec,
    outbox::{Announcement, Outbox},
    ports::{Commit, Conditional, FailureRecord, Fence, FinalDeliveryWrite, Tenants as _},
    records::{FinalDelivery, Receipt, StoredWatermark},
    schedule::{Schedule, Window},
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Bug, change_commit, forget_head, is_planted, with_tenant};
use crate::world::{World, call_now};

/// A write to the record `watermark`, which can be made at any later time.
#[derive(Clone)]
pub struct Write {
    pub tenant: TenantId,
    pub lease: Lease,
    /// The watermark as the run has read it.
    pub as_read: StoredWatermark,
    pub announcement: Option<Announcement>,
    pub releases: bool,
}

impl Write {
    pub fn new(tenant: &TenantId, fence: Fence<'_>, announcement: Option<&Announcement>, releases: bool) -> Self {
        let Fence { lease, as_read } = fence;
        let (lease, as_read) = (lease.clone(), as_read.clone());
        let releases = releases || is_planted(Bug::ReleasedBeforePublishing);
        Self { tenant: tenant.clone(), lease, as_read, announcement: announcement.cloned(), releases }
    }

    /// Makes the write with its fence; with the bug `unfenced`, with one that always holds.
    fn fenced<R>(&self, fakes: &Fakes, unfenced: Bug, write: impl FnOnce(Fence<'_>) -> R) -> R {
        if !is_planted(unfenced) {
            return write(Fence { lease: &self.lease, as_read: &self.as_read });
        }
        let mut as_read = self.as_read.clone();
        let other = with_tenant(fakes, &self.tenant, |stored| {
            let failing = stored.consecutive_failures > 0;
            as_read = stored.watermark.clone().map_or(as_read.clone(), |it| StoredWatermark { failing, ..it });
            stored.lease.replace(self.lease.clone())
        });
        let result = write(Fence { lease: &self.lease, as_read: &as_read });
        if let Some(other) = other {
            with_tenant(fakes, &self.tenant, |stored| {
                if other.as_ref().is_none_or(|other| other.token != self.lease.token) {
                    stored.lease = other;
                }
            });
        }
        result
    }
}

/// # Errors
/// The port's own.
pub fn commit(
    fakes: &Fakes,
    config: &TenantConfig,
    write: &Write,
    after: Schedule,
    receipt: &Receipt,
) -> Result<Conditional, Failure> {
    let mut config = config.clone();
    let mut receipt = receipt.clone();
    receipt.gap &= !is_planted(Bug::GapIsHidden);
    let is_disconnected = is_planted(Bug::CommitWhileDisconnected)
        && with_tenant(fakes, &write.tenant, |stored| {
            let due_shard = stored.watermark.as_mut().map(|watermark| &mut watermark.due_shard);
            due_shard.is_some_and(|it| it.is_none() && it.insert(String::new()).is_empty())
        }) == Some(true);
    if is_planted(Bug::CommitOfAnyVersion) || is_disconnected {
        let version =
            with_tenant(fakes, &write.tenant, |stored| stored.config.as_ref()?.version.as_ref()?.parse().ok());
        config.version = version.flatten().unwrap_or(config.version);
    }
    let mut announcement = write.announcement.clone();
    announcement.take_if(|_| is_planted(Bug::RecoveryIsNotAnnounced) && !receipt.is_unsigned());
    change_commit(&receipt, &mut announcement);
    let head = with_tenant(fakes, &write.tenant, |stored| stored.watermark.as_ref()?.manifest_sha256.clone()).flatten();
    let announcement = announcement.as_ref();
    let commit = Commit { after, receipt: &receipt, announcement, releases: write.releases };
    let result = write.fenced(fakes, Bug::CommitUnfenced, |fence| call_now(fakes.commit(&config, fence, commit)));
    with_tenant(fakes, &write.tenant, |stored| {
        let Some(watermark) = &mut stored.watermark else { return };
        watermark.due_shard.take_if(|_| is_disconnected);
        watermark.trailing_counts.take_if(|_| is_planted(Bug::TrailingCountsAreLost));
    });
    forget_head(fakes, &write.tenant, Bug::HeadIsNotStored, head);
    result
}

/// # Errors
/// The port's own.
pub fn save_checkpoint(
    fakes: &Fakes,
    config: &TenantConfig,
    write: &Write,
    checkpoint: &str,
) -> Result<Conditional, Failure> {
    let mut checkpoint = checkpoint.to_owned();
    if is_planted(Bug::CheckpointForgetsFiles) {
        checkpoint = change_json(&checkpoint, |json| drop(json["files"].as_array_mut().map(Vec::pop)));
    }
    let save = |fence: Fence<'_>| call_now(fakes.save_checkpoint(config, fence, &checkpoint));
    write.fenced(fakes, Bug::CheckpointUnfenced, save)
}

/// # Errors
/// The port's own.
pub fn record_failure(
    fakes: &Fakes,
    write: &Write,
    failure: &Failure,
    at: DateTime<Utc>,
) -> Result<Conditional, Failure> {
    let announcement = write.announcement.as_ref().filter(|_| !is_planted(Bug::FailureIsNotAnnounced));
    let record = FailureRecord { failure, at, announcement, releases: write.releases };
    let record = |fence: Fence<'_>| call_now(fakes.record_failure(&write.tenant, fence, record));
    let since = || {
        let tenants = &fakes.state().tenants;
        tenants.get(write.tenant.as_str()).and_then(|stored| stored.watermark.as_ref()?.signing_failed_since.clone())
    };
    let before = since();
    let result = write.fenced(fakes, Bug::FailureUnfenced, record);
    if is_planted(Bug::OtherFailureKeepsTheWait) && since().is_none() {
        with_tenant(fakes, &write.tenant, |stored| {
            if let Some(watermark) = &mut stored.watermark {
                watermark.signing_failed_since = before;
            }
        });
    }
    if is_planted(Bug::FailureMovesTheWatermark) {
        with_tenant(fakes, &write.tenant, |stored| {
            let Some(watermark) = &mut stored.watermark else { return };
            if let Ok(schedule) = watermark.schedule() {
                watermark.exported_until = Some(timestamp::seconds(schedule.next_due));
                watermark.next_due = Some(timestamp::seconds(schedule.next_due + TimeDelta::hours(1)));
            }
        });
    }
    result
}

/// # Errors
/// The port's own.
pub fn remove_published(fakes: &Fakes, tenant: &TenantId, as_read: &Outbox, ids: &[String]) -> Result<(), Failure> {
    if is_planted(Bug::OutboxIsNeverRemoved) {
        return Ok(());
    }
    if is_planted(Bug::OutboxIsCleared) {
        with_tenant(fakes, tenant, |stored| stored.outbox.entries.clear());
    }
    call_now(fakes.remove_published(tenant, as_read, ids))
}

/// # Errors
/// The port's own.
pub fn write_final_deliveries(
    fakes: &Fakes,
    tenant: &TenantId,
    lease: &Lease,
    write: FinalDeliveryWrite<'_>,
) -> Result<Conditional, Failure> {
    let mut after = write.after.clone();
    let other = with_tenant(fakes, tenant, |stored| {
        if is_planted(Bug::FinalDeliveryOfAnyRevision) {
            after.revision = stored.final_deliveries.revision + 1;
        }
        if is_planted(Bug::FinalDoubtIsForgotten) {
            after.places.iter_mut().for_each(|place| place.retry_after = None);
        }
        is_planted(Bug::FinalDeliveryUnfenced).then(|| stored.lease.replace(lease.clone()))
    });
    let write = FinalDeliveryWrite { after: &after, ..write };
    let result = call_now(fakes.write_final_deliveries(tenant, lease, write));
    if let Some(Some(other)) = other {
        with_tenant(fakes, tenant, |stored| stored.lease = other);
    }
    result
}

/// Changes what a change of destination has left to deliver, by the planted bug. `before` was pending before the change.
pub fn change_final_deliveries(fakes: &Fakes, tenant: &TenantId, before: Vec<FinalDelivery>) {
    with_tenant(fakes, tenant, |stored| {
        let places = &mut stored.final_deliveries.places;
        if is_planted(Bug::LeftWithoutDelivery) {
            *places = before;
        } else if is_planted(Bug::PendingIsOverwritten) && places.len() > before.len() {
            places.drain(..before.len());
        }
    });
}

/// Changes a watermark that was read, by the planted bug.
pub fn change_watermark(world: &World, tenant: &TenantId, watermark: &mut StoredWatermark) {
    if is_planted(Bug::CheckpointOfAnyVersion)
        && let Some(text) = &watermark.checkpoint
        && let Ok(schedule) = watermark.schedule()
        && let Some(config) = world.config(tenant.as_str())
    {
        let window = Window { from: schedule.exported_until, to: schedule.next_due };
        let first = format!("{}/{}", config.bucket, ObjectSpec::new(&config, window, 1).key);
        let text = change_json(text, |json| (json["version"], json["first"]) = (config.version.into(), first.into()));
        watermark.checkpoint = Some(text);
    }
    if is_planted(Bug::LateIsOverlooked)
        && let Some(counts) = watermark.trailing_counts.as_deref().and_then(TrailingCounts::parse)
    {
        let (mut now, end) = (counts.zeroed(), counts.to().map(timestamp::millis).unwrap_or_default());
        let state = world.fakes.state();
        let of_tenant = state.events.iter().filter(|((of, _), _)| of == tenant.as_str());
        of_tenant.flat_map(|(_, events)| events.keys()).filter(|key| **key < end).for_each(|key| now.add(key));
        watermark.trailing_counts = Some(now.to_text());
    }
}

fn change_json(text: &str, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut json = serde_json::from_str(text).unwrap_or_default();
    change(&mut json);
    json.to_string()
}
