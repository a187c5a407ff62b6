//! Kills the exporter's binary at its AWS calls, and makes calls fail: a sample, or by `make faults` many more.
//!
//! README.md explains the tests. In reading order: [`scenario`] is what a run does, [`start`] the tables at its start,
//! [`world`] the platform with its tenants, [`run`] a run behind the fault proxy, [`restore`] resets everything, [`shared`]
//! shares worlds among the tests, [`state`] is what a run leaves, [`announcements`] compares notifications, [`chains`]
//! verifies manifests, [`plan`] chooses faults and expects their effects, [`tally`] counts.

mod announcements;
mod chains;
mod plan;
mod restore;
mod run;
mod scenario;
mod shared;
mod start;
mod state;
mod tally;
mod world;

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use audit_log_tests::fault_proxy::{Fault, Service};

use plan::{Case, Chosen};
use run::Outcome;
use scenario::{CALLS, FAILING, Scenario};
use shared::SharedWorld;
use state::State;
use tally::{Recovery, Tally};
use world::World;

static KILLED: SharedWorld = SharedWorld::new();
static FAULTY: SharedWorld = SharedWorld::new();

/// A scenario without a fault.
struct Undisturbed {
    outcome: Outcome,
    /// After the run.
    first: State,
    /// After another run for the same hour.
    next: State,
}

async fn run_undisturbed(world: &World, scenario: Scenario) -> Result<Undisturbed> {
    world.restore(scenario).await?;
    let outcome = world.run(scenario, scenario.hour(), None).await?;
    ensure!(!outcome.failed, "the undisturbed run failed: {:?}", outcome.answers);
    let first = world.state(scenario).await?;
    world.run(scenario, scenario.hour(), None).await?;
    let next = world.state(scenario).await?;
    for state in [&first, &next] {
        ensure!(state.unfinished.is_empty(), "unfinished uploads: {:?}", state.unfinished);
        ensure!(state.open_work().is_empty(), "after an undisturbed run, {}", state.open_work());
    }
    world.verify_chains(scenario).await?;
    Ok(Undisturbed { outcome, first, next })
}

/// Runs a scenario with a fault, and then runs without one until everything is done.
async fn run_with_fault(world: &World, scenario: Scenario, case: &Case, without: &Undisturbed) -> Result<Recovery> {
    let (call, fault) = case;
    world.restore(scenario).await?;
    let outcome = world.run(scenario, scenario.hour(), Some(case)).await?;
    ensure!(outcome.hit, "the planned call was not made: {:#?}", outcome.calls);
    let aborted = outcome.calls.iter().any(|call| call.name.operation == "AbortMultipartUpload");
    let refused = [Fault::Deny, Fault::LoseAnswerAndDenyRetry].contains(fault);
    let in_parts = ["UploadPart", "CompleteMultipartUpload"].contains(&plan::operation(&call.name));
    ensure!(scenario == Scenario::PartRefused || aborted == (refused && in_parts), "aborted: {aborted}");
    let state = world.state(scenario).await?;
    let orphans = plan::orphans(scenario, call, *fault);
    ensure!(state.unfinished.len() == orphans, "unfinished uploads: {:?}", state.unfinished);
    let leased = plan::leased(scenario, &without.outcome, &outcome, case);
    ensure!(state.leased == leased, "leased: {:?}, expected {leased:?}", state.leased);
    let is_done = !fault.kills() && state.differs_from(&without.first).is_empty();
    if is_done && state.open_work().is_empty() {
        world.verify_chains(scenario).await?;
        return Ok(Recovery::SameRun);
    }
    let due = state.leased_and_due(scenario.hour())?;
    let deferral = if due.is_empty() { None } else { Some(check_deferral(world, scenario, &due).await?) };
    world.expire_leases().await?;
    let repair = world.run(scenario, scenario.hour(), None).await?;
    ensure!(!repair.failed, "the next run failed too: {:?}", repair.answers);
    ensure!(repair.deferred.is_empty(), "deferred without a lease: {:?}", repair.deferred);
    // A tick that answered has queued every tenant. The queue redelivers a batch unless the run did everything or the failure
    // is the customer's, recorded or not.
    let queued = scenario == Scenario::FannedOut && !outcome.answers.is_empty() && !outcome.failed;
    let records_failure =
        plan::tenant(&call.name) == FAILING && ["TransactWriteItems", "GetItem"].contains(&plan::operation(&call.name));
    let is_customer_failure = matches!(call.name.service, Service::S3 | Service::Sts) || records_failure;
    let is_acknowledged = is_done || is_customer_failure && !fault.kills();
    let redelivered = deferral.as_ref().unwrap_or(&repair).redelivered;
    ensure!(redelivered || !queued || is_acknowledged, "the batch was not redelivered");
    ensure!(deferral.is_none() || !repair.redelivered, "a batch of a leased tenant was not acknowledged");
    let state = world.state(scenario).await?;
    let differences = state.differs_from(&without.next);
    ensure!(differences.is_empty(), "after the next run, {differences}");
    world.verify_chains(scenario).await?;
    ensure!(state.unfinished.len() == orphans, "unfinished uploads: {:?}", state.unfinished);
    let left_leased = !leased.is_empty();
    if state.open_work().is_empty() {
        return Ok(Recovery::NextRun { left_leased });
    }
    // For a tenant that isn't due anymore, its next tick publishes notifications and acquires the lease.
    world.run(scenario, scenario.next_hour(), None).await?;
    let open_work = world.state(scenario).await?.open_work();
    ensure!(open_work.is_empty(), "after the next hour's tick, {open_work}");
    Ok(Recovery::NextTick { left_leased })
}

/// Runs once before the leases end. The run must defer these tenants and change nothing of theirs.
async fn check_deferral(world: &World, scenario: Scenario, leased: &BTreeSet<String>) -> Result<Outcome> {
    let before = world.stored(leased).await?;
    let outcome = world.run(scenario, scenario.hour(), None).await?;
    ensure!(!outcome.failed, "the run before the lease's end failed: {:?}", outcome.answers);
    ensure!(outcome.deferred == *leased, "deferred: {:?}, expected {leased:?}", outcome.deferred);
    if scenario != Scenario::FannedOut {
        let answer = &outcome.answers[0];
        ensure!(answer["leased"] == leased.len() && answer["deferred"] == leased.len(), "the answer is {answer}");
        let failures = answer["failures"].as_array().into_iter().flatten();
        let failed: Vec<_> = failures.filter_map(|it| it["tenantId"].as_str()).collect();
        ensure!(failed.iter().all(|tenant| !leased.contains(*tenant)), "the answer is {answer}");
    }
    let after = world.stored(leased).await?;
    ensure!(before == after, "records or objects of {leased:?} changed from {before:?} to {after:?}");
    Ok(outcome)
}

#[test]
fn undisturbed_runs_make_every_kind_of_call_and_their_receipts_match_the_buckets() -> Result<()> {
    FAULTY.run_alone(async |world| {
        let mut made = BTreeSet::new();
        for scenario in Scenario::ALL {
            let Undisturbed { outcome, first, .. } = run_undisturbed(world, scenario).await?;
            made.extend(outcome.calls.into_iter().map(|call| call.name.operation));
            world.check_receipts(scenario).await?;
            let manifests = first.objects.keys().filter(|key| key.ends_with(".manifest")).count();
            let exporting = scenario.tenants().iter().filter(|tenant| !scenario.never_commits(tenant)).count();
            ensure!((manifests > 0) == (exporting > 0 && scenario != Scenario::Idle), "{:?}", first.objects);
            let is_late = |key: &String| key.contains("_late_");
            ensure!(first.objects.keys().any(is_late) == (scenario == Scenario::Later), "{:?}", first.objects);
        }
        assert_eq!(made.iter().map(String::as_str).collect::<Vec<_>>(), CALLS);
        Ok(())
    })
}

#[test]
fn after_a_run_is_killed_at_any_call_the_first_tick_after_its_leases_end_exports_everything() -> Result<()> {
    KILLED.run_alone(async |world| {
        let (mut tally, mut chosen) = (Tally::new("killed"), Chosen::default());
        for scenario in Scenario::ALL {
            let without = run_undisturbed(world, scenario).await?;
            let cases = chosen.kills(plan::kills(scenario, &without.outcome));
            tally.expect(cases.len());
            for case in cases {
                tally.note(&case, run_with_fault(world, scenario, &case, &without).await);
            }
        }
        ensure!(tally.operations() == BTreeSet::from(CALLS), "killed only at {:?}", tally.operations());
        tally.finish()
    })
}

#[test]
fn after_a_call_fails_in_any_way_this_run_or_a_later_one_exports_everything() -> Result<()> {
    FAULTY.run_alone(async |world| {
        let faults = test_faults(world, "failing", &Scenario::ALL[..4]).await?;
        let missing: Vec<_> = plan::FAULTS.iter().filter(|fault| !faults.contains(fault)).collect();
        ensure!(missing.is_empty(), "no call failed by {missing:?}");
        Ok(())
    })
}

#[test]
fn after_a_call_of_a_later_tick_fails_in_any_way_this_run_or_a_later_one_exports_everything() -> Result<()> {
    KILLED.run_alone(async |world| test_faults(world, "failing later", &Scenario::ALL[4..]).await.map(drop))
}

/// Returns the kinds of faults.
async fn test_faults(world: &World, title: &'static str, scenarios: &[Scenario]) -> Result<BTreeSet<Fault>> {
    let (mut tally, mut chosen) = (Tally::new(title), Chosen::default());
    for scenario in scenarios {
        let without = run_undisturbed(world, *scenario).await?;
        let cases = chosen.faults(plan::faults(*scenario, &without.outcome));
        tally.expect(cases.len());
        for case in cases {
            tally.note(&case, run_with_fault(world, *scenario, &case, &without).await);
        }
    }
    let faults = tally.faults();
    tally.finish()?;
    Ok(faults)
}
