//! The latency of small tenants beside a very large one.

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{count, percentile, seconds};
use crate::row::{Row, Target};
use crate::trial::Trial;
use crate::world::{Behavior, Tenant};

/// The p99 with the large tenant, divided by the p99 without it.
const MAX_RATIO: f64 = 1.2;

const SMALL_TENANTS: u32 = 500;
const SMALL_EVENTS: u64 = 200;

/// In the middle of the tenants by id, since a program may export them in any order.
const LARGE: &str = "small-0250-large";

/// The time from the tick to the small tenants' commits, with and without the large tenant.
pub(super) async fn latency(context: &Context<'_>) -> Result<Vec<Row>> {
    let large = context.amount(2_000_000, 400_000);
    let setting = format!(
        "{SMALL_TENANTS} tenants with {SMALL_EVENTS} events each, with and without a neighbor with {}",
        count(large as f64)
    );
    let mut row = Row::new("neighbor", "From the tick to a small tenant's commit, p99", setting);
    let small = || (0..SMALL_TENANTS).map(|number| Tenant::new(format!("small-{number:04}"), SMALL_EVENTS, 1));
    let alone = context.data(small().collect()).prepared();
    let beside = context.data(small().chain([Tenant::new(LARGE, large, 1)]).collect()).prepared();
    let datasets = [("alone", Arc::new(alone)), ("beside a large one", Arc::new(beside))];
    let mut waits = [vec![], vec![]];
    let exporter = &context.programs().exporter;
    let repeats = context.amount(5, 2);
    for repeat in 1..=repeats {
        for ((name, data), waits) in datasets.iter().zip(&mut waits) {
            let doing = format!("neighbor {repeat}/{repeats}, {name}");
            let trial = context.trial(&doing, exporter, data, Behavior::default(), &[]).await?;
            waits.push(p99(&trial));
        }
    }
    let [alone, beside] = waits;
    let alone = row.figures("alone p99 seconds", alone);
    let beside = row.figures("beside a large one p99 seconds", beside);
    row.show("alone", alone.median, alone.show(seconds));
    row.show("beside a large one", beside.median, beside.show(seconds));
    row.ratio("ratio", beside.median / alone.median, Target::AtMost(MAX_RATIO));
    Ok(vec![row])
}

/// Of the small tenants.
fn p99(trial: &Trial) -> f64 {
    let small = trial.commits.iter().filter(|(tenant, _)| *tenant != LARGE);
    let waits: Vec<f64> = small.map(|(_, wait)| wait.as_secs_f64()).collect();
    percentile(&waits, 0.99)
}
