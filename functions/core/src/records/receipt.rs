//! Receipts: what was stored for a window.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use crate::{
    failure::{Code, Failure},
    late::Tail,
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
    /// How many events each of the window's last minutes has; no part of a stored receipt.
    pub tail: Tail,
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
    /// How often the window was stored again after it was committed.
    pub amended: u64,
}

impl Receipt {
    /// The failure to report of a window that was exported with a gap; it did not keep the window from being exported.
    pub fn loss(&self) -> Option<Failure> {
        let message = format!(
            "The window {} begins before the events' retention, or holds fewer events than were exported before; some of its events may have been deleted.",
            self.window
        );
        self.gap.then(|| Failure::new(Code::RetentionExceeded, message))
    }

    /// The recorded events of the window's own objects.
    pub fn events(&self) -> u64 {
        self.objects.iter().filter(|object| object.late.is_none()).map(|object| object.events).sum()
    }

    /// What the watermark keeps of the window's last minutes.
    pub fn tail_text(&self) -> Option<String> {
        (!planted!(TailIsForgotten)).then(|| self.tail.to_text())
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

/// What a stored receipt says about the bytes in the bucket, enough to tell whether another run stored the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiptDigest {
    /// Where the window began.
    pub from: DateTime<Utc>,
    /// In which bucket it was stored.
    pub bucket: String,
    /// Whether it says that events may be missing.
    pub gap: bool,
    /// Key and SHA-256 of its objects, as far as the receipt lists them.
    pub objects: Vec<(String, String)>,
    /// How many objects there are in all.
    pub object_count: u64,
    /// The minutes that were delivered again, and how many events came too late.
    pub late: (BTreeSet<Window>, u64),
    /// The recorded events of the window's own objects.
    pub events: u64,
    /// [`Receipt::manifest_sha256`].
    pub manifest_sha256: String,
    /// How often the window was stored again.
    pub amended: u64,
}

impl ReceiptDigest {
    /// What a receipt says, once it is stored.
    pub fn of(receipt: &Receipt) -> Self {
        Self {
            from: receipt.window.from,
            bucket: receipt.bucket.clone(),
            gap: receipt.gap,
            objects: receipt.objects.iter().map(|object| (object.key.clone(), object.sha256.clone())).collect(),
            object_count: receipt.objects.len() as u64,
            late: (receipt.objects.iter().filter_map(|object| object.late).collect(), receipt.late),
            events: receipt.events(),
            manifest_sha256: receipt.manifest_sha256(),
            amended: receipt.amended,
        }
    }

    /// Whether the receipt tells of exactly these objects.
    pub fn tells_of(&self, stored: &Receipt) -> bool {
        self.bucket == stored.bucket && self.manifest_sha256 == stored.manifest_sha256()
    }

    /// Whether a whole window, stored since, has put other objects in the place of the receipt's.
    pub fn is_replaced_by(&self, stored: &Receipt) -> bool {
        let same_place = |object: &StoredObject| self.sha256_of(&object.key).is_some();
        self.bucket == stored.bucket && !self.tells_of(stored) && stored.objects.iter().any(same_place)
    }

    /// Whether a part of a window, stored since, lies with other bytes over an object of the receipt's. Where that can't be
    /// told, since the receipt has more objects than it lists, it counts as if it did.
    pub fn is_overlaid_by(&self, bucket: &str, part: &[StoredObject]) -> bool {
        let lists_all = self.object_count == self.objects.len() as u64;
        let other_bytes =
            |object: &StoredObject| self.sha256_of(&object.key).map_or(!lists_all, |it| it != object.sha256);
        self.bucket == bucket && part.iter().any(other_bytes)
    }

    fn sha256_of(&self, key: &str) -> Option<&str> {
        self.objects.iter().find(|(listed, _)| listed == key).map(|(_, sha256)| sha256.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_that_the_receipt_does_not_list_counts_as_another_unless_all_are_listed() {
        let object =
            |key: &str| StoredObject { key: key.to_owned(), bytes: 1, events: 1, sha256: "a".to_owned(), late: None };
        let [from, to] = ["2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"].map(|at| at.parse().unwrap());
        let receipt = Receipt {
            window: Window { from, to },
            bucket: "b".to_owned(),
            objects: vec![object("1"), object("2")],
            tail: Tail::of(Window { from, to }),
            late: 0,
            malformed: 0,
            gap: false,
            exported_at: to,
            duration: TimeDelta::zero(),
            amended: 0,
        };
        let all = ReceiptDigest::of(&receipt);
        let some = ReceiptDigest { objects: all.objects[..1].to_vec(), ..all.clone() };
        assert_eq!((all.is_overlaid_by("b", &[object("2")]), all.is_overlaid_by("b", &[object("3")])), (false, false));
        assert_eq!((some.is_overlaid_by("b", &[object("1")]), some.is_overlaid_by("b", &[object("2")])), (false, true));
        assert!(!some.is_overlaid_by("elsewhere", &[object("2")]));
    }
}
