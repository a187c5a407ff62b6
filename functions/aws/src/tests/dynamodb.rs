//! Tests of the tables when DynamoDB is busy or refuses. The modules below test concurrent writes and erasures.

mod erasure;
mod leases;
mod outbox;
mod races;

use audit_log_core::{
    event::User,
    late_arrivals::TrailingCounts,
    lease::Lease,
    new_event::Stamp,
    outbox::{Announcement, Outbox},
    ports::{
        Commit, Conditional, Connections, EventRange, Events, FailureRecord, Fence, Fleet, Purpose, Repairs as _,
        Settings, Tenants,
    },
    records::{ConnectedCount, ConnectionCheck, Location, Receipt, StoredObject, StoredWatermark},
    schedule::Schedule,
    system_events::{AdminChange, Client},
    tenant::DueShard,
};
use aws_sdk_dynamodb::config::retry::RetryPartition;
use chrono::TimeDelta;
use serde_json::Value;

use super::*;
use crate::{clients::MAX_ATTEMPTS, events::EventsTable, tenants::TenantsTable};

/// How often the adapter sends what DynamoDB has cancelled or not processed.
const ADAPTER_ATTEMPTS: usize = 8;

/// A client with its own budget of retries, which is otherwise one for all tests of the process.
pub(super) fn client(aws: &Aws) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::config::Builder::from(&aws.sdk_config());
    aws_sdk_dynamodb::Client::from_conf(config.retry_partition(RetryPartition::custom("tests").build()).build())
}

pub(super) fn table(aws: &Aws) -> TenantsTable {
    TenantsTable::new(client(aws), "tenants", EventsTable::new(client(aws), "events"), TimeDelta::minutes(1))
}

fn announcement() -> Announcement {
    let stamp = Stamp { at: window().from, retention: None };
    let change = AdminChange { by: User::system(), client: Client::default(), stamp, id: "01K".to_owned() };
    change.disconnected(&config(Draft::default()).tenant, &Draft::default())
}

fn lease() -> Lease {
    Lease::new([7; 16], window().to + TimeDelta::minutes(45))
}

fn schedule() -> Schedule {
    Schedule { exported_until: window().from, next_due: window().to }
}

fn receipt() -> Receipt {
    let object =
        StoredObject { key: "k".to_owned(), bytes: 1, events: 1, sha256: "a".to_owned(), late: None, last_event: None };
    let location = Location { bucket: "acme-audit".to_owned(), folder: "f".to_owned() };
    Receipt { objects: vec![object], ..Receipt::empty(window(), location, TrailingCounts::new(window())) }
}

fn checked() -> ConnectionCheck {
    ConnectionCheck { due_hour: window().from, at: window().to, version: 0, findings: Vec::new() }
}

async fn commit(aws: &Aws) -> Result<Conditional, Failure> {
    let config = config(Draft::default());
    let (lease, as_read) = (lease(), StoredWatermark::connected(&config.tenant, schedule()));
    let after = schedule().advance(config.frequency);
    let commit = Commit { after, receipt: &receipt(), announcement: None, releases: true };
    let fence = Fence { lease: &lease, as_read: &as_read };
    table(aws).commit(&config, fence, commit).await.inspect_err(assert_no_secrets)
}

async fn save(aws: &Aws) -> Result<Conditional, Failure> {
    let config = config(Draft::default());
    table(aws).save(&config, None, schedule(), false, &announcement()).await.inspect_err(assert_no_secrets)
}

async fn record_failure(aws: &Aws) -> Result<Conditional, Failure> {
    let config = config(Draft::default());
    let (lease, as_read) = (lease(), StoredWatermark::connected(&config.tenant, schedule()));
    let failure = Failure::new(Code::AccessDenied, "S3 refused it.");
    let record = FailureRecord { failure: &failure, at: window().to, announcement: None, releases: false };
    let fence = Fence { lease: &lease, as_read: &as_read };
    table(aws).record_failure(&config.tenant, fence, record).await.inspect_err(assert_no_secrets)
}

async fn due(aws: &Aws) -> Result<Vec<String>, Failure> {
    let shard = DueShard::from_tenant(&config(Draft::default()).tenant);
    let due = table(aws).due(shard, window().to).await.inspect_err(assert_no_secrets)?;
    Ok(due.into_iter().map(|due| due.tenant).collect())
}

async fn events(aws: &Aws) -> Result<(), Failure> {
    let table = EventsTable::new(client(aws), "events");
    let tenant = config(Draft::default()).tenant;
    let page = table.page(EventRange { tenant: &tenant, shard: 0, window: window(), after: None });
    page.await.map(|_| ()).inspect_err(assert_no_secrets)
}

/// A cancelled transaction with a reason for each item.
fn cancelled(reasons: &[&str]) -> Reply {
    let reasons: Vec<_> = reasons.iter().map(|reason| format!("{{\"Code\":\"{reason}\"}}")).collect();
    Reply::dynamodb(400, "TransactionCanceledException", &format!(",\"CancellationReasons\":[{}]", reasons.join(",")))
}

/// The items of each transaction.
fn transactions(aws: &Aws) -> Vec<Vec<Value>> {
    let items = |sent: &stub::Sent| -> Vec<Value> {
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        body["TransactItems"].as_array().cloned().unwrap()
    };
    aws.sent("TransactWriteItems").iter().map(items).collect()
}

fn throttled() -> Reply {
    Reply::dynamodb(400, "ThrottlingException", "")
}

#[tokio::test(start_paused = true)]
async fn a_throttled_table_is_retried_and_then_a_failure() {
    let aws = Aws::new().on("Query", [throttled(), throttled(), Reply::ok("{\"Items\":[],\"Count\":0}")]);
    assert_eq!(due(&aws).await, Ok(Vec::new()));
    assert_eq!(aws.operations(), ["Query"; 3]);

    let aws =
        Aws::new().on("Query", [throttled()]).on("TransactWriteItems", [throttled()]).on("UpdateItem", [throttled()]);
    for code in [
        due(&aws).await.map(|_| ()),
        events(&aws).await,
        commit(&aws).await.map(|_| ()),
        record_failure(&aws).await.map(|_| ()),
    ] {
        assert_eq!(code.map_err(|failure| failure.code), Err(Code::Throttled));
    }
    assert_eq!(aws.operations().len(), 4 * MAX_ATTEMPTS as usize);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_refuses_the_exporter_is_the_platforms_failure() {
    for code in ["AccessDeniedException", "ResourceNotFoundException", "UnrecognizedClientException"] {
        let refused = || Reply::dynamodb(400, code, "");
        let aws = ["Query", "Scan", "BatchGetItem", "GetItem", "TransactWriteItems", "UpdateItem", "PutItem"]
            .into_iter()
            .fold(Aws::new(), |aws, operation| aws.on(operation, [refused()]));
        let (table, tenant) = (table(&aws), config(Draft::default()).tenant);
        for failure in [
            due(&aws).await.unwrap_err(),
            table.any_connected(DueShard::from_tenant(&tenant)).await.unwrap_err(),
            table.load(std::slice::from_ref(&tenant)).await.unwrap_err(),
            table.acquire_lease(&tenant, Purpose::Publish, &lease(), window().to).await.unwrap_err(),
            table.release_lease(&tenant, &lease()).await.unwrap_err(),
            table.outbox(&tenant).await.unwrap_err(),
            table.remove_published(&tenant, &Outbox::default(), &["01K".to_owned()]).await.unwrap_err(),
            table.records(&tenant).await.unwrap_err(),
            commit(&aws).await.unwrap_err(),
            save(&aws).await.unwrap_err(),
            record_failure(&aws).await.unwrap_err(),
            table.disconnect(&tenant, 3, &announcement()).await.unwrap_err(),
            table.connected(DueShard::from_tenant(&tenant)).await.unwrap_err(),
            table.saved().await.unwrap_err(),
            table.pending().await.unwrap_err(),
            table.last_count().await.unwrap_err(),
            table.last_check(&tenant).await.unwrap_err(),
            table.save_check(&tenant, None, &checked(), None).await.unwrap_err(),
            table.save_count(ConnectedCount::after(None, window().from.date_naive(), 1)).await.unwrap_err(),
        ] {
            assert_no_secrets(&failure);
            assert_eq!(failure.code, Code::PlatformDenied, "{code}: {failure}");
        }
        assert_eq!(events(&aws).await.unwrap_err().code, Code::EventsUnreadable);
        assert_eq!(aws.operations().len(), 20, "none is retried");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_and_a_table_without_an_answer_have_different_codes() {
    for (reply, code) in [
        (Reply::dynamodb(400, "ExpiredTokenException", ""), Code::CredentialsExpired),
        (Reply::dynamodb(500, "InternalServerError", ""), Code::Unavailable),
        (Reply::dynamodb(400, "ValidationException", ""), Code::Unexpected),
        (Reply::Lost, Code::Unavailable),
        (Reply::Silence, Code::Unavailable),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("Query", [reply]);
        assert_eq!(events(&aws).await.map_err(|failure| failure.code), Err(code), "{case}");
    }
}

/// A response to BatchGetItem: configs that are returned, and keys that are left for another call.
fn batch(returned: &[&str], left: &[&str]) -> Reply {
    let config = |tenant: &&str| {
        format!(
            "{{\"tenant_id\":{{\"S\":\"{tenant}\"}},\"record\":{{\"S\":\"config\"}},\"bucket\":{{\"S\":\"of-{tenant}\"}}}}"
        )
    };
    let key = |tenant: &&str| format!("{{\"tenant_id\":{{\"S\":\"{tenant}\"}},\"record\":{{\"S\":\"config\"}}}}");
    let list = |items: Vec<String>| items.join(",");
    let (returned, left) = (list(returned.iter().map(config).collect()), list(left.iter().map(key).collect()));
    let unprocessed = if left.is_empty() {
        "{}".to_owned()
    } else {
        format!("{{\"tenants\":{{\"Keys\":[{left}],\"ConsistentRead\":true}}}}")
    };
    Reply::ok(format!("{{\"Responses\":{{\"tenants\":[{returned}]}},\"UnprocessedKeys\":{unprocessed}}}"))
}

/// The number of keys in a BatchGetItem.
fn keys(sent: &stub::Sent) -> usize {
    let body: Value = serde_json::from_str(&sent.body).unwrap();
    let request = &body["RequestItems"]["tenants"];
    assert_eq!(request["ConsistentRead"], true, "{request}");
    request["Keys"].as_array().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn only_keys_that_were_not_processed_are_requested_again() {
    let aws =
        Aws::new().on("BatchGetItem", [batch(&["a"], &["b", "c"]), batch(&[], &["b", "c"]), batch(&["c", "b"], &[])]);
    let tenants = ["a", "b", "c"].map(|tenant| TenantId::parse(tenant).unwrap());
    let loaded = table(&aws).load(&tenants).await.unwrap();
    let buckets: Vec<_> =
        loaded.into_iter().map(|(tenant, records)| (tenant, records.config.unwrap().bucket)).collect();
    assert_eq!(buckets, tenants.map(|tenant| (tenant.clone(), Some(format!("of-{tenant}")))));
    assert_eq!(aws.sent("BatchGetItem").iter().map(keys).collect::<Vec<_>>(), [15, 2, 2]);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_never_processed_are_a_failure_and_not_missing_records() {
    let aws = Aws::new().on("BatchGetItem", [batch(&["a"], &["b"])]);
    let tenants = ["a", "b"].map(|tenant| TenantId::parse(tenant).unwrap());
    let failure = table(&aws).load(&tenants).await.unwrap_err();
    assert_no_secrets(&failure);
    assert_eq!((failure.code, aws.operations().len()), (Code::Throttled, ADAPTER_ATTEMPTS));
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_at_most_100_keys() {
    let aws = Aws::new().on("BatchGetItem", [batch(&[], &[])]);
    let tenants: Vec<_> = (0..120).map(|number| TenantId::parse(&format!("tenant-{number}")).unwrap()).collect();
    assert_eq!(table(&aws).load(&tenants).await.unwrap().len(), 120);
    assert_eq!(aws.sent("BatchGetItem").iter().map(keys).collect::<Vec<_>>(), [100, 100, 100, 100, 100, 100]);
}

#[tokio::test(start_paused = true)]
async fn due_tenants_are_read_to_the_last_page() {
    let tenant = |tenant: &str| format!("{{\"tenant_id\":{{\"S\":\"{tenant}\"}}}}");
    let more = |after: &str| format!(",\"LastEvaluatedKey\":{}", tenant(after));
    let page = |items: &str, more: &str| Reply::ok(format!("{{\"Items\":[{items}],\"Count\":1{more}}}"));
    // An empty page need not be the last.
    let pages = [page(&tenant("a"), &more("a")), page("", &more("b")), page(&tenant("c"), "")];
    let aws = Aws::new().on("Query", pages);
    assert_eq!(due(&aws).await, Ok(vec!["a".to_owned(), "c".to_owned()]));
    let start = |sent: &stub::Sent| {
        serde_json::from_str::<Value>(&sent.body).unwrap()["ExclusiveStartKey"]["tenant_id"]["S"].clone()
    };
    assert_eq!(aws.sent("Query").iter().map(start).collect::<Vec<_>>(), [Value::Null, "a".into(), "b".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_in_the_middle_of_the_due_tenants_is_not_the_end_of_the_list() {
    let first =
        "{\"Items\":[{\"tenant_id\":{\"S\":\"a\"}}],\"Count\":1,\"LastEvaluatedKey\":{\"tenant_id\":{\"S\":\"a\"}}}";
    let aws = Aws::new().on("Query", [Reply::ok(first), Reply::dynamodb(400, "AccessDeniedException", "")]);
    assert_eq!(due(&aws).await.map_err(|failure| failure.code), Err(Code::PlatformDenied));
}

/// The local AWS has one copy of a table. DynamoDB has three, and reads from any of them unless a read is consistent.
#[tokio::test(start_paused = true)]
async fn records_for_decisions_are_read_consistently() {
    let aws = Aws::new()
        .on("Query", [Reply::ok("{\"Items\":[],\"Count\":0}")])
        .on("GetItem", [Reply::ok("{}")])
        .on("BatchGetItem", [batch(&[], &[])]);
    let (table, tenant) = (table(&aws), config(Draft::default()).tenant);
    events(&aws).await.unwrap();
    assert_eq!(table.outbox(&tenant).await, Ok(Outbox::default()));
    for sent in [aws.sent("Query"), aws.sent("GetItem")].concat() {
        let body: Value = serde_json::from_str(&sent.body).unwrap();
        assert_eq!(body["ConsistentRead"], true, "{body}");
    }
    assert_eq!(table.load(std::slice::from_ref(&tenant)).await.unwrap().len(), 1);
    assert_eq!(keys(&aws.sent("BatchGetItem")[0]), 5);
    assert_eq!(aws.operations(), ["Query", "GetItem", "BatchGetItem"]);
}

/// The item has all attributes of a check, so a condition that one is absent would never hold.
#[tokio::test]
async fn a_damaged_check_is_replaced_if_it_is_unchanged() {
    let stored = r#"{"tenant_id":{"S":"acme"},"record":{"S":"connection_check"},"checked_for":{"S":"2026-11-21T10:00:00Z"},"checked_at":{"S":"2026-11-21T10:31:00Z"},"config_version":{"N":"0"},"findings":{"L":[{"M":{"step":{"S":"region"}}}]}}"#;
    let batch = format!("{{\"Responses\":{{\"tenants\":[{stored}]}},\"UnprocessedKeys\":{{}}}}");
    let aws = Aws::new().on("BatchGetItem", [Reply::ok(batch)]).on("TransactWriteItems", [Reply::ok("{}")]);
    let (table, tenant) = (table(&aws), config(Draft::default()).tenant);
    assert_eq!(table.last_check(&tenant).await, Ok(None));
    assert_eq!(table.save_check(&tenant, None, &checked(), None).await, Ok(Conditional::Written));
    let sent: Value = serde_json::from_str(&aws.sent("TransactWriteItems")[0].body).unwrap();
    let put = &sent["TransactItems"][0]["Put"];
    let condition = "checked_for = :checked_for AND checked_at = :checked_at AND config_version = :config_version AND \
                     findings = :findings";
    assert_eq!(put["ConditionExpression"], condition);
    let stored: Value = serde_json::from_str(stored).unwrap();
    for name in ["checked_for", "checked_at", "config_version", "findings"] {
        assert_eq!(put["ExpressionAttributeValues"][format!(":{name}")], stored[name], "{name}");
    }
}
