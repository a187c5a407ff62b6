//! The time until a process is ready for its first invocation.

use anyhow::Result;

use crate::context::Context;
use crate::figures::seconds;
use crate::process::{self, Program};
use crate::row::{Row, Target};

/// The exporter's startup divided by that of a function that does nothing.
const MAX_RATIO: f64 = 1.5;

/// No server listens there, so a program that calls AWS at its start fails.
const NO_SERVER: &str = "127.0.0.1:9";

/// Compares with a minimal Lambda function in Rust.
pub(super) async fn beside_hello(context: &Context<'_>) -> Result<Vec<Row>> {
    let repeats = context.amount(51, 21);
    let setting = format!("from the spawn of the process to its first request for an invocation, {repeats} times");
    let mut row = Row::new("startup", "Start, beside a function that does nothing", setting);
    let programs = [&context.programs().exporter, &context.programs().hello];
    let mut starts = [vec![], vec![]];
    for _ in 0..repeats {
        for (program, starts) in programs.iter().zip(&mut starts) {
            starts.push(once(context, program).await?);
        }
    }
    let [exporter, hello] = starts;
    let exporter = row.figures("exporter seconds", exporter);
    let hello = row.figures("hello seconds", hello);
    context.log_progress(&format!("startup: exporter {}, hello {}", seconds(exporter.median), seconds(hello.median)));
    row.show("exporter", exporter.median, exporter.show(seconds));
    row.show("hello", hello.median, hello.show(seconds));
    row.ratio("ratio", exporter.median / hello.median, Target::AtMost(MAX_RATIO));
    Ok(vec![row])
}

async fn once(context: &Context<'_>, program: &Program) -> Result<f64> {
    let process = process::start(program, NO_SERVER, &[], context.bench.scratch()).await?;
    let startup = process.startup.as_secs_f64();
    process.stop().await?;
    Ok(startup)
}
