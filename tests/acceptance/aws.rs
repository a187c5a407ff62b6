//! The AWS CLI, with a profile. So profiles mean what they mean for the AWS CLI: access keys, single sign-on, or chains of
//! roles.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow, bail, ensure};
use audit_log_tests::project::last_lines;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;

/// AWS refused a call.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Refusal {}

/// Whether AWS refused a call with one of these codes.
pub(crate) fn is_refused_with(error: &Error, codes: &[&str]) -> bool {
    error.downcast_ref::<Refusal>().is_some_and(|refusal| codes.contains(&refusal.code.as_str()))
}

/// An account that a profile has access to.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// The program of the AWS CLI.
    program: PathBuf,
    profile: String,
    region: Option<String>,
    /// Of a local AWS.
    endpoint: Option<String>,
    /// For files with a call's input or output.
    directory: PathBuf,
}

impl Account {
    pub(crate) fn new(program: &Path, profile: &str, region: Option<&str>, directory: &Path) -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL").ok().filter(|url| url.starts_with("http://127.0.0.1:"));
        let region = region.map(str::to_owned);
        Self {
            program: program.to_owned(),
            profile: profile.to_owned(),
            region,
            endpoint,
            directory: directory.to_owned(),
        }
    }

    /// Whether this is a local AWS, which can't answer everything.
    pub(crate) fn is_local(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Calls AWS, and returns its answer; [`Value::Null`] if there is none. An error is a [`Refusal`] if AWS refused.
    pub(crate) async fn call(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = Command::new(&self.program);
        command.args(arguments).args(["--profile", &self.profile, "--output", "json"]);
        if let Some(region) = &self.region {
            command.args(["--region", region]);
        }
        if let Some(endpoint) = &self.endpoint {
            // `aws sqs` ignores the endpoint in the environment.
            command.args(["--endpoint-url", endpoint]);
        }
        if arguments.contains(&"invoke") {
            // A retried invocation would be a second tick.
            command.args(["--cli-read-timeout", "0"]).env("AWS_MAX_ATTEMPTS", "1");
        }
        // In its own process group, Ctrl-C doesn't end a call that removes something.
        command.env("AWS_PAGER", "").stdin(Stdio::null()).kill_on_drop(true).process_group(0);
        let output = command.output().await.context("running the AWS CLI")?;
        if !output.status.success() {
            return Err(refusal(&String::from_utf8_lossy(&output.stderr)));
        }
        let printed = String::from_utf8_lossy(&output.stdout);
        if printed.trim().is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&printed).with_context(|| format!("the answer to aws {}", arguments.join(" ")))
    }

    /// A file with the input of a call, which ends with it. Pass its [`argument`].
    pub(crate) fn input(&self, text: &str) -> Result<NamedTempFile> {
        let mut file = NamedTempFile::new_in(&self.directory)?;
        file.write_all(text.as_bytes())?;
        Ok(file)
    }

    /// Writes at most 25 items, and again what DynamoDB leaves.
    pub(crate) async fn batch_write(&self, table: &str, requests: &[Value]) -> Result<()> {
        let mut requests = json!({ table: requests });
        for attempt in 0.. {
            let input = self.input(&requests.to_string())?;
            let answer = self.call(&["dynamodb", "batch-write-item", "--request-items", &argument(&input)]).await?;
            requests = answer["UnprocessedItems"].clone();
            if list(&requests[table]).is_empty() {
                break;
            }
            ensure!(attempt < 20, "DynamoDB left items of {table} unprocessed 20 times");
            // A partition takes 1,000 KB a second.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    /// Polls until there is a value. `None` after `limit`.
    pub(crate) async fn poll<T>(
        &self,
        limit: Duration,
        interval: Duration,
        poll: impl AsyncFn() -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let started = Instant::now();
        let interval = if self.is_local() { interval.min(Duration::from_millis(300)) } else { interval };
        loop {
            if let Some(value) = poll().await? {
                return Ok(Some(value));
            }
            if started.elapsed() > limit {
                return Ok(None);
            }
            tokio::time::sleep(interval).await;
        }
    }
}

pub(crate) fn argument(file: &NamedTempFile) -> String {
    format!("file://{}", file.path().display())
}

/// The values of an array; empty for anything else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What the AWS CLI printed: "An error occurred (Code) when calling the Operation operation: message", or a text of its own.
fn refusal(printed: &str) -> Error {
    let of_aws = printed.split_once("An error occurred (").and_then(|(_, rest)| rest.split_once(')'));
    let Some((code, rest)) = of_aws else {
        return anyhow!("{}", last_lines(printed.trim(), 5).trim());
    };
    let message = rest.split_once(": ").map_or(rest, |(_, message)| message);
    Refusal { code: code.to_owned(), message: last_lines(message.trim(), 5).to_owned() }.into()
}

/// Waits until nothing of a stack is in progress. `None` if there is no stack.
pub(crate) async fn settled_stack(account: &Account, name: &str) -> Result<Option<Value>> {
    let settled = account.poll(Duration::from_secs(900), Duration::from_secs(5), async || {
        let stack = stack(account, name).await?;
        let in_progress = stack.as_ref().is_some_and(|stack| text(&stack["StackStatus"]).ends_with("_IN_PROGRESS"));
        Ok((!in_progress).then_some(stack))
    });
    match settled.await? {
        Some(stack) => Ok(stack.filter(|stack| stack["StackStatus"] != "DELETE_COMPLETE")),
        None => bail!("the stack {name} is still in progress after 15 minutes"),
    }
}

/// `None` if there is no stack.
pub(crate) async fn stack(account: &Account, name: &str) -> Result<Option<Value>> {
    match account.call(&["cloudformation", "describe-stacks", "--stack-name", name]).await {
        Ok(mut answer) => Ok(Some(answer["Stacks"][0].take())),
        Err(error) if error.to_string().contains("does not exist") => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_code_and_the_message_of_aws() {
        let printed =
            "\nAn error occurred (AccessDenied) when calling the GetRole operation: User: x is not authorized\n";
        let error = refusal(printed);
        assert!(
            is_refused_with(&error, &["NoSuchEntity", "AccessDenied"]) && !is_refused_with(&error, &["NoSuchEntity"])
        );
        assert_eq!(error.to_string(), "AccessDenied: User: x is not authorized");
        let of_the_cli = refusal("\nThe config profile (nobody) could not be found\n");
        assert_eq!(of_the_cli.to_string(), "The config profile (nobody) could not be found");
    }
}
