//! Many tenants at once: what each of them costs.

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{count, duration, mebibytes, seconds};
use crate::row::{Row, Target};
use crate::world::{Behaviour, Tenant};

/// The lease, a Query, an AssumeRole, a PUT and a commit, which ends the lease too, and a share of what is read for many
/// tenants at once.
const CALLS: f64 = 5.05;

/// What is called once for a tenant.
const ONCE: [&str; 5] = ["UpdateItem", "Query events", "AssumeRole", "PutObject", "TransactWriteItems"];

/// How many events each of them has.
const EVENTS: u64 = 3;

/// A whole fleet that is due in one tick.
pub(super) async fn tick(context: &Context<'_>) -> Result<Vec<Row>> {
    let tenants: u32 = context.amount(30_000, 2_000);
    let setting = format!("{} tenants due in one tick, {EVENTS} events each", count(f64::from(tenants)));
    let mut row = Row::new("fleet", "Calls of AWS for a tenant", setting);
    let fleet = (0..tenants).map(|number| Tenant::new(format!("tenant-{number:05}"), EVENTS, 1)).collect();
    let data = Arc::new(context.data(fleet));
    let exporter = &context.programs().exporter;
    let trial = context.trial("fleet", exporter, &data, Behaviour::default(), &[]).await?;

    row.calls_of("exporter", Some(&trial));
    row.figures("wall seconds", [trial.wall.as_secs_f64()]);
    row.figures("CPU seconds", [trial.cpu_seconds]);
    row.figures("peak RSS bytes", [trial.peak_rss as f64]);
    let each = |calls: u64| calls as f64 / f64::from(tenants);
    let of = |kind: &str| each(trial.calls.get(kind).copied().unwrap_or(0));
    let shown = |calls: f64| format!("{calls:.3}");
    row.measure("calls a tenant", each(trial.calls_in_all()), Target::AtMost(CALLS), shown);
    for kind in ONCE {
        // Not fewer either: a trial in which a tenant is not exported fails.
        row.measure(kind, of(kind), Target::AtMost(1.0), shown);
    }
    for kind in trial.calls.keys().filter(|kind| !ONCE.contains(kind)) {
        row.tell(kind, of(kind), shown(of(kind)));
    }
    row.tell("wall time", trial.wall.as_secs_f64(), duration(trial.wall));
    row.tell("CPU time", trial.cpu_seconds, seconds(trial.cpu_seconds));
    row.tell(
        "CPU time a tenant",
        trial.cpu_seconds / f64::from(tenants),
        seconds(trial.cpu_seconds / f64::from(tenants)),
    );
    row.tell("peak memory", trial.peak_rss as f64, mebibytes(trial.peak_rss as f64));
    Ok(vec![row])
}
