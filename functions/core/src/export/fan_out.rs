//! Fan-out: sends due tenants to other invocations through a queue, and exports the tenants of such batches.
//!
//! A batch is a hint, as the index is: what is exported follows from the tenants' own records. So a batch that comes
//! twice, late or out of order does no harm.

use std::collections::BTreeSet;

use super::{Export, Report, Run};
use crate::{
    batch::Batch,
    failure::Failure,
    ports::{Buckets, Bus, Events, Queue, Signer, Tenants},
    tenant::TenantId,
};

/// How batches ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchResult {
    /// What was done for all of them.
    pub report: Report,
    /// The positions of the batches that have to come again.
    pub failed: Vec<usize>,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Sends every due tenant to the queue, and every one with a pending final delivery. Exports none.
    ///
    /// # Errors
    /// If a shard of the index could not be read, or some tenants could not be sent. All others were sent, and the tick may
    /// be run again.
    pub async fn enqueue_due<Q: Queue>(&self, run: Run<'_>, queue: &Q) -> Result<Report, Failure> {
        let mut report = Report::new(run.tick);
        let (due, unreadable) = self.due(run, &mut report).await?;
        report.add_queued(due.len() as u64);
        let mut listed = due;
        self.add_final_deliveries(&mut listed).await;
        let unsent = queue.send(&Batch::split(run.tick, &listed)).await;
        match unreadable.or_else(|| unsent.into_iter().next().map(|(_, failure)| failure)) {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }

    /// Exports one tenant, as a batch of it alone. A failure is in the report and on the tenant's watermark, and the next tick
    /// tries again.
    pub async fn export_one<Q: Queue>(&self, run: Run<'_>, tenant: &TenantId, queue: Option<&Q>) -> Report {
        let batch = Batch { tick: run.tick, tenants: vec![tenant.to_string()] };
        self.export_batches(run, &[batch], queue).await.report
    }

    /// Exports the tenants of batches, as a tick does with those that are due.
    ///
    /// A batch fails for a failure of the platform, not for one of a customer. Tenants that this run has no time for are
    /// sent to the queue again. If this run made no progress at all, their batches fail instead: the queue counts that, and
    /// in the end moves them to its dead-letter queue.
    pub async fn export_batches<Q: Queue>(&self, run: Run<'_>, batches: &[Batch], queue: Option<&Q>) -> BatchResult {
        let mut report = Report::new(run.tick);
        let tenants: BTreeSet<String> = batches.iter().flat_map(|batch| &batch.tenants).cloned().collect();
        self.export_all(run, tenants.into_iter().collect(), &mut report).await;
        let mut failed: BTreeSet<String> = report.failed_by_platform.iter().cloned().collect();
        if !report.unfinished.is_empty() {
            match queue.filter(|_| report.made_progress()) {
                Some(queue) => {
                    let again = Batch::split(run.tick, &report.unfinished);
                    let unsent = queue.send(&again).await.into_iter().filter_map(|(at, _)| again.get(at));
                    let unsent: Vec<String> = unsent.flat_map(|batch| batch.tenants.clone()).collect();
                    report.queue_deferred((report.unfinished.len() - unsent.len()) as u64);
                    failed.extend(unsent);
                }
                None => failed.extend(report.unfinished.iter().cloned()),
            }
        }
        let has_failed = |batch: &Batch| batch.tenants.iter().any(|tenant| failed.contains(tenant));
        let failed = (0..).zip(batches).filter(|(_, batch)| has_failed(batch)).map(|(at, _)| at).collect();
        BatchResult { report, failed }
    }
}
