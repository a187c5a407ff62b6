//! Receipts: what was stored for a window.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::{
    failure::{Code, Failure},
    late_arrivals::TrailingCounts,
    schedule::Window,
};

/// How long a receipt is kept.
pub const RECEIPT_RETENTION: TimeDelta = TimeDelta::days(400);

/// One stored object of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its key.
    pub key: String,
    /// Its size as stored.
    pub bytes: u64,
    /// Its recorded events; the system's own heartbeat or notice is not counted.
    pub events: u64,
    /// SHA-256 of the stored bytes, in lower-case hex.
    pub sha256: String,
    /// The minute that it delivers again, if it is not one of the window's own.
    pub late: Option<Window>,
}

/// What was stored for a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Which stretch of time.
    pub window: Window,
    /// In which bucket.
    pub bucket: String,
    /// The objects of late minutes, and then the window's own in order, of which there is at least one.
    pub objects: Vec<StoredObject>,
    /// What the events of the window's last minutes come to; no part of a stored receipt.
    pub trailing_counts: TrailingCounts,
    /// How many events came too late for the window before, and are delivered with this one.
    pub late: u64,
    /// How many of the events had to be wrapped as malformed.
    pub malformed: u64,
    /// Whether events may be missing, since they were deleted before they could be exported.
    pub gap: bool,
    /// When the last object was stored.
    pub exported_at: DateTime<Utc>,
    /// From the first read to the last stored object.
    pub duration: TimeDelta,
}

impl Receipt {
    /// The failure to report of a window that was exported with a gap; it did not keep the window from being exported.
    pub fn loss(&self) -> Option<Failure> {
        let message = format!(
            "The window {} begins before the events' retention; some of its events may have been deleted.",
            self.window
        );
        self.gap.then(|| Failure::new(Code::RetentionExceeded, message))
    }

    /// The recorded events of the window's own objects.
    pub fn events(&self) -> u64 {
        self.objects.iter().filter(|object| object.late.is_none()).map(|object| object.events).sum()
    }

    /// The stored bytes of all objects.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }

    /// SHA-256 of the list of objects as `sha256sum` would print it (`<sha256>  <key>` a line), in lower-case hex:
    /// one value that differs whenever any object's key or bytes do.
    pub fn manifest_sha256(&self) -> String {
        let mut digest = Sha256::new();
        for object in &self.objects {
            digest.update(format!("{}  {}\n", object.sha256, object.key));
        }
        digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A receipt as it is stored: with the number of objects that it doesn't list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// What it says; of a very long list of objects, the first.
    pub receipt: Receipt,
    /// How many objects there are in all.
    pub object_count: u64,
    /// The recorded events of all of them.
    pub events: u64,
    /// The stored bytes of all of them.
    pub bytes: u64,
    /// [`Receipt::manifest_sha256`] of all of them.
    pub manifest_sha256: String,
}

impl StoredReceipt {
    /// A receipt that lists all of its objects.
    pub fn of(receipt: &Receipt) -> Self {
        Self {
            object_count: receipt.objects.len() as u64,
            events: receipt.events(),
            bytes: receipt.bytes(),
            manifest_sha256: receipt.manifest_sha256(),
            receipt: receipt.clone(),
        }
    }
}
