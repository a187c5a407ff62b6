//! Duplicates, overlaps and crashes: only the run that has the lease stores objects.

use super::*;
use crate::fakes::{Fault, Op};

pub(super) fn with_events() -> World {
    let world = World::with_acme();
    for minute in ["10", "20", "30"] {
        world.event("acme", &format!("2026-11-21T10:{minute}:00.000Z"), minute);
    }
    world
}

/// The objects of a run without faults.
fn expected() -> Vec<(String, String)> {
    let world = with_events();
    world.tick("11:00").unwrap();
    world.objects("acme")
}

#[test]
fn the_same_tick_again_finds_nothing_to_do() {
    let world = with_events();
    world.tick("11:00").unwrap();
    assert_eq!(world.tick("11:00").unwrap().due, 0);
    assert_eq!(world.objects("acme"), expected());
}

#[test]
fn after_a_crash_at_any_step_the_first_tick_after_the_lease_exports_the_window() {
    for op in [Op::Due, Op::Load, Op::AcquireLease, Op::Page, Op::Open, Op::Write, Op::Finish, Op::Commit] {
        let world = with_events();
        world.fakes.once(op, None, Fault::Crash);
        assert!(world.try_tick("11:00").is_none(), "{op:?} was not reached");
        assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z", "{op:?}");
        if world.is_leased("acme") {
            let report = world.tick("11:00").unwrap();
            assert_eq!((counts(&report), report.leased), ((0, 0, 1), 1), "{op:?}");
            assert_eq!(report.leased_again, 0, "{op:?}: it was not due an hour ago");
        }
        // The run began at 11:02, so its lease ends 45 minutes later.
        let report = world.tick("12:00").unwrap();
        assert_eq!((counts(&report), report.objects), ((1, 0, 0), 2), "{op:?}");
        assert_eq!(world.objects("acme")[..1], expected(), "{op:?}");
        assert!(!world.is_leased("acme"), "{op:?}");
    }
}

#[test]
fn of_two_runs_at_once_one_stores_each_object_and_the_other_defers_the_tenant() {
    for op in [Op::Page, Op::Open, Op::Write, Op::Finish, Op::Commit] {
        let world = with_events();
        let other = world.clone();
        let overlap = move || {
            let report = other.tick("11:00").unwrap();
            assert_eq!((counts(&report), report.leased), ((0, 0, 1), 1), "{op:?}");
        };
        world.fakes.once(op, None, Fault::After(Box::new(overlap)));
        assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?}");
        assert_eq!(world.fakes.calls(Op::Finish), 1, "{op:?}");
        assert_eq!(world.objects("acme"), expected(), "{op:?}");
        assert_eq!(world.fakes.state().tenants["acme"].receipts.len(), 1, "{op:?}");
    }
}

#[test]
fn a_run_that_finds_its_window_exported_when_it_acquires_the_lease_has_nothing_to_do() {
    let world = with_events();
    let other = world.clone();
    let overlap = move || assert_eq!(counts(&other.tick("11:00").unwrap()), (1, 0, 0));
    world.fakes.once(Op::AcquireLease, None, Fault::After(Box::new(overlap)));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert_eq!(world.fakes.calls(Op::Finish), 1);
}

#[test]
fn a_tenant_that_stays_leased_while_nothing_is_delivered_counts_as_leased_again() {
    let world = with_events();
    let held = crate::lease::Lease::new([9; 16], clock("13:30"));
    world.fakes.state().tenants.get_mut("acme").unwrap().lease = Some(held);
    let again = || ["12:00", "13:00"].map(|hour| world.tick(hour).unwrap().leased_again);
    assert_eq!(again(), [1, 1]);
    world.fakes.state().tenants.get_mut("acme").unwrap().last_success_at = Some(clock("12:30"));
    assert_eq!(again(), [0, 0], "the run that has the lease delivers a backlog");
}

#[test]
fn after_a_save_during_a_run_the_window_goes_to_the_new_bucket_in_the_same_run() {
    let world = with_events();
    world.fakes.state().buckets.insert("new-bucket".to_owned(), Default::default());
    let other = world.clone();
    world.fakes.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            other.save("acme", &Draft { bucket: Some("new-bucket".to_owned()), ..draft() }, clock("11:02"));
        })),
    );
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), world.fakes.calls(Op::Open)), ((1, 0, 0), 2), "new credentials for new settings");
    assert_eq!(world.fakes.state().buckets["new-bucket"].len(), 1);
    assert_eq!(world.fakes.state().tenants["acme"].receipts[&clock("11:00")].location.bucket, "new-bucket");
    assert_eq!(world.fakes.calls(Op::AcquireLease), 1, "under the same lease");
}

#[test]
fn settings_that_change_while_a_tenant_waits_are_loaded_before_its_window_begins() {
    let world = with_events();
    world.fakes.state().buckets.insert("new-bucket".to_owned(), Default::default());
    let (other, fakes) = (world.clone(), world.fakes.clone());
    let save = move || other.save("acme", &Draft { bucket: Some("new-bucket".to_owned()), ..draft() }, clock("11:02"));
    world.fakes.once(Op::AcquireLease, None, Fault::After(Box::new(save)));
    // The run's clock goes on by 11 seconds meanwhile.
    let now = move || {
        let waited = if fakes.calls(Op::AcquireLease) > 0 { 11 } else { 0 };
        clock("11:02") + TimeDelta::seconds(waited)
    };
    assert_eq!(counts(&world.run(clock("11:00"), &now, &|| false).unwrap().unwrap()), (1, 0, 0));
    assert_eq!((world.objects("acme").len(), world.fakes.state().buckets["new-bucket"].len()), (0, 1));
}

#[test]
fn a_tenant_that_is_disconnected_during_a_run_does_not_fail_and_loses_nothing() {
    let world = with_events();
    let other = world.clone();
    world.fakes.once(Op::Commit, None, Fault::After(Box::new(move || other.disconnect("acme"))));
    assert_eq!(world.tick("11:00").unwrap().failed, 0);
    assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z");
    assert!(!world.is_leased("acme"));
}

#[test]
fn a_tenant_whose_settings_keep_changing_is_left_to_the_next_tick() {
    let world = with_events();
    for minute in 2..10 {
        let other = world.clone();
        world.fakes.once(
            Op::Commit,
            None,
            Fault::After(Box::new(move || {
                let saved_at = clock("11:00") + TimeDelta::minutes(minute);
                other.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, saved_at);
            })),
        );
    }
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 0, 1));
    assert!(!world.is_leased("acme"));
}

#[test]
fn after_a_restore_of_the_table_the_windows_are_exported_again_with_the_same_objects() {
    let world = with_events();
    let restored = world.fakes.state().tenants.clone();
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T11:30:00.000Z", "next");
    world.tick("12:00").unwrap();
    let delivered = world.objects("acme");
    for leased_until in [None, Some("12:20")] {
        // The backup is from before the run, or from the middle of it.
        let mut tenants = restored.clone();
        let lease = leased_until.map(|until| crate::lease::Lease::new([9; 16], clock(until)));
        tenants.get_mut("acme").unwrap().lease = lease;
        world.fakes.state().tenants = tenants;
        if leased_until.is_some() {
            assert_eq!(world.tick("12:00").unwrap().leased, 1);
        }
        let report = world.tick("13:00").unwrap();
        assert_eq!((counts(&report), report.objects), ((1, 0, 0), 3));
        assert_eq!(world.objects("acme")[..2], delivered);
        assert_eq!(world.exported_until("acme"), "2026-11-21T13:00:00Z");
    }
}
