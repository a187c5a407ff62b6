//! What a quiet export would never tell: tenants that are gone, or that no tick will ever find.
//!
//! Every hour, what the indexes list is compared: who is connected (`due`) with who has saved settings (`saved`). Only
//! where they differ are the tenants' own records read, so a reconciliation of a healthy fleet costs little more than two lists of
//! names. Nobody has to be due for any of this.

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
    timestamp,
};

/// How many tenants are named in the log and in the answer; all are counted.
const MAX_LISTED: usize = 100;

/// How many tenants' records are read at a time where one of them can be enough.
const CONCURRENCY: usize = 100;

/// How long before a finding is looked at again. What is written in between is no finding.
const REREAD_DELAY: Duration = Duration::from_secs(2);

/// No schedule reaches further ahead than the longest frequency, 24 hours. An hour more, for clocks that differ.
const MAX_NEXT_DUE_AHEAD: TimeDelta = TimeDelta::hours(25);

/// Whether so many fewer are connected that it is hardly the tenants' own doing: less than 70 % are left, and at least
/// three are gone. Of a handful, one or two come and go.
fn is_shrunken(before: u64, connected: u64) -> bool {
    before.saturating_sub(connected) >= 3 && connected.saturating_mul(10) < before.saturating_mul(7)
}

/// What a reconciliation found. Serialises to a part of the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reconciliation {
    /// How many tenants are connected.
    pub connected: u64,
    /// How many were, at the first reconciliation of the day before.
    pub connected_before: Option<u64>,
    /// Whether that is a great many fewer.
    pub shrunken: bool,
    /// Who is connected without having settings: no export of theirs can succeed.
    #[serde(serialize_with = "named")]
    pub watermarks_without_config: Vec<String>,
    /// Who has settings, was not disconnected, and will all the same never be due.
    #[serde(serialize_with = "named")]
    pub settings_without_watermark: Vec<String>,
    /// Whether the events table refuses to be read.
    pub event_reads_refused: bool,
    /// Whether several tenants are connected, and the exports of each and every one fail.
    pub everyone_fails: bool,
    /// How many tenants have been due for so long that what they wait for is deleted soon, whether any run gets to them or
    /// not.
    pub backlogs_near_retention: u64,
}

fn named<S: Serializer>(ids: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().take(MAX_LISTED))
}

/// Every connected tenant, once each, in the order of their ids.
///
/// # Errors
/// If a part of the index could not be read.
pub async fn connected<F: Fleet>(fleet: &F) -> Result<Vec<Due>, Failure> {
    let shards: Vec<_> = DueShard::all().map(|shard| fleet.connected(shard)).collect();
    let shards = stream::iter(shards).buffer_unordered(DueShard::COUNT).try_collect::<Vec<_>>().await?;
    // A tenant whose export moves on while the index is read can be listed twice.
    let by_id: BTreeMap<String, String> = shards.into_iter().flatten().map(|due| (due.tenant, due.next_due)).collect();
    Ok(by_id.into_iter().map(|(tenant, next_due)| Due { tenant, next_due }).collect())
}

/// Looks for what is missing, given the connected tenants, and keeps how many there are.
///
/// # Errors
/// If the tenants could not be read. Then nothing was found out, and the reconciliation may be taken again.
pub async fn take<F: Fleet + Tenants, E: Events>(
    fleet: &F,
    events: &E,
    connected: &[Due],
    day: NaiveDate,
    now: DateTime<Utc>,
    retention: Option<TimeDelta>,
) -> Result<Reconciliation, Failure> {
    let saved = fleet.saved().await?;
    let found = second_look(fleet, suspects(connected, &saved, now), now).await?;
    let of = |wanted: Finding| -> Vec<String> {
        found.iter().filter(|(_, finding)| *finding == wanted).map(|(tenant, _)| tenant.to_string()).collect()
    };
    let (watermarks_without_config, settings_without_watermark) = (of(Finding::NoConfig), of(Finding::NeverDue));
    let last = fleet.last_count().await?;
    let count = ConnectedCount::after(last, day, connected.len() as u64);
    if last != Some(count) {
        fleet.save_count(count).await?;
    }
    let reconciliation = Reconciliation {
        connected: connected.len() as u64,
        connected_before: count.before,
        shrunken: count.before.is_some_and(|before| is_shrunken(before, connected.len() as u64)),
        watermarks_without_config,
        settings_without_watermark,
        event_reads_refused: event_reads_refused(events, connected, now).await,
        everyone_fails: everyone_fails(fleet, connected, now).await?,
        backlogs_near_retention: backlogs_near_retention(connected, now, retention),
    };
    reconciliation.log();
    Ok(reconciliation)
}

/// Whether three tenants or more are connected, all of them are due, and all have failed. Then it is more likely the
/// platform's doing than all those customers'.
async fn everyone_fails<F: Tenants>(fleet: &F, connected: &[Due], now: DateTime<Utc>) -> Result<bool, Failure> {
    let is_due = |due: &Due| timestamp::parse_seconds(&due.next_due).is_none_or(|next_due| next_due <= now);
    if connected.len() < 3 || !connected.iter().all(is_due) {
        return Ok(false);
    }
    let ids: Vec<_> = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok()).collect();
    // In parts: where exports are only about to begin, the first of them shows it.
    for some in ids.chunks(CONCURRENCY) {
        if fleet.load(some).await?.iter().any(|(_, records)| records.health.consecutive_failures == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// By when they were due; where their backlogs begin is longer ago than that.
fn backlogs_near_retention(connected: &[Due], now: DateTime<Utc>, retention: Option<TimeDelta>) -> u64 {
    let due = connected.iter().filter_map(|due| timestamp::parse_seconds(&due.next_due));
    due.filter(|due| backoff::nears_retention(now - *due, retention)).count() as u64
}

/// Whoever the indexes give a reason to look at.
fn suspects(connected: &[Due], saved: &[String], now: DateTime<Utc>) -> Vec<TenantId> {
    let scheduled: BTreeSet<&str> = connected.iter().map(|due| due.tenant.as_str()).collect();
    let saved: BTreeSet<&str> = saved.iter().map(String::as_str).collect();
    let out_of_reach = connected.iter().filter(|due| !is_within_reach(&due.next_due, now)).map(|due| &*due.tenant);
    let ids: BTreeSet<&str> = scheduled.symmetric_difference(&saved).copied().chain(out_of_reach).collect();
    // An id that can't be used is a failure of every tick that finds it due.
    ids.into_iter().filter_map(|id| TenantId::parse(id).ok()).collect()
}

/// Whether a tick will come at which this is due.
fn is_within_reach(next_due: &str, now: DateTime<Utc>) -> bool {
    timestamp::parse_seconds(next_due).is_some_and(|due| due <= now + MAX_NEXT_DUE_AHEAD)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    NoConfig,
    NeverDue,
}

impl Finding {
    /// What a tenant's records show, if anything is missing.
    fn of(records: &TenantRecords, now: DateTime<Utc>) -> Option<Self> {
        // The external ID alone, or with a role, is what is there before the first save; and a lost config comes back
        // like that as soon as somebody looks at the connector.
        let has_settings = records.config.as_ref().is_some_and(|config| config.bucket.is_some());
        match &records.watermark {
            None => has_settings.then_some(Self::NeverDue),
            Some(StoredWatermark { due_shard: None, .. }) => None,
            Some(_) if !has_settings => Some(Self::NoConfig),
            Some(StoredWatermark { due_shard: Some(shard), next_due, .. }) => {
                let is_listed = DueShard::all().any(|listed| listed.to_string() == *shard);
                let reached = next_due.as_deref().is_some_and(|next_due| is_within_reach(next_due, now));
                (!is_listed || !reached).then_some(Self::NeverDue)
            }
        }
    }
}

/// What is found at the first look at the records of some tenants and still at the second. An admin may save, and a
/// platform let a tenant go, right while we look.
async fn second_look<F: Tenants>(
    fleet: &F,
    suspects: Vec<TenantId>,
    now: DateTime<Utc>,
) -> Result<Vec<(TenantId, Finding)>, Failure> {
    let look = async |ids: &[TenantId]| -> Result<Vec<(TenantId, Finding)>, Failure> {
        let loaded = fleet.load(ids).await?;
        Ok(loaded.into_iter().filter_map(|(id, records)| Some((id, Finding::of(&records, now)?))).collect())
    };
    let first = look(&suspects).await?;
    if first.is_empty() {
        return Ok(first);
    }
    tokio::time::sleep(REREAD_DELAY).await;
    let ids: Vec<TenantId> = first.iter().map(|(id, _)| id.clone()).collect();
    let mut second = look(&ids).await?;
    second.retain(|finding| first.contains(finding));
    second.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(second)
}

/// Reads one event of some tenant, if there is one: on a fleet that exports once a day, no tick would notice for as long.
async fn event_reads_refused<E: Events>(events: &E, connected: &[Due], now: DateTime<Utc>) -> bool {
    let Some(tenant) = connected.iter().find_map(|due| TenantId::parse(&due.tenant).ok()) else { return false };
    let window = Window { from: now - TimeDelta::hours(1), to: now };
    let read = events.page_back(EventRange { tenant: &tenant, shard: 0, window, after: None }, 1).await;
    let Err(Failure { code, message, .. }) = read else { return false };
    tracing::error!(code = %code, reason = message, hint = code.hint(), "events could not be read");
    // Whatever else it is passes, or has an alarm of its own where it doesn't.
    code == Code::EventsUnreadable
}

impl Reconciliation {
    fn log(&self) {
        for tenant in self.watermarks_without_config.iter().take(MAX_LISTED) {
            tracing::error!(tenant, "a connected tenant has no settings: its record `config` is gone, or empty");
        }
        for tenant in self.settings_without_watermark.iter().take(MAX_LISTED) {
            let what = "a tenant with settings will never be due: its record `watermark` is gone, or damaged";
            tracing::error!(tenant, "{what}");
        }
        if self.everyone_fails {
            tracing::error!(connected = self.connected, "the exports of every connected tenant fail");
        }
        if self.shrunken {
            let (connected, before) = (self.connected, self.connected_before);
            tracing::error!(connected, before, "many fewer tenants are connected than the day before");
        }
    }
}
