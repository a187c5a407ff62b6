//! Removes all that a run has made, by its names. What isn't there needs no removal, so this can be repeated.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::events;
use chrono::Utc;
use serde_json::{Value, json};

use crate::{
    act::{Run, Tenant},
    aws::{argument, is_refused_with, list, settled_stack, stack, text},
    connect,
    listener::ensure_all_taken,
    platform::Deployment,
    report::{Found, Report, passed, skipped},
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

/// Of a publishing run or an export. A lease can last longer.
const EXPORTER_ENDS_WITHIN: Duration = Duration::from_secs(120);

const NOTHING: &str = "nothing there";

/// All but the tenant is found by the run alone, so whatever became of the tenant, the rest is removed.
pub(crate) async fn remove(run: &Run<'_>, report: &Report, is_earlier: bool) {
    let [connection, stack, bucket, key, records, listener] = STEPS;
    run.api.settle().await;
    // Each is tried whatever becomes of the others. The exporter must not use anything while it is removed.
    let _ = report.step(connection, disconnect(run, is_earlier)).await;
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

/// Decides whether an earlier run's tenant may be removed: its role is that run's. Without a role, the run made its id or
/// recorded its first events.
async fn claim_tenant(run: &Run<'_>) -> Result<()> {
    let names = &run.deployment.names;
    let role = role(run).await?;
    let is_own = if role.is_empty() {
        names.has_own_tenant() || has_events_of_the_run(run).await?
    } else {
        role.ends_with(&format!("/{}", names.resource))
    };
    run.set_tenant(match is_own {
        true => Tenant::Own,
        false if connect::holding_table(run).await?.is_none() => Tenant::Untouched,
        false => Tenant::Foreign,
    });
    Ok(())
}

/// The role in the tenant's config; blank if there is none.
async fn role(run: &Run<'_>) -> Result<String> {
    Ok(text(&record(run, "config").await?["role_arn"]["S"]).to_owned())
}

/// A record of the tenant; null if there is none.
async fn record(run: &Run<'_>, name: &str) -> Result<Value> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let key = json!({ "tenant_id": { "S": names.tenant }, "record": { "S": name } }).to_string();
    let table = stack.output("TenantsTableName")?;
    let get = ["dynamodb", "get-item", "--table-name", table, "--consistent-read", "--key", &key];
    Ok(platform.call(&get).await?["Item"].take())
}

/// Whether the tenant's first events have ids of the run.
async fn has_events_of_the_run(run: &Run<'_>) -> Result<bool> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let table = stack.output("EventsTableName")?;
    let id = format!("#acceptance-{}-", names.run);
    let values = json!({ ":value": { "S": shard(run) } }).to_string();
    let query = ["dynamodb", "query", "--table-name", table, "--no-paginate", "--consistent-read"];
    let condition =
        ["--key-condition-expression", "tenant_shard = :value", "--projection-expression", "recorded_at_id"];
    let given = ["--expression-attribute-values", &values];
    let page = platform.call(&[&query[..], &condition, &given].concat()).await?;
    Ok(list(&page["Items"]).iter().any(|item| text(&item["recorded_at_id"]["S"]).contains(&id)))
}

async fn disconnect(run: &Run<'_>, is_earlier: bool) -> Result<Found<()>> {
    if is_earlier {
        // Until the tenant is claimed, nothing of it is removed.
        run.set_tenant(Tenant::Foreign);
        claim_tenant(run).await?;
    }
    match run.tenant() {
        Tenant::Foreign => return foreign(run),
        Tenant::Own if !role(run).await?.is_empty() => {}
        _ => return passed((), NOTHING),
    }
    let connector = run.api.send("DELETE", "/v1/connector", None).await?.ok()?;
    passed((), text(&connector["status"]).to_owned())
}

fn foreign(run: &Run<'_>) -> Result<Found<()>> {
    let names = &run.deployment.names;
    skipped(format!("nothing shows that the tenant {} is of the run {}", names.tenant, names.run))
}

async fn remove_stack(run: &Run<'_>) -> Result<Found<()>> {
    let Deployment { customer, names, .. } = run.deployment;
    let name = names.resource.as_str();
    let Some(found) = stack(customer, name).await? else { return passed((), NOTHING) };
    // CloudFormation deletes no stack that is being updated.
    let status = text(&found["StackStatus"]);
    if status.ends_with("_IN_PROGRESS") && status != "CREATE_IN_PROGRESS" {
        settled_stack(customer, name).await?;
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
        // The run may have ended between the key and its alias.
        Err(error) if is_refused_with(&error, &["NotFoundException"]) => tagged_key(run).await?,
        key => Some(text(&key?["KeyMetadata"]["KeyId"]).to_owned()),
    };
    let Some(id) = key else { return passed((), NOTHING) };
    let schedule = ["kms", "schedule-key-deletion", "--key-id", &id, "--pending-window-in-days", PENDING_DAYS];
    match customer.call(&schedule).await {
        // It waits for its deletion already.
        Err(error) if is_refused_with(&error, &["KMSInvalidStateException"]) => {}
        scheduled => drop(scheduled?),
    }
    match customer.call(&["kms", "delete-alias", "--alias-name", &alias]).await {
        Err(error) if is_refused_with(&error, &["NotFoundException"]) => {}
        deleted => drop(deleted?),
    }
    passed((), format!("{id} is deleted in {PENDING_DAYS} days, the least that KMS allows"))
}

/// The id of the key with the run's tag.
async fn tagged_key(run: &Run<'_>) -> Result<Option<String>> {
    let Deployment { customer, names, .. } = run.deployment;
    let keys = customer.call(&["kms", "list-keys"]).await?;
    for key in list(&keys["Keys"]) {
        let id = text(&key["KeyId"]);
        let tags = match customer.call(&["kms", "list-resource-tags", "--key-id", id]).await {
            // A key whose policy has no room for this profile, or one that is gone by now.
            Err(error) if is_refused_with(&error, &["AccessDeniedException", "NotFoundException"]) => continue,
            tags => tags?,
        };
        let is_tagged = |tag: &Value| tag["TagKey"] == "audit-log-acceptance" && tag["TagValue"] == names.run.as_str();
        if list(&tags["Tags"]).iter().any(is_tagged) {
            return Ok(Some(id.to_owned()));
        }
    }
    Ok(None)
}

async fn remove_records(run: &Run<'_>) -> Result<Found<()>> {
    match run.tenant() {
        Tenant::Untouched => return passed((), NOTHING),
        Tenant::Foreign => return foreign(run),
        Tenant::Own => wait_for_exporter(run).await?,
    }
    let Deployment { stack, names, .. } = run.deployment;
    let tenants =
        remove_partition(run, stack.output("TenantsTableName")?, ["tenant_id", "record"], &names.tenant).await?;
    let events = ["tenant_shard", "recorded_at_id"];
    let events = remove_partition(run, stack.output("EventsTableName")?, events, &shard(run)).await?;
    passed((), format!("{tenants} records, {events} events with the markers of their ids"))
}

/// The partition of the tenant's events.
fn shard(run: &Run<'_>) -> String {
    format!("{}#0", run.deployment.names.tenant)
}

/// Waits until the exporter has nothing more to write: it publishes what is in the outbox, and may still export.
async fn wait_for_exporter(run: &Run<'_>) -> Result<()> {
    let is_leased = async || {
        let watermark = record(run, "watermark").await?;
        let until = text(&watermark["lease_until"]["N"]).parse::<i64>().unwrap_or(0);
        anyhow::Ok(until > Utc::now().timestamp_millis())
    };
    let is_idle = run.deployment.platform.poll(EXPORTER_ENDS_WITHIN, Duration::from_secs(2), async || {
        let outbox = record(run, "outbox").await?;
        let waits = outbox["entries"]["M"].as_object().is_some_and(|entries| !entries.is_empty());
        Ok((!waits && !is_leased().await?).then_some(()))
    });
    // A notification that can't be published must not keep the records forever.
    let is_idle = is_idle.await?.is_some() || !is_leased().await?;
    ensure!(is_idle, "a run of the exporter still has the tenant's lease: remove the rest in a quarter of an hour");
    Ok(())
}

/// Deletes all items of a partition, and the markers of its events. Returns the number of items.
async fn remove_partition(run: &Run<'_>, table: &str, keys: [&str; 2], partition: &str) -> Result<usize> {
    let platform = &run.deployment.platform;
    let [hash, range] = keys;
    let values = json!({ ":value": { "S": partition } }).to_string();
    let names = json!({ "#hash": hash, "#range": range }).to_string();
    let query = ["dynamodb", "query", "--table-name", table, "--consistent-read"];
    let projected = "#hash, #range, submitted_by";
    let condition = ["--key-condition-expression", "#hash = :value", "--projection-expression", projected];
    let given = ["--expression-attribute-values", &values, "--expression-attribute-names", &names];
    let mut removed = 0;
    loop {
        let page = platform.call(&[&query[..], &condition, &given].concat()).await?;
        let items = list(&page["Items"]);
        if items.is_empty() {
            return Ok(removed);
        }
        // First, since only the events say which markers there are.
        delete(run, table, items.iter().filter_map(marker_key).collect()).await?;
        delete(run, table, items.iter().map(|item| json!({ hash: item[hash], range: item[range] })).collect()).await?;
        removed += items.len();
        ensure!(removed < 10_000, "{table} holds too much of {partition} to be of this run");
    }
}

/// The key of an event's marker. Events that were put into the table have none.
fn marker_key(event: &Value) -> Option<Value> {
    let [shard, recorded_at_id, submitted_by] =
        ["tenant_shard", "recorded_at_id", "submitted_by"].map(|name| event[name]["S"].as_str());
    let (shard, hash) = events::marker_key(shard?, recorded_at_id?, submitted_by?)?;
    Some(json!({ "tenant_shard": { "S": shard }, "recorded_at_id": { "S": hash } }))
}

async fn delete(run: &Run<'_>, table: &str, keys: Vec<Value>) -> Result<()> {
    let platform = &run.deployment.platform;
    for keys in keys.chunks(25) {
        let deletes: Vec<_> = keys.iter().map(|key| json!({ "DeleteRequest": { "Key": key } })).collect();
        platform.batch_write(table, &deletes).await?;
    }
    Ok(())
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
            ensure_all_taken(&rule("remove-targets", &["--rule", name, "--ids", "queue"]).await?)?;
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
