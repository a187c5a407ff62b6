//! An admin's replays: preview, request and stop. The [export](crate::export) makes them.

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    event::{self, User},
    failure::Failure,
    onboarding::ConnectorState,
    ports::{Conditional, Settings},
    records::{Location, Place, Progress, Refusal, Replay, StoredReceipt, TenantRecords, time_to_end},
    schedule::Window,
    settings::FieldErrors,
    system_events::AdminChange,
    tenant::{Platform, TenantId},
};

/// How many windows a preview reads, the latest of the range.
const MAX_WINDOWS: usize = 10_000;

/// How many listed objects a preview reads: receipts with many of them are large.
const MAX_OBJECTS: usize = 20_000;

/// Few, since each may list hundreds of objects.
const RECEIPTS_PER_READ: usize = 50;

/// No window is longer, but for one that begins with the start of history.
const MAX_WINDOW: TimeDelta = TimeDelta::days(2);

/// By then, a run that begins now has read its windows.
const RUN: TimeDelta = TimeDelta::minutes(15);

/// What a replay would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The range, up to where the tenant is exported.
    pub range: Window,
    pub location: Location,
    /// What would be delivered.
    pub planned: Progress,
    /// Windows that were delivered to another place and go to this one.
    pub elsewhere: u64,
    /// Windows that would be delivered without expired events, with a gap.
    pub incomplete: u64,
    /// Windows that would be left as they are, since their events have expired.
    pub expired: u64,
    /// The same, since they have too many files.
    pub too_many_files: u64,
    /// Events that were recorded before this have expired; none: no event does.
    pub kept_since: Option<DateTime<Utc>>,
    /// Windows that begin before this are left as they are where they lie, since their events expire too soon; none: none is.
    pub earliest_start: Option<DateTime<Utc>>,
    /// Whether all windows of the range are counted. If not, there are at least as many.
    pub is_complete: bool,
}

/// Why there can be no replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreplayable {
    /// No exports are scheduled.
    NotConnected,
    /// The range ends before it begins.
    EmptyRange,
    /// Nothing of the range is exported yet.
    NotExported { exported_until: DateTime<Utc> },
    /// All of its events have expired.
    Expired { kept_since: DateTime<Utc>, earliest_start: DateTime<Utc> },
    /// No receipt is left of a window in the range.
    NoWindows,
    /// Every window of the range would be left as it is.
    AllRefused(Box<Preview>),
}

/// Finds out what a replay of a range into the tenant's place would do.
///
/// # Errors
/// If the receipts can't be read, or the settings or the watermark are damaged.
pub async fn preview<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    range: Window,
    platform: &Platform,
    retention: Option<TimeDelta>,
    now: DateTime<Utc>,
) -> Result<Result<Preview, Unreplayable>, Failure> {
    let (Some(config), Some(watermark)) = (&as_read.config, &as_read.watermark) else {
        return Ok(Err(Unreplayable::NotConnected));
    };
    if ConnectorState::from_records(as_read) != ConnectorState::Scheduled {
        return Ok(Err(Unreplayable::NotConnected));
    }
    if range.from >= range.to {
        return Ok(Err(Unreplayable::EmptyRange));
    }
    let location = Location::of(&config.check(tenant, platform).map_err(FieldErrors::into_failure)?);
    let exported_until = watermark.schedule().map_err(FieldErrors::into_failure)?.exported_until;
    let range = Window { to: range.to.min(exported_until), ..range };
    if range.from >= range.to {
        return Ok(Err(Unreplayable::NotExported { exported_until }));
    }
    let kept_since = event::earliest_kept(retention, now);
    let earliest_start = event::earliest_kept(retention, now + RUN + time_to_end(retention));
    if let (Some(kept_since), Some(earliest_start)) = (kept_since, earliest_start)
        && range.to <= kept_since
    {
        return Ok(Err(Unreplayable::Expired { kept_since, earliest_start }));
    }
    let mut preview = Preview {
        range,
        location,
        planned: Progress::default(),
        elsewhere: 0,
        incomplete: 0,
        expired: 0,
        too_many_files: 0,
        kept_since,
        earliest_start,
        is_complete: true,
    };
    preview.count(store, tenant, retention, now).await?;
    let refused = preview.expired + preview.too_many_files;
    Ok(match (preview.planned.windows, refused) {
        (0, 0) => Err(Unreplayable::NoWindows),
        (0, _) => Err(Unreplayable::AllRefused(Box::new(preview))),
        _ => Ok(preview),
    })
}

impl Preview {
    /// Counts the windows of the range, from the latest on.
    async fn count<S: Settings>(
        &mut self,
        store: &S,
        tenant: &TenantId,
        retention: Option<TimeDelta>,
        now: DateTime<Utc>,
    ) -> Result<(), Failure> {
        let range = self.range;
        let mut before = range.to.checked_add_signed(MAX_WINDOW);
        let (mut windows, mut objects) = (0, 0);
        loop {
            let receipts = store.receipts(tenant, before, RECEIPTS_PER_READ).await?;
            let (Some(latest), Some(earliest)) = (receipts.first(), receipts.last()) else { return Ok(()) };
            let (first, last) = (earliest.receipt.window.to, latest.receipt.window.to);
            let replayed = store.replayed_receipts(tenant, first, last).await?;
            objects += replayed.iter().map(|it| it.receipt.objects.len()).sum::<usize>();
            for original in receipts.iter().filter(|it| it.receipt.window.overlaps(range)) {
                if windows >= MAX_WINDOWS || objects >= MAX_OBJECTS {
                    self.is_complete = false;
                    return Ok(());
                }
                let same = |it: &&StoredReceipt| {
                    it.receipt.window.to == original.receipt.window.to && it.receipt.location == self.location
                };
                let replayed = replayed.iter().find(same);
                self.add(original, replayed, retention, now);
                windows += 1;
                objects += original.receipt.objects.len();
            }
            if first <= range.from || receipts.len() < RECEIPTS_PER_READ {
                return Ok(());
            }
            before = Some(first);
        }
    }

    fn add(
        &mut self,
        original: &StoredReceipt,
        replayed: Option<&StoredReceipt>,
        retention: Option<TimeDelta>,
        now: DateTime<Utc>,
    ) {
        let is_here = original.receipt.location == self.location;
        let standing = replayed.or_else(|| is_here.then_some(original));
        let expires_within = |time| event::may_be_deleted(original.receipt.window.from, retention, now + RUN + time);
        match Refusal::of(original, standing, expires_within(time_to_end(retention))) {
            Some(Refusal::EventsExpired) => self.expired += 1,
            Some(_) => self.too_many_files += 1,
            None => {
                self.planned.add(original.events, original.bytes);
                self.elsewhere += u64::from(!is_here);
                self.incomplete += u64::from(expires_within(TimeDelta::zero()));
            }
        }
    }
}

/// Stores the request of a replay that was previewed. Returns none if one is running, or if the record has changed since it was
/// read.
///
/// # Errors
/// If the store fails.
pub async fn request<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    Preview { range, planned, .. }: &Preview,
    change: &AdminChange,
) -> Result<Option<Replay>, Failure> {
    let (id, at, before) = (change.id.clone(), change.stamp.at, as_read.replay.as_ref());
    if before.is_some_and(Replay::is_running) {
        return Ok(None);
    }
    let place = as_read.config.as_ref().and_then(|config| Place::of(tenant, config));
    let Some(place) = place else { return Ok(None) };
    let replay = Replay::new(id, *range, place, *planned, change.by.clone(), at, before);
    // Also after a record that can't be read.
    let replay = Replay { revision: as_read.replay_revision + 1, ..replay };
    let announcement = change.replay_requested(tenant, &replay);
    let stored = store.request_replay(tenant, &replay, Some(&announcement)).await?;
    Ok((stored == Conditional::Written).then_some(replay))
}

/// How a request to stop a replay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopRequest {
    /// It stops after the window in progress.
    Stored(Replay),
    /// The same, since an earlier request.
    AlreadyStored(Replay),
    NotRunning,
    /// A run has written the record meanwhile.
    ConditionFailed,
}

/// Asks to stop the replay in progress.
///
/// # Errors
/// If the store fails.
pub async fn request_stop<S: Settings>(
    store: &S,
    as_read: &TenantRecords,
    tenant: &TenantId,
    by: &User,
) -> Result<StopRequest, Failure> {
    let Some(replay) = as_read.replay.clone().filter(Replay::is_running) else { return Ok(StopRequest::NotRunning) };
    if replay.stop_requested {
        return Ok(StopRequest::AlreadyStored(replay));
    }
    let after = replay.stopping(by.clone());
    Ok(match store.request_replay(tenant, &after, None).await? {
        Conditional::Written => StopRequest::Stored(after),
        Conditional::ConditionFailed => StopRequest::ConditionFailed,
    })
}

#[cfg(test)]
mod tests;
