//! A browser on the platform's pages, told step by step what people do in it. The steps are in `tests/browser`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{LocalAws, tools};

/// How long one step may take. Each wait in it is shorter, and says better what it was for.
const DONE_WITHIN: Duration = Duration::from_secs(120);

/// A running browser, which ends with this value.
#[derive(Debug)]
pub struct Browser {
    /// Ends by itself, and the browser with it, when its stdin closes; so also when whoever started it is killed.
    process: Child,
    steps: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

/// What a step has led to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer {
    Ok(Value),
    Failed(String),
}

impl Browser {
    /// Starts one; what it writes goes when the local AWS goes.
    ///
    /// # Errors
    /// When it isn't installed, or can't be started.
    pub fn start(aws: &LocalAws) -> Result<Self> {
        tools::installed(".tools/browser/.installed")?;
        let directory = tempfile::Builder::new().prefix("browser-").tempdir_in(aws.directory())?.keep();
        let log = directory.join("log");
        // Nothing is inherited but the path: no proxy or display of the developer's.
        let mut process = Command::new(tools::installed(".tools/node/bin/node")?)
            .arg(tools::repository().join("tests/browser/main.js"))
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

    /// Somebody comes to the pages at `base`, with no cookie yet. Without `scripts`, their browser runs none.
    ///
    /// # Errors
    /// When the browser has ended.
    pub async fn arrives(&mut self, visitor: &str, base: &str, scripts: bool) -> Result<()> {
        self.does(visitor, "arrive", json!({ "base": base, "scripts": scripts })).await?;
        Ok(())
    }

    /// A visitor takes a step, and tells what came of it.
    ///
    /// # Errors
    /// When a page doesn't do what the step expects: then with what it shows instead, and where a picture of it is.
    /// Also for whatever else went wrong on the way: an error on the console, a request to elsewhere, a barrier.
    pub async fn does(&mut self, visitor: &str, step: &str, with: Value) -> Result<Value> {
        let line = format!("{}\n", json!({ "visitor": visitor, "step": step, "with": with }));
        let answer = async {
            self.steps.write_all(line.as_bytes()).await?;
            self.answers.next_line().await?.context("it has ended")
        };
        let answer = tokio::time::timeout(DONE_WITHIN, answer).await.context("it takes too long").flatten();
        let answer = answer.with_context(|| {
            let log = fs::read_to_string(&self.log).unwrap_or_default();
            format!("the browser does not answer:\n{}", tools::last_lines(&log, 40))
        })?;
        match serde_json::from_str(&answer).with_context(|| format!("the browser's answer: {answer}"))? {
            Answer::Ok(result) => Ok(result),
            Answer::Failed(why) => bail!("{why}"),
        }
    }

    /// Closes it in peace, as dropping does without a word.
    ///
    /// # Errors
    /// When it can't be waited for.
    pub async fn close(mut self) -> Result<()> {
        drop(self.steps);
        self.process.wait().await?;
        Ok(())
    }
}
