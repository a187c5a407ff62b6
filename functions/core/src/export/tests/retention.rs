//! Events that are deleted before they are exported, or meanwhile: what is missing never looks complete, and what lies in
//! the bucket is not replaced by what is left.

use super::{doubts::hour, races::with_events, *};
use crate::{
    failure::Code,
    memory::{Fault, Op},
    schedule::Window,
};

impl World {
    /// Deletes what was recorded up to an instant.
    fn delete_until(&self, until: &str) {
        self.memory.state().events.values_mut().for_each(|it| it.retain(|key, _| key.as_str() > until));
    }

    fn has_gap(&self, window_end: &str) -> bool {
        self.memory.state().tenants["acme"].receipts[&clock(window_end)].gap
    }
}

/// An hour with an event near its end, which was exported, and then one that came too late for it.
fn with_a_late_event() -> World {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:50:40.000Z", "in time");
    world.event("acme", "2026-11-21T11:30:00.000Z", "next");
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:50:10.000Z", "late");
    world
}

#[test]
fn what_is_deleted_while_the_first_page_is_asked_for_is_a_gap() {
    let mut world = World::with_acme();
    world.event("acme", "2026-11-21T10:00:10.000Z", "deleted");
    world.event("acme", "2026-11-21T10:30:00.000Z", "kept");
    world.options.retention = Some(TimeDelta::minutes(64));
    let (other, memory) = (world.clone(), world.memory.clone());
    world.memory.once(Op::Page, None, Fault::After(Box::new(move || other.delete_until("2026-11-21T10:00:20"))));
    let started = clock("11:02");
    let now = move || started + TimeDelta::minutes(if memory.calls(Op::Page) > 0 { 2 } else { 0 });
    world.run(clock("11:00"), &now, &|| false).unwrap().unwrap();
    assert_eq!((world.names("acme"), world.has_gap("11:00")), (vec![vec!["kept".to_owned()]], true));
}

#[test]
fn what_a_clock_that_is_ahead_may_have_deleted_is_a_gap() {
    for (minutes, gap) in [(62, true), (64, false)] {
        let mut world = World::with_acme();
        world.options.retention = Some(TimeDelta::minutes(minutes));
        world.tick("11:00").unwrap();
        assert_eq!(world.has_gap("11:00"), gap, "{minutes}");
    }
}

#[test]
fn a_late_minute_that_is_delivered_again_with_fewer_events_does_not_look_complete() {
    let mut world = with_a_late_event();
    world.event("acme", "2026-11-21T10:50:45.000Z", "late, too");
    world.memory.once(Op::Commit, None, Fault::Crash);
    assert!(world.try_tick("12:00").is_none());
    assert_eq!(world.names("acme")[1], ["late", "in time", "late, too"]);
    world.options.retention = Some(TimeDelta::minutes(2 * 60 + 11) + TimeDelta::seconds(30));
    world.delete_until("2026-11-21T10:50:30");
    world.tick("13:00").unwrap();
    assert_eq!(world.names("acme")[1], ["in time", "late, too"]);
    assert!(world.has_gap("12:00"));
}

#[test]
fn a_late_minute_that_is_put_right_with_fewer_events_does_not_look_complete() {
    let mut world = with_a_late_event();
    world.options.retention = Some(TimeDelta::minutes(71) + TimeDelta::seconds(30));
    let other = world.clone();
    let overtaken = move || {
        other.tick("12:00").unwrap();
        other.delete_until("2026-11-21T10:50:30");
    };
    world.memory.once(Op::Page, None, Fault::After(Box::new(overtaken)));
    world.tick("12:00").unwrap();
    assert!(world.has_gap("12:00") || world.names("acme").concat().contains(&"late".to_owned()));
}

#[test]
fn a_window_whose_events_may_be_deleted_is_not_stored_again_but_told_of_until_an_operator_has_looked() {
    let mut world = with_events();
    world.options.retention = Some(TimeDelta::minutes(90));
    world.tick("11:00").unwrap();
    let before = world.objects("acme");
    world.doubt(hour(), "11:01");
    for tick in ["12:00", "13:00"] {
        let report = world.tick(tick).unwrap();
        assert_eq!((report.failures[0].code, report.objects), (Code::ReceiptInDoubt, 1), "{tick}");
    }
    assert_eq!(world.objects("acme")[..before.len()], before);
    assert_eq!(world.doubts(), 1);
}

#[test]
fn a_late_minute_whose_events_may_be_deleted_is_not_stored_again_either() {
    let mut world = with_events();
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:58:50.000Z", "kept");
    world.event("acme", "2026-11-21T10:58:10.000Z", "deleted");
    world.tick("12:00").unwrap();
    world.options.retention = Some(TimeDelta::minutes(2 * 60 + 3));
    world.doubt(Window { from: clock("11:00"), to: clock("12:00") }, "12:01");
    world.memory.state().events.values_mut().for_each(|it| it.retain(|key, _| key.as_str() > "2026-11-21T10:58:30"));
    let report = world.tick("13:00").unwrap();
    assert_eq!(report.failures[0].code, Code::ReceiptInDoubt);
    assert!(world.names("acme").concat().contains(&"deleted".to_owned()));
}

#[test]
fn a_window_that_cannot_be_mended_keeps_no_other_from_it() {
    let mut world = with_events();
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T11:30:00.000Z", "next");
    world.tick("12:00").unwrap();
    // Of the first, the events may be deleted; of the second, one came since.
    world.options.retention = Some(TimeDelta::minutes(150));
    world.doubt(hour(), "11:01");
    world.doubt(Window { from: clock("11:00"), to: clock("12:00") }, "12:01");
    world.event("acme", "2026-11-21T11:40:00.000Z", "since");
    let report = world.tick("13:00").unwrap();
    assert_eq!(report.failures[0].code, Code::ReceiptInDoubt);
    assert_eq!(world.names("acme")[1], ["next", "since"]);
    assert_eq!(world.doubts(), 1);
}

#[test]
fn somebody_elses_doubt_is_no_reason_to_replace_what_is_past_retention() {
    let mut world = with_events();
    world.options.retention = Some(TimeDelta::minutes(30));
    let other = world.clone();
    world.memory.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            other.tick("11:00").unwrap();
            other.doubt(hour(), "11:01");
            other.memory.state().events.clear();
        })),
    );
    world.tick("11:00").unwrap();
    assert_eq!(world.names("acme")[0].len(), 4, "the notice and all events");
}
