//! Starts the measured programs and reads their CPU time and memory from /proc.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use audit_log_tests::lambda::{Launch, Process};

use crate::server::dynamodb::{EVENTS, TENANTS};

const FUNCTION_ARN: &str = "arn:aws:lambda:eu-central-1:111111111111:function:exporter";

/// A program that runs as a Lambda function.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The name in tables.
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
}

/// Starts a program and waits until it requests an invocation.
pub(crate) async fn start(
    program: &Program,
    aws: &str,
    settings: &[(&str, String)],
    scratch: &Path,
) -> Result<Process> {
    let endpoint = format!("http://{aws}");
    let defaults = [
        ("AWS_ENDPOINT_URL", endpoint.as_str()),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_DEFAULT_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLEXM"),
        ("AWS_SECRET_ACCESS_KEY", "not-a-secret"),
        ("TENANTS_TABLE", TENANTS),
        ("EVENTS_TABLE", EVENTS),
        ("SETTLE_SECONDS", "60"),
    ];
    let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
    let environment: Vec<_> =
        defaults.into_iter().chain(settings).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Program { name, path, arguments } = program;
    Process::start(Launch { name, path, arguments, function_arn: FUNCTION_ARN, environment: &environment, scratch })
        .await
}

/// The CPU seconds of a process so far: user and system, all threads. By proc_pid_stat(5).
pub(crate) fn cpu_seconds(process: &Process) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.id()?))?;
    // The second field, a name in parentheses, can contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat has another format")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The peak resident memory of a process, in bytes. By proc_pid_status(5).
pub(crate) fn peak_rss(process: &Process) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("there is no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? * 1024)
}
