//! A tenant's turn: the lease, its next window, the commit, and what is said of them.

use chrono::{DateTime, Utc};
use tracing::Instrument as _;

use super::{
    AbortReason, Export, Run,
    held_lease::{NotAcquired, lease_lost},
    report::{Counts, Deferral, Outcome, TenantReport},
    tenant::{InvalidTenant, Next, Progress, TenantRun, Waiting},
    window::FRESH,
};
use crate::{
    failure::{Failure, Party},
    ports::{Buckets, Bus, Commit, Conditional, Events, Tenants},
    records::{ExportHealth, Receipt, TenantRecords},
    schedule::{Readiness, Schedule, Window, readiness},
    system_events, timestamp,
};

/// How often a run reads a tenant's records anew because they have changed before it leaves the tenant to the next tick.
const MAX_CONFLICTS: u32 = 3;

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Takes a tenant's turn: its next window, or the record of why it has none. All that is logged meanwhile, also
    /// by the adapters, carries the tenant.
    pub(super) async fn advance(&self, run: Run<'_>, waiting: Waiting<B::Bucket>) -> Progress<B::Bucket> {
        let span = tracing::info_span!("export", tenant = waiting.id());
        self.turn(run, waiting).instrument(span).await
    }

    async fn turn(&self, run: Run<'_>, waiting: Waiting<B::Bucket>) -> Progress<B::Bucket> {
        if waiting.held().is_some_and(|held| held.lease.is_none() && !held.health.is_tried(run.tick)) {
            return Progress::Ended(waiting.back_off(run));
        }
        let mut tenant = match waiting {
            Waiting::Export(tenant) => tenant,
            Waiting::Invalid(refused) => return Progress::Ended(self.refuse(run, *refused).await),
        };
        let end = match self.next_window(run, &mut tenant).await {
            Ok(Next::Window) => return Progress::More(tenant),
            Ok(Next::Ended(end)) => end,
            Err(failure) => {
                log(tenant.config.tenant.as_str(), tenant.schedule.due_window(run.tick), &failure);
                self.note_failure(run, &mut tenant.held, &failure).await;
                Outcome::Failed(failure)
            }
        };
        self.finish(run, &mut tenant.held).await;
        Progress::Ended(tenant.into_tally(run, end))
    }

    /// Notes the failure of a tenant that can't be exported as its records are.
    async fn refuse(&self, run: Run<'_>, mut refused: InvalidTenant) -> TenantReport {
        log(&refused.tenant, None, &refused.failure);
        let Some(held) = &mut refused.held else { return refused.into_tally(run, None) };
        match self.acquire(run, held).await {
            Ok(None) => {
                self.note_failure(run, held, &refused.failure).await;
                self.finish(run, held).await;
            }
            Ok(Some(NotAcquired::HeldUntil(until))) => {
                leased(until);
                return refused.into_tally(run, Some(Outcome::Deferred(Deferral::Leased)));
            }
            // The next tick looks at it again.
            Ok(Some(NotAcquired::Changed)) => {}
            Err(failure) => log(&refused.tenant, None, &failure),
        }
        refused.into_tally(run, None)
    }

    async fn next_window(&self, run: Run<'_>, tenant: &mut TenantRun<B::Bucket>) -> Result<Next, Failure> {
        let Some(window) = tenant.schedule.due_window(run.tick) else { return Ok(Next::Ended(Outcome::Exported)) };
        if tenant.windows >= self.options.max_windows {
            return Ok(deferred(
                window,
                Deferral::ToAnotherRun,
                "the tenant is further behind than one run catches up",
            ));
        }
        match readiness(window, (run.now)(), self.options.settle) {
            Readiness::Settled => {}
            Readiness::In(wait) => tokio::time::sleep(wait.to_std().unwrap_or_default()).await,
            Readiness::NextTick => return Ok(deferred(window, Deferral::ToTheNextTick, "the window has not settled")),
        }
        if (run.should_stop)() {
            return Ok(deferred(window, Deferral::ToAnotherRun, "the remaining time is too short"));
        }
        if tenant.held.lease.is_none() {
            match self.acquire(run, &mut tenant.held).await? {
                None => {}
                Some(NotAcquired::HeldUntil(until)) => {
                    leased(until);
                    return Ok(Next::Ended(Outcome::Deferred(Deferral::Leased)));
                }
                Some(NotAcquired::Changed) => return self.read_anew(run, tenant, window).await,
            }
        }
        // Settings and connection may have changed while the tenant waited for its turn.
        if (run.now)() - tenant.read_at > FRESH {
            let records = self.tenants.load_one(&tenant.config.tenant).await?;
            if !tenant.held.is_as_read(run, &tenant.config, &records) {
                return self.go_on(run, tenant, window, records);
            }
            tenant.read_at = (run.now)();
        }
        match self.store_window(run, tenant, window).await {
            Ok(receipt) => self.commit(run, tenant, window, receipt).await,
            Err(AbortReason::OutOfTime) => Ok(deferred(window, Deferral::ToAnotherRun, "the time ran out")),
            Err(AbortReason::Changed) => self.read_anew(run, tenant, window).await,
            Err(AbortReason::Failed(failure)) => Err(failure),
        }
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
        let recovered = held.watermark.failing.then(|| {
            system_events::export_recovered(&config.tenant, self.stamp(run), window, held.health.failing_since)
        });
        // What is in the outbox is published under the lease, so the lease ends after that.
        let is_last = !has_more || tenant.windows + 1 >= self.options.max_windows;
        let releases = is_last && recovered.is_none() && !held.has_notifications;
        let commit = Commit { after, receipt: &receipt, announcement: recovered.as_ref(), releases };
        let Some(fence) = held.fence() else { return Err(lease_lost()) };
        let committed = self.tenants.commit(config, fence, commit).await;
        if committed != Ok(Conditional::Written) {
            // Perhaps the answer to an earlier attempt of this very commit was lost.
            let records = self.tenants.load_one(&config.tenant).await?;
            if !is_committed(held.holds(&records), releases, after, &records) {
                return committed.and_then(|_| self.go_on(run, tenant, window, records));
            }
            // Settings may have been saved since, so the next window reads them.
            tenant.read_at = DateTime::UNIX_EPOCH;
        }
        let held = &mut tenant.held;
        held.watermark = held.watermark.after(&receipt, after);
        held.health = ExportHealth::default();
        // What may still be stored are the very bytes that are committed: a window is never read anew in doubt.
        held.in_doubt = false;
        held.has_notifications |= recovered.is_some();
        if releases {
            held.lease = None;
        }
        tenant.windows += 1;
        tenant.schedule = after;
        exported(tenant, &receipt);
        if recovered.is_some() {
            self.publish(run, &mut tenant.held).await;
        }
        // A tenant with nothing left to do doesn't wait, credentials in hand, for everyone else's first window.
        Ok(if has_more { Next::Window } else { Next::Ended(Outcome::Exported) })
    }

    /// Goes on by the records as they are now, since they are no longer as they were read. That is no failure.
    async fn read_anew(
        &self,
        run: Run<'_>,
        tenant: &mut TenantRun<B::Bucket>,
        window: Window,
    ) -> Result<Next, Failure> {
        let records = self.tenants.load_one(&tenant.config.tenant).await?;
        self.go_on(run, tenant, window, records)
    }

    fn go_on(
        &self,
        run: Run<'_>,
        tenant: &mut TenantRun<B::Bucket>,
        window: Window,
        records: TenantRecords,
    ) -> Result<Next, Failure> {
        if tenant.held.lease.is_some() && !tenant.held.holds(&records) {
            tenant.held.lease = None;
            return Err(lease_lost());
        }
        tracing::info!(window = %window, "the tenant's records have changed, and are read anew");
        tenant.held.has_notifications |= records.has_notifications;
        if tenant.held.in_doubt {
            // Another reading under the same keys could be overwritten by it.
            return Ok(deferred(
                window,
                Deferral::ToTheNextTick,
                "an object may still be stored as it was read before",
            ));
        }
        tenant.conflicts += 1;
        if tenant.conflicts >= MAX_CONFLICTS {
            return Ok(deferred(window, Deferral::ToTheNextTick, "the tenant's records keep changing"));
        }
        match TenantRun::<B::Bucket>::new(tenant.config.tenant.clone(), records, run) {
            Ok(None) => Ok(Next::Ended(Outcome::Exported)),
            Ok(Some(fresh)) => {
                tenant.go_on_from(fresh);
                Ok(Next::Window)
            }
            Err(refused) => {
                let InvalidTenant { failure, held, .. } = *refused;
                if let Some(held) = held {
                    (tenant.held.watermark, tenant.held.health) = (held.watermark, held.health);
                }
                Err(failure)
            }
        }
    }
}

/// Whether a commit whose answer is not known has moved the watermark.
fn is_committed(is_held: bool, releases: bool, after: Schedule, records: &TenantRecords) -> bool {
    let until = records.watermark.as_ref().and_then(|watermark| watermark.exported_until.as_deref());
    let is_ours = is_held || releases && records.lease.is_none();
    is_ours && until == Some(timestamp::seconds(after.exported_until).as_str())
}

/// A customer's failure is the customer's to mend, and no error of the platform's.
pub(super) fn log(tenant: &str, window: Option<Window>, failure: &Failure) {
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

fn exported<Bucket>(tenant: &mut TenantRun<Bucket>, receipt: &Receipt) {
    let Counts { events, objects, bytes, late } = &mut tenant.counts;
    *events += receipt.events();
    *objects += receipt.objects.len() as u64;
    *bytes += receipt.bytes();
    *late += receipt.late;
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
        tracing::warn!(tenant = %id, window = %window, late = receipt.late, "events came too late for the window before this one, and their minutes were delivered again: their writer took longer than the settle contract allows");
    }
    if let Some(loss) = receipt.loss() {
        log(id.as_str(), Some(window), &loss);
        tenant.loss = Some(loss);
    }
}

fn deferred(window: Window, deferral: Deferral, why: &str) -> Next {
    tracing::info!(window = %window, why, "deferred");
    Next::Ended(Outcome::Deferred(deferral))
}

fn leased(until: DateTime<Utc>) {
    tracing::info!(until = %timestamp::seconds(until), why = "another run has the tenant's lease", "deferred");
}
