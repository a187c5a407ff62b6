//! Compares the files of a delivery with its manifest.

use std::collections::HashMap;

use crate::{
    chain::{Chain, Delivery},
    data::DataResult,
    events::{Events, Outside},
    finding::{Finding, Kind},
    manifest::{Listed, Manifest},
    names::DataName,
};

/// Returns what is wrong, and the events with dates outside the window.
pub(crate) fn check(
    chain: &Chain,
    delivery: &Delivery,
    files: &[(&Listed, &DataResult)],
    moved: &HashMap<String, String>,
) -> (Vec<Finding>, Outside) {
    let manifest = &chain.texts[delivery.text].manifest;
    let (mut findings, mut outside) = (Vec::new(), Outside::default());
    // A part of a delivery has other numbers.
    let mut counts = delivery.is_whole.then(Counts::default);
    for (listed, result) in files {
        let found = |kind, detail: String| Finding::new(kind, detail).at(&listed.path).of(manifest.window);
        let finding = match result {
            DataResult::Read(file) if file.sha256 == listed.sha256 => match &file.events {
                Ok(events) => {
                    outside.merge(&events.outside);
                    if let Some(counts) = &mut counts {
                        counts.add(&listed.path, events);
                    }
                    continue;
                }
                Err(reason) => found(Kind::EventsUnreadable, reason.clone()),
            },
            DataResult::Unreadable(error) => found(Kind::Unreadable, error.to_string()),
            DataResult::Missing(_) | DataResult::Read(_) if let Some(place) = moved.get(&listed.path) => {
                found(Kind::FileMoved, format!("its bytes are in {place}"))
            }
            DataResult::Missing(instead) => {
                found(Kind::FileMissing, instead.map(|what| format!("in its place is {what}")).unwrap_or_default())
            }
            DataResult::Read(file) => {
                found(Kind::FileChanged, format!("its SHA-256 is {}, signed is {}", file.sha256, listed.sha256))
            }
        };
        counts = None;
        findings.push(finding);
    }
    if let Some(reason) = counts.and_then(|counts| counts.differ(manifest)) {
        let path = &chain.texts[delivery.text].path;
        findings.push(Finding::new(Kind::EventsDiffer, reason).at(path).of(manifest.window));
    }
    (findings, outside)
}

/// What the files of one manifest have.
#[derive(Default)]
struct Counts {
    lines: u64,
    /// Lines that may be the exporter's own.
    own: u64,
    has_heartbeat: bool,
    malformed: u64,
    late: u64,
}

impl Counts {
    fn add(&mut self, path: &str, events: &Events) {
        match DataName::parse(path) {
            Some(name) if name.is_late => self.late += events.lines,
            name => {
                let is_first = name.is_some_and(|name| name.number == 1);
                self.lines += events.lines;
                self.malformed += events.malformed;
                self.own += u64::from(is_first && events.begins_with_retention_exceeded);
                self.has_heartbeat |= is_first && events.begins_with_heartbeat;
            }
        }
    }

    /// Returns what doesn't fit the manifest.
    fn differ(&self, manifest: &Manifest) -> Option<String> {
        // A heartbeat is alone in its window.
        let own = if self.has_heartbeat && self.lines == 1 { 1 } else { self.own };
        let recorded = self.lines - own;
        if manifest.events != recorded {
            return Some(format!("the manifest says {} events, and the files have {recorded}", manifest.events));
        }
        // Products may record what looks like a wrapped event, and a late minute is delivered whole.
        if self.malformed < manifest.malformed {
            return Some(format!(
                "the manifest says {} malformed events, and the files have {}",
                manifest.malformed, self.malformed
            ));
        }
        (self.late < manifest.late).then(|| {
            format!("the manifest says {} late arrivals, and their files have {} events", manifest.late, self.late)
        })
    }
}
