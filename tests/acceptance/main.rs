//! `make acceptance`: the acceptance test of a deployed stack, on AWS or on the local AWS of the tests.
//!
//! In reading order: [`options`], [`platform`] looks up what is deployed, [`look`] changes nothing, [`act`] runs the steps of
//! [`connect`], [`record`], [`deliver`], [`fail`] and [`alarm`] with a throw-away tenant, [`remove`] removes all of it. [`aws`] and
//! [`api`] are the ways to both sides, [`listener`] receives notifications, [`report`] keeps the results.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the acceptance test isn't deployed and may read clock and environment")]

mod act;
mod alarm;
mod api;
mod aws;
mod connect;
mod deliver;
mod fail;
mod listener;
mod look;
mod options;
mod platform;
mod record;
mod remove;
mod report;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::Signals;

use crate::{
    act::Run,
    api::Api,
    options::{Options, USAGE},
    platform::Deployment,
    report::Report,
};

/// Of the table, unless the terminal has another one.
const DEFAULT_WIDTH: u16 = 140;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| ["--help", "-h"].contains(&argument.as_str())) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::from_arguments(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("acceptance: {error:#}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match test(&options).await {
        Ok(false) => ExitCode::SUCCESS,
        Ok(true) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("acceptance: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether a step failed. An error means that nothing was begun.
async fn test(options: &Options) -> Result<bool> {
    let directory = tempfile::Builder::new().prefix("acceptance-").tempdir()?;
    let deployment = Deployment::look_up(options, directory.path()).await?;
    let Deployment { stack, names, .. } = &deployment;
    let base = stack.api_url(options.api_url.as_deref())?;
    let claims = ["TokenTenantClaim", "TokenPermissionsClaim"].map(|name| stack.parameter(name));
    let api = Api::new(base, &names.tenant, &options.token_command, claims)?;
    introduce(&deployment, options);
    if !options.yes {
        confirm()?;
    }
    // Only now, so that Ctrl-C ends the question.
    let mut signals = Signals::listen()?;
    if options.remove.is_none() {
        tokio::select! {
            () = act::wait_for_quiet(options.quiet_minutes) => {}
            _ = signals.next() => return Ok(true),
        }
    }

    let run = Run::new(&deployment, &api)?;
    let report = Report::default();
    if options.remove.is_none() {
        let interrupted = tokio::select! {
            biased;
            _ = signals.next() => true,
            () = async {
                look::look(&deployment, &report).await;
                let _ = act::act(&run, options, &report).await;
            } => false,
        };
        if interrupted {
            report.interrupt();
        }
        report.complete(&look::STEPS, "interrupted");
        report.complete(&act::STEPS, "a step before it failed");
        report.complete(&[act::WAITING], "WAIT=1 waits for it");
    }
    let again = options.to_remove(&names.run);
    if options.keep {
        println!("\nNothing is removed. To remove it: {again}");
    } else {
        println!("\nRemoving what the run has made; interrupted now, it goes on with {again}");
        tokio::select! {
            () = remove::remove(&run, &report, options.remove.is_some()) => {}
            _ = signals.next() => report.interrupt(),
        }
        report.complete(&remove::STEPS, "interrupted");
    }
    println!("\n{}", report.table().set_width(width()));
    if let Some(path) = &options.json {
        std::fs::write(path, report.json().to_string()).with_context(|| path.display().to_string())?;
    }
    if !options.keep && report.has_leftovers(&remove::STEPS) {
        println!("\nSomething is left, named or tagged {}. To remove it: {again}", names.resource);
    }
    if options.remove.is_none() {
        println!("\nThe deployment is {}accepted.", if report.has_failed() { "not " } else { "" });
    }
    Ok(report.has_failed())
}

fn introduce(deployment: &Deployment, options: &Options) {
    let Deployment { platform_account, customer_account, region, stack, names, .. } = deployment;
    println!("Stack {} in the account {platform_account}, {region}", stack.name);
    println!("Run   {}, with the tenant {}", names.run, names.tenant);
    if options.remove.is_some() {
        println!("It removes everything called {} from both accounts, and the tenant's records.\n", names.resource);
        return;
    }
    println!(
        "It makes in the account {customer_account}: the stack {resource} with a role, a bucket and an alarm, and a KMS key;\n\
         in the account {platform_account}: the queue {resource}, and a rule of that name on the bus {};\n\
         in both tables: records and events of the tenant. It removes them afterwards, except for the KMS key, which is \
         deleted in 7 days.\n",
        stack.output("NotificationBusName").unwrap_or_default(),
        resource = names.resource,
    );
}

fn confirm() -> Result<()> {
    ensure!(io::stdin().is_terminal(), "set YES=1 (--yes) to run without a terminal");
    println!("Go on? [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    ensure!(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()), "nothing was changed");
    Ok(())
}

fn width() -> u16 {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 60);
    size.map_or(DEFAULT_WIDTH, |size| size.ws_col)
}
