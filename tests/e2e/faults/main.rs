//! The exporter's real binary, killed at each of its AWS calls, and with each of them failing in each way that it can.
//!
//! README.md beside this says what is done and what is promised. In reading order: [`world`] is who is there, [`scenario`]
//! what a run is about, [`start`] what it finds and [`later`] what a later one does, [`run`] is one run behind the fault
//! proxy, [`state`] is what it leaves, [`told`] whom it has told what, [`plan`] says what is done to which call, [`tally`]
//! counts.

mod later;
mod plan;
mod run;
mod scenario;
mod start;
mod state;
mod tally;
mod told;
mod world;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use audit_log_tests::fault_proxy::{Fault, Service};

use plan::Case;
use run::Outcome;
use scenario::{CALLS, Scenario};
use state::State;
use tally::{End, Tally};
use world::{Turns, World};

static KILLED: Turns = Turns::new();
static FAILING: Turns = Turns::new();

/// Runs a scenario from the start without a fault, and the run after that: what the first did, and what each leaves.
async fn undisturbed(world: &World, scenario: Scenario) -> Result<(Outcome, [State; 2])> {
    world.restore(scenario).await?;
    let outcome = world.run(scenario, 0, None).await?;
    ensure!(!outcome.failed, "the undisturbed run failed: {:?}", outcome.answers);
    let first = world.state(scenario).await?;
    ensure!(first.unfinished.is_empty(), "left behind: {:?}", first.unfinished);
    ensure!(first.told == first.heard, "the tenants know {:?}, and others {:?}", first.told, first.heard);
    world.run(scenario, 1, None).await?;
    let next = world.state(scenario).await?;
    for state in [&first, &next] {
        ensure!(state.owes_no_end(), "others have still to hear of an end: {:?}", state.owed);
    }
    Ok((outcome, [first, next]))
}

/// Does one thing to one call, on the state of the start, and lets the next run mend what is left to do.
async fn disturbed(world: &World, scenario: Scenario, case: &Case, expected: &[State; 2]) -> Result<End> {
    let (call, fault) = case;
    let [first, next] = expected;
    world.restore(scenario).await?;
    let outcome = world.run(scenario, 0, Some(case)).await?;
    ensure!(outcome.hit, "the call never came; there were {:#?}", outcome.calls);
    let aborted = outcome.calls.iter().any(|call| call.name.operation == "AbortMultipartUpload");
    let refused = [Fault::Deny, Fault::LoseForGood].contains(fault);
    let in_parts = ["UploadPart", "CompleteMultipartUpload"].contains(&plan::operation(&call.name));
    ensure!(scenario == Scenario::PartRefused || aborted == (refused && in_parts), "aborted: {aborted}");
    let mut state = world.state(scenario).await?;
    let orphans = plan::orphans(scenario, call, *fault);
    ensure!(state.unfinished.len() == orphans, "left behind: {:?}", state.unfinished);
    let is_done = !fault.kills() && state.differs_from(first).is_empty();
    if is_done && state.is_heard_otherwise_than(first).is_empty() {
        return Ok(End::RiddenOut);
    }
    world.an_hour_later().await?;
    let mending = world.run(scenario, 1, None).await?;
    ensure!(!mending.failed, "the next run failed, too: {:?}", mending.answers);
    // A tick that has answered has handed everybody over, and what is not done comes again without another tick. Only a
    // customer's failure, noted or not, keeps no batch from being done; nor does what others have not heard yet.
    let handed_over = scenario == Scenario::FannedOut && !outcome.answers.is_empty() && !outcome.failed;
    let is_customers = matches!(call.name.service, Service::S3 | Service::Sts)
        || call.name.operation == "TransactWriteItems Update+Put+Put";
    let stays_away = is_done || is_customers && !fault.kills();
    ensure!(mending.redelivered || !handed_over || stays_away, "the batch did not come again");
    state = world.state(scenario).await?;
    let differences = state.differs_from(next);
    ensure!(differences.is_empty(), "after the next run, {differences}");
    ensure!(state.unfinished.len() == orphans, "left behind: {:?}", state.unfinished);
    if state.is_heard_otherwise_than(next).is_empty() {
        return Ok(End::Mended);
    }
    // What was not told yet is told with the next window.
    world.run(scenario, 2, None).await?;
    let differences = world.state(scenario).await?.is_heard_otherwise_than(next);
    ensure!(differences.is_empty(), "after the next window, {differences}");
    Ok(End::ToldLater)
}

#[test]
fn undisturbed_runs_make_every_kind_of_call_and_their_receipts_tell_what_lies_in_the_buckets() -> Result<()> {
    FAILING.take(async |world| {
        let mut made = BTreeSet::new();
        for scenario in Scenario::ALL {
            let (outcome, [state, _]) = undisturbed(world, scenario).await?;
            made.extend(outcome.calls.into_iter().map(|call| call.name.operation));
            if scenario.delivers() {
                world.check_receipts(scenario).await?;
            }
            let is_late = |key: &String| key.contains("_late_");
            ensure!(state.objects.keys().any(is_late) == (scenario == Scenario::Later), "{:?}", state.objects);
        }
        assert_eq!(made.iter().map(String::as_str).collect::<Vec<_>>(), CALLS);
        Ok(())
    })
}

#[test]
fn a_run_that_is_killed_at_any_call_is_made_up_for_by_the_next() -> Result<()> {
    KILLED.take(async |world| {
        let mut tally = Tally::of("killed");
        for scenario in Scenario::ALL {
            let (outcome, expected) = undisturbed(world, scenario).await?;
            let cases = plan::kills(scenario, &outcome);
            tally.expect(cases.len());
            for case in cases {
                tally.note(&case, disturbed(world, scenario, &case, &expected).await);
            }
        }
        ensure!(tally.operations() == BTreeSet::from(CALLS), "killed at {:?} alone", tally.operations());
        tally.finish()
    })
}

#[test]
fn a_call_that_fails_in_any_way_is_ridden_out_or_made_up_for_by_the_next_run() -> Result<()> {
    FAILING.take(async |world| failing(world, "failing", &Scenario::ALL[..4]).await)
}

#[test]
fn so_is_a_call_of_a_later_tick_and_of_one_that_is_refused_something() -> Result<()> {
    KILLED.take(async |world| failing(world, "failing later", &Scenario::ALL[4..]).await)
}

async fn failing(world: &World, title: &'static str, scenarios: &[Scenario]) -> Result<()> {
    let mut tally = Tally::of(title);
    for scenario in scenarios {
        let (outcome, expected) = undisturbed(world, *scenario).await?;
        let cases = plan::faults(*scenario, &outcome);
        tally.expect(cases.len());
        for case in cases {
            tally.note(&case, disturbed(world, *scenario, &case, &expected).await);
        }
    }
    tally.finish()
}
