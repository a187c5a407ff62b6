//! Windows that are too long for one run.

use super::*;
use crate::{
    failure::Code,
    memory::{Fault, Op},
};

/// A tenant with forty events in an hour and a malformed one, over so many shards, in pages of seven and some dozen files. Two events of
/// different shards have the very same key, and one file ends between them.
fn long_window(shards: u16) -> World {
    let mut world = World::new();
    world.memory.page_size = 7;
    world.options.max_object_bytes = 60;
    world.memory.state().buckets.entry("acme-bucket".to_owned()).or_default();
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
    world.memory.put_event(&id("acme"), 0, malformed);
    for shard in 0..shards.min(2) {
        let stored = StoredEvent {
            recorded_at_id: "2026-11-21T10:59:00.000Z#twin".to_owned(),
            body: Body::Text(format!(r#"{{"n":"twin{shard}","pad":"xxxxxxxxxxxxxxxxxxxxxx"}}"#)),
        };
        world.memory.put_event(&id("acme"), shard, stored);
    }
    world
}

fn undisturbed(shards: u16) -> World {
    let world = long_window(shards);
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert!(world.objects("acme").len() > 10, "{}", world.objects("acme").len());
    world
}

fn the_receipt_tells_of_the_bucket(world: &World) {
    let state = world.memory.state();
    let (receipt, bucket) = (&state.tenants["acme"].receipts[&clock("11:00")], &state.buckets["acme-bucket"]);
    for object in &receipt.objects {
        assert_eq!(object.sha256, crate::object::sha256(&bucket[&object.key].bytes), "{}", object.key);
    }
}

/// A run that stops once it has stored so many more files.
fn run_for(world: &World, files: usize) -> Report {
    let (memory, before) = (world.memory.clone(), world.memory.calls(Op::KeepProgress));
    let now = clock("11:02");
    let stop = move || memory.calls(Op::KeepProgress) >= before + files;
    world.run(clock("11:00"), &move || now, &stop).unwrap().unwrap()
}

#[test]
fn each_run_goes_on_where_the_last_one_stopped_and_the_files_are_the_same() {
    for shards in [1, 3] {
        let whole = undisturbed(shards);
        let world = long_window(shards);
        let mut runs = 0;
        while run_for(&world, 2).exported == 0 {
            runs += 1;
            assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z");
            assert!(runs < 20, "it gets nowhere");
        }
        assert!(runs > 3, "{runs}");
        assert_eq!(world.objects("acme"), whole.objects("acme"));
        assert_eq!(world.memory.calls(Op::Finish), whole.memory.calls(Op::Finish), "no file is stored twice");
        let receipt = |world: &World| world.memory.state().tenants["acme"].receipts[&clock("11:00")].clone();
        assert_eq!(receipt(&world).objects, receipt(&whole).objects);
        assert_eq!((receipt(&world).malformed, receipt(&whole).malformed), (1, 1));
        assert_eq!(world.memory.state().tenants["acme"].watermark.clone().unwrap().progress, None);
    }
}

#[test]
fn a_crash_anywhere_costs_one_file_and_changes_none() {
    let whole = undisturbed(2);
    for op in [Op::Page, Op::Open, Op::Write, Op::Finish, Op::KeepProgress, Op::Commit] {
        let calls = whole.memory.calls(op);
        for nth in 0..calls {
            let world = long_window(2);
            for _ in 0..nth {
                world.memory.once(op, None, Fault::After(Box::new(|| {})));
            }
            world.memory.once(op, None, Fault::Crash);
            assert!(world.try_tick("11:00").is_none(), "{op:?} {nth}");
            assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?} {nth}");
            assert_eq!(world.objects("acme"), whole.objects("acme"), "{op:?} {nth}");
            assert!(world.memory.calls(Op::Finish) <= whole.memory.calls(Op::Finish) + 1, "{op:?} {nth}");
            the_receipt_tells_of_the_bucket(&world);
        }
    }
}

#[test]
fn a_failure_anywhere_costs_one_file_too() {
    let whole = undisturbed(1);
    for op in [Op::Page, Op::Open, Op::Write, Op::Finish, Op::KeepProgress, Op::Commit] {
        for nth in 0..whole.memory.calls(op) {
            let world = long_window(1);
            for _ in 0..nth {
                world.memory.once(op, None, Fault::After(Box::new(|| {})));
            }
            world.memory.once(op, None, Fault::Fail(Failure::new(Code::Throttled, "Too much.")));
            assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0), "{op:?} {nth}");
            assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?} {nth}");
            assert_eq!(world.objects("acme"), whole.objects("acme"), "{op:?} {nth}");
            assert!(world.memory.calls(Op::Finish) <= whole.memory.calls(Op::Finish) + 1, "{op:?} {nth}");
            the_receipt_tells_of_the_bucket(&world);
        }
    }
}

#[test]
fn other_settings_or_another_file_size_begin_the_window_anew() {
    let mut world = long_window(1);
    run_for(&world, 3);
    world.options.max_object_bytes = 90;
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    let mut whole = long_window(1);
    whole.options.max_object_bytes = 90;
    whole.tick("11:00").unwrap();
    let receipt = |world: &World| world.memory.state().tenants["acme"].receipts[&clock("11:00")].objects.clone();
    assert_eq!(receipt(&world), receipt(&whole));

    let world = long_window(1);
    run_for(&world, 3);
    let draft = Draft { bucket: Some("acme-bucket".to_owned()), format: Some("ndjson".to_owned()), ..draft() };
    world.save("acme", &draft, clock("11:01"));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert!(receipt(&world).iter().all(|object| object.key.ends_with(".ndjson")), "{:?}", receipt(&world));
    the_receipt_tells_of_the_bucket(&world);
}

#[test]
fn a_run_that_stored_other_bytes_takes_the_progress_back() {
    for nth in 0..undisturbed(1).memory.calls(Op::Finish) {
        let world = long_window(1);
        let other = world.clone();
        // This run has read its first pages; then one event becomes visible late, and another run stores some files.
        for _ in 0..nth {
            world.memory.once(Op::Finish, None, Fault::After(Box::new(|| {})));
        }
        world.memory.once(
            Op::Finish,
            None,
            Fault::After(Box::new(move || {
                other.event("acme", "2026-11-21T10:00:30.000Z", "late");
                run_for(&other, 2);
            })),
        );
        let mut report = world.tick("11:00").unwrap();
        for _ in 0..3 {
            assert_eq!(report.failed, 0, "{nth}: {:?}", report.failures);
            report = world.tick("11:00").unwrap();
        }
        the_receipt_tells_of_the_bucket(&world);
        assert_eq!(world.exported_until("acme"), "2026-11-21T11:00:00Z");
        let delivered: Vec<String> = world.names("acme").concat();
        for n in 0..40 {
            assert!(delivered.contains(&format!("e{n:02}")), "{nth}: e{n:02} is lost");
        }
    }
}

#[test]
fn two_runs_at_once_over_a_long_window_leave_what_one_leaves() {
    let whole = undisturbed(1);
    for op in [Op::Page, Op::Finish, Op::KeepProgress, Op::Commit] {
        for nth in 0..whole.memory.calls(op) {
            let world = long_window(1);
            let other = world.clone();
            for _ in 0..nth {
                world.memory.once(op, None, Fault::After(Box::new(|| {})));
            }
            world.memory.once(
                op,
                None,
                Fault::After(Box::new(move || {
                    other.tick("11:00").unwrap();
                })),
            );
            assert_eq!(world.tick("11:00").unwrap().failed, 0, "{op:?} {nth}");
            world.tick("11:00").unwrap();
            assert_eq!(world.objects("acme"), whole.objects("acme"), "{op:?} {nth}");
            the_receipt_tells_of_the_bucket(&world);
        }
    }
}

#[test]
fn a_whole_window_that_loses_to_another_runs_progress_takes_it_back() {
    let files = undisturbed(1).memory.calls(Op::Finish);
    let mut world = long_window(1);
    let mut other = world.clone();
    // This run is about to store its last file when one that splits files otherwise stores some of the same keys.
    other.options.max_object_bytes = 90;
    for _ in 1..files {
        world.memory.once(Op::Finish, None, Fault::After(Box::new(|| {})));
    }
    world.memory.once(
        Op::Finish,
        None,
        Fault::After(Box::new(move || {
            run_for(&other, 5);
        })),
    );
    world.options.max_windows = 1;
    world.tick("11:00").unwrap();
    world.options.max_object_bytes = 90;
    world.tick("11:00").unwrap();
    the_receipt_tells_of_the_bucket(&world);
    let delivered: Vec<String> = world.names("acme").concat();
    for n in 0..40 {
        assert!(delivered.contains(&format!("e{n:02}")), "e{n:02} is lost");
    }
}

#[test]
fn a_window_that_goes_on_after_its_events_retention_says_that_some_may_be_missing() {
    let mut world = long_window(1);
    world.options.retention = Some(TimeDelta::hours(5));
    run_for(&world, 3);
    let stored = world.objects("acme");
    // The next run comes a day later, and the table has deleted what is left.
    world.memory.state().events.clear();
    let late = clock("23:00");
    let report = world.run(clock("11:00"), &move || late, &|| false).unwrap().unwrap();
    assert_eq!(report.failures[0].code, Code::RetentionExceeded);
    assert_eq!(world.objects("acme")[..3], stored, "what was stored stays");
    assert!(world.memory.state().tenants["acme"].receipts[&clock("11:00")].gap);
}

#[test]
fn progress_that_cannot_be_kept_is_the_platforms_failure_and_nothing_is_lost() {
    let world = long_window(1);
    world.memory.once(Op::KeepProgress, None, Fault::Fail(Failure::new(Code::Throttled, "Too many writes.")));
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.failed_by_platform), ((0, 1, 0), vec!["acme".to_owned()]));
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert_eq!(world.objects("acme"), undisturbed(1).objects("acme"));
}

#[test]
fn a_window_of_one_file_keeps_no_progress() {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:30:00.000Z", "one");
    world.tick("11:00").unwrap();
    assert_eq!(world.memory.calls(Op::KeepProgress), 0);
}
