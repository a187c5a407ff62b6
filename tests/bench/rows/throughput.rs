//! Events per CPU second from Query to PUT, of one tenant's window, plain and compressed.

use std::sync::Arc;

use anyhow::Result;

use crate::context::Context;
use crate::figures::{Figures, count};
use crate::process::Program;
use crate::row::{Row, Target};
use crate::trial::Trial;
use crate::world::{Behavior, Tenant};

/// Targets: the exporter's throughput divided by the other's.
const MIN_RATIO_TO_BOTO3: f64 = 20.0;
const MIN_RATIO_TO_STOCK: f64 = 2.0;
const MIN_RATIO_TO_BOTO3_WITH_GZIP: f64 = 4.0;
const MIN_RATIO_OF_OCSF_TO_NATIVE: f64 = 0.5;

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

    /// The bytes that S3 received, the same in every trial.
    fn stored_bytes(&self) -> f64 {
        self.trials.first().map_or(f64::NAN, |trial| trial.stored_bytes as f64)
    }
}

/// Runs the programs alternately, so that other load on the machine affects all of them.
async fn alternate<'a>(
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
            trials.push(context.trial(&doing, program, &data, Behavior::default(), &[]).await?);
        }
    }
    Ok(measured)
}

/// Compares with the baseline, and with the exporter that decodes by the SDK.
pub(super) async fn plain(context: &Context<'_>) -> Result<Vec<Row>> {
    let programs = context.programs();
    let mut compared = vec![&programs.exporter, &programs.baseline];
    compared.extend(&programs.stock);
    context.check(&compared, context.data(vec![Tenant::new("acme", 100_000, 1)])).await?;
    let events = context.amount(400_000, 60_000);
    let repeats = context.amount(5, 2);
    let measured = alternate(context, "throughput", &compared, Tenant::new("acme", events, 1), repeats).await?;

    let setting = format!("one tenant, one window of {} events", count(events as f64));
    let mut beside_boto3 = Row::new("throughput", "Events per CPU second, beside boto3", setting.clone());
    let mut beside_stock = Row::new("stock", "Events per CPU second, beside the stock SDK's decoding", setting);
    let [exporter, baseline, rest @ ..] = &measured[..] else { return Ok(vec![]) };
    let ours = exporter.throughput(&mut beside_boto3);
    let theirs = baseline.throughput(&mut beside_boto3);
    beside_boto3.show("exporter", ours.median, ours.show(count));
    beside_boto3.show("boto3", theirs.median, theirs.show(count));
    beside_boto3.ratio("ratio", ours.median / theirs.median, Target::AtLeast(MIN_RATIO_TO_BOTO3));
    if let [stock, ..] = rest {
        exporter.throughput(&mut beside_stock);
        let theirs = stock.throughput(&mut beside_stock);
        beside_stock.show("exporter", ours.median, ours.show(count));
        beside_stock.show("stock", theirs.median, theirs.show(count));
        beside_stock.ratio("ratio", ours.median / theirs.median, Target::AtLeast(MIN_RATIO_TO_STOCK));
    } else {
        beside_stock.notes.push("no exporter was built with the feature stock-decoding".to_owned());
    }
    Ok(vec![beside_boto3, beside_stock])
}

/// Compares with the baseline, both with gzip.
pub(super) async fn gzip(context: &Context<'_>) -> Result<Vec<Row>> {
    let compared = [&context.programs().exporter, &context.programs().baseline];
    context.check(&compared, context.data(vec![Tenant::new("acme", 20_000, 1).gzipped()])).await?;
    let events = context.amount(200_000, 40_000);
    let repeats = context.amount(5, 2);
    let measured = alternate(context, "gzip", &compared, Tenant::new("acme", events, 1).gzipped(), repeats).await?;

    let setting = format!("one tenant, one window of {} events, gzip on both sides", count(events as f64));
    let mut row = Row::new("gzip", "Events per CPU second with gzip, beside boto3 with gzip", setting);
    let [exporter, baseline] = &measured[..] else { return Ok(vec![]) };
    let (ours, theirs) = (exporter.throughput(&mut row), baseline.throughput(&mut row));
    row.show("exporter", ours.median, ours.show(count));
    row.show("boto3", theirs.median, theirs.show(count));
    row.ratio("ratio", ours.median / theirs.median, Target::AtLeast(MIN_RATIO_TO_BOTO3_WITH_GZIP));
    let size = exporter.stored_bytes() / baseline.stored_bytes();
    row.measure("size ratio", size, Target::AtMost(1.0), |ratio| format!("{ratio:.3}"));
    Ok(vec![row])
}

/// Compares OCSF with native events. `make ocsf` and the tests of the core check the events; here, only time counts.
pub(super) async fn ocsf(context: &Context<'_>) -> Result<Vec<Row>> {
    let (events, repeats) = (context.amount(200_000, 40_000), context.amount(5, 2));
    let tenant = Tenant::new("acme", events, 1);
    let data = [tenant.clone(), tenant.in_ocsf()].map(|tenant| Arc::new(context.data(vec![tenant]).prepared()));
    let program = &context.programs().exporter;
    let mut measured = [(); 2].map(|()| Measured { program, trials: vec![] });
    for repeat in 1..=repeats {
        for (Measured { trials, .. }, data) in measured.iter_mut().zip(&data) {
            trials.push(
                context.trial(&format!("ocsf {repeat}/{repeats}"), program, data, Behavior::default(), &[]).await?,
            );
        }
    }

    let setting = format!("one tenant, one window of {} events", count(events as f64));
    let mut row = Row::new("ocsf", "Events per CPU second in OCSF, beside native ones", setting);
    let [(native, native_bytes), (ocsf, ocsf_bytes)] = measured.map(|measured| {
        let bytes = measured.stored_bytes();
        (Figures::new(measured.trials.iter().map(Trial::events_per_cpu_second)), bytes)
    });
    row.show("OCSF", ocsf.median, ocsf.show(count));
    row.show("native", native.median, native.show(count));
    row.ratio("ratio", ocsf.median / native.median, Target::AtLeast(MIN_RATIO_OF_OCSF_TO_NATIVE));
    let size = ocsf_bytes / native_bytes;
    row.show("size ratio", size, format!("{size:.2}"));
    Ok(vec![row])
}
