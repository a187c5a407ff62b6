//! The day, tick by tick, and the tick after the broken tenant's role is back.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::{LocalAws, delete_stack};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::cast::{BROKEN, BROKEN_AT};
use crate::screen::{Screen, bytes, count};
use crate::setup::Stage;
use crate::{records, results};

/// The function's answer to a tick.
#[derive(Deserialize)]
pub(crate) struct Answer {
    due: u64,
    exported: u64,
    failed: u64,
    deferred: u64,
    events: u64,
    objects: u64,
    bytes: u64,
    pub(crate) failures: Vec<Failure>,
}

/// A tenant that failed, as the answer names it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failure {
    pub(crate) tenant_id: String,
    pub(crate) code: String,
    pub(crate) party: String,
    pub(crate) message: String,
}

/// Plays the day's 24 ticks; returns their answers.
pub(crate) async fn play(screen: &Screen, aws: &LocalAws, stage: &Stage<'_>) -> Result<Vec<Answer>> {
    screen.section(&format!("{}, hour by hour", stage.date()))?;
    screen.prose(
        "Each line is one invocation of the deployed function with the very event that the deployed hourly rule sends at \
         that time; the rule itself is paused while a day passes in seconds. (The build is a quick, unoptimised one.)",
    )?;
    screen.blank()?;
    screen.line(&heading())?;
    let mut answers = Vec::new();
    for hour in 1..=24 {
        let revoked = stage.at(hour, 0) > stage.day + BROKEN_AT;
        if revoked && stage.at(hour - 1, 0) <= stage.day + BROKEN_AT {
            revoke(screen, aws, stage).await?;
        }
        let answer = tick(screen, stage, stage.at(hour, 1)).await?;
        let failed: Vec<&str> = answer.failures.iter().map(|failure| failure.tenant_id.as_str()).collect();
        let expected: &[&str] = if revoked { &[BROKEN] } else { &[] };
        ensure!(failed == expected, "the tick of hour {hour} should have failed for {expected:?}, not for {failed:?}");
        ensure!(answer.deferred == 0, "the tick of hour {hour} has put a window off, though all of them are long over");
        answers.push(answer);
    }
    Ok(answers)
}

/// The broken tenant's admin deletes the stack, and with it the role.
async fn revoke(screen: &Screen, aws: &LocalAws, stage: &Stage<'_>) -> Result<()> {
    let stack = &stage.tenant(BROKEN)?.customer.stack;
    let gone = delete_stack(aws, &stack.account, &stack.name).await;
    gone.with_context(|| format!("deleting the stack of {BROKEN}"))?;
    let at = (stage.day + BROKEN_AT).format("%H:%M");
    screen.line(&format!("  {at}  {BROKEN}'s admin deletes the CloudFormation stack, and with it the role"))
}

/// The role comes back, and with the next event of the rule all that was held up.
pub(crate) async fn recover(screen: &Screen, aws: &LocalAws, stage: &mut Stage<'_>) -> Result<()> {
    screen.section(&format!("The role of {BROKEN} is back"))?;
    let (behind, before) = records::of(&stage.platform, BROKEN).await?;
    let broken = stage.tenants.iter_mut().find(|tenant| tenant.part.tenant == BROKEN).context("nobody is broken")?;
    screen
        .step("creating the stack again", broken.customer.recreate_stack(aws), |()| {
            format!("{BROKEN}'s admin creates the stack again, from the same quick-create link")
        })
        .await?;
    screen.blank()?;
    screen.prose(
        "Then the last tick's event comes a second time, as EventBridge may deliver it. Everyone else is up to date, so \
         nothing is written twice; the backlog arrives, in the very files that hourly exports would have made.",
    )?;
    screen.blank()?;
    screen.line(&heading())?;
    let answer = tick(screen, stage, stage.at(24, 1)).await?;
    let alone = answer.due == 1 && answer.exported == 1;
    ensure!(alone, "only {BROKEN} should be due and exported, not {} and {}", answer.due, answer.exported);

    let (after, receipts) = records::of(&stage.platform, BROKEN).await?;
    ensure!(after.code.is_none() && after.failures == 0, "the failure should be forgotten by now");
    ensure!(after.exported_until > behind.exported_until, "the backlog has not arrived");
    screen.blank()?;
    results::windows(screen, BROKEN, &receipts[before.len()..])
}

/// One tick, and its line.
async fn tick(screen: &Screen, stage: &Stage<'_>, at: DateTime<Utc>) -> Result<Answer> {
    let started = Instant::now();
    let answer = stage.platform.tick(at).await.with_context(|| format!("the tick of {at}"))?;
    let took = started.elapsed().as_millis();
    let answer: Answer = serde_json::from_value(answer).context("the function's answer to a tick")?;
    let time = at.format("%H:%M").to_string();
    let numbers = [answer.due, answer.exported, answer.failed, answer.deferred].map(count);
    screen.line(&columns(
        [&time, &numbers[0], &numbers[1], &numbers[2], &numbers[3]],
        [&count(answer.events), &count(answer.objects), &bytes(answer.bytes), &took.to_string()],
    ))?;
    Ok(answer)
}

fn heading() -> String {
    columns(["UTC  ", "due", "exported", "failed", "deferred"], ["events", "objects", "bytes", "ms"])
}

fn columns([time, due, exported, failed, deferred]: [&str; 5], [events, objects, bytes, ms]: [&str; 4]) -> String {
    format!("  {time}{due:>6}{exported:>10}{failed:>8}{deferred:>10}{events:>8}{objects:>9}{bytes:>11}{ms:>7}")
}
