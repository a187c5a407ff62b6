//! The exporter's real binary, killed at each of its AWS calls, and with each of them failing in each way that it can.
//!
//! README.md beside this says what is done and what is promised. In reading order: [`world`] is the platform with its tenants,
//! [`scenario`] what a run is about, [`start`] what it finds, [`run`] is one run behind the fault proxy, [`state`] is what it
//! leaves, [`announcements`] what is announced and heard, [`plan`] says what is done to which call, [`tally`] counts.

mod announcements;
mod plan;
mod run;
mod scenario;
mod start;
mod state;
mod tally;
mod world;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use audit_log_tests::fault_proxy::{Fault, Service};

use plan::Case;
use run::Outcome;
use scenario::{CALLS, Scenario};
use state::State;
use tally::{End, TenantReport};
use world::{FAILING, Turns, World};

static KILLED: Turns = Turns::new();
static FAULTY: Turns = Turns::new();

/// A scenario without a fault: what its run did, what that leaves, and what another run of the same hour leaves after it.
struct Undisturbed {
    outcome: Outcome,
    first: State,
    next: State,
}

async fn undisturbed(world: &World, scenario: Scenario) -> Result<Undisturbed> {
    world.restore(scenario).await?;
    let outcome = world.run(scenario, scenario.hour(), None).await?;
    ensure!(!outcome.failed, "the undisturbed run failed: {:?}", outcome.answers);
    let first = world.state(scenario).await?;
    world.run(scenario, scenario.hour(), None).await?;
    let next = world.state(scenario).await?;
    for state in [&first, &next] {
        ensure!(state.unfinished.is_empty(), "left behind: {:?}", state.unfinished);
        ensure!(state.is_unsettled().is_empty(), "after an undisturbed run, {}", state.is_unsettled());
    }
    Ok(Undisturbed { outcome, first, next })
}

/// Does one thing to one call, on the state of the start, and lets later runs do what is left to do.
async fn disturbed(world: &World, scenario: Scenario, case: &Case, without: &Undisturbed) -> Result<End> {
    let (call, fault) = case;
    world.restore(scenario).await?;
    let outcome = world.run(scenario, scenario.hour(), Some(case)).await?;
    ensure!(outcome.hit, "the call never came; there were {:#?}", outcome.calls);
    let aborted = outcome.calls.iter().any(|call| call.name.operation == "AbortMultipartUpload");
    let refused = [Fault::Deny, Fault::LoseForGood].contains(fault);
    let in_parts = ["UploadPart", "CompleteMultipartUpload"].contains(&plan::operation(&call.name));
    ensure!(scenario == Scenario::PartRefused || aborted == (refused && in_parts), "aborted: {aborted}");
    let state = world.state(scenario).await?;
    let orphans = plan::orphans(scenario, call, *fault);
    ensure!(state.unfinished.len() == orphans, "left behind: {:?}", state.unfinished);
    let leased = plan::leased(scenario, &without.outcome, &outcome, case);
    ensure!(state.leased == leased, "{:?} are leased, and should be {leased:?}", state.leased);
    let is_done = !fault.kills() && state.differs_from(&without.first).is_empty();
    if is_done && state.is_unsettled().is_empty() {
        return Ok(End::RiddenOut);
    }
    let due = state.leased_and_due(scenario.hour())?;
    let meeting = if due.is_empty() { None } else { Some(deferring(world, scenario, &due).await?) };
    world.let_leases_end().await?;
    let mending = world.run(scenario, scenario.hour(), None).await?;
    ensure!(!mending.failed, "the next run failed, too: {:?}", mending.answers);
    ensure!(mending.deferred.is_empty(), "{:?} are leased without a lease", mending.deferred);
    // A tick that has answered has handed every tenant over, and what is not done comes again without another tick. Only a
    // customer's failure, noted or not, keeps no batch from being done; nor does a notification that is left, or a lease.
    let handed_over = scenario == Scenario::FannedOut && !outcome.answers.is_empty() && !outcome.failed;
    let is_noting =
        plan::tenant(&call.name) == FAILING && ["TransactWriteItems", "GetItem"].contains(&plan::operation(&call.name));
    let is_customers = matches!(call.name.service, Service::S3 | Service::Sts) || is_noting;
    let stays_away = is_done || is_customers && !fault.kills();
    let redelivered = meeting.as_ref().unwrap_or(&mending).redelivered;
    ensure!(redelivered || !handed_over || stays_away, "the batch did not come again");
    ensure!(meeting.is_none() || !mending.redelivered, "a batch that met a lease was not acknowledged");
    let state = world.state(scenario).await?;
    let differences = state.differs_from(&without.next);
    ensure!(differences.is_empty(), "after the next run, {differences}");
    ensure!(state.unfinished.len() == orphans, "left behind: {:?}", state.unfinished);
    let left_leased = !leased.is_empty();
    if state.is_unsettled().is_empty() {
        return Ok(End::Mended { left_leased });
    }
    // A tenant that is not due has its notifications published, and its lease acquired again, at its next tick.
    world.run(scenario, scenario.next_hour(), None).await?;
    let unsettled = world.state(scenario).await?.is_unsettled();
    ensure!(unsettled.is_empty(), "after the next hour's tick, {unsettled}");
    Ok(End::SettledLater { left_leased })
}

/// A run before leases end: it defers these tenants, says so, and leaves all that is stored of them as it is.
async fn deferring(world: &World, scenario: Scenario, leased: &BTreeSet<String>) -> Result<Outcome> {
    let before = world.stored(leased).await?;
    let outcome = world.run(scenario, scenario.hour(), None).await?;
    ensure!(!outcome.failed, "the run before the lease's end failed: {:?}", outcome.answers);
    ensure!(outcome.deferred == *leased, "{:?} are deferred, and should be {leased:?}", outcome.deferred);
    if scenario != Scenario::FannedOut {
        let answer = &outcome.answers[0];
        ensure!(answer["leased"] == leased.len() && answer["deferred"] == leased.len(), "the answer is {answer}");
        let failures = answer["failures"].as_array().into_iter().flatten();
        let failed: Vec<_> = failures.filter_map(|it| it["tenantId"].as_str()).collect();
        ensure!(failed.iter().all(|tenant| !leased.contains(*tenant)), "the answer is {answer}");
    }
    let after = world.stored(leased).await?;
    ensure!(before == after, "what is stored of {leased:?} was {before:?}, and is {after:?}");
    Ok(outcome)
}

#[test]
fn undisturbed_runs_make_every_kind_of_call_and_their_receipts_tell_what_lies_in_the_buckets() -> Result<()> {
    FAULTY.take(async |world| {
        let mut made = BTreeSet::new();
        for scenario in Scenario::ALL {
            let Undisturbed { outcome, first, .. } = undisturbed(world, scenario).await?;
            made.extend(outcome.calls.into_iter().map(|call| call.name.operation));
            world.check_receipts(scenario).await?;
            let is_late = |key: &String| key.contains("_late_");
            ensure!(first.objects.keys().any(is_late) == (scenario == Scenario::Later), "{:?}", first.objects);
        }
        assert_eq!(made.iter().map(String::as_str).collect::<Vec<_>>(), CALLS);
        Ok(())
    })
}

#[test]
fn a_run_that_is_killed_at_any_call_is_made_up_for_by_the_first_tick_after_its_leases_end() -> Result<()> {
    KILLED.take(async |world| {
        let mut tally = TenantReport::of("killed");
        for scenario in Scenario::ALL {
            let without = undisturbed(world, scenario).await?;
            let cases = plan::kills(scenario, &without.outcome);
            tally.expect(cases.len());
            for case in cases {
                tally.note(&case, disturbed(world, scenario, &case, &without).await);
            }
        }
        ensure!(tally.operations() == BTreeSet::from(CALLS), "killed at {:?} alone", tally.operations());
        tally.finish()
    })
}

#[test]
fn a_call_that_fails_in_any_way_is_ridden_out_or_made_up_for_by_a_later_run() -> Result<()> {
    FAULTY.take(async |world| failing(world, "failing", &Scenario::ALL[..4]).await)
}

#[test]
fn so_is_a_call_of_a_later_tick_and_of_one_that_is_refused_something() -> Result<()> {
    KILLED.take(async |world| failing(world, "failing later", &Scenario::ALL[4..]).await)
}

async fn failing(world: &World, title: &'static str, scenarios: &[Scenario]) -> Result<()> {
    let mut tally = TenantReport::of(title);
    for scenario in scenarios {
        let without = undisturbed(world, *scenario).await?;
        let cases = plan::faults(*scenario, &without.outcome);
        tally.expect(cases.len());
        for case in cases {
            tally.note(&case, disturbed(world, *scenario, &case, &without).await);
        }
    }
    tally.finish()
}
