//! Runs a program once, as Lambda does, and reads from /proc what that took.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::lambda::{Launch, Process, ProcessEvent, TIMEOUT};
use audit_log_tests::{gunzip, project::repository};
use serde_json::{Value, json};

use crate::aws::{Aws, CERTIFICATE, Trial};
use crate::data::Data;

/// A program that runs as a Lambda function, and its surroundings.
#[derive(Clone, Default)]
pub(crate) struct Program {
    /// `exporter`, `console`, `hello`, or `boto3` with the path of Python.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) tls: bool,
    pub(crate) slow: bool,
    /// Variables of its environment, each `<name>=<value>`, with a space between them.
    pub(crate) settings: String,
}

pub(crate) struct Bench {
    pub(crate) programs: Vec<Program>,
    /// Measures less of everything, for work on the bench.
    pub(crate) quick: bool,
    /// For logs and the programs' files.
    scratch: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(programs: Vec<Program>, quick: bool) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("bench-").tempdir()?;
        // As on Lambda: one bundle, and no folder with a file for each certificate.
        let bundles = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
        let bundle = bundles.iter().find_map(|path| fs::read_to_string(path).ok());
        let bundle = bundle.with_context(|| format!("none of {bundles:?} is there"))?;
        fs::write(scratch.path().join("ca.pem"), bundle + CERTIFICATE)?;
        fs::create_dir(scratch.path().join("certs"))?;
        Ok(Self { programs, quick, scratch })
    }

    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Program> {
        self.programs.iter().filter(move |program| program.kind == kind)
    }

    pub(crate) fn amount(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Starts a program and waits until it requests an invocation.
    pub(crate) async fn start(&self, program: &Program, aws: &str) -> Result<Process> {
        let (function_arn, scratch) =
            ("arn:aws:lambda:eu-central-1:111111111111:function:exporter", self.scratch.path());
        let Program { kind, name, path, settings, .. } = program;
        let variables = format!(
            "AWS_ENDPOINT_URL={aws} AWS_REGION=eu-central-1 AWS_DEFAULT_REGION=eu-central-1 AWS_ACCESS_KEY_ID=AKIAEXAMPLE \
             AWS_SECRET_ACCESS_KEY=not-a-secret AWS_CA_BUNDLE={0}/ca.pem SSL_CERT_FILE={0}/ca.pem SSL_CERT_DIR={0}/certs \
             TENANTS_TABLE=tenants EVENTS_TABLE=events EXPORTER_FUNCTION={function_arn} EXPORTER_ROLE_NAME=exporter {settings}",
            scratch.display()
        );
        let variables = variables.split(' ').filter_map(|variable| variable.split_once('='));
        let environment: &Vec<_> = &variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        // `-B` writes no bytecode beside the sources.
        let baseline = ["-B".to_owned(), repository().join("tests/bench/baseline/bootstrap.py").display().to_string()];
        let arguments = if kind == "boto3" { &baseline[..] } else { &[] };
        Process::start(Launch { name, path, arguments, function_arn, environment, scratch }).await
    }

    /// Exports data. Fails unless each tenant's watermark has moved.
    pub(crate) async fn export(&self, program: &Program, data: &Arc<Data>) -> Result<Trial> {
        let (aws, server) = Aws::start(data, program.slow, program.tls).await?;
        let endpoint = format!("{}://{}", if program.tls { "https" } else { "http" }, server.address);
        let mut process = self.start(program, &endpoint).await?;
        let tick = json!({
            "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
            "source": "aws.events", "account": "111111111111", "time": "2025-11-21T11:01:00Z", "region": "eu-central-1",
            "resources": ["arn:aws:events:eu-central-1:111111111111:rule/hourly"], "detail": {},
        });
        let (cpu_seconds, peak_mebibytes) = invoke(&mut process, &tick).await.with_context(|| program.name.clone())?;
        let trial = Trial { cpu_seconds, peak_mebibytes, ..std::mem::take(&mut *aws.trial()) };
        let (exported, due) = (trial.exported.len(), data.tenants);
        ensure!(exported == due, "{}: {exported} of {due} were exported\n{}", program.name, process.log_tail());
        process.stop().await?;
        // Progress isn't part of the result.
        eprintln!("  {}: {:.2} s of CPU", program.name, trial.cpu_seconds);
        Ok(trial)
    }

    /// Exports some events and compares them with the recorded ones, so that no program wins by losing events.
    pub(crate) async fn check(&self, program: &Program, data: &Data) -> Result<()> {
        let data = Data::new(1, data.shards, 64_000, data.gzip);
        let (name, mut recorded) = (format!("{}, checked", program.name), data.documents());
        // Small objects, so that splits are checked too. boto3 frames what it uploads over TLS.
        let tls = program.tls && program.kind != "boto3";
        let settings = format!("{} MAX_OBJECT_BYTES=10000000", program.settings);
        let program = &Program { name, tls, slow: false, settings, ..program.clone() };
        let Trial { objects, calls, .. } = self.export(program, &data).await?;
        let mut files = BTreeMap::<_, Vec<u8>>::new();
        objects.into_iter().for_each(|((path, _), part)| files.entry(path).or_default().extend(part));
        let decoded = |bytes: Vec<u8>| if data.gzip { gunzip(&bytes) } else { Ok(String::from_utf8(bytes)?) };
        let text = files.into_values().map(decoded).collect::<Result<String>>()?;
        // One event a line, in arrays.
        let lines = text.lines().filter(|line| !["[", "]"].contains(line));
        let mut delivered: Vec<&str> = lines.map(|line| line.strip_suffix(',').unwrap_or(line)).collect();
        recorded.sort_unstable();
        delivered.sort_unstable();
        let [begun, completed] = ["Initiate", "Complete"].map(|what| calls.get(&format!("{what}MultipartUpload")));
        ensure!(delivered == recorded && begun == completed, "{}: it lost or changed events", program.name);
        Ok(())
    }
}

/// Runs an invocation. Returns its CPU seconds and the most MiB that were ever resident.
pub(crate) async fn invoke(process: &mut Process, event: &Value) -> Result<(f64, f64)> {
    let before = cpu_seconds(process)?;
    process.runtime.invoke(event)?;
    let event = tokio::time::timeout(TIMEOUT, process.next_event()).await.context("no answer in time")??;
    let ProcessEvent::Answered { body, failed, hold, .. } = event else { bail!("it ended:\n{}", process.log_tail()) };
    ensure!(!failed, "{}\n{}", String::from_utf8_lossy(&body), process.log_tail());
    let used = cpu_seconds(process)? - before;
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()?))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.strip_suffix("kB")?.trim().parse().ok());
    drop(hold);
    Ok((used, peak.map_or(f64::NAN, |kibibytes: f64| kibibytes / 1024.0)))
}

/// The CPU time of a process so far. By proc_pid_stat(5) in hundredths of a second, and by the scheduler in nanoseconds but
/// without threads that have ended. Both are at most the true time.
pub(crate) fn cpu_seconds(process: &Process) -> Result<f64> {
    let folder = format!("/proc/{}", process.id()?);
    let stat = fs::read_to_string(format!("{folder}/stat"))?;
    // The second field, a name in parentheses, can contain spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat has another format")?;
    let ticks: f64 = fields.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    let threads = fs::read_dir(format!("{folder}/task"))?.filter_map(|thread| {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    });
    Ok(f64::max(ticks / rustix::param::clock_ticks_per_second() as f64, threads.sum::<f64>() / 1e9))
}
