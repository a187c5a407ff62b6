//! What was exported: the receipts, newest first.

use audit_log_core::{
    ports::Settings as _,
    records::{StoredObject, StoredReceipt},
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

/// How many receipts a page has unless asked otherwise.
const PAGE: usize = 25;

/// How many it has at most. A receipt lists up to 500 objects, and an answer of Lambda ends at 6 MB.
const MAX_PAGE: usize = 100;

/// How many of a window's objects are shown; the manifest's checksum is over all of them.
const SHOWN_OBJECTS: usize = 50;

/// Which receipts.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Parameters {
    /// How many, 1 to 100; 25 if left out.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) page_size: Option<usize>,
    /// Where the page before this one ended.
    pub(crate) page_token: Option<String>,
}

/// One window that was exported.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The first instant of the window.
    pub(crate) window_from: String,
    /// The first instant after it.
    pub(crate) window_to: String,
    /// Where its objects lie.
    pub(crate) bucket: String,
    /// The first of its objects, in order.
    pub(crate) objects: Vec<ExportedObject>,
    /// How many objects there are.
    pub(crate) object_count: u64,
    /// How many recorded events they hold; a heartbeat doesn't count.
    pub(crate) events: u64,
    /// How many of these had to be wrapped as malformed.
    pub(crate) malformed: u64,
    /// The stored bytes of all objects.
    pub(crate) bytes: u64,
    /// SHA-256 of the list of all objects, in the format of `sha256sum`.
    pub(crate) manifest_sha256: String,
    /// Whether events may be missing, since they were deleted before they could be exported.
    pub(crate) gap: bool,
    /// When the last object was stored.
    pub(crate) exported_at: String,
    /// From the first read to the last stored object.
    pub(crate) duration_ms: i64,
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
    /// Leads to the next page, if there is one.
    pub(crate) next_page_token: Option<String>,
}

/// What was exported, the latest window first. Receipts are kept for 400 days.
#[utoipa::path(get, path = "/v1/exports", operation_id = "listExports", tag = "Exports", params(Parameters), responses(
    (status = 200, description = "Some receipts", body = Exports),
))]
pub(crate) async fn list<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(parameters): Query<Parameters>,
) -> Result<Json<Exports>, Problem> {
    page(&app, &caller, parameters).await.map(Json)
}

/// A page of receipts.
pub(crate) async fn page<B: Backend>(
    app: &App<B>,
    caller: &Caller<Read>,
    Parameters { page_size, page_token }: Parameters,
) -> Result<Exports, Problem> {
    let most = page_size.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&most) {
        return Err(Problem::parameter("pageSize", format!("is a number from 1 to {MAX_PAGE}")));
    }
    let position = page_token.map(|token| page_token::decode(&token)).transpose()?;
    let wrong = || Problem::parameter("pageToken", "is not one that this path gave out");
    let before = position.map(|text| timestamp::parse_seconds(&text).ok_or_else(wrong)).transpose()?;
    let mut receipts = app.settings().receipts(caller.tenant(), before, most + 1).await?;
    let more = receipts.len() > most;
    receipts.truncate(most);
    let last = receipts.last().map(|last| timestamp::seconds(last.receipt.window.to));
    let next_page_token = last.filter(|_| more).map(|position| page_token::encode(&position));
    Ok(Exports { exports: receipts.into_iter().map(Receipt::from).collect(), next_page_token })
}

impl From<StoredReceipt> for Receipt {
    fn from(stored: StoredReceipt) -> Self {
        let StoredReceipt { receipt, object_count, events, bytes, manifest_sha256 } = stored;
        let object = |StoredObject { key, bytes, events, sha256, .. }| ExportedObject { key, bytes, events, sha256 };
        Self {
            window_from: timestamp::seconds(receipt.window.from),
            window_to: timestamp::seconds(receipt.window.to),
            bucket: receipt.bucket,
            objects: receipt.objects.into_iter().take(SHOWN_OBJECTS).map(object).collect(),
            object_count,
            events,
            malformed: receipt.malformed,
            bytes,
            manifest_sha256,
            gap: receipt.gap,
            exported_at: timestamp::seconds(receipt.exported_at),
            duration_ms: receipt.duration.num_milliseconds(),
        }
    }
}
