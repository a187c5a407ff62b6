//! Which manifests may be used: those of this tenant, each once, by what they say and not by where they are.

use std::collections::{HashMap, HashSet};

use super::{Slot, Text};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    manifest_file::{Content, ManifestFile},
    names::{Class, ManifestName},
};

pub(super) struct Texts {
    pub(super) texts: Vec<Text>,
    /// The names of manifests that can't be used.
    pub(super) opaque: Vec<ManifestName>,
    pub(super) findings: Vec<Finding>,
}

impl Texts {
    pub(super) fn new(mut files: Vec<ManifestFile>, tenant: &str) -> Self {
        // Of copies, the one in its place is kept.
        files.sort_by_cached_key(|file| (!is_in_place(file), file.path.clone()));
        let (mut texts, mut opaque, mut findings) = (Vec::<Text>::new(), Vec::new(), Vec::new());
        let mut known = HashMap::<Sha256, String>::new();
        for file in files {
            let in_place = is_in_place(&file);
            let ManifestFile { path, name, content, .. } = file;
            let (manifest, key, others) = match content {
                Content::Untrusted(finding) => {
                    findings.push(finding);
                    opaque.extend(name.filter(|name| name.path() == path));
                    continue;
                }
                Content::Signed { manifest, key, others } => (manifest, Some(key), others),
                Content::Unsigned(manifest) => (manifest, None, Vec::new()),
            };
            let moved = |detail: String| Finding::new(Kind::ManifestMoved, detail).at(&path).of(manifest.window);
            if manifest.tenant != tenant {
                findings.push(moved(format!("it is a manifest of the tenant {}", manifest.tenant)));
                continue;
            }
            if let Some(original) = known.get(&manifest.sha256) {
                findings.push(moved(format!("it is a copy of {original}")));
                continue;
            }
            if !in_place {
                let belongs = match (manifest.is_final, &manifest.amends) {
                    (true, _) => ManifestName { window: manifest.window, class: Class::Final }.path(),
                    (false, None) => ManifestName { window: manifest.window, class: Class::Regular }.path(),
                    (false, Some(_)) => format!("the amended ones of {}", manifest.window.name()),
                };
                findings.push(moved(format!("it belongs at {belongs}")));
            }
            if !others.is_empty() {
                let detail = format!("also signed by {}", others.join(", "));
                findings.push(Finding::new(Kind::OtherSignature, detail).at(&path).of(manifest.window));
            }
            let number = name.filter(|name| manifest.fits(name)).and_then(|name| match name.class {
                Class::Amended(number) => Some(number),
                _ => None,
            });
            known.insert(manifest.sha256, path.clone());
            let is_trusted = key.is_some();
            texts.push(Text { path, manifest, key, is_trusted, number });
        }
        Self { texts, opaque, findings }
    }
}

fn is_in_place(file: &ManifestFile) -> bool {
    match &file.content {
        Content::Signed { manifest, .. } | Content::Unsigned(manifest) => file.is_in_place(manifest),
        Content::Untrusted(_) => false,
    }
}

/// Marks unsigned texts that a trusted one names, or that are the head: nobody can make another text with the same hash.
pub(super) fn trust(texts: &mut [Text], head: Option<Sha256>) {
    let mut named: HashSet<Sha256> = head.into_iter().collect();
    texts.iter().filter(|text| text.is_trusted).for_each(|text| named.extend(names(text)));
    // A later window's manifest names an earlier one's, so one pass finds nearly all.
    let mut unsigned: Vec<usize> = (0..texts.len()).filter(|at| !texts[*at].is_trusted).collect();
    unsigned.sort_by_key(|at| std::cmp::Reverse(texts[*at].manifest.window));
    loop {
        let before = unsigned.len();
        unsigned.retain(|at| {
            let text = &mut texts[*at];
            text.is_trusted = named.contains(&text.manifest.sha256);
            if text.is_trusted {
                named.extend(names(text));
            }
            !text.is_trusted
        });
        if unsigned.len() == before {
            return;
        }
    }
}

fn names(text: &Text) -> impl Iterator<Item = Sha256> {
    let amended = text.manifest.amends.as_ref().map(|(amended, _)| *amended);
    text.manifest.previous.into_iter().chain(amended)
}

/// The windows that have a regular manifest, in order.
pub(super) fn regular_slots(texts: &[Text], opaque: &[ManifestName]) -> Vec<Slot> {
    let is_regular = |text: &Text| !text.manifest.is_final && text.manifest.amends.is_none();
    let regular = texts.iter().enumerate().filter(|(_, text)| is_regular(text));
    let mut slots: Vec<Slot> =
        regular.map(|(at, text)| Slot { window: text.manifest.window, text: Some(at) }).collect();
    // The right manifest may be in the folder under another name.
    let taken: HashSet<_> = slots.iter().map(|slot| slot.window).collect();
    let opaque = opaque.iter().filter(|name| name.class == Class::Regular && !taken.contains(&name.window));
    slots.extend(opaque.map(|name| Slot { window: name.window, text: None }));
    slots.sort_by_key(|slot| slot.window);
    slots
}
