//! The due tenants of a run, before and while they are exported.

use std::sync::{Arc, atomic::AtomicU64};

use chrono::{DateTime, Utc};

use super::{
    Run,
    held_lease::HeldLease,
    report::{Counts, Outcome, TenantReport},
};
use crate::{
    failure::{Code, Failure, Party},
    records::TenantRecords,
    schedule::Schedule,
    settings::{FieldErrors, TenantConfig},
    tenant::TenantId,
    timestamp,
};

/// A due tenant with valid records.
pub(super) struct TenantRun<Bucket> {
    pub(super) config: TenantConfig,
    /// The tenant's bucket with its credentials, once something was stored; dropped with the tenant.
    pub(super) bucket: Option<Bucket>,
    pub(super) held: HeldLease,
    pub(super) schedule: Schedule,
    /// When config and connection were last known to be as they are here.
    pub(super) read_at: DateTime<Utc>,
    /// Windows that this run committed.
    pub(super) windows: u32,
    /// How often the records were no longer as they had been read.
    pub(super) conflicts: u32,
    pub(super) counts: Counts,
    /// Files that the whole run has stored of windows that are not committed. They count even if the run is cut off.
    pub(super) uncommitted_objects: Arc<AtomicU64>,
    /// A failure to report although the windows were exported.
    pub(super) loss: Option<Failure>,
}

/// A due tenant that can't be exported as its records are.
pub(super) struct InvalidTenant {
    pub(super) tenant: String,
    pub(super) failure: Failure,
    /// Where to note the failure; none if there is no record to note it on.
    pub(super) held: Option<HeldLease>,
}

impl InvalidTenant {
    /// A tenant whose records could not be read.
    pub(super) fn unread(tenant: String, failure: Failure) -> Box<Self> {
        Box::new(Self { tenant, failure, held: None })
    }

    /// Reports the tenant as failed, unless there is another outcome.
    pub(super) fn into_report(self, run: Run<'_>, outcome: Option<Outcome>) -> TenantReport {
        let Self { tenant, failure, held } = self;
        let mut report = TenantReport::failed(tenant, failure);
        report.outcome = outcome.unwrap_or(report.outcome);
        let Some(HeldLease { watermark, health, .. }) = held else { return report };
        let exported_until = watermark.exported_until.as_deref().and_then(timestamp::parse_seconds);
        report.lag = exported_until.map_or(report.lag, |exported_until| (run.now)() - exported_until);
        report.was_failing = health.failing_since.is_some();
        report
    }
}

pub(super) enum DueTenant<Bucket> {
    Valid(Box<TenantRun<Bucket>>),
    Invalid(Box<InvalidTenant>),
}

impl<Bucket> DueTenant<Bucket> {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Valid(tenant) => tenant.config.tenant.as_str(),
            Self::Invalid(invalid) => &invalid.tenant,
        }
    }

    /// None if the tenant's records could not be read.
    pub(super) fn held(&self) -> Option<&HeldLease> {
        match self {
            Self::Valid(tenant) => Some(&tenant.held),
            Self::Invalid(invalid) => invalid.held.as_ref(),
        }
    }

    pub(super) fn into_report(self, run: Run<'_>, outcome: Outcome) -> TenantReport {
        match self {
            Self::Valid(tenant) => tenant.into_report(run, outcome),
            Self::Invalid(invalid) => invalid.into_report(run, Some(outcome)),
        }
    }
}

/// How it goes on with a tenant after one window.
pub(super) enum AdvanceResult<Bucket> {
    /// With another window.
    More(Box<TenantRun<Bucket>>),
    /// Not in this run.
    Ended(TenantReport),
}

impl<Bucket> TenantRun<Bucket> {
    /// Checks a due tenant's records. None if the index was out of date: the tenant isn't due, or isn't connected.
    pub(super) fn new(
        tenant: TenantId,
        records: TenantRecords,
        run: Run<'_>,
        uncommitted_objects: Arc<AtomicU64>,
    ) -> Result<Option<Self>, Box<InvalidTenant>> {
        let TenantRecords {
            config,
            setup_draft: _,
            watermark,
            health,
            has_notifications,
            verified_version: _,
            lease: _,
            final_deliveries: _,
        } = records;
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
                uncommitted_objects,
                loss: None,
            })),
            Err(failure) => Err(Box::new(InvalidTenant { tenant: held.tenant.to_string(), failure, held: Some(held) })),
        }
    }

    /// Replaces what was read of the tenant. The lease stays, and what was done under it.
    pub(super) fn update_from(&mut self, Self { config, held, schedule, read_at, .. }: Self) {
        // The bucket's credentials were made for the former settings.
        if config != self.config {
            self.bucket = None;
        }
        (self.config, self.schedule, self.read_at) = (config, schedule, read_at);
        (self.held.watermark, self.held.health) = (held.watermark, held.health);
    }

    pub(super) fn into_report(self, run: Run<'_>, outcome: Outcome) -> TenantReport {
        let now = (run.now)();
        let outcome = match (outcome, self.loss) {
            (outcome @ Outcome::Failed(_), _) | (outcome, None) => outcome,
            (_, Some(loss)) => Outcome::Failed(loss),
        };
        TenantReport {
            tenant: self.config.tenant.to_string(),
            counts: self.counts,
            lag: now - self.schedule.exported_until,
            overdue: now - self.schedule.next_due,
            is_stuck: self.held.is_stuck(run, self.schedule.next_due),
            was_failing: self.held.health.failing_since.is_some(),
            outcome,
        }
    }
}
