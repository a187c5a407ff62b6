//! `make consumers`: runs the code of docs/consumers.md on files that the deployed exporter has stored.
//!
//! [`recorded`] makes the events of a few hours and says what each consumer must find. This connects a tenant for each
//! format and one for OCSF, runs the ticks, and hands bucket names and expectations over to `check.py`. That prints a table,
//! and fails if a consumer finds anything else.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "this isn't deployed and may read the clock and the environment")]

mod recorded;

use std::process::{ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::is_data;
use audit_log_tests::{
    Customer, LocalAws, Platform, Signals, Table, connect, deploy_platform_with_sam, project, publish_template,
};
use chrono::{DateTime, Days, NaiveTime, TimeDelta, Utc};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::recorded::Recorded;

/// Tenant, account, format, compression, prefix and schema.
type Spec = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const TENANTS: [Spec; 5] = [
    ("acme", "222222222222", "json", "none", "", "native"),
    ("globex", "333333333333", "json", "gzip", "security/saas", "native"),
    ("initech", "444444444444", "ndjson", "none", "", "native"),
    ("umbrella", "555555555555", "ndjson", "gzip", "", "native"),
    ("soylent", "777777777777", "ndjson", "gzip", "", "ocsf"),
];

/// A tenant to which nothing has been delivered yet.
const EMPTY: Spec = ("hooli", "666666666666", "ndjson", "none", "", "native");

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("consumers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs to the end or to a signal. In both cases, dropping the local AWS and the command stops them.
async fn run() -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    tokio::select! {
        biased;
        code = signals.next() => Ok(ExitCode::from(code)),
        result = export_and_check() => result.map(|()| ExitCode::SUCCESS),
    }
}

async fn export_and_check() -> Result<()> {
    let aws = LocalAws::start().await?;
    let template = publish_template(&aws).await?;
    let parameters = [("CustomerTemplateUrl", template.as_str()), ("EventsRetentionDays", "0")];
    let platform = deploy_platform_with_sam(&aws, &parameters).await?;
    platform.pause_rules().await?;

    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let midnight = midnight.checked_sub_days(Days::new(1)).context("no yesterday")?;
    let start = midnight - TimeDelta::hours(4);
    let connected = TENANTS.map(|spec| connect_tenant(&aws, &platform, spec, start));
    let customers = try_join_all(connected).await?;
    let days: Vec<Recorded> = TENANTS.iter().map(|&(tenant, ..)| Recorded::new(tenant, start)).collect();
    for (customer, day) in customers.iter().zip(&days) {
        platform.put_events(&customer.tenant, &day.events).await?;
        for item in &day.malformed {
            platform.put_item(Table::Events, item.clone()).await?;
        }
    }
    export(&platform, &customers, &days, start).await?;
    // After the last tick, so that its bucket holds what the verification stored and nothing else.
    let empty = connect_tenant(&aws, &platform, EMPTY, start).await?;

    let mut tenants = Vec::new();
    for ((customer, day), spec) in customers.iter().zip(&days).zip(TENANTS) {
        let keys = customer.bucket.objects().await?.into_iter().map(|object| object.key);
        let (data, beside): (Vec<_>, Vec<_>) = keys.partition(|key| is_data(key));
        ensure!(data.len() == recorded::HOURS + 1, "{} has other files: {data:?}", customer.tenant);
        ensure!(beside.len() == recorded::HOURS + 1, "manifests and the connectivity check: {beside:?}");
        tenants.push(described(customer, spec, day.expectation()?));
    }
    check(&aws, &json!({ "tenants": tenants, "empty": described(&empty, EMPTY, Value::Null) })).await
}

async fn connect_tenant(
    aws: &LocalAws,
    platform: &Platform<'_>,
    (tenant, account, format, compression, prefix, schema): Spec,
    start: DateTime<Utc>,
) -> Result<Customer> {
    let choices = Draft {
        prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
        format: Some(format.to_owned()),
        compression: Some(compression.to_owned()),
        schema: Some(schema.to_owned()),
        ..Draft::default()
    };
    connect(aws, platform, tenant, account, choices, start).await.with_context(|| format!("connecting {tenant}"))
}

/// Runs a tick for each hour. The late event is recorded after its window was read.
async fn export(
    platform: &Platform<'_>,
    customers: &[Customer],
    days: &[Recorded],
    start: DateTime<Utc>,
) -> Result<()> {
    for hour in 1..=recorded::HOURS {
        let over = start + TimeDelta::hours(i64::try_from(hour)?);
        let report = platform.tick(over + TimeDelta::minutes(1)).await?;
        ensure!(report["exported"] == customers.len() && report["failed"] == 0, "the tick of {over}: {report}");
        for (customer, day) in customers.iter().zip(days) {
            if over - TimeDelta::hours(1) <= day.late.recorded_at && day.late.recorded_at < over {
                platform.put_events(&customer.tenant, std::slice::from_ref(&day.late)).await?;
            }
        }
    }
    Ok(())
}

fn described(customer: &Customer, (tenant, account, format, compression, _, schema): Spec, expected: Value) -> Value {
    let bucket = &customer.stack.outputs.bucket_name;
    let folder = customer.folder();
    json!({
        "tenant": tenant, "account": account, "format": format, "compression": compression, "bucket": bucket,
        "folder": folder, "schema": schema, "expected": expected,
    })
}

/// Runs `check.py` on what was exported. It prints the table.
async fn check(aws: &LocalAws, exported: &Value) -> Result<()> {
    let file = aws.directory().join("exported.json");
    std::fs::write(&file, serde_json::to_vec(exported)?)?;
    let root = project::repository();
    let mut command = Command::new(project::installed(".tools/consumers/bin/python")?);
    command.arg(root.join("tests/consumers/check.py")).arg(file);
    // With a clean environment and another home, no profile or endpoint of the developer has an effect.
    command.env_clear().env("PATH", aws.path()?).env("HOME", aws.directory()).env("TMPDIR", aws.directory());
    command.env("LC_ALL", "C.UTF-8").envs(aws.env(audit_log_tests::PLATFORM_ACCOUNT));
    command.current_dir(aws.directory()).stdin(Stdio::null()).kill_on_drop(true);
    if !command.status().await?.success() {
        bail!("a consumer doesn't find what was recorded, or docs/consumers.md says something else");
    }
    Ok(())
}
