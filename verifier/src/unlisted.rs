//! What the files are that no manifest lists.

use std::collections::HashMap;

use chrono::TimeDelta;

use crate::{
    chain::{Beginning, Chain, Range},
    finding::{Finding, Kind},
    names::{CONNECTIVITY_CHECK, DataName, is_of_operating_system},
    window::{Window, instant},
};

/// How long before a window its late arrivals may be.
const TRAILING: TimeDelta = TimeDelta::minutes(15);

/// Names unlisted files one after the other.
pub(crate) struct Unlisted<'a> {
    chain: &'a Chain,
    range: Range,
    /// The highest number of each window's files, with their extension.
    highest: HashMap<String, (u32, &'static str)>,
}

impl<'a> Unlisted<'a> {
    pub(crate) fn new(chain: &'a Chain, range: Range) -> Self {
        let mut highest = HashMap::<String, (u32, &'static str)>::new();
        for name in chain.listed.iter().filter_map(|path| DataName::parse(path)) {
            let entry = highest.entry(name.stem()).or_insert((0, name.extension()));
            entry.0 = entry.0.max(name.number);
        }
        Self { chain, range, highest }
    }

    /// Returns what an unlisted file is. None if it needs no mention. `other` says what it is if it isn't a file.
    pub(crate) fn name(&self, path: &str, other: Option<&'static str>) -> Option<Finding> {
        if path == CONNECTIVITY_CHECK && other.is_none() {
            return None;
        }
        let found = |kind, detail: &str| Some(Finding::new(kind, detail).at(path));
        if is_of_operating_system(path) {
            return found(Kind::OperatingSystemFile, "");
        }
        if let Some(other) = other {
            return found(Kind::FileUnlisted, other);
        }
        let Some(name) = DataName::parse(path) else { return found(Kind::FileUnlisted, "") };
        let found = |kind, detail: &str| found(kind, detail).map(|finding| finding.of(name.window));
        if name.path() != path {
            return found(Kind::FileUnlisted, "in a folder of another day, too");
        }
        if !self.range.includes(&name.window) || self.is_unproved(&name) {
            return None;
        }
        match self.highest.get(&name.stem()) {
            Some((highest, extension)) if name.number > *highest || name.extension() != *extension => {
                return found(Kind::Leftover, "");
            }
            _ => {}
        }
        let (first, end) = (self.chain.slots.first(), self.chain.slots.last().map(|slot| slot.window.to));
        match first.filter(|first| name.window.from < first.window.from) {
            Some(_) if self.chain.beginning == Beginning::First => found(Kind::BeforeChain, ""),
            Some(first) => {
                found(Kind::FileUnlisted, &format!("older than the first manifest, of {}", instant(first.window.from)))
            }
            None if end.is_some_and(|end| name.window.to > end) => {
                found(Kind::FileUnlisted, "newer than the last manifest")
            }
            None => found(Kind::FileUnlisted, ""),
        }
    }

    /// Whether another finding says that nothing of this time is proved.
    fn is_unproved(&self, name: &DataName) -> bool {
        let before = if name.is_late { TRAILING } else { TimeDelta::zero() };
        let unproved = if name.is_final { &self.chain.unproved_finals } else { &self.chain.unproved };
        unproved.iter().any(|unproved: &Window| unproved.with_time_before(before).overlaps(&name.window))
    }
}
