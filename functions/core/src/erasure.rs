//! Erases a tenant that has left: its events, markers, receipts, settings and all other records.
//!
//! First, one transaction removes the watermark and replaces the config, on the condition that the tenant isn't connected,
//! that no run has its lease, and that nothing waits for a run. While that config is there, nobody can connect the tenant: so
//! no run exports what is left of its events as if these were all. It is removed last. An erasure that was interrupted is
//! repeated from the beginning. If the command runs twice at a time, the later run replaces the config, and the earlier one
//! stops: it must not erase a tenant that has come back after the later one.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    failure::Failure,
    onboarding::{ConnectorState, stored_version},
    ports::{Conditional, Erasure, Events, EventsPart, Inventory},
    records::{RECEIPT_PREFIX, REPLAYED_PREFIX},
    schedule::Window,
    tenant::{EventShards, TenantId},
    timestamp, undelivered,
};

/// How often all parts are erased at most, while services go on recording events.
const MAX_PASSES: usize = 3;

/// How many items of a tenant there are, or were erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub events: u64,
    pub markers: u64,
    /// Of exports and of replays.
    pub receipts: u64,
    /// All records but receipts.
    pub records: u64,
}

impl Counts {
    fn from_names(names: &[String]) -> Self {
        let is_receipt = |name: &&String| [RECEIPT_PREFIX, REPLAYED_PREFIX].iter().any(|it| name.starts_with(it));
        let receipts = names.iter().filter(is_receipt).count() as u64;
        Self { receipts, records: names.len() as u64 - receipts, ..Self::default() }
    }

    fn add(&mut self, part: EventsPart, items: u64) {
        match part {
            EventsPart::Shard(_) => self.events += items,
            EventsPart::Markers(_) => self.markers += items,
        }
    }

    pub fn total(&self) -> u64 {
        self.events + self.markers + self.receipts + self.records
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, markers, receipts, records } = self;
        write!(f, "events {events}, id markers {markers}, receipts {receipts}, other records {records}")
    }
}

/// Why a tenant can't be erased now. Displays as what is the case and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    Connected,
    LeasedUntil(DateTime<Utc>),
    /// The name of a record that waits for a run.
    Pending(String),
    /// A record was no longer as it was read, or another erasure has begun.
    Changed,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str(
                "The tenant is connected. Have one of its admins disconnect it, or do so with a token of the tenant: \
                 DELETE /v1/connector.",
            ),
            Self::LeasedUntil(until) => {
                write!(f, "A run has the tenant's lease until {}. Wait until then.", timestamp::seconds(*until))
            }
            Self::Pending(record) if record == "outbox" => f.write_str(
                "Notifications wait in the tenant's outbox. The hourly check publishes them; docs/operations.md has the \
                 commands that publish them now, and drop one that can't be read.",
            ),
            Self::Pending(record) if record == "final_delivery" => f.write_str(
                "The tenant's former bucket has not got everything yet (record final_delivery). The next tick delivers it; \
                 docs/offboarding.md says what to do if it is refused.",
            ),
            Self::Pending(record) if record == "replay" => f.write_str(
                "A replay has not ended (record replay). The tenant is not connected, so the next tick or hourly check ends it.",
            ),
            Self::Pending(record) => {
                write!(f, "The tenant's record {record} waits for a run of the exporter. Wait until it is done.")
            }
            Self::Changed => f.write_str(
                "The tenant's records have changed meanwhile, or this command runs a second time. Run it again once no other \
                 run goes on.",
            ),
        }
    }
}

/// What there is of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub inventory: Inventory,
    pub counts: Counts,
    /// Whether there are events, recorded since [`Inventory::delivered_until`], that are in no bucket.
    pub undelivered: bool,
    /// Empty if the tenant can be erased.
    pub obstacles: Vec<Obstacle>,
}

/// How an erasure ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Erased(Counts),
    /// So much is erased, but there are new events each time. The erasure has not ended, so nobody can connect the tenant.
    StillRecorded(Counts),
    /// What was erased before this is gone; the rest is there.
    Refused(Vec<Obstacle>),
}

/// Every partition key under which a tenant can have items, in however many shards its events were written.
fn parts() -> impl Iterator<Item = EventsPart> {
    EventShards::MAX.iter().map(EventsPart::Shard).chain((0..=u8::MAX).map(EventsPart::Markers))
}

fn obstacles(Inventory { records, pending, .. }: &Inventory, now: DateTime<Utc>) -> Vec<Obstacle> {
    let is_due = records.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some());
    let is_connected = is_due || ConnectorState::from_records(records).is_connected();
    let lease = records.lease.as_ref().filter(|lease| lease.excludes_others(now));
    let connected = is_connected.then_some(Obstacle::Connected);
    let leased = lease.map(|lease| Obstacle::LeasedUntil(lease.until));
    connected.into_iter().chain(leased).chain(pending.iter().cloned().map(Obstacle::Pending)).collect()
}

/// Counts what there is of a tenant.
///
/// # Errors
/// If a table could not be read.
pub async fn survey(
    store: &impl Erasure,
    events: &impl Events,
    tenant: &TenantId,
    now: DateTime<Utc>,
) -> Result<Survey, Failure> {
    let inventory = store.inventory(tenant).await?;
    let mut counts = Counts::from_names(&inventory.names);
    for part in parts() {
        counts.add(part, store.count(tenant, part).await?);
    }
    let delivered_until = inventory.delivered_until.as_deref().and_then(timestamp::parse_seconds);
    let window = Window { from: delivered_until.unwrap_or_default(), to: now + TimeDelta::days(1) };
    let undelivered = undelivered::any_in_shards(events, tenant, EventShards::MAX.count(), window).await?;
    let obstacles = obstacles(&inventory, now);
    Ok(Survey { inventory, counts, undelivered, obstacles })
}

/// Erases a tenant. Calls `progress` with what this run has erased so far.
///
/// # Errors
/// If a table could not be read or written, or the config's version is damaged. Then the erasure can be repeated.
pub async fn erase(
    store: &impl Erasure,
    tenant: &TenantId,
    now: DateTime<Utc>,
    mut progress: impl FnMut(&Counts),
) -> Result<Outcome, Failure> {
    let inventory = store.inventory(tenant).await?;
    let obstacles = obstacles(&inventory, now);
    if !obstacles.is_empty() {
        return Ok(Outcome::Refused(obstacles));
    }
    let version = inventory.records.config.as_ref().map_or(Ok(0), stored_version)?;
    let changed = || Ok(Outcome::Refused(vec![Obstacle::Changed]));
    let Some(begun) = store.begin_erasure(tenant, version, now).await? else { return changed() };
    let mut counts = Counts::default();
    let mut still_recorded = true;
    for _ in 0..MAX_PASSES {
        let before = counts;
        for part in parts() {
            let mut more = true;
            while more {
                let Some(erased) = store.erase_some(tenant, begun, part).await? else { return changed() };
                counts.add(part, erased.items);
                progress(&counts);
                more = erased.more;
            }
        }
        still_recorded = counts != before;
        if !still_recorded {
            break;
        }
    }
    if still_recorded {
        return Ok(Outcome::StillRecorded(counts));
    }
    // A run that looks for notifications leaves a watermark with a lease only.
    let names = store.inventory(tenant).await?.names;
    if store.erase_records(tenant, begun, &names).await? == Conditional::ConditionFailed {
        return changed();
    }
    let Counts { receipts, records, .. } = Counts::from_names(&inventory.names);
    match store.end_erasure(tenant, begun).await? {
        Conditional::Written => Ok(Outcome::Erased(Counts { receipts, records, ..counts })),
        Conditional::ConditionFailed => changed(),
    }
}

#[cfg(test)]
mod tests;
