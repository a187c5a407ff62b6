//! The command line tools of a platform engineer, run against the local AWS and nothing else.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::LocalAws;

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests)
}

/// A tool that the Makefile installs, by its path in the repository.
///
/// # Errors
/// When it isn't there.
pub fn installed(path: &str) -> Result<PathBuf> {
    let tool = repository().join(path);
    if !tool.exists() {
        bail!("{path} is missing: `make test` and `make demo` install it");
    }
    Ok(tool)
}

/// One of the deployment tools (`aws`, `sam`), acting as an account's root.
///
/// # Errors
/// When it isn't installed.
pub fn tool(aws: &LocalAws, account: &str, name: &str) -> Result<Command> {
    Ok(confined(aws, account, &installed(&format!(".tools/venv/bin/{name}"))?))
}

/// A bash that runs commands as someone pastes them, with the deployment tools at hand, acting as an account's root.
///
/// # Errors
/// When the tools aren't installed.
pub fn bash(aws: &LocalAws, account: &str, commands: &str) -> Result<Command> {
    let mut path = installed(".tools/venv/bin")?.into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = confined(aws, account, Path::new("bash"));
    command.args(["-c", commands]).env("PATH", path);
    Ok(command)
}

/// A command that can reach the local AWS, and nothing of the developer's own.
fn confined(aws: &LocalAws, account: &str, program: &Path) -> Command {
    let mut command = Command::new(program);
    // A clean environment and a home of its own: no profile, endpoint or proxy of the developer's can send
    // these commands to a real account.
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", aws.directory())
        .env("TMPDIR", aws.directory())
        .env("LC_ALL", "C.UTF-8")
        .env("SAM_CLI_TELEMETRY", "0")
        .envs(aws.env(account))
        .current_dir(repository())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command and returns what it printed.
///
/// # Errors
/// When it fails: then with the end of its output.
pub async fn run(command: &mut Command) -> Result<String> {
    let output = command.output().await;
    let command = command.as_std();
    let output = output.with_context(|| format!("running {:?}", command.get_program()))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = format!("{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
        bail!("{program} {} failed ({}):\n{}", arguments.join(" "), output.status, last_lines(said.trim(), 40));
    }
    Ok(printed)
}

/// Runs the AWS CLI and returns its answer; [`Value::Null`] where it has none.
///
/// # Errors
/// When the call fails or the answer is no JSON.
pub async fn aws_cli(aws: &LocalAws, account: &str, arguments: &[&str]) -> Result<Value> {
    let mut command = tool(aws, account, "aws")?;
    // Named once more: `aws sqs` overlooks the endpoint in the environment and would call the real one.
    let printed = run(command.args(arguments).args(["--endpoint-url", aws.endpoint(), "--output", "json"])).await?;
    if printed.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&printed).with_context(|| format!("the answer to aws {arguments:?}: {printed}"))
}

/// The last lines of a text.
#[must_use]
pub fn last_lines(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    let start = text.rmatch_indices('\n').nth(count - 1).map_or(0, |(at, _)| at + 1);
    &text[start..]
}
