//! An audit event that is ready to be stored: stamped, with an id, in the schema of the export.

use std::fmt::{self, Display};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

use crate::{
    event::{Document, User},
    object::sha256,
    tenant::{EventShards, TenantId},
    timestamp,
};

/// When an event is recorded and for how long it is kept.
///
/// The contract with the export: the writer takes the time right before the write, and abandons the write within half
/// of `SETTLE_SECONDS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The event's `recorded_at` and `date`, stored with three fraction digits.
    pub at: DateTime<Utc>,
    /// None keeps the event forever.
    pub retention: Option<TimeDelta>,
}

/// Who handed an event in. Ids are a submitter's own, so that no submitter can take an id from another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Submitter(String);

impl Submitter {
    /// This system, for its own events.
    pub fn system() -> Self {
        Self("system".to_owned())
    }

    /// The subject of an access token. One issuer makes all tokens, so a subject is unique.
    pub fn from_token(subject: &str) -> Self {
        Self(format!("token:{subject}"))
    }

    /// The principal that sent a message to the queue.
    pub fn from_queue(principal: &str) -> Self {
        Self(format!("queue:{principal}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Submitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub tenant: TenantId,
    pub submitted_by: Submitter,
    pub shard: u16,
    /// Unique within the tenant and the submitter: a second event with the same id is a repetition.
    pub id: String,
    pub stamp: Stamp,
    /// `action`, `log_type` and `user_email` are copies for filters.
    pub action: String,
    pub log_type: String,
    pub user_email: Option<String>,
    /// The event as exported: one line of JSON.
    pub document: String,
    /// SHA-256 in lower-case hex of the event without id and date, to recognize a repetition.
    pub digest: String,
}

/// An event's kind and the user who did it.
#[derive(Debug, Clone, Copy)]
pub struct Activity<'a> {
    pub log_type: &'a str,
    pub action: &'a str,
    pub user: &'a User,
}

impl NewEvent {
    /// An event of this system, in the tenant's first shard.
    pub fn new(tenant: &TenantId, stamp: Stamp, id: String, activity: Activity<'_>, info: &impl Serialize) -> Self {
        let Activity { log_type, action, user } = activity;
        let date = timestamp::millis(stamp.at);
        let document = Document { id: &id, date: &date, log_type, action, user, additional_info: info };
        let content = Document { id: "", date: "", ..document }.to_line();
        let digest = sha256(content.as_bytes());
        let document = document.to_line();
        Self {
            tenant: tenant.clone(),
            submitted_by: Submitter::system(),
            shard: 0,
            stamp,
            action: action.to_owned(),
            log_type: log_type.to_owned(),
            user_email: user.email.clone(),
            document,
            digest,
            id,
        }
    }

    /// The table's range key.
    pub fn recorded_at_id(&self) -> String {
        format!("{}#{}", timestamp::millis(self.stamp.at), self.id)
    }

    /// Identifies the marker of the event's id among all of the tenant: SHA-256 in lower-case hex of id and submitter. No id
    /// has a slash, so that no two pairs are the same text.
    pub fn marker_hash(&self) -> String {
        sha256(format!("{}/{}", self.id, self.submitted_by).as_bytes())
    }
}

/// A UUID of version 7: the time and 74 random bits.
pub fn time_ordered_id(at: DateTime<Utc>, random: &[u8; 10]) -> String {
    let millis = u64::try_from(at.timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(millis, random).into_uuid().to_string()
}

/// The id of an event that may be sent again: a UUID of version 5 of the tenant, the request's idempotency key, the event's
/// index in the request and the submitter.
///
/// Neither a tenant id nor a key has a slash, so that no two combinations have the same id.
pub fn repeatable_id(tenant: &TenantId, submitter: &Submitter, key: &str, index: usize) -> String {
    /// Never changes.
    const NAMESPACE: Uuid = Uuid::from_u128(0x52c8_1b7e_90d3_4c65_a1f7_6e04_d8b9_2f3a);
    Uuid::new_v5(&NAMESPACE, format!("{tenant}/{key}/{index}/{submitter}").as_bytes()).to_string()
}

/// Returns an event's shard, by SHA-256 of its id. A repetition may get another shard once the number of shards has
/// changed, but it is recognized by the marker of its id, which doesn't depend on the shard.
pub fn shard(id: &str, shards: EventShards) -> u16 {
    let digest = Sha256::digest(id);
    let hash = digest.iter().take(8).fold(0_u64, |hash, byte| hash << 8 | u64::from(*byte));
    u16::try_from(hash % u64::from(shards.count())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_time_of_its_key_and_the_schema_of_the_export() {
        let at = "2026-11-21T10:03:12.3456Z".parse().unwrap();
        let user = User { id: "u-17".to_owned(), name: None, email: Some("ada@acme.example".to_owned()) };
        let activity = Activity { log_type: "Scan", action: "Scan Now", user: &user };
        let stamp = Stamp { at, retention: None };
        let acme = TenantId::parse("acme").unwrap();
        let event = NewEvent::new(&acme, stamp, "01K".to_owned(), activity, &serde_json::json!({ "scanId": 7 }));
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

    #[test]
    fn a_repeatable_id_differs_by_tenant_submitter_key_and_index() {
        let (acme, globex) = (TenantId::parse("acme").unwrap(), TenantId::parse("globex").unwrap());
        let (scanner, billing) = (Submitter::from_token("scanner"), Submitter::from_token("billing"));
        assert_eq!(repeatable_id(&acme, &scanner, "k", 1), "b3e6f027-fd6e-59b8-a6cf-6fe2af9a1742");
        let ids = [
            repeatable_id(&acme, &scanner, "k", 1),
            repeatable_id(&acme, &scanner, "k", 11),
            repeatable_id(&acme, &scanner, "k1", 1),
            repeatable_id(&acme, &billing, "k", 1),
            repeatable_id(&globex, &scanner, "k", 1),
        ];
        assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), ids.len());
    }

    #[test]
    fn a_marker_is_that_of_a_submitter_and_an_id() {
        let acme = TenantId::parse("acme").unwrap();
        let stamp = Stamp { at: "2026-11-21T10:03:12.345Z".parse().unwrap(), retention: None };
        let user = User::system();
        let hash = |id: &str, submitted_by| {
            let activity = Activity { log_type: "Scan", action: "Scan Now", user: &user };
            NewEvent { submitted_by, ..NewEvent::new(&acme, stamp, id.to_owned(), activity, &()) }.marker_hash()
        };
        // printf %s '01K/token:scanner' | sha256sum
        let expected = "3b053ea70de41d2b662948616990e9105dce03bde879c0908cb983f743812f21";
        assert_eq!(hash("01K", Submitter::from_token("scanner")), expected);
        let others = [
            hash("01K", Submitter::from_queue("scanner")),
            hash("01K", Submitter::from_token("token:scanner")),
            hash("01K", Submitter::system()),
            hash("01", Submitter::from_token("K/token:scanner")),
            hash("01L", Submitter::from_token("scanner")),
        ];
        assert!(!others.contains(&expected.to_owned()), "{others:?}");
    }

    #[test]
    fn the_id_decides_the_shard_and_events_are_spread_evenly() {
        // printf 01K | sha256sum | cut -c 1-16
        assert_eq!(shard("01K", EventShards::parse("64").unwrap()), 10);
        assert_eq!(shard("01K", EventShards::ONE), 0);
        let seven = EventShards::parse("7").unwrap();
        let mut counts = [0; 7];
        (0..700).for_each(|n| counts[usize::from(shard(&n.to_string(), seven))] += 1);
        assert!(counts.iter().all(|count| (60..140).contains(count)), "{counts:?}");
    }
}
