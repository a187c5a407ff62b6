//! What every row is given: what to measure, with what, and someone to tell how it goes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;

use crate::data::Pool;
use crate::figures;
use crate::options::{Options, Programs};
use crate::process::Program;
use crate::trial::{Bench, Trial};
use crate::world::{Behaviour, Dataset, Tenant};

/// What every row is given.
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

    /// So much, or less where it is to be quick.
    pub(crate) fn amount<T>(&self, full: T, quick: T) -> T {
        self.options.amount(full, quick)
    }

    /// Says how it goes. It is no part of the result, and goes where errors go.
    pub(crate) fn say(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs();
        eprintln!("  {:>2}:{:02}  {text}", seconds / 60, seconds % 60);
    }

    /// A trial that is announced and told of.
    pub(crate) async fn trial(
        &self,
        doing: &str,
        program: &Program,
        data: &Arc<Dataset>,
        behaviour: Behaviour,
        settings: &[(&str, String)],
    ) -> Result<Trial> {
        let trial = self.bench.trial(program, data, behaviour, settings).await?;
        self.say(&format!(
            "{doing}, {}: {} wall, {} CPU, {} resident",
            program.name,
            figures::duration(trial.wall),
            figures::seconds(trial.cpu_seconds),
            figures::mebibytes(trial.peak_rss as f64)
        ));
        Ok(trial)
    }

    /// Checks that programs deliver a dataset whole.
    pub(crate) async fn check(&self, programs: &[&Program], data: Dataset) -> Result<()> {
        let data = Arc::new(data);
        for program in programs {
            self.bench.check(program, &data).await?;
            self.say(&format!("{} delivers all of {} events", program.name, figures::count(data.events() as f64)));
        }
        Ok(())
    }
}
