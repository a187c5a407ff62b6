//! The part of the truth that replays change.

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    records::{Location, Receipt, Replay, ReplayState},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};
use chrono::{DateTime, Utc};

/// A window in a place: the bucket, and what the keys of the window's files begin with.
type PlacedWindow = (String, String);

/// What requests for replays and their runs have led to.
#[derive(Default)]
pub struct Replays {
    /// The tenant of each request, by the id of its audit event.
    pub requested: BTreeMap<String, String>,
    pub stop_requested_at: BTreeMap<String, DateTime<Utc>>,
    /// The tenants of the replays that have ended, and how.
    pub ended: Vec<(String, ReplayState)>,
    /// Tenants and the beginnings of windows whose manifest was replaced by another.
    pub amended: Vec<(String, String)>,
    /// The records at the last step, by tenant.
    pub(crate) last: BTreeMap<String, Replay>,
    /// The receipt of the last replay of a window, by tenant, window's end and hash of the location.
    pub(crate) receipts: BTreeMap<(String, DateTime<Utc>, String), Receipt>,
    /// The events that each committed window ever had.
    pub(crate) lines: BTreeMap<PlacedWindow, BTreeSet<String>>,
    /// The hash of the text of each committed manifest, and whether it was signed, by bucket and key.
    pub(crate) notes: BTreeMap<(String, String), (String, bool)>,
    /// Windows with a file that is not the one in their manifest any more.
    pub(crate) unlisted: BTreeSet<PlacedWindow>,
    /// The windows at which replays ended early.
    pub(crate) interrupted: BTreeSet<PlacedWindow>,
    /// The windows that replays have delivered long after they were to stop.
    pub(crate) after_stop: BTreeMap<String, u32>,
}

impl Replays {
    pub fn note_request(&mut self, tenant: &TenantId, replay: &Replay) {
        self.requested.insert(replay.id.clone(), tenant.to_string());
    }

    /// Records what a committed manifest says.
    pub(crate) fn note_manifest(&mut self, place: (String, String), text_sha256: String, is_signed: bool) {
        self.notes.insert(place, (text_sha256, is_signed));
    }

    /// Whether a manifest was signed when it was stored last: a replay may have signed it and have ended before it was done.
    pub(crate) fn is_signed(&self, location: &Location, key: &str) -> bool {
        self.notes.get(&(location.bucket.clone(), key.to_owned())).is_some_and(|(_, is_signed)| *is_signed)
    }

    /// Whether the files of a window may differ from its manifest: a replay ended before it had delivered the window.
    pub(crate) fn is_interrupted(&self, location: &Location, window: Window) -> bool {
        let placed = placed(location, window);
        self.unlisted.contains(&placed) && self.interrupted.contains(&placed)
    }
}

/// What identifies the window in the place.
pub(crate) fn placed(location: &Location, window: Window) -> PlacedWindow {
    let day = timestamp::seconds(window.from).get(..10).unwrap_or_default().to_owned();
    (location.bucket.clone(), format!("{}dt={day}/{window}_", location.folder))
}
