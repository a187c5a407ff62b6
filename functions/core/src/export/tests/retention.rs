//! Events that are deleted before or while they are exported: a window with missing events never looks complete.

use super::*;
use crate::fakes::{Fault, Op};

impl World {
    /// Deletes events that were recorded up to an instant.
    fn delete_until(&self, until: &str) {
        self.fakes.state().events.values_mut().for_each(|it| it.retain(|key, _| key.as_str() > until));
    }

    fn has_gap(&self, window_end: &str) -> bool {
        self.fakes.state().tenants["acme"].receipts[&clock(window_end)].gap
    }
}

/// An exported hour with an event near its end, and a late event.
fn with_a_late_event() -> World {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:50:40.000Z", "in time");
    world.event("acme", "2026-11-21T11:30:00.000Z", "next");
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:50:10.000Z", "late");
    world
}

#[test]
fn events_deleted_while_the_first_page_is_read_are_a_gap() {
    let mut world = World::with_acme();
    world.event("acme", "2026-11-21T10:00:10.000Z", "deleted");
    world.event("acme", "2026-11-21T10:30:00.000Z", "kept");
    world.options.retention = Some(TimeDelta::minutes(64));
    let (other, fakes) = (world.clone(), world.fakes.clone());
    world.fakes.once(Op::Page, None, Fault::After(Box::new(move || other.delete_until("2026-11-21T10:00:20"))));
    let started = clock("11:02");
    let now = move || started + TimeDelta::minutes(if fakes.calls(Op::Page) > 0 { 2 } else { 0 });
    world.run(clock("11:00"), &now, &|| false).unwrap().unwrap();
    assert_eq!((world.names("acme"), world.has_gap("11:00")), (vec![vec!["kept".to_owned()]], true));
}

#[test]
fn events_that_a_fast_clock_may_have_deleted_are_a_gap() {
    for (minutes, gap) in [(62, true), (64, false)] {
        let mut world = World::with_acme();
        world.options.retention = Some(TimeDelta::minutes(minutes));
        world.tick("11:00").unwrap();
        assert_eq!(world.has_gap("11:00"), gap, "{minutes}");
    }
}

#[test]
fn a_gap_is_announced_in_the_tenants_schema() {
    let mut world = World::with_acme_in_ocsf();
    world.event("acme", "2026-11-21T10:50:00.000Z", "kept");
    world.options.retention = Some(TimeDelta::minutes(50));
    world.tick("11:00").unwrap();
    assert_eq!(world.event_codes("acme"), [["Audit Log Retention Exceeded", "-"]]);
    assert!(world.has_gap("11:00"));
}

#[test]
fn a_late_minute_that_is_delivered_again_with_fewer_events_is_a_gap() {
    let mut world = with_a_late_event();
    world.event("acme", "2026-11-21T10:50:45.000Z", "late, too");
    world.fakes.once(Op::Commit, None, Fault::Crash);
    assert!(world.try_tick("12:00").is_none());
    assert_eq!(world.names("acme")[1], ["late", "in time", "late, too"]);
    world.options.retention = Some(TimeDelta::minutes(2 * 60 + 11) + TimeDelta::seconds(30));
    world.delete_until("2026-11-21T10:50:30");
    world.tick("13:00").unwrap();
    assert_eq!(world.names("acme")[1], ["in time", "late, too"]);
    assert!(world.has_gap("12:00"));
}
