//! Tests of an erasure while DynamoDB is busy.

use audit_log_core::ports::{Erased, Erasure as _, EventsPart};
use serde_json::json;

use super::*;

fn keys(count: usize) -> Vec<Value> {
    let key = |n| json!({"tenant_shard": {"S": "acme#63"}, "recorded_at_id": {"S": n}});
    (0..count).map(|n| key(format!("{n:02}"))).collect()
}

fn page(keys: &[Value], more: bool) -> Reply {
    let mut page = json!({ "Items": keys, "Count": keys.len() });
    if more {
        page["LastEvaluatedKey"] = keys[0].clone();
    }
    Reply::ok(page.to_string())
}

fn unprocessed(keys: &[Value]) -> Reply {
    let left: Vec<Value> = keys.iter().map(|key| json!({"DeleteRequest": {"Key": key}})).collect();
    Reply::ok(json!({"UnprocessedItems": {"events": left}}).to_string())
}

/// The number of deletes in each call.
fn deletes(aws: &Aws) -> Vec<usize> {
    let body = |sent: &stub::Sent| serde_json::from_str::<Value>(&sent.body).unwrap();
    let count = |sent: &stub::Sent| body(sent)["RequestItems"]["events"].as_array().map_or(0, Vec::len);
    aws.sent("BatchWriteItem").iter().map(count).collect()
}

async fn erase(aws: &Aws) -> Result<Erased, Failure> {
    let tenant = config(Draft::default()).tenant;
    table(aws).erase_some(&tenant, EventsPart::Shard(63)).await.inspect_err(assert_no_secrets)
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_leaves_is_deleted_by_another_call_as_long_as_it_gets_less() {
    let keys = keys(20);
    let all = keys.clone();
    let aws = Aws::new().on("Query", [page(&keys, true)]);
    let aws = aws.answering("BatchWriteItem", move |_, nth| unprocessed(&all[nth + 1..]));
    assert_eq!(erase(&aws).await, Ok(Erased { items: 20, more: true }));
    assert_eq!(deletes(&aws), (1..=20).rev().collect::<Vec<_>>());
    let query: Value = serde_json::from_str(&aws.sent("Query")[0].body).unwrap();
    assert_eq!(query["ConsistentRead"], true, "an event that was just recorded is erased too");
    assert_eq!(query["ExpressionAttributeValues"][":shard"]["S"], "acme#63");
}

#[tokio::test(start_paused = true)]
async fn a_page_is_deleted_25_items_at_a_time() {
    let aws = Aws::new().on("Query", [page(&keys(60), false)]).on("BatchWriteItem", [Reply::ok("{}")]);
    assert_eq!(erase(&aws).await, Ok(Erased { items: 60, more: false }));
    let mut sizes = deletes(&aws);
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 25, 25]);
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_leaves_every_time_is_a_failure_after_all_attempts() {
    let keys = keys(2);
    let aws = Aws::new().on("Query", [page(&keys, false)]).on("BatchWriteItem", [unprocessed(&keys)]);
    assert_eq!(erase(&aws).await.map_err(|failure| failure.code), Err(Code::Throttled));
    assert_eq!(deletes(&aws), [2; ADAPTER_ATTEMPTS]);
}
