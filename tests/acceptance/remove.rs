//! Removes all that a run has made, by its names. What isn't there needs no removal, so this can be repeated.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    act::Run,
    aws::{argument, is_refused_with, list, settled_stack, stack, text},
    listener::Listener,
    platform::Deployment,
    report::{Found, Report, passed},
};

pub(crate) const STEPS: [&str; 6] = [
    "remove: connection",
    "remove: customer's stack",
    "remove: bucket",
    "remove: KMS key",
    "remove: tenant's records",
    "remove: rule and queue",
];

/// The least that KMS allows.
const PENDING_DAYS: &str = "7";

const NOTHING: &str = "nothing there";

pub(crate) async fn remove(run: &Run<'_>, report: &Report) {
    let [connection, stack, bucket, key, records, listener] = STEPS;
    // Each is tried whatever becomes of the others. The exporter must not use anything while it is removed.
    let _ = report.step(connection, disconnect(run)).await;
    let at_the_customer = async {
        let _ = report.step(stack, remove_stack(run)).await;
        let _ = report.step(bucket, remove_bucket(run)).await;
        let _ = report.step(key, remove_key(run)).await;
    };
    let _ = tokio::join!(
        at_the_customer,
        report.step(records, remove_records(run)),
        report.step(listener, remove_listener(run)),
    );
}

/// Decides whether an earlier run's tenant may be removed: its role is that run's, or it has none and the run made its id.
pub(crate) async fn claim_tenant(run: &Run<'_>) -> Result<()> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let key = json!({ "tenant_id": { "S": names.tenant }, "record": { "S": "config" } }).to_string();
    let table = stack.output("TenantsTableName")?;
    let get = ["dynamodb", "get-item", "--table-name", table, "--consistent-read", "--key", &key];
    let config = platform.call(&get).await?;
    let role = text(&config["Item"]["role_arn"]["S"]);
    let is_ours =
        if role.is_empty() { names.has_own_tenant() } else { role.ends_with(&format!("/{}", names.resource)) };
    ensure!(is_ours, "the tenant {} is not of the run {}", names.tenant, names.run);
    if let Ok(mut owns) = run.owns_tenant.lock() {
        *owns = true;
    }
    Ok(())
}

async fn disconnect(run: &Run<'_>) -> Result<Found<()>> {
    if !run.owns_tenant() {
        return passed((), NOTHING);
    }
    let connector = run.api.send("DELETE", "/v1/connector", None).await?.ok()?;
    // Otherwise the exporter may write the outbox after its removal.
    let is_announced = connector["status"] == "disconnected";
    if is_announced {
        Listener::expect(run, &["Audit Log Connector Disconnected"], Duration::from_secs(60)).await?;
    }
    passed((), text(&connector["status"]).to_owned())
}

async fn remove_stack(run: &Run<'_>) -> Result<Found<()>> {
    let Deployment { customer, names, .. } = run.deployment;
    let name = names.resource.as_str();
    if stack(customer, name).await?.is_none() {
        return passed((), NOTHING);
    }
    customer.call(&["cloudformation", "delete-stack", "--stack-name", name]).await?;
    if let Some(left) = settled_stack(customer, name).await? {
        bail!("the stack {name} is {}: {}", left["StackStatus"], left["StackStatusReason"]);
    }
    passed((), name)
}

/// The bucket has versions, which its stack leaves.
async fn remove_bucket(run: &Run<'_>) -> Result<Found<()>> {
    let Deployment { customer, customer_account, names, .. } = run.deployment;
    let bucket = ["--bucket", &names.resource, "--expected-bucket-owner", customer_account];
    let call = async |operation: &str, arguments: &[&str]| {
        customer.call(&[&["s3api", operation][..], &bucket, arguments].concat()).await
    };
    let mut removed = 0;
    loop {
        let page = match call("list-object-versions", &["--max-items", "1000"]).await {
            Err(error) if is_refused_with(&error, &["NoSuchBucket"]) => return passed((), NOTHING),
            page => page?,
        };
        let versions = list(&page["Versions"]).iter().chain(list(&page["DeleteMarkers"]));
        let versions: Vec<Value> =
            versions.map(|it| json!({ "Key": it["Key"], "VersionId": it["VersionId"] })).take(1000).collect();
        if versions.is_empty() {
            break;
        }
        removed += versions.len();
        let input = customer.input(&json!({ "Objects": versions, "Quiet": true }).to_string())?;
        let answer = call("delete-objects", &["--delete", &argument(&input)]).await?;
        let refused = list(&answer["Errors"]);
        ensure!(refused.is_empty(), "{} objects of {} stay: {}", refused.len(), names.resource, refused[0]);
    }
    call("delete-bucket", &[]).await?;
    passed((), format!("{} with {removed} versions", names.resource))
}

async fn remove_key(run: &Run<'_>) -> Result<Found<()>> {
    let Deployment { customer, names, .. } = run.deployment;
    let alias = names.key_alias();
    let key = match customer.call(&["kms", "describe-key", "--key-id", &alias]).await {
        Err(error) if is_refused_with(&error, &["NotFoundException"]) => return passed((), NOTHING),
        key => key?,
    };
    let id = text(&key["KeyMetadata"]["KeyId"]);
    let schedule = ["kms", "schedule-key-deletion", "--key-id", id, "--pending-window-in-days", PENDING_DAYS];
    customer.call(&schedule).await?;
    customer.call(&["kms", "delete-alias", "--alias-name", &alias]).await?;
    passed((), format!("{id} is deleted in {PENDING_DAYS} days, the least that KMS allows"))
}

async fn remove_records(run: &Run<'_>) -> Result<Found<()>> {
    if !run.owns_tenant() {
        return passed((), NOTHING);
    }
    let Deployment { stack, names, .. } = run.deployment;
    let tenant = names.tenant.as_str();
    let tenants = remove_partition(run, stack.output("TenantsTableName")?, ["tenant_id", "record"], tenant).await?;
    let shard = format!("{tenant}#0");
    let events =
        remove_partition(run, stack.output("EventsTableName")?, ["tenant_shard", "recorded_at_id"], &shard).await?;
    passed((), format!("{tenants} records, {events} events; markers of event ids expire in six weeks"))
}

/// Deletes all items of a partition.
async fn remove_partition(run: &Run<'_>, table: &str, keys: [&str; 2], partition: &str) -> Result<usize> {
    let platform = &run.deployment.platform;
    let [hash, range] = keys;
    let values = json!({ ":value": { "S": partition } }).to_string();
    let names = json!({ "#hash": hash, "#range": range }).to_string();
    let query = ["dynamodb", "query", "--table-name", table, "--consistent-read"];
    let condition = ["--key-condition-expression", "#hash = :value", "--projection-expression", "#hash, #range"];
    let given = ["--expression-attribute-values", &values, "--expression-attribute-names", &names];
    let mut removed = 0;
    loop {
        let page = platform.call(&[&query[..], &condition, &given].concat()).await?;
        let items = list(&page["Items"]);
        if items.is_empty() {
            return Ok(removed);
        }
        for items in items.chunks(25) {
            let deletes = items.iter().map(|key| json!({ "DeleteRequest": { "Key": key } }));
            let input = platform.input(&json!({ table: deletes.collect::<Value>() }).to_string())?;
            let answer = platform.call(&["dynamodb", "batch-write-item", "--request-items", &argument(&input)]).await?;
            // The next query finds what DynamoDB left. A partition takes 1,000 KB of deletions a second.
            let left = list(&answer["UnprocessedItems"][table]).len();
            removed += items.len() - left;
            if left > 0 {
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
        }
        ensure!(removed < 10_000, "{table} holds too much of {partition} to be of this run");
    }
}

async fn remove_listener(run: &Run<'_>) -> Result<Found<()>> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let (bus, name) = (stack.output("NotificationBusName")?, names.resource.as_str());
    let mut removed = Vec::new();
    let rule = async |operation: &str, arguments: &[&str]| {
        platform.call(&[&["events", operation, "--event-bus-name", bus][..], arguments].concat()).await
    };
    match rule("describe-rule", &["--name", name]).await {
        Err(error) if is_refused_with(&error, &["ResourceNotFoundException"]) => {}
        answer => {
            answer?;
            rule("remove-targets", &["--rule", name, "--ids", "queue"]).await?;
            rule("delete-rule", &["--name", name]).await?;
            removed.push("rule");
        }
    }
    match platform.call(&["sqs", "get-queue-url", "--queue-name", name]).await {
        Err(error) if is_refused_with(&error, &["AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"]) => {}
        answer => {
            let answer = answer?;
            let url = answer["QueueUrl"].as_str().context("a queue without a URL")?;
            platform.call(&["sqs", "delete-queue", "--queue-url", url]).await?;
            removed.push("queue");
        }
    }
    passed((), if removed.is_empty() { NOTHING.to_owned() } else { format!("{} {name}", removed.join(" and ")) })
}
