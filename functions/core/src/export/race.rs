//! What a run does when somebody else got there first.

use super::{
    Export, Run,
    report::End,
    tenant::{Step, TenantExport, deferred},
    window::GivenUp,
};
use crate::{
    failure::Failure,
    ports::{Buckets, Conditional, Events, Tenants},
    records::Receipt,
    schedule::Window,
};

/// How often a run lets itself be overtaken at one tenant before it leaves the tenant to the other run.
const MAX_LOST_RACES: u32 = 3;

/// How often a run that was overtaken stores a window again because the winner's bytes were others.
const MAX_RESTORES: u32 = 3;

impl<T: Tenants, E: Events, B: Buckets> Export<T, E, B> {
    /// Somebody else moved the watermark, saved the settings or disconnected the tenant. That is no failure; but if
    /// both stored this window and their bytes differ, ours may be the older ones and now lie over theirs. So the
    /// window is read and stored once more, until receipt and bucket agree.
    pub(super) async fn after_lost_race(
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
                if let Some((_, watermark)) = refused.watermark {
                    tenant.watermark = watermark;
                }
                Err(refused.failure)
            }
        }
    }
}
