//! Memory must not grow with the window.

use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::context::Context;
use crate::data::MAX_EVENTS_PER_SHARD;
use crate::figures::{count, mebibytes};
use crate::row::{Row, Target};
use crate::world::{Behavior, Tenant};

/// For a hundred times the events.
const MAX_GROWTH: f64 = 1.1;
/// Lambda's smallest memory size.
const MAX_PEAK_BYTES: f64 = (128 << 20) as f64;

/// Compares a very large window with a small one. The large one runs once, and its pages are made meanwhile, since they
/// don't fit into memory.
pub(super) async fn growth(context: &Context<'_>) -> Result<Vec<Row>> {
    let (small, large) = (100_000, context.amount(10_000_000, 1_000_000));
    ensure!(large <= MAX_EVENTS_PER_SHARD, "a shard can't have so many events");
    let setting = format!("one window of {} events beside one of {}", count(large as f64), count(small as f64));
    let mut row = Row::new("memory", "Peak memory of a very large window", setting);
    let exporter = &context.programs().exporter;

    let data = Arc::new(context.data(vec![Tenant::new("acme", small, 1)]).prepared());
    let mut peaks = Vec::new();
    for repeat in 1..=3 {
        let doing = format!("memory, small window {repeat}/3");
        peaks.push(context.trial(&doing, exporter, &data, Behavior::default(), &[]).await?.peak_rss as f64);
    }
    let small = row.figures("small window peak RSS bytes", peaks);

    let data = Arc::new(context.data(vec![Tenant::new("acme", large, 1)]));
    context.log_progress(&format!("memory: exporting {} events, which takes a while", count(large as f64)));
    let trial = context.trial("memory, large window", exporter, &data, Behavior::default(), &[]).await?;
    row.calls_of("exporter, large window", Some(&trial));
    row.figures("large window wall seconds", [trial.wall.as_secs_f64()]);
    row.figures("large window events per CPU second", [trial.events_per_cpu_second()]);
    let large = row.figures("large window peak RSS bytes", [trial.peak_rss as f64]);

    row.show("small window", small.median, small.show(mebibytes));
    row.measure("large window", large.median, Target::AtMost(MAX_PEAK_BYTES), mebibytes);
    row.ratio("growth", large.median / small.median, Target::AtMost(MAX_GROWTH));
    Ok(vec![row])
}
