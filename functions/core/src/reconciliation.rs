//! Finds lost or damaged records that no export would notice: tenants that no tick will ever list.
//!
//! Every hour, the connected tenants (index `due`) are compared with those that have settings (index `saved`). Records are
//! read only for tenants that are in one list alone, so that a healthy fleet costs little more than the two lists.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Serialize, Serializer};

use crate::{
    backoff,
    failure::{Code, Failure},
    ports::{Due, EventRange, Events, Fleet, Tenants},
    records::{ConnectedCount, StoredWatermark, TenantRecords},
    schedule::Window,
    tenant::{DueShard, TenantId},
    timestamp, undelivered,
};

/// The tenants that are named in the log and in the answer; all are counted.
const MAX_LISTED: usize = 100;

/// The tenants whose records are read together to find one without failures.
const LOAD_CHUNK: usize = 100;

/// The tenants whose events are looked for side by side.
const MAX_CONCURRENT_READS: usize = 16;

/// The time between the two reads that must agree on a defect: a record written in between is no defect.
const REREAD_DELAY: Duration = Duration::from_secs(2);

/// The longest frequency, 24 hours, and an hour for clocks that differ.
const MAX_NEXT_DUE_AHEAD: TimeDelta = TimeDelta::hours(25);

/// What a reconciliation found: a part of the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// The number of connected tenants.
    pub connected: u64,
    /// The number at the first reconciliation of the last day before.
    pub connected_before: Option<u64>,
    /// Whether suspiciously many tenants are gone since then.
    pub shrunken: bool,
    /// Connected tenants without settings: none of their exports can succeed.
    #[serde(serialize_with = "first_listed")]
    pub watermarks_without_config: Vec<String>,
    /// Tenants with settings that were not disconnected but will never be due.
    #[serde(serialize_with = "first_listed")]
    pub settings_without_watermark: Vec<String>,
    /// Whether the events table can't be read for lack of a right, the table or its key.
    pub event_reads_refused: bool,
    /// Whether the exports of all connected tenants fail.
    pub everyone_fails: bool,
    /// The tenants that have been due for so long that their events are deleted soon.
    pub backlogs_near_retention: u64,
    /// Disconnected tenants with undelivered events that are deleted soon.
    #[serde(serialize_with = "first_listed")]
    pub undelivered_near_retention: Vec<String>,
}

fn first_listed<S: Serializer>(ids: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().take(MAX_LISTED))
}

/// Returns every connected tenant once, sorted by id.
///
/// # Errors
/// If a shard of the index can't be read.
pub async fn connected<F: Fleet>(fleet: &F) -> Result<Vec<Due>, Failure> {
    let shards: Vec<_> = DueShard::all().map(|shard| fleet.connected(shard)).collect();
    let shards = stream::iter(shards).buffer_unordered(DueShard::COUNT).try_collect::<Vec<_>>().await?;
    // A tenant whose watermark moves while the index is read can be listed twice.
    let by_id: BTreeMap<String, String> = shards.into_iter().flatten().map(|due| (due.tenant, due.next_due)).collect();
    Ok(by_id.into_iter().map(|(tenant, next_due)| Due { tenant, next_due }).collect())
}

/// Compares the records and stores the day's first count of connected tenants.
///
/// # Errors
/// If the tenants can't be read. The reconciliation may be repeated.
pub async fn reconcile<F: Fleet + Tenants, E: Events>(
    fleet: &F,
    events: &E,
    connected: &[Due],
    day: NaiveDate,
    now: DateTime<Utc>,
    retention: Option<TimeDelta>,
) -> Result<Reconciliation, Failure> {
    let saved = fleet.saved().await?;
    let suspects = fleet.load(&suspects(connected, &saved, now)).await?;
    let defects = confirmed_defects(fleet, &suspects, now).await?;
    let tenants_with = |wanted: Defect| -> Vec<String> {
        defects.iter().filter(|(_, defect)| *defect == wanted).map(|(tenant, _)| tenant.to_string()).collect()
    };
    let last = fleet.last_count().await?;
    let count = ConnectedCount::after(last, day, connected.len() as u64);
    if last != Some(count) {
        fleet.save_count(count).await?;
    }
    let undelivered = undelivered_near_retention(events, &suspects, now, retention).await;
    let refused = event_reads_refused(events, connected, now).await;
    let reconciliation = Reconciliation {
        connected: connected.len() as u64,
        connected_before: count.before,
        shrunken: count.before.is_some_and(|before| is_shrunken(before, connected.len() as u64)),
        watermarks_without_config: tenants_with(Defect::NoConfig),
        settings_without_watermark: tenants_with(Defect::NeverDue),
        event_reads_refused: refused || undelivered.refused,
        everyone_fails: everyone_fails(fleet, connected, now).await?,
        backlogs_near_retention: backlogs_near_retention(connected, now, retention),
        undelivered_near_retention: undelivered.tenants,
    };
    reconciliation.log();
    Ok(reconciliation)
}

/// Whether at least three tenants are gone and less than 70 % are left: that many rarely disconnect in a day. In a small
/// fleet, one or two may.
fn is_shrunken(before: u64, connected: u64) -> bool {
    before.saturating_sub(connected) >= 3 && connected.saturating_mul(10) < before.saturating_mul(7)
}

/// Whether at least three tenants are connected, all are due and all have failed. Then the platform is more likely the
/// cause than the customers.
async fn everyone_fails<F: Tenants>(fleet: &F, connected: &[Due], now: DateTime<Utc>) -> Result<bool, Failure> {
    let is_due = |due: &Due| timestamp::parse_seconds(&due.next_due).is_none_or(|next_due| next_due <= now);
    if connected.len() < 3 || !connected.iter().all(is_due) {
        return Ok(false);
    }
    let ids: Vec<_> = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok()).collect();
    // In chunks: right before the tick's exports all tenants are due, and the first chunk shows that they don't fail.
    for chunk in ids.chunks(LOAD_CHUNK) {
        if fleet.load(chunk).await?.iter().any(|(_, records)| records.health.consecutive_failures == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Judges by `next_due`, which is later than the beginning of the backlog.
fn backlogs_near_retention(connected: &[Due], now: DateTime<Utc>, retention: Option<TimeDelta>) -> u64 {
    let due = connected.iter().filter_map(|due| timestamp::parse_seconds(&due.next_due));
    due.filter(|due| backoff::nears_retention(now - *due, retention)).count() as u64
}

#[derive(Default)]
struct UndeliveredNearRetention {
    /// In order.
    tenants: Vec<String>,
    /// Whether some tenant's events can't be read.
    refused: bool,
}

/// Looks for events only where some of that age may be undelivered. A tenant whose events can't be read now is tried again by
/// the next check, and keeps no other from being found.
async fn undelivered_near_retention<E: Events>(
    events: &E,
    records: &[(TenantId, TenantRecords)],
    now: DateTime<Utc>,
    retention: Option<TimeDelta>,
) -> UndeliveredNearRetention {
    let look = async |(tenant, records): &(TenantId, TenantRecords)| {
        (tenant.clone(), undelivered::near_retention(events, tenant, records, retention, now).await)
    };
    let looks: Vec<_> = records.iter().map(look).collect();
    let mut results = stream::iter(looks).buffer_unordered(MAX_CONCURRENT_READS);
    let mut found = UndeliveredNearRetention::default();
    while let Some((tenant, result)) = results.next().await {
        match result {
            Ok(true) => found.tenants.push(tenant.to_string()),
            Ok(false) => {}
            Err(Failure { code, message, .. }) => {
                tracing::error!(tenant = %tenant, code = %code, reason = message, "a disconnected tenant's events could not be read");
                found.refused |= code == Code::EventsUnreadable;
            }
        }
    }
    found.tenants.sort_unstable();
    found
}

/// Returns the tenants whose records may be lost or damaged, judging by the indexes.
fn suspects(connected: &[Due], saved: &[String], now: DateTime<Utc>) -> Vec<TenantId> {
    let scheduled: BTreeSet<&str> = connected.iter().map(|due| due.tenant.as_str()).collect();
    let saved: BTreeSet<&str> = saved.iter().map(String::as_str).collect();
    let implausible = connected.iter().filter(|due| !is_plausible(&due.next_due, now)).map(|due| &*due.tenant);
    let ids: BTreeSet<&str> = scheduled.symmetric_difference(&saved).copied().chain(implausible).collect();
    // An invalid id is a failure of each tick that lists it.
    ids.into_iter().filter_map(|id| TenantId::parse(id).ok()).collect()
}

/// Whether `next_due` can be read and a schedule can have it.
fn is_plausible(next_due: &str, now: DateTime<Utc>) -> bool {
    timestamp::parse_seconds(next_due).is_some_and(|due| due <= now + MAX_NEXT_DUE_AHEAD)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    NoConfig,
    NeverDue,
}

impl Defect {
    fn from_records(records: &TenantRecords, now: DateTime<Utc>) -> Option<Self> {
        // A config without a bucket has no settings: before the first save it has the external ID and perhaps a role. A
        // lost config is created again like that when the admin opens the connector.
        let has_settings = records.config.as_ref().is_some_and(|config| config.bucket.is_some());
        match &records.watermark {
            None => has_settings.then_some(Self::NeverDue),
            Some(StoredWatermark { due_shard: None, .. }) => None,
            Some(_) if !has_settings => Some(Self::NoConfig),
            Some(StoredWatermark { due_shard: Some(shard), next_due, .. }) => {
                let is_listed = DueShard::all().any(|listed| listed.to_string() == *shard);
                let is_plausible = next_due.as_deref().is_some_and(|next_due| is_plausible(next_due, now));
                (!is_listed || !is_plausible).then_some(Self::NeverDue)
            }
        }
    }
}

/// Returns the defects that two reads agree on: an admin or the platform may change records during the first.
async fn confirmed_defects<F: Tenants>(
    fleet: &F,
    suspects: &[(TenantId, TenantRecords)],
    now: DateTime<Utc>,
) -> Result<Vec<(TenantId, Defect)>, Failure> {
    let defects = |loaded: &[(TenantId, TenantRecords)]| -> Vec<(TenantId, Defect)> {
        let defect =
            |(id, records): &(TenantId, TenantRecords)| Some((id.clone(), Defect::from_records(records, now)?));
        loaded.iter().filter_map(defect).collect()
    };
    let first = defects(suspects);
    if first.is_empty() {
        return Ok(first);
    }
    tokio::time::sleep(REREAD_DELAY).await;
    let ids: Vec<TenantId> = first.iter().map(|(id, _)| id.clone()).collect();
    let mut second = defects(&fleet.load(&ids).await?);
    second.retain(|defect| first.contains(defect));
    second.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(second)
}

/// Reads one event of a connected tenant. In a fleet that exports once a day, no tick would notice for a day.
async fn event_reads_refused<E: Events>(events: &E, connected: &[Due], now: DateTime<Utc>) -> bool {
    let Some(tenant) = connected.iter().find_map(|due| TenantId::parse(&due.tenant).ok()) else { return false };
    let window = Window { from: now - TimeDelta::hours(1), to: now };
    let read = events.page_back(EventRange { tenant: &tenant, shard: 0, window, after: None }, 1, None).await;
    let Err(Failure { code, message, .. }) = read else { return false };
    tracing::error!(code = %code, reason = message, hint = code.hint(), "events could not be read");
    // Other failures pass, or have their own alarms.
    code == Code::EventsUnreadable
}

impl Reconciliation {
    fn log(&self) {
        for tenant in self.watermarks_without_config.iter().take(MAX_LISTED) {
            tracing::error!(tenant, "a connected tenant has no settings: its record `config` is missing or empty");
        }
        for tenant in self.settings_without_watermark.iter().take(MAX_LISTED) {
            tracing::error!(
                tenant,
                "a tenant with settings will never be due: its record `watermark` is missing or damaged"
            );
        }
        for tenant in self.undelivered_near_retention.iter().take(MAX_LISTED) {
            tracing::error!(tenant, "a disconnected tenant has undelivered events that are deleted soon");
        }
        if self.everyone_fails {
            tracing::error!(connected = self.connected, "the exports of every connected tenant fail");
        }
        if self.shrunken {
            let (connected, before) = (self.connected, self.connected_before);
            tracing::error!(connected, before, "far fewer tenants are connected than the day before");
        }
    }
}
