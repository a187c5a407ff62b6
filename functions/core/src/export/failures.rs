//! What a run records of a failure, and what it announces of failures and their end.
//!
//! The audit event and the notification are stored in the very transaction that notes the failure, or that commits the window
//! which ends it. So each is announced exactly when it is true, and nobody has to remember what was announced before.

use super::{
    Export, Run,
    held_lease::{HeldLease, not_done},
};
use crate::{
    failure::Failure,
    new_event::Stamp,
    ports::{Bus, Conditional, FailureRecord, Tenants},
    system_events::FailingExport,
};

impl<T: Tenants, E, B, N: Bus> Export<T, E, B, N> {
    /// Notes a failure on the watermark, and announces the first one, and one that lasts. Without a lease, the record is
    /// another run's; if it can't be noted, the log and the answer still have the failure, and the next run announces its own.
    pub(super) async fn note_failure(&self, run: Run<'_>, held: &mut HeldLease, failure: &Failure) {
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
        let announcement = health.to_announce(at).map(|days| failing(days).announce(self.stamp(run)));
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
            Err(error) => not_done(tenant, &error, "the failure could not be noted"),
        }
    }
}

impl<T, E, B, N> Export<T, E, B, N> {
    pub(super) fn stamp(&self, run: Run<'_>) -> Stamp {
        Stamp { at: (run.now)(), retention: self.options.retention }
    }
}
