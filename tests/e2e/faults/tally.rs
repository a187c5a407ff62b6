//! What was done, and what came of it: progress while it is done, and a table in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::Instant;

use anyhow::{Result, ensure};
use audit_log_tests::fault_proxy::{Call, Fault};

use crate::plan::Case;

/// How a disturbed run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// It did all that it would have done anyway.
    RiddenOut,
    /// The next run made up for it.
    Mended,
    /// The next run made up for it, but for what others had still to hear: they heard it after the next window.
    ToldLater,
}

/// The cases of one test.
pub(crate) struct Tally {
    title: &'static str,
    began: Instant,
    planned: usize,
    done: usize,
    ends: BTreeMap<(String, Fault), Ends>,
    wrong: Vec<String>,
}

#[derive(Default)]
struct Ends {
    calls: BTreeSet<Call>,
    ridden_out: usize,
    mended: usize,
    told_later: usize,
}

impl Tally {
    pub(crate) fn of(title: &'static str) -> Self {
        Self { title, began: Instant::now(), planned: 0, done: 0, ends: BTreeMap::new(), wrong: Vec::new() }
    }

    /// More is planned.
    pub(crate) fn expect(&mut self, cases: usize) {
        self.planned += cases;
    }

    pub(crate) fn note(&mut self, (call, fault): &Case, end: Result<End>) {
        let ends = self.ends.entry((call.name.operation.clone(), *fault)).or_default();
        ends.calls.insert(call.clone());
        match end {
            Ok(End::RiddenOut) => ends.ridden_out += 1,
            Ok(End::Mended) => ends.mended += 1,
            Ok(End::ToldLater) => ends.told_later += 1,
            Err(wrong) => {
                say(&format!("{}: {fault:?} at {call}: {wrong:#}", self.title));
                self.wrong.push(format!("{fault:?} at {call}: {wrong:#}"));
            }
        }
        self.done += 1;
        if self.done.is_multiple_of(20) || self.done == self.planned {
            let seconds = self.began.elapsed().as_secs();
            say(&format!("{}: {} of {} after {seconds} s", self.title, self.done, self.planned));
        }
    }

    /// The kinds of calls that something was done to.
    pub(crate) fn operations(&self) -> BTreeSet<&str> {
        self.ends.keys().map(|(operation, _)| operation.as_str()).collect()
    }

    /// Tells of everything, and fails if anything was wrong.
    pub(crate) fn finish(self) -> Result<()> {
        say(&format!("  {}:", self.title));
        say("  operation | fault | calls | ridden out | mended by the next run | told after the next window");
        for ((operation, fault), Ends { calls, ridden_out, mended, told_later }) in &self.ends {
            say(&format!("  {operation} | {fault:?} | {} | {ridden_out} | {mended} | {told_later}", calls.len()));
        }
        let wrong = self.wrong.len();
        ensure!(wrong == 0, "{wrong} of {} went wrong:\n{}", self.done, self.wrong.join("\n"));
        Ok(())
    }
}

/// Past the test harness, which keeps what a test prints until it is over.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
