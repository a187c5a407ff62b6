//! `make demo`: a day of exports on a local AWS, and the proof that nothing was lost.
//!
//! In reading order: [`tenants`] describes the tenants, [`setup`] deploys both sides, connects the tenants through the API
//! and records events, [`open_role`] tries to connect an unsafe role, [`day`] runs the hourly ticks, [`results`] shows their
//! results, [`proof`] compares every bucket with the recorded events, [`live`] sends events and reads them on the API, [`audit`]
//! verifies a customer's bucket as its auditor does, [`explore`] is for `--keep`. [`files`] reads exported files, [`records`] reports and the tenants table, [`screen`] prints.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the demo isn't deployed and may read the clock")]

mod audit;
mod day;
mod explore;
mod files;
mod live;
mod open_role;
mod proof;
mod records;
mod results;
mod screen;
mod setup;
mod tenants;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use audit_log_tests::{LocalAws, Signals};
use chrono::{Days, NaiveTime, Utc};

use crate::screen::{Closed, Screen};

const USAGE: &str = "usage: demo [--keep]

  --keep  leaves the local AWS running afterwards, with the hourly rule firing, until Ctrl-C

`make demo` and `make demo KEEP=1` build what it needs first.";

#[tokio::main]
async fn main() -> ExitCode {
    let keep = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--keep" => true,
        [flag] if flag == "--help" || flag == "-h" => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        unknown => {
            eprintln!("demo: unknown arguments {}\n\n{USAGE}", unknown.join(" "));
            return ExitCode::from(2);
        }
    };
    match run(&Screen::new(), keep).await {
        Ok(code) => code,
        // As if by SIGPIPE, for example with `make demo | head`.
        Err(error) if error.is::<Closed>() => ExitCode::from(141),
        Err(error) => {
            explain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs the demo to its end or to a signal. In both cases, nothing is left running.
async fn run(screen: &Screen, keep: bool) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let result = tokio::select! {
        biased;
        code = signals.next() => return interrupted(screen, code),
        result = run_demo(screen, keep) => result,
    };
    let aws = match result {
        Ok(aws) => aws,
        Err(error) => {
            // Ctrl-C also ends the tools that the demo runs, which may be noticed before the signal.
            return match tokio::time::timeout(Duration::from_millis(200), signals.next()).await {
                Ok(code) => interrupted(screen, code),
                Err(_) => Err(error),
            };
        }
    };
    if keep {
        signals.next().await;
        screen.blank()?;
    }
    aws.stop()?;
    if keep {
        screen.line("The local AWS is stopped and its data deleted.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Dropping the future stops the local AWS.
async fn run_demo(screen: &Screen, keep: bool) -> Result<LocalAws> {
    let started = Instant::now();
    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let Some(day) = midnight.checked_sub_days(Days::new(1)) else { bail!("there was no yesterday") };
    introduce(screen)?;

    let aws = screen
        .section("Set up")?
        .step("starting the local AWS", LocalAws::start(), |aws| {
            format!("started a local AWS with IAM enforced, at {}", aws.endpoint())
        })
        .await?;
    let mut demo = setup::prepare(screen, &aws, day).await?;
    open_role::try_to_connect(screen, &aws, &demo).await?;
    let ticks = day::run_day(screen, &aws, &demo).await?;
    results::show_noon(screen, &demo, &ticks).await?;
    results::show_day(screen, &demo).await?;
    results::show_files(screen, &demo).await?;
    day::recover(screen, &aws, &mut demo).await?;
    proof::check_all(screen, &demo).await?;
    live::send_events(screen, &aws, &demo).await?;
    audit::verify(screen, &demo).await?;
    conclude(screen, started.elapsed(), keep)?;
    if keep {
        explore::print(screen, &aws, &demo).await?;
    }
    Ok(aws)
}

fn introduce(screen: &Screen) -> Result<()> {
    screen.title("Audit log export: a day of deliveries into four customers' own S3 buckets")?;
    screen.blank()?;
    screen.prose(
        "Every hour a rule invokes a Lambda function, which assumes each customer's role and stores the customer's audit events \
         as files in the customer's own bucket. The demo runs a whole day of exports on an emulated AWS on this machine, with the \
         templates and zipped functions that a deployment uses, built without optimization. It sets `FanOut=false`, so that one invocation exports \
         all tenants and reports on them. One customer deletes its role at 10:30. At the end, every file is compared with the recorded events, and an auditor verifies the \
         signatures.",
    )
}

fn conclude(screen: &Screen, took: Duration, keep: bool) -> Result<()> {
    screen.section(&format!("Done in {:.1} s", took.as_secs_f64()))?;
    let pages = [
        ("README.md", "what the system is, and the index of all pages"),
        ("docs/semantics.md", "what is guaranteed, and what may come late or twice"),
        ("docs/architecture.md", "the parts, the terms, and a tick's way through the files"),
        ("docs/recording-events.md", "over HTTP, through a queue, or with one PutItem"),
        ("docs/proof.md", "how an auditor proves that a bucket is complete and unchanged"),
        ("docs/api.md", "the requests of services and tenants' admins"),
        ("docs/console.md", "the pages for tenants' admins"),
        ("docs/operations.md", "failure codes, metrics and alarms, and commands for each"),
        ("docs/deployment.md", "`make deploy`, with your AWS credentials"),
    ];
    screen.line("  Read on:")?;
    for (page, about) in pages {
        screen.line(&format!("    {page:<26}{about}"))?;
    }
    if !keep {
        screen.blank()?;
        screen.line("  `make demo KEEP=1` leaves it running and prints commands to explore it.")?;
    }
    Ok(())
}

fn interrupted(screen: &Screen, code: u8) -> Result<ExitCode> {
    screen.clear()?;
    screen.line("Interrupted. The local AWS is stopped, and nothing is left running.")?;
    Ok(ExitCode::from(code))
}

/// Prints an error with its causes, and what to do.
fn explain(error: &Error) {
    let _ = Screen::new().clear();
    eprintln!("\nThe demo failed: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because {}", cause.to_string().trim_end().replace('\n', "\n  "));
    }
    eprintln!(
        "\nNothing is left running. `make clean-tools demo` reinstalls the tools and starts again. If it fails in the \
         same way, report it with the lines above."
    );
}
