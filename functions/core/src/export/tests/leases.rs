//! How long a lease lasts, when it is released, and what a run does whose lease is gone.

use super::{overlaps::with_events, *};
use crate::{
    failure::Code,
    fakes::{Fault, Op},
    lease::{LEASE_MARGIN, Lease},
};

fn throttled() -> Failure {
    Failure::new(Code::Throttled, "slow down")
}

/// Gives another run the lease right before an operation.
fn take_over(world: &World, op: Op) {
    let fakes = world.fakes.clone();
    let take = move || {
        fakes.state().tenants.get_mut("acme").unwrap().lease = Some(Lease::new([9; 16], clock("11:40")));
    };
    world.fakes.once(op, None, Fault::After(Box::new(take)));
}

#[test]
fn a_lease_lasts_until_half_an_hour_after_the_deadline() {
    let world = with_events();
    world.fakes.once(Op::Page, None, Fault::Crash);
    assert!(world.try_tick("11:00").is_none());
    let lease = world.fakes.state().tenants["acme"].lease.clone().unwrap();
    assert_eq!(lease.until, clock("11:02") + RUN_TIME + LEASE_MARGIN);
    assert_eq!(lease.token.len(), 32);
}

#[test]
fn each_run_makes_another_token_for_each_tenant() {
    let world = with_events();
    world.connect("globex", "1", "10:00");
    world.fakes.always(Op::Finish, None, throttled());
    world.fakes.state().in_doubt = true;
    world.tick("11:00").unwrap();
    let lease = |tenant: &str| world.fakes.state().tenants[tenant].lease.clone().unwrap().token;
    let first = [lease("acme"), lease("globex")];
    ["acme", "globex"].iter().for_each(|tenant| world.expire_lease(tenant));
    world.tick("11:00").unwrap();
    let tokens = std::collections::BTreeSet::from_iter([first, [lease("acme"), lease("globex")]].concat());
    assert_eq!(tokens.len(), 4);
}

#[test]
fn the_last_commit_releases_the_lease() {
    let world = with_events();
    assert_eq!(world.tick("13:00").unwrap().objects, 3);
    assert!(!world.is_leased("acme"));
    assert_eq!((world.fakes.calls(Op::AcquireLease), world.fakes.calls(Op::ReleaseLease)), (1, 0));
}

#[test]
fn a_run_that_has_exported_its_maximum_releases_the_lease() {
    let mut world = with_events();
    world.options.max_windows = 1;
    assert_eq!(counts(&world.tick("13:00").unwrap()), (0, 0, 1));
    assert_eq!((world.is_leased("acme"), world.fakes.calls(Op::ReleaseLease)), (false, 0));
}

#[test]
fn a_failure_releases_the_lease_unless_an_object_may_still_be_stored() {
    for in_doubt in [false, true] {
        let world = with_events();
        world.fakes.once(Op::Finish, None, Fault::Fail(throttled()));
        world.fakes.state().in_doubt = in_doubt;
        assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0));
        assert_eq!(world.fakes.state().tenants["acme"].consecutive_failures, 1);
        assert_eq!(world.is_leased("acme"), in_doubt);
    }
}

#[test]
fn a_stop_releases_the_lease_unless_an_object_may_still_be_stored() {
    for in_doubt in [false, true] {
        let mut world = with_events();
        world.options.max_object_bytes = 10;
        world.fakes.state().in_doubt = in_doubt;
        let fakes = world.fakes.clone();
        let now = clock("11:02");
        let stop = move || fakes.calls(Op::SaveCheckpoint) > 0;
        let report = world.run(clock("11:00"), &move || now, &stop).unwrap().unwrap();
        assert_eq!((counts(&report), report.unfinished.len()), ((0, 0, 1), 1));
        assert_eq!(world.is_leased("acme"), in_doubt);
    }
}

#[test]
fn after_a_commit_a_request_in_doubt_could_only_store_the_committed_bytes() {
    let world = with_events();
    world.fakes.state().in_doubt = true;
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert!(!world.is_leased("acme"));
}

#[test]
fn a_window_is_not_read_again_while_an_object_may_still_be_stored() {
    let world = with_events();
    world.fakes.state().in_doubt = true;
    let other = world.clone();
    let save = move || other.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, clock("11:02"));
    world.fakes.once(Op::Commit, None, Fault::After(Box::new(save)));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 0, 1));
    assert_eq!((world.fakes.calls(Op::Finish), world.is_leased("acme")), (1, true));
    world.fakes.state().in_doubt = false;
    assert_eq!(counts(&world.tick("12:00").unwrap()), (1, 0, 0));
}

#[test]
fn a_run_whose_lease_is_gone_commits_nothing_and_fails() {
    for op in [Op::SaveCheckpoint, Op::Commit] {
        let mut world = with_events();
        world.options.max_object_bytes = 10;
        take_over(&world, op);
        let report = world.tick("11:00").unwrap();
        assert_eq!((counts(&report), report.lease_lost), ((0, 1, 0), 1), "{op:?}");
        assert_eq!(report.failures[0].code, Code::LeaseLost, "{op:?}");
        let acme = world.fakes.state().tenants["acme"].clone();
        assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z", "{op:?}");
        assert_eq!((acme.consecutive_failures, acme.receipts.len()), (0, 0), "{op:?}");
        assert_eq!(acme.lease.unwrap().token, "09".repeat(16), "{op:?}: the other lease stays");
    }
}

#[test]
fn a_run_whose_lease_has_expired_commits_nothing() {
    let world = with_events();
    let fakes = world.fakes.clone();
    let now = move || {
        clock("11:02") + if fakes.calls(Op::Finish) > 0 { RUN_TIME + LEASE_MARGIN * 2 } else { TimeDelta::zero() }
    };
    let report = world.run(clock("11:00"), &now, &|| false).unwrap().unwrap();
    assert_eq!((counts(&report), report.lease_lost), ((0, 1, 0), 1));
    assert_eq!(world.fakes.calls(Op::Commit), 0);
}

#[test]
fn a_failure_is_recorded_only_under_the_lease() {
    let world = with_events();
    world.fakes.once(Op::Finish, None, Fault::Fail(throttled()));
    take_over(&world, Op::RecordFailure);
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0), "the report has the failure");
    assert_eq!(world.fakes.state().tenants["acme"].consecutive_failures, 0);
    assert!(world.is_leased("acme"));
}

#[test]
fn a_commit_whose_answer_was_lost_is_no_failure() {
    for hours in ["11:00", "13:00"] {
        let world = with_events();
        let other = world.clone();
        // The first attempt is carried out, and the second finds the watermark moved.
        let carried_out = move || {
            let mut state = other.fakes.state();
            let acme = state.tenants.get_mut("acme").unwrap();
            let watermark = acme.watermark.as_mut().unwrap();
            watermark.exported_until = Some("2026-11-21T11:00:00Z".to_owned());
            watermark.next_due = Some("2026-11-21T12:00:00Z".to_owned());
            if hours == "11:00" {
                acme.lease = None;
            }
        };
        world.fakes.once(Op::Commit, None, Fault::After(Box::new(carried_out)));
        let report = world.tick(hours).unwrap();
        assert_eq!((counts(&report), report.lease_lost), ((1, 0, 0), 0), "{hours}");
        assert_eq!(world.exported_until("acme"), format!("2026-11-21T{hours}:00Z"));
    }
}

#[test]
fn a_commit_without_an_answer_that_was_not_carried_out_is_a_failure() {
    let world = with_events();
    world.fakes.once(Op::Commit, None, Fault::Fail(throttled()));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0));
    assert_eq!(world.fakes.state().tenants["acme"].consecutive_failures, 1);
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
}

#[test]
fn a_lease_that_cannot_be_acquired_is_the_platforms_failure() {
    let world = with_events();
    world.fakes.once(Op::AcquireLease, None, Fault::Fail(throttled()));
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.failed_by_platform), ((0, 1, 0), vec!["acme".to_owned()]));
    assert_eq!(world.fakes.calls(Op::ReleaseLease), 1, "it may have been acquired");
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
}

#[test]
fn a_lease_that_cannot_be_released_expires_by_itself() {
    let mut world = with_events();
    world.options.max_object_bytes = 10;
    world.fakes.once(Op::ReleaseLease, None, Fault::Fail(throttled()));
    world.fakes.once(Op::SaveCheckpoint, None, Fault::Fail(throttled()));
    world.tick("11:00").unwrap();
    assert!(world.is_leased("acme"));
    assert_eq!(counts(&world.tick("12:00").unwrap()), (1, 0, 0));
}

#[test]
fn a_tenant_whose_window_has_not_settled_is_not_leased() {
    let mut world = with_events();
    world.options.settle = TimeDelta::minutes(10);
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 0, 1));
    assert_eq!(world.fakes.calls(Op::AcquireLease), 0);
}

#[test]
fn a_failure_of_damaged_settings_is_noted_only_under_the_lease() {
    let world = with_events();
    world.fakes.state().tenants.get_mut("acme").unwrap().config = None;
    let held = Lease::new([9; 16], clock("11:40"));
    world.fakes.state().tenants.get_mut("acme").unwrap().lease = Some(held);
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.leased), ((0, 0, 1), 1));
    assert_eq!(counts(&world.tick("12:00").unwrap()), (0, 1, 0));
    let acme = world.fakes.state().tenants["acme"].clone();
    assert_eq!((acme.consecutive_failures, acme.lease), (1, None));
}
