//! The receipts of what was exported.

use audit_log_core::{
    ports::Settings as _,
    records::{AmendedManifest, StoredManifest, StoredObject, StoredReceipt},
    timestamp,
};
use audit_log_web::{
    body::{Json, Query},
    caller::{Caller, Read},
    problem::Problem,
};
use axum::extract;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::{App, Backend},
    page_token,
};

const DEFAULT_PAGE_SIZE: usize = 25;

/// A receipt lists up to 500 objects, and an answer of Lambda has at most 6 MB.
const MAX_PAGE_SIZE: usize = 100;

/// Per receipt. The manifest's checksum covers all of its objects.
const MAX_LISTED_OBJECTS: usize = 50;

/// Per receipt.
const MAX_LISTED_REPLAYS: usize = 10;

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How many, 1 to 100; 25 if left out.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) page_size: Option<usize>,
    /// The `nextPageToken` of the page before.
    pub(crate) page_token: Option<String>,
}

/// One window that was exported.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Start of the window.
    pub(crate) window_from: String,
    /// End of the window, excluded.
    pub(crate) window_to: String,
    /// The bucket with its objects.
    pub(crate) bucket: String,
    /// The tenant's folder in that bucket.
    pub(crate) folder: String,
    /// The format of its objects: `json` or `ndjson`.
    pub(crate) format: &'static str,
    /// Their compression: `none` or `gzip`.
    pub(crate) compression: &'static str,
    /// The schema of their events: `native` or `ocsf`.
    pub(crate) schema: &'static str,
    /// The first 50 of its objects, in order.
    pub(crate) objects: Vec<ExportedObject>,
    /// How many objects there are.
    pub(crate) object_count: u64,
    /// How many recorded events they contain. Heartbeats don't count.
    pub(crate) events: u64,
    /// How many of these are wrapped, since they are malformed.
    pub(crate) malformed: u64,
    /// The stored bytes of all objects.
    pub(crate) bytes: u64,
    /// The signed list of all objects. Null for a window without one.
    pub(crate) manifest: Option<Manifest>,
    /// Whether events may be missing because they were deleted before the export.
    pub(crate) gap: bool,
    /// When the last object was stored.
    pub(crate) exported_at: String,
    /// From the first read to the last stored object.
    pub(crate) duration_ms: i64,
    /// The window's last replay into each place: the latest ten, the last one last. What the export itself delivered stays as it is
    /// above.
    pub(crate) replays: Vec<ReplayedReceipt>,
    /// Into how many places the window was replayed.
    pub(crate) replay_count: u64,
}

/// What a replay delivered of a window.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayedReceipt {
    /// The bucket with its objects.
    pub(crate) bucket: String,
    /// The tenant's folder in that bucket.
    pub(crate) folder: String,
    /// The format of its objects: `json` or `ndjson`.
    pub(crate) format: &'static str,
    /// Their compression: `none` or `gzip`.
    pub(crate) compression: &'static str,
    /// The schema of their events: `native` or `ocsf`.
    pub(crate) schema: &'static str,
    /// When the last object was stored.
    pub(crate) exported_at: String,
    /// How many objects there are.
    pub(crate) object_count: u64,
    /// How many recorded events they contain.
    pub(crate) events: u64,
    /// The stored bytes of all objects.
    pub(crate) bytes: u64,
    /// Whether events are missing because they were deleted before the replay.
    pub(crate) gap: bool,
    /// The signed list of all objects. Null for a window without one.
    pub(crate) manifest: Option<Manifest>,
}

/// The manifest of a window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Manifest {
    /// Its key in the tenant's bucket.
    pub(crate) key: String,
    /// SHA-256 of its text, without the signature, in lower-case hex: what the next window's manifest names.
    pub(crate) sha256: String,
    /// `signed` or `unsigned`. An unsigned one proves nothing until a later window is signed.
    pub(crate) state: &'static str,
    /// The manifest that stands for it since a replay has stored other files. Null if none does.
    pub(crate) amended: Option<Amendment>,
}

/// A manifest that amends another one of its window.
#[derive(Debug, Serialize, ToSchema)]
pub struct Amendment {
    /// Counts the amendments of the window.
    pub(crate) number: u32,
    /// SHA-256 of its text, without the signature, in lower-case hex.
    pub(crate) sha256: String,
    /// SHA-256 of the text that it amends.
    pub(crate) amends: String,
    /// Why, in one word: `late-events`, `events-expired` or `other-files`.
    pub(crate) cause: String,
}

/// One object in the tenant's bucket.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportedObject {
    /// Its key.
    pub(crate) key: String,
    /// Its size as stored.
    pub(crate) bytes: u64,
    /// Its recorded events.
    pub(crate) events: u64,
    /// SHA-256 of the stored bytes, in lower-case hex.
    pub(crate) sha256: String,
}

/// A page of receipts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exports {
    /// The latest window first.
    pub(crate) exports: Vec<Receipt>,
    /// Set if there is a next page.
    pub(crate) next_page_token: Option<String>,
}

/// The receipts of what was exported, the latest window first. They are kept for 400 days.
#[utoipa::path(get, path = "/v1/exports", operation_id = "listExports", tag = "Exports", params(Parameters), responses(
    (status = 200, description = "A page of receipts", body = Exports),
))]
pub(crate) async fn list<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Exports>, Problem> {
    page(&app, &caller, parameters).await.map(|Page { exports, .. }| Json(exports))
}

/// A page of receipts, and the receipts of these windows' replays, the last one last.
pub(crate) struct Page {
    pub(crate) exports: Exports,
    pub(crate) replayed: Vec<StoredReceipt>,
}

pub(crate) async fn page<B: Backend, P>(
    app: &App<B>,
    caller: &Caller<P>,
    Parameters { page_size, page_token }: Parameters,
) -> Result<Page, Problem> {
    let page_size = page_size.unwrap_or(DEFAULT_PAGE_SIZE);
    if !(1..=MAX_PAGE_SIZE).contains(&page_size) {
        return Err(Problem::parameter("pageSize", format!("must be a number from 1 to {MAX_PAGE_SIZE}")));
    }
    let position = page_token.map(|token| page_token::decode(&token)).transpose()?;
    let invalid = || Problem::parameter("pageToken", "is not valid");
    let before = position.map(|text| timestamp::parse_seconds(&text).ok_or_else(invalid)).transpose()?;
    let mut receipts = app.settings().receipts(caller.tenant(), before, page_size + 1).await?;
    let more = receipts.len() > page_size;
    receipts.truncate(page_size);
    let last = receipts.last().map(|last| timestamp::seconds(last.receipt.window.to));
    let next_page_token = last.filter(|_| more).map(|position| page_token::encode(&position));
    let mut replayed = match (receipts.first(), receipts.last()) {
        (Some(latest), Some(earliest)) => {
            let (first, last) = (earliest.receipt.window.to, latest.receipt.window.to);
            app.settings().replayed_receipts(caller.tenant(), first, last).await?
        }
        _ => Vec::new(),
    };
    replayed.sort_by_key(|replayed| replayed.receipt.exported_at);
    let with_replays = |receipt: StoredReceipt| {
        let of_window: Vec<_> =
            replayed.iter().filter(|it| it.receipt.window.to == receipt.receipt.window.to).collect();
        let replay_count = of_window.len() as u64;
        let latest = of_window.into_iter().rev().take(MAX_LISTED_REPLAYS).rev();
        Receipt { replays: latest.map(ReplayedReceipt::from).collect(), replay_count, ..Receipt::from(receipt) }
    };
    let exports = Exports { exports: receipts.into_iter().map(with_replays).collect(), next_page_token };
    Ok(Page { exports, replayed })
}

impl From<StoredManifest> for Manifest {
    fn from(StoredManifest { key, sha256, state, previous: _, amended }: StoredManifest) -> Self {
        let amended = amended.map(|AmendedManifest { number, sha256, amends, cause }| Amendment {
            number,
            sha256,
            amends,
            cause,
        });
        Self { key, sha256, state: state.as_str(), amended }
    }
}

impl From<&StoredReceipt> for ReplayedReceipt {
    fn from(StoredReceipt { receipt, object_count, events, bytes }: &StoredReceipt) -> Self {
        Self {
            bucket: receipt.location.bucket.clone(),
            folder: receipt.location.folder.clone(),
            format: receipt.format.as_str(),
            compression: receipt.compression.as_str(),
            schema: receipt.schema.as_str(),
            exported_at: timestamp::seconds(receipt.exported_at),
            object_count: *object_count,
            events: *events,
            bytes: *bytes,
            gap: receipt.gap,
            manifest: receipt.manifest.clone().map(Manifest::from),
        }
    }
}

impl From<StoredReceipt> for Receipt {
    fn from(stored: StoredReceipt) -> Self {
        let StoredReceipt { receipt, object_count, events, bytes } = stored;
        let object = |StoredObject { key, bytes, events, sha256, .. }| ExportedObject { key, bytes, events, sha256 };
        Self {
            window_from: timestamp::seconds(receipt.window.from),
            window_to: timestamp::seconds(receipt.window.to),
            bucket: receipt.location.bucket,
            folder: receipt.location.folder,
            format: receipt.format.as_str(),
            compression: receipt.compression.as_str(),
            schema: receipt.schema.as_str(),
            objects: receipt.objects.into_iter().take(MAX_LISTED_OBJECTS).map(object).collect(),
            object_count,
            events,
            malformed: receipt.malformed,
            bytes,
            manifest: receipt.manifest.map(Manifest::from),
            gap: receipt.gap,
            exported_at: timestamp::seconds(receipt.exported_at),
            duration_ms: receipt.duration.num_milliseconds(),
            replays: Vec::new(),
            replay_count: 0,
        }
    }
}
