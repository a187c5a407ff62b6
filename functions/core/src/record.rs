//! An audit event on its way into the table: stamped, with an id, and in the schema of the export.

pub mod own;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Builder;

use crate::{
    event::{Document, User},
    tenant::TenantId,
    timestamp,
};

/// When an event is recorded, and for how long it is kept.
///
/// The contract with the export: this is taken right before the write, and the write is given up within half of the
/// time that a window settles for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The event's `recorded_at` and `date`; its fraction of a second has three digits in the table.
    pub at: DateTime<Utc>,
    /// How long the event is kept, if not for ever.
    pub retention: Option<TimeDelta>,
}

/// An event that is ready to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Whose.
    pub tenant: TenantId,
    /// In which of the tenant's shards.
    pub shard: u16,
    /// What tells it from all others of the tenant; a second event with it is the same event, sent again.
    pub id: String,
    /// When, and for how long.
    pub stamp: Stamp,
    /// A copy, for filters.
    pub action: String,
    /// A copy, for filters.
    pub log_type: String,
    /// A copy, for filters.
    pub user_email: Option<String>,
    /// The event as it is exported, one line of JSON.
    pub document: String,
}

/// What happened, and who did it.
#[derive(Debug, Clone, Copy)]
pub struct Deed<'a> {
    /// What kind of thing.
    pub log_type: &'a str,
    /// Which one of that kind.
    pub action: &'a str,
    /// By whom.
    pub user: &'a User,
}

impl NewEvent {
    /// An event of a tenant, in its first shard.
    pub fn new(tenant: &TenantId, stamp: Stamp, id: String, deed: Deed<'_>, info: &impl Serialize) -> Self {
        let Deed { log_type, action, user } = deed;
        let date = timestamp::millis(stamp.at);
        let document = Document { id: &id, date: &date, log_type, action, user, additional_info: info }.to_line();
        Self {
            tenant: tenant.clone(),
            shard: 0,
            stamp,
            action: action.to_owned(),
            log_type: log_type.to_owned(),
            user_email: user.email.clone(),
            document,
            id,
        }
    }

    /// The table's range key.
    pub fn recorded_at_id(&self) -> String {
        format!("{}#{}", timestamp::millis(self.stamp.at), self.id)
    }
}

/// A UUID of version 7: of this moment, and random in its other 74 bits.
pub fn time_ordered_id(at: DateTime<Utc>, random: &[u8; 10]) -> String {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, random).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_instant_of_its_key_and_the_schema_of_the_export() {
        let at = "2026-11-21T10:03:12.3456Z".parse().unwrap();
        let user = User { id: "u-17".to_owned(), name: None, email: Some("ada@acme.example".to_owned()) };
        let deed = Deed { log_type: "Scan", action: "Scan Now", user: &user };
        let stamp = Stamp { at, retention: None };
        let acme = TenantId::parse("acme").unwrap();
        let event = NewEvent::new(&acme, stamp, "01K".to_owned(), deed, &serde_json::json!({ "scanId": 7 }));
        assert_eq!(event.recorded_at_id(), "2026-11-21T10:03:12.345Z#01K");
        insta::assert_snapshot!(event.document, @r#"{"id":"01K","date":"2026-11-21T10:03:12.345Z","logType":"Scan","action":"Scan Now","user":{"id":"u-17","email":"ada@acme.example"},"additionalInfo":{"scanId":7}}"#);
    }

    #[test]
    fn a_time_ordered_id_is_a_uuid_of_version_7() {
        let at = "2026-11-21T10:03:12.345Z".parse().unwrap();
        let id = time_ordered_id(at, &[0xff; 10]);
        assert_eq!(id, "01a1fd8f-5859-7fff-bfff-ffffffffffff");
        assert!(id < time_ordered_id(at + TimeDelta::milliseconds(1), &[0; 10]), "sorts by time");
    }
}
