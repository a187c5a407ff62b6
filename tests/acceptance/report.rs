//! The steps' results: lines while they run, a table at the end.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::Result;
use audit_log_tests::project::last_lines;
use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Outcome {
    #[serde(rename = "passed")]
    Passed,
    #[serde(rename = "warning")]
    Warning,
    #[serde(rename = "failed")]
    Failed,
    /// The local AWS can't answer.
    #[serde(rename = "not available here")]
    NotAvailable,
    #[serde(rename = "skipped")]
    Skipped,
}

impl Outcome {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Warning => "warning",
            Self::Failed => "failed",
            Self::NotAvailable => "not available here",
            Self::Skipped => "skipped",
        }
    }
}

/// What a step found, and what the next steps need of it.
pub(crate) struct Found<T> {
    pub(crate) outcome: Outcome,
    answer: String,
    value: T,
}

pub(crate) fn passed<T>(value: T, answer: impl Into<String>) -> Result<Found<T>> {
    Ok(Found { outcome: Outcome::Passed, answer: answer.into(), value })
}

pub(crate) fn warning(answer: impl Into<String>) -> Result<Found<()>> {
    Ok(Found { outcome: Outcome::Warning, answer: answer.into(), value: () })
}

pub(crate) fn not_available(reason: impl Into<String>) -> Result<Found<()>> {
    Ok(Found { outcome: Outcome::NotAvailable, answer: reason.into(), value: () })
}

pub(crate) fn skipped(reason: impl Into<String>) -> Result<Found<()>> {
    Ok(Found { outcome: Outcome::Skipped, answer: reason.into(), value: () })
}

/// A step failed, so those that need it can't run.
#[derive(Debug)]
pub(crate) struct Stopped;

struct Row {
    step: &'static str,
    outcome: Outcome,
    answer: String,
    took: Duration,
}

/// Steps that need nothing of each other run at the same time.
#[derive(Default)]
pub(crate) struct Report {
    rows: RefCell<Vec<Row>>,
    running: RefCell<Vec<(&'static str, Instant)>>,
}

impl Report {
    /// Runs a step and notes the result.
    pub(crate) async fn step<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = Result<Found<T>>>,
    ) -> Result<T, Stopped> {
        println!("{:<20}{step} …", "");
        self.running.borrow_mut().push((step, Instant::now()));
        let found = work.await;
        match found {
            Ok(Found { outcome, answer, value }) => {
                self.end(step, outcome, answer);
                Ok(value)
            }
            Err(error) => {
                self.end(step, Outcome::Failed, format!("{error:#}"));
                Err(Stopped)
            }
        }
    }

    /// A signal came.
    pub(crate) fn interrupt(&self) {
        let running: Vec<_> = self.running.borrow().iter().map(|(step, _)| *step).collect();
        for step in running {
            self.end(step, Outcome::Failed, "interrupted".to_owned());
        }
    }

    fn end(&self, step: &'static str, outcome: Outcome, answer: String) {
        let mut running = self.running.borrow_mut();
        if let Some(position) = running.iter().position(|(it, _)| *it == step) {
            let took = running.swap_remove(position).1.elapsed();
            println!("{:<20}{step} ({:.1} s): {answer}", outcome.as_str(), took.as_secs_f64());
            self.rows.borrow_mut().push(Row { step, outcome, answer, took });
        }
    }

    /// Puts these steps into their order, after all others, and adds those that did not run.
    pub(crate) fn complete(&self, steps: &[&'static str], reason: &str) {
        let mut rows = self.rows.borrow_mut();
        for step in steps {
            let skipped = || Row { step, outcome: Outcome::Skipped, answer: reason.to_owned(), took: Duration::ZERO };
            let row = rows.iter().position(|row| row.step == *step).map(|position| rows.remove(position));
            rows.push(row.unwrap_or_else(skipped));
        }
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.rows.borrow().iter().any(|row| row.outcome == Outcome::Failed)
    }

    /// Whether one of these steps did not do its work.
    pub(crate) fn has_leftovers(&self, steps: &[&str]) -> bool {
        let is_done = |row: &Row| row.outcome == Outcome::Passed || !steps.contains(&row.step);
        !self.rows.borrow().iter().all(is_done)
    }

    pub(crate) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["step", "result", "what AWS answered", "seconds"]);
        for row in self.rows.borrow().iter() {
            let took = Cell::new(format!("{:.1}", row.took.as_secs_f64()));
            table.add_row([
                Cell::new(row.step),
                Cell::new(row.outcome.as_str()),
                Cell::new(last_lines(&row.answer, 8)),
                took,
            ]);
        }
        table
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows.borrow();
        let rows = rows.iter().map(|Row { step, outcome, answer, took }| {
            json!({ "step": step, "result": outcome, "answer": answer, "seconds": took.as_secs_f64() })
        });
        rows.collect()
    }
}
