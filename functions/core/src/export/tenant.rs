//! A tenant in the middle of a run, and those that wait for their turn.

use std::sync::{Arc, atomic::AtomicU64};

use chrono::{DateTime, Utc};

use super::{
    Run,
    held_lease::HeldLease,
    report::{Counts, Deferral, Outcome, TenantReport},
};
use crate::{
    failure::{Code, Failure, Party},
    records::TenantRecords,
    schedule::Schedule,
    settings::{FieldErrors, TenantConfig},
    tenant::TenantId,
    timestamp,
};

/// A tenant in the middle of a run.
pub(super) struct TenantRun<Bucket> {
    pub(super) config: TenantConfig,
    /// The tenant's bucket with its credentials, once something was stored; dropped with this.
    pub(super) bucket: Option<Bucket>,
    pub(super) held: HeldLease,
    pub(super) schedule: Schedule,
    /// When config and connection were last known to be as they are here.
    pub(super) read_at: DateTime<Utc>,
    pub(super) windows: u32,
    /// How often the records were no longer as they had been read.
    pub(super) conflicts: u32,
    pub(super) counts: Counts,
    /// How many files of windows that are not committed yet the whole run has stored: those count, even if it is cut off.
    pub(super) kept: Arc<AtomicU64>,
    /// A failure that did not keep the windows from being exported, but must not be quiet either.
    pub(super) loss: Option<Failure>,
}

/// A due tenant that can't be exported as its records are.
pub(super) struct InvalidTenant {
    pub(super) tenant: String,
    pub(super) failure: Failure,
    /// Where to note the failure, if there is a record to note it on.
    pub(super) held: Option<HeldLease>,
}

impl InvalidTenant {
    /// Of a tenant whose records could not be read.
    pub(super) fn unread(tenant: String, failure: Failure) -> Box<Self> {
        Box::new(Self { tenant, failure, held: None })
    }

    pub(super) fn into_tally(self, run: Run<'_>, end: Option<Outcome>) -> TenantReport {
        let Self { tenant, failure, held } = self;
        let mut tally = TenantReport::failed(tenant, failure);
        tally.end = end.unwrap_or(tally.end);
        let Some(HeldLease { watermark, health, .. }) = held else { return tally };
        let stands = watermark.exported_until.as_deref().and_then(timestamp::parse_seconds);
        tally.lag = stands.map_or(tally.lag, |exported_until| (run.now)() - exported_until);
        tally.was_failing = health.failing_since.is_some();
        tally
    }
}

/// A tenant whose turn has not come.
pub(super) enum Waiting<Bucket> {
    Export(Box<TenantRun<Bucket>>),
    Invalid(Box<InvalidTenant>),
}

impl<Bucket> Waiting<Bucket> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Export(tenant) => tenant.config.tenant.as_str(),
            Self::Invalid(refused) => &refused.tenant,
        }
    }

    /// What this run holds of the tenant, if it could read its records.
    pub(super) fn held(&self) -> Option<&HeldLease> {
        match self {
            Self::Export(tenant) => Some(&tenant.held),
            Self::Invalid(refused) => refused.held.as_ref(),
        }
    }

    /// Leaves the tenant for a later tick, since it keeps failing.
    pub(super) fn back_off(self, run: Run<'_>) -> TenantReport {
        tracing::info!("deferred: exports have failed for more than a day, and are tried every six hours");
        let end = Outcome::Deferred(Deferral::Backoff);
        match self {
            Self::Export(tenant) => tenant.into_tally(run, end),
            Self::Invalid(refused) => refused.into_tally(run, Some(end)),
        }
    }
}

/// What came of a turn.
pub(super) enum Progress<Bucket> {
    /// Another window is due.
    More(Box<TenantRun<Bucket>>),
    /// Nothing more in this run.
    Ended(TenantReport),
}

/// How a window went.
pub(super) enum Next {
    Window,
    Ended(Outcome),
}

impl<Bucket> TenantRun<Bucket> {
    /// A due tenant, or none if the index was out of date: the tenant isn't due, or isn't connected.
    pub(super) fn new(
        tenant: TenantId,
        records: TenantRecords,
        run: Run<'_>,
    ) -> Result<Option<Self>, Box<InvalidTenant>> {
        let TenantRecords { config, watermark, health, has_notifications, lease: _ } = records;
        let Some(watermark) = watermark.filter(|watermark| watermark.due_shard.is_some()) else {
            return Ok(None);
        };
        let checked = watermark.schedule().map_err(FieldErrors::into_failure).and_then(|schedule| {
            let missing = || Failure::by(Party::Platform, Code::ConfigInvalid, "The tenant has no record `config`.");
            let config = config.ok_or_else(missing)?;
            Ok((schedule, config.check(&tenant, run.platform).map_err(FieldErrors::into_failure)?))
        });
        let held = HeldLease::new(tenant, watermark, health, has_notifications);
        match checked {
            Ok((schedule, _)) if schedule.due_window(run.tick).is_none() => Ok(None),
            Ok((schedule, config)) => Ok(Some(Self {
                config,
                bucket: None,
                held,
                schedule,
                read_at: (run.now)(),
                windows: 0,
                conflicts: 0,
                counts: Counts::default(),
                kept: Arc::default(),
                loss: None,
            })),
            Err(failure) => Err(Box::new(InvalidTenant { tenant: held.tenant.to_string(), failure, held: Some(held) })),
        }
    }

    /// The same, counting where the whole run does.
    pub(super) fn counting(mut self, kept: &Arc<AtomicU64>) -> Self {
        self.kept = Arc::clone(kept);
        self
    }

    /// Replaces what was read of the tenant; the lease stays, and what was done under it.
    pub(super) fn go_on_from(&mut self, Self { config, held, schedule, read_at, .. }: Self) {
        // The bucket's credentials were made for the settings as they were.
        if config != self.config {
            self.bucket = None;
        }
        self.config = config;
        (self.schedule, self.read_at) = (schedule, read_at);
        (self.held.watermark, self.held.health) = (held.watermark, held.health);
    }

    pub(super) fn into_tally(self, run: Run<'_>, end: Outcome) -> TenantReport {
        let now = (run.now)();
        let end = match (end, self.loss) {
            (end @ Outcome::Failed(_), _) | (end, None) => end,
            (_, Some(loss)) => Outcome::Failed(loss),
        };
        TenantReport {
            tenant: self.config.tenant.to_string(),
            counts: self.counts,
            lag: now - self.schedule.exported_until,
            late: now - self.schedule.next_due,
            is_stuck: self.held.is_stuck(run, self.schedule.next_due),
            was_failing: self.held.health.failing_since.is_some(),
            end,
        }
    }
}
