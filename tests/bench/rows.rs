//! The rows of the report: what is compared, and the targets.

use std::sync::Arc;

use anyhow::{Result, bail};
use serde_json::json;

use crate::data::Data;
use crate::report::Report;
use crate::run::{Bench, Program, cpu_seconds, invoke};

pub(crate) const NAMES: &str = "startup,throughput,slow,fleet,memory";

pub(crate) async fn measure(bench: &Bench, report: &mut Report, name: &str) -> Result<()> {
    println!("\n  {name}");
    match name {
        "startup" => startup(bench, report).await,
        "throughput" => throughput(bench, report).await,
        "slow" => slow(bench, report).await,
        "fleet" => fleet(bench, report).await,
        "memory" => memory(bench, report).await,
        _ => bail!("there is no such row, only {NAMES}"),
    }
}

/// Measures from the spawn to the first request for an invocation, and the console's first page.
async fn startup(bench: &Bench, report: &mut Report) -> Result<()> {
    let programs: Vec<_> = ["hello", "console", "exporter"].iter().flat_map(|kind| bench.of(kind)).collect();
    let mut starts = vec![(vec![], vec![]); programs.len()];
    for _ in 0..bench.amount(51, 5) {
        for (program, (walls, cpus)) in programs.iter().zip(&mut starts) {
            // No server listens there, so a program that calls AWS at its start fails.
            let mut process = bench.start(program, "http://127.0.0.1:9").await?;
            walls.push(process.startup.as_secs_f64() * 1e3);
            if program.kind == "console" {
                let page = json!({ "http": { "method": "GET", "path": "/v1/openapi.json" } });
                let page = json!({ "version": "2.0", "rawPath": "/v1/openapi.json", "requestContext": page });
                invoke(&mut process, &page).await?;
            }
            cpus.push(cpu_seconds(&process)? * 1e3);
            process.stop().await?;
        }
    }
    let mut hello = f64::NAN;
    for (program, (walls, cpus)) in programs.into_iter().zip(starts) {
        let wall = report.add(format!("{}, start", program.name), "ms", walls, None);
        let (with, most) = if program.kind == "console" { (" with a page", Some(('≤', 60.0))) } else { ("", None) };
        report.add(format!("{}, CPU{with}", program.name), "ms", cpus, most);
        if program.kind == "hello" {
            hello = wall;
        } else if program.kind == "exporter" {
            report.add(format!("{} / hello", program.name), "x", vec![wall / hello], Some(('≤', 1.5)));
        }
    }
    Ok(())
}

async fn throughput(bench: &Bench, report: &mut Report) -> Result<()> {
    for (gzip, suffix, least) in [(false, "", 20.0), (true, ", gzip", 4.0)] {
        let programs = bench.of("exporter").chain(bench.of("boto3")).cloned();
        let programs =
            programs.map(|program| Program { name: format!("{}{suffix}", program.name), ..program }).collect();
        compare(bench, report, programs, Data::new(1, 1, bench.amount(400_000, 60_000), gzip), least).await?;
    }
    Ok(())
}

/// Measures as AWS answers.
async fn slow(bench: &Bench, report: &mut Report) -> Result<()> {
    let slow = |program: &Program| {
        let name = format!("{}, slow", program.name);
        Program { name, tls: true, slow: true, ..program.clone() }
    };
    let mut programs: Vec<_> = bench.of("exporter").map(slow).collect();
    for program in bench.of("exporter").map(slow) {
        let settings = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=3538".to_owned();
        programs.push(Program { name: format!("{}, two vCPUs", program.name), settings, ..program });
    }
    programs.extend(bench.of("boto3").map(slow));
    compare(bench, report, programs, Data::new(1, 16, bench.amount(160_000, 64_000), false), 12.0).await
}

/// Compares events per CPU second with those of boto3, the last of the programs.
async fn compare(
    bench: &Bench,
    report: &mut Report,
    programs: Vec<Program>,
    data: Arc<Data>,
    least: f64,
) -> Result<()> {
    for program in &programs {
        bench.check(program, &data).await?;
    }
    let mut rates = vec![vec![]; programs.len()];
    for _ in 0..bench.amount(5, 1) {
        // Alternately, so that other load on the machine affects all of them.
        for (program, rates) in programs.iter().zip(&mut rates) {
            rates.push(data.events() as f64 / bench.export(program, &data).await?.cpu_seconds);
        }
    }
    let mut medians = vec![];
    for (program, rates) in programs.into_iter().zip(rates) {
        let median = report.add(format!("{}, events a CPU second", program.name), "", rates, None);
        medians.push((program, median));
    }
    let Some((_, boto3)) = medians.pop_if(|(program, _)| program.kind == "boto3") else { return Ok(()) };
    for (program, median) in medians {
        report.add(format!("{} / boto3", program.name), "x", vec![median / boto3], Some(('≥', least)));
    }
    Ok(())
}

async fn fleet(bench: &Bench, report: &mut Report) -> Result<()> {
    let tenants = bench.amount(10_000, 2_000);
    let data = Data::new(tenants, 1, 3, false);
    for (tls, suffix, most) in [(false, "", Some(('≤', 1.0))), (true, ", TLS", None)] {
        let named = |program: &Program| Program { tls, name: format!("{}{suffix}", program.name), ..program.clone() };
        let programs: Vec<_> = bench.of("exporter").map(named).collect();
        let mut costs = vec![(vec![], vec![]); programs.len()];
        for _ in 0..bench.amount(3, 1) {
            for (program, (cpu, calls)) in programs.iter().zip(&mut costs) {
                let trial = bench.export(program, &data).await?;
                cpu.push(trial.cpu_seconds * 1e3 / tenants as f64);
                calls.push(trial.calls.values().sum::<usize>() as f64 / tenants as f64);
            }
        }
        for (program, (cpu, calls)) in programs.iter().zip(costs) {
            report.add(format!("{}, CPU an export", program.name), "ms", cpu, most);
            report.add(format!("{}, calls an export", program.name), "", calls, Some(('≤', 5.1)));
        }
    }
    Ok(())
}

async fn memory(bench: &Bench, report: &mut Report) -> Result<()> {
    for program in bench.of("exporter") {
        let mut peaks = vec![];
        for (events, most) in [(100_000, None), (bench.amount(10_000_000, 1_000_000), Some(('≤', 64.0)))] {
            let (data, mut each) = (Data::new(1, 1, events, false), vec![]);
            for _ in 0..bench.amount(3, 1) {
                each.push(bench.export(program, &data).await?.peak_mebibytes);
            }
            peaks.push(report.add(format!("{}, peak of {events} events", program.name), "MiB", each, most));
        }
        report.add(format!("{}, growth", program.name), "x", vec![peaks[1] / peaks[0]], Some(('≤', 1.1)));
    }
    Ok(())
}
