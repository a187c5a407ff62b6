//! The manifests in order: which texts can be trusted, and what is wrong between them.

mod amended;
mod links;
mod texts;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use self::{amended::Amended, texts::Texts};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    manifest::Manifest,
    manifest_file::{ManifestFile, SigningKey},
    names::Class,
    window::{Window, instant},
};

/// The time that is to be checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// None: from the first window on.
    pub from: Option<DateTime<Utc>>,
    /// None: to the last window.
    pub to: Option<DateTime<Utc>>,
}

impl Range {
    pub(crate) fn includes(&self, window: &Window) -> bool {
        self.from.is_none_or(|from| from < window.to) && self.to.is_none_or(|to| window.from < to)
    }
}

/// A manifest whose text may be used.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) manifest: Manifest,
    /// None if it isn't signed.
    pub(crate) key: Option<SigningKey>,
    /// Whether it is signed, or named by a trusted one.
    pub(crate) is_trusted: bool,
    /// Of an amended one, as its name says.
    number: Option<u32>,
}

/// A window for which there is a regular manifest.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) window: Window,
    /// Of its manifest, in [`Chain::texts`]. None if its text can't be used.
    pub(crate) text: Option<usize>,
}

/// Files that a manifest has listed.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// In [`Chain::texts`].
    pub(crate) text: usize,
    /// The manifest that was amended. Its files of late minutes are listed too: nothing amends those.
    pub(crate) original: Option<usize>,
    /// In [`Chain::slots`]. None for a final delivery, and for an amended window without its original.
    pub(crate) slot: Option<usize>,
}

/// Where the windows begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// With the tenant's first manifest.
    First,
    /// With one that names another, which isn't in the folder.
    After(Sha256),
    /// With one that continues another in the folder.
    Within,
    /// The first manifest can't be used.
    Unknown,
}

/// The manifests of a folder in order.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) texts: Vec<Text>,
    /// Those in the range, by window.
    pub(crate) slots: Vec<Slot>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) beginning: Beginning,
    /// The hash of the last manifest in the range.
    pub(crate) head: Option<Sha256>,
    /// Where the files of all texts belong: what isn't here is listed by none.
    pub(crate) listed: HashSet<String>,
    /// Times for which a finding says that nothing is proved.
    pub(crate) unproved: Vec<Window>,
    /// The same of final deliveries.
    pub(crate) unproved_finals: Vec<Window>,
    pub(crate) findings: Vec<Finding>,
}

impl Chain {
    /// Puts manifests in order.
    pub(crate) fn new(files: Vec<ManifestFile>, tenant: &str, range: Range, head: Option<Sha256>) -> Self {
        let hashes: HashSet<Sha256> = files.iter().filter_map(|file| file.text_sha256).collect();
        let Texts { texts, opaque, mut findings } = Texts::new(files, tenant, head);
        let (mut regular, beside) = texts::regular_slots(&texts, &opaque);
        findings.extend(beside);
        findings.extend(links::unsigned(&texts, &mut regular));
        let all = links::Regular::new(&texts, &regular);
        let beginning = match regular.iter().position(|slot| range.includes(&slot.window)) {
            Some(first) => beginning(&texts, &all, &regular[..=first]),
            None => Beginning::Unknown,
        };
        let slots: Vec<Slot> = regular.into_iter().filter(|slot| range.includes(&slot.window)).collect();
        let mut unproved: Vec<Window> =
            slots.iter().filter(|slot| slot.text.is_none()).map(|slot| slot.window).collect();
        let unproved_finals = opaque.iter().filter(|name| name.class == Class::Final).map(|name| name.window).collect();
        for pair in slots.windows(2) {
            if let Some(finding) = links::check(&texts, &all, &pair[0], &pair[1]) {
                unproved.extend(finding.window.filter(|_| finding.kind == Kind::ManifestMissing));
                findings.push(finding);
            }
        }
        if let (Beginning::After(previous), Some(first)) = (beginning, slots.first()) {
            let detail = format!("the chain begins at {} and names {previous}", instant(first.window.from));
            findings.push(Finding::new(Kind::PredecessorAbsent, detail).of(first.window));
        }
        findings.extend(not_covered(&slots, range));
        if let Some(head) = head.filter(|head| !hashes.contains(head)) {
            let last = slots.last().map(|slot| format!("; the last manifest here ends at {}", instant(slot.window.to)));
            let detail = format!("no manifest has the hash {head}{}", last.unwrap_or_default());
            findings.push(Finding::new(Kind::Cut, detail));
        }
        let Amended { deliveries, findings: amended, unproved: more } =
            Amended::new(&texts, &opaque, &slots, range, &unproved);
        unproved.extend(more);
        findings.extend(amended);
        findings.extend(marks(&texts, &deliveries));
        findings.retain(|finding| finding.window.is_none_or(|window| range.includes(&window)));
        let head = slots.last().and_then(|slot| slot.text).map(|text| texts[text].manifest.sha256);
        let listed = listed(&texts, &deliveries, range);
        Self { texts, slots, deliveries, beginning, head, listed, unproved, unproved_finals, findings }
    }

    /// The files of a delivery.
    pub(crate) fn files<'a>(&'a self, delivery: &Delivery) -> impl Iterator<Item = &'a crate::manifest::Listed> {
        let own = &self.texts[delivery.text].manifest.files;
        let original = delivery.original.map_or(&[][..], |original| &self.texts[original].manifest.files);
        let inherited =
            original.iter().filter(|file| is_late(&file.path) && !own.iter().any(|own| own.path == file.path));
        own.iter().chain(inherited)
    }
}

fn is_late(path: &str) -> bool {
    crate::names::DataName::parse(path).is_some_and(|name| name.is_late)
}

/// `slots` ends with the first one in the range.
fn beginning(texts: &[Text], all: &links::Regular, slots: &[Slot]) -> Beginning {
    let Some(first) = slots.last().and_then(|slot| slot.text) else { return Beginning::Unknown };
    match texts[first].manifest.previous {
        None => Beginning::First,
        Some(previous) if all.has(previous) => Beginning::Within,
        // What is wrong with those before isn't asked for.
        Some(_) if slots.len() > 1 => Beginning::Within,
        Some(previous) => Beginning::After(previous),
    }
}

fn not_covered(slots: &[Slot], range: Range) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |detail: String| findings.push(Finding::new(Kind::NotCovered, detail));
    let Some((first, last)) = slots.first().zip(slots.last()) else {
        if range.from.or(range.to).is_some() {
            add("no window of that time is in the folder".to_owned());
        }
        return findings;
    };
    if let Some(from) = range.from.filter(|from| *from < first.window.from) {
        add(format!("{} to {}", instant(from), instant(first.window.from)));
    }
    let end = slots.iter().map(|slot| slot.window.to).max().unwrap_or(last.window.to);
    if let Some(to) = range.to.filter(|to| *to > end) {
        add(format!("{} to {}", instant(end), instant(to)));
    }
    findings
}

/// What manifests that can be used say about themselves.
fn marks(texts: &[Text], deliveries: &[Delivery]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for Delivery { text, .. } in deliveries {
        let Text { path, manifest, key, is_trusted, .. } = &texts[*text];
        let mut add = |kind, detail: String| findings.push(Finding::new(kind, detail).at(path).of(manifest.window));
        if manifest.gap {
            add(Kind::Incomplete, manifest.window.to_string());
        }
        if let Some((_, cause)) = &manifest.amends {
            add(Kind::Amended, format!("{}, {cause}", manifest.window));
        }
        if key.is_none() && *is_trusted {
            add(Kind::UnsignedInChain, manifest.window.to_string());
        } else if key.is_none() {
            add(Kind::ManifestUnsigned, manifest.window.to_string());
        }
    }
    // An original that was amended has no delivery of its own.
    for Delivery { original, .. } in deliveries {
        if let Some(Text { path, manifest, key: None, is_trusted, .. }) = original.map(|original| &texts[original]) {
            let kind = if *is_trusted { Kind::UnsignedInChain } else { Kind::ManifestUnsigned };
            findings.push(Finding::new(kind, manifest.window.to_string()).at(path).of(manifest.window));
        }
    }
    findings
}

/// What is outside the range is listed by its own manifests, whatever they are worth. In the range, those count that stand.
fn listed(texts: &[Text], deliveries: &[Delivery], range: Range) -> HashSet<String> {
    let standing: HashMap<usize, Option<usize>> = deliveries.iter().map(|it| (it.text, it.original)).collect();
    let originals: HashSet<usize> = standing.values().flatten().copied().collect();
    let mut listed = HashSet::new();
    for (at, text) in texts.iter().enumerate() {
        let stands = standing.contains_key(&at) || !range.includes(&text.manifest.window);
        let files =
            text.manifest.files.iter().filter(|file| stands || (originals.contains(&at) && is_late(&file.path)));
        listed.extend(files.map(|file| file.path.clone()));
    }
    listed
}
