//! A row of the report: what was asked, what came out, and whether that is what was wanted.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figures::{Figures, times};
use crate::trial::Trial;

/// A row.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// Its name, as `ROWS` takes it.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What the comparison is.
    pub(crate) setting: String,
    pub(crate) measures: Vec<Measure>,
    /// The figures that the measures come from, by what they are of.
    pub(crate) figures: BTreeMap<String, Figures>,
    /// Calls of AWS by program and kind, in one repeat.
    pub(crate) calls: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// For whoever reads the table.
    pub(crate) notes: Vec<String>,
}

/// A figure with its target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measure {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) shown: String,
    pub(crate) target: Option<Target>,
    /// The target as people read it: `≥ 20x`.
    pub(crate) wanted: String,
    pub(crate) met: Option<bool>,
}

/// What is wanted of a figure.
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

    /// A figure with a target, whose bound is shown like the figure.
    pub(crate) fn measure(&mut self, what: &'static str, value: f64, target: Target, show: impl Fn(f64) -> String) {
        let (met, wanted) = match target {
            Target::AtLeast(bound) => (value >= bound, format!("≥ {}", show(bound))),
            Target::AtMost(bound) => (value <= bound, format!("≤ {}", show(bound))),
        };
        let (shown, target, met) = (show(value), Some(target), Some(met));
        self.measures.push(Measure { what, value, shown, target, wanted, met });
    }

    /// A ratio with a target.
    pub(crate) fn ratio(&mut self, what: &'static str, value: f64, target: Target) {
        self.measure(what, value, target, times);
    }

    /// A figure that is only told.
    pub(crate) fn tell(&mut self, what: &'static str, value: f64, shown: String) {
        self.measures.push(Measure { what, value, shown, target: None, wanted: String::new(), met: None });
    }

    /// Keeps figures, and hands them on.
    pub(crate) fn figures(&mut self, of: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Figures {
        let figures = Figures::new(values);
        self.figures.insert(of.into(), figures.clone());
        figures
    }

    /// Keeps the calls that a program made.
    pub(crate) fn calls_of(&mut self, program: impl Into<String>, trial: Option<&Trial>) {
        self.calls.extend(trial.map(|trial| (program.into(), trial.calls.clone())));
    }
}
