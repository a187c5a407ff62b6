//! The outbox: notifications that are stored with the change they announce, and published afterwards.
//!
//! So no notification is lost when a run dies, and none announces a change that was never made. Notifications are published
//! at least once, under the tenant's lease, in the order of their sequence numbers, and then removed.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    new_event::NewEvent,
    notification::{Kind, Notification},
    records::FinalDeliveries,
    tenant::TenantId,
    timestamp,
};

/// An item in DynamoDB has at most 400 KB, and an entry takes one to three.
pub const MAX_ENTRIES: usize = 100;

/// What is stored with a change: the tenant's audit event of it, and in most cases a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    pub event: NewEvent,
    /// It has the event's id.
    pub notification: Option<Notification>,
    /// The record `final_delivery` after a change that leaves a place. Its revision is one more than that of the record as
    /// read, on which the write is conditional.
    pub final_deliveries: Option<FinalDeliveries>,
}

impl Announcement {
    pub fn new(event: NewEvent, kind: Kind, at: DateTime<Utc>, info: Map<String, Value>) -> Self {
        let (id, tenant) = (event.id.clone(), event.tenant.clone());
        let notification = Some(Notification { kind, id, tenant, at, info, sequence: 0 });
        Self { event, notification, final_deliveries: None }
    }

    /// An audit event without a notification.
    pub fn silent(event: NewEvent) -> Self {
        Self { event, notification: None, final_deliveries: None }
    }

    /// The same with what is left to deliver to a place that the change leaves, if it leaves one.
    #[must_use]
    pub fn leaving(self, final_deliveries: Option<FinalDeliveries>) -> Self {
        Self { final_deliveries, ..self }
    }
}

/// A tenant's record `outbox`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outbox {
    /// The sequence number of the entry that was added last.
    pub sequence: u64,
    /// Entries that were dropped from the full outbox since it was empty.
    pub dropped: u64,
    /// In the order of their sequence numbers.
    pub entries: Vec<Notification>,
    /// Ids of entries that can't be read. They stay until an operator removes them.
    pub unreadable: Vec<String>,
}

/// A change of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// The new entry with its sequence number.
    pub entry: Notification,
    /// The id of the entry that makes room for it.
    pub dropped: Option<String>,
}

impl Outbox {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreadable.is_empty()
    }

    /// Returns what adding a notification changes. If the outbox is full, the oldest entry of the same kind is dropped, or the
    /// oldest of all if there is none of that kind.
    pub fn addition(&self, notification: &Notification) -> Addition {
        let entry = Notification { sequence: self.sequence + 1, ..notification.clone() };
        let others = self.entries.iter().filter(|it| it.id != entry.id);
        let is_full = others.clone().count() + self.unreadable.len() >= MAX_ENTRIES;
        let same_kind = others.clone().find(|it| it.kind == entry.kind);
        let oldest = same_kind.or_else(|| others.clone().next()).filter(|_| is_full);
        Addition { dropped: oldest.map(|it| it.id.clone()), entry }
    }

    pub fn add(&mut self, Addition { entry, dropped }: Addition) {
        self.sequence = entry.sequence;
        self.dropped += u64::from(dropped.is_some());
        self.entries.retain(|it| Some(&it.id) != dropped.as_ref() && it.id != entry.id);
        self.entries.push(entry);
    }

    /// Removes entries by their ids.
    pub fn remove(&mut self, ids: &[String]) {
        self.entries.retain(|it| !ids.contains(&it.id));
        if self.is_empty() {
            self.dropped = 0;
        }
    }

    /// Returns when the oldest entry was added.
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        self.entries.iter().map(|it| it.at).min()
    }
}

/// The stored form of an entry, under its id: JSON.
#[derive(Serialize, Deserialize)]
struct StoredEntry {
    kind: Kind,
    sequence: u64,
    at: String,
    info: Map<String, Value>,
}

/// Returns the stored form of an entry.
pub fn to_text(entry: &Notification) -> String {
    let Notification { kind, sequence, at, info, .. } = entry.clone();
    serde_json::to_string(&StoredEntry { kind, sequence, at: timestamp::seconds(at), info }).unwrap_or_default()
}

/// Parses what [`to_text`] writes.
pub fn parse(tenant: &TenantId, id: &str, text: &str) -> Option<Notification> {
    let StoredEntry { kind, sequence, at, info } = serde_json::from_str(text).ok()?;
    let at = timestamp::parse_seconds(&at)?;
    Some(Notification { kind, id: id.to_owned(), tenant: tenant.clone(), at, info, sequence })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(id: &str, kind: Kind) -> Notification {
        let (tenant, at) = (TenantId::parse("acme").unwrap(), "2026-11-21T11:00:00Z".parse().unwrap());
        let info = Map::from_iter([("days".to_owned(), Value::from(3))]);
        Notification { kind, id: id.to_owned(), tenant, at, info, sequence: 0 }
    }

    fn ids(outbox: &Outbox) -> Vec<&str> {
        outbox.entries.iter().map(|it| it.id.as_str()).collect()
    }

    #[test]
    fn entries_are_numbered_over_the_outboxs_whole_life() {
        let mut outbox = Outbox::default();
        outbox.add(outbox.addition(&notification("a", Kind::Failed)));
        outbox.remove(&["a".to_owned()]);
        outbox.add(outbox.addition(&notification("b", Kind::Recovered)));
        assert_eq!((outbox.sequence, outbox.entries[0].sequence, ids(&outbox)), (2, 2, vec!["b"]));
    }

    #[test]
    fn a_full_outbox_drops_the_oldest_of_the_same_kind_and_counts_it_until_it_is_empty() {
        let mut outbox = Outbox::default();
        for n in 0..MAX_ENTRIES {
            let kind = if n == 0 { Kind::Recovered } else { Kind::Failed };
            outbox.add(outbox.addition(&notification(&n.to_string(), kind)));
        }
        outbox.add(outbox.addition(&notification("more", Kind::Failed)));
        assert_eq!((outbox.entries.len(), outbox.dropped), (MAX_ENTRIES, 1));
        assert_eq!((ids(&outbox)[..2].to_vec(), ids(&outbox)[99]), (vec!["0", "2"], "more"));
        outbox.add(outbox.addition(&notification("more", Kind::Failed)));
        assert_eq!(
            (outbox.entries.len(), outbox.dropped),
            (MAX_ENTRIES, 1),
            "an entry that is added again takes no room"
        );
        outbox.add(outbox.addition(&notification("other", Kind::Drifted)));
        assert_eq!((ids(&outbox)[0], outbox.dropped), ("2", 2), "no entry of that kind: the oldest of all");
        let all: Vec<String> = ids(&outbox).into_iter().map(str::to_owned).collect();
        outbox.remove(&all);
        assert_eq!((outbox.is_empty(), outbox.dropped), (true, 0));
    }

    #[test]
    fn an_unreadable_entry_takes_room_too() {
        let mut outbox = Outbox { unreadable: vec!["damaged".to_owned()], ..Outbox::default() };
        for n in 0..MAX_ENTRIES {
            outbox.add(outbox.addition(&notification(&n.to_string(), Kind::Failed)));
        }
        assert_eq!((outbox.entries.len(), outbox.dropped), (MAX_ENTRIES - 1, 1));
    }

    #[test]
    fn an_entry_is_parsed_as_it_was_stored_and_a_damaged_one_is_none() {
        let entry = Notification { sequence: 7, ..notification("system:1", Kind::StillFailing) };
        assert_eq!(parse(&entry.tenant, "system:1", &to_text(&entry)), Some(entry.clone()));
        for text in ["", "{}", r#"{"kind":"Nonsense","sequence":1,"at":"2026-11-21T11:00:00Z","info":{}}"#] {
            assert_eq!(parse(&entry.tenant, "system:1", text), None, "{text}");
        }
    }
}
