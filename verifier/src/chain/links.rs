//! Whether each regular manifest continues the one before.

use std::collections::HashMap;

use super::{slots::Slot, texts::Text};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    window::Window,
};

/// The trusted regular manifests in the folder, in the range or not, by hash.
pub(super) struct Regular(HashMap<Sha256, usize>);

impl Regular {
    pub(super) fn new(texts: &[Text], slots: &[Slot]) -> Self {
        Self(slots.iter().filter_map(|slot| slot.text).map(|text| (texts[text].manifest.sha256, text)).collect())
    }

    pub(super) fn has(&self, hash: Sha256) -> bool {
        self.0.contains_key(&hash)
    }

    /// Whether a manifest names a predecessor that isn't here.
    pub(super) fn names_unknown(&self, text: &Text) -> bool {
        text.manifest.previous.is_some_and(|previous| !self.has(previous))
    }
}

/// Compares each manifest with the one before. Only what a trusted one says, and of a trusted one, tells of the platform.
pub(super) fn check(texts: &[Text], regular: &Regular, slots: &[Slot]) -> Vec<Finding> {
    let (mut findings, mut pending) = (Vec::new(), Vec::new());
    let mut before: Option<&Text> = None;
    for (at, slot) in slots.iter().enumerate() {
        let end = slots[..at].last().map(|before| before.window.to);
        let missing = end.filter(|end| *end < slot.window.from).map(|end| Window { from: end, to: slot.window.from });
        let missing = missing.map(|missing| Finding::new(Kind::ManifestMissing, missing.to_string()).of(missing));
        let Some(text) = slot.text.map(|text| &texts[text]) else {
            pending.extend(missing);
            continue;
        };
        // Between this and the trusted one before, there may be one that is not trusted.
        let is_next = at > 0 && slots[at - 1].text.is_some();
        if let Some(before) = before {
            findings.append(&mut pending);
            findings.extend(compare(texts, regular, before, text, is_next, missing));
        } else if regular.names_unknown(text) {
            // What is before the tenant's first manifest, and not trusted, doesn't make time missing.
            findings.append(&mut pending);
            findings.extend(missing);
        }
        pending.clear();
        before = Some(text);
    }
    findings
}

fn compare(
    texts: &[Text],
    regular: &Regular,
    before: &Text,
    text: &Text,
    is_next: bool,
    missing: Option<Finding>,
) -> Option<Finding> {
    let (a, b) = (before.manifest.window, text.manifest.window);
    let found = |kind, detail: String| Some(Finding::new(kind, detail).at(&text.path).of(b));
    match text.manifest.previous {
        Some(previous) if before.manifest.sha256 == previous => {
            if a.to == b.from {
                return None;
            }
            let what = if a.to < b.from { "a gap" } else { "an overlap" };
            found(Kind::WindowGap, format!("{what} between {a} and {b}"))
        }
        None => found(Kind::ChainRestarted, format!("the chain begins anew after the window {a}")),
        Some(previous) if let Some(other) = regular.0.get(&previous) => {
            let other = texts[*other].manifest.window;
            found(Kind::ChainForked, format!("it continues {other}, although {a} is between"))
        }
        Some(_) if missing.is_some() => missing,
        // It may well continue the one in between.
        Some(_) if !is_next => None,
        Some(previous) => found(
            Kind::ChainBroken,
            format!("it continues {previous}, which is not in the folder, and not {}", before.path),
        ),
    }
}
