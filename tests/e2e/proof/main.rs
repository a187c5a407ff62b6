//! The proof end to end: the zipped exporter signs, and an auditor verifies copies of customers' buckets.

#![allow(clippy::disallowed_methods, reason = "final deliveries and failures to sign are as of now")]

mod by_hand;
mod folders;
mod replay;
mod signing;

use anyhow::{Context as _, Result};
use audit_log_tests::events::{Event, Spread, generate};
use audit_log_tests::{Auditor, Customer, Platform};
use chrono::{DateTime, TimeDelta, Utc};

/// A time such as `10:00` on the day of these tests.
fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

/// Records events of the hour before `hour`, all of them a quarter of an hour before its end.
async fn record(platform: &Platform<'_>, tenant: &str, hour: DateTime<Utc>, count: usize) -> Result<Vec<Event>> {
    let (from, to) = (hour - TimeDelta::hours(1), hour - TimeDelta::minutes(15));
    let events = generate(tenant, count, Spread::Window { from, to });
    platform.put_events(tenant, &events).await?;
    Ok(events)
}

/// Runs the tick of an hour.
async fn tick(platform: &Platform<'_>, hour: DateTime<Utc>) -> Result<serde_json::Value> {
    platform.tick(hour + TimeDelta::minutes(1)).await
}

/// An auditor who has pinned the keys that the API lists.
async fn auditor(platform: &Platform<'_>, customer: &Customer) -> Result<Auditor> {
    Auditor::new(customer, &platform.manifest_keys().await?).await
}

/// The hash of a tenant's newest manifest, as the status page shows it.
async fn head(platform: &Platform<'_>, tenant: &str) -> Result<String> {
    let status = platform.api().admin(tenant, "GET", "/v1/status", None).await?.ok()?;
    Ok(status["manifestHead"].as_str().with_context(|| format!("no head: {status}"))?.to_owned())
}
