//! How far a window that is still due has been stored: a window can be too long for one run.
//!
//! After each stored file but the last, the watermark keeps what the next run needs to go on with the same file
//! boundaries and bytes. What would lead to others (the file size, the settings, the shards) is pinned: where it differs,
//! the window begins anew.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    late::Tail,
    object::ObjectSpec,
    records::{StoredObject, StoredWatermark},
    schedule::Window,
    settings::TenantConfig,
    timestamp,
};

/// How much of a watermark, in bytes, may be progress; an item in DynamoDB has at most 400 KB. That is some 2,500 files,
/// and a window with more of them goes on from there.
const LONGEST: usize = 256 * 1024;

/// The files of a window that are stored, and where the reading stood after the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Of which window.
    pub window: Window,
    /// The config's version.
    pub version: u64,
    /// Where a file is split, in uncompressed bytes.
    pub max_object_bytes: u64,
    /// The last `recorded_at_id` in these files of each shard; none of a shard of which they have nothing.
    pub read_until: Vec<Option<String>>,
    /// The files, from the first; before them, those of late minutes.
    pub objects: Vec<StoredObject>,
    /// How many events of each of the window's last minutes are in these files.
    pub tail: Tail,
    /// How many events came too late for the window before.
    pub late: u64,
    /// How many of their events are wrapped as malformed.
    pub malformed: u64,
    /// Whether events may be missing.
    pub gap: bool,
    /// When the first run began.
    pub started: DateTime<Utc>,
}

/// As the watermark holds it: JSON with short names, and without the keys, which follow from the rest.
#[derive(Serialize, Deserialize)]
struct Text {
    from: String,
    to: String,
    /// Where the first file is. A config that was changed by hand may have kept its version.
    first: String,
    version: u64,
    max_object_bytes: u64,
    read_until: Vec<Option<String>>,
    files: Vec<(u64, u64, String)>,
    /// With the minute.
    late_files: Vec<(String, u64, u64, String)>,
    late: u64,
    tail: String,
    malformed: u64,
    gap: bool,
    started: String,
}

impl Progress {
    /// What the watermark holds of this window, if it still fits to the settings.
    pub fn of(
        watermark: &StoredWatermark,
        config: &TenantConfig,
        window: Window,
        max_object_bytes: u64,
    ) -> Option<Self> {
        let text: Text = serde_json::from_str(watermark.progress.as_deref()?).ok()?;
        let same_window = text.from == timestamp::seconds(window.from) && text.to == timestamp::seconds(window.to);
        let same_shards = text.read_until.len() == usize::from(config.event_shards.count());
        let same_settings = text.first == first(config, window) && text.version == config.version;
        let same = same_window
            && same_shards
            && (same_settings || planted!(ProgressOfAnyVersion))
            && (text.max_object_bytes == max_object_bytes || planted!(ProgressOfAnySize));
        if !same {
            return None;
        }
        let mut objects: Vec<StoredObject> = Vec::new();
        for (minute, bytes, events, sha256) in text.late_files {
            let minute = Window::parse_interval(&minute)?;
            let key = ObjectSpec::late(config, minute, next_number(&objects, Some(minute))).key;
            objects.push(StoredObject { key, bytes, events, sha256, late: Some(minute) });
        }
        for (bytes, events, sha256) in text.files {
            let key = ObjectSpec::new(config, window, next_number(&objects, None)).key;
            objects.push(StoredObject { key, bytes, events, sha256, late: None });
        }
        Some(Self {
            window,
            version: text.version,
            max_object_bytes,
            read_until: text.read_until,
            objects,
            tail: Tail::parse(&text.tail).filter(|tail| tail.to() == Some(window.to))?,
            late: text.late,
            malformed: text.malformed,
            gap: text.gap,
            started: text.started.parse().ok()?,
        })
    }

    /// As the watermark holds it; none if there is too much of it.
    pub fn to_text(&self, config: &TenantConfig) -> Option<String> {
        let (mut files, mut late_files) = (Vec::new(), Vec::new());
        for StoredObject { bytes, events, sha256, late, .. } in self.objects.iter().cloned() {
            match late {
                Some(minute) => late_files.push((minute.interval(), bytes, events, sha256)),
                None => files.push((bytes, events, sha256)),
            }
        }
        let text = Text {
            first: first(config, self.window),
            from: timestamp::seconds(self.window.from),
            to: timestamp::seconds(self.window.to),
            version: self.version,
            max_object_bytes: self.max_object_bytes,
            read_until: self.read_until.clone(),
            files,
            late_files,
            late: self.late,
            tail: self.tail.to_text(),
            malformed: self.malformed,
            gap: self.gap,
            started: timestamp::millis(self.started),
        };
        serde_json::to_string(&text).ok().filter(|text| text.len() <= LONGEST)
    }

    /// How these files stand to the kept ones.
    pub fn covers(&self, stored: &[StoredObject]) -> Covers {
        let kept = |object: &StoredObject| self.objects.iter().find(|it| it.key == object.key);
        if stored.iter().any(|object| kept(object).is_some_and(|it| it != object)) {
            Covers::Otherwise
        } else if stored.iter().all(|object| kept(object).is_some()) {
            Covers::All
        } else {
            Covers::Part
        }
    }
}

/// The number of the next file of a window, or of a late minute, after these.
pub fn next_number(stored: &[StoredObject], late: Option<Window>) -> u32 {
    let before = stored.iter().filter(|object| object.late == late).count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

/// How the files that a run has stored stand to those of a progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Covers {
    /// Each is one of them, byte for byte.
    All,
    /// Those that are among them are the same, and there are more.
    Part,
    /// One has other bytes.
    Otherwise,
}

fn first(config: &TenantConfig, window: Window) -> String {
    format!("{}/{}", config.bucket, ObjectSpec::new(config, window, 1).key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        settings::tests::{draft, platform},
        tenant::TenantId,
    };

    fn config() -> TenantConfig {
        draft().check(&TenantId::parse("acme").unwrap(), &platform()).unwrap()
    }

    fn window() -> Window {
        Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() }
    }

    fn object(file: u32, sha256: &str) -> StoredObject {
        let key = ObjectSpec::new(&config(), window(), file).key;
        StoredObject { key, bytes: 100, events: 2, sha256: sha256.to_owned(), late: None }
    }

    fn late(minute: Window, file: u32) -> StoredObject {
        StoredObject { key: ObjectSpec::late(&config(), minute, file).key, late: Some(minute), ..object(1, "l") }
    }

    fn minute() -> Window {
        Window { from: "2026-11-21T09:58:00Z".parse().unwrap(), to: "2026-11-21T09:59:00Z".parse().unwrap() }
    }

    fn progress() -> Progress {
        Progress {
            window: window(),
            version: config().version,
            max_object_bytes: 1 << 20,
            read_until: vec![Some("2026-11-21T10:03:12.345Z#01K".to_owned())],
            objects: vec![late(minute(), 1), late(minute(), 2), object(1, "a"), object(2, "b")],
            tail: Tail::of(window()),
            late: 3,
            malformed: 1,
            gap: true,
            started: "2026-11-21T11:01:00.5Z".parse().unwrap(),
        }
    }

    fn kept(text: Option<String>) -> StoredWatermark {
        StoredWatermark { progress: text, ..StoredWatermark::default() }
    }

    #[test]
    fn it_is_read_back_as_it_was_kept_but_only_where_it_would_go_on_alike() {
        let watermark = kept(progress().to_text(&config()));
        assert_eq!(Progress::of(&watermark, &config(), window(), 1 << 20), Some(progress()));
        let later = Window { to: "2026-11-21T12:00:00Z".parse().unwrap(), ..window() };
        assert_eq!(Progress::of(&watermark, &config(), later, 1 << 20), None);
        assert_eq!(Progress::of(&watermark, &config(), window(), 1 << 21), None);
        let saved = TenantConfig { version: config().version + 1, ..config() };
        assert_eq!(Progress::of(&watermark, &saved, window(), 1 << 20), None);
        let by_hand = [
            TenantConfig { bucket: crate::tenant::BucketName::parse("elsewhere").unwrap(), ..config() },
            TenantConfig { compression: crate::object::Compression::Gzip, ..config() },
        ];
        for moved in by_hand {
            assert_eq!(Progress::of(&watermark, &moved, window(), 1 << 20), None, "under the same version");
        }
        let shards = TenantConfig { event_shards: crate::tenant::EventShards::parse("2").unwrap(), ..config() };
        assert_eq!(Progress::of(&watermark, &shards, window(), 1 << 20), None);
        for text in [None, Some(String::new()), Some("{}".to_owned())] {
            assert_eq!(Progress::of(&kept(text), &config(), window(), 1 << 20), None);
        }
    }

    #[test]
    fn what_does_not_fit_into_a_watermark_is_not_kept() {
        let sha256 = "a".repeat(64);
        let many = Progress { objects: (1..=2_500).map(|file| object(file, &sha256)).collect(), ..progress() };
        assert!(many.to_text(&config()).is_some());
        let more = Progress { objects: (1..=4_000).map(|file| object(file, &sha256)).collect(), ..progress() };
        assert_eq!(more.to_text(&config()), None);
    }

    #[test]
    fn it_covers_files_of_the_same_keys_and_bytes() {
        assert_eq!((progress().covers(&[]), progress().covers(&[object(2, "b")])), (Covers::All, Covers::All));
        assert_eq!(progress().covers(&[object(2, "b"), object(3, "c")]), Covers::Part);
        assert_eq!(progress().covers(&[object(2, "x"), object(3, "c")]), Covers::Otherwise);
    }
}
