//! A tenant with events in several partitions, each with DynamoDB's throughput limit.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{Figures, count, seconds};
use crate::row::{Row, Target};
use crate::world::{Behavior, Tenant};

/// The time with one shard divided by the time with eight.
const MIN_SPEEDUP: f64 = 7.0;

/// A partition has 3,000 read units a second, and a consistent page of 1 MB takes 256 of them: "Read and write operations"
/// and "Partitions" in the DynamoDB developer guide.
const PACE: Duration = Duration::from_millis(85);

/// Compares eight shards with one, with the same events.
pub(super) async fn parallel(context: &Context<'_>) -> Result<Vec<Row>> {
    let events = context.amount(400_000, 100_000);
    let setting =
        format!("{} events in eight partitions beside one, a page every 85 ms from each", count(events as f64));
    let mut row = Row::new("shards", "Wall time of a tenant in eight shards", setting);
    let behavior = Behavior { pace: Some(PACE), ..Behavior::default() };
    let data = |shards| Arc::new(context.data(vec![Tenant::new("acme", events, shards)]).prepared());
    let exporter = &context.programs().exporter;
    context.check(&[exporter], context.data(vec![Tenant::new("acme", 60_000, 8)])).await?;
    let datasets = [("one shard", data(1)), ("eight shards", data(8))];
    let mut walls = [vec![], vec![]];
    let repeats = context.amount(3, 1);
    for repeat in 1..=repeats {
        for ((name, data), walls) in datasets.iter().zip(&mut walls) {
            let doing = format!("shards {repeat}/{repeats}, {name}");
            let trial = context.trial(&doing, exporter, data, behavior, &[]).await?;
            walls.push(trial.wall.as_secs_f64());
            row.calls_of(*name, Some(&trial));
        }
    }
    let [one, eight] = walls;
    let one: Figures = row.figures("one shard wall seconds", one);
    let eight: Figures = row.figures("eight shards wall seconds", eight);
    row.show("one shard", one.median, one.show(seconds));
    row.show("eight shards", eight.median, eight.show(seconds));
    row.ratio("ratio", one.median / eight.median, Target::AtLeast(MIN_SPEEDUP));
    Ok(vec![row])
}
