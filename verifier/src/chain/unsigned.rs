//! What the manifests are that only lack a signature.

use std::collections::HashSet;

use super::{
    links::Regular,
    slots::Slot,
    texts::{Opaque, Text},
};
use crate::{
    finding::{Finding, Kind},
    names::Class,
    window::{Window, instant},
};

/// Returns a finding for each.
pub(super) fn check(texts: &[Text], opaque: &[Opaque], slots: &[Slot], regular: &Regular) -> Vec<Finding> {
    let end = slots.iter().filter(|slot| slot.text.is_some()).map(|slot| slot.window.to).max();
    let up_to = end.map(|end| format!("; verify up to it with --to {}", instant(end))).unwrap_or_default();
    let free: HashSet<Window> = slots.iter().filter(|slot| slot.text.is_none()).map(|slot| slot.window).collect();
    let unsigned = opaque.iter().filter(|opaque| opaque.is_unsigned);
    let named = unsigned.map(|Opaque { path, name, .. }| {
        let window = name.window;
        let (kind, detail) = match name.class {
            Class::Final => {
                (Kind::ManifestUnsigned, format!("{window}, a final delivery, which no manifest confirms{up_to}"))
            }
            Class::Amended(_) => (Kind::ManifestUnsigned, format!("{window}, amended, which no manifest confirms")),
            Class::Regular if !free.contains(&window) => {
                (Kind::ManifestUnsigned, format!("{window}, of which there are signed ones"))
            }
            Class::Regular => match successor(texts, slots, window).filter(|next| regular.names_unknown(next)) {
                Some(next) => {
                    (Kind::ManifestChanged, format!("it has no signature, and {} names another text", next.path))
                }
                None => (Kind::ManifestUnsigned, window.to_string()),
            },
        };
        Finding::new(kind, detail).at(path).of(window)
    });
    named.collect()
}

/// The trusted manifest of the next window, if that begins where the window ends.
fn successor<'a>(texts: &'a [Text], slots: &[Slot], window: Window) -> Option<&'a Text> {
    let next = slots.get(slots.partition_point(|slot| slot.window <= window))?;
    let text = next.text.filter(|_| next.window.from == window.to);
    text.map(|text| &texts[text])
}
