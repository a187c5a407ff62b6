//! Tests of an erasure while DynamoDB is busy.

use audit_log_core::ports::{Begun, Erased, Erasure as _, EventsPart};
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

/// The config of an erasure.
fn erasing(version: u64, since: &str) -> Reply {
    let config = json!({
        "tenant_id": {"S": "acme"}, "record": {"S": "config"},
        "version": {"N": version.to_string()}, "erasing_since": {"S": since},
    });
    Reply::ok(json!({"Responses": {"tenants": [config]}}).to_string())
}

async fn erase(aws: Aws) -> (Result<Option<Erased>, Failure>, Aws) {
    let aws = aws.on("BatchGetItem", [erasing(3, "2026-11-20T11:02:00Z")]);
    (erase_as_is(&aws).await, aws)
}

async fn erase_as_is(aws: &Aws) -> Result<Option<Erased>, Failure> {
    let tenant = config(Draft::default()).tenant;
    let begun = Begun { version: 3, since: "2026-11-20T11:02:00Z".parse().unwrap() };
    table(aws).erase_some(&tenant, begun, EventsPart::Shard(63)).await.inspect_err(assert_no_secrets)
}

#[tokio::test]
async fn nothing_is_deleted_if_the_config_read_after_the_keys_is_not_that_of_this_erasure() {
    let of_others = [
        erasing(4, "2026-11-20T11:02:00Z"),
        erasing(3, "2026-11-20T11:02:01Z"),
        Reply::ok(r#"{"Responses": {"tenants": [{"version": {"N": "3"}, "bucket": {"S": "acme-audit"}}]}}"#),
        Reply::ok(r#"{"Responses": {"tenants": []}}"#),
    ];
    for config in of_others {
        let aws = Aws::new().on("Query", [page(&keys(2), false)]).on("BatchGetItem", [config]);
        assert_eq!(erase_as_is(&aws).await, Ok(None));
        assert_eq!(deletes(&aws), [0; 0]);
        let read: Value = serde_json::from_str(&aws.sent("BatchGetItem")[0].body).unwrap();
        assert_eq!(read["RequestItems"]["tenants"]["ConsistentRead"], true);
    }
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_leaves_is_deleted_by_another_call_as_long_as_it_gets_less() {
    let keys = keys(20);
    let all = keys.clone();
    let aws = Aws::new().on("Query", [page(&keys, true)]);
    let aws = aws.answering("BatchWriteItem", move |_, nth| unprocessed(&all[nth + 1..]));
    let (erased, aws) = erase(aws).await;
    assert_eq!(erased, Ok(Some(Erased { items: 20, more: true })));
    assert_eq!(deletes(&aws), (1..=20).rev().collect::<Vec<_>>());
    let query: Value = serde_json::from_str(&aws.sent("Query")[0].body).unwrap();
    assert_eq!(query["ConsistentRead"], true, "an event that was just recorded is erased too");
    assert_eq!(query["ExpressionAttributeValues"][":shard"]["S"], "acme#63");
}

#[tokio::test(start_paused = true)]
async fn a_page_is_deleted_25_items_at_a_time() {
    let aws = Aws::new().on("Query", [page(&keys(60), false)]).on("BatchWriteItem", [Reply::ok("{}")]);
    let (erased, aws) = erase(aws).await;
    assert_eq!(erased, Ok(Some(Erased { items: 60, more: false })));
    let mut sizes = deletes(&aws);
    sizes.sort_unstable();
    assert_eq!(sizes, [10, 25, 25]);
}

#[tokio::test(start_paused = true)]
async fn what_dynamodb_leaves_every_time_is_a_failure_after_all_attempts() {
    let keys = keys(2);
    let aws = Aws::new().on("Query", [page(&keys, false)]).on("BatchWriteItem", [unprocessed(&keys)]);
    let (erased, aws) = erase(aws).await;
    assert_eq!(erased.map_err(|failure| failure.code), Err(Code::Throttled));
    assert_eq!(deletes(&aws), [2; ADAPTER_ATTEMPTS]);
}
