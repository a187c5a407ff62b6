//! What the day has left behind: one tick in full, the day by tenant, the failure, and two files.

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};

use crate::cast::{BUSY, QUIET};
use crate::day::Answer;
use crate::files;
use crate::records::{self, Receipt};
use crate::screen::{Screen, bytes, count};
use crate::setup::Stage;

/// How many of a file's lines are shown.
const HEAD: usize = 4;

/// The tick of noon in full: everyone is due.
pub(crate) async fn noon(screen: &Screen, stage: &Stage<'_>, answers: &[Answer]) -> Result<()> {
    let noon = stage.at(12, 0);
    let answer = answers.get(11).context("there was no tick at noon")?;
    screen.section("The tick of 12:01 in full")?;
    screen.prose(&format!(
        "Objects lie under [<prefix>/]audit-logs/tenant=<tenant>/dt={}/ in each bucket.",
        stage.date()
    ))?;
    screen.blank()?;
    let mut rows = Vec::new();
    for tenant in &stage.tenants {
        let id = tenant.part.tenant;
        let (_, receipts) = records::of(&stage.platform, id).await?;
        if let Some(failure) = answer.failures.iter().find(|failure| failure.tenant_id == id) {
            // It stands where it stood when its last window was stored.
            let from = receipts.last().map_or(stage.day, |last| last.to);
            let stuck = span(from, from + TimeDelta::hours(i64::from(tenant.part.every_hours)));
            rows.push([id.to_owned(), stuck, "–".to_owned(), "–".to_owned(), format!("failed: {}", failure.code)]);
            continue;
        }
        let receipt = receipts.iter().find(|receipt| receipt.to == noon);
        let receipt = receipt.with_context(|| format!("{id} has no receipt of noon"))?;
        rows.push(row(id, receipt));
    }
    screen.table(HEADER, rows, &[2])?;
    for failure in &answer.failures {
        screen.blank()?;
        screen.line(&format!("  {}: {}, for the {} to mend", failure.tenant_id, failure.code, failure.party))?;
        screen.paragraph("    ", &failure.message)?;
    }
    screen.blank()?;
    screen.prose(
        "It fails alone: the others have their files, on time. Code and message also stand in the tenant's record, for its \
         admin to read, and in the function's log; its watermark stays where it is, so nothing is lost.",
    )?;
    Ok(())
}

const HEADER: [&str; 5] = ["tenant", "window", "events", "object", "result"];

fn row(tenant: &str, receipt: &Receipt) -> [String; 5] {
    let what = if receipt.events == 0 { "heartbeat" } else { "stored" };
    [
        tenant.to_owned(),
        span(receipt.from, receipt.to),
        count(receipt.events),
        receipt.file().to_owned(),
        format!("{what}, {}", bytes(receipt.bytes)),
    ]
}

/// A table of one tenant's windows.
pub(crate) fn windows(screen: &Screen, tenant: &str, receipts: &[Receipt]) -> Result<()> {
    screen.table(HEADER, receipts.iter().map(|receipt| row(tenant, receipt)).collect(), &[2])
}

/// The day, a line for each tenant.
pub(crate) async fn day(screen: &Screen, stage: &Stage<'_>) -> Result<()> {
    screen.section("The day by tenant")?;
    let mut rows = Vec::new();
    for tenant in &stage.tenants {
        let part = tenant.part;
        let (watermark, receipts) = records::of(&stage.platform, part.tenant).await?;
        let heartbeats = receipts.iter().filter(|receipt| receipt.events == 0).count();
        let state = match &watermark.code {
            Some(code) => format!("{code}, {} ticks in a row", watermark.failures),
            None => "up to date".to_owned(),
        };
        rows.push([
            part.tenant.to_owned(),
            receipts.len().to_string(),
            heartbeats.to_string(),
            count(receipts.iter().map(|receipt| receipt.events).sum()),
            bytes(receipts.iter().map(|receipt| receipt.bytes).sum()),
            watermark.exported_until.format("%m-%d %H:%M").to_string(),
            state,
        ]);
    }
    let header = ["tenant", "files", "heartbeats", "events", "bytes", "exported until", "state"];
    screen.table(header, rows, &[1, 2, 3, 4])
}

/// The head of a busy hour's file, and the heartbeat of a quiet one.
pub(crate) async fn files(screen: &Screen, stage: &Stage<'_>) -> Result<()> {
    screen.section("What the customers find in their buckets")?;
    for (id, head) in [(BUSY, HEAD), (QUIET, usize::MAX)] {
        let tenant = stage.tenant(id)?;
        let (_, receipts) = records::of(&stage.platform, id).await?;
        let receipt = receipts.iter().find(|receipt| receipt.to == stage.at(12, 0)).context("nothing at noon")?;
        let text = files::text(&tenant.customer.bucket.get(&receipt.key).await?.bytes, &receipt.key)?;
        screen.line(&format!("  s3://{}/{}", tenant.customer.stack.outputs.bucket_name, receipt.key))?;
        let lines: Vec<&str> = text.lines().collect();
        ensure!(!lines.is_empty(), "{} is empty", receipt.key);
        for line in lines.iter().take(head) {
            if head == HEAD { screen.cut("    ", line)? } else { screen.fold("    ", line)? }
        }
        if let Some(more) = lines.len().checked_sub(head) {
            screen.line(&format!("    … {} more lines", count(u64::try_from(more)?)))?;
            screen.blank()?;
        }
    }
    Ok(())
}

/// Two instants of the day; its end is `24:00`.
fn span(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let end = if to.date_naive() == from.date_naive() { to.format("%H:%M").to_string() } else { "24:00".to_owned() };
    format!("{} – {end}", from.format("%H:%M"))
}
