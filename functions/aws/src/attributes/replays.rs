//! Converts the record `replay` of the tenants table.

use audit_log_core::{
    records::Replay,
    tenant::{DueShard, TenantId},
};

use super::{Item, key, n, s, text};

/// While the replay is running, the record is in the index `pending`. An ended one stays, outside of it.
pub(crate) fn replay(tenant: &TenantId, record: &str, replay: &Replay) -> Item {
    let mut item = key(tenant, record);
    item.insert("replay".to_owned(), s(replay.to_text()));
    item.insert("revision".to_owned(), n(replay.revision));
    if replay.is_running() {
        item.insert("pending_shard".to_owned(), s(DueShard::from_tenant(tenant).to_string()));
    }
    item
}

/// `None` if it can't be read.
pub(crate) fn stored_replay(item: &Item) -> Option<Replay> {
    Replay::parse(replay_revision(item), &text(item, "replay")?)
}

pub(crate) fn replay_revision(item: &Item) -> u64 {
    text(item, "revision").and_then(|revision| revision.parse().ok()).unwrap_or(0)
}
