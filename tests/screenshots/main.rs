//! `make screenshots`: takes screenshots of the console's pages, with tenants that have exported for two weeks.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the pages show the present, so the data must end now")]

use std::fs;

use anyhow::{Context as _, Result, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{
    Browser, Customer, LocalAws, PLATFORM_ACCOUNT, Platform, connect, delete_stack, deploy_platform_with_sam,
    follow_link, project, publish_template, tools,
};
use chrono::{DateTime, Datelike as _, DurationRound as _, TimeDelta, Utc, Weekday};
use serde_json::json;

/// The days of data.
const DAYS: i64 = 14;

const FOLDER: &str = "docs/screenshots";
const MAX_SCREENSHOT_BYTES: u64 = 300_000;

/// A tenant whose exports work, one whose role was deleted, and one that is not connected.
const HEALTHY: &str = "acme";
const BROKEN: &str = "globex";
const NEW: &str = "initech";

#[tokio::main]
async fn main() -> Result<()> {
    let aws = LocalAws::start().await?;
    let template = publish_template(&aws).await?;
    let platform = deploy_platform_with_sam(&aws, &[("CustomerTemplateUrl", &template)]).await?;
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
    let broken = export_two_weeks(&aws, &platform, hour).await?;

    let folder = project::repository().join(FOLDER);
    fs::create_dir_all(&folder)?;
    let browser = Browser::start(&aws)?;
    let base = platform.api().base();
    browser.add_visitor("stranger", base, true).await?;
    browser.run_step("stranger", "pictures", json!({ "folder": folder, "pages": { "sign-in": "logs" } })).await?;
    for (tenant, pages) in [
        (
            HEALTHY,
            json!({ "audit-logs": "logs", "status": "status", "connector": "connector", "settings": "settings" }),
        ),
        (BROKEN, json!({ "status-failed": "status" })),
        (NEW, json!({ "connector-new": "connector" })),
    ] {
        let token = platform.api().token(tenant, &["audit-logs:admin"]);
        browser.add_visitor(tenant, base, true).await?;
        browser.run_step(tenant, "signsIn", json!({ "token": token })).await?;
        browser.run_step(tenant, "pictures", json!({ "folder": folder, "pages": pages })).await?;
    }
    browser.run_step(HEALTHY, "goes", json!({ "to": "settings" })).await?;
    browser.run_step(HEALTHY, "verifies", json!({})).await?;
    browser.run_step(HEALTHY, "pictures", json!({ "folder": folder, "pages": { "settings-verified": null } })).await?;

    repair(&aws, &platform, &broken, hour).await?;
    browser
        .run_step(BROKEN, "pictures", json!({ "folder": folder, "pages": { "status-recovered": "status" } }))
        .await?;
    request_replay(&aws, &platform, HEALTHY, hour).await?;
    browser.run_step(HEALTHY, "pictures", json!({ "folder": folder, "pages": { "status-replay": "status" } })).await?;
    browser.close().await?;

    let mut screenshots: Vec<_> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    screenshots.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    screenshots.sort();
    for screenshot in screenshots {
        let size = fs::metadata(&screenshot)?.len();
        ensure!(size < MAX_SCREENSHOT_BYTES, "{} has {size} bytes", screenshot.display());
        println!("{FOLDER}/{}  {} kB", screenshot.file_name().unwrap_or_default().display(), size / 1_000);
    }
    Ok(())
}

/// Records and exports events of two tenants, up to `hour`. Returns the one whose role is gone.
async fn export_two_weeks(aws: &LocalAws, platform: &Platform<'_>, hour: DateTime<Utc>) -> Result<Customer> {
    let start = hour.duration_trunc(TimeDelta::days(1))? - TimeDelta::days(DAYS);
    let choices =
        || Draft { frequency_hours: Some("6".to_owned()), prefix: Some("security".to_owned()), ..Draft::default() };
    connect(aws, platform, HEALTHY, "222222222222", choices(), start).await?;
    let broken = connect(aws, platform, BROKEN, "333333333333", choices(), start).await?;
    for day in 0..=DAYS {
        let date = (start + TimeDelta::days(day)).date_naive();
        let weekend = matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        // Days differ, but are the same in every run.
        let count = if weekend { 40 } else { 260 + usize::try_from(date.ordinal() * 37 % 140)? };
        for (tenant, count) in [(HEALTHY, count), (BROKEN, count / 3)] {
            let mut events = generate(tenant, count, Spread::OfficeDay(date));
            events.retain(|event| event.recorded_at < hour);
            platform.put_events(tenant, &events).await?;
        }
    }
    // Exports worked six hours ago. Then one admin deleted the stack with the role.
    let tick = platform.tick(hour - TimeDelta::hours(6)).await?;
    ensure!(tick["exported"] == 2 && tick["deferred"] == 0, "{tick:#}");
    delete_stack(aws, &broken.stack.account, &broken.stack.name).await?;
    let tick = platform.tick(hour + TimeDelta::minutes(1)).await?;
    ensure!(tick["exported"] == 1 && tick["failed"] == 1, "{tick:#}");
    Ok(broken)
}

/// Makes the deleted stack again, and exports.
async fn repair(aws: &LocalAws, platform: &Platform<'_>, broken: &Customer, hour: DateTime<Utc>) -> Result<()> {
    let connector = platform.api().admin(BROKEN, "GET", "/v1/connector", None).await?.ok()?;
    let link = connector["quickCreateUrl"].as_str().context("no quick-create link")?;
    let (bucket, role) = (format!("{BROKEN}-audit-logs"), format!("{BROKEN}-audit-log-export"));
    let filled_in = [("BucketName", bucket.as_str()), ("BucketPrefix", "security"), ("RoleName", &role)];
    follow_link(aws, &broken.stack.account, link, &filled_in).await?;
    let tick = platform.tick(hour + TimeDelta::minutes(1)).await?;
    ensure!(tick["failed"] == 0, "{tick:#}");
    Ok(())
}

/// Requests a replay of a week, which waits because another run has the lease.
async fn request_replay(aws: &LocalAws, platform: &Platform<'_>, tenant: &str, hour: DateTime<Utc>) -> Result<()> {
    let key = json!({ "tenant_id": { "S": tenant }, "record": { "S": "watermark" } }).to_string();
    let until = (Utc::now() + TimeDelta::minutes(30)).timestamp_millis().to_string();
    let values = json!({ ":lease": { "S": "0".repeat(32) }, ":until": { "N": until } }).to_string();
    let update = ["dynamodb", "update-item", "--table-name", &platform.outputs().tenants_table_name];
    let set = ["--update-expression", "SET lease = :lease, lease_until = :until"];
    let item = ["--key", &key, "--expression-attribute-values", &values];
    tools::aws_cli(aws, PLATFORM_ACCOUNT, &[&update[..], &set, &item].concat()).await?;
    let range = json!({ "from": hour - TimeDelta::days(7), "to": hour });
    platform.api().admin(tenant, "POST", "/v1/replays", Some(&range)).await?.ok()?;
    Ok(())
}
