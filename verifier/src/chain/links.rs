//! Whether each regular manifest continues the one before.

use std::collections::HashMap;

use super::{Slot, Text};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    window::Window,
};

/// The regular manifests in the folder, in the range or not, by hash.
pub(super) struct Regular(HashMap<Sha256, usize>);

impl Regular {
    pub(super) fn new(texts: &[Text], slots: &[Slot]) -> Self {
        Self(slots.iter().filter_map(|slot| slot.text).map(|text| (texts[text].manifest.sha256, text)).collect())
    }

    pub(super) fn has(&self, hash: Sha256) -> bool {
        self.0.contains_key(&hash)
    }
}

/// Finds unsigned manifests that were changed: the trusted one after it names another text. Such a text can't be used.
pub(super) fn unsigned(texts: &[Text], slots: &mut [Slot]) -> Vec<Finding> {
    let all = Regular::new(texts, slots);
    let mut findings = Vec::new();
    for at in 1..slots.len() {
        let (Some(a), Some(b)) = (slots[at - 1].text, slots[at].text) else { continue };
        let (before, after) = (&texts[a], &texts[b]);
        let follows = before.manifest.window.to == after.manifest.window.from;
        let names_other = after.manifest.previous.is_some_and(|previous| !all.has(previous));
        if !before.is_trusted && after.is_trusted && follows && names_other {
            let detail = format!("it has no signature, and {} names another text", after.path);
            findings.push(Finding::new(Kind::ManifestChanged, detail).at(&before.path).of(before.manifest.window));
            slots[at - 1].text = None;
        }
    }
    findings
}

/// Compares a manifest with the one before.
pub(super) fn check(texts: &[Text], all: &Regular, before: &Slot, slot: &Slot) -> Option<Finding> {
    let (end, begin) = (before.window.to, slot.window.from);
    let missing = (end < begin).then_some(Window { from: end, to: begin });
    let missing = missing.map(|missing| Finding::new(Kind::ManifestMissing, missing.to_string()).of(missing));
    // What an unsigned one says about its predecessor proves nothing.
    let text = slot.text.map(|text| &texts[text]).filter(|text| text.is_trusted);
    let Some(text) = text else { return missing };
    let found = |kind, detail: String| Some(Finding::new(kind, detail).at(&text.path).of(slot.window));
    let before_text = before.text.map(|text| &texts[text]);
    match text.manifest.previous {
        Some(previous) if before_text.is_some_and(|before| before.manifest.sha256 == previous) => {
            if end == begin {
                return None;
            }
            let what = if end < begin { "a gap" } else { "an overlap" };
            found(Kind::WindowGap, format!("{what} between {} and {}", before.window, slot.window))
        }
        None => found(Kind::ChainRestarted, format!("the chain begins anew after the window {}", before.window)),
        Some(previous) if let Some(other) = all.0.get(&previous) => {
            let (before, other) = (before.window, texts[*other].manifest.window);
            found(Kind::ChainForked, format!("it continues {other}, although {before} is between"))
        }
        Some(_) if missing.is_some() => missing,
        // It may well continue the one before, whose text can't be used.
        Some(_) if before_text.is_none() => None,
        Some(previous) => {
            let before = before_text.map(|before| before.path.as_str()).unwrap_or_default();
            found(Kind::ChainBroken, format!("it continues {previous}, which is not in the folder, and not {before}"))
        }
    }
}
