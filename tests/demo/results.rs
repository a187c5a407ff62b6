//! Shows the results of the day: one tick in detail, each tenant's day, and two files.

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};

use crate::tenants::{BUSY, QUIET};

use crate::files;
use crate::records::{self, Receipt, TickReport};
use crate::screen::{Screen, bytes, count};
use crate::setup::Demo;

const MAX_SHOWN_LINES: usize = 4;

/// Shows the tick of noon, at which all tenants are due.
pub(crate) async fn show_noon(screen: &Screen, demo: &Demo<'_>, reports: &[TickReport]) -> Result<()> {
    let noon = demo.at(12, 0);
    let report = reports.get(11).context("there was no tick at noon")?;
    screen.section("The tick of 12:01 in detail")?;
    screen.prose(&format!(
        "The objects are in [<prefix>/]audit-logs/tenant=<tenant>/dt={}/ in each bucket.",
        demo.date()
    ))?;
    screen.blank()?;
    let mut rows = Vec::new();
    for tenant in &demo.tenants {
        let id = tenant.spec.tenant;
        let (_, receipts) = records::load(&demo.platform, id).await?;
        if let Some(failure) = report.failures.iter().find(|failure| failure.tenant_id == id) {
            // The watermark is still at the end of the last stored window.
            let from = receipts.last().map_or(demo.day, |last| last.to);
            let window = format_window(from, from + TimeDelta::hours(i64::from(tenant.spec.every_hours)));
            rows.push([id.to_owned(), window, "–".to_owned(), "–".to_owned(), format!("failed: {}", failure.code)]);
            continue;
        }
        let receipt = receipts.iter().find(|receipt| receipt.to == noon);
        let receipt = receipt.with_context(|| format!("{id} has no receipt at noon"))?;
        rows.push(row(id, receipt));
    }
    screen.table(HEADER, rows, &[2])?;
    for failure in &report.failures {
        screen.blank()?;
        screen.line(&format!("  {}: {}, to be fixed by the {}", failure.tenant_id, failure.code, failure.party))?;
        screen.paragraph("    ", &failure.message)?;
    }
    screen.blank()?;
    screen.prose(
        "Only this tenant fails. The others have their files on time. Code and message are also in the tenant's record, which \
         its admin sees, and in the function's log. The watermark doesn't move, so nothing is lost.",
    )?;
    Ok(())
}

const HEADER: [&str; 5] = ["tenant", "window", "events", "object", "result"];

fn row(tenant: &str, receipt: &Receipt) -> [String; 5] {
    let what = if receipt.events == 0 { "heartbeat" } else { "stored" };
    [
        tenant.to_owned(),
        format_window(receipt.from, receipt.to),
        count(receipt.events),
        receipt.file().to_owned(),
        format!("{what}, {}", bytes(receipt.bytes)),
    ]
}

/// Shows a tenant's windows.
pub(crate) fn show_windows(screen: &Screen, tenant: &str, receipts: &[Receipt]) -> Result<()> {
    screen.table(HEADER, receipts.iter().map(|receipt| row(tenant, receipt)).collect(), &[2])
}

/// Shows a line for each tenant.
pub(crate) async fn show_day(screen: &Screen, demo: &Demo<'_>) -> Result<()> {
    screen.section("The day by tenant")?;
    let mut rows = Vec::new();
    for tenant in &demo.tenants {
        let spec = tenant.spec;
        let (watermark, receipts) = records::load(&demo.platform, spec.tenant).await?;
        let heartbeats = receipts.iter().filter(|receipt| receipt.events == 0).count();
        let state = match &watermark.code {
            Some(code) => format!("{code}, {} ticks in a row", watermark.failures),
            None => "up to date".to_owned(),
        };
        rows.push([
            spec.tenant.to_owned(),
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

/// Shows the first lines of a busy hour's file, and a heartbeat.
pub(crate) async fn show_files(screen: &Screen, demo: &Demo<'_>) -> Result<()> {
    screen.section("The files in the customers' buckets")?;
    for (id, head) in [(BUSY, MAX_SHOWN_LINES), (QUIET, usize::MAX)] {
        let tenant = demo.tenant(id)?;
        let (_, receipts) = records::load(&demo.platform, id).await?;
        let receipt = receipts.iter().find(|receipt| receipt.to == demo.at(12, 0)).context("nothing at noon")?;
        let text = files::text(&tenant.customer.bucket.get(&receipt.key).await?.bytes, &receipt.key)?;
        screen.line(&format!("  s3://{}/{}", tenant.customer.stack.outputs.bucket_name, receipt.key))?;
        let lines: Vec<&str> = text.lines().collect();
        ensure!(!lines.is_empty(), "{} is empty", receipt.key);
        for line in lines.iter().take(head) {
            if head == MAX_SHOWN_LINES { screen.cut("    ", line)? } else { screen.fold("    ", line)? }
        }
        if let Some(more) = lines.len().checked_sub(head) {
            screen.line(&format!("    … {} more lines", count(u64::try_from(more)?)))?;
            screen.blank()?;
        }
    }
    Ok(())
}

/// A window as `11:00 – 12:00`. The day's end is `24:00`.
fn format_window(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let end = if to.date_naive() == from.date_naive() { to.format("%H:%M").to_string() } else { "24:00".to_owned() };
    format!("{} – {end}", from.format("%H:%M"))
}
