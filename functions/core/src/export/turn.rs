//! A tenant's turn: its next window, the commit, and what is said of both.

use tracing::Instrument as _;

use super::{
    Export, Run,
    race::Stored,
    report::{Counts, Deferral, End},
    tenant::{Progress, Step, TenantExport, Waiting},
    window::{GivenUp, State, Why},
};
use crate::{
    failure::{Failure, Party},
    patience::Told,
    ports::{Buckets, Bus, Conditional, Events, Tenants},
    record::own,
    records::Receipt,
    schedule::{Readiness, Window, readiness},
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Takes a tenant's turn: its next window, or the record of why it has none. All that is logged meanwhile, also
    /// by the adapters, carries the tenant.
    pub(super) async fn advance(&self, run: Run<'_>, waiting: Waiting<B::Bucket>) -> Progress<B::Bucket> {
        let span = tracing::info_span!("export", tenant = waiting.id());
        self.turn(run, waiting).instrument(span).await
    }

    async fn turn(&self, run: Run<'_>, waiting: Waiting<B::Bucket>) -> Progress<B::Bucket> {
        if waiting.outcome().is_some_and(|outcome| !outcome.is_tried(run.tick)) {
            return Progress::Ended(waiting.put_off((run.now)()));
        }
        let mut tenant = match waiting {
            Waiting::Export(tenant) => tenant,
            Waiting::Refused(refused) => {
                log(&refused.tenant, None, &refused.failure);
                if let Some((tenant, watermark, outcome)) = &refused.watermark {
                    self.note_failure(run, tenant, (watermark, outcome), &refused.failure).await;
                }
                return Progress::Ended(refused.into_tally((run.now)()));
            }
        };
        let end = match self.next_window(run, &mut tenant).await {
            Ok(Step::More) => return Progress::More(tenant),
            // In a turn of its own: what is exported counts, even if the repair is cut off.
            Ok(Step::Ended(End::Exported)) if !tenant.doubts.is_empty() && tenant.counts != Counts::default() => {
                return Progress::More(tenant);
            }
            Ok(Step::Ended(End::Exported)) => {
                if let Err(failure) = self.settle_doubts(run, &mut tenant).await {
                    tenant.loss = Some(failure);
                }
                End::Exported
            }
            Ok(Step::Ended(end)) => end,
            Err(failure) => {
                let id = &tenant.config.tenant;
                log(id.as_str(), tenant.schedule.due_window(run.tick), &failure);
                self.note_failure(run, id, (&tenant.watermark, &tenant.outcome), &failure).await;
                End::Failed(failure)
            }
        };
        Progress::Ended(tenant.into_tally((run.now)(), end))
    }

    async fn next_window(&self, run: Run<'_>, tenant: &mut TenantExport<B::Bucket>) -> Result<Step, Failure> {
        let Some(window) = tenant.schedule.due_window(run.tick) else { return Ok(Step::Ended(End::Exported)) };
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
        let receipt = match self.store_window(run, tenant, window, State::Due).await {
            Ok(receipt) => receipt,
            Err(given_up) => return self.after_giving_up(run, tenant, window, given_up).await,
        };
        tenant.windows += 1;
        let after = tenant.schedule.advance(tenant.config.frequency);
        let recovered = (tenant.watermark.failing && !planted!(RecoveryIsUntold))
            .then(|| own::export_recovered(&tenant.config.tenant, self.stamp(run), window));
        let commit = self.tenants.commit(&tenant.config, &tenant.watermark, after, &receipt, recovered.as_ref());
        let committed = match commit.await {
            Ok(committed) => committed,
            Err(failure) => {
                let given_up = GivenUp { why: Why::Failed(failure), stored: receipt.objects };
                return self.after_giving_up(run, tenant, window, given_up).await;
            }
        };
        match committed {
            Conditional::Written => {
                let was_failing = tenant.watermark.failing;
                tenant.watermark = tenant.watermark.after(&receipt, after);
                tenant.schedule = after;
                exported(tenant, &receipt);
                self.tell_the_end(run, tenant, window, was_failing).await;
                // Whoever has nothing left to do must not wait, credentials in hand, for everyone else's first window.
                let more = after.due_window(run.tick).is_some();
                Ok(if more { Step::More } else { Step::Ended(End::Exported) })
            }
            Conditional::LostRace => {
                // Perhaps to this very commit, whose answer was lost.
                if let Some(told) = tenant.outcome.told.as_deref().and_then(Told::parse) {
                    self.take_back(&tenant.config.tenant, told, false, (run.now)()).await;
                }
                self.after_lost_race(run, tenant, window, Stored::All(receipt)).await
            }
        }
    }

    async fn after_giving_up(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        GivenUp { why, stored }: GivenUp,
    ) -> Result<Step, Failure> {
        let bucket = tenant.config.bucket.to_string();
        let stored = Stored::Part(&bucket, &stored);
        match why {
            Why::Overtaken => self.after_lost_race(run, tenant, window, stored).await,
            Why::OutOfTime => {
                self.agree_with_receipt(run, tenant, window, stored).await?;
                Ok(deferred(window, Deferral::ToAnotherRun, "the time ran out"))
            }
            Why::Failed(failure) => {
                let as_read = (tenant.watermark.clone(), tenant.outcome.clone());
                if let Err(unmended) = self.agree_with_receipt(run, tenant, window, stored).await {
                    log(tenant.config.tenant.as_str(), Some(window), &unmended);
                }
                // The failure belongs to the watermark that the window was read by, and not to a later one.
                (tenant.watermark, tenant.outcome) = as_read;
                Err(failure)
            }
        }
    }
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

fn exported<Bucket>(tenant: &mut TenantExport<Bucket>, receipt: &Receipt) {
    tenant.counts.events += receipt.events();
    tenant.counts.objects += receipt.objects.len() as u64;
    tenant.counts.bytes += receipt.bytes();
    tenant.counts.late += receipt.late;
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
        tracing::warn!(tenant = %id, window = %window, late = receipt.late, "events came too late for the window before this one, and their minutes were delivered again: whoever wrote them took longer than the settle contract allows");
    }
    if let Some(loss) = receipt.loss() {
        log(id.as_str(), Some(window), &loss);
        tenant.loss = Some(loss);
    }
}

pub(super) fn deferred(window: Window, deferral: Deferral, why: &str) -> Step {
    tracing::info!(window = %window, why, "deferred");
    Step::Ended(End::Deferred(deferral))
}
