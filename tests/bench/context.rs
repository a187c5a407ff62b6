//! What all rows share: options, data and progress messages.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use crate::data::Pool;
use crate::figures;
use crate::options::{Options, Programs};
use crate::process::Program;
use crate::trial::{Bench, Trial};
use crate::world::{Behavior, Dataset, Tenant};

pub(crate) struct Context<'a> {
    pub(crate) options: &'a Options,
    pub(crate) bench: Bench,
    pub(crate) pool: Arc<Pool>,
    pub(crate) started: Instant,
}

impl Context<'_> {
    pub(crate) fn programs(&self) -> &Programs {
        &self.options.programs
    }

    pub(crate) fn data(&self, tenants: Vec<Tenant>) -> Dataset {
        Dataset::new(&self.pool, tenants)
    }

    /// The amount to measure.
    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        self.options.amount(full, quick)
    }

    /// Logs to stderr, since progress isn't part of the result.
    pub(crate) fn log_progress(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs();
        eprintln!("  {:>2}:{:02}  {text}", seconds / 60, seconds % 60);
    }

    /// Runs a trial and logs its result.
    pub(crate) async fn trial(
        &self,
        doing: &str,
        program: &Program,
        data: &Arc<Dataset>,
        behavior: Behavior,
        settings: &[(&str, String)],
    ) -> Result<Trial> {
        let trial = self.bench.trial(program, data, behavior, settings).await?;
        self.log_progress(&format!(
            "{doing}, {}: {} wall, {} CPU, {} resident",
            program.name,
            figures::duration(trial.wall),
            figures::seconds(trial.cpu_seconds),
            figures::mebibytes(trial.peak_rss as f64)
        ));
        Ok(trial)
    }

    /// Checks that programs deliver a dataset completely.
    pub(crate) async fn check(&self, programs: &[&Program], data: Dataset) -> Result<()> {
        let data = Arc::new(data);
        for program in programs {
            self.bench.check(program, &data).await?;
            self.log_progress(&format!(
                "{} delivers all of {} events",
                program.name,
                figures::count(data.events() as f64)
            ));
        }
        Ok(())
    }
}
