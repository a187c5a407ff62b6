//! A function as Lambda runs it: a process apart from the developer's environment, that is handed invocations and is never
//! left behind.

mod runtime;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::process::{Child, Command};

pub use runtime::{Runtime, Said, TIMEOUT};

use crate::tools::last_lines;

/// What is started, and as which function.
#[derive(Clone, Copy, Debug)]
pub struct Launch<'a> {
    /// What it is called in errors, and in the name of its log.
    pub name: &'a str,
    /// The program.
    pub path: &'a Path,
    /// Its arguments.
    pub arguments: &'a [String],
    /// The function that it is told it is.
    pub function_arn: &'a str,
    /// Its environment, beside what Lambda itself sets.
    pub environment: &'a [(String, String)],
    /// A folder for its log and for what it writes.
    pub scratch: &'a Path,
}

/// A program that is ready for an invocation, and is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Its Runtime API.
    pub runtime: Runtime,
    /// From the spawn to the first request for an invocation.
    pub startup: Duration,
    log: PathBuf,
}

impl Process {
    /// Starts a program and waits until it asks for an invocation.
    ///
    /// # Errors
    /// When it ends or fails instead: then with the end of its log.
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
            // Without one, boto3 asks the system for the developer's, and reads the profile there.
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
        let said = tokio::select! {
            said = runtime.said() => said?,
            ended = child.wait() => bail!("{name} ended at its start ({}):\n{}", ended?, tail(&log)),
        };
        let Said::Next(ready) = said else { bail!("{name} could not start:\n{}", tail(&log)) };
        Ok(Self { child, runtime, startup: ready - spawned, log })
    }

    /// What the program says next.
    ///
    /// # Errors
    /// When it can't be listened to.
    pub async fn said(&mut self) -> Result<Said> {
        tokio::select! {
            said = self.runtime.said() => said,
            ended = self.child.wait() => Ok(Said::Ended(ended?)),
        }
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it has ended.
    pub fn id(&self) -> Result<u32> {
        self.child.id().context("the process has ended")
    }

    /// All that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// The end of what it has logged.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Kills it and waits for its end.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }
}

fn tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&log), 15).to_owned()
}
