//! What a run does when somebody else got there first.

use super::{
    Export, Run,
    repair::Repair,
    report::{Deferral, End},
    tenant::{Step, TenantExport},
    turn::deferred,
};
use crate::{
    failure::Failure,
    ports::{Buckets, Bus, Conditional, Events, Tenants},
    progress::{Covers, Progress},
    records::{Doubt, Receipt, ReceiptDigest, StoredObject},
    schedule::Window,
};

/// How often a run lets itself be overtaken at one tenant before it leaves the tenant to the other run.
const MAX_LOST_RACES: u32 = 3;

/// What a run has stored of a window that somebody else may have committed.
pub(super) enum Stored<'a> {
    All(Receipt),
    /// The first objects, in a bucket.
    Part(&'a str, &'a [StoredObject]),
    /// Whatever another run has left.
    Unknown,
}

impl Stored<'_> {
    pub(super) fn objects(&self) -> &[StoredObject] {
        match self {
            Self::All(receipt) => &receipt.objects,
            Self::Part(_, objects) => objects,
            Self::Unknown => &[],
        }
    }

    pub(super) fn disagrees_with(&self, receipt: &ReceiptDigest) -> bool {
        match self {
            Self::All(stored) => receipt.is_replaced_by(stored),
            Self::Part(..) if planted!(OverlaidIsOverlooked) => false,
            Self::Part(bucket, objects) => receipt.is_overlaid_by(bucket, objects),
            Self::Unknown => true,
        }
    }
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Goes on after somebody else moved the watermark, saved the settings or disconnected the tenant. That is no
    /// failure.
    pub(super) async fn after_lost_race(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        stored: Stored<'_>,
    ) -> Result<Step, Failure> {
        tracing::info!(window = %window, "another run or a save came first");
        self.agree_with_receipt(run, tenant, window, stored).await?;
        tenant.lost_races += 1;
        if tenant.lost_races >= MAX_LOST_RACES {
            return Ok(deferred(window, Deferral::ToTheNextTick, "another run is exporting this tenant"));
        }
        let records = self.tenants.load_one(&tenant.config.tenant).await?;
        match TenantExport::<B::Bucket>::new(tenant.config.tenant.clone(), records, run) {
            Ok(None) => Ok(Step::Ended(End::Exported)),
            Ok(Some(fresh)) => {
                tenant.go_on_from(fresh);
                Ok(Step::More)
            }
            Err(refused) => {
                if let Some((_, watermark, outcome)) = refused.watermark {
                    (tenant.watermark, tenant.outcome) = (watermark, outcome);
                }
                Err(refused.failure)
            }
        }
    }

    /// If a window is committed and we stored other bytes over its objects, ours may be the older ones. So the window
    /// is read and stored once more, by the settings as they are now, until receipt and bucket agree.
    ///
    /// # Errors
    /// If they may not agree in the end.
    pub(super) async fn agree_with_receipt(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        stored: Stored<'_>,
    ) -> Result<(), Failure> {
        let is_part = matches!(stored, Stored::Part(..));
        if stored.objects().is_empty() || planted!(LoserLooksAway) || planted!(PartsAreForgotten) && is_part {
            return Ok(());
        }
        let overlooked = planted!(WholeLosesToProgress) && !is_part;
        match self.is_kept_or_disturbed(tenant, window, stored.objects()).await {
            Ok(true) if !overlooked => return Ok(()),
            Ok(_) => {}
            Err(failure) => {
                // It may be committed unseen by now.
                self.leave_in_doubt(&tenant.config.tenant, Doubt::new(window, (run.now)())).await?;
                return Err(failure);
            }
        }
        self.repair(run, tenant, Repair::of(window, stored, Vec::new())).await
    }

    /// As long as a window is not committed, whoever may commit it must not do so over what this run has stored, unseen: it
    /// has to read and store again. What the watermark's own progress tells of is no matter: whoever comes next goes on
    /// from there, and true is the answer. Of a committed window, the receipt tells.
    async fn is_kept_or_disturbed(
        &self,
        tenant: &TenantExport<B::Bucket>,
        window: Window,
        stored: &[StoredObject],
    ) -> Result<bool, Failure> {
        let id = &tenant.config.tenant;
        for _ in 0..MAX_LOST_RACES {
            let stands = self.tenants.load_one(id).await?.watermark.unwrap_or_default();
            if stands.schedule().is_ok_and(|schedule| schedule.exported_until > window.from) {
                return Ok(false);
            }
            let kept = Progress::of(&stands, &tenant.config, window, self.options.max_object_bytes);
            let covers = kept.map_or(Covers::Otherwise, |kept| kept.covers(stored));
            if covers == Covers::All {
                return Ok(true);
            }
            // Files beyond the progress are stored again by whoever goes on from it.
            let progress = stands.progress.as_deref().filter(|_| covers == Covers::Part);
            if self.tenants.disturb(id, progress).await? == Conditional::Written {
                return Ok(false);
            }
        }
        self.tenants.disturb(id, None).await.map(|_| false)
    }
}
