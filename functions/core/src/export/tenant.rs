//! A tenant in the middle of a run, and those that wait for their turn.

use std::sync::{Arc, atomic::AtomicU64};

use chrono::{DateTime, Utc};

use super::{
    Run,
    report::{Counts, Deferral, End, Tally},
};
use crate::{
    failure::{Code, Failure, Party},
    records::{Doubt, Outcome, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{FieldErrors, TenantConfig},
    tenant::TenantId,
    timestamp,
};

/// A tenant in the middle of a run.
pub(super) struct TenantExport<Bucket> {
    pub(super) config: TenantConfig,
    /// The tenant's bucket with its credentials, once something was stored; dropped with this.
    pub(super) bucket: Option<Bucket>,
    pub(super) watermark: StoredWatermark,
    pub(super) schedule: Schedule,
    /// Windows that another run has left in doubt.
    pub(super) doubts: Vec<Doubt>,
    /// How exports went before this one.
    pub(super) outcome: Outcome,
    /// When config and watermark were last known to be as they are here.
    pub(super) read_at: DateTime<Utc>,
    pub(super) windows: u32,
    pub(super) lost_races: u32,
    pub(super) counts: Counts,
    /// How many files of windows that it may not commit itself the whole run has kept: those count, even if it is cut off.
    pub(super) kept: Arc<AtomicU64>,
    /// A failure that did not keep the windows from being exported, but must not be quiet either.
    pub(super) loss: Option<Failure>,
}

/// A due tenant that can't be exported as its records are.
pub(super) struct Refused {
    pub(super) tenant: String,
    pub(super) failure: Failure,
    /// Where to note the failure, and what is noted there, if there is a record to note it on.
    pub(super) watermark: Option<(TenantId, StoredWatermark, Outcome)>,
}

impl Refused {
    /// Of a tenant whose records could not be read.
    pub(super) fn unread(tenant: String, failure: Failure) -> Box<Self> {
        Box::new(Self { tenant, failure, watermark: None })
    }

    pub(super) fn into_tally(self, now: DateTime<Utc>) -> Tally {
        let Self { tenant, failure, watermark } = self;
        let mut tally = Tally::failed(tenant, failure);
        let Some((_, watermark, outcome)) = watermark else { return tally };
        let stands = watermark.exported_until.as_deref().and_then(timestamp::parse_seconds);
        tally.lag = stands.map_or(tally.lag, |exported_until| now - exported_until);
        tally.was_failing = outcome.failing_since.is_some();
        tally
    }
}

/// A tenant whose turn has not come.
pub(super) enum Waiting<Bucket> {
    Export(Box<TenantExport<Bucket>>),
    Refused(Box<Refused>),
}

impl<Bucket> Waiting<Bucket> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Export(tenant) => tenant.config.tenant.as_str(),
            Self::Refused(refused) => &refused.tenant,
        }
    }

    /// What came of the exports before.
    pub(super) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Export(tenant) => Some(&tenant.outcome),
            Self::Refused(refused) => refused.watermark.as_ref().map(|(_, _, outcome)| outcome),
        }
    }

    /// Leaves the tenant for a later tick.
    pub(super) fn put_off(self, now: DateTime<Utc>) -> Tally {
        tracing::info!("deferred: exports have failed for more than a day, and are tried every six hours");
        let end = End::Deferred(Deferral::Patience);
        match self {
            Self::Export(tenant) => tenant.into_tally(now, end),
            Self::Refused(refused) => Tally { end, ..refused.into_tally(now) },
        }
    }
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
                doubts: records.doubts,
                outcome: records.outcome,
                read_at: (run.now)(),
                windows: 0,
                lost_races: 0,
                counts: Counts::default(),
                kept: Arc::default(),
                loss: None,
            })),
            Err(failure) => {
                let watermark = Some((tenant.clone(), watermark, records.outcome));
                Err(Box::new(Refused { tenant: tenant.to_string(), failure, watermark }))
            }
        }
    }

    /// The same, counting where the whole run does.
    pub(super) fn counting(mut self, kept: &Arc<AtomicU64>) -> Self {
        self.kept = Arc::clone(kept);
        self
    }

    /// Replaces what was read of the tenant and keeps what was done for it.
    pub(super) fn go_on_from(&mut self, fresh: Self) {
        self.set_config(fresh.config);
        self.watermark = fresh.watermark;
        self.schedule = fresh.schedule;
        self.doubts = fresh.doubts;
        self.outcome = fresh.outcome;
        self.read_at = fresh.read_at;
    }

    /// Takes the records as they are now, to store a window that is committed already: whether the tenant is due does
    /// not matter for that, and a config that can't be used any more leaves the one that could.
    pub(super) fn take_records(&mut self, records: TenantRecords, run: Run<'_>) {
        if let Some(Ok(config)) = records.config.map(|config| config.check(&self.config.tenant, run.platform)) {
            self.set_config(config);
        }
        self.watermark = records.watermark.unwrap_or_default();
        self.outcome = records.outcome;
        self.read_at = (run.now)();
    }

    fn set_config(&mut self, config: TenantConfig) {
        // The bucket's credentials were made for the settings as they were.
        if config != self.config && !planted!(OldBucketAfterSave) {
            self.bucket = None;
        }
        self.config = config;
    }

    pub(super) fn into_tally(self, now: DateTime<Utc>, end: End) -> Tally {
        let end = match (end, self.loss) {
            (end @ End::Failed(_), _) | (end, None) => end,
            (_, Some(loss)) => End::Failed(loss),
        };
        Tally {
            tenant: self.config.tenant.to_string(),
            counts: self.counts,
            lag: now - self.schedule.exported_until,
            late: now - self.schedule.next_due,
            was_failing: self.outcome.failing_since.is_some(),
            end,
        }
    }
}
