//! Whether each final delivery continues a manifest of its place.

use std::collections::HashSet;

use super::{
    slots::Slot,
    texts::{Opaque, Text},
};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    names::Class,
    window::Window,
};

/// A final delivery names the newest manifest of its place, or the part of the final delivery before.
pub(super) fn check(texts: &[Text], opaque: &[Opaque], slots: &[Slot]) -> Vec<Finding> {
    let named = texts.iter().filter(|text| text.is_regular() || text.manifest.is_final);
    let named: HashSet<Sha256> = named.map(|text| text.manifest.sha256).collect();
    let finals = texts.iter().filter(|text| text.manifest.is_final);
    let finals = finals.filter_map(|text| text.manifest.previous.map(|previous| (text, previous)));
    let finals = finals.filter(|(_, previous)| !named.contains(previous));
    finals.filter_map(|(text, previous)| absent(text, previous, opaque, slots)).collect()
}

/// What it means that the manifest which a final delivery names isn't there.
fn absent(text: &Text, previous: Sha256, opaque: &[Opaque], slots: &[Slot]) -> Option<Finding> {
    let window = text.manifest.window;
    // A part before, which is not trusted, may be it.
    let parts = opaque.iter().filter(|opaque| opaque.name.class == Class::Final);
    if parts.map(|opaque| opaque.name.window).any(|part| part.to == window.from) {
        return None;
    }
    let before = &slots[..slots.partition_point(|slot| slot.window.from < window.from)];
    let Some(last) = before.iter().max_by_key(|slot| slot.window.to) else {
        let detail = format!("a final delivery, which names {previous}");
        return Some(Finding::new(Kind::PredecessorAbsent, detail).at(&text.path).of(window));
    };
    if last.window.to < window.from {
        // Of windows in between, the one after says so.
        let missing = Window { from: last.window.to, to: window.from };
        let is_last = before.len() == slots.len();
        return is_last.then(|| Finding::new(Kind::ManifestMissing, missing.to_string()).of(missing));
    }
    // What is not trusted may be it.
    last.text?;
    let detail = format!("a final delivery, which continues {previous}, which is not in the folder");
    Some(Finding::new(Kind::ChainBroken, detail).at(&text.path).of(window))
}
