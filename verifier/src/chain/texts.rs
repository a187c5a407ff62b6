//! Which manifests may be used: those of this tenant, each once, by what they say and not by where they are.

use std::collections::{HashMap, HashSet};

use super::{Slot, Text};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    manifest::Manifest,
    manifest_file::{Content, ManifestFile},
    names::{Class, ManifestName},
    window::Window,
};

pub(super) struct Texts {
    pub(super) texts: Vec<Text>,
    /// The names of manifests that can't be used.
    pub(super) opaque: Vec<ManifestName>,
    pub(super) findings: Vec<Finding>,
}

impl Texts {
    pub(super) fn new(mut files: Vec<ManifestFile>, tenant: &str, head: Option<Sha256>) -> Self {
        let trusted = trusted_unsigned(&files, tenant, head);
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
            let is_trusted = key.is_some() || trusted.contains(&manifest.sha256);
            if !is_trusted && (!in_place || manifest.tenant != tenant) {
                let changed =
                    Finding::new(Kind::ManifestChanged, "it has no signature, and its text is not of this name");
                let changed = changed.at(&path);
                findings.push(match name {
                    Some(name) => changed.of(name.window),
                    None => changed,
                });
                opaque.extend(name.filter(|name| name.path() == path));
                continue;
            }
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

/// The unsigned texts that a trusted one names, or that are the head: nobody can make another text with the same hash.
fn trusted_unsigned(files: &[ManifestFile], tenant: &str, head: Option<Sha256>) -> HashSet<Sha256> {
    let mut named: HashSet<Sha256> = head.into_iter().collect();
    let mut unsigned = Vec::new();
    for file in files {
        match &file.content {
            Content::Signed { manifest, .. } if manifest.tenant == tenant => named.extend(names(manifest)),
            Content::Unsigned(manifest) => unsigned.push(manifest),
            Content::Signed { .. } | Content::Untrusted(_) => {}
        }
    }
    // A later window's manifest names an earlier one's, so one pass finds nearly all.
    unsigned.sort_by_key(|manifest| std::cmp::Reverse(manifest.window));
    let mut trusted = HashSet::new();
    loop {
        let before = unsigned.len();
        unsigned.retain(|manifest| {
            let is_trusted = named.contains(&manifest.sha256);
            if is_trusted {
                trusted.insert(manifest.sha256);
                named.extend(names(manifest));
            }
            !is_trusted
        });
        if unsigned.len() == before {
            return trusted;
        }
    }
}

fn names(manifest: &Manifest) -> impl Iterator<Item = Sha256> {
    let amended = manifest.amends.as_ref().map(|(amended, _)| *amended);
    manifest.previous.into_iter().chain(amended)
}

/// The windows that have a regular manifest, in order. Anyone can write a manifest that can't be trusted, so such a one counts
/// only where no trusted one is. The findings are about unsigned ones that don't count.
pub(super) fn regular_slots(texts: &[Text], opaque: &[ManifestName]) -> (Vec<Slot>, Vec<Finding>) {
    let is_regular = |text: &Text| !text.manifest.is_final && text.manifest.amends.is_none();
    let regular: Vec<usize> = (0..texts.len()).filter(|at| is_regular(&texts[*at])).collect();
    let slot = |at: usize| Slot { window: texts[at].manifest.window, text: Some(at) };
    let mut slots: Vec<Slot> = regular.iter().filter(|at| texts[**at].is_trusted).map(|at| slot(*at)).collect();
    let trusted: Vec<Window> = slots.iter().map(|slot| slot.window).collect();
    let is_free = |window: Window| !trusted.iter().any(|trusted| trusted.overlaps(&window));
    let mut findings = Vec::new();
    for at in regular.into_iter().filter(|at| !texts[*at].is_trusted) {
        let Text { path, manifest, .. } = &texts[at];
        if is_free(manifest.window) {
            slots.push(slot(at));
        } else {
            let detail = format!("{}, of which there are signed ones", manifest.window);
            findings.push(Finding::new(Kind::ManifestUnsigned, detail).at(path).of(manifest.window));
        }
    }
    let taken: HashSet<_> = slots.iter().map(|slot| slot.window).collect();
    let opaque = opaque.iter().filter(|name| name.class == Class::Regular);
    let opaque = opaque.filter(|name| is_free(name.window) && !taken.contains(&name.window));
    slots.extend(opaque.map(|name| Slot { window: name.window, text: None }));
    slots.sort_by_key(|slot| slot.window);
    (slots, findings)
}
