//! The export end to end: the zipped function, both templates, ticks, and the customers' buckets.

mod delivery;
mod failures;
mod final_delivery;
mod notifications;
mod repeats;

use anyhow::Result;
use audit_log_core::settings::Draft;
use audit_log_tests::events::{Event, Spread, generate};
use chrono::{DateTime, TimeDelta, Utc};

/// A time such as `10:00` on the day of these tests.
fn clock(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-20T{time}:00Z").parse()?)
}

/// The time of the rule's event: minute 1 of the hour.
fn minute_one(hour: &str) -> Result<DateTime<Utc>> {
    Ok(clock(hour)? + TimeDelta::minutes(1))
}

/// Events of a tenant in the hour before `hour`.
fn events_before(tenant: &str, hour: &str, count: usize) -> Result<Vec<Event>> {
    let to = clock(hour)?;
    Ok(generate(tenant, count, Spread::Window { from: to - TimeDelta::hours(1), to }))
}

/// The exported text of events.
fn as_json(events: &[Event]) -> String {
    let lines: Vec<&str> = events.iter().map(|event| event.document.as_str()).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

/// Default settings with a change.
fn with(choose: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft::default();
    choose(&mut draft);
    draft
}
