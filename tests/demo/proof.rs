//! Reads every object of every bucket back and compares it with what was recorded.
//!
//! It trusts neither the exporter's answers nor its receipts: which keys there must be follows from the schedule alone,
//! which events from what was recorded.

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use futures::future::try_join_all;

use crate::files;
use crate::screen::{Screen, count};
use crate::setup::{Stage, Tenant};

/// Objects read at a time.
const CONCURRENCY: usize = 4;

/// Checks each tenant, a line for each.
pub(crate) async fn all(screen: &Screen, stage: &Stage<'_>) -> Result<()> {
    screen.section("Checked against what was recorded, by reading every object of every bucket")?;
    let mut wrong = Vec::new();
    for tenant in &stage.tenants {
        let id = tenant.part.tenant;
        match check(stage, tenant).await {
            Ok(heartbeats) => {
                let files = windows(stage, tenant)?.len();
                let events = count(tenant.events.len() as u64);
                screen.verdict(
                    true,
                    &format!("{id:<9} {events:>6} events, {files:>2} files, {heartbeats:>2} of them heartbeats"),
                )?;
            }
            Err(error) => {
                screen.verdict(false, &format!("{id:<9} {error:#}"))?;
                wrong.push(id);
            }
        }
    }
    ensure!(wrong.is_empty(), "what lies in the buckets of {} is not what was recorded", wrong.join(", "));
    screen.blank()?;
    screen.prose(
        "Every event arrived exactly once, in order, byte for byte as it was recorded, in its own tenant's bucket and in no \
         other. Every window has its file, under the key that follows from the schedule alone, also those that came late.",
    )
}

/// Checks one tenant's bucket; returns how many of its files are heartbeats.
async fn check(stage: &Stage<'_>, tenant: &Tenant) -> Result<usize> {
    let bucket = &tenant.customer.bucket;
    // What VERIFY has left there: always under this name, and an export of nothing.
    let check = format!("{}/_connectivity-check.json", tenant.part.folder());
    let found = bucket.objects().await?.into_iter().map(|object| object.key);
    let found: Vec<String> = found.filter(|key| *key != check).collect();
    let windows = windows(stage, tenant)?;
    let expected: Vec<String> = windows.iter().map(|(from, to)| key(tenant, *from, *to)).collect();
    if let Some(missing) = expected.iter().find(|key| !found.contains(key)) {
        bail!("{missing} is missing");
    }
    if let Some(foreign) = found.iter().find(|key| !expected.contains(key)) {
        bail!("{foreign} should not be there");
    }

    let mut objects = Vec::new();
    for keys in expected.chunks(CONCURRENCY) {
        objects.extend(try_join_all(keys.iter().map(|key| bucket.get(key))).await?);
    }
    let mut heartbeats = 0;
    let mut recorded = tenant.events.iter().peekable();
    for (((from, to), key), object) in windows.iter().zip(&expected).zip(&objects) {
        let mut documents = files::documents(&files::text(&object.bytes, key)?, key)?.into_iter();
        let mut events = 0;
        while let Some(event) = recorded.next_if(|event| (*from..*to).contains(&event.recorded_at)) {
            let document = documents.next().with_context(|| format!("{key} ends before the event {}", event.id))?;
            ensure!(document == event.document, "{key} has something else where the event {} should be", event.id);
            events += 1;
        }
        if events == 0 {
            let heartbeat = documents.next().with_context(|| format!("{key} is empty"))?;
            ensure!(files::is_heartbeat(&heartbeat)?, "{key} should be a heartbeat, not {heartbeat}");
            heartbeats += 1;
        }
        ensure!(documents.next().is_none(), "{key} holds more than was recorded");
    }
    ensure!(recorded.peek().is_none(), "{} events are in no window", recorded.count());
    Ok(heartbeats)
}

/// The windows of the day: from the save to the next full hour, and on by the frequency.
fn windows(stage: &Stage<'_>, tenant: &Tenant) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    let mut from = stage.day + tenant.part.connected;
    let mut to = from.duration_trunc(TimeDelta::hours(1))? + TimeDelta::hours(1);
    let mut windows = Vec::new();
    while to <= stage.at(24, 0) {
        windows.push((from, to));
        (from, to) = (to, to + TimeDelta::hours(i64::from(tenant.part.every_hours)));
    }
    Ok(windows)
}

/// The key of a window's only file.
fn key(tenant: &Tenant, from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let stamp = "%Y%m%dT%H%M%SZ";
    format!(
        "{}/dt={}/{}_{}_0001.{}",
        tenant.part.folder(),
        from.format("%Y-%m-%d"),
        from.format(stamp),
        to.format(stamp),
        tenant.part.extension()
    )
}
