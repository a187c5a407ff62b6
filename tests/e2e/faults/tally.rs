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
    /// The next run made up for it, or the one after the end of the lease that was left.
    Mended { left_leased: bool },
    /// The same, but for notifications or a lease of a tenant that was not due any more: the next hour's tick saw to them.
    SettledLater { left_leased: bool },
}

/// The cases of one test.
pub(crate) struct TenantReport {
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
    settled_later: usize,
    /// Of all of these, those that left a lease.
    left_leased: usize,
}

impl TenantReport {
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
            Ok(End::Mended { left_leased }) => {
                ends.mended += 1;
                ends.left_leased += usize::from(left_leased);
            }
            Ok(End::SettledLater { left_leased }) => {
                ends.settled_later += 1;
                ends.left_leased += usize::from(left_leased);
            }
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

    /// Prints everything, and fails if anything was wrong.
    pub(crate) fn finish(self) -> Result<()> {
        say(&format!("  {}:", self.title));
        say("  operation | fault | calls | ridden out | mended | settled by the next hour's tick | left a lease");
        for ((operation, fault), ends) in &self.ends {
            let Ends { calls, ridden_out, mended, settled_later, left_leased } = ends;
            let calls = calls.len();
            say(&format!(
                "  {operation} | {fault:?} | {calls} | {ridden_out} | {mended} | {settled_later} | {left_leased}"
            ));
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
