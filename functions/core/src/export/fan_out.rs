//! Handing due tenants over to other invocations through a queue, and exporting those that were handed over.
//!
//! A batch is a hint of whom to look at, as the index is: what is exported follows from the tenants' own records. So a
//! batch that comes twice, late or out of order does no harm.

use std::collections::BTreeSet;

use super::{Export, Report, Run};
use crate::{
    batch::Batch,
    failure::Failure,
    ports::{Buckets, Bus, Events, Queue, Tenants},
};

/// What became of some batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was done for all of them.
    pub report: Report,
    /// Which of them, by their places, have to come again.
    pub failed: Vec<usize>,
}

impl<T: Tenants, E: Events, B: Buckets, N: Bus> Export<T, E, B, N> {
    /// Hands every due tenant over, and exports none.
    ///
    /// # Errors
    /// If a part of the index could not be read, or a part of the due tenants not be handed over. All others were, and
    /// the tick may be run again.
    pub async fn hand_over<Q: Queue>(&self, run: Run<'_>, queue: &Q) -> Result<Report, Failure> {
        let mut report = Report::new(run.tick);
        let (due, unreadable) = self.due(run).await;
        if due.is_empty() && unreadable.is_none() {
            report.no_connected_tenant = !self.any_connected().await?;
        }
        let unsent = queue.send(&Batch::split(run.tick, &due)).await;
        report.add_queued(due.len() as u64);
        match unreadable.or_else(|| unsent.into_iter().next().map(|(_, failure)| failure)) {
            Some(failure) => Err(failure),
            None => Ok(report),
        }
    }

    /// Exports the tenants of batches, as a tick does with those that are due.
    ///
    /// A customer's failure is noted, and the batch is done all the same. A batch fails for a platform's failure. Whoever
    /// this run has no more time for is handed over again, so that another run goes on; but if this run got nowhere at
    /// all, the batch fails instead, since the queue counts that and in the end puts the batch aside.
    pub async fn batches<Q: Queue>(&self, run: Run<'_>, batches: &[Batch], queue: Option<&Q>) -> Done {
        let mut report = Report::new(run.tick);
        let tenants: BTreeSet<String> = batches.iter().flat_map(|batch| &batch.tenants).cloned().collect();
        self.export_all(run, tenants.into_iter().collect(), &mut report).await;
        let mut failed: BTreeSet<String> = report.failed_by_platform.iter().cloned().collect();
        if !report.unfinished.is_empty() {
            let again = Batch::split(run.tick, &report.unfinished);
            match queue.filter(|_| report.got_somewhere()) {
                Some(queue) => {
                    let unsent = queue.send(&again).await;
                    let unsent =
                        unsent.into_iter().filter_map(|(at, _)| again.get(at)).flat_map(|it| it.tenants.clone());
                    let unsent: Vec<String> = unsent.collect();
                    report.queue_deferred((report.unfinished.len() - unsent.len()) as u64);
                    failed.extend(unsent);
                }
                None => failed.extend(report.unfinished.iter().cloned()),
            }
        }
        let has_failed = |batch: &Batch| batch.tenants.iter().any(|tenant| failed.contains(tenant));
        let failed = (0..).zip(batches).filter(|(_, batch)| has_failed(batch)).map(|(at, _)| at).collect();
        Done { report, failed }
    }
}
