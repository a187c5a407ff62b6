//! The export end to end: the zipped function, both templates, a tick, and what lies in the customers' buckets.

mod delivery;
mod failures;
mod notifications;
mod repeats;

use anyhow::Result;
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Event, Spread, generate};
use chrono::{DateTime, TimeDelta, Utc};

/// `10:00` and the like, on the day of these tests.
fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

/// The time in the rule's event for an hour: its first minute.
fn minute_one(hour: &str) -> Result<DateTime<Utc>> {
    Ok(clock(hour)? + TimeDelta::minutes(1))
}

/// So many events of a tenant in the hour before.
fn events_before(tenant: &str, hour: &str, count: usize) -> Result<Vec<Event>> {
    let to = clock(hour)?;
    Ok(generate(tenant, count, Spread::Window { from: to - TimeDelta::hours(1), to }))
}

/// The text of an export of these events.
fn as_json(events: &[Event]) -> String {
    let lines: Vec<&str> = events.iter().map(|event| event.document.as_str()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// Settings with one choice made.
fn with(choose: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft::default();
    choose(&mut draft);
    draft
}
