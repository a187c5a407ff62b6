//! Putting right what an overlapping run overwrote.

use super::{
    races::{receipt_is_true, undisturbed, with_events},
    *,
};
use crate::memory::{Fault, Op};

/// Plans that another run stores and commits the window, with an event more, right before this one stores it.
pub(super) fn overtaken_by_a_later_reading(world: &World) {
    let other = world.clone();
    world.memory.once(
        Op::Finish,
        None,
        Fault::After(Box::new(move || {
            other.event("acme", "2026-11-21T10:40:00.000Z", "late");
            other.tick("11:00").unwrap();
        })),
    );
}

pub(super) fn no_answer() -> Fault {
    Fault::Fail(Failure::new(crate::failure::Code::Unavailable, "no answer"))
}

#[test]
fn a_run_whose_commit_has_no_answer_still_puts_right_what_it_overwrote() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    world.memory.once(Op::Commit, None, Fault::After(Box::new(|| {})));
    world.memory.once(Op::Commit, None, no_answer());
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0));
    assert_eq!(world.memory.state().tenants["acme"].last_error, None, "the watermark has moved on");
    assert_eq!(world.names("acme"), [vec!["10", "20", "30", "late"]]);
    receipt_is_true(&world);
}

#[test]
fn a_repair_that_fails_is_tried_again() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    world.memory.once(Op::Receipt, None, no_answer());
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert_eq!(world.names("acme"), [vec!["10", "20", "30", "late"]]);
    receipt_is_true(&world);
}

#[test]
fn a_repair_that_cannot_be_made_is_loud() {
    let world = with_events();
    overtaken_by_a_later_reading(&world);
    world.memory.always(Op::Receipt, None, Failure::new(crate::failure::Code::Unavailable, "no answer"));
    let report = world.tick("11:00").unwrap();
    assert_eq!(report.failures[0].code, crate::failure::Code::ReceiptInDoubt);
}

#[test]
fn a_repair_that_goes_to_a_new_bucket_leaves_a_receipt_that_tells_of_it() {
    let world = with_events();
    world.memory.state().buckets.insert("new-bucket".to_owned(), Default::default());
    overtaken_by_a_later_reading(&world);
    let other = world.clone();
    world.memory.once(
        Op::Receipt,
        None,
        Fault::After(Box::new(move || {
            other.save("acme", &Draft { bucket: Some("new-bucket".to_owned()), ..draft() }, clock("11:02"));
        })),
    );
    world.tick("11:00").unwrap();
    let receipt = world.memory.state().tenants["acme"].receipts[&clock("11:00")].clone();
    assert_eq!((receipt.bucket.as_str(), receipt.events()), ("new-bucket", 4));
}

/// As after a deployment that changed the limit: the two runs split the window differently.
#[test]
fn a_run_that_dies_after_some_of_a_committed_windows_files_puts_them_right() {
    let mut old = with_events();
    old.options.max_object_bytes = 30;
    let mut new = old.clone();
    new.options.max_object_bytes = 1 << 20;
    old.memory.once(
        Op::Finish,
        None,
        Fault::After(Box::new(move || {
            new.tick("11:00").unwrap();
        })),
    );
    let failure = Failure::new(crate::failure::Code::AccessDenied, "no");
    old.memory.once(Op::Write, None, Fault::After(Box::new(|| {})));
    old.memory.once(Op::Write, None, Fault::After(Box::new(|| {})));
    old.memory.once(Op::Write, None, Fault::Fail(failure));
    old.tick("11:00").unwrap();
    let delivered: Vec<String> = old.names("acme").concat();
    for name in ["10", "20", "30"] {
        assert!(delivered.contains(&name.to_owned()), "{name} is lost: {delivered:?}");
    }
    let receipt = old.memory.state().tenants["acme"].receipts[&clock("11:00")].clone();
    assert_eq!(receipt.events(), 3);
}

#[test]
fn a_run_does_not_commit_what_another_overwrote_and_could_not_finish() {
    let world = with_events();
    let mut other = world.clone();
    other.options.max_object_bytes = 30;
    world.memory.once(
        Op::Commit,
        None,
        Fault::After(Box::new(move || {
            other.memory.once(Op::Write, None, Fault::After(Box::new(|| {})));
            other.memory.once(Op::Write, None, no_answer());
            assert_eq!(other.tick("11:00").unwrap().failed, 1);
            assert_eq!(other.names("acme"), [vec!["10", "20"]], "over the three that were there");
        })),
    );
    assert_eq!(counts(&world.tick("11:00").unwrap()), (1, 0, 0));
    assert_eq!(world.objects("acme"), undisturbed());
    assert_eq!(world.exported_until("acme"), "2026-11-21T11:00:00Z");
}

#[test]
fn a_window_that_was_committed_while_the_run_was_busy_elsewhere_is_not_stored_again() {
    let world = with_events();
    let (other, memory) = (world.clone(), world.memory.clone());
    // The clock jumps ahead while this run reads its page, and another run commits the window.
    let started = clock("11:00") + TimeDelta::minutes(2);
    let now = move || if memory.calls(Op::Page) > 0 { started + TimeDelta::minutes(5) } else { started };
    world.memory.once(
        Op::Page,
        None,
        Fault::After(Box::new(move || {
            other.tick("11:00").unwrap();
        })),
    );
    let report = world.run(clock("11:00"), &now, &|| false).unwrap().unwrap();
    assert_eq!((report.failed, report.events), (0, 0));
    assert_eq!(world.memory.calls(Op::Finish), 1, "only the other run's");
    assert_eq!(world.objects("acme"), undisturbed());
}

#[test]
fn a_later_reading_with_fewer_events_never_looks_complete() {
    let world = with_events();
    let (other, memory) = (world.clone(), world.memory.clone());
    world.memory.once(
        Op::Page,
        None,
        Fault::After(Box::new(move || {
            other.tick("11:00").unwrap();
            memory.state().events.clear();
        })),
    );
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.failures[0].code), ((0, 1, 0), crate::failure::Code::RetentionExceeded));
    let acme = world.memory.state().tenants["acme"].clone();
    assert!(acme.receipts[&clock("11:00")].gap);
}

#[test]
fn a_window_is_restored_by_the_settings_as_they_are_now() {
    let world = with_events();
    world.event_in_shard("acme", 1, "2026-11-21T10:50:00.000Z", "other shard");
    let other = world.clone();
    world.memory.once(
        Op::Finish,
        None,
        Fault::After(Box::new(move || {
            let shards = Some("2".to_owned());
            let draft = Draft { bucket: Some("acme-bucket".to_owned()), event_shards: shards, ..draft() };
            other.save("acme", &draft, clock("11:01"));
            other.tick("11:00").unwrap();
        })),
    );
    assert_eq!(world.tick("11:00").unwrap().failed, 0);
    assert_eq!(world.names("acme"), [vec!["10", "20", "30", "other shard"]]);
}
