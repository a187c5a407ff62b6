//! The programs that are measured, as processes: started apart from the developer's environment, looked at in /proc, and
//! never left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use audit_log_tests::tools::last_lines;
use tokio::process::{Child, Command};

use crate::runtime::{FUNCTION, Runtime, Said};
use crate::server::dynamodb::{EVENTS, TENANTS};

/// Something that runs as a Lambda function does.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// A program that is ready for its invocation.
pub(crate) struct Process {
    child: Child,
    pub(crate) runtime: Runtime,
    /// From the spawn to the first request for an invocation.
    pub(crate) startup: std::time::Duration,
    log: PathBuf,
}

impl Process {
    /// Starts a program and waits until it asks for an invocation.
    pub(crate) async fn start(
        program: &Program,
        aws: &str,
        settings: &[(&str, String)],
        scratch: &Path,
    ) -> Result<Self> {
        let mut runtime = Runtime::start().await?;
        let log = scratch.join(format!("{}.log", program.name));
        let output = File::create(&log)?;
        let mut command = Command::new(&program.path);
        command
            .args(&program.arguments)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", scratch)
            // Without one, boto3 asks the system for the developer's, and reads the profile there.
            .env("HOME", scratch)
            .env("AWS_LAMBDA_RUNTIME_API", &runtime.server.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", FUNCTION)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/exporter")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .env("AWS_ENDPOINT_URL", format!("http://{aws}"))
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLEXM")
            .env("AWS_SECRET_ACCESS_KEY", "not-a-secret")
            .env("TENANTS_TABLE", TENANTS)
            .env("EVENTS_TABLE", EVENTS)
            .env("SETTLE_SECONDS", "60")
            .envs(settings.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let spawned = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {}", program.path.display()))?;
        let said = tokio::select! {
            said = runtime.said() => said?,
            ended = child.wait() => bail!("{} ended at its start ({}):\n{}", program.name, ended?, tail(&log)),
        };
        let Said::Next(ready) = said else { bail!("{} could not start:\n{}", program.name, tail(&log)) };
        Ok(Self { child, runtime, startup: ready - spawned, log })
    }

    /// What the program says next, or the end of its log if it ends instead.
    pub(crate) async fn said(&mut self) -> Result<Said> {
        tokio::select! {
            said = self.runtime.said() => said,
            ended = self.child.wait() => bail!("it ended in the middle ({}):\n{}", ended?, tail(&self.log)),
        }
    }

    /// The CPU time that it has used so far, in seconds: user and system, all threads. By proc_pid_stat(5).
    pub(crate) fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id()?))?;
        // The second field is a name in parentheses, which can hold anything.
        let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat looks otherwise")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
        let ticks: u64 = ticks.sum::<Result<_, _>>()?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The most memory that it had resident at once, in bytes. By proc_pid_status(5).
    pub(crate) fn peak_rss(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("there is no VmHWM")?;
        Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
    }

    /// The end of what it has logged.
    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Kills it and waits for its end.
    pub(crate) async fn stop(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    fn id(&self) -> Result<u32> {
        self.child.id().context("the process has ended")
    }
}

fn tail(log: &Path) -> String {
    let log = fs::read(log).unwrap_or_default();
    last_lines(&String::from_utf8_lossy(&log), 15).to_owned()
}
