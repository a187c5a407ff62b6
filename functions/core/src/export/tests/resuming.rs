//! Checkpoints: windows that are longer than a run.

use super::*;
use crate::{
    failure::Code,
    fakes::{Fault, Op},
};

/// A tenant with an hour of 40 events and a malformed one in that many shards, in pages of seven and about a dozen files. Two
/// events of different shards have the same key, and one file ends between them.
fn long_window(shards: u16) -> World {
    let mut world = World::new();
    world.fakes.page_size = 7;
    world.options.max_object_bytes = 60;
    world.fakes.state().buckets.entry("acme-bucket".to_owned()).or_default();
    let draft = Draft {
        bucket: Some("acme-bucket".to_owned()),
        frequency_hours: Some("1".to_owned()),
        event_shards: Some(shards.to_string()),
        ..draft()
    };
    world.save("acme", &draft, clock("10:00"));
    for n in 0..40_u16 {
        let (minute, twin) = (n + n / 20, n % shards);
        world.event_in_shard("acme", twin, &format!("2026-11-21T10:{minute:02}:00.000Z"), &format!("e{n:02}"));
    }
    let malformed = StoredEvent {
        recorded_at_id: "2026-11-21T10:00:01.000Z#malformed".to_owned(),
        body: Body::Text("no JSON".to_owned()),
    };
    world.fakes.put_event(&id("acme"), 0, malformed);
    for shard in 0..shards.min(2) {
        let stored = StoredEvent {
            recorded_at_id: "2026-11-21T10:59:00.000Z#twin".to_owned(),
            body: Body::Text(format!(r#"{{"n":"twin{shard}","pad":"xxxxxxxxxxxxxxxxxxxxxx"}}"#)),
        };
        world.fakes.put_event(&id("acme"), shard, stored);
    }
    world
}

fn without_faults(shards: u16) -> World {
    let world = long_window(shards);
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert!(world.objects("acme").len() > 10, "{}", world.objects("acme").len());
    world
}

fn assert_receipt_matches_bucket(world: &World) {
    let state = world.fakes.state();
    let (receipt, bucket) = (&state.tenants["acme"].receipts[&clock("11:00")], &state.buckets["acme-bucket"]);
    for object in &receipt.objects {
        assert_eq!(object.sha256, crate::object::sha256(&bucket[&object.key].bytes), "{}", object.key);
    }
}

/// Runs a tick that stops once it has stored that many more files.
fn run_for(world: &World, files: usize) -> Report {
    let (fakes, before) = (world.fakes.clone(), world.fakes.calls(Op::SaveCheckpoint));
    let now = clock("11:02");
    let stop = move || fakes.calls(Op::SaveCheckpoint) >= before + files;
    world.run(clock("11:00"), &move || now, &stop).unwrap().unwrap()
}

#[test]
fn each_run_goes_on_where_the_last_one_stopped_with_the_same_files() {
    for shards in [1, 3] {
        let whole = without_faults(shards);
        let world = long_window(shards);
        let mut runs = 0;
        while run_for(&world, 2).exported == 0 {
            runs += 1;
            assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z");
            assert!(runs < 20, "no progress");
        }
        assert!(runs > 3, "{runs}");
        assert_eq!(world.objects("acme"), whole.objects("acme"));
        assert_eq!(world.fakes.calls(Op::Finish), whole.fakes.calls(Op::Finish), "no file is stored twice");
        assert_eq!(receipt(&world), receipt(&whole));
        let malformed = |world: &World| world.fakes.state().tenants["acme"].receipts[&clock("11:00")].malformed;
        assert_eq!((malformed(&world), malformed(&whole)), (1, 1));
        assert_eq!(world.fakes.state().tenants["acme"].watermark.clone().unwrap().checkpoint, None);
    }
}

#[test]
fn a_window_in_ocsf_is_resumed_with_the_same_files() {
    let in_ocsf = || {
        let mut world = long_window(2);
        world.options.max_object_bytes = 1024;
        let mut state = world.fakes.state();
        state.tenants.get_mut("acme").unwrap().config.as_mut().unwrap().schema = Some("ocsf".to_owned());
        drop(state);
        world
    };
    let (whole, world) = (in_ocsf(), in_ocsf());
    assert_eq!(counts(&whole.tick("11:00").unwrap()), (1, 0, 0));
    while run_for(&world, 3).exported == 0 {}
    assert!(world.fakes.calls(Op::AcquireLease) > 3, "several runs");
    assert_eq!(world.objects("acme"), whole.objects("acme"));
    assert_eq!(world.fakes.calls(Op::Finish), whole.fakes.calls(Op::Finish), "no file is stored twice");
    assert!(world.event_codes("acme").concat().contains(&"Malformed Audit Event".to_owned()));
    assert_receipt_matches_bucket(&world);
}

#[test]
fn after_a_crash_anywhere_at_most_one_file_is_stored_twice_and_all_are_the_same() {
    let whole = without_faults(2);
    for op in [Op::Page, Op::Open, Op::Write, Op::Finish, Op::SaveCheckpoint, Op::Commit] {
        let calls = whole.fakes.calls(op);
        for nth in 0..calls {
            let world = long_window(2);
            for _ in 0..nth {
                world.fakes.once(op, None, Fault::After(Box::new(|| {})));
            }
            world.fakes.once(op, None, Fault::Crash);
            assert!(world.try_tick("11:00").is_none(), "{op:?} {nth}");
            world.expire_lease("acme");
            assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?} {nth}");
            assert_eq!(world.objects("acme"), whole.objects("acme"), "{op:?} {nth}");
            assert!(world.fakes.calls(Op::Finish) <= whole.fakes.calls(Op::Finish) + 1, "{op:?} {nth}");
            assert_receipt_matches_bucket(&world);
        }
    }
}

#[test]
fn after_a_failure_anywhere_at_most_one_file_is_stored_twice() {
    let whole = without_faults(1);
    for op in [Op::Page, Op::Open, Op::Write, Op::Finish, Op::SaveCheckpoint, Op::Commit] {
        for nth in 0..whole.fakes.calls(op) {
            let world = long_window(1);
            for _ in 0..nth {
                world.fakes.once(op, None, Fault::After(Box::new(|| {})));
            }
            world.fakes.once(op, None, Fault::Fail(Failure::new(Code::Throttled, "Too much.")));
            assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0), "{op:?} {nth}");
            assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?} {nth}");
            assert_eq!(world.objects("acme"), whole.objects("acme"), "{op:?} {nth}");
            assert!(world.fakes.calls(Op::Finish) <= whole.fakes.calls(Op::Finish) + 1, "{op:?} {nth}");
            assert_receipt_matches_bucket(&world);
        }
    }
}

fn receipt(world: &World) -> Vec<crate::records::StoredObject> {
    world.fakes.state().tenants["acme"].receipts[&clock("11:00")].objects.clone()
}

#[test]
fn with_other_settings_the_window_begins_again() {
    let world = long_window(1);
    run_for(&world, 3);
    let draft = Draft { bucket: Some("acme-bucket".to_owned()), format: Some("ndjson".to_owned()), ..draft() };
    world.save("acme", &draft, clock("11:01"));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert!(receipt(&world).iter().all(|object| object.key.ends_with(".ndjson")), "{:?}", receipt(&world));
    assert_receipt_matches_bucket(&world);
}

#[test]
fn a_window_keeps_the_file_size_limit_of_its_first_run() {
    for is_saved in [false, true] {
        let mut world = long_window(1);
        run_for(&world, 3);
        if is_saved {
            // With another frequency, the window begins again in the same place.
            let draft = Draft {
                bucket: Some("acme-bucket".to_owned()),
                frequency_hours: Some("2".to_owned()),
                event_shards: Some("1".to_owned()),
                ..draft()
            };
            world.save("acme", &draft, clock("11:01"));
        }
        world.options.max_object_bytes = 90;
        assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
        assert_eq!(receipt(&world), receipt(&without_faults(1)), "{is_saved}");
        assert_eq!(world.objects("acme"), without_faults(1).objects("acme"), "no file of a higher number is left");
    }
}

#[test]
fn a_tenant_that_is_disconnected_after_a_file_gets_no_further_one() {
    let world = long_window(1);
    let other = world.clone();
    for _ in 0..2 {
        world.fakes.once(Op::SaveCheckpoint, None, Fault::After(Box::new(|| {})));
    }
    world.fakes.once(Op::SaveCheckpoint, None, Fault::After(Box::new(move || other.disconnect("acme"))));
    assert_eq!(world.tick("11:00").unwrap().failed, 0);
    assert_eq!(world.objects("acme").len(), 3);
}

#[test]
fn of_two_runs_at_once_over_a_long_window_one_stores_each_file_once() {
    let whole = without_faults(1);
    for op in [Op::Page, Op::Finish, Op::SaveCheckpoint, Op::Commit] {
        for nth in 0..whole.fakes.calls(op) {
            let world = long_window(1);
            let other = world.clone();
            for _ in 0..nth {
                world.fakes.once(op, None, Fault::After(Box::new(|| {})));
            }
            let overlap = move || assert_eq!(other.tick("11:00").unwrap().leased, 1);
            world.fakes.once(op, None, Fault::After(Box::new(overlap)));
            assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?} {nth}");
            assert_eq!(world.objects("acme"), whole.objects("acme"), "{op:?} {nth}");
            assert_eq!(world.fakes.calls(Op::Finish), whole.fakes.calls(Op::Finish), "{op:?} {nth}");
            assert_receipt_matches_bucket(&world);
        }
    }
}

#[test]
fn a_window_that_is_resumed_after_the_retention_has_a_gap() {
    let mut world = long_window(1);
    world.options.retention = Some(TimeDelta::hours(5));
    run_for(&world, 3);
    let stored = world.objects("acme");
    // The next run is a day later, and the table has deleted all remaining events.
    world.fakes.state().events.clear();
    let late = clock("23:00");
    let report = world.run(clock("11:00"), &move || late, &|| false).unwrap().unwrap();
    assert_eq!(report.failures[0].code, Code::RetentionExceeded);
    assert_eq!(world.objects("acme")[..3], stored, "stored files stay");
    assert!(world.fakes.state().tenants["acme"].receipts[&clock("11:00")].gap);
}

#[test]
fn a_checkpoint_that_cannot_be_saved_is_the_platforms_failure_and_nothing_is_lost() {
    let world = long_window(1);
    world.fakes.once(Op::SaveCheckpoint, None, Fault::Fail(Failure::new(Code::Throttled, "Too many writes.")));
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.failed_by_platform), ((0, 1, 0), vec!["acme".to_owned()]));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert_eq!(world.objects("acme"), without_faults(1).objects("acme"));
}

#[test]
fn a_window_of_one_file_has_no_checkpoint() {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:30:00.000Z", "one");
    world.tick("11:00").unwrap();
    assert_eq!(world.fakes.calls(Op::SaveCheckpoint), 0);
}
