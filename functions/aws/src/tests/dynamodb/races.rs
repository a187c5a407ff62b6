//! Conditions that fail, transactions that meet, and answers that get lost.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_condition_that_does_not_hold_is_a_lost_race_and_not_tried_again() {
    for reasons in [
        &["ConditionalCheckFailed", "None", "None"][..],
        &["None", "ConditionalCheckFailed", "None"],
        // The one tells that another run got there first; the other, that it may still be at it.
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
async fn a_conflict_with_another_transaction_is_no_lost_race_and_tried_again() {
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
async fn after_a_conflict_the_race_may_turn_out_to_be_lost() {
    let aws = Aws::new().on(
        "TransactWriteItems",
        [cancelled(&["TransactionConflict", "None", "None"]), cancelled(&["ConditionalCheckFailed", "None", "None"])],
    );
    assert_eq!(commit(&aws).await, Ok(Conditional::ConditionFailed));
}

#[tokio::test(start_paused = true)]
async fn a_conflict_that_does_not_end_is_given_up() {
    let aws = Aws::new().on("TransactWriteItems", [cancelled(&["TransactionConflict", "None", "None"])]);
    assert_eq!(commit(&aws).await.map_err(|failure| failure.code), Err(Code::Throttled));
    assert_eq!(aws.operations(), ["TransactWriteItems"; OWN_TRIES]);
}

/// A single write meets other writers' transactions, too.
#[tokio::test(start_paused = true)]
async fn a_single_write_that_meets_a_transaction_is_tried_again() {
    let conflict = || Reply::dynamodb(400, "TransactionConflictException", "");
    let tenant = config(Draft::default()).tenant;
    let once = Aws::new().on("UpdateItem", [conflict(), Reply::ok("{}")]);
    assert_eq!(table(&once).reset_backoff(&tenant, window().to).await, Ok(()));
    assert_eq!(once.operations(), ["UpdateItem", "UpdateItem"]);

    let forever = Aws::new().on("UpdateItem", [conflict()]);
    let failure = table(&forever).reset_backoff(&tenant, window().to).await.unwrap_err();
    assert_eq!(failure.code, Code::Throttled);
    assert_eq!(forever.operations(), ["UpdateItem"; OWN_TRIES]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_can_never_pass_is_not_tried_again() {
    let aws = Aws::new().on("TransactWriteItems", [cancelled(&["None", "None", "ValidationError"])]);
    assert_eq!(commit(&aws).await.map_err(|failure| failure.code), Err(Code::Rejected));
    assert_eq!(aws.operations(), ["TransactWriteItems"]);
}

/// Without a token of its own, the second try of a commit that went through would look like a lost race.
#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_is_lost_is_sent_again_as_the_same_transaction() {
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
