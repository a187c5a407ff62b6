//! Tests of batches of the queue, and of which messages fail.

use std::time::Duration;

use audit_log_core::fakes::{Fault, Op};
use audit_log_web::log_lines::LogLines;
use aws_lambda_events::sqs::SqsEvent;

use super::*;

/// A batch of these bodies, whose messages are `m-0`, `m-1` and so on.
pub(super) fn batch(bodies: &[String]) -> Value {
    let message = |(index, body): (usize, &String)| json!({ "messageId": format!("m-{index}"), "eventSource": "aws:sqs", "body": body, "attributes": {} });
    json!({ "Records": bodies.iter().enumerate().map(message).collect::<Vec<_>>() })
}

/// A batch of messages of these senders.
fn batch_from(messages: &[(&str, String)]) -> Value {
    let bodies: Vec<String> = messages.iter().map(|(_, body)| body.clone()).collect();
    let mut batch = batch(&bodies);
    for (index, (sender, _)) in messages.iter().enumerate() {
        batch["Records"][index]["attributes"] = json!({ "SenderId": sender });
    }
    batch
}

pub(super) fn message_body(tenant: &str, event: &Value) -> String {
    json!({ "tenantId": tenant, "event": event }).to_string()
}

impl Bench {
    /// Returns the messages that failed.
    async fn record_batch(&self, batch: &Value) -> Vec<String> {
        self.record_batch_within(batch, Duration::from_secs(20)).await
    }

    async fn record_batch_within(&self, batch: &Value, within: Duration) -> Vec<String> {
        let batch: SqsEvent = serde_json::from_value(batch.clone()).unwrap();
        let response = crate::queue::record_batch(&self.store, batch, within).await;
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
    }
}

#[tokio::test]
async fn a_message_that_is_delivered_twice_is_one_event() {
    let bench = Bench::new();
    let batch =
        batch(&[message_body("acme", &scan()), message_body("globex", &scan()), message_body("acme", &login("l-1"))]);
    for _ in 0..2 {
        assert_eq!(bench.record_batch(&batch).await, Vec::<String>::new());
    }
    assert_eq!(bench.ids("acme"), ["m-0", "l-1"]);
    assert_eq!(bench.ids("globex"), ["m-1"]);
    let counts = |recorded, duplicate| Counts { recorded, duplicate, ..Counts::default() };
    assert_eq!(*bench.observed.lock().unwrap(), [counts(3, 0), counts(0, 3)]);
}

#[tokio::test]
async fn an_id_belongs_to_the_user_or_role_that_sends_it() {
    let bench = Bench::new();
    let event = message_body("acme", &login("l-1"));
    let mut other = login("l-1");
    other["action"] = json!("Logout");
    let other = message_body("acme", &other);
    let messages = [
        ("AROAMALLORY:i-0", other.clone()),
        ("AROASCANNER:i-a", event.clone()),
        // Another instance of the service sends the event again.
        ("AROASCANNER:i-b", event.clone()),
        ("AROASCANNER:i-b", other),
        ("AIDAUSER", event.clone()),
        ("", event),
    ];
    assert_eq!(bench.record_batch(&batch_from(&messages)).await, ["m-3"]);
    assert_eq!(bench.record_batch(&batch_from(&messages[2..4])).await, ["m-1"], "also in a later batch");
    let counts = *bench.observed.lock().unwrap().first().unwrap();
    assert_eq!(counts, Counts { recorded: 4, duplicate: 1, refused: 1, failed: 0 });
    let mut submitters: Vec<_> =
        bench.recorder.started.lock().unwrap().iter().map(|event| event.submitted_by.to_string()).collect();
    submitters.dedup();
    let senders = ["queue:AROAMALLORY", "queue:AROASCANNER", "queue:AIDAUSER", "queue:unknown", "queue:AROASCANNER"];
    assert_eq!(submitters, senders);

    // A service that has the same name in its tokens.
    let (_, answer) = bench.post_as("AIDAUSER", &[], &json!({ "events": [login("l-1")] })).await;
    assert_eq!(statuses(&answer), ["recorded"]);
}

#[tokio::test]
async fn a_batch_is_logged_by_tenant_and_submitter() {
    let bench = Bench::new();
    let message = |sender, tenant, event: &Value| (sender, message_body(tenant, event));
    let mut other = login("l-1");
    other["action"] = json!("Logout");
    let messages = [
        message("AROASCANNER:i-a", "acme", &scan()),
        message("AROASCANNER:i-b", "acme", &scan()),
        message("AIDAUSER", "acme", &login("l-1")),
        message("AIDAUSER", "acme", &other),
        message("AROASCANNER:i-a", "globex", &scan()),
        ("AROAMALLORY:i-0", "not an event".to_owned()),
    ];
    let lines = LogLines::default();
    let guard = lines.collect();
    assert_eq!(bench.record_batch(&batch_from(&messages)).await, ["m-5", "m-3"]);
    drop(guard);
    let lines = lines.text();
    for (tenant, submitter, counts) in [
        ("acme", "queue:AROASCANNER", "recorded=2 duplicate=0 refused=0 failed=0"),
        ("acme", "queue:AIDAUSER", "recorded=1 duplicate=0 refused=1 failed=0"),
        ("globex", "queue:AROASCANNER", "recorded=1 duplicate=0 refused=0 failed=0"),
    ] {
        let line = format!(" message=messages tenant={tenant} submitted_by=\"{submitter}\" {counts}");
        assert_eq!(lines.matches(&line).count(), 1, "{line} in {lines}");
    }
    assert!(lines.contains(" message=batch messages=6 recorded=4 duplicate=0 refused=2 failed=0"), "{lines}");
}

#[tokio::test]
async fn an_event_with_half_a_character_is_stored_and_marked() {
    let bench = Bench::new();
    let mut event = scan();
    event["additionalInfo"] = json!({ "comment": "cut inside HALF" });
    let body = message_body("acme", &event).replace("HALF", "\\ud83d");
    assert_eq!(bench.record_batch(&batch(&[body])).await, Vec::<String>::new());
    let info = json!({ "comment": "cut inside \u{fffd}", "_replacedCharacters": 1 });
    assert_eq!(bench.stored("acme")[0]["additionalInfo"], info);
}

#[tokio::test]
async fn a_message_without_a_valid_event_fails_alone() {
    let bench = Bench::new();
    let mut reserved = scan();
    reserved["logType"] = json!("System");
    let mut repeated = scan();
    repeated["additionalInfo"] = json!({ "headers": { "Host": "a", "host": "b" } });
    let bodies = [
        message_body("acme", &scan()),
        "hello".to_owned(),
        scan().to_string(),
        json!({ "tenantId": "acme" }).to_string(),
        json!({ "tenantId": "acme", "event": scan(), "events": [] }).to_string(),
        json!({ "tenantId": 7, "event": scan() }).to_string(),
        message_body("acme/../globex", &scan()),
        message_body("acme", &reserved),
        message_body("acme", &repeated),
        message_body("acme", &json!([scan()])),
        String::new(),
        message_body("acme", &login("l-1")),
    ];
    let failed = bench.record_batch(&batch(&bodies)).await;
    assert_eq!(failed, (1..11).map(|index| format!("m-{index}")).collect::<Vec<_>>());
    assert_eq!(bench.ids("acme"), ["m-0", "l-1"]);
    assert_eq!(bench.observed.lock().unwrap()[0].refused, 10);
}

#[tokio::test]
async fn only_the_message_that_could_not_be_stored_fails() {
    let bench = Bench::new();
    let batch = batch(&[message_body("acme", &scan()), message_body("globex", &scan())]);
    bench.fakes().always(Op::Record, Some("globex"), Failure::new(Code::Unavailable, "No answer."));
    assert_eq!(bench.record_batch(&batch).await, ["m-1"]);
    assert_eq!(bench.ids("acme"), ["m-0"]);
    bench.fakes().heal();
    assert!(bench.record_batch(&batch).await.is_empty());
    assert_eq!((bench.ids("acme").len(), bench.ids("globex").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_tenant_that_floods_its_shards_fails_alone_and_delays_no_other() {
    let bench = Bench::new();
    // DynamoDB refuses each write of mallory's after the SDK's retries, and its config hangs.
    *bench.recorder.throttled.lock().unwrap() = Some(("mallory".to_owned(), Duration::from_secs(8)));
    bench.fakes().once(Op::EventShards, Some("mallory"), Fault::Crash);
    let floods = (0..90).map(|_| message_body("mallory", &scan()));
    let others = (0..10).map(|n| message_body(if n % 2 == 0 { "acme" } else { "globex" }, &scan()));
    let batch = batch(&floods.chain(others).collect::<Vec<_>>());
    let recording = bench.record_batch_within(&batch, Duration::from_secs(20));
    let mut recording = std::pin::pin!(recording);
    assert!(tokio::time::timeout(Duration::from_millis(1), &mut recording).await.is_err(), "the flood is not over");
    assert_eq!((bench.stored("acme").len(), bench.stored("globex").len()), (5, 5), "the others' events are stored");
    let failed = recording.await;
    assert_eq!(failed, (0..90).map(|index| format!("m-{index}")).collect::<Vec<_>>());
    let counts = Counts { recorded: 10, failed: 90, ..Counts::default() };
    assert_eq!(*bench.observed.lock().unwrap(), [counts]);
}

#[tokio::test(start_paused = true)]
async fn messages_fail_if_the_time_is_over() {
    let bench = Bench::new();
    let bodies: Vec<_> = (0..100).map(|_| message_body("acme", &scan())).collect();
    assert_eq!(bench.record_batch_within(&batch(&bodies), Duration::ZERO).await.len(), 100);
    assert!(bench.recorder.started.lock().unwrap().is_empty());

    *bench.recorder.hangs.lock().unwrap() = true;
    assert_eq!(bench.record_batch_within(&batch(&bodies), Duration::from_secs(20)).await.len(), 100);
    *bench.recorder.hangs.lock().unwrap() = false;
    assert!(bench.record_batch(&batch(&bodies)).await.is_empty());
    assert_eq!(bench.stored("acme").len(), 100);
}

#[tokio::test]
async fn a_message_without_an_id_fails_the_batch_rather_than_being_lost() {
    let bench = Bench::new();
    let mut batch = batch(&[message_body("acme", &scan())]);
    batch["Records"][0]["messageId"] = Value::Null;
    assert_eq!(bench.record_batch(&batch).await, [""]);
}
