//! The exporter's real binary, killed at each of its AWS calls, and with each of them failing in each way that it can.
//!
//! README.md beside this says what is done and what is promised. In reading order: [`world`] is who is there, [`run`] is
//! one run behind the fault proxy, [`state`] is what it leaves, [`plan`] says what is done to which call, [`tally`] counts.

mod plan;
mod run;
mod state;
mod tally;
mod world;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use audit_log_tests::fault_proxy::{Fault, Service};

use plan::Case;
use run::{Outcome, Scenario};
use state::State;
use tally::{End, Tally};
use world::{Turns, World};

const SCENARIOS: [Scenario; 4] = [Scenario::Inline, Scenario::Parts, Scenario::FannedOut, Scenario::Idle];

/// Every kind of call that a tick can make, but for two that take another run at the same time: `PutItem` amends a receipt,
/// and a transaction without its news tells nothing twice.
const CALLS: [&str; 18] = [
    "AbortMultipartUpload of none",
    "AssumeRole",
    "BatchGetItem",
    "CompleteMultipartUpload",
    "CreateMultipartUpload",
    "GetItem",
    "PutEvents",
    "PutObject",
    "Query",
    "Query due",
    "Query due, Limit",
    "SendMessageBatch",
    "TransactWriteItems Update+ConditionCheck",
    "TransactWriteItems Update+ConditionCheck+Put",
    "TransactWriteItems Update+ConditionCheck+Put+Put+Put",
    "TransactWriteItems Update+Put+Put",
    "UpdateItem",
    "UploadPart",
];

static KILLED: Turns = Turns::new();
static FAILING: Turns = Turns::new();

/// Runs a scenario from the start without a fault: what it did, and what it leaves.
async fn undisturbed(world: &World, scenario: Scenario) -> Result<(Outcome, State)> {
    world.restore(scenario).await?;
    let outcome = world.run(scenario, None).await?;
    ensure!(!outcome.failed, "the undisturbed run failed: {:?}", outcome.answers);
    let state = world.state(scenario).await?;
    ensure!(state.unfinished.is_empty(), "left behind: {:?}", state.unfinished);
    Ok((outcome, state))
}

/// Does one thing to one call, on the state of the start, and lets the next run mend what is left to do.
async fn disturbed(world: &World, scenario: Scenario, case: &Case, expected: &State) -> Result<End> {
    let (call, fault) = case;
    world.restore(scenario).await?;
    let outcome = world.run(scenario, Some(case)).await?;
    ensure!(outcome.hit, "the call never came; there were {:#?}", outcome.calls);
    let aborted = outcome.calls.iter().any(|call| call.name.operation == "AbortMultipartUpload");
    let refused = [Fault::Deny, Fault::LoseForGood].contains(fault);
    let in_parts = ["UploadPart", "CompleteMultipartUpload"].contains(&plan::operation(&call.name));
    ensure!(aborted == (refused && in_parts), "aborted: {aborted}");
    let mut state = world.state(scenario).await?;
    let orphans = plan::orphans(call, *fault);
    ensure!(state.unfinished.len() == orphans, "left behind: {:?}", state.unfinished);
    if !fault.kills() && state.differs_from(expected).is_empty() {
        return Ok(End::RiddenOut);
    }
    let mending = world.run(scenario, None).await?;
    ensure!(!mending.failed, "the next run failed, too: {:?}", mending.answers);
    // A tick that has answered has handed everybody over, and what is not done comes again without another tick. Only a
    // customer's failure, noted or not, keeps no batch from being done.
    let handed_over = scenario == Scenario::FannedOut && !outcome.answers.is_empty() && !outcome.failed;
    let is_customers = matches!(call.name.service, Service::S3 | Service::Sts)
        || call.name.operation == "TransactWriteItems Update+Put+Put";
    ensure!(mending.redelivered || !handed_over || is_customers && !fault.kills(), "the batch did not come again");
    state = world.state(scenario).await?;
    let differences = state.differs_from(expected);
    ensure!(differences.is_empty(), "after the next run, {differences}");
    ensure!(state.unfinished.len() == orphans, "left behind: {:?}", state.unfinished);
    Ok(End::Mended)
}

#[test]
fn undisturbed_runs_make_every_kind_of_call_and_their_receipts_tell_what_lies_in_the_buckets() -> Result<()> {
    KILLED.take(async |world| {
        let mut made = BTreeSet::new();
        for scenario in SCENARIOS {
            let (outcome, _) = undisturbed(world, scenario).await?;
            made.extend(outcome.calls.into_iter().map(|call| call.name.operation));
            if scenario != Scenario::Idle {
                world.check_receipts(scenario).await?;
            }
        }
        assert_eq!(made.iter().map(String::as_str).collect::<Vec<_>>(), CALLS);
        Ok(())
    })
}

#[test]
fn a_run_that_is_killed_at_any_call_is_made_up_for_by_the_next() -> Result<()> {
    KILLED.take(async |world| {
        let mut tally = Tally::of("killed");
        for scenario in SCENARIOS {
            let (outcome, expected) = undisturbed(world, scenario).await?;
            let cases = plan::kills(scenario, &outcome);
            tally.expect(cases.len());
            for case in cases {
                tally.note(&case, disturbed(world, scenario, &case, &expected).await);
            }
        }
        tally.finish()
    })
}

#[test]
fn a_call_that_fails_in_any_way_is_ridden_out_or_made_up_for_by_the_next_run() -> Result<()> {
    FAILING.take(async |world| {
        let mut tally = Tally::of("failing");
        for scenario in SCENARIOS {
            let (outcome, expected) = undisturbed(world, scenario).await?;
            let cases = plan::faults(scenario, &outcome);
            tally.expect(cases.len());
            for case in cases {
                tally.note(&case, disturbed(world, scenario, &case, &expected).await);
            }
        }
        tally.finish()
    })
}
