//! Calls and time for each tenant of a large fleet.

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{count, duration, mebibytes, seconds};
use crate::row::{Row, Target};
use crate::world::{Behavior, Tenant};

/// The lease, a Query, an AssumeRole, a PUT, a commit, which also releases the lease, and a share of batched reads.
const MAX_CALLS_PER_TENANT: f64 = 5.05;

/// Called once for a tenant.
const ONCE: [&str; 5] = ["UpdateItem", "Query events", "AssumeRole", "PutObject", "TransactWriteItems"];

const EVENTS_PER_TENANT: u64 = 3;

/// A fleet that is due in one tick.
pub(super) async fn tick(context: &Context<'_>) -> Result<Vec<Row>> {
    let tenants: u32 = context.amount(30_000, 2_000);
    let setting = format!("{} tenants due in one tick, {EVENTS_PER_TENANT} events each", count(f64::from(tenants)));
    let mut row = Row::new("fleet", "AWS calls per tenant", setting);
    let fleet = (0..tenants).map(|number| Tenant::new(format!("tenant-{number:05}"), EVENTS_PER_TENANT, 1)).collect();
    let data = Arc::new(context.data(fleet));
    let exporter = &context.programs().exporter;
    let trial = context.trial("fleet", exporter, &data, Behavior::default(), &[]).await?;

    row.calls_of("exporter", Some(&trial));
    row.figures("wall seconds", [trial.wall.as_secs_f64()]);
    row.figures("CPU seconds", [trial.cpu_seconds]);
    row.figures("peak RSS bytes", [trial.peak_rss as f64]);
    let each = |calls: u64| calls as f64 / f64::from(tenants);
    let of = |kind: &str| each(trial.calls.get(kind).copied().unwrap_or(0));
    let shown = |calls: f64| format!("{calls:.3}");
    row.measure("calls a tenant", each(trial.total_calls()), Target::AtMost(MAX_CALLS_PER_TENANT), shown);
    for kind in ONCE {
        // At least one, too: a trial fails if a tenant isn't exported.
        row.measure(kind, of(kind), Target::AtMost(1.0), shown);
    }
    for kind in trial.calls.keys().filter(|kind| !ONCE.contains(kind)) {
        row.show(kind, of(kind), shown(of(kind)));
    }
    row.show("wall time", trial.wall.as_secs_f64(), duration(trial.wall));
    row.show("CPU time", trial.cpu_seconds, seconds(trial.cpu_seconds));
    row.show(
        "CPU time a tenant",
        trial.cpu_seconds / f64::from(tenants),
        seconds(trial.cpu_seconds / f64::from(tenants)),
    );
    row.show("peak memory", trial.peak_rss as f64, mebibytes(trial.peak_rss as f64));
    Ok(vec![row])
}
