//! Runs a function's binary as Lambda does: as a process with its own environment that gets invocations.

mod runtime;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

pub use runtime::{ProcessEvent, Runtime, TIMEOUT};

use crate::project::last_lines;

/// What to start, and as which function.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// For error messages and the log's file name.
    pub name: &'a str,
    pub path: &'a Path,
    pub arguments: &'a [String],
    pub function_arn: &'a str,
    /// In addition to the variables that Lambda sets.
    pub environment: &'a [(String, String)],
    /// A directory for its log and its files.
    pub scratch: &'a Path,
}

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pub runtime: Runtime,
    /// From the start of the process to its first request for an invocation.
    pub startup: Duration,
    log: PathBuf,
}

impl Process {
    /// Starts a process and waits until it requests an invocation. An error holds the end of its log.
    pub async fn start(launch: Launch<'_>) -> Result<Self> {
        let Launch { name, path, arguments, function_arn, environment, scratch } = launch;
        let mut runtime = Runtime::start(function_arn).await?;
        let log = scratch.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let function = function_arn.rsplit(':').next().unwrap_or_default();
        let mut command = Command::new(path);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", scratch)
            // Without HOME, boto3 finds the developer's home and reads the profile there.
            .env("HOME", scratch)
            .env("AWS_LAMBDA_RUNTIME_API", &runtime.server.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", function)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{function}"))
            .env("AWS_LAMBDA_LOG_STREAM_NAME", name)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let spawned = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {}", path.display()))?;
        let event = tokio::select! {
            event = runtime.next_event() => event?,
            ended = child.wait() => bail!("{name} ended at its start ({}):\n{}", ended?, tail(&log)),
        };
        let ProcessEvent::Ready(ready) = event else { bail!("{name} could not start:\n{}", tail(&log)) };
        Ok(Self { child, runtime, startup: ready - spawned, log })
    }

    /// Waits for what the process does next.
    pub async fn next_event(&mut self) -> Result<ProcessEvent> {
        tokio::select! {
            event = self.runtime.next_event() => event,
            ended = self.child.wait() => Ok(ProcessEvent::Exited(ended?)),
        }
    }

    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the process has ended")
    }

    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    pub async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&log), 15).to_owned()
}
