//! Replays: past windows that are delivered again because an admin asked for it.
//!
//! The record `replay` says what is asked for and how far it is. Each run that comes to the tenant goes on with it, after all due
//! windows and final deliveries of all its tenants, under the tenant's lease. A replay stores a window's objects as an export does,
//! but moves neither watermark nor schedule nor chain. The export's receipts stay as they are; each replayed window has a receipt of
//! its own.

use std::{collections::VecDeque, sync::Arc};

use chrono::{DateTime, TimeDelta, Utc};
use tracing::Instrument as _;

use super::{
    AbortReason, Export, Run, TENANTS_PER_LOAD,
    final_delivery::BEFORE_TICK,
    held_lease::{HeldLease, lease_lost, log_error},
    replayed_window::{ReplayedWindow, is_in_doubt, leads_to_manifest, write_replay},
    report::{Deferral, PendingReplays, ReplayCounts},
    window::{Delivery, LeaseContext},
};
use crate::{
    batch::Batch,
    checkpoint::Checkpoint,
    failure::{Code, Failure, Party},
    lease::LEASE_MARGIN,
    new_event::Stamp,
    ports::{Acquisition, Buckets, Bus, Events, Purpose, Queue, Signer, Tenants},
    records::{
        LastError, Place, Receipt, Refusal, Replay, ReplayError, ReplayState, StopCause, StoredReceipt, TenantRecords,
        time_to_end,
    },
    schedule::{Window, full_hour, next_full_hour},
    settings::{Draft, FieldErrors, TenantConfig},
    system_events,
    tenant::TenantId,
    timestamp,
};

/// How many receipts are read at once.
const RECEIPTS_PER_READ: usize = 25;

/// Older records are loaded again before a window begins, so that at most the window in progress ignores a change.
const MAX_RECORDS_AGE: TimeDelta = TimeDelta::seconds(10);

/// How often a run finds a tenant's records changed before it leaves the replay to a later run.
const MAX_CONFLICTS: u32 = 3;

/// A tenant's replay in a run.
struct TenantReplay<Bucket> {
    held: HeldLease,
    replay: Replay,
    records: TenantRecords,
    read_at: DateTime<Utc>,
    ends: DateTime<Utc>,
    /// The receipts of the next windows.
    receipts: VecDeque<StoredReceipt>,
    /// The settings by which it was opened, and the bucket.
    bucket: Option<(TenantConfig, Bucket)>,
    conflicts: u32,
}

/// How it goes on after a step.
enum Next {
    Window,
    Ended,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Goes on with all replays in progress, for the hourly check: by messages to the queue or, without one, in this run.
    ///
    /// # Errors
    /// If the replays can't be listed, or the records of their tenants can't be read.
    pub async fn replay_pending<Q: Queue>(&self, run: Run<'_>, queue: Option<&Q>) -> Result<PendingReplays, Failure> {
        let listed = self.tenants.redeliveries().await?;
        let ids: Vec<TenantId> = listed.iter().filter_map(|id| TenantId::parse(id).ok()).collect();
        let (mut pending, mut tenants) = (PendingReplays::default(), Vec::new());
        for ids in ids.chunks(TENANTS_PER_LOAD) {
            for (tenant, records) in self.tenants.load(ids).await? {
                let Some(replay) = records.replay.filter(Replay::is_running) else { continue };
                // What keeps a tenant's exports waiting is told by the exports.
                let is_refused = records.watermark.as_ref().is_some_and(|watermark| watermark.refused);
                if replay.is_stalled((run.now)()) && !is_refused {
                    let (since, code) = (replay.progressed_at, replay.last_error.map(|error| error.code));
                    tracing::error!(tenant = %tenant, since = timestamp::seconds(since), code, "a replay makes no progress");
                    pending.stalled += 1;
                }
                tenants.push(tenant);
            }
        }
        pending.running = tenants.len() as u64;
        match queue {
            Some(queue) => {
                let ids: Vec<String> = tenants.iter().map(ToString::to_string).collect();
                for (_, Failure { code, message, .. }) in queue.send(&Batch::split(run.tick, &ids)).await {
                    tracing::error!(code = %code, reason = message, "replays could not be sent to the queue");
                }
            }
            None => pending.counts = self.replay_all(run, tenants).await,
        }
        Ok(pending)
    }

    /// Goes on with these tenants' replays, until the time is up. No failure of one affects another, or any window.
    pub(super) async fn replay_all(&self, run: Run<'_>, tenants: Vec<TenantId>) -> ReplayCounts {
        let (next_tick, ends) = (next_full_hour((run.now)()), (run.now)() + self.options.replay_time);
        let stop = || (run.should_stop)() || (run.now)() + BEFORE_TICK >= next_tick;
        let replays = tenants.iter().map(|tenant| {
            let span = tracing::info_span!("replay", tenant = %tenant);
            self.replay(Run { should_stop: &stop, ..run }, tenant, ends).instrument(span)
        });
        self.side_by_side(run, replays).await
    }

    /// After `ends`, others' turn comes with the next window or checkpoint.
    async fn replay(&self, run: Run<'_>, tenant: &TenantId, ends: DateTime<Utc>) -> ReplayCounts {
        let mut counts = ReplayCounts::default();
        if (run.now)() >= ends && !(run.should_stop)() {
            counts.unfinished.push(tenant.to_string());
            return counts;
        }
        let mut tenant_replay = match self.acquire_for_replay(run, tenant, ends).await {
            Ok(Some(acquired)) => acquired,
            Ok(None) => return counts,
            Err(failure) => {
                log_error(tenant, &failure, "the replay could not be begun");
                counts.failed += 1;
                return counts;
            }
        };
        let position = |replay: &Replay| (replay.next, replay.checkpoint.clone());
        let began_at = position(&tenant_replay.replay);
        loop {
            match self.replay_next(run, &mut tenant_replay, &mut counts).await {
                Ok(Next::Window) => continue,
                Ok(Next::Ended) => {}
                Err(AbortReason::Deferred(deferral)) => {
                    tracing::info!(why = deferral.reason(), "replay deferred");
                    // Without progress, the next run would do the same at once, and so on.
                    if deferral == Deferral::OutOfTime && position(&tenant_replay.replay) != began_at {
                        counts.unfinished.push(tenant.to_string());
                    }
                }
                Err(AbortReason::Changed) => {
                    tenant_replay.conflicts += 1;
                    if tenant_replay.conflicts < MAX_CONFLICTS && !tenant_replay.held.in_doubt {
                        tenant_replay.read_at = DateTime::UNIX_EPOCH;
                        continue;
                    }
                    tracing::info!(why = Deferral::RecordsChanging.reason(), "replay deferred");
                }
                Err(AbortReason::Failed(failure)) => {
                    self.note_replay_failure(run, &mut tenant_replay, &failure, &mut counts).await;
                }
            }
            break;
        }
        self.note_doubt(run, &mut tenant_replay).await;
        self.finish(run, &mut tenant_replay.held).await;
        counts
    }

    /// Acquires the lease, and reads the records under it. None if there is nothing to replay, or if another run has the lease; a
    /// later run goes on then.
    async fn acquire_for_replay(
        &self,
        run: Run<'_>,
        tenant: &TenantId,
        ends: DateTime<Utc>,
    ) -> Result<Option<TenantReplay<B::Bucket>>, Failure> {
        if (run.should_stop)() {
            return Ok(None);
        }
        let records = self.tenants.load_one(tenant).await?;
        let Some(replay) = records.replay.as_ref().filter(|replay| replay.is_running()) else { return Ok(None) };
        // Before the lease is acquired: a tick that comes to the tenant's due window must find none.
        if let Some(deferral) =
            waits_for(&records, replay, (run.now)()).filter(|_| !must_end(&records, replay, (run.now)()))
        {
            tracing::info!(why = deferral.reason(), "replay deferred");
            return Ok(None);
        }
        let lease = run.new_lease(run.deadline + LEASE_MARGIN)?;
        let (watermark, health) =
            match self.acquire_or_release(tenant, Purpose::Redelivery, &lease, (run.now)()).await? {
                Acquisition::Acquired(watermark, health) => (watermark, health),
                Acquisition::HeldUntil(until) => {
                    let why = Deferral::Leased { until }.reason();
                    tracing::info!(until = timestamp::seconds(until), why, "replay deferred");
                    return Ok(None);
                }
                Acquisition::ConditionFailed => return Ok(None),
            };
        let mut held = HeldLease::new(tenant.clone(), watermark, health, false);
        held.lease = Some(lease);
        let read_at = (run.now)();
        match self.tenants.load_one(tenant).await {
            Ok(records) if let Some(replay) = records.replay.clone().filter(Replay::is_running) => {
                held.has_notifications = records.has_notifications;
                let receipts = VecDeque::new();
                Ok(Some(TenantReplay { held, replay, records, read_at, ends, receipts, bucket: None, conflicts: 0 }))
            }
            Ok(_) => {
                self.finish(run, &mut held).await;
                Ok(None)
            }
            Err(failure) => {
                self.finish(run, &mut held).await;
                Err(failure)
            }
        }
    }

    /// Delivers the next window again, leaves it as it is, or ends the replay.
    async fn replay_next(
        &self,
        run: Run<'_>,
        tenant_replay: &mut TenantReplay<B::Bucket>,
        counts: &mut ReplayCounts,
    ) -> Result<Next, AbortReason> {
        self.read_again(run, tenant_replay).await?;
        let TenantReplay { held, replay, records, .. } = &*tenant_replay;
        let (now, waits) = ((run.now)(), waits_for(records, replay, (run.now)()));
        // A window that is begun is ended first, unless it can't be tried.
        if replay.stop_requested && (replay.checkpoint.is_none() || waits.is_some()) {
            return self.end(run, tenant_replay, Some(StopCause::Requested), counts).await;
        }
        if !is_connected(records) {
            return self.end(run, tenant_replay, Some(StopCause::Disconnected), counts).await;
        }
        if replay.is_abandoned(now) {
            return self.abandon(run, tenant_replay, counts).await;
        }
        let missing = || Failure::by(Party::Platform, Code::ConfigInvalid, "The tenant has no record `config`.");
        let config = records.config.as_ref().ok_or_else(missing)?;
        let config = config.check(&held.tenant, run.platform).map_err(FieldErrors::into_failure)?;
        if Place::of(&held.tenant, &Draft::from_config(&config, config.version)).as_ref() != Some(&replay.place) {
            return self.end(run, tenant_replay, Some(StopCause::DestinationChanged), counts).await;
        }
        if (run.should_stop)() || now >= tenant_replay.ends {
            return Err(AbortReason::Deferred(Deferral::OutOfTime));
        }
        if let Some(deferral) = waits {
            return Err(AbortReason::Deferred(deferral));
        }
        let receipt = self.next_receipt(tenant_replay).await?;
        let Replay { next, range, .. } = tenant_replay.replay;
        let until = receipt.as_ref().map_or(range.to, |receipt| receipt.receipt.window.from);
        if next < until {
            let missing = Window { from: next, to: until };
            return self.leave_as_it_is(run, tenant_replay, missing, Refusal::NoReceipt, counts).await;
        }
        let Some(receipt) = receipt else { return self.end(run, tenant_replay, None, counts).await };
        self.replay_window(run, tenant_replay, receipt, config, counts).await
    }

    async fn read_again(&self, run: Run<'_>, tenant_replay: &mut TenantReplay<B::Bucket>) -> Result<(), AbortReason> {
        if (run.now)() - tenant_replay.read_at <= MAX_RECORDS_AGE {
            return Ok(());
        }
        let read_at = (run.now)();
        let records = self.tenants.load_one(&tenant_replay.held.tenant).await?;
        if !tenant_replay.held.holds(&records) {
            return Err(lease_lost().into());
        }
        if let Some(stored) = records.replay.clone().filter(|stored| stored.id == tenant_replay.replay.id) {
            tenant_replay.replay = stored;
        }
        if let Some(watermark) = &records.watermark {
            tenant_replay.held.watermark = watermark.clone();
        }
        (tenant_replay.records, tenant_replay.read_at) = (records, read_at);
        Ok(())
    }

    /// Returns the receipt of the next window that overlaps the range; none after the last.
    async fn next_receipt(
        &self,
        TenantReplay { held, replay, receipts, .. }: &mut TenantReplay<B::Bucket>,
    ) -> Result<Option<StoredReceipt>, Failure> {
        receipts.retain(|receipt| receipt.receipt.window.to > replay.next);
        if receipts.is_empty() {
            receipts.extend(self.tenants.receipts_after(&held.tenant, replay.next, RECEIPTS_PER_READ).await?);
        }
        let next = receipts.front().filter(|receipt| receipt.receipt.window.from < replay.range.to);
        Ok(next.cloned())
    }

    async fn replay_window(
        &self,
        run: Run<'_>,
        tenant_replay: &mut TenantReplay<B::Bucket>,
        original: StoredReceipt,
        stored_config: TenantConfig,
        counts: &mut ReplayCounts,
    ) -> Result<Next, AbortReason> {
        let TenantReplay { held, replay, records, bucket, ends, .. } = tenant_replay;
        let window = original.receipt.window;
        let is_here = original.receipt.location == replay.location;
        let replayed = self.tenants.replayed_receipt(&held.tenant, window.to, &replay.location).await?;
        let standing = replayed.or_else(|| is_here.then(|| original.clone()));
        let is_begun = replay.checkpoint.as_deref().and_then(Checkpoint::stored_window) == Some(window);
        if let Some(reason) = self.refusal(run, &original, standing.as_ref(), is_begun) {
            return self.leave_as_it_is(run, tenant_replay, window, reason, counts).await;
        }
        if !leads_to_manifest(&held.tenant, &original.receipt) {
            return self.leave_as_it_is(run, tenant_replay, window, Refusal::ReceiptUnclear, counts).await;
        }
        let left = &records.final_deliveries;
        let is_left =
            |place: &Place| (&place.bucket, &place.folder) == (&replay.location.bucket, &replay.location.folder);
        if !left.is_empty() && (!is_here || left.places.iter().any(|left| is_left(&left.place))) {
            // A place that is left hears of that before anything of it is delivered elsewhere, or otherwise.
            return Err(AbortReason::Deferred(Deferral::FinalDeliveriesFirst));
        }
        let mut config = stored_config.clone();
        if let Some(standing) = &standing {
            let Receipt { format, compression, schema, .. } = standing.receipt;
            (config.format, config.compression, config.schema) = (format, compression, schema);
        }
        let mut open = match bucket.take() {
            Some((opened_by, open)) if opened_by == config => Some(open),
            _ => None,
        };
        let (original, standing) = (original.receipt, standing.map(|standing| standing.receipt));
        let mut replayed = ReplayedWindow { replay: replay.clone(), stored_config, original, standing, ends: *ends };
        let delivery = Delivery::Replay(&mut replayed);
        let context = LeaseContext { run, tenants: &self.tenants, config: &config, held, delivery };
        let stored = self.store(context, window, &mut open, &Arc::default()).await;
        *bucket = open.map(|open| (config, open));
        *replay = replayed.replay.clone();
        let receipt = match stored {
            Ok(receipt) => receipt,
            // The writer has found it, and has replaced no file by an incomplete one.
            Err(AbortReason::Failed(Failure { code: Code::RetentionExceeded, .. })) => {
                let is_begun = replay.checkpoint.is_some();
                let reason = if is_begun { Refusal::PartlyReplaced } else { Refusal::EventsExpired };
                return self.leave_as_it_is(run, tenant_replay, window, reason, counts).await;
            }
            Err(reason) => return Err(reason),
        };
        self.commit_replayed(run, tenant_replay, &replayed, &receipt, counts).await
    }

    /// Why the window is left as it is, if it is.
    fn refusal(
        &self,
        run: Run<'_>,
        original: &StoredReceipt,
        standing: Option<&StoredReceipt>,
        is_begun: bool,
    ) -> Option<Refusal> {
        let time_to_end = if is_begun { TimeDelta::zero() } else { time_to_end(self.options.retention) };
        Refusal::of(original, standing, self.may_be_deleted(original.receipt.window.from, run.deadline + time_to_end))
    }

    async fn commit_replayed(
        &self,
        run: Run<'_>,
        TenantReplay { held, replay, .. }: &mut TenantReplay<B::Bucket>,
        window: &ReplayedWindow,
        receipt: &Receipt,
        counts: &mut ReplayCounts,
    ) -> Result<Next, AbortReason> {
        let now = (run.now)();
        if held.lease.as_ref().is_none_or(|lease| lease.until < now) {
            return Err(lease_lost().into());
        }
        let (stamp, tenant, is_amended) = (self.replay_stamp(run), held.tenant.clone(), window.amends(receipt));
        let after = |replay: &Replay| {
            let announcement = is_amended.then(|| system_events::manifest_amended(&tenant, stamp, receipt));
            (replay.after_window(receipt, is_amended, now), announcement)
        };
        write_replay(&self.tenants, held, replay, Some(receipt), after).await?;
        // What may still be stored are the very bytes that are delivered.
        held.in_doubt = false;
        held.has_notifications |= is_amended;
        counts.windows += 1;
        counts.events += receipt.events();
        counts.bytes += receipt.bytes();
        counts.amended += u64::from(is_amended);
        // Each amended window announces itself, and the outbox has room for only so many.
        self.publish(run, held).await;
        tracing::info!(
            window = %receipt.window,
            bucket = receipt.location.bucket,
            key = receipt.objects.last().map(|object| object.key.as_str()),
            objects = receipt.objects.len(),
            events = receipt.events(),
            bytes = receipt.bytes(),
            gap = receipt.gap,
            is_amended,
            "replayed"
        );
        Ok(Next::Window)
    }

    async fn leave_as_it_is(
        &self,
        run: Run<'_>,
        TenantReplay { held, replay, .. }: &mut TenantReplay<B::Bucket>,
        window: Window,
        reason: Refusal,
        counts: &mut ReplayCounts,
    ) -> Result<Next, AbortReason> {
        let now = (run.now)();
        tracing::warn!(window = %window, reason = reason.message(), "the window is not replayed");
        let after = |replay: &Replay| (replay.after_refusal(window, reason, now), None);
        write_replay(&self.tenants, held, replay, None, after).await?;
        counts.refused += 1;
        Ok(Next::Window)
    }

    /// Ends the replay: completed, or stopped for a cause.
    async fn end(
        &self,
        run: Run<'_>,
        TenantReplay { held, replay, .. }: &mut TenantReplay<B::Bucket>,
        cause: Option<StopCause>,
        counts: &mut ReplayCounts,
    ) -> Result<Next, AbortReason> {
        let (now, stamp, tenant) = ((run.now)(), self.replay_stamp(run), held.tenant.clone());
        let state = cause.map_or(ReplayState::Completed, |_| ReplayState::Stopped);
        let ended = |replay: &Replay| {
            let ended = replay.ended(state, cause, now);
            let announcement = system_events::replay_ended(&tenant, stamp, &ended);
            (ended, Some(announcement))
        };
        write_replay(&self.tenants, held, replay, None, ended).await?;
        held.has_notifications = true;
        let Replay { delivered, refused_count, .. } = &*replay;
        tracing::info!(windows = delivered.windows, refused = refused_count, ?cause, "the replay has ended");
        counts.completed += u64::from(cause.is_none());
        counts.stopped += u64::from(cause.is_some());
        Ok(Next::Ended)
    }

    /// Ends a replay that has waited or failed for too long.
    async fn abandon(
        &self,
        run: Run<'_>,
        TenantReplay { held, replay, records, .. }: &mut TenantReplay<B::Bucket>,
        counts: &mut ReplayCounts,
    ) -> Result<Next, AbortReason> {
        let (now, stamp, tenant) = ((run.now)(), self.replay_stamp(run), held.tenant.clone());
        let message = "The replay waited for seven days and could not go on.";
        let of_exports = records.health.last_error.clone().map(|LastError { code, message, party, .. }| ReplayError {
            code,
            message,
            party: party.unwrap_or_else(|| Party::Platform.to_string()),
            hint: None,
            at: timestamp::whole_seconds(now),
        });
        let waited = || ReplayError::new(&Failure::new(Code::Unavailable, message), now);
        let error = replay.last_error.clone().or(of_exports).unwrap_or_else(waited);
        let ended = |replay: &Replay| {
            let failed = Replay { last_error: Some(error.clone()), ..replay.clone() };
            let ended = failed.ended(ReplayState::Failed, None, now);
            let announcement = system_events::replay_ended(&tenant, stamp, &ended);
            (ended, Some(announcement))
        };
        write_replay(&self.tenants, held, replay, None, ended).await?;
        held.has_notifications = true;
        counts.given_up += 1;
        Ok(Next::Ended)
    }

    /// Notes a failure of the next window, or ends the replay if it has failed for too long.
    async fn note_replay_failure(
        &self,
        run: Run<'_>,
        TenantReplay { held, replay, .. }: &mut TenantReplay<B::Bucket>,
        failure: &Failure,
        counts: &mut ReplayCounts,
    ) {
        let (now, stamp, tenant) = ((run.now)(), self.replay_stamp(run), held.tenant.clone());
        let (is_given_up, failed_at) = (replay.is_given_up(failure, now), replay.next);
        log_failure(replay, failure, is_given_up);
        counts.lease_lost += u64::from(failure.code == Code::LeaseLost);
        counts.signing_failed += u64::from(failure.code == Code::SigningFailed);
        let after = |replay: &Replay| {
            // What failed may have been the answer to the write that moved it on, or ended it.
            if !replay.is_running() || replay.next != failed_at {
                return (replay.clone(), None);
            }
            let failed = replay.after_failure(failure, now);
            let ended = match (replay.stop_requested, is_given_up) {
                (true, _) => failed.ended(ReplayState::Stopped, Some(StopCause::Requested), now),
                (false, true) => failed.ended(ReplayState::Failed, None, now),
                (false, false) => return (failed, None),
            };
            let announcement = system_events::replay_ended(&tenant, stamp, &ended);
            (ended, Some(announcement))
        };
        let noted = write_replay(&self.tenants, held, replay, None, after).await;
        if let Err(AbortReason::Failed(failure)) = &noted {
            log_error(&held.tenant, failure, "the failure of a replay could not be noted");
        }
        let is_ended = noted.is_ok() && !replay.is_running();
        let is_stopped = is_ended && replay.stopped.is_some();
        held.has_notifications |= is_ended;
        counts.stopped += u64::from(is_stopped);
        counts.given_up += u64::from(is_ended && !is_stopped);
        counts.failed += u64::from(!is_ended);
    }

    /// Notes that a failed request may still store an object, so that no other run stores another reading under its key. Due windows
    /// have other keys, so the lease need not last that long. If the doubt can't be noted, the lease is left to expire.
    async fn note_doubt(&self, run: Run<'_>, TenantReplay { held, replay, .. }: &mut TenantReplay<B::Bucket>) {
        if !held.in_doubt {
            return;
        }
        let until = timestamp::whole_seconds((run.now)() + LEASE_MARGIN);
        let in_doubt = |replay: &Replay| (Replay { retry_after: Some(until), ..replay.clone() }, None);
        if write_replay(&self.tenants, held, replay, None, in_doubt).await.is_ok() {
            held.in_doubt = false;
        }
    }

    fn replay_stamp(&self, run: Run<'_>) -> Stamp {
        Stamp { at: (run.now)(), retention: self.options.retention }
    }
}

fn is_connected(records: &TenantRecords) -> bool {
    records.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some())
}

/// Whether a replay is to be ended rather than to wait.
fn must_end(records: &TenantRecords, replay: &Replay, now: DateTime<Utc>) -> bool {
    replay.stop_requested || !is_connected(records) || replay.is_abandoned(now)
}

/// What the next window has to wait for. Due windows go first by the clock and not by the run's hour: a tick that is about to begin
/// must find no lease. A watermark that can't be read has the exports fail.
fn waits_for(records: &TenantRecords, replay: &Replay, now: DateTime<Utc>) -> Option<Deferral> {
    let schedule = records.watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
    if schedule.is_none_or(|schedule| schedule.due_window(full_hour(now)).is_some()) {
        return Some(Deferral::DueWindowsFirst);
    }
    is_in_doubt(replay, now).then_some(Deferral::UploadInDoubt)
}

fn log_failure(replay: &Replay, Failure { code, party, message }: &Failure, is_given_up: bool) {
    let (bucket, since, hint) = (&replay.location.bucket, replay.failing_since.map(timestamp::seconds), code.hint());
    match party {
        Party::Platform => {
            tracing::error!(bucket, since, code = %code, party = %party, reason = message, hint, is_given_up, "a replay failed");
        }
        Party::Customer => {
            tracing::warn!(bucket, since, code = %code, party = %party, reason = message, hint, is_given_up, "a replay failed");
        }
    }
}
