//! Late arrivals: events that become visible after their window was read.

use super::*;
use crate::fakes::{Fault, Op};

/// An exported hour with an event at half past and one near its end, and a late event.
fn with_a_late_event(at: &str) -> World {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:30:00.000Z", "early");
    world.event("acme", "2026-11-21T10:50:10.000Z", "in time");
    world.tick("11:00").unwrap();
    world.event("acme", at, "late");
    world.event("acme", "2026-11-21T11:10:00.000Z", "next");
    world
}

fn late_file() -> &'static str {
    "20261121T105000Z_20261121T105100Z_late_0001.json"
}

#[test]
fn a_minute_with_a_late_event_is_delivered_again_as_a_whole_in_an_object_of_its_own() {
    let world = with_a_late_event("2026-11-21T10:50:00.000Z");
    let before = world.objects("acme");
    let report = world.tick("12:00").unwrap();
    assert_eq!((report.events, report.objects, report.late), (1, 2, 1), "one event of the window, and one late event");
    let objects = world.objects("acme");
    let late: Vec<_> = objects.iter().filter(|object| !before.contains(object)).collect();
    assert_eq!(late[0].0, late_file());
    assert_eq!(world.names("acme"), [vec!["early", "in time"], vec!["late", "in time"], vec!["next"]]);
    let receipt = world.fakes.state().tenants["acme"].receipts[&clock("12:00")].clone();
    assert_eq!((receipt.objects.len(), receipt.events(), receipt.late), (2, 1, 1));
    assert_eq!(world.tick("13:00").unwrap().late, 0, "a late event is counted once");
}

#[test]
fn a_large_late_minute_is_split_like_a_window() {
    let mut world = with_a_late_event("2026-11-21T10:50:00.000Z");
    world.options.max_object_bytes = 30;
    assert_eq!(world.tick("12:00").unwrap().objects, 3);
    assert_eq!(world.names("acme")[1..3], [vec!["late"], vec!["in time"]]);
}

#[test]
fn a_window_without_late_events_needs_no_further_call() {
    let world = with_a_late_event("2026-11-21T11:20:00.000Z");
    let calls = |world: &World| {
        [Op::Load, Op::AcquireLease, Op::Page, Op::Open, Op::Finish, Op::Commit].map(|op| world.fakes.calls(op))
    };
    let before = calls(&world);
    assert_eq!(world.tick("12:00").unwrap().late, 0);
    let after = calls(&world);
    assert_eq!(std::array::from_fn(|op| after[op] - before[op]), [1; 6]);
    assert_eq!(world.names("acme"), [vec!["early", "in time"], vec!["next", "late"]]);
}

#[test]
fn an_event_that_is_older_than_the_trailing_counts_is_not_exported() {
    let world = with_a_late_event("2026-11-21T10:44:59.999Z");
    assert_eq!(world.tick("12:00").unwrap().late, 0);
    assert_eq!(world.names("acme"), [vec!["early", "in time"], vec!["next"]]);
}

#[test]
fn events_from_before_the_first_window_are_not_read() {
    let world = World::new();
    world.connect("acme", "1", "10:58");
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:57:59.999Z", "before");
    world.event("acme", "2026-11-21T10:58:00.000Z", "late");
    assert_eq!(world.tick("12:00").unwrap().late, 1);
    assert_eq!(world.names("acme")[0], ["late"]);
}

#[test]
fn a_window_that_begins_again_delivers_late_minutes_again() {
    for op in [Op::Open, Op::Write, Op::Finish, Op::Commit] {
        let world = with_a_late_event("2026-11-21T10:50:00.000Z");
        world.fakes.once(op, None, Fault::Crash);
        assert!(world.try_tick("12:00").is_none(), "{op:?} was not reached");
        world.expire_lease("acme");
        assert_eq!(world.tick("12:00").unwrap().late, 1, "{op:?}");
        assert_eq!(world.names("acme")[1..], [vec!["late", "in time"], vec!["next"]], "{op:?}");
    }
}

/// Late minutes are stored before the window's first file, so a checkpoint includes them.
#[test]
fn a_resumed_window_keeps_its_late_minutes_and_its_trailing_counts() {
    let mut world = with_a_late_event("2026-11-21T10:50:00.000Z");
    world.options.max_object_bytes = 30;
    for name in ["one more", "and another"] {
        world.event("acme", "2026-11-21T11:55:00.000Z", name);
    }
    // Two finishes of the late minute, one of the window, and then the one that fails.
    for _ in 0..3 {
        world.fakes.once(Op::Finish, None, Fault::After(Box::new(|| {})));
    }
    world.fakes.once(Op::Finish, None, Fault::Crash);
    assert!(world.try_tick("12:00").is_none());
    world.expire_lease("acme");
    let before = world.fakes.calls(Op::Finish);
    let report = world.tick("12:00").unwrap();
    assert_eq!((report.late, world.fakes.calls(Op::Finish) - before), (1, 2), "no object is stored a second time");
    let receipt = world.fakes.state().tenants["acme"].receipts[&clock("12:00")].clone();
    assert_eq!((receipt.objects.len(), receipt.events()), (5, 3));
    world.options.max_object_bytes = 1 << 20;
    assert_eq!(world.tick("13:00").unwrap().late, 0, "the events of both runs are counted");
    world.event("acme", "2026-11-21T12:59:59.000Z", "last");
    assert_eq!(world.tick("14:00").unwrap().late, 1);
}

#[test]
fn a_minute_with_one_event_deleted_and_one_late_is_delivered_again() {
    let world = with_a_late_event("2026-11-21T10:50:00.000Z");
    world.fakes.state().events.values_mut().for_each(|it| {
        it.retain(|key, _| !key.starts_with("2026-11-21T10:50:10"));
    });
    assert_eq!(world.tick("12:00").unwrap().late, 1);
    assert_eq!(world.names("acme")[1], ["late"]);
}

#[test]
fn a_late_minute_that_begins_again_is_split_in_the_same_way() {
    let mut world = with_a_late_event("2026-11-21T10:50:00.000Z");
    world.options.max_object_bytes = 30;
    world.fakes.once(Op::Commit, None, Fault::Crash);
    assert!(world.try_tick("12:00").is_none());
    world.options.max_object_bytes = 1 << 20;
    assert_eq!(world.tick("13:00").unwrap().late, 1);
    assert_eq!(world.names("acme")[1..3], [vec!["late"], vec!["in time"]], "every file is in the receipt");
}
