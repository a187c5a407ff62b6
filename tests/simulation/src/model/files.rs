//! Checks how windows are split into files, and that buckets hold no other files.

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    object::Encoder,
    records::Receipt,
    schedule::Window,
    tenant::{Compression, Format},
    timestamp,
};

use super::TenantModel;
use crate::{
    facts::expected,
    lines::match_line,
    manifests::{is_final, is_manifest},
};

/// The files' lines, by late minute; `None` for the window itself.
pub(super) type Files = BTreeMap<Option<Window>, Vec<Vec<String>>>;

impl TenantModel<'_> {
    /// All files of a window are split by one `MAX_OBJECT_BYTES`, however many runs stored them. In a window with a gap, the
    /// event that didn't fit may have been deleted.
    pub(super) fn check_split(&self, receipt: &Receipt, files: &Files) -> Result<(), String> {
        let Some(key) = receipt.objects.last().map(|object| object.key.trim_end_matches(".gz")) else { return Ok(()) };
        let format = if key.ends_with(".ndjson") { Format::Ndjson } else { Format::Json };
        // A late event may have become visible after the file with room for it was stored.
        let is_late = |window: &Option<Window>, line: &str| {
            let of_window = expected(self.state, self.facts, self.id, window.unwrap_or(receipt.window));
            of_window.iter().any(|((key, _), (body, late))| late.is_some() && match_line(line, key, body).is_some())
        };
        let is_by = |limit: &u64| {
            files.iter().all(|(window, files)| is_split_by(format, files, *limit, |line| is_late(window, line)))
        };
        if receipt.gap || self.facts.sizes.iter().any(is_by) {
            return Ok(());
        }
        Err("its files are split by no size".to_owned())
    }

    /// A receipt names every object of the tenant, except objects of windows during which an admin made a change or events
    /// were deleted.
    pub(super) fn check_other_objects(&self) -> Result<(), String> {
        let receipts = || self.tenant.receipts.values().chain(self.tenant.replayed.values());
        let named: BTreeSet<(&str, &str)> = receipts()
            .flat_map(|receipt| {
                let keys = receipt.objects.iter().map(|object| &object.key);
                let keys = keys.chain(receipt.manifest.as_ref().map(|manifest| &manifest.key));
                keys.map(|key| (receipt.location.bucket.as_str(), key.as_str()))
            })
            .collect();
        for (bucket, folder) in self.facts.folders.get(self.id).into_iter().flatten() {
            let keys = self.state.buckets.get(bucket).into_iter().flat_map(|objects| objects.keys());
            for key in keys.filter(|key| key.starts_with(folder.as_str())) {
                // Final deliveries have no receipts.
                let is_excused = self.is_excused(key) || is_final(key) || self.is_replayed(bucket, folder, key);
                if !named.contains(&(bucket.as_str(), key.as_str())) && !is_excused {
                    return Err(format!("no receipt names {bucket}/{key}"));
                }
            }
        }
        Ok(())
    }

    /// Whether an object may be left by a replay: a manifest beside the amended one, or files elsewhere than the export's, which may
    /// have had other settings before the replay went on, or stopped.
    fn is_replayed(&self, bucket: &str, folder: &str, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or_default();
        let holds = |receipt: &&Receipt| name.starts_with(&receipt.window.to_string());
        let Some(original) = self.tenant.receipts.values().find(holds) else { return false };
        let is_here = |receipt: &Receipt| {
            (receipt.location.bucket.as_str(), receipt.location.folder.as_str()) == (bucket, folder)
        };
        let has_requests = self.facts.replays.requested.values().any(|tenant| tenant == self.id);
        let is_replayed = self.tenant.replayed.values().any(|it| holds(&it) && is_here(it));
        let is_interrupted = self.facts.replays.is_interrupted(&original.location, original.window);
        has_requests && (!is_here(original) || is_manifest(key) && (is_replayed || is_interrupted))
    }

    /// Whether an admin made a change during the object's window, or events of it may have been deleted.
    fn is_excused(&self, key: &str) -> bool {
        let name = key.rsplit('/').next().unwrap_or_default();
        let holds = |receipt: &&Receipt| {
            let (from, begins) = (name.split('_').next().unwrap_or_default(), timestamp::compact(receipt.window.from));
            if !name.contains("_late_") {
                return from == begins;
            }
            // A late minute is delivered with the window after its own.
            let before = self.tenant.receipts.values().find(|before| before.window.to == receipt.window.from);
            before.is_some_and(|before| (timestamp::compact(before.window.from).as_str()..&begins).contains(&from))
        };
        let of_window = self.tenant.receipts.values().find(holds);
        let is_open = |receipt: &Receipt| {
            let changed = (self.id.to_owned(), timestamp::seconds(receipt.window.from));
            // A key that is taken away before the first manifest is committed leaves no chain.
            let has_no_chain = is_manifest(key) && receipt.manifest.is_none();
            self.facts.change_positions.contains(&changed) || self.may_have_gap(receipt) || has_no_chain
        };
        // An unfinished window of a disconnected tenant has no receipt.
        of_window.is_none_or(is_open)
    }
}

/// Whether each line has room in its file, and the next file's first line that is not late had none.
fn is_split_by(format: Format, files: &[Vec<String>], limit: u64, is_late: impl Fn(&str) -> bool) -> bool {
    files.iter().all(|lines| {
        let mut encoder = Encoder::new(format, Compression::None);
        let mut lines = lines.iter().enumerate();
        lines.all(|(at, line)| (at == 0 || encoder.has_room(line.len(), limit)) && encoder.push(line).is_ok())
    }) && files.windows(2).all(|two| {
        let mut encoder = Encoder::new(format, Compression::None);
        let is_pushed = two[0].iter().all(|line| encoder.push(line).is_ok());
        is_pushed && two[1].iter().take_while(|line| encoder.has_room(line.len(), limit)).all(|line| is_late(line))
    })
}
