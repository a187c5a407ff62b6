//! Outboxes: the record `outbox` of each tenant that ever had a notification.

use audit_log_core::{
    outbox::{self, Outbox},
    tenant::TenantId,
};

use super::{Item, text};

/// The entries of the record `outbox`, by their ids; none where there is no map of them.
pub(crate) fn entries(item: &Item) -> Option<&Item> {
    item.get("entries")?.as_m().ok()
}

/// The record `outbox`.
pub(crate) fn outbox(tenant: &TenantId, item: &Item) -> Outbox {
    let number = |name| text(item, name).and_then(|number| number.parse().ok()).unwrap_or(0);
    let mut read = Outbox { sequence: number("sequence"), dropped: number("dropped"), ..Outbox::default() };
    for (id, entry) in entries(item).into_iter().flatten() {
        match entry.as_s().ok().and_then(|entry| outbox::parse(tenant, id, entry)) {
            Some(entry) => read.entries.push(entry),
            None => read.unreadable.push(id.clone()),
        }
    }
    read.entries.sort_unstable_by_key(|entry| entry.sequence);
    read.unreadable.sort_unstable();
    read
}
