//! Which manifest stands for a window: the last amended one or, as nearly always, the regular one. Final ones stand for themselves.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{
    Range,
    slots::Slot,
    texts::{Opaque, Text},
};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    manifest::{Listed, Manifest},
    names::{Class, DataName, ManifestName},
    window::Window,
};

/// Files that a trusted manifest has listed.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// In [`super::Chain::texts`].
    pub(crate) text: usize,
    pub(crate) files: Vec<Listed>,
    /// Whether the manifest that was amended is trusted too.
    pub(crate) has_original: bool,
    /// Whether these are all files.
    pub(crate) is_whole: bool,
}

impl Delivery {
    /// Keeps the files in the range. Returns whether there are any.
    pub(super) fn limit(&mut self, manifest: &Manifest, range: Range) -> bool {
        if !range.includes(&manifest.window) {
            let is_in_range = |path: &str| DataName::parse(path).is_some_and(|name| range.includes(&name.window));
            self.files.retain(|file| is_in_range(&file.path));
            self.is_whole = false;
        }
        !self.files.is_empty()
    }
}

#[derive(Default)]
pub(super) struct Deliveries {
    pub(super) deliveries: Vec<Delivery>,
    pub(super) listed: HashSet<String>,
    pub(super) findings: Vec<Finding>,
    /// Windows whose standing manifest is not trusted.
    pub(super) unproved: Vec<Window>,
}

impl Deliveries {
    /// `unproved` are windows of which a finding says that their manifest is missing.
    pub(super) fn new(texts: &[Text], opaque: &[Opaque], slots: &[Slot], unproved: &[Window]) -> Self {
        let mut versions = versions(texts, opaque);
        let mut deliveries = Self::default();
        for slot in slots {
            let amended = versions.remove(&slot.window).unwrap_or_default();
            deliveries.choose(texts, slot.window, slot.text, &amended);
        }
        for (window, amended) in versions {
            // Another finding may say already that the original is missing.
            if !amended.texts.is_empty() && !unproved.iter().any(|unproved| unproved.overlaps(&window)) {
                let detail = format!("{window}, of which there are amended ones alone");
                deliveries.findings.push(Finding::new(Kind::ManifestMissing, detail).of(window));
            }
            deliveries.choose(texts, window, None, &amended);
        }
        let finals = texts.iter().enumerate().filter(|(_, text)| text.manifest.is_final);
        finals.for_each(|(text, _)| deliveries.add(texts, &[text], true));
        let unsigned = texts.iter().filter(|text| text.key.is_none());
        deliveries.findings.extend(unsigned.map(|Text { path, manifest, .. }| {
            Finding::new(Kind::UnsignedInChain, manifest.window.to_string()).at(path).of(manifest.window)
        }));
        deliveries
    }

    /// Takes the last version of a window.
    fn choose(&mut self, texts: &[Text], window: Window, original: Option<usize>, versions: &Versions) {
        let ordered = self.order(texts, window, original, versions);
        let last = ordered.last().map_or(0, |(number, _)| *number);
        if versions.opaque.iter().any(|number| *number > last) {
            self.unproved.push(window);
            return;
        }
        let ordered: Vec<usize> = original.into_iter().chain(ordered.into_iter().map(|(_, text)| text)).collect();
        self.add(texts, &ordered, original.is_some());
    }

    /// Puts amended manifests in the order in which they amend each other, and checks that their names say the same.
    fn order(
        &mut self,
        texts: &[Text],
        window: Window,
        original: Option<usize>,
        versions: &Versions,
    ) -> Vec<(u32, usize)> {
        let mut numbers: HashMap<Sha256, u32> =
            original.map(|original| (texts[original].manifest.sha256, 0)).into_iter().collect();
        let by_hash: HashMap<Sha256, usize> =
            original.iter().chain(&versions.texts).map(|text| (texts[*text].manifest.sha256, *text)).collect();
        let (mut ordered, mut amended) = (Vec::new(), HashSet::new());
        for text in &versions.texts {
            // From this one to the first that is known, by their hashes, which can't form a cycle.
            let (mut way, mut at) = (Vec::new(), *text);
            while !numbers.contains_key(&texts[at].manifest.sha256) {
                way.push(at);
                match amends(&texts[at]).and_then(|amends| by_hash.get(&amends)) {
                    Some(before) => at = *before,
                    None => break,
                }
            }
            for at in way.into_iter().rev() {
                let Text { path, manifest, number, .. } = &texts[at];
                let found = |kind, detail: String| Finding::new(kind, detail).at(path).of(window);
                let amends = amends(&texts[at]);
                let before = amends.and_then(|amends| numbers.get(&amends)).map(|number| number.saturating_add(1));
                let right = before.or(*number).unwrap_or(1);
                if before.is_none() && (original.is_some() || right > 1) && !versions.has_opaque_before(right) {
                    let detail = "it amends a manifest that is not in the folder".to_owned();
                    self.findings.push(found(Kind::ManifestMissing, detail));
                }
                if number.is_some_and(|number| number != right) {
                    let name = ManifestName { window, class: Class::Amended(right) };
                    self.findings.push(found(Kind::ManifestMoved, format!("it belongs at {}", name.path())));
                }
                if !amends.is_some_and(|amends| amended.insert(amends)) {
                    self.findings.push(found(Kind::ChainForked, "it amends what another one amends".to_owned()));
                }
                let original = amends.and_then(|amends| by_hash.get(&amends)).map(|original| &texts[*original]);
                if let Some(original) = original.filter(|it| it.manifest.previous != manifest.previous) {
                    let detail = format!("it names another predecessor than {}, which it amends", original.path);
                    self.findings.push(found(Kind::ChainBroken, detail));
                }
                numbers.insert(manifest.sha256, right);
                ordered.push((right, at));
            }
        }
        ordered.sort_unstable();
        ordered
    }

    /// Adds the delivery of the last of a window's versions. It lists all files of the window in this place, also those of late
    /// minutes. A version before it may be that of another place, so its files need not be here.
    fn add(&mut self, texts: &[Text], versions: &[usize], has_original: bool) {
        let Some(text) = versions.last() else { return };
        let Text { path, manifest, .. } = &texts[*text];
        let files = manifest.files.clone();
        let mut add =
            |kind, detail: String| self.findings.push(Finding::new(kind, detail).at(path).of(manifest.window));
        if manifest.gap {
            add(Kind::Incomplete, manifest.window.to_string());
        }
        if let Some((_, cause)) = &manifest.amends {
            add(Kind::Amended, format!("{}, {cause}", manifest.window));
        }
        self.listed.extend(files.iter().map(|file| file.path.clone()));
        self.deliveries.push(Delivery { text: *text, files, has_original, is_whole: true });
    }
}

fn amends(text: &Text) -> Option<Sha256> {
    text.manifest.amends.as_ref().map(|(amends, _)| *amends)
}

/// The amended manifests of a window.
#[derive(Default)]
struct Versions {
    texts: Vec<usize>,
    /// The numbers of those that are not trusted.
    opaque: Vec<u32>,
}

impl Versions {
    fn has_opaque_before(&self, number: u32) -> bool {
        self.opaque.iter().any(|opaque| *opaque < number)
    }
}

fn versions(texts: &[Text], opaque: &[Opaque]) -> BTreeMap<Window, Versions> {
    let mut versions = BTreeMap::<Window, Versions>::new();
    for Opaque { name, .. } in opaque {
        if let Class::Amended(number) = name.class {
            versions.entry(name.window).or_default().opaque.push(number);
        }
    }
    for (at, text) in texts.iter().enumerate().filter(|(_, text)| text.manifest.amends.is_some()) {
        versions.entry(text.manifest.window).or_default().texts.push(at);
    }
    versions
}
