//! What the bench is asked for on its command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

use crate::process::Program;
use crate::rows::ROWS;

/// How to ask.
pub(crate) const USAGE: &str =
    "usage: bench --exporter <path> --hello <path> --python <path> [--stock <path>] [--rows <name>,…] [--quick]

`make bench`, `make bench ROWS=throughput,gzip` and `make bench QUICK=1` build what it needs first.";

/// What was asked for.
pub(crate) struct Options {
    /// The names of the rows.
    pub(crate) rows: Vec<String>,
    /// Less of everything, for whoever works on the bench.
    pub(crate) quick: bool,
    pub(crate) programs: Programs,
}

/// What is measured.
pub(crate) struct Programs {
    pub(crate) exporter: Program,
    /// The exporter with the SDK's own decoding, where it can be built so.
    pub(crate) stock: Option<Program>,
    pub(crate) baseline: Program,
    pub(crate) hello: Program,
}

impl Options {
    /// Reads the command line.
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
        let bootstrap = audit_log_tests::tools::repository().join("tests/bench/baseline/bootstrap.py");
        let program = |name, path, arguments| Program { name, path, arguments };
        Ok(Self {
            rows,
            quick,
            programs: Programs {
                exporter: program("exporter", exporter.context("--exporter is missing")?, vec![]),
                stock: stock.map(|path| program("stock", path, vec![])),
                // Without bytecode beside the sources.
                baseline: program(
                    "boto3",
                    python.context("--python is missing")?,
                    vec!["-B".to_owned(), bootstrap.display().to_string()],
                ),
                hello: program("hello", hello.context("--hello is missing")?, vec![]),
            },
        })
    }

    /// So much, or less where it is to be quick.
    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}
