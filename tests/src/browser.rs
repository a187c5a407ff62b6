//! Runs steps on the platform's pages in a browser. The steps are in `tests/browser`.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex, oneshot};

use crate::{LocalAws, project};

/// Longer than each wait within a step, since these have better error messages.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// A browser that is closed when this is dropped, or when the tests end.
#[derive(Debug)]
pub struct Browser {
    /// Ends with the browser when its stdin closes, and so also if the parent process is killed.
    process: Child,
    steps: Mutex<ChildStdin>,
    waiting: Waiting,
    log: PathBuf,
}

/// Where the answer to each visitor's step goes.
type Waiting = Arc<std::sync::Mutex<HashMap<String, oneshot::Sender<StepResult>>>>;

#[derive(Debug, Deserialize)]
struct Answer {
    visitor: String,
    #[serde(flatten)]
    result: StepResult,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum StepResult {
    Ok(Value),
    Failed(String),
}

impl Browser {
    /// Starts a browser. Its files are removed with the local AWS's.
    pub fn start(aws: &LocalAws) -> Result<Self> {
        project::installed(".tools/browser/.installed")?;
        let directory = tempfile::Builder::new().prefix("browser-").tempdir_in(aws.directory())?.keep();
        let log = directory.join("log");
        // Only the path is inherited: no proxy and no display of the developer.
        let mut process = Command::new(project::installed(".tools/node/bin/node")?)
            .arg(project::repository().join("tests/browser/main.js"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &directory)
            .env("TMPDIR", &directory)
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .context("starting the browser")?;
        let steps = Mutex::new(process.stdin.take().context("a browser without stdin")?);
        let answers = process.stdout.take().context("a browser without stdout")?;
        let waiting = Waiting::default();
        tokio::spawn(pass_on(answers, Arc::clone(&waiting)));
        Ok(Self { process, steps, waiting, log })
    }

    /// Adds a visitor without cookies to the pages at `base`. Without `scripts`, the pages can't run any.
    pub async fn add_visitor(&self, visitor: &str, base: &str, scripts: bool) -> Result<()> {
        self.run_step(visitor, "arrive", json!({ "base": base, "scripts": scripts })).await?;
        Ok(())
    }

    /// Runs a visitor's step and returns its result, while others may run theirs. It is an error if a page isn't as the
    /// step expects (the message says what the page shows, and where a screenshot is), or on an error on the console, a
    /// request to another origin, or an accessibility violation.
    pub async fn run_step(&self, visitor: &str, step: &str, with: Value) -> Result<Value> {
        let line = format!("{}\n", json!({ "visitor": visitor, "step": step, "with": with }));
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(visitor.to_owned(), sender);
        let answer = async {
            self.steps.lock().await.write_all(line.as_bytes()).await?;
            answer.await.context("it has ended")
        };
        let answer = tokio::time::timeout(STEP_TIMEOUT, answer).await.context("it takes too long").flatten();
        let answer = answer.with_context(|| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            format!("the browser does not answer:\n{}", project::last_lines(&log, 40))
        })?;
        match answer {
            StepResult::Ok(result) => Ok(result),
            StepResult::Failed(why) => bail!("{why}"),
        }
    }

    /// Removes a visitor, with their page and cookies.
    pub async fn remove_visitor(&self, visitor: &str) -> Result<()> {
        self.run_step(visitor, "leave", json!({})).await?;
        Ok(())
    }

    /// Closes the browser and waits for its end.
    pub async fn close(mut self) -> Result<()> {
        drop(self.steps);
        self.process.wait().await?;
        Ok(())
    }
}

/// Passes each answer on to who waits for it. At the end of the answers, nobody waits any longer.
async fn pass_on(answers: ChildStdout, waiting: Waiting) {
    let mut answers = BufReader::new(answers).lines();
    while let Ok(Some(answer)) = answers.next_line().await {
        let Ok(Answer { visitor, result }) = serde_json::from_str(&answer) else {
            eprintln!("the browser answers {answer:?}");
            break;
        };
        let sender = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&visitor);
        // A test that has failed waits no longer.
        sender.and_then(|sender| sender.send(result).ok());
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
