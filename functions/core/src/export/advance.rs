//! One tenant's next window: the lease, the objects, the commit, and the record of a failure.
//!
//! A failure and its end are announced in the transaction that records the failure, or that commits the window which ends
//! it. So each is announced exactly when it is true, and no state says what was announced before.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::Instrument as _;

use super::{
    AbortReason, Export, Run,
    held_lease::{HeldLease, lease_lost, log_error},
    report::{Counts, Deferral, Outcome, TenantReport},
    tenant::{AdvanceResult, DueTenant, InvalidTenant, TenantRun},
};
use crate::{
    failure::{Failure, Party},
    new_event::Stamp,
    ports::{Buckets, Bus, Commit, Conditional, Events, FailureRecord, Signer, Tenants},
    records::{ExportHealth, Receipt, TenantRecords},
    schedule::{Schedule, Window, wait_to_settle},
    system_events::{self, FailingExport},
    timestamp,
};

/// How often a run finds a tenant's records changed before it leaves the tenant to the next tick.
const MAX_CONFLICTS: u32 = 3;

/// Older records are loaded again before a window begins: a tenant may wait for minutes between two windows.
const MAX_RECORDS_AGE: TimeDelta = TimeDelta::seconds(10);

/// Whether a tenant may have another window in this run.
enum Next {
    Window,
    Ended(Outcome),
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Exports a tenant's next window, or records why it can't. All that is logged meanwhile, also by the adapters, carries
    /// the tenant.
    pub(super) async fn advance(&self, run: Run<'_>, tenant: DueTenant<B::Bucket>) -> AdvanceResult<B::Bucket> {
        let span = tracing::info_span!("export", tenant = tenant.id());
        self.advance_in_span(run, tenant).instrument(span).await
    }

    async fn advance_in_span(&self, run: Run<'_>, tenant: DueTenant<B::Bucket>) -> AdvanceResult<B::Bucket> {
        if tenant.held().is_some_and(|held| held.lease.is_none() && !held.health.is_attempted(run.tick)) {
            return AdvanceResult::Ended(tenant.into_report(run, deferred(None, Deferral::Backoff)));
        }
        let mut tenant = match tenant {
            DueTenant::Valid(tenant) => tenant,
            DueTenant::Invalid(invalid) => return AdvanceResult::Ended(self.note_invalid(run, *invalid).await),
        };
        let outcome = match self.next_window(run, &mut tenant).await {
            Ok(Next::Window) => return AdvanceResult::More(tenant),
            Ok(Next::Ended(outcome)) => outcome,
            Err(failure) => {
                log_failure(tenant.config.tenant.as_str(), tenant.schedule.due_window(run.tick), &failure);
                self.note_failure(run, &mut tenant.held, &failure).await;
                Outcome::Failed(failure)
            }
        };
        self.finish(run, &mut tenant.held).await;
        AdvanceResult::Ended(tenant.into_report(run, outcome))
    }

    async fn note_invalid(&self, run: Run<'_>, mut invalid: InvalidTenant) -> TenantReport {
        log_failure(&invalid.tenant, None, &invalid.failure);
        let Some(held) = &mut invalid.held else { return invalid.into_report(run, None) };
        match self.acquire(run, held).await {
            Ok(()) => {
                self.note_failure(run, held, &invalid.failure).await;
                self.finish(run, held).await;
            }
            Err(AbortReason::Deferred(deferral)) => return invalid.into_report(run, Some(deferred(None, deferral))),
            // The next tick reads the records again.
            Err(AbortReason::Changed) => {}
            Err(AbortReason::Failed(failure)) => log_failure(&invalid.tenant, None, &failure),
        }
        invalid.into_report(run, None)
    }

    async fn next_window(&self, run: Run<'_>, tenant: &mut TenantRun<B::Bucket>) -> Result<Next, Failure> {
        let Some(window) = tenant.schedule.due_window(run.tick) else { return Ok(Next::Ended(Outcome::Exported)) };
        match self.export_window(run, tenant, window).await {
            Ok(next) => Ok(next),
            Err(AbortReason::Deferred(deferral)) => Ok(Next::Ended(deferred(Some(window), deferral))),
            Err(AbortReason::Changed) => {
                let records = self.tenants.load_one(&tenant.config.tenant).await?;
                continue_with(run, tenant, window, records)
            }
            Err(AbortReason::Failed(failure)) => Err(failure),
        }
    }

    async fn export_window(
        &self,
        run: Run<'_>,
        tenant: &mut TenantRun<B::Bucket>,
        window: Window,
    ) -> Result<Next, AbortReason> {
        if tenant.windows >= self.options.max_windows {
            return Err(AbortReason::Deferred(Deferral::MaxWindows));
        }
        let Some(wait) = wait_to_settle(window, (run.now)(), self.options.settle) else {
            return Err(AbortReason::Deferred(Deferral::NotSettled));
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait.to_std().unwrap_or_default()).await;
        }
        if (run.should_stop)() {
            return Err(AbortReason::Deferred(Deferral::OutOfTime));
        }
        if tenant.held.lease.is_none() {
            self.acquire(run, &mut tenant.held).await?;
        }
        if (run.now)() - tenant.read_at > MAX_RECORDS_AGE {
            let records = self.tenants.load_one(&tenant.config.tenant).await?;
            if !tenant.held.is_unchanged(run, &tenant.config, &records) {
                return Ok(continue_with(run, tenant, window, records)?);
            }
            tenant.read_at = (run.now)();
        }
        let receipt = self.store_window(run, tenant, window).await?;
        Ok(self.commit(run, tenant, window, receipt).await?)
    }

    async fn commit(
        &self,
        run: Run<'_>,
        tenant: &mut TenantRun<B::Bucket>,
        window: Window,
        receipt: Receipt,
    ) -> Result<Next, Failure> {
        let after = tenant.schedule.advance(tenant.config.frequency);
        let has_more = after.due_window(run.tick).is_some();
        let (held, config) = (&mut tenant.held, &tenant.config);
        if held.lease.as_ref().is_none_or(|lease| lease.until < (run.now)()) {
            return Err(lease_lost());
        }
        // A recovery says itself whether its window is unsigned.
        let (unsigned, stamp, since) = (receipt.is_unsigned(), self.stamp(run), held.health.failing_since);
        let announcement = if held.watermark.failing {
            Some(system_events::export_recovered(&config.tenant, stamp, window, unsigned, since))
        } else {
            unsigned.then(|| system_events::window_unsigned(&config.tenant, stamp, &receipt))
        };
        // The outbox is published under the lease, so the lease ends after that.
        let is_last = !has_more || tenant.windows + 1 >= self.options.max_windows;
        let releases = is_last && announcement.is_none() && !held.has_notifications;
        let commit = Commit { after, receipt: &receipt, announcement: announcement.as_ref(), releases };
        let Some(fence) = held.fence() else { return Err(lease_lost()) };
        let committed = self.tenants.commit(config, fence, commit).await;
        if committed != Ok(Conditional::Written) {
            // The answer to an earlier attempt of this very commit may have been lost.
            let records = self.tenants.load_one(&config.tenant).await?;
            if !is_committed(held.holds(&records), releases, after, &records) {
                return committed.and_then(|_| continue_with(run, tenant, window, records));
            }
            // Settings may have been saved since, so the next window loads them.
            tenant.read_at = DateTime::UNIX_EPOCH;
        }
        let held = &mut tenant.held;
        held.watermark = held.watermark.after(&receipt, after);
        held.health = ExportHealth::default();
        // A request that may still be carried out stores the very bytes that are committed: in doubt, no window is read a
        // second time.
        held.in_doubt = false;
        held.has_notifications |= announcement.is_some();
        if releases {
            held.lease = None;
        }
        tenant.windows += 1;
        tenant.schedule = after;
        count_export(tenant, &receipt);
        if announcement.is_some() {
            self.publish(run, &mut tenant.held).await;
        }
        // A tenant with nothing left to do must not wait for all other tenants' first windows, credentials in hand.
        Ok(if has_more { Next::Window } else { Next::Ended(Outcome::Exported) })
    }
}

impl<T: Tenants, E, B, N: Bus, S> Export<T, E, B, N, S> {
    /// Notes a failure on the watermark, and announces the first one and one that lasts. If the run has no lease, the record
    /// belongs to another run. If the failure can't be noted, the log and the report still have it, and the next run
    /// announces its own.
    async fn note_failure(&self, run: Run<'_>, held: &mut HeldLease, failure: &Failure) {
        let Some(fence) = held.fence() else { return };
        let (tenant, at, health) = (&held.tenant, (run.now)(), &held.health);
        let failing = |days| FailingExport {
            tenant,
            exported_until: held.watermark.exported_until.as_deref().unwrap_or_default(),
            since: health.failing_since.unwrap_or(at),
            days,
            failures: health.consecutive_failures + 1,
            failure,
        };
        let announcement = health.days_to_announce(at).map(|days| failing(days).announce(self.stamp(run)));
        let releases = announcement.is_none() && !held.has_notifications && !held.in_doubt;
        let record = FailureRecord { failure, at, announcement: announcement.as_ref(), releases };
        match self.tenants.record_failure(tenant, fence, record).await {
            Ok(Conditional::Written) => {
                held.has_notifications |= announcement.is_some();
                if releases {
                    held.lease = None;
                }
            }
            Ok(Conditional::ConditionFailed) => {
                tracing::warn!(tenant = %tenant, "the failure is not noted: the settings were saved meanwhile, or the lease is gone");
            }
            Err(error) => log_error(tenant, &error, "the failure could not be noted"),
        }
    }
}

impl<T, E, B, N, S> Export<T, E, B, N, S> {
    fn stamp(&self, run: Run<'_>) -> Stamp {
        Stamp { at: (run.now)(), retention: self.options.retention }
    }
}

/// Goes on with the records as they are now, since they are no longer as they were read. This isn't a failure.
fn continue_with<Bucket>(
    run: Run<'_>,
    tenant: &mut TenantRun<Bucket>,
    window: Window,
    records: TenantRecords,
) -> Result<Next, Failure> {
    if tenant.held.lease.is_some() && !tenant.held.holds(&records) {
        tenant.held.lease = None;
        return Err(lease_lost());
    }
    tracing::info!(window = %window, "the tenant's records have changed");
    tenant.held.has_notifications |= records.has_notifications;
    if tenant.held.in_doubt {
        // The request could overwrite what a second reading stores under the same keys.
        return Ok(Next::Ended(deferred(Some(window), Deferral::UploadInDoubt)));
    }
    tenant.conflicts += 1;
    if tenant.conflicts >= MAX_CONFLICTS {
        return Ok(Next::Ended(deferred(Some(window), Deferral::RecordsChanging)));
    }
    let uncommitted_objects = Arc::clone(&tenant.uncommitted_objects);
    match TenantRun::new(tenant.config.tenant.clone(), records, run, uncommitted_objects) {
        Ok(None) => Ok(Next::Ended(Outcome::Exported)),
        Ok(Some(reloaded)) => {
            tenant.update_from(reloaded);
            Ok(Next::Window)
        }
        Err(invalid) => {
            let InvalidTenant { failure, held, .. } = *invalid;
            if let Some(held) = held {
                (tenant.held.watermark, tenant.held.health) = (held.watermark, held.health);
            }
            Err(failure)
        }
    }
}

/// Whether a commit whose answer is not known has moved the watermark.
fn is_committed(is_held: bool, releases: bool, after: Schedule, records: &TenantRecords) -> bool {
    let until = records.watermark.as_ref().and_then(|watermark| watermark.exported_until.as_deref());
    let is_ours = is_held || releases && records.lease.is_none();
    is_ours && until == Some(timestamp::seconds(after.exported_until).as_str())
}

/// Logs an error only if the platform must act.
fn log_failure(tenant: &str, window: Option<Window>, failure: &Failure) {
    let Failure { code, party, message } = failure;
    let (window, hint) = (window.map(tracing::field::display), code.hint());
    match party {
        Party::Platform => {
            tracing::error!(tenant, window, code = %code, party = %party, reason = message, hint, "failed");
        }
        Party::Customer => {
            tracing::warn!(tenant, window, code = %code, party = %party, reason = message, hint, "failed");
        }
    }
}

/// Counts and logs a committed window.
fn count_export<Bucket>(tenant: &mut TenantRun<Bucket>, receipt: &Receipt) {
    let Counts { events, objects, bytes, late, unsigned } = &mut tenant.counts;
    *events += receipt.events();
    *objects += receipt.objects.len() as u64;
    *bytes += receipt.bytes();
    *late += receipt.late;
    *unsigned += u64::from(receipt.is_unsigned());
    let (window, id) = (receipt.window, &tenant.config.tenant);
    tracing::info!(
        tenant = %id,
        window = %window,
        key = receipt.objects.last().map(|object| object.key.as_str()),
        objects = receipt.objects.len(),
        events = receipt.events(),
        malformed = receipt.malformed,
        bytes = receipt.bytes(),
        duration_ms = receipt.duration.num_milliseconds(),
        late = receipt.late,
        "exported"
    );
    if receipt.late > 0 {
        tracing::warn!(tenant = %id, window = %window, late = receipt.late, "late events: a writer took longer than the settle contract allows, so their minutes were delivered again");
    }
    if receipt.is_unsigned() {
        let reason = receipt.signing_failure.as_ref().map_or("there is no key", |failure| &failure.message);
        tracing::error!(tenant = %id, window = %window, reason, "the window's manifest is not signed");
    }
    if let Some(loss) = receipt.loss() {
        log_failure(id.as_str(), Some(window), &loss);
        tenant.loss = Some(loss);
    }
}

fn deferred(window: Option<Window>, deferral: Deferral) -> Outcome {
    let until: Option<DateTime<Utc>> = if let Deferral::Leased { until } = deferral { Some(until) } else { None };
    let (window, until) = (window.map(tracing::field::display), until.map(timestamp::seconds));
    tracing::info!(window, until, why = deferral.reason(), "deferred");
    Outcome::Deferred(deferral)
}
