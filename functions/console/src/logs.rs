//! The tenant's audit logs: read, counted, and as a file for a spreadsheet.

mod csv;
mod parameters;

use std::time::Duration;

use audit_log_core::{
    ports::Settings as _,
    search::{self, FoundEvent, Scope, Search, SearchLimits},
    tenant::{EventShards, TenantId},
    timestamp,
};
use audit_log_web::{
    body::{Json, Query},
    caller::{Caller, Read},
    problem::Problem,
};
use axum::{
    extract,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{
    app::{App, Backend},
    page_token,
};
pub(crate) use parameters::{Filters, Paged, Table};

/// How far a request looks, at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reach {
    /// So many events, matching or not.
    scanned: u64,
    /// So long.
    time: Duration,
}

impl Reach {
    /// For whoever asks for events. An HTTP API gives up after 30 seconds.
    pub(crate) const FULL: Self = Self { scanned: 20_000, time: Duration::from_secs(15) };

    /// For what only goes with something else, which must not wait for it.
    pub(crate) const SHORT: Self = Self { scanned: 5_000, time: Duration::from_secs(3) };
}

/// How many bytes of events an answer has, as a text within a JSON string: that is how Lambda's answer to the API holds
/// it, and at 6 MB ("Lambda quotas" in its developer guide) that answer ends.
const ESCAPED_BYTES: usize = 5_000_000;

/// A page of events.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLogs {
    /// The newest first; each as it is exported.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Box<RawValue>>,
    /// The period that was looked at; with the page token, send it again, or it moves on with the clock.
    from: String,
    /// Its end, excluded.
    to: String,
    /// Leads on, if there may be more. A page may be short, or empty, and yet not be the last one.
    next_page_token: Option<String>,
    /// How many events were looked at.
    pub(crate) scanned: u64,
}

/// How many events there are, and which values the filters have.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLogSummary {
    /// How many events match.
    pub(crate) total: u64,
    /// Whether all events of the period were counted.
    pub(crate) complete: bool,
    /// Where it is not complete: only what was recorded from then on was counted.
    pub(crate) counted_from: Option<String>,
    /// How many events were looked at.
    pub(crate) scanned: u64,
    /// Each action, with the number of events that match all other filters; the most frequent first.
    pub(crate) actions: Vec<ValueCount>,
    /// Each user, likewise.
    pub(crate) users: Vec<ValueCount>,
    /// Each log type, likewise.
    pub(crate) log_types: Vec<ValueCount>,
}

/// One value of a filter.
#[derive(Serialize, ToSchema)]
pub struct ValueCount {
    /// The value.
    pub(crate) value: String,
    /// How many events have it.
    pub(crate) count: u64,
}

/// The tenant's audit logs, newest first.
#[utoipa::path(get, path = "/v1/audit-logs", operation_id = "listAuditLogs", tag = "Audit logs", params(Paged),
    responses((status = 200, description = "Some events", body = AuditLogs)))]
pub(crate) async fn list<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(parameters): Query<Paged>,
) -> Result<Json<AuditLogs>, Problem> {
    let (search, beyond, most) = (parameters.search(app.time())?, parameters.position()?, parameters.page_size()?);
    let page = look(&app, caller.tenant(), &search, beyond, most, Reach::FULL).await?;
    let raw = |found: FoundEvent| RawValue::from_string(found.document).ok();
    Ok(Json(AuditLogs {
        events: page.events.into_iter().filter_map(raw).collect(),
        from: timestamp::millis(search.window.from),
        to: timestamp::millis(search.window.to),
        next_page_token: page.next.as_deref().map(page_token::encode),
        scanned: page.scanned,
    }))
}

/// How many events match, and which values each filter has. At most 20,000 events are looked at, the newest of the period;
/// the answer says where that ended.
#[utoipa::path(get, path = "/v1/audit-logs/summary", operation_id = "summarizeAuditLogs", tag = "Audit logs",
    params(Filters), responses((status = 200, description = "The counts", body = AuditLogSummary)))]
pub(crate) async fn summary<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(parameters): Query<Filters>,
) -> Result<Json<AuditLogSummary>, Problem> {
    let search = parameters.search(app.time())?;
    count(&app, caller.tenant(), &search).await.map(Json)
}

/// Counts what matches.
pub(crate) async fn count<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    search: &Search,
) -> Result<AuditLogSummary, Problem> {
    let of = Scope { tenant, shards: shards(app, tenant).await? };
    let (began, clock) = (app.time(), app.clock());
    let Reach { scanned, time } = Reach::FULL;
    let should_stop = || late(began, clock(), time);
    let bounds = SearchLimits { most: usize::MAX, bytes: usize::MAX, scanned, should_stop: &should_stop };
    let summary = search::summarize(app.events(), of, search, bounds).await?;
    let counts = |values: &search::ValueCounts| {
        let values = values.most_frequent().into_iter();
        values.map(|(value, count)| ValueCount { value: value.to_owned(), count }).collect()
    };
    Ok(AuditLogSummary {
        total: summary.total,
        complete: summary.cut_at.is_none(),
        counted_from: summary.cut_at.map(timestamp::millis),
        scanned: summary.scanned,
        actions: counts(&summary.actions),
        users: counts(&summary.users),
        log_types: counts(&summary.log_types),
    })
}

/// The tenant's audit logs as CSV (RFC 4180), newest first, up to 4 MB. The header `Link` leads to the rest, if there is
/// any. Cells that a spreadsheet would take for a formula begin with an apostrophe.
#[utoipa::path(get, path = "/v1/audit-logs.csv", operation_id = "downloadAuditLogs", tag = "Audit logs",
    params(Table), responses((status = 200, description = "A table", body = String, content_type = "text/csv",
        headers(("Link" = String, description = "With `rel=\"next\"`: where the table goes on")))))]
pub(crate) async fn csv<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(parameters): Query<Table>,
) -> Result<Response, Problem> {
    table(&app, caller.tenant(), &parameters).await
}

/// What matches, as a file.
pub(crate) async fn table<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    parameters: &Table,
) -> Result<Response, Problem> {
    let (search, beyond) = (parameters.search(app.time())?, parameters.position()?);
    let page = look(app, tenant, &search, beyond, usize::MAX, Reach::FULL).await?;
    let (table, shown) = csv::table(&page.events);
    let next = match page.events.get(shown) {
        Some(_) => shown.checked_sub(1).and_then(|last| page.events.get(last)).map(|last| last.position.clone()),
        None => page.next,
    };
    let mut response = table.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let disposition = HeaderValue::from_static("attachment; filename=\"audit-logs.csv\"");
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    let link = next.map(|next| {
        let query = parameters.next(&search, &page_token::encode(&next));
        // Relative to the request's own URL, which this function doesn't know behind a domain of the platform's.
        format!("<?{query}>; rel=\"next\"")
    });
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// Some of what matches, newest first.
pub(crate) async fn look<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    search: &Search,
    beyond: Option<String>,
    most: usize,
    Reach { scanned, time }: Reach,
) -> Result<search::SearchPage, Problem> {
    let of = Scope { tenant, shards: shards(app, tenant).await? };
    let (began, clock) = (app.time(), app.clock());
    let bounds = SearchLimits { most, bytes: ESCAPED_BYTES, scanned, should_stop: &|| late(began, clock(), time) };
    Ok(search::search(app.events(), of, search, beyond.as_deref(), bounds).await?)
}

fn late(began: DateTime<Utc>, now: DateTime<Utc>, time: Duration) -> bool {
    (now - began).to_std().is_ok_and(|passed| passed > time)
}

/// Over how many shards the tenant's events are spread. One that can't be read must not pass for one.
async fn shards<B: Backend>(app: &App<B>, tenant: &TenantId) -> Result<EventShards, Problem> {
    let config = app.settings().records(tenant).await?.config.unwrap_or_default();
    let Some(text) = config.event_shards else { return Ok(EventShards::ONE) };
    EventShards::parse(&text).map_err(|invalid| {
        tracing::error!(tenant = %tenant, reason = invalid.0, "the stored event_shards can't be used");
        Problem::unavailable()
    })
}
