//! One invocation of a program and its cost.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::lambda::{ProcessEvent, TIMEOUT};
use serde_json::json;

use crate::process::{self, Program};
use crate::server;
use crate::world::{Behavior, Dataset, Observed, World};

#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// User and system time of the program from the event to the answer, without its start.
    pub(crate) cpu_seconds: f64,
    pub(crate) wall: Duration,
    /// Includes the start.
    pub(crate) peak_rss: u64,
    pub(crate) events: u64,
    /// The bytes that S3 received.
    pub(crate) stored_bytes: u64,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// From the event to each tenant's commit.
    pub(crate) commits: BTreeMap<String, Duration>,
    /// With `keep_objects`.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
}

impl Trial {
    pub(crate) fn events_per_cpu_second(&self) -> f64 {
        self.events as f64 / self.cpu_seconds.max(0.001)
    }

    pub(crate) fn total_calls(&self) -> u64 {
        self.calls.values().sum()
    }
}

pub(crate) struct Bench {
    /// A directory for logs and programs' files.
    pub(crate) scratch: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Runs a program once. Fails unless every tenant's watermark moved.
    pub(crate) async fn trial(
        &self,
        program: &Program,
        data: &Arc<Dataset>,
        behavior: Behavior,
        settings: &[(&str, String)],
    ) -> Result<Trial> {
        let trying = self.run_trial(program, data, behavior, settings);
        trying.await.with_context(|| format!("{} could not be measured", program.name))
    }

    async fn run_trial(
        &self,
        program: &Program,
        data: &Arc<Dataset>,
        behavior: Behavior,
        settings: &[(&str, String)],
    ) -> Result<Trial> {
        let world = World::new(data, behavior);
        let aws = server::start(&world).await?;
        let mut process = process::start(program, &aws.address, settings, self.scratch()).await?;
        let cpu_before = process::cpu_seconds(&process)?;
        let started = Instant::now();
        process.runtime.invoke(&json!({
            "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "111111111111", "time": "2025-11-21T11:01:00Z",
            "region": "eu-central-1", "resources": ["arn:aws:events:eu-central-1:111111111111:rule/hourly"],
            "detail": {},
        }))?;
        let event = tokio::time::timeout(TIMEOUT, process.next_event()).await.context("no answer in time")??;
        let ProcessEvent::Answered { body, failed, at, hold } = event else {
            bail!("it ended or requested another invocation:\n{}", process.log_tail())
        };
        let (cpu_seconds, peak_rss) = (process::cpu_seconds(&process)? - cpu_before, process::peak_rss(&process)?);
        drop(hold);
        let log = process.log_tail();
        process.stop().await?;
        let body = String::from_utf8_lossy(&body);
        ensure!(!failed, "the answer is an error: {body}\n{log}");
        let Observed { calls, stored_bytes, commits, objects, unknown, .. } = std::mem::take(&mut *world.observed());
        ensure!(unknown.is_empty(), "requests that the bench doesn't support: {}", unknown.join("; "));
        let (moved, due) = (commits.len(), data.tenants.len());
        ensure!(moved == due, "{moved} of {due} tenants were exported: {body}\n{log}");
        let commits = commits.into_iter().map(|(tenant, at)| (tenant, at - started)).collect();
        let (wall, events) = (at - started, data.events());
        Ok(Trial { cpu_seconds, wall, peak_rss, events, stored_bytes, calls, commits, objects })
    }
}
