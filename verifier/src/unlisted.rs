//! The files that no manifest lists.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    chain::{Beginning, Chain, Range},
    finding::{Finding, Kind},
    folder::{Entry, EntryKind, Folder},
    manifest::TRAILING_PERIOD,
    names::{CONNECTIVITY_CHECK, DataName, is_of_operating_system},
    window::instant,
};

/// The platform's own has a few bytes.
const MAX_CONNECTIVITY_CHECK_BYTES: u64 = 1024;

/// The files that no manifest lists.
pub(crate) struct Unlisted {
    pub(crate) findings: Vec<Finding>,
    /// With those that need no mention.
    pub(crate) paths: Vec<String>,
}

impl Unlisted {
    pub(crate) fn new(folder: &Folder, chain: &Chain, manifests: &HashSet<String>, range: Range) -> Self {
        let context = Context::new(chain, range);
        let (mut findings, mut paths) = (Vec::new(), Vec::new());
        let is_unlisted = |path: &String| !manifests.contains(path) && !chain.listed.contains(path);
        for entry in folder.entries.iter().filter(|entry| is_unlisted(&entry.path)) {
            findings.extend(context.explain(entry));
            paths.extend(matches!(entry.kind, EntryKind::File { .. }).then(|| entry.path.clone()));
        }
        Self { findings, paths }
    }
}

/// What tells unlisted files apart.
struct Context<'a> {
    chain: &'a Chain,
    range: Range,
    /// The highest number of each window's files, with their extension.
    highest: HashMap<String, (u32, &'static str)>,
    /// When the place was left.
    finals: HashSet<DateTime<Utc>>,
}

impl<'a> Context<'a> {
    fn new(chain: &'a Chain, range: Range) -> Self {
        let mut highest = HashMap::<String, (u32, &'static str)>::new();
        for name in chain.listed.iter().filter_map(|path| DataName::parse(path)) {
            let entry = highest.entry(name.stem()).or_insert((0, name.extension()));
            entry.0 = entry.0.max(name.number);
        }
        let finals = chain.texts.iter().filter(|text| text.manifest.is_final);
        let finals = finals.map(|text| text.manifest.window.from).collect();
        Self { chain, range, highest, finals }
    }

    /// Returns what an unlisted file is. None if it needs no mention.
    fn explain(&self, Entry { path, kind }: &Entry) -> Option<Finding> {
        let found = |kind, detail: &str| Some(Finding::new(kind, detail).at(path));
        let bytes = match kind {
            EntryKind::File { bytes } => *bytes,
            EntryKind::Other(_) if is_of_operating_system(path) => return found(Kind::OperatingSystemFile, ""),
            EntryKind::Other(what) => return found(Kind::FileUnlisted, what),
        };
        if path == CONNECTIVITY_CHECK {
            let is_own = bytes <= MAX_CONNECTIVITY_CHECK_BYTES;
            return if is_own { None } else { found(Kind::FileUnlisted, "too large for the platform's file") };
        }
        if is_of_operating_system(path) {
            return found(Kind::OperatingSystemFile, "");
        }
        match DataName::parse(path) {
            Some(name) if name.path() == *path => self.explain_data(path, &name),
            Some(_) => found(Kind::FileUnlisted, "in a folder of another day, too"),
            None => found(Kind::FileUnlisted, ""),
        }
    }

    /// The same of a file with the name and the folder of a data file.
    fn explain_data(&self, path: &str, name: &DataName) -> Option<Finding> {
        if !self.range.includes(&name.window) || self.is_unproved(name) {
            return None;
        }
        let found = |kind, detail: &str| Some(Finding::new(kind, detail).at(path).of(name.window));
        let is_beside = |(highest, extension): &(u32, &str)| name.number > *highest || name.extension() != *extension;
        if self.highest.get(&name.stem()).is_some_and(is_beside) {
            return found(Kind::Leftover, "");
        }
        if !name.is_final && !name.is_late && self.finals.contains(&name.window.from) {
            return found(Kind::Leftover, "of a window that was being delivered when the place was left");
        }
        let (first, end) = (self.chain.slots.first(), self.chain.slots.iter().map(|slot| slot.window.to).max());
        match first.filter(|first| name.window.from < first.window.from) {
            Some(first) if self.chain.beginning == Beginning::First && name.window.to <= first.window.from => {
                found(Kind::BeforeChain, "")
            }
            Some(first) => {
                found(Kind::FileUnlisted, &format!("older than the first manifest, of {}", instant(first.window.from)))
            }
            None if end == Some(name.window.from) => found(
                Kind::FileUnlisted,
                "newer than the last manifest, or the window is being delivered, or waits for its signature: copy again later",
            ),
            None if end.is_some_and(|end| name.window.to > end) => {
                found(Kind::FileUnlisted, "newer than the last manifest")
            }
            None => found(Kind::FileUnlisted, ""),
        }
    }

    /// Whether another finding says that nothing of this time is proved.
    fn is_unproved(&self, name: &DataName) -> bool {
        let before = if name.is_late { TRAILING_PERIOD } else { TimeDelta::zero() };
        let unproved = if name.is_final { &self.chain.unproved_finals } else { &self.chain.unproved };
        unproved.iter().any(|unproved| unproved.with_time_before(before).contains(&name.window))
    }
}
