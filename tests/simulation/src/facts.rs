//! The truth of a simulated world, recorded while it runs, that monitor and model compare the system with.

mod replays;

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    event::Body, fakes::FakeState, manifest::ManifestKey, notification::Kind, schedule::Window, timestamp,
};
use chrono::{DateTime, Utc};

pub use replays::Replays;
pub(crate) use replays::placed;

/// Tenant, shard and `recorded_at_id`.
pub type EventKey = (String, u16, String);

/// Independent of what the system says.
#[derive(Default)]
pub struct Facts {
    /// Late events and when they became visible: their window may have been read before.
    pub late: BTreeMap<EventKey, DateTime<Utc>>,
    /// Events that the table has deleted after their retention.
    pub expired: BTreeMap<EventKey, Body>,
    /// Tenants whose customer refuses everything; true if at the role, false if at the bucket.
    pub refused: BTreeMap<String, bool>,
    /// The buckets and folders of all settings that each tenant ever had.
    pub folders: BTreeMap<String, BTreeSet<(String, String)>>,
    /// Tenants and their watermark positions at which an admin made a change, without the first save.
    pub change_positions: BTreeSet<(String, String)>,
    /// The longest window of any of the tenant's frequencies, in hours.
    pub longest: BTreeMap<String, i64>,
    /// Where each tenant's first window begins.
    pub begins: BTreeMap<String, DateTime<Utc>>,
    /// Places that are left and wait for their last events, by tenant.
    pub leaving: BTreeMap<String, Vec<Leaving>>,
    /// How many final deliveries of each tenant have ended, and how many of them may have been given up.
    pub final_deliveries: BTreeMap<String, EndedDeliveries>,
    /// All values of `MAX_OBJECT_BYTES` so far.
    pub sizes: BTreeSet<u64>,
    /// Since when each failing tenant has failed.
    pub failing_since: BTreeMap<String, DateTime<Utc>>,
    /// The last save of each tenant since its last success.
    pub saved_at: BTreeMap<String, DateTime<Utc>>,
    /// Failures and recoveries that must be announced: tenant, action, watermark position, and days since the first failure.
    pub due_announcements: BTreeSet<(String, &'static str, String, i64)>,
    /// Changes by admins: by the audit event's id, the tenant, the event's action and the notification's kind.
    pub changes: BTreeMap<String, (String, &'static str, Kind)>,
    /// The last change of each tenant's settings.
    pub settings_changed_at: BTreeMap<String, DateTime<Utc>>,
    /// The run of each lease, by the lease's token.
    pub lease_runs: BTreeMap<String, u64>,
    pub in_flight: BTreeMap<u64, Put>,
    /// The SHA-256 in the receipts of each object, by bucket and key.
    pub committed: BTreeMap<(String, String), String>,
    /// The number of requests so far.
    pub requests: u64,
    /// The platform's key for manifests signs nothing.
    pub key_is_down: bool,
    /// SHA-256 of the text of each committed manifest, by tenant and the end of its window.
    pub heads: BTreeMap<String, BTreeMap<String, String>>,
    /// The first of these that each tenant had, for a planted bug.
    pub first_heads: BTreeMap<String, String>,
    /// Since when the next window of each tenant can't be signed.
    pub signing_failed_since: BTreeMap<String, DateTime<Utc>>,
    /// Where the parts of final deliveries begin that have no signature, but for the last parts.
    pub unsigned_parts: BTreeMap<String, Vec<String>>,
    /// When signing failed, whatever was to be signed, by the clocks of the runs.
    pub failed_signatures: Vec<DateTime<Utc>>,
    /// What replays have done.
    pub replays: Replays,
    /// The run that wrote last under each tenant's lease.
    pub writers: BTreeMap<String, Writer>,
}

/// A put in flight: it may still take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    pub tenant: String,
    pub run: u64,
    /// Bucket and key.
    pub place: (String, String),
    /// Of its bytes.
    pub sha256: String,
}

/// A run that writes.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    /// The key that it signs with.
    pub key: Option<ManifestKey>,
    /// By its clock.
    pub now: DateTime<Utc>,
}

/// How many of a tenant's final deliveries have ended.
#[derive(Debug, Clone, Copy, Default)]
pub struct EndedDeliveries {
    pub ended: usize,
    /// Those that may have been given up.
    pub given_up: usize,
    /// Those that may have been given up without a notification.
    pub silent: usize,
    /// Completed ones whose last manifest is not signed.
    pub unsigned: usize,
}

/// A place that was left and waits for its last events.
#[derive(Debug, Clone)]
pub struct Leaving {
    pub bucket: String,
    pub folder: String,
    /// Up to where it has everything.
    pub from: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub since: DateTime<Utc>,
    /// Whether the exports failed each time that it was left.
    pub was_failing: bool,
    /// SHA-256 of the text of the manifest that the next part's names.
    pub head: Option<String>,
    /// The keys of the changes' audit events that it has not got yet.
    pub changes: BTreeSet<String>,
}

/// A recorded event: its place in the order, its body, and when it became visible if it is late.
pub type Expected<'a> = ((&'a str, u16), (&'a Body, Option<DateTime<Utc>>));

/// Returns all events of the tenant that were recorded in the window, by `recorded_at`, `id` and shard. Deleted ones are
/// among them.
pub fn expected<'a>(state: &'a FakeState, facts: &'a Facts, tenant: &str, window: Window) -> Vec<Expected<'a>> {
    let (from, to) = (timestamp::millis(window.from), timestamp::millis(window.to));
    let stored =
        state.events.iter().flat_map(|((of, shard), events)| events.iter().map(move |(k, b)| (of, *shard, k, b)));
    let expired = facts.expired.iter().map(|((of, shard, key), body)| (of, *shard, key, body));
    let of_window = stored.chain(expired).filter(|(of, _, key, _)| *of == tenant && **key >= from && **key < to);
    let late = |shard, key: &String| facts.late.get(&(tenant.to_owned(), shard, key.clone())).copied();
    let mut events: Vec<_> = of_window.map(|(_, s, key, body)| ((key.as_str(), s), (body, late(s, key)))).collect();
    events.sort_by_key(|(place, _)| *place);
    events
}
