//! Fan-out: due tenants are sent to the queue, and other invocations export them.

use super::*;
use crate::{
    batch::Batch,
    export::BatchResult,
    failure::Code,
    fakes::{Fault, Op},
};

impl World {
    fn enqueue(&self, hour: &str) -> Result<Report, Failure> {
        let now = clock(hour) + TimeDelta::minutes(1);
        let job = async |export: FakeExport, run: Run<'_>| export.enqueue_due(run, &self.fakes).await;
        self.run_of(clock(hour), &move || now, &|| false, job).unwrap()
    }

    /// Receives all batches in the queue.
    fn receive(&self) -> Vec<Batch> {
        std::mem::take(&mut self.fakes.state().queue)
    }

    /// Exports batches, two minutes into the hour.
    fn export_batches(
        &self,
        hour: &str,
        batches: &[Batch],
        should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> BatchResult {
        let now = clock(hour) + TimeDelta::minutes(2);
        let job = async |export: FakeExport, run: Run<'_>| export.export_batches(run, batches, Some(&self.fakes)).await;
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
fn a_tenant_is_exported_on_request_and_a_failure_is_in_the_report() {
    let world = World::new();
    world.connect("acme", "1", "10:00");
    world.connect("globex", "1", "10:00");
    let export = |hour: &str, should_stop: &(dyn Fn() -> bool + Send + Sync)| {
        let now = clock(hour) + TimeDelta::minutes(20);
        let job = async |it: FakeExport, run: Run<'_>| it.export_one(run, &id("acme"), Some(&world.fakes)).await;
        world.run_of(clock(hour), &move || now, should_stop, job).unwrap()
    };
    assert_eq!(export("10:00", &|| false).due, 0, "nothing is due yet");
    world.fakes.always(Op::Open, None, Failure::new(Code::PlatformDenied, "No."));
    let report = export("11:00", &|| false);
    assert_eq!((report.failed, report.failures[0].code), (1, Code::PlatformDenied));
    world.fakes.heal();
    assert_eq!(export("11:00", &|| false).exported, 1);
    assert_eq!((world.objects("acme").len(), world.objects("globex").len()), (1, 0), "no other tenant");
    assert_eq!(export("11:00", &|| false).due, 0);
    let out_of_time = export("12:00", &|| true);
    assert_eq!((out_of_time.deferred, world.receive().len()), (1, 0), "a run without progress queues nothing");
}

#[test]
fn every_due_tenant_is_sent_once_and_exported_by_the_run_that_receives_it() {
    let world = many(60);
    world.connect("later", "1", "11:30");
    let report = world.enqueue("11:00").unwrap();
    assert_eq!((report.due, report.queued, report.exported, report.nothing_delivered()), (60, 60, 0, false));
    let batches = world.receive();
    assert_eq!(batches.iter().map(|batch| batch.tenants.len()).collect::<Vec<_>>(), [20, 20, 20]);
    assert_eq!(world.objects("t00"), [], "the tick itself exports none");
    for batch in &batches {
        let result = world.export_batches("11:00", std::slice::from_ref(batch), &|| false);
        assert_eq!((result.report.exported as usize, result.failed), (batch.tenants.len(), vec![]));
    }
    for n in 0..60 {
        assert_eq!(world.objects(&format!("t{n:02}")).len(), 1);
    }
    assert_eq!(world.fakes.calls(Op::Open), 60, "each role is assumed once");
}

#[test]
fn a_batch_that_comes_twice_does_nothing_the_second_time() {
    let world = many(3);
    world.enqueue("11:00").unwrap();
    let batches = world.receive();
    world.export_batches("11:00", &batches, &|| false);
    let result = world.export_batches("11:00", &[batches.clone(), batches].concat(), &|| false);
    assert_eq!((result.report.due, result.failed), (0, vec![]));
    assert_eq!(world.fakes.calls(Op::Finish), 3);
}

#[test]
fn a_batch_comes_again_for_a_platforms_failure_and_not_for_a_customers() {
    let world = many(30);
    world.fakes.always(Op::Finish, Some("t03"), Failure::new(Code::AccessDenied, "S3 refused it."));
    world.fakes.always(Op::Page, Some("t27"), Failure::new(Code::Throttled, "Too many reads."));
    world.enqueue("11:00").unwrap();
    let result = world.export_batches("11:00", &world.receive(), &|| false);
    assert_eq!(
        (result.report.exported, result.report.failed, result.failed),
        (28, 2, vec![1]),
        "t03 and t27 are both in the second"
    );
    assert_eq!(world.fakes.state().tenants["t03"].consecutive_failures, 1, "noted in either case");
}

#[test]
fn a_tick_that_cannot_send_some_tenants_sends_all_others_and_fails() {
    let world = many(60);
    world.fakes.once(Op::Send, Some("t01"), Fault::Fail(Failure::new(Code::Throttled, "Too many messages.")));
    assert_eq!(world.enqueue("11:00").unwrap_err().code, Code::Throttled);
    assert_eq!(world.receive().iter().map(|batch| batch.tenants.len()).sum::<usize>(), 40);
    let world = many(60);
    world.fakes.once(Op::Due, Some("0"), Fault::Fail(Failure::new(Code::Throttled, "Too many reads.")));
    assert_eq!(world.enqueue("11:00").unwrap_err().code, Code::Throttled);
    assert!(!world.receive().is_empty(), "tenants of other shards are sent");
}

#[test]
fn a_tick_that_sends_batches_also_reports_that_no_tenant_is_connected() {
    assert!(World::new().enqueue("11:00").unwrap().no_connected_tenant);
    assert!(!many(1).enqueue("11:00").unwrap().no_connected_tenant);
}

#[test]
fn tenants_that_a_run_has_no_time_for_are_sent_again() {
    let mut world = many(5);
    world.options.concurrency = 1;
    world.enqueue("11:00").unwrap();
    let fakes = world.fakes.clone();
    let result = world.export_batches("11:00", &world.receive(), &move || fakes.calls(Op::Commit) >= 2);
    assert_eq!(
        (result.report.exported, result.report.queued, result.report.deferred, result.failed),
        (2, 3, 0, vec![])
    );
    let again = world.receive();
    assert_eq!(again.iter().map(|batch| batch.tenants.len()).collect::<Vec<_>>(), [3]);
    let result = world.export_batches("11:00", &again, &|| false);
    assert_eq!((result.report.exported, result.failed, world.receive()), (3, vec![], vec![]));
}

#[test]
fn a_run_without_progress_fails_its_batches_so_that_the_queue_counts_that() {
    let world = many(2);
    world.enqueue("11:00").unwrap();
    let result = world.export_batches("11:00", &world.receive(), &|| true);
    assert_eq!((result.report.deferred, result.failed, world.receive()), (2, vec![0], vec![]));
}

#[test]
fn tenants_that_cannot_be_sent_again_come_again_with_their_batch() {
    let mut world = many(1);
    world.options.max_windows = 1;
    world.enqueue("13:00").unwrap();
    let batches = world.receive();
    world.fakes.once(Op::Send, None, Fault::Fail(Failure::new(Code::Throttled, "Too many messages.")));
    let result = world.export_batches("13:00", &batches, &|| false);
    assert_eq!((result.report.objects, result.report.deferred, result.failed), (1, 1, vec![0]));
    let result = world.export_batches("13:00", &batches, &|| false);
    assert_eq!((result.report.objects, result.failed, world.receive()), (1, vec![], batches));
}

#[test]
fn a_tenant_that_another_run_has_leased_fails_no_batch_and_is_not_sent_again() {
    let world = many(2);
    world.enqueue("11:00").unwrap();
    let batches = world.receive();
    let held = crate::lease::Lease::new([9; 16], clock("11:40"));
    world.fakes.state().tenants.get_mut("t01").unwrap().lease = Some(held);
    let result = world.export_batches("11:00", &batches, &|| false);
    assert_eq!((result.report.exported, result.report.leased, result.failed, world.receive()), (1, 1, vec![], vec![]));
}

#[test]
fn the_lease_is_released_before_the_tenant_is_sent_again() {
    let mut world = many(1);
    world.options.max_windows = 1;
    world.enqueue("13:00").unwrap();
    let batches = world.receive();
    let fakes = world.fakes.clone();
    let is_free = move || assert_eq!(fakes.state().tenants["t00"].lease, None);
    world.fakes.once(Op::Send, None, Fault::After(Box::new(is_free)));
    assert_eq!(world.export_batches("13:00", &batches, &|| false).report.queued, 1);
}
