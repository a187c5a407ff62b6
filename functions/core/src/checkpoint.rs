//! The checkpoint: the position in a window that is longer than a run.
//!
//! After each stored file but the last, the run saves on the watermark what the next run needs to go on with the same file
//! boundaries and bytes. That includes the file size limit, so that a window which begins again leaves no file of a higher
//! number behind. Only the holder of the lease writes it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    late_arrivals::TrailingCounts,
    object::ObjectSpec,
    records::{self, EventPosition, StoredObject},
    schedule::Window,
    settings::TenantConfig,
    timestamp,
};

/// An item in DynamoDB has at most 400 KB. This is enough for some 1,500 files; a window with more goes on from there.
const MAX_CHECKPOINT_BYTES: usize = 256 * 1024;

/// The stored files of a window, and the position of the reading after the last of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub window: Window,
    /// Whether it is a window of a final delivery.
    pub is_final: bool,
    /// The config's version.
    pub version: u64,
    /// Where a file is split, in uncompressed bytes.
    pub max_object_bytes: u64,
    /// The last `recorded_at_id` of each shard in these files; none if they have no event of the shard.
    pub read_until: Vec<Option<String>>,
    /// The files of late minutes, then those of the window in order. Empty if the window begins again.
    pub objects: Vec<StoredObject>,
    /// Counts of the events in these files.
    pub trailing_counts: TrailingCounts,
    /// Late arrivals of the window before.
    pub late: u64,
    /// Events that are wrapped as malformed.
    pub malformed: u64,
    /// Whether events may be missing.
    pub gap: bool,
    /// When the first run began.
    pub started: DateTime<Utc>,
}

/// The stored form: JSON without the keys, which follow from the rest.
#[derive(Serialize, Deserialize)]
struct StoredCheckpoint {
    from: String,
    to: String,
    /// The location of the first file, and the schema: a config that was changed by hand may have kept its version.
    first: String,
    schema: String,
    version: u64,
    max_object_bytes: u64,
    read_until: Vec<Option<String>>,
    /// Bytes, events, checksum, last event.
    files: Vec<(u64, u64, String, Option<EventPosition>)>,
    /// The first field is the minute.
    late_files: Vec<(String, u64, u64, String)>,
    late: u64,
    trailing_counts: String,
    malformed: u64,
    gap: bool,
    started: String,
}

impl Checkpoint {
    /// Returns where a run begins to export the window: at the stored checkpoint, if the settings are the same. Else at the
    /// window's beginning, with the file size limit of the stored checkpoint if it is of this window.
    pub fn for_run(
        stored: Option<&str>,
        config: &TenantConfig,
        window: Window,
        is_final: bool,
        max_object_bytes: u64,
        now: DateTime<Utc>,
    ) -> Self {
        let text: Option<StoredCheckpoint> = stored.and_then(|text| serde_json::from_str(text).ok());
        // After a save, the window may end earlier, but its late minutes are the same.
        let text = text.filter(|text| text.from == timestamp::seconds(window.from));
        let max_object_bytes = text.as_ref().map_or(max_object_bytes, |text| text.max_object_bytes);
        text.and_then(|text| Self::resume(text, config, window, is_final)).unwrap_or_else(|| Self {
            window,
            is_final,
            version: config.version,
            max_object_bytes,
            read_until: Vec::new(),
            objects: Vec::new(),
            trailing_counts: TrailingCounts::new(window),
            late: 0,
            malformed: 0,
            gap: false,
            started: now,
        })
    }

    /// The window of a stored checkpoint.
    pub fn stored_window(stored: &str) -> Option<Window> {
        let StoredCheckpoint { from, to, .. } = serde_json::from_str(stored).ok()?;
        Some(Window { from: timestamp::parse_seconds(&from)?, to: timestamp::parse_seconds(&to)? })
    }

    fn resume(text: StoredCheckpoint, config: &TenantConfig, window: Window, is_final: bool) -> Option<Self> {
        let same_shards = text.read_until.len() == usize::from(config.event_shards.count());
        let same_settings = text.first == first(config, window, is_final)
            && text.schema == config.schema.as_str()
            && text.version == config.version;
        if text.to != timestamp::seconds(window.to) || !same_shards || !same_settings {
            return None;
        }
        let mut objects: Vec<StoredObject> = Vec::new();
        for (minute, bytes, events, sha256) in text.late_files {
            let minute = Window::parse_interval(&minute)?;
            let key = spec(config, window, Some(minute), is_final, next_number(&objects, Some(minute))).key;
            objects.push(StoredObject { key, bytes, events, sha256, late: Some(minute), last_event: None });
        }
        for (bytes, events, sha256, last_event) in text.files {
            let key = spec(config, window, None, is_final, next_number(&objects, None)).key;
            objects.push(StoredObject { key, bytes, events, sha256, late: None, last_event });
        }
        Some(Self {
            window,
            is_final,
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

    /// Returns the stored form, or none if it is longer than its record has room for.
    pub fn to_text(&self, config: &TenantConfig) -> Option<String> {
        let (mut files, mut late_files) = (Vec::new(), Vec::new());
        for StoredObject { bytes, events, sha256, late, last_event, .. } in self.objects.iter().cloned() {
            match late {
                Some(minute) => late_files.push((minute.interval(), bytes, events, sha256)),
                None => files.push((bytes, events, sha256, last_event)),
            }
        }
        let text = StoredCheckpoint {
            first: first(config, self.window, self.is_final),
            schema: config.schema.as_str().to_owned(),
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
        let max_bytes = if self.is_final { records::MAX_CHECKPOINT_BYTES } else { MAX_CHECKPOINT_BYTES };
        serde_json::to_string(&text).ok().filter(|text| text.len() <= max_bytes)
    }
}

/// Returns the number of the next file of a window, or of a late minute.
pub fn next_number(stored: &[StoredObject], late: Option<Window>) -> u32 {
    let before = stored.iter().filter(|object| object.late == late).count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

/// A file of a window, or of a late minute that is delivered with it.
pub fn spec(config: &TenantConfig, window: Window, late: Option<Window>, is_final: bool, file: u32) -> ObjectSpec {
    match late {
        _ if is_final => ObjectSpec::final_delivery(config, window, late, file),
        Some(minute) => ObjectSpec::late(config, minute, file),
        None => ObjectSpec::new(config, window, file),
    }
}

fn first(config: &TenantConfig, window: Window, is_final: bool) -> String {
    format!("{}/{}", config.bucket, spec(config, window, None, is_final, 1).key)
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
        let last_event = EventPosition::parse("2026-11-21T10:03:12.345Z#01K/1");
        StoredObject { key, bytes: 100, events: 2, sha256: sha256.to_owned(), late: None, last_event }
    }

    fn late(minute: Window, file: u32) -> StoredObject {
        let key = ObjectSpec::late(&config(), minute, file).key;
        StoredObject { key, late: Some(minute), last_event: None, ..object(1, "l") }
    }

    fn minute() -> Window {
        Window { from: "2026-11-21T09:58:00Z".parse().unwrap(), to: "2026-11-21T09:59:00Z".parse().unwrap() }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            window: window(),
            is_final: false,
            version: config().version,
            max_object_bytes: 1 << 20,
            read_until: vec![Some("2026-11-21T10:03:12.345Z#01K".to_owned())],
            objects: vec![late(minute(), 1), late(minute(), 2), object(1, "a"), object(2, "b")],
            trailing_counts: TrailingCounts::new(window()),
            late: 3,
            malformed: 1,
            gap: true,
            started: "2026-11-21T11:01:00.5Z".parse().unwrap(),
        }
    }

    fn for_run(text: Option<String>, config: &TenantConfig, window: Window) -> Checkpoint {
        Checkpoint::for_run(text.as_deref(), config, window, false, 7, checkpoint().started)
    }

    #[test]
    fn it_is_resumed_only_with_the_same_settings_but_its_limit_is_used_in_any_case() {
        let text = checkpoint().to_text(&config());
        let read = |config: &TenantConfig, window: Window| for_run(text.clone(), config, window);
        assert_eq!(read(&config(), window()), checkpoint());
        let begun = |read: Checkpoint| (read.objects.len(), read.read_until.len(), read.max_object_bytes);
        let earlier = Window { to: "2026-11-21T10:30:00Z".parse().unwrap(), ..window() };
        assert_eq!(begun(read(&config(), earlier)), (0, 0, 1 << 20));
        let next = Window { from: window().to, to: "2026-11-21T12:00:00Z".parse().unwrap() };
        assert_eq!(begun(read(&config(), next)), (0, 0, 7), "a checkpoint of another window is ignored");
        let saved = TenantConfig { version: config().version + 1, ..config() };
        assert_eq!(begun(read(&saved, window())), (0, 0, 1 << 20));
        let by_hand = [
            TenantConfig { bucket: crate::tenant::BucketName::parse("elsewhere").unwrap(), ..config() },
            TenantConfig { compression: crate::tenant::Compression::Gzip, ..config() },
            TenantConfig { schema: crate::tenant::Schema::Ocsf, ..config() },
            TenantConfig { event_shards: crate::tenant::EventShards::parse("2").unwrap(), ..config() },
        ];
        for moved in by_hand {
            assert_eq!(begun(read(&moved, window())), (0, 0, 1 << 20), "another setting under the same version");
        }
        for text in [None, Some(String::new()), Some("{}".to_owned())] {
            assert_eq!(begun(for_run(text, &config(), window())), (0, 0, 7));
        }
    }

    #[test]
    fn a_final_delivery_has_names_of_its_own_and_no_other_checkpoint() {
        let resumed = |text: Option<String>, is_final| {
            Checkpoint::for_run(text.as_deref(), &config(), window(), is_final, 7, checkpoint().started)
        };
        assert!(resumed(checkpoint().to_text(&config()), true).objects.is_empty());
        let mut last = Checkpoint { is_final: true, ..checkpoint() };
        for object in &mut last.objects {
            object.key = object.key.replace("_late_", "_final_late_").replace("T110000Z_", "T110000Z_final_");
        }
        let text = last.to_text(&config());
        assert_eq!(text.as_deref().and_then(Checkpoint::stored_window), Some(window()));
        assert!(resumed(text.clone(), false).objects.is_empty());
        assert_eq!(resumed(text, true), last);
    }

    #[test]
    fn a_checkpoint_that_does_not_fit_into_a_watermark_is_not_saved() {
        let sha256 = "a".repeat(64);
        let many = Checkpoint { objects: (1..=1_500).map(|file| object(file, &sha256)).collect(), ..checkpoint() };
        assert!(many.to_text(&config()).is_some());
        let more = Checkpoint { objects: (1..=4_000).map(|file| object(file, &sha256)).collect(), ..checkpoint() };
        assert_eq!(more.to_text(&config()), None);
    }
}
