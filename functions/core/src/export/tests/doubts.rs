//! The marks of committed windows that are stored again: what a run leaves when it dies, and who mends it.

use super::{
    races::{receipt_is_true, with_events},
    restores::{no_answer, overtaken_by_a_later_reading},
    *,
};
use crate::{
    failure::Code,
    memory::{Fault, Op},
    records::Doubt,
    schedule::Window,
};

pub(super) fn hour() -> Window {
    Window { from: clock("10:00"), to: clock("11:00") }
}

impl World {
    pub(super) fn doubt(&self, window: Window, since: &str) -> Doubt {
        let doubt = Doubt::new(window, clock(since));
        self.memory.state().tenants.get_mut("acme").unwrap().doubts.insert(doubt);
        doubt
    }

    pub(super) fn doubts(&self) -> usize {
        self.memory.state().tenants["acme"].doubts.len()
    }

    /// Plans that something happens right before the repair's first file is stored.
    fn before_the_repair_is_stored(&self, happens: impl FnOnce() + Send + 'static) {
        let memory = self.memory.clone();
        let armed = move || memory.once(Op::Finish, None, Fault::After(Box::new(happens)));
        self.memory.once(Op::Doubt, None, Fault::After(Box::new(armed)));
    }
}

/// Somebody stores a committed window again; until that is done, nobody can go by the receipt of before.
#[test]
fn who_has_stored_what_the_receipt_tells_of_stores_it_again_while_another_run_does() {
    let world = with_events();
    let other = world.clone();
    world.memory.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            other.tick("11:00").unwrap();
            other.event("acme", "2026-11-21T10:40:00.000Z", "late");
            other.doubt(hour(), "11:01");
        })),
    );
    assert_eq!(world.tick("11:00").unwrap().failed, 0);
    assert_eq!(world.names("acme"), [vec!["10", "20", "30", "late"]]);
    receipt_is_true(&world);
    assert_eq!(world.doubts(), 1, "the other's mark is the other's to take away");
}

#[test]
fn a_repair_that_dies_is_made_by_the_next_run() {
    for op in [Op::Finish, Op::AmendReceipt, Op::Settle] {
        let world = with_events();
        overtaken_by_a_later_reading(&world);
        let memory = world.memory.clone();
        let dies = Fault::After(Box::new(move || memory.once(op, None, Fault::Crash)));
        world.memory.once(Op::Doubt, None, dies);
        assert!(world.try_tick("11:00").is_none(), "{op:?} was not reached");
        assert_eq!(world.doubts(), 1, "{op:?}");
        world.memory.heal();
        assert_eq!(counts(&world.tick("12:00").unwrap()), (1, 0, 0), "{op:?}");
        assert_eq!(world.names("acme")[0], ["10", "20", "30", "late"], "{op:?}");
        assert_eq!(world.doubts(), 0, "{op:?}");
    }
}

/// It may have something on its way still, and die after that.
#[test]
fn the_mark_of_a_run_that_may_be_alive_is_left_to_it() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    let other = world.clone();
    world.before_the_repair_is_stored(move || {
        assert_eq!(other.doubts(), 1);
        other.event("acme", "2026-11-21T10:45:00.000Z", "later");
        other.tick("12:00").unwrap();
        other.memory.once(Op::AmendReceipt, None, Fault::Crash);
    });
    assert!(world.try_tick("12:00").is_none());
    world.memory.heal();
    world.tick("13:00").unwrap();
    assert_eq!(world.names("acme")[0], ["10", "20", "30", "late", "later"]);
    let receipt = world.memory.state().tenants["acme"].receipts[&clock("11:00")].clone();
    assert_eq!((receipt.events(), world.doubts()), (5, 0));
}

#[test]
fn a_mark_that_somebody_has_taken_away_is_left_again_before_the_next_try() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    let other = world.clone();
    world.before_the_repair_is_stored(move || {
        let mut state = other.memory.state();
        let acme = state.tenants.get_mut("acme").unwrap();
        acme.doubts.clear();
        let receipt = acme.receipts.get_mut(&clock("11:00")).unwrap();
        (receipt.amended, receipt.objects[0].sha256) = (1, "another reading".to_owned());
        drop(state);
        // The first amend loses, and before the second it dies.
        let memory = other.memory.clone();
        let dies = move || memory.once(Op::AmendReceipt, None, Fault::Crash);
        other.memory.once(Op::AmendReceipt, None, Fault::After(Box::new(dies)));
    });
    assert!(world.try_tick("11:00").is_none());
    assert_eq!(world.doubts(), 1);
}

#[test]
fn what_a_failed_try_has_stored_is_not_forgotten() {
    let mut world = with_events();
    world.options.max_object_bytes = 30;
    let other = world.clone();
    world.memory.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            other.tick("11:00").unwrap();
            other.event("acme", "2026-11-21T10:05:00.000Z", "late");
            let mark = other.doubt(hour(), "11:01");
            // The other repairer, whose reading was the receipt's, gets done while this one stores its first file.
            let memory = other.memory.clone();
            let done = move || {
                let mut state = memory.state();
                let acme = state.tenants.get_mut("acme").unwrap();
                acme.doubts.remove(&mark);
                acme.receipts.get_mut(&clock("11:00")).unwrap().amended += 1;
                drop(state);
                memory.once(Op::Write, None, no_answer());
            };
            other.memory.once(Op::Finish, None, Fault::After(Box::new(done)));
        })),
    );
    world.tick("11:00").unwrap();
    assert_eq!(world.names("acme").concat(), ["late", "10", "20", "30"]);
    let receipt = world.memory.state().tenants["acme"].receipts[&clock("11:00")].clone();
    assert_eq!(receipt.events(), 4);
}

#[test]
fn a_repair_that_takes_longer_than_a_run_is_loud_in_the_end_and_the_exports_go_on() {
    let mut world = with_events();
    world.options.max_object_bytes = 30;
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:05:00.000Z", "late");
    world.doubt(hour(), "11:01");
    let tick = |hour: &str, fits: bool| {
        let now = clock(hour) + TimeDelta::minutes(2);
        world.memory.heal();
        if !fits {
            let memory = world.memory.clone();
            let dies = move || memory.once(Op::Finish, None, Fault::Crash);
            world.memory.once(Op::Doubt, None, Fault::After(Box::new(dies)));
        }
        let memory = world.memory.clone();
        let marks = memory.calls(Op::Doubt);
        let time_is_up = move || !fits && memory.calls(Op::Doubt) > marks;
        world.run(clock(hour), &move || now, &time_is_up).unwrap().unwrap()
    };
    for hour in ["12:00", "13:00", "14:00"] {
        let report = tick(hour, false);
        assert_eq!((report.objects, report.unfinished.len()), (1, 1), "{hour}: what was exported counts");
    }
    for hour in ["15:00", "19:00"] {
        let report = tick(hour, true);
        assert_eq!((report.failures[0].code, world.doubts()), (Code::ReceiptInDoubt, 4), "{hour}");
    }
    assert_eq!(world.exported_until("acme"), "2026-11-21T19:00:00Z");
    assert_eq!(tick("20:00", false).unfinished.len(), 1, "it is tried again six hours after the last try");
    assert_eq!(world.doubts(), 4, "three of dead runs and its own: they don't grow for ever");
    assert_eq!((tick("21:00", true).failed, tick("22:00", true).failed, world.doubts()), (1, 1, 4));
    let now = clock("20:02") + TimeDelta::hours(6);
    let report = world.run(now - TimeDelta::minutes(2), &move || now, &|| false).unwrap().unwrap();
    assert_eq!((report.failed, world.doubts()), (0, 0));
    assert_eq!(world.names("acme")[0], ["late", "10"], "at last");
}

#[test]
fn a_window_that_a_run_is_at_work_on_is_left_to_it_whatever_dead_runs_have_left() {
    let world = with_events();
    world.tick("11:00").unwrap();
    world.doubt(hour(), "11:01");
    world.doubt(hour(), "11:50");
    assert_eq!(counts(&world.tick("12:00").unwrap()), (1, 0, 0));
    assert_eq!((world.doubts(), world.memory.calls(Op::Doubt)), (2, 0));
    world.tick("13:00").unwrap();
    assert_eq!(world.doubts(), 0);
}

/// Whoever can't find out whether another run commits over what it has stored leaves that to a later run.
#[test]
fn a_run_that_has_lost_and_can_ask_nothing_leaves_a_mark() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    let memory = world.memory.clone();
    let asks = move || {
        memory.always(Op::Load, None, Failure::new(Code::Unavailable, "no answer"));
        memory.once(Op::Doubt, None, no_answer());
    };
    world.memory.once(Op::Commit, None, Fault::After(Box::new(|| {})));
    world.memory.once(Op::Commit, None, Fault::After(Box::new(asks)));
    assert_eq!(world.tick("11:00").unwrap().failures[0].code, Code::Unavailable);
    assert_eq!(
        (world.names("acme"), world.doubts()),
        (vec![vec!["10".to_owned(), "20".to_owned(), "30".to_owned()]], 1)
    );
    world.memory.heal();
    assert_eq!(counts(&world.tick("12:00").unwrap()), (1, 0, 0));
    assert_eq!(world.names("acme")[0], ["10", "20", "30", "late"]);
    assert_eq!(world.doubts(), 0);
}

#[test]
fn a_mark_of_a_tenant_that_was_disconnected_meanwhile_waits_until_it_is_back() {
    let world = with_events();
    world.tick("11:00").unwrap();
    world.doubt(hour(), "11:01");
    let other = world.clone();
    world.memory.once(Op::Commit, None, Fault::After(Box::new(move || other.disconnect("acme"))));
    let before = world.objects("acme");
    world.tick("12:00").unwrap();
    assert_eq!((world.doubts(), world.memory.calls(Op::Doubt)), (1, 0));
    assert_eq!(world.objects("acme")[..before.len()], before);
}

#[test]
fn a_repair_whose_own_mark_can_not_be_left_leaves_one_in_the_end() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    (0..3).for_each(|_| world.memory.once(Op::Doubt, None, no_answer()));
    assert_eq!(world.tick("11:00").unwrap().failures[0].code, Code::ReceiptInDoubt);
    assert_eq!(world.doubts(), 1);
    world.tick("12:00").unwrap();
    assert_eq!((&world.names("acme")[0][3], world.doubts()), (&"late".to_owned(), 0));
}

#[test]
fn a_run_without_time_for_a_repair_says_so() {
    let world = with_events();
    world.tick("11:00").unwrap();
    world.doubt(hour(), "11:01");
    let (now, memory) = (clock("12:02"), world.memory.clone());
    let time_is_up = move || memory.calls(Op::Commit) > 1;
    let report = world.run(clock("12:00"), &move || now, &time_is_up).unwrap().unwrap();
    assert_eq!((report.failures[0].code, report.objects, world.doubts()), (Code::ReceiptInDoubt, 1, 1));
    assert_eq!(counts(&world.tick("13:00").unwrap()), (1, 0, 0));
    assert_eq!(world.doubts(), 0);
}

#[test]
fn the_mark_of_a_committed_window_without_a_receipt_stays() {
    let world = with_events();
    world.tick("11:00").unwrap();
    world.doubt(hour(), "11:01");
    world.memory.state().tenants.get_mut("acme").unwrap().receipts.remove(&clock("11:00"));
    assert_eq!(world.tick("12:00").unwrap().failures[0].code, Code::ReceiptInDoubt);
    assert_eq!(world.doubts(), 1);
}
