//! Breaks and mends the customer's role, and looks at who hears of it.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    act::Run,
    aws::{argument, list, text},
    connect::{Customer, wait_for_role},
    deliver,
    listener::Listener,
    platform::Deployment,
    record,
    report::{Found, not_available, passed, skipped, warning},
};

const WINDOW: i32 = 1;

const ARRIVES_WITHIN: Duration = Duration::from_secs(90);

/// CloudWatch shows a rule's figures after minutes.
pub(crate) const METRICS_WITHIN: Duration = Duration::from_secs(420);

/// The trust policy asks for another external ID, as after a mistake of the customer.
pub(crate) async fn break_role(run: &Run<'_>, customer: &Customer) -> Result<Found<Vec<String>>> {
    let window = run.window(WINDOW);
    let events = record::put_into_table(run, window, 25, 100).await?;
    set_external_id(run, customer, "broken-by-the-acceptance-test").await?;
    wait_for_role(run, customer, "failed").await?;
    run.ensure_before_next_tick()?;
    let platform = &run.deployment.platform;
    let mut error = None;
    for _ in 0..4 {
        deliver::invoke_exporter(run, window).await?;
        error = platform
            .poll(Duration::from_secs(30), Duration::from_secs(2), async || {
                let status = run.api.send("GET", "/v1/status", None).await?.ok()?;
                Ok(Some(status["lastError"].clone()).filter(Value::is_object))
            })
            .await?;
        if error.is_some() {
            break;
        }
    }
    let error = error.context("after four invocations of the exporter, the status shows no error")?;
    let (code, party) = (text(&error["code"]), text(&error["party"]));
    let is_right = code == "assume_role_denied" && party == "customer";
    ensure!(is_right, "the failure is {code} of the {party}, not assume_role_denied of the customer");
    let failed = Listener::expect(run, &["Audit Log Export Failed"], ARRIVES_WITHIN).await?;
    let has_code =
        failed.iter().any(|it| it["detail-type"] == "Audit Log Export Failed" && it["detail"]["code"] == code);
    ensure!(has_code, "the notification has another code than {code}");
    passed(events, format!("{code} of the {party}, on the status and on the bus"))
}

/// The window that failed is delivered whole.
pub(crate) async fn mend_role(run: &Run<'_>, customer: &Customer, events: &[String]) -> Result<Found<()>> {
    let connector = run.api.send("GET", "/v1/connector", None).await?.ok()?;
    set_external_id(run, customer, text(&connector["externalId"])).await?;
    wait_for_role(run, customer, "passed").await?;
    let receipt = deliver::deliver(run, run.window(WINDOW)).await?;
    deliver::expect(&deliver::read_files(run, &receipt).await?, events)?;
    let status = run.api.send("GET", "/v1/status", None).await?.ok()?;
    ensure!(status["lastError"].is_null(), "the status still shows the error");
    passed((), format!("the window that failed is delivered, {} events", events.len()))
}

async fn set_external_id(run: &Run<'_>, customer: &Customer, external_id: &str) -> Result<()> {
    let account = &run.deployment.customer;
    let role = account.call(&["iam", "get-role", "--role-name", customer.role_name()]).await?;
    let mut policy = role["Role"]["AssumeRolePolicyDocument"].clone();
    let condition = policy.pointer_mut("/Statement/0/Condition/StringEquals/sts:ExternalId");
    *condition.context("the role's trust policy has no external ID")? = json!(external_id);
    let policy = account.input(&policy.to_string())?;
    let update = ["iam", "update-assume-role-policy", "--role-name", customer.role_name(), "--policy-document"];
    account.call(&[&update[..], &[argument(&policy).as_str()]].concat()).await?;
    Ok(())
}

/// What the run did to the tenant was announced, each step once or more often, and numbered.
pub(crate) async fn expect_notifications(run: &Run<'_>) -> Result<Found<()>> {
    let expected = [
        "Audit Log Connector Connected",
        "Audit Log Export Settings Changed",
        "Audit Log Export Failed",
        "Audit Log Export Recovered",
    ];
    let received = Listener::expect(run, &expected, ARRIVES_WITHIN).await?;
    let sequence: BTreeSet<u64> = received.iter().filter_map(|it| it["detail"]["sequence"].as_u64()).collect();
    passed((), format!("{} notifications, with {} sequence numbers", received.len(), sequence.len()))
}

/// The rule for emails was invoked for the throw-away tenant's notifications, and its target took them.
pub(crate) async fn expect_emails(run: &Run<'_>, since: DateTime<Utc>) -> Result<Found<()>> {
    let Deployment { platform, stack, .. } = run.deployment;
    let Some(rule) = stack.resource("NotificationEmails") else {
        return skipped("the stack has no NotificationEmail");
    };
    if platform.is_local() {
        return not_available("the local AWS has no metrics of rules");
    }
    // The physical id of a rule on a bus is `<bus>|<rule>`.
    let rule = rule.rsplit('|').next().unwrap_or_default();
    let invoked = async || anyhow::Ok(Some(sum(run, rule, "Invocations", since).await?).filter(|count| *count > 0.0));
    let invoked = platform.poll(METRICS_WITHIN, Duration::from_secs(20), invoked).await?;
    let Some(invoked) = invoked else {
        return warning("CloudWatch shows no invocation of the rule for emails after seven minutes: look again later");
    };
    let failed = sum(run, rule, "FailedInvocations", since).await?;
    ensure!(failed == 0.0, "{failed} of {invoked} notifications could not be handed over to the topic for emails");
    passed((), format!("{invoked} notifications of the tenant {} went to the topic", run.deployment.names.tenant))
}

/// The sum of a metric of a rule on the notification bus.
async fn sum(run: &Run<'_>, rule: &str, metric: &str, since: DateTime<Utc>) -> Result<f64> {
    let Deployment { platform, stack, .. } = run.deployment;
    let bus = format!("Name=EventBusName,Value={}", stack.output("NotificationBusName")?);
    let rule = format!("Name=RuleName,Value={rule}");
    let (start, end) = (deliver::seconds(since), deliver::seconds(Utc::now() + TimeDelta::minutes(1)));
    let get = ["cloudwatch", "get-metric-statistics", "--namespace", "AWS/Events", "--metric-name", metric];
    let period = ["--statistics", "Sum", "--period", "60", "--start-time", &start, "--end-time", &end];
    let figures = platform.call(&[&get[..], &period, &["--dimensions", &bus, &rule]].concat()).await?;
    Ok(list(&figures["Datapoints"]).iter().filter_map(|point| point["Sum"].as_f64()).sum())
}
