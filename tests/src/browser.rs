//! Runs steps on the platform's pages in a browser. The steps are in `tests/browser`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{LocalAws, project};

/// Longer than each wait within a step, since these have better error messages.
const STEP_TIMEOUT: Duration = Duration::from_secs(120);

/// A browser that is closed when this is dropped.
#[derive(Debug)]
pub struct Browser {
    /// Ends with the browser when its stdin closes, and so also if the parent process is killed.
    process: Child,
    steps: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
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
        let steps = process.stdin.take().context("a browser without stdin")?;
        let answers = BufReader::new(process.stdout.take().context("a browser without stdout")?).lines();
        Ok(Self { process, steps, answers, log })
    }

    /// Adds a visitor without cookies to the pages at `base`. Without `scripts`, the pages can't run any.
    pub async fn add_visitor(&mut self, visitor: &str, base: &str, scripts: bool) -> Result<()> {
        self.run_step(visitor, "arrive", json!({ "base": base, "scripts": scripts })).await?;
        Ok(())
    }

    /// Runs a visitor's step and returns its result. It is an error if a page isn't as the step expects (the message says what
    /// the page shows, and where a screenshot is), or on an error on the console, a request to another origin, or an
    /// accessibility violation.
    pub async fn run_step(&mut self, visitor: &str, step: &str, with: Value) -> Result<Value> {
        let line = format!("{}\n", json!({ "visitor": visitor, "step": step, "with": with }));
        let answer = async {
            self.steps.write_all(line.as_bytes()).await?;
            self.answers.next_line().await?.context("it has ended")
        };
        let answer = tokio::time::timeout(STEP_TIMEOUT, answer).await.context("it takes too long").flatten();
        let answer = answer.with_context(|| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            format!("the browser does not answer:\n{}", project::last_lines(&log, 40))
        })?;
        match serde_json::from_str(&answer).with_context(|| format!("the browser's answer: {answer}"))? {
            Answer::Ok(result) => Ok(result),
            Answer::Failed(why) => bail!("{why}"),
        }
    }

    /// Closes the browser and waits for its end.
    pub async fn close(mut self) -> Result<()> {
        drop(self.steps);
        self.process.wait().await?;
        Ok(())
    }
}
