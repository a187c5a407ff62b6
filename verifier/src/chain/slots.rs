//! The windows that have a regular manifest, in order.

use super::texts::{Opaque, Text};
use crate::{names::Class, window::Window};

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
