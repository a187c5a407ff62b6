//! `make bench`: measures the exporter's CPU time, memory and calls, and compares them with other programs'.
//!
//! The binaries run under a Runtime API and against a fake AWS, both served by this program. In reading order: [`data`] makes
//! the events, [`aws`] is the fake AWS, [`run`] runs a program once, [`rows`] are the comparisons, [`report`] prints them.
//! README.md explains the figures.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "the bench isn't deployed and may read the clock")]
#![allow(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

mod aws;
mod data;
mod report;
mod rows;
mod run;

use anyhow::{Context as _, Result, bail};

use crate::report::Report;
use crate::run::{Bench, Program};

const USAGE: &str = "usage: bench [--quick] [--rows <name>,…] --exporter [<name>=]<path> … --console <path> --hello <path> \
    --boto3 <path of Python>";

#[tokio::main]
async fn main() -> Result<()> {
    let (mut programs, mut names, mut quick) = (vec![], rows::NAMES.to_owned(), false);
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().context(USAGE);
        match flag.trim_start_matches("--") {
            "quick" => quick = true,
            "rows" => names = value()?,
            kind @ ("exporter" | "console" | "hello" | "boto3") => {
                let value = value()?;
                let (name, path) = value.split_once('=').unwrap_or((kind, &value));
                programs.push(Program {
                    kind: kind.to_owned(),
                    name: name.to_owned(),
                    path: path.into(),
                    ..Program::default()
                });
            }
            _ => bail!(USAGE),
        }
    }
    let bench = Bench::new(programs, quick)?;
    let mut report = Report::default();
    for name in names.split(',') {
        rows::measure(&bench, &mut report, name).await?;
    }
    report.write(quick)
}
