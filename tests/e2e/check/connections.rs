//! What customers change in their accounts, found before an export runs into it.

use anyhow::{Context as _, Result, bail};
use audit_log_core::{connection_check, settings::Draft, tenant::TenantId};
use audit_log_tests::{
    Bucket, Customer, Fixture, LocalAws, PLATFORM_ACCOUNT, Platform, delete_stack, on_the_platform, onboard, tools,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{at, ran};

/// The time at which the rule for the check fires in the hour of a tenant's turn.
fn turn(tenant: &str, day: &str) -> Result<DateTime<Utc>> {
    let (tenant, midnight) = (TenantId::parse(tenant)?, at(&format!("{day}T00:00"))?);
    let mut hours = (0..24).map(|hours| midnight + TimeDelta::hours(hours));
    let own = hours.find(|hour| connection_check::due_hour(&tenant, *hour) == Some(*hour));
    Ok(own.context("a tenant without a turn")? + TimeDelta::minutes(31))
}

/// The check of a tenant's turn on a day: what it answers of connections.
async fn check(platform: &Platform<'_>, tenant: &str, day: &str) -> Result<Value> {
    Ok(platform.check(turn(tenant, day)?).await?["connections"].take())
}

/// What the status says of the last check: whether it passed, and the codes of what it found.
async fn found(platform: &Platform<'_>, tenant: &str) -> Result<(Value, Vec<String>)> {
    let mut status = platform.api().admin(tenant, "GET", "/v1/status", None).await?.ok()?;
    let check = status["connectionCheck"].take();
    let findings = check["findings"].as_array().into_iter().flatten();
    let codes = findings.filter_map(|finding| Some(finding["code"].as_str()?.to_owned())).collect();
    Ok((check["passed"].clone(), codes))
}

/// What the tenant's own log says of its connection, the latest first.
async fn audit_events(platform: &Platform<'_>, tenant: &str) -> Result<Vec<String>> {
    let path = "/v1/audit-logs?action=Connection%20Drifted&action=Connection%20Restored";
    let logs = platform.api().admin(tenant, "GET", path, None).await?.ok()?;
    let events = logs["events"].as_array().context("no events")?;
    Ok(events.iter().filter_map(|event| Some(event["action"].as_str()?.to_owned())).collect())
}

/// A queue that gets what is published of connections on the platform's bus; its URL.
async fn listen(aws: &LocalAws) -> Result<String> {
    let cli = async |arguments: &[&str]| tools::aws_cli(aws, PLATFORM_ACCOUNT, arguments).await;
    let buses = cli(&["events", "list-event-buses"]).await?;
    let names = buses["EventBuses"].as_array().into_iter().flatten().filter_map(|bus| bus["Name"].as_str());
    let bus = names.into_iter().find(|name| *name != "default").context("no bus")?.to_owned();
    let url = cli(&["sqs", "create-queue", "--queue-name", "heard"]).await?;
    let url = url["QueueUrl"].as_str().context("no queue")?.to_owned();
    let arn = cli(&["sqs", "get-queue-attributes", "--queue-url", &url, "--attribute-names", "QueueArn"]).await?;
    let target = format!("Id=heard,Arn={}", arn["Attributes"]["QueueArn"].as_str().context("no ARN")?);
    let kinds = json!([{ "prefix": "Audit Log Connection " }]);
    let pattern = json!({ "source": ["audit-log-export"], "detail-type": kinds }).to_string();
    let rule = ["--event-bus-name", bus.as_str()];
    cli(&[&["events", "put-rule", "--name", "heard", "--event-pattern", &pattern], &rule[..]].concat()).await?;
    cli(&[&["events", "put-targets", "--rule", "heard", "--targets", &target], &rule[..]].concat()).await?;
    Ok(url)
}

/// What was heard: each notification's kind and tenant, in any order.
async fn heard(aws: &LocalAws, queue: &str) -> Result<Vec<(String, String)>> {
    let mut heard = Vec::new();
    loop {
        let receive = ["sqs", "receive-message", "--queue-url", queue, "--max-number-of-messages", "10"];
        let messages = tools::aws_cli(aws, PLATFORM_ACCOUNT, &receive).await?;
        let Some(messages) = messages["Messages"].as_array().filter(|all| !all.is_empty()).cloned() else { break };
        for message in messages {
            let event: Value = serde_json::from_str(message["Body"].as_str().context("no body")?)?;
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            heard.push((text(&event["detail-type"]), text(&event["detail"]["tenantId"])));
        }
    }
    heard.sort();
    Ok(heard)
}

/// What the admins of these accounts get wrong.
async fn break_them(fixture: &Fixture, open: &Customer, gone: &Customer, moved: &Customer) -> Result<()> {
    let aws = fixture.aws;
    let trust = json!({ "Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root") },
    }] });
    trusts(aws, open, &trust).await?;
    delete_stack(aws, &gone.stack.account, &gone.stack.name).await?;
    let (account, name) = (moved.stack.account.as_str(), moved.stack.outputs.bucket_name.as_str());
    for object in moved.bucket.objects().await? {
        tools::aws_cli(aws, account, &["s3api", "delete-object", "--bucket", name, "--key", &object.key]).await?;
    }
    tools::aws_cli(aws, account, &["s3api", "delete-bucket", "--bucket", name]).await?;
    Bucket::create(aws, account, name, "eu-west-1").await?;
    Ok(())
}

async fn trusts(aws: &LocalAws, customer: &Customer, policy: &Value) -> Result<()> {
    let role = customer.stack.outputs.role_arn.rsplit('/').next().unwrap_or_default();
    let policy = policy.to_string();
    let update = ["iam", "update-assume-role-policy", "--role-name", role, "--policy-document", &policy];
    tools::aws_cli(aws, &customer.stack.account, &update).await?;
    Ok(())
}

#[test]
fn what_a_customer_breaks_is_found_by_its_next_daily_check_and_announced_once() -> Result<()> {
    on_the_platform(async |fixture| {
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
        // The day after, nothing has changed, and nothing is announced.
        for (day, expected) in [("20", 3), ("21", 0)] {
            let mut drifted = 0;
            for (tenant, code) in broken {
                // One that has its turn within two hours of another's is checked there.
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
        assert_eq!(heard(aws, &queue).await?, drifted);

        trusts(aws, open, &role["Role"]["AssumeRolePolicyDocument"]).await?;
        let restored = ran(platform, platform.check(turn("opened", "22")?)).await?;
        let counted = ["RestoredConnections", "DriftedConnections", "UncheckedConnections"];
        assert_eq!(counted.map(|name| restored.metrics[name]), [1.0, 0.0, 0.0], "{}", restored.answer);
        assert_eq!(found(platform, "opened").await?, (json!(true), vec![]));
        assert_eq!(audit_events(platform, "opened").await?, ["Connection Restored", "Connection Drifted"]);
        let restored = ("Audit Log Connection Restored".to_owned(), "opened".to_owned());
        assert_eq!(heard(aws, &queue).await?, [restored]);
        Ok(())
    })
}
