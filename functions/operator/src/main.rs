//! Erases a tenant that has left, with the operator's own credentials: `make erase`. No function of the platform has the
//! rights for it.
//!
//! Exits with 0 if the tenant is erased, or would be; 1 if it is not; 2 if the command line is wrong.

mod options;
#[cfg(test)]
mod tests;

use std::{
    io::{self, BufRead, Write},
    process::ExitCode,
};

use anyhow::{Error, Result, anyhow};
use audit_log_aws::Operator;
use audit_log_core::{
    erasure::{self, Obstacle, Outcome, Survey},
    failure::Failure,
    ports::{Erasure, Events},
};
use chrono::{DateTime, Utc};
use options::{Options, USAGE};

/// After how many erased items the progress is shown again.
const PROGRESS_ITEMS: u64 = 10_000;

#[tokio::main]
#[allow(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
async fn main() -> ExitCode {
    let options = match Options::from_arguments(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Operator { tenants, events } = audit_log_aws::operator(&options.tenants_table, &options.events_table).await;
    let console = Console { answers: io::stdin().lock(), screen: io::stdout() };
    match run(&tenants, &events, &options, Utc::now, console).await {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::Refused) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Done,
    /// The tenant is not erased: something is in the way, events are still recorded, or the operator did not confirm.
    Refused,
}

/// Where the operator answers and reads.
struct Console<R, W> {
    answers: R,
    screen: W,
}

async fn run(
    store: &impl Erasure,
    events: &impl Events,
    Options { tenant, dry_run, yes, .. }: &Options,
    now: impl Fn() -> DateTime<Utc>,
    Console { mut answers, mut screen }: Console<impl BufRead, impl Write>,
) -> Result<End> {
    writeln!(screen, "Counting what there is of the tenant {tenant} …")?;
    let survey = erasure::survey(store, events, tenant, now()).await.map_err(stopped)?;
    show(&survey, &mut screen)?;
    if survey.counts.total() == 0 && !survey.inventory.begun {
        writeln!(screen, "There is nothing to erase.")?;
        return Ok(End::Done);
    }
    if !survey.obstacles.is_empty() {
        return refuse(&survey.obstacles, &mut screen);
    }
    if *dry_run {
        writeln!(screen, "Nothing was erased (--dry-run).")?;
        return Ok(End::Done);
    }
    if !yes {
        write!(screen, "This can't be undone. Type the tenant's id to erase all of this: ")?;
        screen.flush()?;
        let mut typed = String::new();
        answers.read_line(&mut typed)?;
        if typed.trim_end_matches(['\r', '\n']) != tenant.as_str() {
            writeln!(screen, "\nNothing was erased: that is not the tenant's id.")?;
            return Ok(End::Refused);
        }
    }
    let mut shown = 0;
    let progress = |erased: &erasure::Counts| {
        if erased.total() / PROGRESS_ITEMS > shown {
            shown = erased.total() / PROGRESS_ITEMS;
            // A screen that is gone must not stop the erasure.
            let _ = writeln!(screen, "So far: {erased}");
        }
    };
    // The operator may have taken long to answer.
    match erasure::erase(store, tenant, now(), progress).await.map_err(stopped)? {
        Outcome::Erased(counts) => {
            writeln!(screen, "Erased: {counts}.")?;
            Ok(End::Done)
        }
        Outcome::StillRecorded(counts) => {
            writeln!(
                screen,
                "Erased so far: {counts}. Events of this tenant are still being recorded, so the erasure has not ended. Stop \
                 the services that record them, and run the command again."
            )?;
            Ok(End::Refused)
        }
        Outcome::Refused(obstacles) => refuse(&obstacles, &mut screen),
    }
}

fn stopped(failure: Failure) -> Error {
    anyhow!("{failure}\nThe erasure has stopped. Run the command again: it goes on with what is left.")
}

fn show(Survey { inventory, counts, undelivered, .. }: &Survey, screen: &mut impl Write) -> Result<()> {
    let bucket = inventory.records.config.as_ref().and_then(|config| config.bucket.as_deref());
    let bucket = bucket.map_or_else(|| "none".to_owned(), |bucket| format!("s3://{bucket}"));
    let until = inventory.delivered_until.as_deref();
    writeln!(screen, "  Bucket: {bucket}. Delivered until: {}.", until.unwrap_or("never"))?;
    writeln!(screen, "  There are: {counts}.")?;
    if *undelivered {
        writeln!(screen, "  Events that were recorded since were delivered nowhere. Once erased, they are lost.")?;
    }
    if inventory.begun {
        writeln!(screen, "  An erasure was begun and not finished. Until it is, nobody can connect the tenant.")?;
    }
    Ok(())
}

fn refuse(obstacles: &[Obstacle], screen: &mut impl Write) -> Result<End> {
    writeln!(screen, "The tenant can't be erased now:")?;
    for obstacle in obstacles {
        writeln!(screen, "- {obstacle}")?;
    }
    Ok(End::Refused)
}
