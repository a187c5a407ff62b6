//! Reads every object of every bucket and compares it with the recorded events.
//!
//! The expected keys follow from the schedule alone, and the expected events from the recorded ones. The exporter's reports
//! and receipts aren't used.

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use futures::future::try_join_all;

use crate::files;
use crate::screen::{Screen, count};
use crate::setup::{Demo, Tenant};

const CONCURRENT_READS: usize = 4;

/// Checks each tenant and prints a line for it.
pub(crate) async fn check_all(screen: &Screen, demo: &Demo<'_>) -> Result<()> {
    screen.section("Every object of every bucket, compared with the recorded events")?;
    let mut wrong = Vec::new();
    for tenant in &demo.tenants {
        let id = tenant.spec.tenant;
        match check(demo, tenant).await {
            Ok(heartbeats) => {
                let files = windows(demo, tenant)?.len();
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
    ensure!(wrong.is_empty(), "the buckets of {} differ from the recorded events", wrong.join(", "));
    screen.blank()?;
    screen.prose(
        "Every event arrived exactly once, in order and unchanged, in its own tenant's bucket and in no other. Every window has \
         its file, under the key that follows from the schedule, also the windows that were exported late.",
    )
}

/// Checks a tenant's bucket and returns the number of heartbeats.
async fn check(demo: &Demo<'_>, tenant: &Tenant) -> Result<usize> {
    let bucket = &tenant.customer.bucket;
    let found: Vec<String> = bucket.objects().await?.into_iter().map(|object| object.key).collect();
    let windows = windows(demo, tenant)?;
    let expected: Vec<String> = windows.iter().map(|(from, to)| key(tenant, *from, *to)).collect();
    // The connection check left the last one.
    let beside = windows.iter().map(|(from, to)| manifest_key(tenant, *from, *to));
    let beside = beside.chain([format!("{}/_audit-log-export/connectivity-check", tenant.spec.folder())]);
    let all: Vec<String> = expected.iter().cloned().chain(beside).collect();
    if let Some(missing) = all.iter().find(|key| !found.contains(key)) {
        bail!("{missing} is missing");
    }
    if let Some(unexpected) = found.iter().find(|key| !all.contains(key)) {
        bail!("{unexpected} is not expected");
    }

    let mut objects = Vec::new();
    for keys in expected.chunks(CONCURRENT_READS) {
        objects.extend(try_join_all(keys.iter().map(|key| bucket.get(key))).await?);
    }
    let mut heartbeats = 0;
    let mut recorded = tenant.events.iter().peekable();
    for (((from, to), key), object) in windows.iter().zip(&expected).zip(&objects) {
        let mut documents = files::documents(&files::text(&object.bytes, key)?, key)?.into_iter();
        let mut events = 0;
        while let Some(event) = recorded.next_if(|event| (*from..*to).contains(&event.recorded_at)) {
            let document = documents.next().with_context(|| format!("{key} ends before the event {}", event.id))?;
            ensure!(document == event.document, "{key} has another document in the place of the event {}", event.id);
            events += 1;
        }
        if events == 0 {
            let heartbeat = documents.next().with_context(|| format!("{key} is empty"))?;
            ensure!(files::is_heartbeat(&heartbeat)?, "{key} should be a heartbeat, not {heartbeat}");
            heartbeats += 1;
        }
        ensure!(documents.next().is_none(), "{key} has more than the recorded events");
    }
    ensure!(recorded.peek().is_none(), "{} events are in no window", recorded.count());
    Ok(heartbeats)
}

/// The windows of the day: to the first full hour, then by the frequency.
fn windows(demo: &Demo<'_>, tenant: &Tenant) -> Result<Vec<(DateTime<Utc>, DateTime<Utc>)>> {
    let mut from = demo.day + tenant.spec.export_start;
    let mut to = from.duration_trunc(TimeDelta::hours(1))? + TimeDelta::hours(1);
    let mut windows = Vec::new();
    while to <= demo.at(24, 0) {
        windows.push((from, to));
        (from, to) = (to, to + TimeDelta::hours(i64::from(tenant.spec.every_hours)));
    }
    Ok(windows)
}

/// The key of a window's only file.
fn key(tenant: &Tenant, from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let (folder, day, window) = (tenant.spec.folder(), from.format("%Y-%m-%d"), window_name(from, to));
    format!("{folder}/dt={day}/{window}_0001.{}", tenant.spec.extension())
}

/// The key of a window's manifest.
fn manifest_key(tenant: &Tenant, from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let (folder, day, window) = (tenant.spec.folder(), from.format("%Y-%m-%d"), window_name(from, to));
    format!("{folder}/_audit-log-export/manifests/{day}/{window}.manifest")
}

fn window_name(from: DateTime<Utc>, to: DateTime<Utc>) -> String {
    let stamp = "%Y%m%dT%H%M%SZ";
    format!("{}_{}", from.format(stamp), to.format(stamp))
}
