//! The erasure of a tenant by `make erase`, with the rights that docs/offboarding.md grants.

#![allow(clippy::disallowed_methods, reason = "tools need the path, and events are recorded now")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::{credentials::Credentials, dynamodb};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{
    Fixture, Item, PLATFORM_ACCOUNT, REGION, attribute, onboard, project, role_session, run_on_platform, tools,
    wait_until,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tokio::process::Command;

const STACK: &str = "audit-log-export";

fn at(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

/// An operator with a role of its own.
struct Operator<'a> {
    fixture: &'a Fixture,
    credentials: Credentials,
}

impl<'a> Operator<'a> {
    /// Creates a role with the page's policy for one tenant.
    async fn new(fixture: &'a Fixture, tenant: &str) -> Result<Self> {
        let outputs = fixture.platform.outputs();
        let page = std::fs::read_to_string(project::repository().join("docs/offboarding.md"))?;
        let (_, policy) = page.split_once("```json\n").context("the page has no policy")?;
        let (policy, _) = policy.split_once("\n```").context("the policy has no end")?;
        let policy = policy
            .replace("<region>", REGION)
            .replace("<account>", PLATFORM_ACCOUNT)
            .replace("<stack>", STACK)
            .replace("<TenantsTableName>", &outputs.tenants_table_name)
            .replace("<EventsTableName>", &outputs.events_table_name)
            .replace("<tenant>", tenant);
        ensure!(!policy.contains('<'), "{policy}");
        let root = format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root");
        let trust = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"AWS": root}},
        ]});
        let name = format!("operator-of-{tenant}");
        let iam = async |arguments: &[&str]| {
            tools::aws_cli(fixture.aws, PLATFORM_ACCOUNT, &[&["iam"], arguments, &["--role-name", &name]].concat())
                .await
        };
        iam(&["create-role", "--assume-role-policy-document", &trust.to_string()]).await?;
        iam(&["put-role-policy", "--policy-name", "erase", "--policy-document", &policy]).await?;
        let role = format!("arn:aws:iam::{PLATFORM_ACCOUNT}:role/{name}");
        Ok(Self { fixture, credentials: role_session(fixture.aws, &role).await? })
    }

    fn command(&self, tenant: &str, flags: &[&str]) -> Result<Command> {
        let aws = self.fixture.aws;
        let mut command = Command::new(project::installed(".tools/venv/bin/python")?);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", aws.directory())
            .env("AWS_ENDPOINT_URL", aws.endpoint())
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", self.credentials.access_key_id())
            .env("AWS_SECRET_ACCESS_KEY", self.credentials.secret_access_key())
            .env("AWS_SESSION_TOKEN", self.credentials.session_token().unwrap_or_default())
            .current_dir(project::repository())
            .arg("infra/erase")
            .arg(binary()?)
            .args([STACK, tenant])
            .args(flags)
            .stdin(std::process::Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    /// Runs the command, and returns whether it succeeded, and what it printed.
    async fn erase(&self, tenant: &str, flags: &[&str]) -> Result<(bool, String)> {
        let output = self.command(tenant, flags)?.output().await?;
        let printed = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(printed)?))
    }
}

/// As `make build` builds it, in the folder of this test's own binary.
fn binary() -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let binary = test.parent().and_then(|deps| deps.parent()).context("no target folder")?.join("erase");
    ensure!(binary.exists(), "{} is missing: `make build` builds it", binary.display());
    Ok(binary)
}

/// All items of the tenants that `is_one` selects, in both tables, by key.
async fn items(fixture: &Fixture, is_one: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Item>> {
    let client = dynamodb::Client::new(&fixture.aws.sdk_config(PLATFORM_ACCOUNT));
    let outputs = fixture.platform.outputs();
    let mut found = BTreeMap::new();
    for (table, hash, range) in [
        (&outputs.tenants_table_name, "tenant_id", "record"),
        (&outputs.events_table_name, "tenant_shard", "recorded_at_id"),
    ] {
        let mut items = client.scan().table_name(table).consistent_read(true).into_paginator().items().send();
        while let Some(item) = items.next().await {
            let item = item?;
            let key = attribute(&item, hash).to_owned();
            if is_one(key.split('#').next().unwrap_or_default()) {
                found.insert(format!("{key} {}", attribute(&item, range)), item);
            }
        }
    }
    Ok(found)
}

async fn tick(fixture: &Fixture, hour: &str) -> Result<Value> {
    fixture.platform.tick(at(hour)? + TimeDelta::minutes(1)).await
}

/// Records events in the hour before `to`, straight into the table, and one by the recorder, which has a marker.
async fn record(fixture: &Fixture, tenant: &str, to: &str) -> Result<()> {
    let events = generate(tenant, 60, Spread::Window { from: at(to)? - TimeDelta::hours(1), to: at(to)? });
    fixture.platform.put_events(tenant, &events).await?;
    let api = fixture.platform.api();
    let event = json!({"events": [
        {"id": format!("scan-{to}"), "logType": "Scan", "action": "Scan Now", "user": {"id": "u-1"}, "additionalInfo": {}},
    ]});
    let token = api.token(tenant, &["events:write"]);
    api.send(&token, "POST", "/v1/events", &[], Some(&event)).await?.ok()?;
    Ok(())
}

/// Runs hourly checks until the tenant's bucket has its final delivery. Right before a full hour, none begins.
async fn make_final_delivery(fixture: &Fixture, tenant: &str) -> Result<()> {
    wait_until("nothing is left to deliver", async || {
        fixture.platform.check(Utc::now()).await?;
        let record = fixture.platform.record(tenant, "final_delivery").await?;
        Ok((!record.contains_key("pending_shard")).then_some(()))
    })
    .await
}

#[test]
fn a_tenant_that_left_is_erased_and_no_item_of_another_is_touched() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let api = platform.api();
        let leaving = onboard(aws, platform, "leaving", "200000000201", Draft::default(), at("10:00")?).await?;
        let staying = onboard(aws, platform, "leaving-2", "200000000202", Draft::default(), at("10:00")?).await?;
        for tenant in ["leaving", "leaving-2"] {
            record(fixture, tenant, "11:00").await?;
        }
        assert_eq!(tick(fixture, "11:00").await?["exported"], 2);
        let operator = Operator::new(fixture, "leaving").await?;

        let before = items(fixture, |_| true).await?;
        let (done, printed) = operator.erase("leaving", &["--yes"]).await?;
        ensure!(!done && printed.contains("- The tenant is connected."), "{printed}");
        assert_eq!(items(fixture, |_| true).await?, before);

        api.admin("leaving", "DELETE", "/v1/connector", None).await?.ok()?;
        // The console has the exporter publish that the connector was disconnected.
        wait_until("nothing waits in the outbox", async || {
            let outbox = platform.record("leaving", "outbox").await?;
            Ok((!outbox.contains_key("pending_shard")).then_some(()))
        })
        .await?;
        let (done, printed) = operator.erase("leaving", &["--dry-run"]).await?;
        ensure!(!done && printed.contains("(record final_delivery)"), "{printed}");
        ensure!(printed.contains("Delivered until: 2026-11-20T11:00:00Z."), "{printed}");
        ensure!(printed.contains("were delivered nowhere"), "{printed}");
        make_final_delivery(fixture, "leaving").await?;
        let delivered = leaving.exports().await?;
        ensure!(delivered.iter().any(|(key, _)| key.contains("_final_")), "{delivered:?}");

        let before = items(fixture, |_| true).await?;
        let (done, printed) = operator.erase("leaving", &["--dry-run"]).await?;
        ensure!(done && printed.contains("Nothing was erased (--dry-run)."), "{printed}");
        let watermark = platform.record("leaving", "watermark").await?;
        let until = attribute(&watermark, "final_delivered_until");
        ensure!(printed.contains(&format!("Bucket: s3://leaving-audit-logs. Delivered until: {until}.")), "{printed}");
        ensure!(!printed.contains("delivered nowhere"), "{printed}");
        let (done, printed) = operator.erase("leaving", &[]).await?;
        ensure!(!done && printed.contains("Nothing was erased: that is not the tenant's id."), "{printed}");
        assert_eq!(items(fixture, |_| true).await?, before);

        let (done, printed) = operator.erase("leaving", &["--yes"]).await?;
        ensure!(done, "{printed}");
        let erased = printed.lines().find_map(|line| line.strip_prefix("Erased: ")).context("nothing is erased")?;
        ensure!(erased.starts_with("events 6") && erased.contains("receipts 1,"), "{printed}");
        let theirs = before.iter().filter(|(key, _)| !key.starts_with("leaving ") && !key.starts_with("leaving#"));
        let theirs: BTreeMap<_, _> = theirs.map(|(key, item)| (key.clone(), item.clone())).collect();
        ensure!(theirs.len() > 60 && theirs.len() < before.len() - 60, "{} of {}", theirs.len(), before.len());
        assert_eq!(items(fixture, |_| true).await?, theirs);
        assert_eq!(leaving.exports().await?, delivered, "the bucket is the customer's");

        // The other tenant goes on.
        record(fixture, "leaving-2", "12:00").await?;
        let report = tick(fixture, "12:00").await?;
        assert_eq!((&report["exported"], &report["failed"]), (&json!(1), &json!(0)), "{report}");
        assert_eq!(staying.exports().await?.len(), 2);
        assert_eq!(api.admin("leaving-2", "GET", "/v1/status", None).await?.ok()?["state"], "healthy");
        let check = platform.check(at("12:31")?).await?;
        assert_eq!((&check["watermarksWithoutConfig"], &check["settingsWithoutWatermark"]), (&json!([]), &json!([])));

        let (done, printed) = operator.erase("leaving", &["--yes"]).await?;
        ensure!(done && printed.contains("There is nothing to erase."), "{printed}");
        let connector = api.admin("leaving", "GET", "/v1/connector", None).await?.ok()?;
        assert_eq!(connector["status"], "not_connected");
        ensure!(connector["externalId"] != "external-id-of-leaving", "the external ID of the erased tenant");
        Ok(())
    })
}

#[test]
fn an_operator_with_rights_for_one_tenant_can_not_erase_another() -> Result<()> {
    run_on_platform(async |fixture| {
        record(fixture, "other", "11:00").await?;
        let before = items(fixture, |_| true).await?;
        let operator = Operator::new(fixture, "one").await?;
        let (done, printed) = operator.erase("other", &["--yes"]).await?;
        ensure!(!done && printed.contains("platform_denied"), "{printed}");
        assert_eq!(items(fixture, |_| true).await?, before);
        Ok(())
    })
}
