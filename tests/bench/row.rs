//! A row of the report: measures with targets.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::{Figures, times};
use crate::trial::Trial;

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// The name in `make bench ROWS=…`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What is compared.
    pub(crate) setting: String,
    pub(crate) measures: Vec<Measure>,
    /// The figures behind the measures, by name.
    pub(crate) figures: BTreeMap<String, Figures>,
    /// AWS calls by program and kind, in one repeat.
    pub(crate) calls: BTreeMap<String, BTreeMap<&'static str, u64>>,
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measure {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) shown: String,
    pub(crate) target: Option<Target>,
    /// The target in words: `≥ 20x`.
    pub(crate) wanted: String,
    pub(crate) met: Option<bool>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Row {
    pub(crate) fn new(name: &'static str, title: &'static str, setting: impl Into<String>) -> Self {
        let (measures, notes) = (Vec::new(), Vec::new());
        let (figures, calls) = (BTreeMap::new(), BTreeMap::new());
        Self { name, title, setting: setting.into(), measures, figures, calls, notes }
    }

    /// Adds a figure with a target.
    pub(crate) fn measure(&mut self, what: &'static str, value: f64, target: Target, show: impl Fn(f64) -> String) {
        let (met, wanted) = match target {
            Target::AtLeast(bound) => (value >= bound, format!("≥ {}", show(bound))),
            Target::AtMost(bound) => (value <= bound, format!("≤ {}", show(bound))),
        };
        let (shown, target, met) = (show(value), Some(target), Some(met));
        self.measures.push(Measure { what, value, shown, target, wanted, met });
    }

    pub(crate) fn ratio(&mut self, what: &'static str, value: f64, target: Target) {
        self.measure(what, value, target, times);
    }

    /// Adds a figure without a target.
    pub(crate) fn show(&mut self, what: &'static str, value: f64, shown: String) {
        self.measures.push(Measure { what, value, shown, target: None, wanted: String::new(), met: None });
    }

    /// Stores figures and returns them.
    pub(crate) fn figures(&mut self, of: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Figures {
        let figures = Figures::new(values);
        self.figures.insert(of.into(), figures.clone());
        figures
    }

    /// Stores a program's calls.
    pub(crate) fn calls_of(&mut self, program: impl Into<String>, trial: Option<&Trial>) {
        self.calls.extend(trial.map(|trial| (program.into(), trial.calls.clone())));
    }
}
