//! Due tenants handed over to other runs.

use super::*;
use crate::{
    batch::Batch,
    export::Done,
    failure::Code,
    fakes::{Fault, Op},
};

impl World {
    fn hand_over(&self, hour: &str) -> Result<Report, Failure> {
        let now = clock(hour) + TimeDelta::minutes(1);
        let job = async |export: MemoryExport, run: Run<'_>| export.hand_over(run, &self.fakes).await;
        self.run_of(clock(hour), &move || now, &|| false, job).unwrap()
    }

    /// Takes what lies in the queue out of it.
    fn batches(&self) -> Vec<Batch> {
        std::mem::take(&mut self.fakes.state().queue)
    }

    /// An invocation that comes with these batches two minutes into the hour.
    fn takes(&self, hour: &str, batches: &[Batch], should_stop: &(dyn Fn() -> bool + Send + Sync)) -> Done {
        let now = clock(hour) + TimeDelta::minutes(2);
        let job = async |export: MemoryExport, run: Run<'_>| export.batches(run, batches, Some(&self.fakes)).await;
        self.run_of(clock(hour), &move || now, should_stop, job).unwrap()
    }
}

fn many(count: usize) -> World {
    let world = World::new();
    for n in 0..count {
        world.connect(&format!("t{n:02}"), "1", "10:00");
    }
    world
}

#[test]
fn whoever_is_due_is_handed_over_once_and_exported_by_whoever_takes_the_batch() {
    let world = many(60);
    world.connect("later", "1", "11:30");
    let report = world.hand_over("11:00").unwrap();
    assert_eq!((report.due, report.queued, report.exported, report.nothing_delivered()), (60, 60, 0, false));
    let batches = world.batches();
    assert_eq!(batches.iter().map(|batch| batch.tenants.len()).collect::<Vec<_>>(), [20, 20, 20]);
    assert_eq!(world.objects("t00"), [], "the tick itself exports nobody");
    for batch in &batches {
        let done = world.takes("11:00", std::slice::from_ref(batch), &|| false);
        assert_eq!((done.report.exported as usize, done.failed), (batch.tenants.len(), vec![]));
    }
    for n in 0..60 {
        assert_eq!(world.objects(&format!("t{n:02}")).len(), 1);
    }
    assert_eq!(world.fakes.calls(Op::Open), 60, "each role is assumed once");
}

#[test]
fn a_batch_that_comes_twice_does_nothing_the_second_time() {
    let world = many(3);
    world.hand_over("11:00").unwrap();
    let batches = world.batches();
    world.takes("11:00", &batches, &|| false);
    let done = world.takes("11:00", &[batches.clone(), batches].concat(), &|| false);
    assert_eq!((done.report.due, done.failed), (0, vec![]));
    assert_eq!(world.fakes.calls(Op::Finish), 3);
}

#[test]
fn a_customers_failure_is_acknowledged_and_a_platforms_comes_again() {
    let world = many(30);
    world.fakes.always(Op::Finish, Some("t03"), Failure::new(Code::AccessDenied, "S3 refused it."));
    world.fakes.always(Op::Page, Some("t27"), Failure::new(Code::Throttled, "Too many reads."));
    world.hand_over("11:00").unwrap();
    let done = world.takes("11:00", &world.batches(), &|| false);
    assert_eq!(
        (done.report.exported, done.report.failed, done.failed),
        (28, 2, vec![1]),
        "t03 and t27 are both in the second"
    );
    assert_eq!(world.fakes.state().tenants["t03"].consecutive_failures, 1, "noted all the same");
}

#[test]
fn a_tick_that_cannot_hand_everyone_over_hands_over_the_rest_and_fails() {
    let world = many(60);
    world.fakes.once(Op::Send, Some("t01"), Fault::Fail(Failure::new(Code::Throttled, "Too many messages.")));
    assert_eq!(world.hand_over("11:00").unwrap_err().code, Code::Throttled);
    assert_eq!(world.batches().iter().map(|batch| batch.tenants.len()).sum::<usize>(), 40);
    let world = many(60);
    world.fakes.once(Op::Due, Some("0"), Fault::Fail(Failure::new(Code::Throttled, "Too many reads.")));
    assert_eq!(world.hand_over("11:00").unwrap_err().code, Code::Throttled);
    assert!(!world.batches().is_empty(), "whoever could be read is handed over");
}

#[test]
fn no_connected_tenant_at_all_is_told_by_a_tick_that_hands_over_too() {
    assert!(World::new().hand_over("11:00").unwrap().no_connected_tenant);
    assert!(!many(1).hand_over("11:00").unwrap().no_connected_tenant);
}

#[test]
fn whoever_a_run_has_no_time_for_is_handed_over_again() {
    let mut world = many(5);
    world.options.concurrency = 1;
    world.hand_over("11:00").unwrap();
    let fakes = world.fakes.clone();
    let done = world.takes("11:00", &world.batches(), &move || fakes.calls(Op::Commit) >= 2);
    assert_eq!((done.report.exported, done.report.queued, done.report.deferred, done.failed), (2, 3, 0, vec![]));
    let again = world.batches();
    assert_eq!(again.iter().map(|batch| batch.tenants.len()).collect::<Vec<_>>(), [3]);
    let done = world.takes("11:00", &again, &|| false);
    assert_eq!((done.report.exported, done.failed, world.batches()), (3, vec![], vec![]));
}

#[test]
fn a_run_that_got_nowhere_fails_its_batches_so_that_the_queue_counts_that() {
    let world = many(2);
    world.hand_over("11:00").unwrap();
    let done = world.takes("11:00", &world.batches(), &|| true);
    assert_eq!((done.report.deferred, done.failed, world.batches()), (2, vec![0], vec![]));
}

#[test]
fn whoever_cannot_be_handed_over_again_comes_again_with_the_batch() {
    let mut world = many(1);
    world.options.max_windows = 1;
    world.hand_over("13:00").unwrap();
    let batches = world.batches();
    world.fakes.once(Op::Send, None, Fault::Fail(Failure::new(Code::Throttled, "Too many messages.")));
    let done = world.takes("13:00", &batches, &|| false);
    assert_eq!((done.report.objects, done.report.deferred, done.failed), (1, 1, vec![0]));
    let done = world.takes("13:00", &batches, &|| false);
    assert_eq!((done.report.objects, done.failed, world.batches()), (1, vec![], batches));
}

#[test]
fn a_tenant_that_another_run_has_leased_is_acknowledged_and_handed_over_to_nobody() {
    let world = many(2);
    world.hand_over("11:00").unwrap();
    let batches = world.batches();
    let held = crate::lease::Lease::new([9; 16], clock("11:40"));
    world.fakes.state().tenants.get_mut("t01").unwrap().lease = Some(held);
    let done = world.takes("11:00", &batches, &|| false);
    assert_eq!((done.report.exported, done.report.leased, done.failed, world.batches()), (1, 1, vec![], vec![]));
}

#[test]
fn the_lease_ends_before_the_message_to_oneself() {
    let mut world = many(1);
    world.options.max_windows = 1;
    world.hand_over("13:00").unwrap();
    let batches = world.batches();
    let fakes = world.fakes.clone();
    let is_free = move || assert_eq!(fakes.state().tenants["t00"].lease, None);
    world.fakes.once(Op::Send, None, Fault::After(Box::new(is_free)));
    assert_eq!(world.takes("13:00", &batches, &|| false).report.queued, 1);
}
