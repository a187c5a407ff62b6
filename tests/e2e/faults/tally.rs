//! Counts faults and their outcomes, and prints progress and a table.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use audit_log_tests::fault_proxy::{Call, Fault};

use crate::plan::Case;

/// How a run recovered from a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Recovery {
    /// The run itself did everything.
    SameRun,
    /// The next run did the rest, after the end of a lease that was left.
    NextRun { left_leased: bool },
    /// The next hour's tick published notifications or released a lease of a tenant that wasn't due anymore.
    NextTick { left_leased: bool },
}

/// The cases of a test.
pub(crate) struct Tally {
    title: &'static str,
    started: Instant,
    planned: usize,
    done: usize,
    counts: BTreeMap<(String, Fault), Counts>,
    failures: Vec<String>,
}

#[derive(Default)]
struct Counts {
    calls: BTreeSet<Call>,
    same_run: usize,
    next_run: usize,
    next_tick: usize,
    /// Of all these, the ones that left a lease.
    left_leased: usize,
}

impl Tally {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, started: Instant::now(), planned: 0, done: 0, counts: BTreeMap::new(), failures: Vec::new() }
    }

    pub(crate) fn expect(&mut self, cases: usize) {
        self.planned += cases;
    }

    pub(crate) fn note(&mut self, (call, fault): &Case, recovery: Result<Recovery>) {
        let counts = self.counts.entry((call.name.operation.clone(), *fault)).or_default();
        counts.calls.insert(call.clone());
        match recovery {
            Ok(Recovery::SameRun) => counts.same_run += 1,
            Ok(Recovery::NextRun { left_leased }) => {
                counts.next_run += 1;
                counts.left_leased += usize::from(left_leased);
            }
            Ok(Recovery::NextTick { left_leased }) => {
                counts.next_tick += 1;
                counts.left_leased += usize::from(left_leased);
            }
            Err(error) => {
                print(&format!("{}: {fault:?} at {call}: {error:#}", self.title));
                self.failures.push(format!("{fault:?} at {call}: {error:#}"));
            }
        }
        self.done += 1;
        if self.done.is_multiple_of(20) || self.done == self.planned {
            let seconds = self.started.elapsed().as_secs();
            print(&format!("{}: {} of {} after {seconds} s", self.title, self.done, self.planned));
        }
    }

    /// The operations that got a fault.
    pub(crate) fn operations(&self) -> BTreeSet<&str> {
        self.counts.keys().map(|(operation, _)| operation.as_str()).collect()
    }

    /// The kinds of faults that a call got.
    pub(crate) fn faults(&self) -> BTreeSet<Fault> {
        self.counts.keys().map(|(_, fault)| *fault).collect()
    }

    /// Prints the table, and fails if any case failed.
    pub(crate) fn finish(self) -> Result<()> {
        print(&format!("  {}:", self.title));
        print("  operation | fault | calls | recovered in the run | by the next run | by the next tick | left a lease");
        for ((operation, fault), counts) in &self.counts {
            let Counts { calls, same_run, next_run, next_tick, left_leased } = counts;
            let calls = calls.len();
            print(&format!(
                "  {operation} | {fault:?} | {calls} | {same_run} | {next_run} | {next_tick} | {left_leased}"
            ));
        }
        let failures = self.failures.len();
        ensure!(failures == 0, "{failures} of {} failed:\n{}", self.done, self.failures.join("\n"));
        Ok(())
    }
}

/// To stderr, past the test harness, which holds a test's output back.
fn print(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
