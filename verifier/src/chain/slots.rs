//! The windows that have a regular manifest, in order.

use std::collections::HashSet;

use super::{
    links::Regular,
    texts::{Opaque, Text},
};
use crate::{
    finding::{Finding, Kind},
    names::Class,
    window::{Window, instant},
};

/// A window for which there is a regular manifest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) window: Window,
    /// Of its manifest, in [`super::Chain::texts`]. None if the one in its place is not trusted.
    pub(crate) text: Option<usize>,
}

/// Anyone can write a manifest that is not trusted, so such a one counts only where no trusted one is.
pub(super) fn new(texts: &[Text], opaque: &[Opaque]) -> Vec<Slot> {
    let regular = texts.iter().enumerate().filter(|(_, text)| text.is_regular());
    let mut slots: Vec<Slot> =
        regular.map(|(at, text)| Slot { window: text.manifest.window, text: Some(at) }).collect();
    let trusted: Vec<Window> = slots.iter().map(|slot| slot.window).collect();
    let is_free = |window: Window| !trusted.iter().any(|trusted| trusted.overlaps(&window));
    let opaque = opaque.iter().filter(|opaque| opaque.name.class == Class::Regular && is_free(opaque.name.window));
    slots.extend(opaque.map(|opaque| Slot { window: opaque.name.window, text: None }));
    slots.sort_by_key(|slot| slot.window);
    slots
}

/// Names the manifests that only lack a signature.
pub(super) fn unsigned(texts: &[Text], opaque: &[Opaque], slots: &[Slot], regular: &Regular) -> Vec<Finding> {
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
