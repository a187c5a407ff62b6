//! One tenant's part of a run: its next window, the commit, and what to do when somebody else committed first.

use chrono::{DateTime, Utc};

use super::{
    Export, Run,
    report::{End, Tally},
    window::GivenUp,
};
use crate::{
    failure::{Code, Failure, Party},
    ports::{Buckets, Conditional, Events, Receipt, StoredWatermark, TenantRecords, Tenants},
    schedule::{Readiness, Schedule, Window, readiness},
    settings::{FieldErrors, TenantConfig},
    tenant::TenantId,
};

/// How often a run lets itself be overtaken at one tenant before it leaves the tenant to the other run.
const MAX_LOST_RACES: u32 = 3;

/// How often a run that was overtaken stores a window again because the winner's bytes were others.
const MAX_RESTORES: u32 = 3;

/// A tenant in the middle of a run.
pub(super) struct TenantExport<Bucket> {
    pub(super) config: TenantConfig,
    /// The tenant's bucket with its credentials, once something was stored; dropped with this.
    pub(super) bucket: Option<Bucket>,
    watermark: StoredWatermark,
    schedule: Schedule,
    windows: u32,
    lost_races: u32,
    events: u64,
    objects: u64,
    bytes: u64,
    /// A failure that did not keep the windows from being exported, but must not be quiet either.
    loss: Option<Failure>,
}

/// A due tenant that can't be exported as its records are.
pub(super) struct Refused {
    pub(super) tenant: TenantId,
    pub(super) watermark: StoredWatermark,
    pub(super) failure: Failure,
}

/// What comes after a window.
pub(super) enum Step {
    /// Another window may be due.
    More,
    /// Nothing, in this run.
    Ended(End),
}

impl<Bucket> TenantExport<Bucket> {
    /// A due tenant, or none if the index was out of date: the tenant isn't due, or isn't connected.
    pub(super) fn new(tenant: TenantId, records: TenantRecords, run: Run<'_>) -> Result<Option<Self>, Box<Refused>> {
        let Some(watermark) = records.watermark.filter(|watermark| watermark.due_shard.is_some()) else {
            return Ok(None);
        };
        let checked = watermark.schedule().map_err(FieldErrors::into_failure).and_then(|schedule| {
            let missing = || Failure::by(Party::Platform, Code::ConfigInvalid, "The tenant has no record `config`.");
            let config = records.config.ok_or_else(missing)?;
            Ok((schedule, config.check(&tenant, run.platform).map_err(FieldErrors::into_failure)?))
        });
        match checked {
            Ok((schedule, _)) if schedule.due_window(run.tick).is_none() => Ok(None),
            Ok((schedule, config)) => Ok(Some(Self {
                config,
                bucket: None,
                watermark,
                schedule,
                windows: 0,
                lost_races: 0,
                events: 0,
                objects: 0,
                bytes: 0,
                loss: None,
            })),
            Err(failure) => Err(Box::new(Refused { tenant, watermark, failure })),
        }
    }

    pub(super) fn into_tally(self, now: DateTime<Utc>, end: End) -> Tally {
        let end = match (end, self.loss) {
            (end @ End::Failed(_), _) | (end, None) => end,
            (_, Some(loss)) => End::Failed(loss),
        };
        Tally {
            tenant: self.config.tenant.to_string(),
            events: self.events,
            objects: self.objects,
            bytes: self.bytes,
            lag: now - self.schedule.exported_until,
            end,
        }
    }
}

impl<T: Tenants, E: Events, B: Buckets> Export<T, E, B> {
    /// Exports the tenant's next window, if one is due and can be read yet.
    pub(super) async fn step(
        &self,
        run: Run<'_>,
        mut tenant: TenantExport<B::Bucket>,
    ) -> (TenantExport<B::Bucket>, Step) {
        let step = match self.next_window(run, &mut tenant).await {
            Ok(step) => step,
            Err(failure) => {
                let window = tenant.schedule.due_window(run.tick);
                self.note_failure(run, &tenant.config.tenant, window, &tenant.watermark, &failure).await;
                Step::Ended(End::Failed(failure))
            }
        };
        (tenant, step)
    }

    async fn next_window(&self, run: Run<'_>, tenant: &mut TenantExport<B::Bucket>) -> Result<Step, Failure> {
        let Some(window) = tenant.schedule.due_window(run.tick) else { return Ok(Step::Ended(End::Exported)) };
        if tenant.windows >= self.options.max_windows {
            return Ok(deferred(tenant, window, "the tenant is further behind than one run catches up"));
        }
        match readiness(window, (run.now)(), self.options.settle) {
            Readiness::Settled => {}
            Readiness::In(wait) => tokio::time::sleep(wait.to_std().unwrap_or_default()).await,
            Readiness::NextTick => return Ok(deferred(tenant, window, "the window has not settled")),
        }
        if (run.should_stop)() {
            return Ok(deferred(tenant, window, "the remaining time is too short"));
        }
        let receipt = match self.store_window(run, tenant, window).await {
            Ok(receipt) => receipt,
            Err(GivenUp::OutOfTime) => return Ok(deferred(tenant, window, "the time ran out")),
            Err(GivenUp::Failed(failure)) => return Err(failure),
        };
        tenant.windows += 1;
        let after = tenant.schedule.advance(tenant.config.frequency);
        match self.tenants.commit(&tenant.config, &tenant.watermark, after, &receipt).await? {
            Conditional::Written => {
                tenant.watermark = tenant.watermark.at(after);
                tenant.schedule = after;
                exported(tenant, &receipt);
                // Whoever has nothing left to do must not wait, credentials in hand, for everyone else's first window.
                let more = after.due_window(run.tick).is_some();
                Ok(if more { Step::More } else { Step::Ended(End::Exported) })
            }
            Conditional::LostRace => self.after_lost_race(run, tenant, window, receipt).await,
        }
    }

    /// Somebody else moved the watermark, saved the settings or disconnected the tenant. That is no failure; but if
    /// both stored this window and their bytes differ, ours may be the older ones and now lie over theirs. So the
    /// window is read and stored once more, until receipt and bucket agree.
    async fn after_lost_race(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        mut stored: Receipt,
    ) -> Result<Step, Failure> {
        tracing::info!(tenant = %tenant.config.tenant, window = %window, "another run or a save came first");
        // However little time is left, wrong bytes must not stay: only the end of the process stops this.
        let to_the_end = Run { should_stop: &|| false, ..run };
        for _ in 0..MAX_RESTORES {
            let Some(winners) = self.tenants.receipt(&tenant.config.tenant, window.to).await? else { break };
            if !winners.same_destination(&stored) || winners.same_bytes(&stored) {
                break;
            }
            stored = match self.store_window(to_the_end, tenant, window).await {
                Ok(stored) => stored,
                Err(GivenUp::OutOfTime) => break,
                Err(GivenUp::Failed(failure)) => return Err(failure),
            };
            if winners.same_bytes(&stored)
                || self.tenants.amend_receipt(&tenant.config.tenant, &winners, &stored).await? == Conditional::Written
            {
                break;
            }
        }
        tenant.lost_races += 1;
        self.reload(run, tenant, window).await
    }

    /// Goes on from the records as they are now.
    async fn reload(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
    ) -> Result<Step, Failure> {
        if tenant.lost_races >= MAX_LOST_RACES {
            return Ok(deferred(tenant, window, "another run is exporting this tenant"));
        }
        let id = tenant.config.tenant.clone();
        let records = self.tenants.load(std::slice::from_ref(&id)).await?;
        let records = records.into_iter().next().map(|(_, records)| records).unwrap_or_default();
        match TenantExport::<B::Bucket>::new(id, records, run) {
            Ok(None) => Ok(Step::Ended(End::Exported)),
            Ok(Some(fresh)) => {
                // The bucket's credentials were made for the settings as they were.
                if fresh.config != tenant.config {
                    tenant.bucket = None;
                }
                tenant.config = fresh.config;
                tenant.watermark = fresh.watermark;
                tenant.schedule = fresh.schedule;
                Ok(Step::More)
            }
            Err(refused) => {
                tenant.watermark = refused.watermark;
                Err(refused.failure)
            }
        }
    }

    /// Logs a failure and notes it on the watermark. If even that fails, the log and the answer still have it.
    pub(super) async fn note_failure(
        &self,
        run: Run<'_>,
        tenant: &TenantId,
        window: Option<Window>,
        watermark: &StoredWatermark,
        failure: &Failure,
    ) {
        let Failure { code, party, message } = failure;
        let window = window.map(tracing::field::display);
        tracing::error!(tenant = %tenant, window, code = %code, party = %party, message, "the export failed");
        match self.tenants.record_failure(tenant, watermark, failure, (run.now)()).await {
            Ok(Conditional::Written | Conditional::LostRace) => {}
            Err(error) => {
                tracing::error!(tenant = %tenant, code = %error.code, message = error.message, "the failure could not be noted");
            }
        }
    }
}

fn exported<Bucket>(tenant: &mut TenantExport<Bucket>, receipt: &Receipt) {
    tenant.events += receipt.events();
    tenant.objects += receipt.objects.len() as u64;
    tenant.bytes += receipt.bytes();
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
        "exported"
    );
    if receipt.gap {
        let message = format!(
            "The window {window} begins before the events' retention; some of its events may have been deleted before they were exported."
        );
        let loss = Failure::new(Code::RetentionExceeded, message);
        tracing::error!(tenant = %id, window = %window, code = %loss.code, party = %loss.party, message = loss.message, "exported with a gap");
        tenant.loss = Some(loss);
    }
}

fn deferred<Bucket>(tenant: &TenantExport<Bucket>, window: Window, why: &str) -> Step {
    tracing::info!(tenant = %tenant.config.tenant, window = %window, why, "deferred");
    Step::Ended(End::Deferred)
}
