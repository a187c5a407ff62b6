//! The table of what was exported, a row for each file.

use std::collections::HashMap;

use askama::Template;
use audit_log_core::{
    onboarding::ConnectorState,
    records::{Location, ManifestState, Place, StoredReceipt, TenantRecords},
    timestamp,
};

use super::{
    session::Session,
    text::{When, bytes, number, shown},
};
use crate::exports::{ExportedObject, Exports, Manifest, Page, Receipt, ReplayedReceipt};

/// How many of a window's files are listed, at most.
const MAX_LISTED_FILES: usize = 2;

#[derive(Template)]
#[template(path = "receipts.html")]
pub(super) struct Receipts {
    root: &'static str,
    /// Whether the user may have a window delivered again.
    can_replay: bool,
    list: Vec<ReceiptView>,
    /// The query of the next page.
    more: Option<String>,
    is_first_page: bool,
}

struct ReceiptView {
    from: When,
    to: When,
    events: String,
    malformed: u64,
    gap: bool,
    size: String,
    files: Vec<FileView>,
    unlisted: u64,
    manifest: ManifestView,
    /// How often its manifest was amended, if ever.
    amended: Option<u32>,
    delivered_at: When,
    /// Where it lies, if exports go elsewhere now.
    place: Option<String>,
    replays: Vec<ReplayedView>,
    /// How many earlier ones there are.
    unlisted_replays: u64,
    /// Asks for a replay of this window.
    query: String,
}

/// That the window was delivered again.
struct ReplayedView {
    /// None for the place where it lies already.
    place: Option<String>,
    at: When,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ManifestView {
    Signed,
    Unsigned,
    None,
}

struct FileView {
    url: String,
    name: String,
    size: String,
    sha256: String,
    copy_command: String,
}

/// The receipts of replays that stored a window's files again, by the ends of the windows.
type Standing = HashMap<String, Receipt>;

impl Receipts {
    pub(super) fn new<P>(session: &Session<P>, records: &TenantRecords, page: Page, is_first_page: bool) -> Self {
        let Page { exports, replayed } = page;
        let place = records.config.as_ref().and_then(|config| Place::of(session.caller.tenant(), config));
        let mut standing = standing(replayed, &exports);
        let view = |export: Receipt| {
            let standing = standing.remove(&export.window_to);
            ReceiptView::new(export, standing, place.as_ref())
        };
        Self {
            root: session.request.root,
            can_replay: session.caller.permissions().admin
                && ConnectorState::from_records(records) == ConnectorState::Scheduled,
            list: exports.exports.into_iter().map(view).collect(),
            more: exports.next_page_token.map(|token| format!("?pageToken={token}")),
            is_first_page,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Returns the receipts of the windows whose files a replay has stored again.
fn standing(replayed: Vec<StoredReceipt>, exports: &Exports) -> Standing {
    let at_place = replayed.into_iter().filter(|stored| {
        let Location { bucket, folder } = &stored.receipt.location;
        let end = timestamp::seconds(stored.receipt.window.to);
        exports.exports.iter().any(|it| it.window_to == end && it.bucket == *bucket && it.folder == *folder)
    });
    at_place.map(|stored| (timestamp::seconds(stored.receipt.window.to), Receipt::from(stored))).collect()
}

/// Whether a replay went to the place of the export.
fn is_at(replay: &ReplayedReceipt, export: &Receipt) -> bool {
    replay.bucket == export.bucket && replay.folder == export.folder
}

impl ReceiptView {
    /// `standing` is the receipt of a replay of the files, if there was one; `present` is where exports go now.
    fn new(export: Receipt, standing: Option<Receipt>, present: Option<&Place>) -> Self {
        let is_present = present.is_none_or(|it| it.bucket == export.bucket && it.folder == export.folder);
        let replayed = |replay: &ReplayedReceipt| ReplayedView {
            place: (!is_at(replay, &export)).then(|| place(&replay.bucket, &replay.folder)),
            at: When::minute(&replay.exported_at),
        };
        let replays: Vec<_> = export.replays.iter().map(replayed).collect();
        let unlisted_replays = export.replay_count.saturating_sub(replays.len() as u64);
        let place = (!is_present).then(|| place(&export.bucket, &export.folder));
        let delivered_at = When::minute(&export.exported_at);
        let standing = standing.unwrap_or(export);
        let manifest = standing.manifest.as_ref();
        Self {
            from: When::minute(&standing.window_from),
            to: When::minute(&standing.window_to),
            query: format!("?from={}&to={}", standing.window_from, standing.window_to),
            events: number(standing.events),
            malformed: standing.malformed,
            gap: standing.gap,
            size: bytes(standing.bytes),
            amended: manifest.and_then(|manifest| manifest.amended.as_ref()).map(|amended| amended.number),
            manifest: manifest.into(),
            delivered_at,
            place,
            replays,
            unlisted_replays,
            unlisted: standing.object_count.saturating_sub(MAX_LISTED_FILES as u64),
            files: standing
                .objects
                .iter()
                .take(MAX_LISTED_FILES)
                .map(|it| FileView::new(&standing.bucket, it))
                .collect(),
        }
    }
}

/// Bucket and tenant's folder in one line.
fn place(bucket: &str, folder: &str) -> String {
    shown(&format!("s3://{bucket}/{folder}"), 400)
}

impl From<Option<&Manifest>> for ManifestView {
    fn from(manifest: Option<&Manifest>) -> Self {
        match manifest {
            Some(manifest) if manifest.state == ManifestState::Signed.as_str() => Self::Signed,
            Some(_) => Self::Unsigned,
            None => Self::None,
        }
    }
}

impl FileView {
    fn new(bucket: &str, ExportedObject { key, bytes: size, sha256, .. }: &ExportedObject) -> Self {
        let name = key.rsplit_once('/').map_or(key.as_str(), |(_, name)| name);
        let url = format!("s3://{bucket}/{key}");
        // A prefix may have apostrophes and parentheses. Quoting fails only for NUL, which no key has.
        let quoted = shlex::try_quote(&url).unwrap_or_default();
        Self {
            name: shown(name, 200),
            size: bytes(*size),
            sha256: sha256.clone(),
            copy_command: format!("aws s3 cp {quoted} ."),
            url: shown(&url, 1_200),
        }
    }

    fn short_sha256(&self) -> String {
        self.sha256.chars().take(8).collect()
    }

    /// The name in the parts between which a line may break.
    fn parts(&self) -> impl Iterator<Item = &str> {
        self.name.split_inclusive('_')
    }
}
