//! The table of what was exported, a row for each file.

use std::collections::HashMap;

use askama::Template;
use audit_log_core::{
    failure::Failure,
    ports::Settings as _,
    records::{ManifestState, Place, StoredReceipt, TenantRecords},
    tenant::TenantId,
    timestamp,
};
use chrono::{DateTime, Utc};

use super::{
    session::Session,
    text::{When, bytes, number, shown},
};
use crate::{
    app::{App, Backend},
    exports::{ExportedObject, Exports, Manifest, Receipt},
};

/// How many of a window's files are listed, at most.
const MAX_LISTED_FILES: usize = 2;

#[derive(Template)]
#[template(path = "receipts.html")]
pub(super) struct Receipts {
    root: &'static str,
    admin: bool,
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

/// The receipts of replays, by the end of their windows.
type Replayed = HashMap<String, Vec<StoredReceipt>>;

impl Receipts {
    pub(super) async fn load<B: Backend, P>(
        app: &App<B>,
        session: &Session<P>,
        records: &TenantRecords,
        exports: Exports,
        is_first_page: bool,
    ) -> Self {
        let tenant = session.caller.tenant();
        let place = records.config.as_ref().and_then(|config| Place::of(tenant, config));
        let mut replayed = replayed(app, tenant, &exports.exports).await;
        let view = |receipt: Receipt| {
            let replays = replayed.remove(&receipt.window_to).unwrap_or_default();
            ReceiptView::new(receipt, replays, place.as_ref())
        };
        Self {
            root: session.request.root,
            admin: session.caller.permissions().admin,
            list: exports.exports.into_iter().map(view).collect(),
            more: exports.next_page_token.map(|token| format!("?pageToken={token}")),
            is_first_page,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

/// Reads the receipts of replays of these windows. The page is of use without them.
async fn replayed<B: Backend>(app: &App<B>, tenant: &TenantId, receipts: &[Receipt]) -> Replayed {
    let end = |receipt: Option<&Receipt>| timestamp::parse_seconds(&receipt?.window_to);
    let (Some(first), Some(last)) = (end(receipts.last()), end(receipts.first())) else { return Replayed::new() };
    let read = app.settings().replayed_receipts(tenant, first, last).await;
    let read = read.unwrap_or_else(|Failure { code, message, .. }| {
        tracing::error!(code = %code, reason = message, "the receipts of replays could not be read");
        Vec::new()
    });
    let mut replayed = Replayed::new();
    for stored in read {
        replayed.entry(timestamp::seconds(stored.receipt.window.to)).or_default().push(stored);
    }
    replayed
}

impl ReceiptView {
    /// `present` is where exports go now.
    fn new(export: Receipt, mut replays: Vec<StoredReceipt>, present: Option<&Place>) -> Self {
        let first_key = export.objects.first().map_or(String::new(), |object| object.key.clone());
        let lies_in = |bucket: &str, folder: &str| bucket == export.bucket && first_key.starts_with(folder);
        let is_present = present.is_none_or(|present| lies_in(&present.bucket, &present.folder));
        let place = tenant_folder(&first_key).filter(|_| !is_present).map(|folder| place(&export.bucket, folder));
        let is_here = |stored: &StoredReceipt| {
            let location = &stored.receipt.location;
            lies_in(&location.bucket, &location.folder)
        };
        replays.sort_by_key(|stored| stored.receipt.exported_at);
        let replayed = |stored: &StoredReceipt| ReplayedView {
            place: Some(&stored.receipt.location).filter(|_| !is_here(stored)).map(|it| self::place(&it.bucket, &it.folder)),
            at: minute(stored.receipt.exported_at),
        };
        let views = replays.iter().map(replayed).collect();
        let here = replays.iter().position(is_here).map(|position| replays.swap_remove(position));
        let amended = here.as_ref().and_then(|it| it.receipt.manifest.as_ref()?.amended.as_ref()).map(|it| it.number);
        let delivered_at = When::minute(&export.exported_at);
        // Where the window lies, its files are those of the replay.
        let standing = here.map_or(export, Receipt::from);
        Self {
            from: When::minute(&standing.window_from),
            to: When::minute(&standing.window_to),
            query: format!("?from={}&to={}", standing.window_from, standing.window_to),
            events: number(standing.events),
            malformed: standing.malformed,
            gap: standing.gap,
            size: bytes(standing.bytes),
            manifest: standing.manifest.as_ref().into(),
            amended,
            delivered_at,
            place,
            replays: views,
            unlisted: standing.object_count.saturating_sub(MAX_LISTED_FILES as u64),
            files: standing.objects.iter().take(MAX_LISTED_FILES).map(|it| FileView::new(&standing.bucket, it)).collect(),
        }
    }
}

/// Bucket and tenant's folder in one line.
fn place(bucket: &str, folder: &str) -> String {
    shown(&format!("s3://{bucket}/{folder}"), 400)
}

/// The tenant's folder in a key, with a slash at the end.
fn tenant_folder(key: &str) -> Option<&str> {
    let begin = key.rfind("audit-logs/tenant=")?;
    let end = key.get(begin..)?.match_indices('/').nth(1).map(|(at, _)| begin + at + 1)?;
    key.get(..end)
}

fn minute(at: DateTime<Utc>) -> When {
    When::minute(&timestamp::seconds(at))
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
