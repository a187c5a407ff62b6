//! Which manifest stands for a window: the last amended one or, as nearly always, the regular one. Final ones stand for themselves.

use std::collections::BTreeMap;

use super::{Delivery, Range, Slot, Text};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    names::{Class, ManifestName},
    window::Window,
};

#[derive(Default)]
pub(super) struct Amended {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) findings: Vec<Finding>,
    /// Windows whose standing manifest can't be used.
    pub(super) unproved: Vec<Window>,
}

/// An amended manifest: its number, and its text unless that can't be used.
type Version = (u32, Option<usize>);

impl Amended {
    pub(super) fn new(
        texts: &[Text],
        opaque: &[ManifestName],
        slots: &[Slot],
        range: Range,
        unproved: &[Window],
    ) -> Self {
        let mut versions = versions(texts, opaque);
        let mut amended = Self::default();
        for (at, slot) in slots.iter().enumerate() {
            match versions.remove(&slot.window) {
                Some(versions) => amended.choose(texts, slot.window, slot.text, Some(at), &versions),
                None => {
                    amended.deliveries.extend(slot.text.map(|text| Delivery { text, original: None, slot: Some(at) }))
                }
            }
        }
        for (window, versions) in versions.into_iter().filter(|(window, _)| range.includes(window)) {
            // Another finding may say already that the original is missing.
            if !unproved.iter().any(|unproved| unproved.overlaps(&window)) {
                let detail = format!("{window}, of which there are amended ones alone");
                amended.findings.push(Finding::new(Kind::ManifestMissing, detail).of(window));
            }
            amended.choose(texts, window, None, None, &versions);
        }
        let finals = texts.iter().enumerate().filter(|(_, text)| text.manifest.is_final);
        let finals = finals.filter(|(_, text)| range.includes(&text.manifest.window));
        amended.deliveries.extend(finals.map(|(text, _)| Delivery { text, original: None, slot: None }));
        amended
    }

    /// Checks the versions of a window one after the other, and takes the last one.
    fn choose(
        &mut self,
        texts: &[Text],
        window: Window,
        original: Option<usize>,
        slot: Option<usize>,
        versions: &[Version],
    ) {
        let mut before: Version = (0, original);
        for version @ (number, text) in versions {
            if *number > before.0 + 1 {
                let detail = format!("amended manifests before the one with the number {number}");
                self.findings.push(Finding::new(Kind::ManifestMissing, detail).of(window));
            } else if let (Some(text), Some(amended)) =
                (text.map(|text| &texts[text]), before.1.map(|text| &texts[text]))
            {
                let amends = text.manifest.amends.as_ref().map(|(amends, _)| *amends);
                if amends != Some(amended.manifest.sha256) || text.manifest.previous != amended.manifest.previous {
                    let detail = format!("it doesn't amend {}", amended.path);
                    self.findings.push(Finding::new(Kind::ChainBroken, detail).at(&text.path).of(window));
                }
            }
            before = *version;
        }
        match before.1 {
            Some(text) => {
                self.deliveries.push(Delivery { text, original: original.filter(|original| *original != text), slot })
            }
            None => self.unproved.push(window),
        }
    }
}

/// The amended manifests of each window, by number.
fn versions(texts: &[Text], opaque: &[ManifestName]) -> BTreeMap<Window, Vec<Version>> {
    let mut versions = BTreeMap::<Window, Vec<Version>>::new();
    for name in opaque {
        if let Class::Amended(number) = name.class {
            versions.entry(name.window).or_default().push((number, None));
        }
    }
    for (at, text) in texts.iter().enumerate() {
        if let Some((amends, _)) = text.manifest.amends {
            let number = text.number.unwrap_or_else(|| number(texts, amends));
            versions.entry(text.manifest.window).or_default().push((number, Some(at)));
        }
    }
    versions.values_mut().for_each(|versions| versions.sort_unstable());
    versions
}

/// The number of a version that isn't in its place, by what it amends.
fn number(texts: &[Text], amends: Sha256) -> u32 {
    let amended = texts.iter().find(|text| text.manifest.sha256 == amends).and_then(|text| text.number);
    amended.unwrap_or(0).saturating_add(1)
}
