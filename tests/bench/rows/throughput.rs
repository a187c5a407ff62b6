//! Events per CPU second from Query to PUT, one tenant with one window: plain and compressed.

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{Figures, count};
use crate::process::Program;
use crate::row::{Row, Target};
use crate::trial::Trial;
use crate::world::{Behaviour, Tenant};

/// What is wanted: so many times the events of the baseline for the same CPU time.
const BESIDE_BOTO3: f64 = 20.0;
const BESIDE_STOCK: f64 = 2.0;
const BESIDE_BOTO3_WITH_GZIP: f64 = 4.0;

/// A program's trials.
struct Measured<'a> {
    program: &'a Program,
    trials: Vec<Trial>,
}

impl Measured<'_> {
    fn throughput(&self, row: &mut Row) -> Figures {
        row.calls_of(self.program.name, self.trials.first());
        let of = |what: &str| format!("{} {what}", self.program.name);
        row.figures(of("CPU seconds"), self.trials.iter().map(|trial| trial.cpu_seconds));
        row.figures(of("wall seconds"), self.trials.iter().map(|trial| trial.wall.as_secs_f64()));
        row.figures(of("stored bytes"), self.trials.iter().map(|trial| trial.stored_bytes as f64));
        row.figures(of("peak RSS bytes"), self.trials.iter().map(|trial| trial.peak_rss as f64));
        row.figures(of("events per CPU second"), self.trials.iter().map(Trial::events_per_cpu_second))
    }

    /// The bytes that S3 took, which are the same in every trial.
    fn stored_bytes(&self) -> f64 {
        self.trials.first().map_or(f64::NAN, |trial| trial.stored_bytes as f64)
    }
}

/// Runs the programs in turns, so that whatever else happens on the machine happens to all of them.
async fn in_turns<'a>(
    context: &Context<'_>,
    doing: &str,
    programs: &[&'a Program],
    tenant: Tenant,
    repeats: usize,
) -> Result<Vec<Measured<'a>>> {
    let data = Arc::new(context.data(vec![tenant]).prepared());
    let mut measured: Vec<_> = programs.iter().map(|&program| Measured { program, trials: vec![] }).collect();
    for repeat in 1..=repeats {
        for Measured { program, trials } in &mut measured {
            let doing = format!("{doing} {repeat}/{repeats}");
            trials.push(context.trial(&doing, program, &data, Behaviour::default(), &[]).await?);
        }
    }
    Ok(measured)
}

/// Beside the baseline, and beside the exporter with the SDK's own decoding.
pub(super) async fn plain(context: &Context<'_>) -> Result<Vec<Row>> {
    let programs = context.programs();
    let mut compared = vec![&programs.exporter, &programs.baseline];
    compared.extend(&programs.stock);
    context.check(&compared, context.data(vec![Tenant::new("acme", 100_000, 1)])).await?;
    let events = context.amount(400_000, 60_000);
    let repeats = context.amount(5, 2);
    let measured = in_turns(context, "throughput", &compared, Tenant::new("acme", events, 1), repeats).await?;

    let setting = format!("one tenant, one window of {} events", count(events as f64));
    let mut beside_boto3 = Row::new("throughput", "Events per CPU second, beside boto3", setting.clone());
    let mut beside_stock = Row::new("stock", "Events per CPU second, beside the stock SDK's decoding", setting);
    let [exporter, baseline, rest @ ..] = &measured[..] else { return Ok(vec![]) };
    let ours = exporter.throughput(&mut beside_boto3);
    let theirs = baseline.throughput(&mut beside_boto3);
    beside_boto3.tell("exporter", ours.median, ours.show(count));
    beside_boto3.tell("boto3", theirs.median, theirs.show(count));
    beside_boto3.ratio("ratio", ours.median / theirs.median, Target::AtLeast(BESIDE_BOTO3));
    if let [stock, ..] = rest {
        exporter.throughput(&mut beside_stock);
        let theirs = stock.throughput(&mut beside_stock);
        beside_stock.tell("exporter", ours.median, ours.show(count));
        beside_stock.tell("stock", theirs.median, theirs.show(count));
        beside_stock.ratio("ratio", ours.median / theirs.median, Target::AtLeast(BESIDE_STOCK));
    } else {
        beside_stock.notes.push("there is no feature stock-decoding to build the other exporter with".to_owned());
    }
    Ok(vec![beside_boto3, beside_stock])
}

/// Beside the baseline, both with gzip.
pub(super) async fn gzip(context: &Context<'_>) -> Result<Vec<Row>> {
    let compared = [&context.programs().exporter, &context.programs().baseline];
    context.check(&compared, context.data(vec![Tenant::new("acme", 20_000, 1).gzipped()])).await?;
    let events = context.amount(200_000, 40_000);
    let repeats = context.amount(5, 2);
    let measured = in_turns(context, "gzip", &compared, Tenant::new("acme", events, 1).gzipped(), repeats).await?;

    let setting = format!("one tenant, one window of {} events, gzip on both sides", count(events as f64));
    let mut row = Row::new("gzip", "Events per CPU second with gzip, beside boto3 with gzip", setting);
    let [exporter, baseline] = &measured[..] else { return Ok(vec![]) };
    let (ours, theirs) = (exporter.throughput(&mut row), baseline.throughput(&mut row));
    row.tell("exporter", ours.median, ours.show(count));
    row.tell("boto3", theirs.median, theirs.show(count));
    row.ratio("ratio", ours.median / theirs.median, Target::AtLeast(BESIDE_BOTO3_WITH_GZIP));
    let size = exporter.stored_bytes() / baseline.stored_bytes();
    row.measure("size ratio", size, Target::AtMost(1.0), |ratio| format!("{ratio:.3}"));
    Ok(vec![row])
}
