//! Tests of acquiring and releasing a lease.

use audit_log_core::{lease::MAX_LEASE, ports::Acquisition};
use chrono::{DateTime, Utc};

use super::*;

const OPERATION: &str = "UpdateItem";

fn now() -> DateTime<Utc> {
    window().to
}

/// A condition that failed, with the stored record.
fn condition_failed(item: &str) -> Reply {
    Reply::dynamodb(400, "ConditionalCheckFailedException", &format!(",\"Item\":{{{item}}}"))
}

fn held(token: &str, until: DateTime<Utc>) -> Reply {
    let until = until.timestamp_millis();
    condition_failed(&format!(r#""lease":{{"S":"{token}"}},"lease_until":{{"N":"{until}"}}"#))
}

async fn acquire_at(aws: &Aws, now: DateTime<Utc>) -> Result<Acquisition, Failure> {
    let tenant = config(Draft::default()).tenant;
    let as_read = StoredWatermark::connected(&tenant, schedule());
    table(aws).acquire_lease(&tenant, Purpose::Export(&as_read), &lease(), now).await.inspect_err(assert_no_secrets)
}

async fn acquire(aws: &Aws) -> Result<Acquisition, Failure> {
    acquire_at(aws, now()).await
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_acquired_by_one_write_that_returns_the_watermark() {
    let record = r#"{"Attributes":{"tenant_id":{"S":"acme"},"record":{"S":"watermark"},"lease":{"S":"07"},
        "exported_until":{"S":"2026-11-21T10:00:00Z"},"next_due":{"S":"2026-11-21T11:00:00Z"},"due_shard":{"S":"8"},
        "checkpoint":{"S":"so far"},"consecutive_failures":{"N":"2"}}}"#;
    let aws = Aws::new().on(OPERATION, [Reply::ok(record)]);
    let Ok(Acquisition::Acquired(watermark, health)) = acquire(&aws).await else { panic!("not acquired") };
    let tenant = config(Draft::default()).tenant;
    let expected = StoredWatermark {
        checkpoint: Some("so far".to_owned()),
        failing: true,
        ..StoredWatermark::connected(&tenant, schedule())
    };
    assert_eq!((watermark, health.consecutive_failures), (expected, 2));
    let [sent] = &aws.sent(OPERATION)[..] else { panic!("{:?}", aws.operations()) };
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    assert_eq!(
        (&body["ReturnValues"], &body["ReturnValuesOnConditionCheckFailure"]),
        (&"ALL_NEW".into(), &"ALL_OLD".into())
    );
    assert_eq!(body["ExpressionAttributeValues"][":until"]["N"], "1795261500000");
}

#[tokio::test(start_paused = true)]
async fn a_failed_condition_is_explained_by_the_stored_lease() {
    let other = "ff".repeat(16);
    let (soon, too_late) = (now() + TimeDelta::minutes(5), now() + MAX_LEASE + TimeDelta::milliseconds(1));
    for (reply, expected) in [
        (held(&other, soon), Acquisition::HeldUntil(soon)),
        (held(&other, now()), Acquisition::HeldUntil(now())),
        // The stored lease is not the reason.
        (held(&other, now() - TimeDelta::milliseconds(1)), Acquisition::ConditionFailed),
        (held(&other, too_late), Acquisition::ConditionFailed),
        (held(&lease().token, soon), Acquisition::ConditionFailed),
        (condition_failed(r#""lease":{"N":"7"},"lease_until":{"N":"1795258900000"}"#), Acquisition::ConditionFailed),
        (condition_failed(r#""lease":{"S":"ff"},"lease_until":{"S":"soon"}"#), Acquisition::ConditionFailed),
        (condition_failed(r#""lease":{"S":"ff"}"#), Acquisition::ConditionFailed),
        (condition_failed(""), Acquisition::ConditionFailed),
        (Reply::dynamodb(400, "ConditionalCheckFailedException", ""), Acquisition::ConditionFailed),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on(OPERATION, [reply]);
        assert_eq!(acquire(&aws).await, Ok(expected), "{case}");
        assert_eq!(aws.operations(), [OPERATION], "{case}");
    }
}

/// The condition compares whole milliseconds. A lease that is valid there must not look expired afterwards.
#[tokio::test(start_paused = true)]
async fn within_a_millisecond_the_condition_and_the_result_agree() {
    let aws = Aws::new().on(OPERATION, [held("ff", now())]);
    let later = now() + TimeDelta::microseconds(900);
    assert_eq!(acquire_at(&aws, later).await, Ok(Acquisition::HeldUntil(now())));
    let body: Value = serde_json::from_str(&aws.sent(OPERATION)[0].body).unwrap();
    assert_eq!(body["ExpressionAttributeValues"][":now"]["N"], now().timestamp_millis().to_string());
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_a_transaction_is_retried() {
    let conflict = || Reply::dynamodb(400, "TransactionConflictException", "");
    let aws = Aws::new().on(OPERATION, [conflict(), conflict(), Reply::ok("{}")]);
    assert!(matches!(acquire(&aws).await, Ok(Acquisition::Acquired(..))));
    assert_eq!(aws.operations().len(), 3);
    let forever = Aws::new().on(OPERATION, [conflict()]);
    assert_eq!(acquire(&forever).await.map_err(|failure| failure.code), Err(Code::Throttled));
    assert_eq!(forever.operations(), [OPERATION; ADAPTER_ATTEMPTS]);
}

#[tokio::test(start_paused = true)]
async fn another_runs_lease_is_not_released_and_that_is_no_failure() {
    let aws = Aws::new().on(OPERATION, [Reply::dynamodb(400, "ConditionalCheckFailedException", "")]);
    assert_eq!(table(&aws).release_lease(&config(Draft::default()).tenant, &lease()).await, Ok(()));
    let body: Value = serde_json::from_str(&aws.sent(OPERATION)[0].body).unwrap();
    assert_eq!(body["ConditionExpression"], "lease = :lease");
}
