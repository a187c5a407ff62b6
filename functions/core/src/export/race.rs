//! What a run does when somebody else got there first.

use super::{
    Export, Run,
    report::End,
    tenant::{Step, TenantExport, deferred, log},
    window::{GivenUp, Why},
};
use crate::{
    failure::{Code, Failure},
    ports::{Buckets, Conditional, Events, Tenants},
    records::{Receipt, ReceiptDigest, StoredObject, TenantRecords},
    schedule::Window,
};

/// How often a run lets itself be overtaken at one tenant before it leaves the tenant to the other run.
const MAX_LOST_RACES: u32 = 3;

/// How often a run stores a window again because its receipt tells of other bytes.
const MAX_RESTORES: u32 = 3;

/// What a run has stored of a window that somebody else may have committed.
pub(super) enum Stored<'a> {
    All(Receipt),
    /// The first objects, in a bucket.
    Part(&'a str, &'a [StoredObject]),
}

impl Stored<'_> {
    fn disagrees_with(&self, receipt: &ReceiptDigest) -> bool {
        match self {
            Self::All(stored) => receipt.is_replaced_by(stored),
            Self::Part(bucket, objects) => receipt.is_overlaid_by(bucket, objects),
        }
    }
}

impl<T: Tenants, E: Events, B: Buckets> Export<T, E, B> {
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
            return Ok(deferred(window, "another run is exporting this tenant"));
        }
        let records = self.records(tenant).await?;
        match TenantExport::<B::Bucket>::new(tenant.config.tenant.clone(), records, run) {
            Ok(None) => Ok(Step::Ended(End::Exported)),
            Ok(Some(fresh)) => {
                tenant.go_on_from(fresh);
                Ok(Step::More)
            }
            Err(refused) => {
                if let Some((_, watermark)) = refused.watermark {
                    tenant.watermark = watermark;
                }
                Err(refused.failure)
            }
        }
    }

    /// If a window is committed and we stored other bytes over its objects, ours may be the older ones. So the window
    /// is read and stored once more, by the settings as they are now, until receipt and bucket agree.
    pub(super) async fn agree_with_receipt(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<B::Bucket>,
        window: Window,
        mut stored: Stored<'_>,
    ) -> Result<(), Failure> {
        // However little time is left, wrong bytes must not stay: only the end of the process stops this.
        let to_the_end = Run { should_stop: &|| false, ..run };
        for _ in 0..MAX_RESTORES {
            let Some(receipt) = self.tenants.receipt(&tenant.config.tenant, window.to).await? else { return Ok(()) };
            if !stored.disagrees_with(&receipt) {
                return Ok(());
            }
            let records = self.records(tenant).await?;
            tenant.take_records(records, run);
            let mut anew = match self.store_window(to_the_end, tenant, window).await {
                Ok(anew) => anew,
                Err(GivenUp { why: Why::Failed(failure), .. }) => return Err(failure),
                Err(GivenUp { why: Why::OutOfTime | Why::Overtaken, .. }) => continue,
            };
            if anew.events() < receipt.events {
                // What was deleted since the receipt can't be brought back, but it must not look complete.
                anew.gap = true;
                tenant.loss = anew.loss().inspect(|loss| log(tenant.config.tenant.as_str(), Some(window), loss));
            }
            if !receipt.is_replaced_by(&anew)
                || self.tenants.amend_receipt(&tenant.config.tenant, &receipt, &anew).await? == Conditional::Written
            {
                return Ok(());
            }
            stored = Stored::All(anew);
        }
        let message = format!("Other runs kept storing the window {window}; its receipt may tell of other bytes.");
        Err(Failure::new(Code::Unavailable, message))
    }

    async fn records(&self, tenant: &TenantExport<B::Bucket>) -> Result<TenantRecords, Failure> {
        let records = self.tenants.load(std::slice::from_ref(&tenant.config.tenant)).await?;
        Ok(records.into_iter().next().map(|(_, records)| records).unwrap_or_default())
    }
}
