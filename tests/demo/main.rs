//! `make demo`: a day of exports on a local AWS, and the proof that nothing was lost on the way.
//!
//! In reading order: [`cast`] says who the tenants are, [`setup`] deploys both sides, connects the tenants through the API
//! and records the events, [`open_role`] tries to connect what must not be, [`day`] sends the hourly ticks, [`results`]
//! shows what they left behind, [`proof`] reads every bucket back and compares, [`live`] sends events in and reads them on
//! the API, [`around`] is for `--keep`. [`files`] knows what was exported, [`records`] the tenants table, [`screen`] the terminal.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the demo is nobody's core: it asks the clock which day was yesterday")]

mod around;
mod cast;
mod day;
mod files;
mod live;
mod open_role;
mod proof;
mod records;
mod results;
mod screen;
mod setup;
mod signals;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use audit_log_tests::LocalAws;
use chrono::{Days, NaiveTime, Utc};

use crate::screen::{Closed, Screen};
use crate::signals::Signals;

/// What this program understands.
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
            eprintln!("demo: can't do anything with {}\n\n{USAGE}", unknown.join(" "));
            return ExitCode::from(2);
        }
    };
    match run(&Screen::new(), keep).await {
        Ok(code) => code,
        // Whoever reads only the beginning (`make demo | head`) has seen enough; as if by SIGPIPE.
        Err(error) if error.is::<Closed>() => ExitCode::from(141),
        Err(error) => {
            explain(&error);
            ExitCode::FAILURE
        }
    }
}

/// Plays the demo to its end, or to a signal; in either case, nothing is left running.
async fn run(screen: &Screen, keep: bool) -> Result<ExitCode> {
    let mut signals = Signals::listen()?;
    let played = tokio::select! {
        biased;
        code = signals.next() => return interrupted(screen, code),
        played = play(screen, keep) => played,
    };
    let aws = match played {
        Ok(aws) => aws,
        Err(error) => {
            // Ctrl-C reaches the tools that the demo runs as well, and their end may be noticed before the signal is.
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
        screen.line("Stopped: the local AWS is gone, and all that it held.")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The whole play. Dropping it at any moment ends the local AWS.
async fn play(screen: &Screen, keep: bool) -> Result<LocalAws> {
    let started = Instant::now();
    let midnight = Utc::now().date_naive().and_time(NaiveTime::MIN).and_utc();
    let Some(day) = midnight.checked_sub_days(Days::new(1)) else { bail!("there was no yesterday") };
    introduce(screen)?;

    let aws = screen
        .section("Set up")?
        .step("starting the local AWS", LocalAws::start(), |aws| {
            format!("a local AWS with IAM enforced, at {}", aws.endpoint())
        })
        .await?;
    let mut stage = setup::all(screen, &aws, day).await?;
    open_role::refused(screen, &aws, &stage).await?;
    let ticks = day::play(screen, &aws, &stage).await?;
    results::noon(screen, &stage, &ticks).await?;
    results::day(screen, &stage).await?;
    results::files(screen, &stage).await?;
    day::recover(screen, &aws, &mut stage).await?;
    proof::all(screen, &stage).await?;
    live::record(screen, &aws, &stage).await?;
    conclude(screen, started.elapsed(), keep)?;
    if keep {
        around::print(screen, &aws, &stage).await?;
    }
    Ok(aws)
}

fn introduce(screen: &Screen) -> Result<()> {
    screen.title("Audit log export: a day of deliveries into four customers' own S3 buckets")?;
    screen.blank()?;
    screen.prose(
        "Every hour a rule invokes a Rust Lambda, which assumes each customer's role and stores the customer's audit \
         events as files in the customer's own bucket. Here is a whole day of that, on an emulated AWS on this machine: \
         with the templates and the zipped functions as they are deployed (but for `FanOut=false`: one invocation exports \
         everybody, and its answer tells of all), and with a customer who breaks things at 10:30. In the end every file is read back and compared with what was recorded.",
    )
}

fn conclude(screen: &Screen, took: Duration, keep: bool) -> Result<()> {
    screen.section(&format!("Done in {:.1} s", took.as_secs_f64()))?;
    let read_on = [
        ("One tick, explained", "how windows, watermarks and retries fit together"),
        ("Record events", "over HTTP, through a queue, or with one PutItem"),
        ("The API, and The pages", "what a tenant's admin works with"),
        ("Connect a tenant", "what its admin does, on the API and in AWS"),
        ("Delivery guarantees", "what is exactly-once, and what is not"),
        ("Operating it", "logs, metrics and notifications, and every failure code with its cause and fix"),
        ("Deploy it", "`make deploy`, with your own AWS credentials"),
        ("docs/leases.md", "why two runs at once do no harm"),
        ("docs/operations.md", "commands for one tenant, restoring the tables, and what to do about each alarm"),
    ];
    screen.line("  Read on, in README.md and beside it:")?;
    for (section, about) in read_on {
        screen.line(&format!("    {section:<24}{about}"))?;
    }
    if !keep {
        screen.blank()?;
        screen.line("  `make demo KEEP=1` leaves all of this running, and shows how to look around in it.")?;
    }
    Ok(())
}

fn interrupted(screen: &Screen, code: u8) -> Result<ExitCode> {
    screen.clear()?;
    screen.line("Interrupted: the local AWS is stopped, nothing is left running.")?;
    Ok(ExitCode::from(code))
}

/// An error with each of its causes, and what to do about it.
fn explain(error: &Error) {
    let _ = Screen::new().clear();
    eprintln!("\nThe demo failed: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because {}", cause.to_string().trim_end().replace('\n', "\n  "));
    }
    eprintln!(
        "\nNothing is left running. `make clean-tools demo` begins again with freshly installed tools; if it fails in the \
         same way, please report it with the lines above."
    );
}
