//! How far a window that is still due has been stored: a window can be too long for one run.
//!
//! After each stored file but the last, the watermark keeps what the next run needs to go on with the same file boundaries
//! and bytes. It keeps the file size limit as well, so that a window which is begun anew leaves no file of a higher number
//! behind. Nobody but the holder of the lease writes it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    late_arrivals::TrailingCounts,
    object::ObjectSpec,
    records::{StoredObject, StoredWatermark},
    schedule::Window,
    settings::TenantConfig,
    timestamp,
};

/// How much of a watermark may be a checkpoint; an item in DynamoDB has at most 400 KB. That is some 2,500 files, and a
/// window with more of them goes on from there.
const MAX_CHECKPOINT_BYTES: usize = 256 * 1024;

/// The files of a window that are stored, and where the reading stood after the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Of which window.
    pub window: Window,
    /// The config's version.
    pub version: u64,
    /// Where a file is split, in uncompressed bytes.
    pub max_object_bytes: u64,
    /// The last `recorded_at_id` in these files of each shard; none of a shard of which they have nothing.
    pub read_until: Vec<Option<String>>,
    /// The files, from the first; before them, those of late minutes. None where the window has to be begun anew.
    pub objects: Vec<StoredObject>,
    /// What the events of the window's last minutes come to that are in these files.
    pub trailing_counts: TrailingCounts,
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
    trailing_counts: String,
    malformed: u64,
    gap: bool,
    started: String,
}

impl Checkpoint {
    /// Where a run that is to export the window goes on: where the watermark says, if the settings are still the same; or
    /// else at the beginning, with the file size limit that the watermark has of this window, or with that of now.
    pub fn for_run(
        watermark: &StoredWatermark,
        config: &TenantConfig,
        window: Window,
        max_object_bytes: u64,
        now: DateTime<Utc>,
    ) -> Self {
        let text: Option<Text> = watermark.checkpoint.as_deref().and_then(|text| serde_json::from_str(text).ok());
        // A save may have made the window end earlier, but its late minutes are the same.
        let text = text.filter(|text| text.from == timestamp::seconds(window.from));
        let max_object_bytes = text.as_ref().map_or(max_object_bytes, |text| text.max_object_bytes);
        text.and_then(|text| Self::resume(text, config, window)).unwrap_or_else(|| Self {
            window,
            version: config.version,
            max_object_bytes,
            read_until: Vec::new(),
            objects: Vec::new(),
            trailing_counts: TrailingCounts::of(window),
            late: 0,
            malformed: 0,
            gap: false,
            started: now,
        })
    }

    fn resume(text: Text, config: &TenantConfig, window: Window) -> Option<Self> {
        let same_shards = text.read_until.len() == usize::from(config.event_shards.count());
        let same_settings = text.first == first(config, window) && text.version == config.version;
        if text.to != timestamp::seconds(window.to) || !same_shards || !same_settings {
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
            max_object_bytes: text.max_object_bytes,
            read_until: text.read_until,
            objects,
            trailing_counts: TrailingCounts::parse(&text.trailing_counts)
                .filter(|counts| counts.to() == Some(window.to))?,
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
            trailing_counts: self.trailing_counts.to_text(),
            malformed: self.malformed,
            gap: self.gap,
            started: timestamp::millis(self.started),
        };
        serde_json::to_string(&text).ok().filter(|text| text.len() <= MAX_CHECKPOINT_BYTES)
    }
}

/// The number of the next file of a window, or of a late minute, after these.
pub fn next_number(stored: &[StoredObject], late: Option<Window>) -> u32 {
    let before = stored.iter().filter(|object| object.late == late).count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
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

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            window: window(),
            version: config().version,
            max_object_bytes: 1 << 20,
            read_until: vec![Some("2026-11-21T10:03:12.345Z#01K".to_owned())],
            objects: vec![late(minute(), 1), late(minute(), 2), object(1, "a"), object(2, "b")],
            trailing_counts: TrailingCounts::of(window()),
            late: 3,
            malformed: 1,
            gap: true,
            started: "2026-11-21T11:01:00.5Z".parse().unwrap(),
        }
    }

    fn kept(text: Option<String>) -> StoredWatermark {
        StoredWatermark { checkpoint: text, ..StoredWatermark::default() }
    }

    fn for_run(text: Option<String>, config: &TenantConfig, window: Window) -> Checkpoint {
        Checkpoint::for_run(&kept(text), config, window, 7, checkpoint().started)
    }

    #[test]
    fn it_is_read_back_as_it_was_kept_but_only_where_it_would_go_on_alike_and_with_its_limit_in_any_case() {
        let text = checkpoint().to_text(&config());
        let read = |config: &TenantConfig, window: Window| for_run(text.clone(), config, window);
        assert_eq!(read(&config(), window()), checkpoint());
        let anew = |read: Checkpoint| (read.objects.len(), read.read_until.len(), read.max_object_bytes);
        let earlier = Window { to: "2026-11-21T10:30:00Z".parse().unwrap(), ..window() };
        assert_eq!(anew(read(&config(), earlier)), (0, 0, 1 << 20));
        let next = Window { from: window().to, to: "2026-11-21T12:00:00Z".parse().unwrap() };
        assert_eq!(anew(read(&config(), next)), (0, 0, 7), "of another window, nothing is known");
        let saved = TenantConfig { version: config().version + 1, ..config() };
        assert_eq!(anew(read(&saved, window())), (0, 0, 1 << 20));
        let by_hand = [
            TenantConfig { bucket: crate::tenant::BucketName::parse("elsewhere").unwrap(), ..config() },
            TenantConfig { compression: crate::tenant::Compression::Gzip, ..config() },
            TenantConfig { event_shards: crate::tenant::EventShards::parse("2").unwrap(), ..config() },
        ];
        for moved in by_hand {
            assert_eq!(anew(read(&moved, window())), (0, 0, 1 << 20), "under the same version");
        }
        for text in [None, Some(String::new()), Some("{}".to_owned())] {
            assert_eq!(anew(for_run(text, &config(), window())), (0, 0, 7));
        }
    }

    #[test]
    fn what_does_not_fit_into_a_watermark_is_not_kept() {
        let sha256 = "a".repeat(64);
        let many = Checkpoint { objects: (1..=2_500).map(|file| object(file, &sha256)).collect(), ..checkpoint() };
        assert!(many.to_text(&config()).is_some());
        let more = Checkpoint { objects: (1..=4_000).map(|file| object(file, &sha256)).collect(), ..checkpoint() };
        assert_eq!(more.to_text(&config()), None);
    }
}
