//! The daily connection check finds what customers break in their accounts.

use anyhow::{Context as _, Result, bail};
use audit_log_core::{connection_check, settings::Draft, tenant::TenantId};
use audit_log_tests::{
    Bucket, Customer, Fixture, LocalAws, PLATFORM_ACCOUNT, Platform, delete_stack, onboard, run_on_platform, tools,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{at, invoke};

/// The time at which the check's rule fires in the tenant's hour for connection checks.
fn check_time(tenant: &str, day: &str) -> Result<DateTime<Utc>> {
    let (tenant, midnight) = (TenantId::parse(tenant)?, at(&format!("{day}T00:00"))?);
    let mut hours = (0..24).map(|hours| midnight + TimeDelta::hours(hours));
    let own = hours.find(|hour| connection_check::due_hour(&tenant, *hour) == Some(*hour));
    Ok(own.context("no hour for the tenant's connection check")? + TimeDelta::minutes(31))
}

/// Runs the hourly check that checks a tenant's connection on a day, and returns its figures of connections.
async fn check(platform: &Platform<'_>, tenant: &str, day: &str) -> Result<Value> {
    Ok(platform.check(check_time(tenant, day)?).await?["connections"].take())
}

/// The last check in the tenant's status: whether it passed, and the findings' codes.
async fn found(platform: &Platform<'_>, tenant: &str) -> Result<(Value, Vec<String>)> {
    let mut status = platform.api().admin(tenant, "GET", "/v1/status", None).await?.ok()?;
    let check = status["connectionCheck"].take();
    let findings = check["findings"].as_array().into_iter().flatten();
    let codes = findings.filter_map(|finding| Some(finding["code"].as_str()?.to_owned())).collect();
    Ok((check["passed"].clone(), codes))
}

/// The actions of the tenant's audit events about its connection, the latest first.
async fn audit_events(platform: &Platform<'_>, tenant: &str) -> Result<Vec<String>> {
    let path = "/v1/audit-logs?action=Connection%20Drifted&action=Connection%20Restored";
    let logs = platform.api().admin(tenant, "GET", path, None).await?.ok()?;
    let events = logs["events"].as_array().context("no events")?;
    Ok(events.iter().filter_map(|event| Some(event["action"].as_str()?.to_owned())).collect())
}

/// Makes a queue that receives notifications of connections, and returns its URL.
async fn listen(aws: &LocalAws) -> Result<String> {
    let cli = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
    let buses = cli(&["events", "list-event-buses"]).await?;
    let names = buses["EventBuses"].as_array().into_iter().flatten().filter_map(|bus| bus["Name"].as_str());
    let bus = names.into_iter().find(|name| *name != "default").context("no bus")?.to_owned();
    let url = cli(&["sqs", "create-queue", "--queue-name", "notifications"]).await?;
    let url = url["QueueUrl"].as_str().context("no queue")?.to_owned();
    let arn = cli(&["sqs", "get-queue-attributes", "--queue-url", &url, "--attribute-names", "QueueArn"]).await?;
    let target = format!("Id=notifications,Arn={}", arn["Attributes"]["QueueArn"].as_str().context("no ARN")?);
    let kinds = json!([{ "prefix": "Audit Log Connection " }]);
    let pattern = json!({ "source": ["audit-log-export"], "detail-type": kinds }).to_string();
    let rule = ["--event-bus-name", bus.as_str()];
    cli(&[&["events", "put-rule", "--name", "notifications", "--event-pattern", &pattern], &rule[..]].concat()).await?;
    cli(&[&["events", "put-targets", "--rule", "notifications", "--targets", &target], &rule[..]].concat()).await?;
    Ok(url)
}

/// The received notifications' types and tenants, sorted.
async fn receive(aws: &LocalAws, queue: &str) -> Result<Vec<(String, String)>> {
    let mut received = Vec::new();
    loop {
        let receive = ["sqs", "receive-message", "--queue-url", queue, "--max-number-of-messages", "10"];
        let messages = tools::aws_cli(aws, PLATFORM_ACCOUNT, &receive).await?;
        let Some(messages) = messages["Messages"].as_array().filter(|all| !all.is_empty()).cloned() else { break };
        for message in messages {
            let event: Value = serde_json::from_str(message["Body"].as_str().context("no body")?)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            received.push((text(&event["detail-type"]), text(&event["detail"]["tenantId"])));
        }
    }
    received.sort();
    Ok(received)
}

/// Breaks the connections of three customers.
async fn break_them(fixture: &Fixture, open: &Customer, gone: &Customer, moved: &Customer) -> Result<()> {
    let aws = fixture.aws;
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root") },
    }] });
    set_trust(aws, open, &trust).await?;
    delete_stack(aws, &gone.stack.account, &gone.stack.name).await?;
    let (account, name) = (moved.stack.account.as_str(), moved.stack.outputs.bucket_name.as_str());
    for object in moved.bucket.objects().await? {
        tools::aws_cli(aws, account, &["s3api", "delete-object", "--bucket", name, "--key", &object.key]).await?;
    }
    tools::aws_cli(aws, account, &["s3api", "delete-bucket", "--bucket", name]).await?;
    Bucket::create(aws, account, name, "eu-west-1").await?;
    Ok(())
}

async fn set_trust(aws: &LocalAws, customer: &Customer, policy: &Value) -> Result<()> {
    let role = customer.stack.outputs.role_arn.rsplit('/').next().unwrap_or_default();
    let policy = policy.to_string();
    let update = ["iam", "update-assume-role-policy", "--role-name", role, "--policy-document", &policy];
    tools::aws_cli(aws, &customer.stack.account, &update).await?;
    Ok(())
}

#[test]
fn a_broken_connection_is_found_by_the_next_daily_check_and_announced_once() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let queue = listen(aws).await?;
        let start = at("19T00:00")?;
        let mut customers = Vec::new();
        for (tenant, account) in
            [("opened", "200000000071"), ("gone", "200000000072"), ("moved", "200000000073"), ("well", "200000000074")]
        {
            customers.push(onboard(aws, platform, tenant, account, Draft::default(), start).await?);
            check(platform, tenant, "19").await?;
            assert_eq!(found(platform, tenant).await?, (json!(true), vec![]), "{tenant}");
        }
        let [open, gone, moved, _] = &customers[..] else { bail!("four customers") };
        let role = open.stack.outputs.role_arn.rsplit('/').next().unwrap_or_default();
        let role = tools::aws_cli(aws, &open.stack.account, &["iam", "get-role", "--role-name", role]).await?;
        break_them(fixture, open, gone, moved).await?;

        let broken = [
            ("opened", Some("external_id_not_enforced")),
            ("gone", Some("assume_role_denied")),
            ("moved", Some("wrong_region")),
            ("well", None),
        ];
        // The next day nothing has changed, and nothing is announced.
        for (day, expected) in [("20", 3), ("21", 0)] {
            let mut drifted = 0;
            for (tenant, code) in broken {
                // A tenant whose hour is within two hours of another's is checked with it.
                let checked = check(platform, tenant, day).await?;
                drifted += checked["drifted"].as_u64().context("no count")?;
                assert_eq!(checked["unchecked"], 0, "{tenant}: {checked}");
                let codes = code.map(str::to_owned).into_iter().collect();
                assert_eq!(found(platform, tenant).await?, (json!(code.is_none()), codes), "{tenant}");
                let announced = code.map(|_| "Connection Drifted".to_owned()).into_iter().collect::<Vec<_>>();
                assert_eq!(audit_events(platform, tenant).await?, announced, "{tenant}");
            }
            assert_eq!(drifted, expected, "on day {day}");
        }
        let drifted = ["gone", "moved", "opened"].map(|it| ("Audit Log Connection Drifted".to_owned(), it.to_owned()));
        assert_eq!(receive(aws, &queue).await?, drifted);

        set_trust(aws, open, &role["Role"]["AssumeRolePolicyDocument"]).await?;
        let restored = invoke(platform, platform.check(check_time("opened", "22")?)).await?;
        let counted = ["RestoredConnections", "DriftedConnections", "UncheckedConnections"];
        assert_eq!(counted.map(|name| restored.metrics[name]), [1.0, 0.0, 0.0], "{}", restored.answer);
        assert_eq!(found(platform, "opened").await?, (json!(true), vec![]));
        assert_eq!(audit_events(platform, "opened").await?, ["Connection Restored", "Connection Drifted"]);
        let restored = ("Audit Log Connection Restored".to_owned(), "opened".to_owned());
        assert_eq!(receive(aws, &queue).await?, [restored]);
        Ok(())
    })
}
