//! From nothing to being ready for the first invocation.

use anyhow::Result;

use crate::context::Context;
use crate::figures::seconds;
use crate::process::{self, Program};
use crate::row::{Row, Target};

/// How much longer than a function that does nothing.
const LONGER: f64 = 1.5;

/// Nobody is there: a program that calls AWS before it is invoked does not get far.
const NOWHERE: &str = "127.0.0.1:9";

/// Beside the least that a Lambda function in Rust can be.
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
    context.say(&format!("startup: exporter {}, hello {}", seconds(exporter.median), seconds(hello.median)));
    row.tell("exporter", exporter.median, exporter.show(seconds));
    row.tell("hello", hello.median, hello.show(seconds));
    row.ratio("ratio", exporter.median / hello.median, Target::AtMost(LONGER));
    Ok(vec![row])
}

async fn once(context: &Context<'_>, program: &Program) -> Result<f64> {
    let process = process::start(program, NOWHERE, &[], context.bench.scratch()).await?;
    let startup = process.startup.as_secs_f64();
    process.stop().await?;
    Ok(startup)
}
