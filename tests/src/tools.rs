//! Command line tools, run against the local AWS alone.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::LocalAws;
use crate::project::{installed, last_lines, repository};

/// For a command of the AWS CLI.
const CLI_TIMEOUT: Duration = Duration::from_secs(120);

/// A deployment tool, such as `sam`, with the credentials of an account's root.
pub fn tool(aws: &LocalAws, account: &str, name: &str) -> Result<Command> {
    Ok(confined(aws, account, &installed(&format!(".tools/venv/bin/{name}"))?))
}

/// A bash that runs `commands`, with `aws` and the deployment tools in its path and the credentials of an account's root.
pub fn bash(aws: &LocalAws, account: &str, commands: &str) -> Result<Command> {
    let mut command = confined(aws, account, Path::new("bash"));
    command.args(["-c", commands]).env("PATH", aws.path()?);
    Ok(command)
}

/// A program with the credentials of an account's root.
#[must_use]
pub fn confined(aws: &LocalAws, account: &str, program: &Path) -> Command {
    let mut command = Command::new(program);
    // With a clean environment and another home, no profile, endpoint or proxy of the developer can send these commands
    // to a real account.
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

/// Runs a command and returns its output. An error holds the end of the output.
pub async fn run(command: &mut Command) -> Result<String> {
    let output = command.output().await;
    let command = command.as_std();
    let output = output.with_context(|| format!("running {:?}", command.get_program()))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let printed = format!("{printed}\n{}", String::from_utf8_lossy(&output.stderr));
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
        bail!("{program} {} failed ({}):\n{}", arguments.join(" "), output.status, last_lines(printed.trim(), 40));
    }
    Ok(printed)
}

/// Runs the AWS CLI and returns its JSON; [`Value::Null`] if it prints nothing.
pub async fn aws_cli(aws: &LocalAws, account: &str, arguments: &[&str]) -> Result<Value> {
    let printed = run_aws_cli(aws, account, arguments).await?;
    if printed.trim().is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&printed).with_context(|| format!("the answer to aws {arguments:?}: {printed}"))
}

/// Runs the AWS CLI and returns what it prints.
pub(crate) async fn run_aws_cli(aws: &LocalAws, account: &str, arguments: &[&str]) -> Result<String> {
    let mut command = confined(aws, account, &aws.cli());
    // `aws sqs` ignores the endpoint in the environment and would call AWS.
    command.args(arguments).args(["--endpoint-url", aws.endpoint(), "--output", "json"]);
    let printed = tokio::time::timeout(CLI_TIMEOUT, run(&mut command)).await;
    printed.with_context(|| format!("aws {} takes too long", arguments.join(" ")))?
}
