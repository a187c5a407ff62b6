//! `make screenshots`: the console's pages as pictures, with tenants that have been exporting for two weeks.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the pages show the present, so this has to know when that is")]

use std::fs;

use anyhow::{Result, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Spread, generate};
use audit_log_tests::{Browser, LocalAws, Platform, connect, delete_stack, deploy_platform, publish_template, tools};
use chrono::{DateTime, Datelike as _, DurationRound as _, TimeDelta, Utc, Weekday};
use serde_json::json;

/// For how many days the tenants have been there.
const DAYS: i64 = 14;

/// Where the pictures go, and how large one may be, in bytes.
const FOLDER: &str = "docs/screenshots";
const LARGEST: u64 = 300_000;

/// Whose pages they are: all is well, an admin has deleted the role, and the beginning.
const WELL: &str = "acme";
const BROKEN: &str = "globex";
const NEW: &str = "initech";

#[tokio::main]
async fn main() -> Result<()> {
    let aws = LocalAws::start().await?;
    let template = publish_template(&aws).await?;
    let platform = deploy_platform(&aws, &[("CustomerTemplateUrl", &template)]).await?;
    let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
    live(&aws, &platform, hour).await?;

    let folder = tools::repository().join(FOLDER);
    fs::create_dir_all(&folder)?;
    let mut browser = Browser::start(&aws)?;
    let base = platform.api().base();
    browser.arrives("stranger", base, true).await?;
    browser.does("stranger", "pictures", json!({ "folder": folder, "pages": { "sign-in": "logs" } })).await?;
    for (tenant, pages) in [
        (WELL, json!({ "audit-logs": "logs", "status": "status", "connector": "connector", "settings": "settings" })),
        (BROKEN, json!({ "status-failed": "status" })),
        (NEW, json!({ "connector-new": "connector" })),
    ] {
        let token = platform.api().token(tenant, &["audit-logs:admin"]);
        browser.arrives(tenant, base, true).await?;
        browser.does(tenant, "signsIn", json!({ "token": token })).await?;
        browser.does(tenant, "pictures", json!({ "folder": folder, "pages": pages })).await?;
    }
    browser.does(WELL, "goes", json!({ "to": "settings" })).await?;
    browser.does(WELL, "verifies", json!({})).await?;
    browser.does(WELL, "pictures", json!({ "folder": folder, "pages": { "settings-verified": null } })).await?;
    browser.close().await?;

    let mut pictures: Vec<_> = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    pictures.retain(|path| path.extension().is_some_and(|extension| extension == "png"));
    pictures.sort();
    for picture in pictures {
        let size = fs::metadata(&picture)?.len();
        ensure!(size < LARGEST, "{} has {size} bytes", picture.display());
        println!("{FOLDER}/{}  {} kB", picture.file_name().unwrap_or_default().display(), size / 1_000);
    }
    Ok(())
}

/// Two weeks of two tenants, up to an hour.
async fn live(aws: &LocalAws, platform: &Platform<'_>, hour: DateTime<Utc>) -> Result<()> {
    let start = hour.duration_trunc(TimeDelta::days(1))? - TimeDelta::days(DAYS);
    let choices =
        || Draft { frequency_hours: Some("6".to_owned()), prefix: Some("security".to_owned()), ..Draft::default() };
    connect(aws, platform, WELL, "222222222222", choices(), start).await?;
    let broken = connect(aws, platform, BROKEN, "333333333333", choices(), start).await?;
    for day in 0..=DAYS {
        let date = (start + TimeDelta::days(day)).date_naive();
        let weekend = matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        // Not each day like the other, but each the same in every run.
        let count = if weekend { 40 } else { 260 + usize::try_from(date.ordinal() * 37 % 140)? };
        for (tenant, count) in [(WELL, count), (BROKEN, count / 3)] {
            let mut events = generate(tenant, count, Spread::OfficeDay(date));
            events.retain(|event| event.recorded_at < hour);
            platform.put_events(tenant, &events).await?;
        }
    }
    // Six hours ago all was well. Then one admin deleted the stack, and with it the role.
    let tick = platform.tick(hour - TimeDelta::hours(6)).await?;
    ensure!(tick["exported"] == 2 && tick["deferred"] == 0, "{tick:#}");
    delete_stack(aws, &broken.stack.account, &broken.stack.name).await?;
    let tick = platform.tick(hour + TimeDelta::minutes(1)).await?;
    ensure!(tick["exported"] == 1 && tick["failed"] == 1, "{tick:#}");
    Ok(())
}
