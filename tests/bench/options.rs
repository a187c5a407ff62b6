//! The bench's command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::Program;

/// The names of the rows, in the order of measurement.
pub(crate) const ROWS: [&str; 9] =
    ["startup", "throughput", "gzip", "ocsf", "fleet", "manifests", "shards", "neighbor", "memory"];

pub(crate) const USAGE: &str =
    "usage: bench --exporter <path> --hello <path> --python <path> [--stock <path>] [--rows <name>,…] [--quick]

`make bench`, `make bench ROWS=throughput,gzip` and `make bench QUICK=1` build what it needs first.";

pub(crate) struct Options {
    /// Names from [`ROWS`].
    pub(crate) rows: Vec<String>,
    /// Measures less of everything, for work on the bench.
    pub(crate) quick: bool,
    pub(crate) programs: Programs,
}

pub(crate) struct Programs {
    pub(crate) exporter: Program,
    /// The exporter with the feature `stock-decoding`.
    pub(crate) stock: Option<Program>,
    pub(crate) baseline: Program,
    pub(crate) hello: Program,
}

impl Options {
    pub(crate) fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let (mut exporter, mut stock, mut hello, mut python) = (None, None, None, None);
        let (mut rows, mut quick) = (Vec::new(), false);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
            match argument.as_str() {
                "--exporter" => exporter = Some(PathBuf::from(value()?)),
                "--stock" => stock = Some(PathBuf::from(value()?)),
                "--hello" => hello = Some(PathBuf::from(value()?)),
                "--python" => python = Some(PathBuf::from(value()?)),
                "--rows" => rows = value()?.split(',').map(|row| row.trim().to_owned()).collect(),
                "--quick" => quick = true,
                unknown => bail!("{unknown} is unknown"),
            }
        }
        for row in &rows {
            ensure!(ROWS.contains(&row.as_str()), "there is no row {row}; there are {}", ROWS.join(", "));
        }
        if rows.is_empty() {
            rows = ROWS.map(str::to_owned).to_vec();
        }
        let bootstrap = audit_log_tests::project::repository().join("tests/bench/baseline/bootstrap.py");
        let program = |name, path, arguments| Program { name, path, arguments };
        Ok(Self {
            rows,
            quick,
            programs: Programs {
                exporter: program("exporter", exporter.context("--exporter is missing")?, vec![]),
                stock: stock.map(|path| program("stock", path, vec![])),
                // `-B` writes no bytecode beside the sources.
                baseline: program(
                    "boto3",
                    python.context("--python is missing")?,
                    vec!["-B".to_owned(), bootstrap.display().to_string()],
                ),
                hello: program("hello", hello.context("--hello is missing")?, vec![]),
            },
        })
    }

    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
