//! What the signed manifest of a window costs.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::context::Context;
use crate::figures::{Figures, count, seconds};
use crate::row::{Row, Target};
use crate::server::kms;
use crate::trial::Trial;
use crate::world::{Behavior, Dataset, Tenant};

/// Those of an export, and a Sign and a PUT.
const MAX_CALLS_PER_WINDOW: f64 = 7.05;
/// CPU of a large window with its manifest divided by that without.
const MAX_RATIO_OF_A_LARGE_WINDOW: f64 = 1.05;

const EVENTS_PER_SMALL_WINDOW: u64 = 3;

/// Compares windows with and without manifests: many small ones, and a large one.
pub(super) async fn on_and_off(context: &Context<'_>) -> Result<Vec<Row>> {
    let (tenants, events): (u32, u64) = (context.amount(3_000, 500), context.amount(400_000, 60_000));
    let setting = format!(
        "{} windows of {EVENTS_PER_SMALL_WINDOW} events, and one of {} events, with and without manifests",
        count(f64::from(tenants)),
        count(events as f64)
    );
    let mut row = Row::new("manifests", "CPU and calls of a signed manifest", setting);
    check(context).await?;
    let fleet = |number| Tenant::new(format!("tenant-{number:05}"), EVENTS_PER_SMALL_WINDOW, 1);
    let small = alternate(context, "small windows", context.data((0..tenants).map(fleet).collect())).await?;
    let large = alternate(context, "large window", context.data(vec![Tenant::new("acme", events, 1)])).await?;

    let [without, with] = per(&mut row, "a window", &small, f64::from(tenants));
    row.show("a window, without", without.median, without.show(seconds));
    row.show("a window, with", with.median, with.show(seconds));
    show_difference(&mut row, "a window, difference", without.median, with.median);
    let [without, with] = per(&mut row, "an event", &large, events as f64);
    row.show("an event, without", without.median, without.show(nanoseconds));
    row.show("an event, with", with.median, with.show(nanoseconds));
    show_difference(&mut row, "an event, difference", without.median, with.median);
    row.ratio("large window, ratio", with.median / without.median, Target::AtMost(MAX_RATIO_OF_A_LARGE_WINDOW));

    let [without, with] = &small;
    row.calls_of("without", without.first());
    row.calls_of("with", with.first());
    let (Some(without), Some(with)) = (without.first(), with.first()) else { return Ok(vec![]) };
    let each = |calls: u64| calls as f64 / f64::from(tenants);
    let of = |kind: &str| each(with.calls.get(kind).copied().unwrap_or(0));
    let shown = |calls: f64| format!("{calls:.3}");
    row.measure("calls a window", each(with.total_calls()), Target::AtMost(MAX_CALLS_PER_WINDOW), shown);
    row.measure("Sign", of("Sign"), Target::AtMost(1.0), shown);
    row.measure("PutObject", of("PutObject"), Target::AtMost(2.0), shown);
    let keys = with.calls.get("GetPublicKey").copied().unwrap_or(0);
    row.measure("GetPublicKey, in all", keys as f64, Target::AtMost(1.0), count);
    let bytes = each(with.stored_bytes) - each(without.stored_bytes);
    row.show("bytes a manifest", bytes, count(bytes));
    Ok(vec![row])
}

/// The environment that switches manifests on.
fn with_key() -> [(&'static str, String); 2] {
    [("MANIFEST_KEY_ARN", kms::KEY_ARN.to_owned()), ("MANIFEST_KEY_NAME", kms::KEY_NAME.to_owned())]
}

/// Trials without and with manifests, alternately, so that other load on the machine affects both.
async fn alternate(context: &Context<'_>, doing: &str, data: Dataset) -> Result<[Vec<Trial>; 2]> {
    let data = Arc::new(data.prepared());
    let repeats = context.amount(7, 2);
    let exporter = &context.programs().exporter;
    let mut trials = [vec![], vec![]];
    for repeat in 1..=repeats {
        for (name, trials) in ["without", "with"].iter().zip(&mut trials) {
            let doing = format!("manifests {repeat}/{repeats}, {doing} {name}");
            let settings = with_key();
            let settings = if *name == "with" { &settings[..] } else { &[] };
            trials.push(context.trial(&doing, exporter, &data, Behavior::default(), settings).await?);
        }
    }
    Ok(trials)
}

/// CPU seconds divided by a number of windows or events, without and with manifests.
fn per(row: &mut Row, one: &str, trials: &[Vec<Trial>; 2], number: f64) -> [Figures; 2] {
    let [without, with] = trials;
    [("without", without), ("with", with)].map(|(name, trials)| {
        let values = trials.iter().map(|trial| trial.cpu_seconds / number);
        row.figures(format!("{name} CPU seconds {one}"), values)
    })
}

fn show_difference(row: &mut Row, what: &'static str, without: f64, with: f64) {
    let microseconds = (with - without) * 1e6;
    row.show(what, with - without, format!("{microseconds:+.3} µs"));
}

fn nanoseconds(seconds: f64) -> String {
    format!("{:.0} ns", seconds * 1e9)
}

/// Makes sure that each tenant has one manifest with a signature, and that it lists the checksums of all other objects.
async fn check(context: &Context<'_>) -> Result<()> {
    let tenants = [("acme", 100_000), ("globex", EVENTS_PER_SMALL_WINDOW)];
    let data = Arc::new(context.data(tenants.map(|(id, events)| Tenant::new(id, events, 1)).to_vec()));
    let behavior = Behavior { keep_objects: true, ..Behavior::default() };
    // Small objects, so that a manifest lists several.
    let settings: Vec<_> = with_key().into_iter().chain([("MAX_OBJECT_BYTES", (24 << 20).to_string())]).collect();
    let exporter = &context.programs().exporter;
    let trial = context.trial("manifests, checked", exporter, &data, behavior, &settings).await?;
    for (tenant, events) in tenants {
        check_tenant(tenant, events, &trial.objects).with_context(|| format!("the manifest of {tenant}"))?;
    }
    context.log_progress("manifests list all objects");
    Ok(())
}

fn check_tenant(tenant: &str, events: u64, objects: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let folder = format!("tenant={tenant}/");
    let paths = objects.iter().filter_map(|(key, bytes)| {
        let key = key.replace("%3D", "=");
        key.split_once(&folder).map(|(_, path)| (path.to_owned(), bytes))
    });
    let (mut manifests, files): (Vec<_>, Vec<_>) = paths.partition(|(path, _)| path.ends_with(".manifest"));
    let (_, note) = manifests.pop().filter(|_| manifests.is_empty()).context("there isn't exactly one")?;
    let (text, signature) = std::str::from_utf8(note)?.split_once("\n\n").context("it isn't signed")?;
    ensure!(signature.starts_with(&format!("\u{2014} {} ", kms::KEY_NAME)), "it is signed by another key");
    ensure!(text.contains(&format!("\nevents {events} ")), "it has another number of events");
    let listed: BTreeMap<&str, &str> = text.lines().skip(5).filter_map(|line| line.split_once("  ")).collect();
    ensure!(listed.len() == files.len(), "it lists {} of {} files", listed.len(), files.len());
    for (path, bytes) in files {
        let checksum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(listed.get(&*checksum) == Some(&&*path), "it doesn't list {path} with its checksum");
    }
    Ok(())
}
