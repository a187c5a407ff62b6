//! One invocation of one program in one world, and what it took.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::lambda::{Said, TIMEOUT};
use serde_json::json;

use crate::process::{self, Program};
use crate::server;
use crate::world::{Behaviour, Dataset, Seen, World};

/// What an invocation took.
#[derive(Clone, Debug)]
pub(crate) struct Trial {
    /// User and system time of the program alone, from the event to the answer; its start is not in it.
    pub(crate) cpu_seconds: f64,
    pub(crate) wall: Duration,
    /// The most that was resident at once, the start included.
    pub(crate) peak_rss: u64,
    pub(crate) events: u64,
    /// The bytes that S3 took.
    pub(crate) stored_bytes: u64,
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// From the event to each tenant's commit.
    pub(crate) commits: BTreeMap<String, Duration>,
    /// The objects, where they were kept.
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
}

impl Trial {
    pub(crate) fn events_per_cpu_second(&self) -> f64 {
        self.events as f64 / self.cpu_seconds.max(0.001)
    }

    pub(crate) fn calls_in_all(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// What is the same for all trials.
pub(crate) struct Bench {
    /// A folder for logs and for what programs write.
    pub(crate) scratch: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Runs a program on a world. Every tenant's watermark has to have moved in the end, or the trial is none.
    pub(crate) async fn trial(
        &self,
        program: &Program,
        data: &Arc<Dataset>,
        behaviour: Behaviour,
        settings: &[(&str, String)],
    ) -> Result<Trial> {
        let trying = self.try_once(program, data, behaviour, settings);
        trying.await.with_context(|| format!("{} could not be measured", program.name))
    }

    async fn try_once(
        &self,
        program: &Program,
        data: &Arc<Dataset>,
        behaviour: Behaviour,
        settings: &[(&str, String)],
    ) -> Result<Trial> {
        let world = World::new(data, behaviour);
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
        let said = tokio::time::timeout(TIMEOUT, process.said()).await.context("it took too long")??;
        let Said::Answer { body, failed, at, hold } = said else {
            bail!("it ended, or asked for another invocation:\n{}", process.log_tail())
        };
        let (cpu_seconds, peak_rss) = (process::cpu_seconds(&process)? - cpu_before, process::peak_rss(&process)?);
        drop(hold);
        let log = process.log_tail();
        process.stop().await?;
        let body = String::from_utf8_lossy(&body);
        ensure!(!failed, "it answered with an error: {body}\n{log}");
        let Seen { calls, stored_bytes, commits, objects, unknown, .. } = std::mem::take(&mut *world.seen());
        ensure!(unknown.is_empty(), "it asked for what the bench does not serve: {}", unknown.join("; "));
        let (moved, due) = (commits.len(), data.tenants.len());
        ensure!(moved == due, "{moved} of {due} tenants were exported: {body}\n{log}");
        let commits = commits.into_iter().map(|(tenant, at)| (tenant, at - started)).collect();
        let (wall, events) = (at - started, data.events());
        Ok(Trial { cpu_seconds, wall, peak_rss, events, stored_bytes, calls, commits, objects })
    }
}
