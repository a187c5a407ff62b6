//! Handing due tenants over to other invocations through a queue, and exporting those that were handed over.
//!
//! A batch is a hint of whom to look at, as the index is: what is exported follows from the tenants' own records. So a
//! batch that comes twice, late or out of order does no harm.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Export, Report, Run};
use crate::{
    failure::Failure,
    ports::{Buckets, Bus, Events, Queue, Tenants},
    timestamp,
};

/// How many tenants a batch has at most: few enough that one invocation is done with them soon.
const TENANTS_A_BATCH: usize = 25;

/// Tenants to be exported for a tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The hour of the tick that found them due.
    pub tick: DateTime<Utc>,
    /// Their ids, as the index lists them.
    pub tenants: Vec<String>,
}

/// A batch as a message holds it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    tick: String,
    tenants: Vec<String>,
}

/// Why a message holds no batch. The text says what it should hold, and repeats nothing of what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body of a message is {{\"tick\": \"2026-11-21T11:00:00Z\", \"tenants\": [\"…\"]}} and nothing else")]
pub struct NotABatch;

impl Batch {
    /// The body of a message.
    pub fn to_body(&self) -> String {
        let body = Body { tick: timestamp::seconds(self.tick), tenants: self.tenants.clone() };
        // Serialising texts into memory has no way to fail.
        serde_json::to_string(&body).unwrap_or_default()
    }

    /// Reads what [`Self::to_body`] writes.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn parse(body: &str) -> Result<Self, NotABatch> {
        let Body { tick, tenants } = serde_json::from_str(body).map_err(|_| NotABatch)?;
        Ok(Self { tick: timestamp::parse_seconds(&tick).ok_or(NotABatch)?, tenants })
    }

    fn all(tick: DateTime<Utc>, tenants: &[String]) -> Vec<Self> {
        let batches = tenants.len().div_ceil(TENANTS_A_BATCH);
        // Dealt like cards: in a small remainder, or in one batch of those who have waited longest, each could fail for a
        // reason of its own, and it would look as if nothing worked.
        let of_batch = |nth| tenants.iter().skip(nth).step_by(batches).cloned().collect();
        (0..batches).map(|nth| Self { tick, tenants: of_batch(nth) }).collect()
    }
}

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
        let unsent = queue.send(&Batch::all(run.tick, &due)).await;
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
            let again = Batch::all(run.tick, &report.unfinished);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_as_it_was_written_and_nothing_else_is() {
        let batch = Batch { tick: "2026-11-21T11:00:00Z".parse().unwrap(), tenants: vec!["acme".to_owned()] };
        assert_eq!(batch.to_body(), r#"{"tick":"2026-11-21T11:00:00Z","tenants":["acme"]}"#);
        assert_eq!(Batch::parse(&batch.to_body()), Ok(batch));
        for body in [
            "",
            "{}",
            r#"{"tick":"2026-11-21T11:00:00Z"}"#,
            r#"{"tick":"noon","tenants":["acme"]}"#,
            r#"{"tick":"2026-11-21T11:00:00Z","tenants":"acme"}"#,
            r#"{"tick":"2026-11-21T11:00:00Z","tenants":["acme"],"bucket":"other"}"#,
        ] {
            assert_eq!(Batch::parse(body), Err(NotABatch), "{body}");
        }
    }
}
