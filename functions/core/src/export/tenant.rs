//! One tenant's part of a run: its next window, the commit, and what is said when it fails.

use chrono::{DateTime, Utc};

use super::{
    Export, Run,
    report::{End, Tally},
    window::GivenUp,
};
use crate::{
    failure::{Code, Failure, Party},
    ports::{Buckets, Conditional, Events, Tenants},
    records::{Receipt, StoredWatermark, TenantRecords},
    schedule::{Readiness, Schedule, Window, readiness},
    settings::{FieldErrors, TenantConfig},
    tenant::TenantId,
};

/// A tenant in the middle of a run.
pub(super) struct TenantExport<Bucket> {
    pub(super) config: TenantConfig,
    /// The tenant's bucket with its credentials, once something was stored; dropped with this.
    pub(super) bucket: Option<Bucket>,
    pub(super) watermark: StoredWatermark,
    pub(super) schedule: Schedule,
    windows: u32,
    pub(super) lost_races: u32,
    events: u64,
    objects: u64,
    bytes: u64,
    /// A failure that did not keep the windows from being exported, but must not be quiet either.
    loss: Option<Failure>,
}

/// A due tenant that can't be exported as its records are.
pub(super) struct Refused {
    tenant: String,
    pub(super) failure: Failure,
    /// Where to note the failure, if there is a record to note it on.
    pub(super) watermark: Option<(TenantId, StoredWatermark)>,
}

impl Refused {
    /// Of a tenant whose records could not be read.
    pub(super) fn unread(tenant: String, failure: Failure) -> Self {
        Self { tenant, failure, watermark: None }
    }
}

/// A tenant whose turn has not come.
pub(super) enum Waiting<Bucket> {
    Export(Box<TenantExport<Bucket>>),
    Refused(Refused),
}

/// What came of a turn.
pub(super) enum Progress<Bucket> {
    /// Another window is due.
    More(Box<TenantExport<Bucket>>),
    /// Nothing more in this run.
    Ended(Tally),
}

/// How a window went.
pub(super) enum Step {
    More,
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
            Err(failure) => {
                let watermark = Some((tenant.clone(), watermark));
                Err(Box::new(Refused { tenant: tenant.to_string(), failure, watermark }))
            }
        }
    }

    /// When the tenant's next window came due.
    pub(super) fn due_since(&self) -> DateTime<Utc> {
        self.schedule.next_due
    }

    fn into_tally(self, now: DateTime<Utc>, end: End) -> Tally {
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
    /// Takes a tenant's turn: its next window, or the record of why it has none.
    pub(super) async fn advance(&self, run: Run<'_>, waiting: Waiting<B::Bucket>) -> Progress<B::Bucket> {
        let mut tenant = match waiting {
            Waiting::Export(tenant) => tenant,
            Waiting::Refused(Refused { tenant, failure, watermark }) => {
                log(&tenant, None, &failure);
                if let Some((tenant, watermark)) = watermark {
                    self.note_failure(run, &tenant, &watermark, &failure).await;
                }
                return Progress::Ended(Tally::failed(tenant, failure));
            }
        };
        let end = match self.next_window(run, &mut tenant).await {
            Ok(Step::More) => return Progress::More(tenant),
            Ok(Step::Ended(end)) => end,
            Err(failure) => {
                let id = &tenant.config.tenant;
                log(id.as_str(), tenant.schedule.due_window(run.tick), &failure);
                self.note_failure(run, id, &tenant.watermark, &failure).await;
                End::Failed(failure)
            }
        };
        Progress::Ended(tenant.into_tally((run.now)(), end))
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

    /// Notes a failure on the watermark. If even that fails, the log and the answer still have it.
    async fn note_failure(&self, run: Run<'_>, tenant: &TenantId, watermark: &StoredWatermark, failure: &Failure) {
        match self.tenants.record_failure(tenant, watermark, failure, (run.now)()).await {
            Ok(Conditional::Written | Conditional::LostRace) => {}
            Err(error) => {
                let Failure { code, message, .. } = error;
                tracing::error!(tenant = %tenant, code = %code, reason = message, "the failure could not be noted");
            }
        }
    }
}

fn log(tenant: &str, window: Option<Window>, failure: &Failure) {
    let Failure { code, party, message } = failure;
    let window = window.map(tracing::field::display);
    tracing::error!(tenant, window, code = %code, party = %party, reason = message, hint = code.hint(), "failed");
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
        log(id.as_str(), Some(window), &loss);
        tenant.loss = Some(loss);
    }
}

pub(super) fn deferred<Bucket>(tenant: &TenantExport<Bucket>, window: Window, why: &str) -> Step {
    tracing::info!(tenant = %tenant.config.tenant, window = %window, why, "deferred");
    Step::Ended(End::Deferred)
}
