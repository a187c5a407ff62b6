//! Runs the ticks of the day, and the tick after the deleted role is back.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::{LocalAws, delete_stack};
use chrono::{DateTime, Utc};

use crate::records::{self, TickReport};
use crate::results;
use crate::screen::{Screen, bytes, count};
use crate::setup::Demo;
use crate::tenants::{BROKEN, BROKEN_AT};

/// Runs the day's 24 ticks and returns their reports.
pub(crate) async fn run_day(screen: &Screen, aws: &LocalAws, demo: &Demo<'_>) -> Result<Vec<TickReport>> {
    screen.section(&format!("{}, hour by hour", demo.date()))?;
    screen.prose(
        "Each line is an invocation of the deployed function with the event that the deployed hourly rule sends at that \
         time. The rule itself is disabled meanwhile. The build is not optimized, so times are longer than in production.",
    )?;
    screen.blank()?;
    screen.line(&heading())?;
    let mut reports = Vec::new();
    for hour in 1..=24 {
        let revoked = demo.at(hour, 0) > demo.day + BROKEN_AT;
        if revoked && demo.at(hour - 1, 0) <= demo.day + BROKEN_AT {
            revoke(screen, aws, demo).await?;
        }
        let report = tick(screen, demo, demo.at(hour, 1)).await?;
        let failed: Vec<&str> = report.failures.iter().map(|failure| failure.tenant_id.as_str()).collect();
        let expected: &[&str] = if revoked { &[BROKEN] } else { &[] };
        ensure!(failed == expected, "the tick of hour {hour} should have failed for {expected:?}, not for {failed:?}");
        ensure!(report.deferred == 0, "the tick of hour {hour} deferred a window that has settled");
        reports.push(report);
    }
    Ok(reports)
}

async fn revoke(screen: &Screen, aws: &LocalAws, demo: &Demo<'_>) -> Result<()> {
    let stack = &demo.tenant(BROKEN)?.customer.stack;
    let gone = delete_stack(aws, &stack.account, &stack.name).await;
    gone.with_context(|| format!("deleting the stack of {BROKEN}"))?;
    let at = (demo.day + BROKEN_AT).format("%H:%M");
    screen.line(&format!("  {at}  {BROKEN}'s admin deletes the CloudFormation stack with the role"))
}

/// Recreates the role and runs the tick that delivers the backlog.
pub(crate) async fn recover(screen: &Screen, aws: &LocalAws, demo: &mut Demo<'_>) -> Result<()> {
    screen.section(&format!("The role of {BROKEN} is back"))?;
    let (behind, before) = records::load(&demo.platform, BROKEN).await?;
    let broken =
        demo.tenants.iter_mut().find(|tenant| tenant.spec.tenant == BROKEN).context("no tenant has lost its role")?;
    screen
        .step("recreating the stack", broken.customer.recreate_stack(aws), |()| {
            format!("{BROKEN}'s admin recreates the stack from the same quick-create link")
        })
        .await?;
    screen.blank()?;
    screen.prose(
        "Then the last tick's event arrives a second time, which EventBridge may do. The other tenants are up to date, so \
         nothing is written twice. The backlog is exported into the same files that hourly exports would have made.",
    )?;
    screen.blank()?;
    screen.line(&heading())?;
    let report = tick(screen, demo, demo.at(24, 1)).await?;
    let only_broken = report.due == 1 && report.exported == 1;
    ensure!(only_broken, "only {BROKEN} should be due and exported, not {} and {}", report.due, report.exported);

    let (after, receipts) = records::load(&demo.platform, BROKEN).await?;
    ensure!(after.code.is_none() && after.failures == 0, "the watermark still has the failure");
    ensure!(after.exported_until > behind.exported_until, "the backlog was not exported");
    screen.blank()?;
    results::show_windows(screen, BROKEN, &receipts[before.len()..])
}

/// Runs a tick and prints its line.
async fn tick(screen: &Screen, demo: &Demo<'_>, at: DateTime<Utc>) -> Result<TickReport> {
    let started = Instant::now();
    let report = demo.platform.tick(at).await.with_context(|| format!("the tick of {at}"))?;
    let took = started.elapsed().as_millis();
    let report: TickReport = serde_json::from_value(report).context("the function's answer to a tick")?;
    let time = at.format("%H:%M").to_string();
    let numbers = [report.due, report.exported, report.failed, report.deferred].map(count);
    screen.line(&columns(
        [&time, &numbers[0], &numbers[1], &numbers[2], &numbers[3]],
        [&count(report.events), &count(report.objects), &bytes(report.bytes), &took.to_string()],
    ))?;
    Ok(report)
}

fn heading() -> String {
    columns(["UTC  ", "due", "exported", "failed", "deferred"], ["events", "objects", "bytes", "ms"])
}

fn columns([time, due, exported, failed, deferred]: [&str; 5], [events, objects, bytes, ms]: [&str; 4]) -> String {
    format!("  {time}{due:>6}{exported:>10}{failed:>8}{deferred:>10}{events:>8}{objects:>9}{bytes:>11}{ms:>7}")
}
