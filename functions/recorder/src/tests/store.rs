//! Tests of shards, retries and timeouts.

use std::time::Duration;

use audit_log_core::{
    fakes::{FakeTenant, Fault, Op},
    new_event::{Submitter, shard},
    settings::Draft,
};

use super::*;
use crate::store::{Entry, Stored};

impl Bench {
    fn entry(&self, tenant: &str, id: &str) -> Entry {
        let event = self.store.validator().check(&scan().to_string()).unwrap();
        let submitter = Submitter::from_token("scanner");
        Entry { tenant: TenantId::parse(tenant).unwrap(), submitter, id: id.to_owned(), event }
    }

    async fn store(&self, ids: &[&str]) -> Vec<Stored> {
        let entries: Vec<_> = ids.iter().map(|id| self.entry("acme", id)).collect();
        self.store.store_all(&entries, Duration::from_secs(20)).await
    }

    fn shards(&self, count: &str) {
        let config = Draft { event_shards: Some(count.to_owned()), ..Draft::default() };
        let tenant = FakeTenant { config: Some(config), ..FakeTenant::default() };
        self.fakes().state().tenants.insert("acme".to_owned(), tenant);
    }
}

#[tokio::test]
async fn events_are_spread_over_the_tenants_shards_and_the_number_is_read_again_after_a_minute() {
    let bench = Bench::new();
    bench.shards("4");
    let (four, eight) = (EventShards::parse("4").unwrap(), EventShards::parse("8").unwrap());
    let ids: Vec<String> = (0..40).map(|n| n.to_string()).collect();
    bench.store(&ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (written, read) = (bench.fakes().calls(Op::Record), bench.fakes().calls(Op::EventShards));
    assert_eq!((written, read), (40, 1), "the number of shards is read once");
    let used: std::collections::BTreeSet<u16> = bench.fakes().state().events.keys().map(|(_, shard)| *shard).collect();
    assert_eq!(used.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);

    bench.shards("8");
    // Ids whose shard differs with the number of shards.
    let mut telling = (0..).map(|n| format!("x{n}")).filter(|id| shard(id, four) != shard(id, eight));
    for (later, shards) in [(0, four), (60_000, eight)] {
        bench.clock.fetch_add(later, Relaxed);
        let id = telling.next().unwrap();
        bench.store(&[&id]).await;
        assert_eq!(bench.recorder.started.lock().unwrap().last().unwrap().shard, shard(&id, shards));
    }
}

#[tokio::test]
async fn events_go_into_the_first_shard_if_the_number_can_not_be_read() {
    let bench = Bench::new();
    bench.shards("many");
    assert_eq!(bench.store(&["1", "2", "3"]).await, vec![Stored::Recorded; 3]);
    let of_shard_0 = bench.fakes().state().events[&("acme".to_owned(), 0)].len();
    assert_eq!(of_shard_0, 3);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_delays_events_by_three_seconds() {
    let bench = Bench::new();
    bench.shards("4");
    bench.fakes().once(Op::EventShards, None, Fault::Crash);
    let start_time = tokio::time::Instant::now();
    assert_eq!(bench.store(&["1", "2", "3"]).await, vec![Stored::Recorded; 3]);
    assert_eq!(start_time.elapsed(), Duration::from_secs(3));
    assert!(bench.recorder.started.lock().unwrap().iter().all(|event| event.shard == 0));
}

#[tokio::test]
async fn a_write_whose_answer_gets_lost_is_retried_with_a_new_stamp_and_stored_once() {
    let bench = Bench::new();
    *bench.recorder.lost_answers.lock().unwrap() = 1;
    assert_eq!(bench.store(&["1"]).await, [Stored::Duplicate]);
    assert_eq!(bench.ids("acme"), ["1"]);
    let started = bench.recorder.started.lock().unwrap();
    assert_eq!((started.len(), &started[0].id), (2, &started[1].id));
    assert!(started[0].stamp.at < started[1].stamp.at);
}

#[tokio::test]
async fn a_write_fails_after_its_second_attempt_and_a_refused_one_at_once() {
    let bench = Bench::new();
    *bench.recorder.lost_answers.lock().unwrap() = 2;
    assert!(matches!(bench.store(&["1"]).await[..], [Stored::Failed(Failure { code: Code::Unavailable, .. })]));
    assert_eq!(bench.recorder.started.lock().unwrap().len(), 2);

    bench.fakes().always(Op::Record, None, Failure::new(Code::PlatformDenied, "No."));
    assert!(matches!(bench.store(&["2"]).await[..], [Stored::Failed(Failure { code: Code::PlatformDenied, .. })]));
    assert_eq!(bench.recorder.started.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_hangs_leaves_time_for_a_second_attempt() {
    let bench = Bench::new();
    bench.store(&["0"]).await;
    bench.fakes().once(Op::Record, None, Fault::Crash);
    let start_time = tokio::time::Instant::now();
    assert_eq!(bench.store(&["1"]).await, [Stored::Recorded]);
    assert_eq!(start_time.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_event_whose_key_another_submitter_has_taken_is_stored_with_a_later_time() {
    let bench = Bench::new();
    let first = bench.entry("acme", "1");
    let other = Entry { submitter: Submitter::from_token("billing"), ..first.clone() };
    assert_eq!(bench.store.store_all(&[first], Duration::from_secs(20)).await, [Stored::Recorded]);
    bench.clock.store(bench.clock.load(Relaxed) - 2, Relaxed);
    assert_eq!(bench.store.store_all(&[other], Duration::from_secs(20)).await, [Stored::Recorded]);
    let started = bench.recorder.started.lock().unwrap();
    assert!(started.len() > 2, "the key was not taken");
    assert_eq!(started[0].recorded_at_id(), started[1].recorded_at_id());
    assert_eq!(bench.ids("acme"), ["1", "1"]);
}

#[tokio::test]
async fn entries_with_one_id_have_the_outcome_of_the_first() {
    let bench = Bench::new();
    bench.store(&["0"]).await;
    assert_eq!(bench.store(&["1", "0", "1"]).await, [Stored::Recorded, Stored::Duplicate, Stored::Duplicate]);
    bench.fakes().always(Op::Record, None, Failure::new(Code::Throttled, "Busy."));
    let failed = Stored::Failed(Failure::new(Code::Throttled, "Busy."));
    assert_eq!(bench.store(&["2", "2"]).await, vec![failed; 2]);
}
