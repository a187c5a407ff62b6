//! Tests of failed conditions, conflicting transactions and lost responses.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_failed_condition_is_not_retried() {
    for reasons in [
        &["ConditionalCheckFailed", "None", "None"][..],
        &["None", "ConditionalCheckFailed", "None"],
        // A failed condition counts more than a conflict in the same transaction.
        &["TransactionConflict", "ConditionalCheckFailed", "None"],
        &["ConditionalCheckFailed", "TransactionConflict", "None"],
    ] {
        let aws = Aws::new().on("TransactWriteItems", [cancelled(reasons)]).on("GetItem", [Reply::ok("{}")]);
        assert_eq!(commit(&aws).await, Ok(Conditional::ConditionFailed), "{reasons:?}");
        assert_eq!(save(&aws).await, Ok(Conditional::ConditionFailed), "{reasons:?}");
        assert_eq!(record_failure(&aws).await, Ok(Conditional::ConditionFailed), "{reasons:?}");
        assert_eq!(aws.sent("TransactWriteItems").len(), 3, "{reasons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_another_transaction_is_retried() {
    for reasons in [
        &["TransactionConflict", "None", "None"][..],
        &["None", "TransactionConflict", "None"],
        &["ThrottlingError", "None", "None"],
        &["None", "None", "ProvisionedThroughputExceeded"],
    ] {
        let aws = Aws::new().on("TransactWriteItems", [cancelled(reasons), cancelled(reasons), Reply::ok("{}")]);
        assert_eq!(commit(&aws).await, Ok(Conditional::Written), "{reasons:?}");
        assert_eq!(aws.operations(), ["TransactWriteItems"; 3], "{reasons:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_condition_may_fail_after_a_conflict() {
    let aws = Aws::new().on(
        "TransactWriteItems",
        [cancelled(&["TransactionConflict", "None", "None"]), cancelled(&["ConditionalCheckFailed", "None", "None"])],
    );
    assert_eq!(commit(&aws).await, Ok(Conditional::ConditionFailed));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_stays_is_a_failure_after_all_attempts() {
    let aws = Aws::new().on("TransactWriteItems", [cancelled(&["TransactionConflict", "None", "None"])]);
    assert_eq!(commit(&aws).await.map_err(|failure| failure.code), Err(Code::Throttled));
    assert_eq!(aws.operations(), ["TransactWriteItems"; ADAPTER_ATTEMPTS]);
}

#[tokio::test(start_paused = true)]
async fn a_single_write_that_conflicts_with_a_transaction_is_retried() {
    let conflict = || Reply::dynamodb(400, "TransactionConflictException", "");
    let tenant = config(Draft::default()).tenant;
    let once = Aws::new().on("UpdateItem", [conflict(), Reply::ok("{}")]);
    assert_eq!(table(&once).reset_backoff(&tenant, window().to).await, Ok(()));
    assert_eq!(once.operations(), ["UpdateItem", "UpdateItem"]);

    let forever = Aws::new().on("UpdateItem", [conflict()]);
    let failure = table(&forever).reset_backoff(&tenant, window().to).await.unwrap_err();
    assert_eq!(failure.code, Code::Throttled);
    assert_eq!(forever.operations(), ["UpdateItem"; ADAPTER_ATTEMPTS]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_transaction_is_not_retried() {
    let aws = Aws::new().on("TransactWriteItems", [cancelled(&["None", "None", "ValidationError"])]);
    assert_eq!(commit(&aws).await.map_err(|failure| failure.code), Err(Code::Unexpected));
    assert_eq!(aws.operations(), ["TransactWriteItems"]);
}

/// Without the same token, the second attempt of a commit that succeeded would fail on its condition.
#[tokio::test(start_paused = true)]
async fn a_commit_whose_response_is_lost_is_sent_again_as_the_same_transaction() {
    let aws = Aws::new().on("TransactWriteItems", [Reply::Lost, Reply::ok("{}")]);
    assert_eq!(commit(&aws).await, Ok(Conditional::Written));
    let token = |sent: &stub::Sent| -> Value {
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        body["ClientRequestToken"].clone()
    };
    let tokens: Vec<_> = aws.sent("TransactWriteItems").iter().map(token).collect();
    let [Value::String(first), Value::String(second)] = &tokens[..] else { panic!("{tokens:?}") };
    assert_eq!(first, second);
}
