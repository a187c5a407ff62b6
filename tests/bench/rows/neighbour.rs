//! Small tenants beside a very large one.

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{count, percentile, seconds};
use crate::row::{Row, Target};
use crate::trial::Trial;
use crate::world::{Behaviour, Tenant};

/// How much longer the last of the small ones may wait.
const LONGER: f64 = 1.2;

const SMALL_TENANTS: u32 = 500;
const SMALL_EVENTS: u64 = 200;

/// The large one's id; in the midst of the others', whatever order a program takes them in.
const LARGE: &str = "small-0250-large";

/// From the tick to the commit of the small tenants, with the large one and without.
pub(super) async fn latency(context: &Context<'_>) -> Result<Vec<Row>> {
    let large = context.amount(2_000_000, 400_000);
    let setting = format!(
        "{SMALL_TENANTS} tenants with {SMALL_EVENTS} events each, with and without a neighbour with {}",
        count(large as f64)
    );
    let mut row = Row::new("neighbour", "From the tick to a small tenant's commit, p99", setting);
    let small = || (0..SMALL_TENANTS).map(|number| Tenant::new(format!("small-{number:04}"), SMALL_EVENTS, 1));
    let alone = context.data(small().collect()).prepared();
    let beside = context.data(small().chain([Tenant::new(LARGE, large, 1)]).collect()).prepared();
    let datasets = [("alone", Arc::new(alone)), ("beside a large one", Arc::new(beside))];
    let mut waits = [vec![], vec![]];
    let exporter = &context.programs().exporter;
    let repeats = context.amount(5, 2);
    for repeat in 1..=repeats {
        for ((name, data), waits) in datasets.iter().zip(&mut waits) {
            let doing = format!("neighbour {repeat}/{repeats}, {name}");
            let trial = context.trial(&doing, exporter, data, Behaviour::default(), &[]).await?;
            waits.push(p99(&trial));
        }
    }
    let [alone, beside] = waits;
    let alone = row.figures("alone p99 seconds", alone);
    let beside = row.figures("beside a large one p99 seconds", beside);
    row.tell("alone", alone.median, alone.show(seconds));
    row.tell("beside a large one", beside.median, beside.show(seconds));
    row.ratio("ratio", beside.median / alone.median, Target::AtMost(LONGER));
    Ok(vec![row])
}

/// Of the small tenants alone.
fn p99(trial: &Trial) -> f64 {
    let small = trial.commits.iter().filter(|(tenant, _)| *tenant != LARGE);
    let waits: Vec<f64> = small.map(|(_, wait)| wait.as_secs_f64()).collect();
    percentile(&waits, 0.99)
}
