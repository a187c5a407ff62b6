//! Whether the given head is in the folder, and what it proves.

use chrono::{DateTime, Utc};

use super::{
    links::{self, Regular},
    slots::Slot,
    texts::Text,
};
use crate::{
    finding::{Finding, Kind},
    hash::Sha256,
    window::instant,
};

/// Where the given head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenHead {
    /// None was given.
    None,
    /// No trusted regular manifest has it.
    Absent,
    /// Manifests between the checked windows and the head are missing or not trusted.
    Unconnected,
    /// Before the checked windows, about which it says nothing.
    Earlier,
    /// Nothing up to this instant was cut off.
    Until {
        until: DateTime<Utc>,
        /// Checked windows after it.
        newer: u64,
    },
}

impl GivenHead {
    /// `slots` are those of `all` that are in the range.
    pub(super) fn find(texts: &[Text], regular: &Regular, all: &[Slot], slots: &[Slot], head: Sha256) -> Self {
        let is_head = |slot: &Slot| slot.text.is_some_and(|text| texts[text].manifest.sha256 == head);
        let Some(at) = all.iter().position(is_head) else { return Self::Absent };
        let window = all[at].window;
        let Some((first, last)) = slots.first().zip(slots.last()) else { return Self::Earlier };
        if window < first.window {
            return Self::Earlier;
        }
        let last = all.iter().position(|slot| slot.window == last.window).unwrap_or(at);
        let way = all.get(last..=at).unwrap_or_default();
        if way.iter().skip(1).any(|slot| slot.text.is_none()) || !links::check(texts, regular, way).is_empty() {
            return Self::Unconnected;
        }
        let newer = slots.iter().filter(|slot| slot.window > window).count() as u64;
        Self::Until { until: window.to, newer }
    }

    /// Returns what is wrong with the end.
    pub(super) fn finding(self, head: Sha256, slots: &[Slot]) -> Option<Finding> {
        let end = slots.iter().map(|slot| slot.window.to).max();
        let detail = match (self, end) {
            (Self::Absent, Some(end)) => {
                format!("no trusted manifest has the hash {head}; the last manifest here ends at {}", instant(end))
            }
            (Self::Absent, None) => format!("no trusted manifest has the hash {head}"),
            (Self::Unconnected, _) => {
                format!("manifests are missing between the windows and the one with the hash {head}")
            }
            (Self::None | Self::Earlier | Self::Until { .. }, _) => return None,
        };
        Some(Finding::new(Kind::Cut, detail))
    }
}
