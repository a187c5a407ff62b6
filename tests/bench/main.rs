//! `make bench`: measures the exporter's CPU time, memory and calls, and compares them with other programs'.
//!
//! The release binary runs under a Runtime API and against a fake AWS, both served by this program. In reading order:
//! [`options`] is the command line, [`data`] makes the events, [`world`] and [`server`] are the fake AWS, [`process`] runs a
//! program, [`trial`] is one invocation, [`check`] makes sure that no event is lost, [`rows`] are the comparisons, [`report`]
//! prints them. README.md explains the figures.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the bench isn't deployed and may read the clock")]
#![allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "figures are shown with three digits"
)]

mod check;
mod context;
mod data;
mod figures;
mod options;
mod plot;
mod process;
mod report;
mod row;
mod rows;
mod server;
mod trial;
mod world;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use audit_log_tests::project::repository;
use tokio::signal::unix::{SignalKind, signal};

use crate::context::Context;
use crate::data::Pool;
use crate::options::{Options, USAGE};
use crate::trial::Bench;

#[tokio::main]
async fn main() -> ExitCode {
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("bench: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Dropping a process kills it, so an interrupted run leaves none.
    let measured = tokio::select! {
        measured = measure(&options) => measured,
        interrupted = interrupted() => interrupted.map(|()| ExitCode::from(130)),
    };
    measured.unwrap_or_else(|error| {
        eprintln!("bench: {error:#}");
        ExitCode::FAILURE
    })
}

/// Waits for Ctrl-C or SIGTERM.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupted = tokio::signal::ctrl_c() => Ok(interrupted?),
    }
}

async fn measure(options: &Options) -> Result<ExitCode> {
    let bench = Bench { scratch: tempfile::Builder::new().prefix("bench-").tempdir()? };
    let context = Context { options, bench, pool: Arc::new(Pool::new()?), started: Instant::now() };
    let mut rows = Vec::new();
    for name in &options.rows {
        rows.extend(rows::measure(&context, name).await?);
    }
    println!();
    for line in report::lines(&rows) {
        println!("{}", format!("  {line}").trim_end());
    }
    let folder = repository().join("target/bench");
    let report = report::json(&rows, &options.programs, options.quick);
    report::write(&folder, "report.json", &format!("{report:#}\n"))?;
    let machine = report::caption(&report);
    report::write(&folder, "report.svg", &plot::svg(&rows, &machine))?;
    println!("  {machine}\n  target/bench/report.json has all figures, target/bench/report.svg shows them");
    Ok(ExitCode::SUCCESS)
}
