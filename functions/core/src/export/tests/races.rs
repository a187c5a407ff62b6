//! Duplicates, overlaps and crashes: whatever happens, the same objects.

use super::*;
use crate::memory::{Fault, Op};

pub(super) fn with_events() -> World {
    let world = World::with_acme();
    for minute in ["10", "20", "30"] {
        world.event("acme", &format!("2026-11-21T10:{minute}:00.000Z"), minute);
    }
    world
}

/// What an undisturbed run leaves.
pub(super) fn undisturbed() -> Vec<(String, String)> {
    let world = with_events();
    world.tick("11:00").unwrap();
    world.objects("acme")
}

#[test]
fn the_same_tick_again_finds_nothing_to_do() {
    let world = with_events();
    world.tick("11:00").unwrap();
    assert_eq!(world.tick("11:00").unwrap().due, 0);
    assert_eq!(world.objects("acme"), undisturbed());
}

#[test]
fn a_crash_at_any_step_is_made_good_by_the_next_tick() {
    for op in [Op::Due, Op::Load, Op::Page, Op::Open, Op::Write, Op::Finish, Op::Commit] {
        let world = with_events();
        world.memory.once(op, None, Fault::Crash);
        assert!(world.try_tick("11:00").is_none(), "{op:?} was not reached");
        assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z", "{op:?}");
        assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0), "{op:?}");
        assert_eq!(world.objects("acme"), undisturbed(), "{op:?}");
    }
}

#[test]
fn two_ticks_at_once_leave_the_same_objects_and_nobody_fails() {
    for op in [Op::Load, Op::Page, Op::Open, Op::Finish, Op::Commit] {
        let world = with_events();
        let other = world.clone();
        world.memory.once(
            op,
            None,
            Fault::After(Box::new(move || {
                other.tick("11:00").unwrap();
            })),
        );
        let report = world.tick("11:00").unwrap();
        assert_eq!(report.failed, 0, "{op:?}: a lost race is no failure");
        assert_eq!(world.objects("acme"), undisturbed(), "{op:?}");
        assert_eq!(world.exported_until("acme"), "2026-11-21T11:00:00Z", "{op:?}");
        assert_eq!(world.memory.state().tenants["acme"].receipts.len(), 1, "{op:?}");
    }
}

/// A writer that broke the settle contract: the event becomes visible between the reads of two overlapping runs.
#[test]
fn a_loser_that_stored_older_bytes_over_the_winners_stores_the_window_again() {
    for op in [Op::Finish, Op::Commit] {
        let world = with_events();
        let other = world.clone();
        world.memory.once(
            op,
            None,
            Fault::After(Box::new(move || {
                other.event("acme", "2026-11-21T10:40:00.000Z", "late");
                other.tick("11:00").unwrap();
            })),
        );
        assert_eq!(world.tick("11:00").unwrap().failed, 0);
        assert_eq!(world.names("acme"), [vec!["10", "20", "30", "late"]], "{op:?}");
        receipt_is_true(&world);
    }
}

#[test]
fn a_loser_that_stored_newer_bytes_amends_the_receipt() {
    let older = with_events();
    older.tick("11:00").unwrap();
    let winners = older.memory.state().tenants["acme"].clone();

    let world = with_events();
    world.event("acme", "2026-11-21T10:40:00.000Z", "late");
    let memory = world.memory.clone();
    world.memory.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            memory.state().tenants.insert("acme".to_owned(), winners);
        })),
    );
    assert_eq!(world.tick("11:00").unwrap().failed, 0);
    assert_eq!(world.names("acme"), [vec!["10", "20", "30", "late"]]);
    receipt_is_true(&world);
}

pub(super) fn receipt_is_true(world: &World) {
    let receipt = world.memory.state().tenants["acme"].receipts[&clock("11:00")].clone();
    let stored = world.objects("acme").remove(0).1;
    assert_eq!((receipt.events(), receipt.bytes()), (4, stored.len() as u64));
    let mut encoder = crate::object::Encoder::new(crate::object::Format::Json, crate::object::Compression::None);
    for name in ["10", "20", "30", "late"] {
        encoder.push(&format!("{{\"n\":\"{name}\"}}")).unwrap();
    }
    assert_eq!(receipt.objects[0].sha256, encoder.finish().unwrap().sha256);
}

#[test]
fn settings_saved_in_the_middle_send_the_window_to_the_new_bucket_in_the_same_run() {
    let world = with_events();
    world.memory.state().buckets.insert("new-bucket".to_owned(), Default::default());
    let other = world.clone();
    world.memory.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            other.save("acme", &Draft { bucket: Some("new-bucket".to_owned()), ..draft() }, clock("11:02"));
        })),
    );
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), world.memory.calls(Op::Open)), ((1, 0, 0), 2), "new credentials for new settings");
    assert_eq!(world.memory.state().buckets["new-bucket"].len(), 1);
    assert_eq!(world.memory.state().tenants["acme"].receipts[&clock("11:00")].bucket, "new-bucket");
}

#[test]
fn a_tenant_disconnected_in_the_middle_ends_quietly_and_loses_nothing() {
    let world = with_events();
    let other = world.clone();
    world.memory.once(Op::Commit, None, Fault::After(Box::new(move || other.disconnect("acme"))));
    assert_eq!(world.tick("11:00").unwrap().failed, 0);
    assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z");
}

#[test]
fn a_run_that_is_overtaken_again_and_again_leaves_the_tenant_to_the_other() {
    let world = with_events();
    for minute in 2..10 {
        let other = world.clone();
        world.memory.once(
            Op::Commit,
            None,
            Fault::After(Box::new(move || {
                let saved_at = clock("11:00") + TimeDelta::minutes(minute);
                other.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, saved_at);
            })),
        );
    }
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 0, 1));
}
