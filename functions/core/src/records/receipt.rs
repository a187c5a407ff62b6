//! Receipts: the records of what was stored for a window.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{ManifestState, StoredManifest};
use crate::{
    failure::{Code, Failure},
    late_arrivals::TrailingCounts,
    object::{sha256, tenant_folder},
    schedule::Window,
    settings::TenantConfig,
    tenant::{Compression, Format, Schema},
};

/// The names of the records of receipts begin with it; the end of the window follows.
pub const RECEIPT_PREFIX: &str = "export#";

/// The names of the records of replayed windows' receipts begin with it; the end of the window and a hash of the location follow.
pub const REPLAYED_PREFIX: &str = "replayed#";

/// How long receipts are kept.
pub const RECEIPT_RETENTION: TimeDelta = TimeDelta::days(400);

/// One stored object of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    pub key: String,
    /// Its stored size.
    pub bytes: u64,
    /// Its recorded events; heartbeats and the like are not counted.
    pub events: u64,
    /// SHA-256 of the stored bytes, in lower-case hex.
    pub sha256: String,
    /// The minute that it delivers again; none for an object of the window itself.
    pub late: Option<Window>,
    /// Its last event. None for the last object of a window, which goes on to the window's end, and for one of a late minute.
    pub last_event: Option<EventPosition>,
}

/// An event's place in the order in which a window's events are exported.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventPosition {
    pub recorded_at_id: String,
    /// Two shards may have events of the same `recorded_at_id`.
    pub shard: u16,
}

impl EventPosition {
    /// Parses what `String::from` returns.
    pub fn parse(text: &str) -> Option<Self> {
        let (recorded_at_id, shard) = text.rsplit_once('/')?;
        Some(Self { recorded_at_id: recorded_at_id.to_owned(), shard: shard.parse().ok()? })
    }
}

impl From<EventPosition> for String {
    fn from(EventPosition { recorded_at_id, shard }: EventPosition) -> Self {
        format!("{recorded_at_id}/{shard}")
    }
}

impl TryFrom<String> for EventPosition {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not the position of an event")
    }
}

/// Where a tenant's files lie. The same window has the same keys there, whatever else the settings are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    pub bucket: String,
    /// The tenant's folder in the bucket.
    pub folder: String,
}

impl Location {
    pub fn of(config: &TenantConfig) -> Self {
        Self { bucket: config.bucket.to_string(), folder: tenant_folder(&config.prefix, &config.tenant) }
    }

    /// What the names of records hold of it.
    pub fn hash(&self) -> String {
        sha256(format!("{}/{}", self.bucket, self.folder).as_bytes()).chars().take(16).collect()
    }
}

/// What was stored for a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    pub window: Window,
    pub location: Location,
    pub format: Format,
    pub compression: Compression,
    pub schema: Schema,
    /// The objects of late minutes, then those of the window in order, at least one.
    pub objects: Vec<StoredObject>,
    /// Not part of a stored receipt.
    pub trailing_counts: TrailingCounts,
    /// Late arrivals of the window before, which are delivered with this one.
    pub late: u64,
    /// Events that are wrapped as malformed.
    pub malformed: u64,
    /// Whether events may have been deleted before they could be exported.
    pub gap: bool,
    /// When the last object was stored.
    pub exported_at: DateTime<Utc>,
    /// From the first read to the last stored object.
    pub duration: TimeDelta,
    /// None if the platform signs none.
    pub manifest: Option<StoredManifest>,
    /// Why the manifest is unsigned, if the platform has a key. Not part of a stored receipt.
    pub signing_failure: Option<Failure>,
}

impl Receipt {
    /// A receipt without objects and manifest.
    pub fn empty(window: Window, location: Location, trailing_counts: TrailingCounts) -> Self {
        Self {
            window,
            location,
            format: Format::default(),
            compression: Compression::default(),
            schema: Schema::default(),
            objects: Vec::new(),
            trailing_counts,
            late: 0,
            malformed: 0,
            gap: false,
            exported_at: window.to,
            duration: TimeDelta::zero(),
            manifest: None,
            signing_failure: None,
        }
    }

    /// Whether the window has a manifest, but no signature.
    pub fn is_unsigned(&self) -> bool {
        self.manifest.as_ref().is_some_and(|manifest| manifest.state == ManifestState::Unsigned)
    }

    /// Returns the failure to report if the window was exported with a gap.
    pub fn loss(&self) -> Option<Failure> {
        let message = format!(
            "The window {} begins before the events' retention; some of its events may have been deleted.",
            self.window
        );
        self.gap.then(|| Failure::new(Code::RetentionExceeded, message))
    }

    /// The recorded events of the window, without late arrivals.
    pub fn events(&self) -> u64 {
        self.objects.iter().filter(|object| object.late.is_none()).map(|object| object.events).sum()
    }

    /// The stored bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}

/// A receipt as it is stored: it lists the first objects, and has the figures of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    pub receipt: Receipt,
    pub object_count: u64,
    /// Recorded events of the window.
    pub events: u64,
    /// Stored bytes of all objects.
    pub bytes: u64,
}

impl StoredReceipt {
    /// A receipt that lists all of its objects.
    pub fn from_receipt(receipt: &Receipt) -> Self {
        Self {
            object_count: receipt.objects.len() as u64,
            events: receipt.events(),
            bytes: receipt.bytes(),
            receipt: Receipt { signing_failure: None, ..receipt.clone() },
        }
    }
}
