//! Fan-out: the template with its defaults, the queue, and the zipped function behind both triggers.

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{
    Customer, LocalAws, PLATFORM_ACCOUNT, Platform, Table, delete_stack, deploy_platform, onboard, tools, wait_until,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

fn at(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

fn events(tenant: &str) -> Result<Vec<Event>> {
    Ok(generate(tenant, 40, Spread::Window { from: at("10:00")?, to: at("11:00")? }))
}

/// The exported text of events.
fn as_json(events: &[Event]) -> String {
    let lines: Vec<&str> = events.iter().map(|event| event.document.as_str()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

async fn deployed(aws: &LocalAws) -> Result<Platform<'_>> {
    // With two vCPUs, the exporter has several threads.
    let parameters = [("FanOut", "true"), ("EventsRetentionDays", "0"), ("MemorySize", "3538")];
    deploy_platform(aws, &parameters).await
}

async fn exported(customer: &Customer) -> Result<Vec<(String, String)>> {
    wait_until(
        "the export is in the bucket",
        async || Ok(Some(customer.exports().await?).filter(|all| !all.is_empty())),
    )
    .await
}

/// A message in the form in which Lambda passes it.
fn message(id: &str, body: &str) -> Value {
    json!({ "messageId": id, "body": body, "eventSource": "aws:sqs" })
}

#[tokio::test]
async fn due_tenants_are_queued_and_exported_by_the_function_behind_the_queue() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deployed(&aws).await?;
    let mut customers = Vec::new();
    for (tenant, account) in [("one", "200000000091"), ("two", "200000000092"), ("gone", "200000000093")] {
        customers.push((tenant, onboard(&aws, &platform, tenant, account, Draft::default(), at("10:00")?).await?));
        platform.put_events(tenant, &events(tenant)?).await?;
    }
    let (_, gone) = customers.pop().context("nobody")?;
    delete_stack(&aws, &gone.stack.account, &gone.stack.name).await?;

    let tick = at("11:00")? + TimeDelta::minutes(1);
    let report = platform.tick(tick).await?;
    assert_eq!((&report["due"], &report["queued"], &report["exported"]), (&3.into(), &3.into(), &0.into()), "{report}");
    for (tenant, customer) in &customers {
        let texts: Vec<String> = exported(customer).await?.into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, [as_json(&events(tenant)?)]);
    }
    wait_until("the customer's failure is recorded", async || {
        let records = platform.items(Table::Tenants, "gone").await?;
        Ok(records.iter().any(|record| record.contains_key("last_error_code")).then_some(()))
    })
    .await?;

    // A repeated batch or tick changes no bytes, and a batch with a customer's failure is acknowledged.
    let body = json!({ "tick": "2026-11-20T11:00:00Z", "tenants": ["one", "two", "gone"] }).to_string();
    let records = json!({ "Records": [message("a", &body), message("b", "nonsense"), message("c", &body)] });
    let before = exported(&customers[0].1).await?;
    let answer = platform.invoke(&records).await?;
    assert_eq!(answer["batchItemFailures"], json!([{ "itemIdentifier": "b" }]), "{answer}");
    assert_eq!(exported(&customers[0].1).await?, before);
    assert_eq!(platform.tick(tick).await?["queued"], 1, "only the failed tenant is still due");
    Ok(())
}

#[tokio::test]
async fn a_message_that_is_redelivered_during_a_run_is_acknowledged_and_stores_nothing() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deployed(&aws).await?;
    // A long backlog, so that the run takes a while.
    let hours = 120;
    let start = at("11:00")? - TimeDelta::hours(hours);
    let busy = onboard(&aws, &platform, "busy", "200000000094", Draft::default(), start).await?;
    busy.bucket.enable_versioning().await?;
    let tick = at("11:00")? + TimeDelta::minutes(1);
    assert_eq!(platform.tick(tick).await?["queued"], 1);
    let watermark = async || platform.record("busy", "watermark").await;
    let lease = wait_until("a run has the lease", async || Ok(watermark().await?.remove("lease"))).await?;

    // The same message again, twice in one delivery, and another tick's message.
    let body = json!({ "tick": "2026-11-20T11:00:00Z", "tenants": ["busy"] }).to_string();
    let answer = platform.invoke(&json!({ "Records": [message("a", &body), message("b", &body)] })).await?;
    assert_eq!(answer["batchItemFailures"], json!([]), "{answer}");
    assert_eq!(platform.tick(tick).await?["queued"], 1);
    assert_eq!(watermark().await?.get("lease"), Some(&lease), "the run ended too early for this test");

    wait_until("the run has exported everything", async || {
        let watermark = watermark().await?;
        let exported = watermark.get("exported_until").and_then(|until| until.as_s().ok());
        Ok(exported.is_some_and(|until| until == "2026-11-20T11:00:00Z").then_some(()))
    })
    .await?;
    wait_until("the queue is empty", async || {
        let url = platform.outputs().export_queue_url.as_deref().context("no queue")?;
        let ask = ["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", url];
        let queue = tools::aws_cli(&aws, PLATFORM_ACCOUNT, &ask).await?;
        let counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
        Ok(counts.iter().all(|count| queue["Attributes"][count] == "0").then_some(()))
    })
    .await?;
    let versions = busy.bucket.versions().await?;
    ensure!(
        versions.len() == 2 * usize::try_from(hours)? && versions.values().all(|all| all.len() == 1),
        "{versions:?}"
    );
    let logs = platform.logs().await?;
    ensure!(
        logs.iter().any(|line| line.contains("another run has the tenant's lease")),
        "the log doesn't give the reason"
    );
    Ok(())
}

#[tokio::test]
async fn the_export_queue_retries_each_batch_and_then_moves_it_to_the_dead_letters() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deployed(&aws).await?;
    let outputs = platform.outputs();
    let function = outputs.exporter_function_name.as_str();
    let ask = async |arguments: &[&str]| tools::aws_cli(&aws, PLATFORM_ACCOUNT, arguments).await;
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_default();

    let mappings = ask(&["lambda", "list-event-source-mappings", "--function-name", function]).await?;
    let Some([mapping]) = mappings["EventSourceMappings"].as_array().map(Vec::as_slice) else { bail!("{mappings}") };
    assert_eq!(
        (&mapping["BatchSize"], &mapping["FunctionResponseTypes"]),
        (&1.into(), &json!(["ReportBatchItemFailures"]))
    );
    ensure!((2..=1000).contains(&number(&mapping["ScalingConfig"]["MaximumConcurrency"])), "{mapping}");

    let url = outputs.export_queue_url.as_deref().context("no queue")?;
    let queue = ask(&["sqs", "get-queue-attributes", "--attribute-names", "All", "--queue-url", url]).await?;
    let queue = &queue["Attributes"];
    let timeout =
        number(&ask(&["lambda", "get-function-configuration", "--function-name", function]).await?["Timeout"]);
    ensure!(
        number(&queue["VisibilityTimeout"]) > timeout,
        "a batch would be redelivered while it is exported: {queue}"
    );
    let redrive: Value = serde_json::from_str(queue["RedrivePolicy"].as_str().context("no redrive policy")?)?;
    assert_eq!(number(&redrive["maxReceiveCount"]), 4);
    Ok(())
}
