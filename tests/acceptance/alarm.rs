//! The alarm in the customer's stack, which comes when files stop arriving.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;

use crate::{
    act::Run,
    aws::{list, text},
    fail::METRICS_WITHIN,
    platform::Deployment,
    report::{Found, not_available, passed},
};

/// The alarm's rule matches the run's files and not its connectivity checks. So the alarm becomes OK. It begins in the state
/// INSUFFICIENT_DATA and goes to ALARM soon after, because nothing has arrived yet.
pub(crate) async fn expect_quiet(run: &Run<'_>) -> Result<Found<()>> {
    let customer = &run.deployment.customer;
    let rule = resource(run, "Deliveries").await?;
    let pattern = customer.call(&["events", "describe-rule", "--name", &rule]).await?;
    let pattern = text(&pattern["EventPattern"]);
    let receipts = run.api.send("GET", "/v1/exports", None).await?.ok()?;
    let file = text(&receipts["exports"][0]["objects"][0]["key"]);
    let (folder, _) = file.split_once("/dt=").context("no file was delivered")?;
    let check = format!("{folder}/_audit-log-export/connectivity-check");
    ensure!(is_matched(run, pattern, file).await?, "the rule {rule} doesn't match {file}");
    ensure!(!is_matched(run, pattern, &check).await?, "the rule {rule} also matches {check}");
    if customer.is_local() {
        return not_available("the local AWS has no metrics of rules, so that it can't judge the alarm");
    }
    let name = resource(run, "DeliveriesStopped").await?;
    let state = async || {
        let alarms = customer.call(&["cloudwatch", "describe-alarms", "--alarm-names", &name]).await?;
        let alarm = list(&alarms["MetricAlarms"]).first().with_context(|| format!("there is no alarm {name}"))?;
        anyhow::Ok((text(&alarm["StateValue"]).to_owned(), text(&alarm["StateReason"]).to_owned()))
    };
    let is_quiet = customer.poll(METRICS_WITHIN, Duration::from_secs(20), async || {
        Ok(Some(state().await?).filter(|(value, _)| value == "OK"))
    });
    let Some((_, reason)) = is_quiet.await? else {
        let (value, reason) = state().await?;
        bail!("{name} is in the state {value} seven minutes after the last file: {reason}");
    };
    passed((), format!("OK: {reason}"))
}

/// The physical id of a resource of the customer's stack.
async fn resource(run: &Run<'_>, logical_id: &str) -> Result<String> {
    let Deployment { customer, names, .. } = run.deployment;
    let describe = ["cloudformation", "describe-stack-resource", "--stack-name", &names.resource];
    let answer = customer.call(&[&describe[..], &["--logical-resource-id", logical_id]].concat()).await?;
    Ok(text(&answer["StackResourceDetail"]["PhysicalResourceId"]).to_owned())
}

/// Whether EventBridge matches an object of the customer's bucket ("EventBridge event message structure" in the Amazon S3 user
/// guide).
async fn is_matched(run: &Run<'_>, pattern: &str, key: &str) -> Result<bool> {
    let Deployment { customer, customer_account, region, partition, names, .. } = run.deployment;
    let event = json!({
        "version": "0",
        "id": "17793124-05d4-b198-2fde-7ededc63b103",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": customer_account,
        "time": "2026-11-21T10:00:00Z",
        "region": region,
        "resources": [format!("arn:{partition}:s3:::{}", names.resource)],
        "detail": { "bucket": { "name": names.resource }, "object": { "key": key } },
    });
    let test = ["events", "test-event-pattern", "--event-pattern", pattern, "--event", &event.to_string()];
    Ok(customer.call(&test).await?["Result"] == true)
}
