//! The tenant's audit logs: events, counts, and CSV.

mod csv;
pub(crate) mod query;

use std::time::Duration;

use audit_log_core::{
    ports::{Recorder as _, Settings as _, SlotKind},
    schedule::Window,
    search::{self, Counted, FoundEvent, Scope, Search, SearchLimits, SearchPage},
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
use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderValue, header};
use serde::Serialize;
use serde_json::{Map, Value, json, value::RawValue};
use utoipa::ToSchema;

use crate::{
    app::{App, Backend},
    page_token,
    slots::take_slot,
};
pub(crate) use query::{CsvQuery, MAX_VALUE_CHARS};
use query::{FilterQuery, ListQuery};

/// How much a request reads, at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScanLimit {
    /// What DynamoDB reads, and bills by.
    bytes: u64,
    /// What DynamoDB sends: the events that its filter by action and log type leaves. They take CPU time.
    sent_bytes: u64,
    time: Duration,
}

impl ScanLimit {
    /// For requests for events: a million events of some 500 bytes, of which 160,000 are sent. An HTTP API gives up after 30
    /// seconds.
    pub(crate) const FULL: Self = Self { bytes: 512 << 20, sent_bytes: 64 << 20, time: Duration::from_secs(15) };

    /// For what only accompanies something else.
    pub(crate) const SHORT: Self = Self { bytes: 64 << 20, sent_bytes: 4 << 20, time: Duration::from_secs(3) };
}

/// The bytes of an answer's events, escaped in a JSON string as in Lambda's answer to the API. That answer has at most 6 MB
/// ("Lambda quotas" in its developer guide).
const MAX_PAGE_ESCAPED_BYTES: usize = 5_000_000;

/// A page of events.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLogs {
    /// Newest first, each as it is exported.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Box<RawValue>>,
    /// Start of the period. Send it along with the page token, or the period moves on with the clock.
    from: String,
    /// End of the period, excluded.
    to: String,
    /// Set if there may be more events. A page may be short or empty without being the last one: a request reads at most
    /// 512 MiB, and of the events with these actions and log types 64 MiB, matching or not. Go on with this token.
    next_page_token: Option<String>,
    /// How many events the table read, matching or not. They may be more than the page has passed.
    pub(crate) scanned: u64,
    /// How many bytes the table read for them.
    scanned_bytes: u64,
}

/// How many events there are, and which values the filters have.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditLogSummary {
    /// How many events match.
    pub(crate) total: u64,
    /// Whether all events of the period were counted.
    pub(crate) complete: bool,
    /// If not complete: all events recorded from then on were counted.
    pub(crate) counted_from: Option<String>,
    /// How many events were counted, matching or not.
    pub(crate) scanned: u64,
    /// How many bytes these events and their keys have.
    pub(crate) scanned_bytes: u64,
    /// Each action with the number of events that match all other filters, the most frequent first.
    pub(crate) actions: Vec<ValueCount>,
    /// Each user, likewise.
    pub(crate) users: Vec<ValueCount>,
    /// Each log type, likewise.
    pub(crate) log_types: Vec<ValueCount>,
    /// How many events match in each part of the period, the earliest part first. All parts are equally long, at most 31, and
    /// begin at full minutes, hours or days in UTC. So the first and the last one may reach beyond the period.
    pub(crate) histogram: Vec<TimeCount>,
}

/// One value of a filter.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct ValueCount {
    /// The value.
    pub(crate) value: String,
    /// Of a user who has one: the name in the newest event, if it is not the value itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    /// How many events have it.
    pub(crate) count: u64,
}

/// One part of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TimeCount {
    /// The part's start.
    pub(crate) from: String,
    /// The part's end, excluded.
    pub(crate) to: String,
    /// How many events match.
    pub(crate) count: u64,
}

/// The tenant's audit logs, newest first.
#[utoipa::path(get, path = "/v1/audit-logs", operation_id = "listAuditLogs", tag = "Audit logs", params(ListQuery),
    responses(
        (status = 200, description = "Some events", body = AuditLogs),
        (status = 429, description = "Too many searches in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn list<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(query): Query<ListQuery>,
) -> Result<Json<AuditLogs>, Problem> {
    let (search, after, page_size) = (query.search(app.time())?, query.position()?, query.page_size()?);
    let page = find(&app, caller.tenant(), &search, after, page_size, ScanLimit::FULL).await?;
    let raw = |found: FoundEvent| RawValue::from_string(found.document).ok();
    Ok(Json(AuditLogs {
        events: page.events.into_iter().filter_map(raw).collect(),
        from: timestamp::millis(search.window.from),
        to: timestamp::millis(search.window.to),
        next_page_token: page.next.as_deref().map(page_token::encode),
        scanned: page.scanned.events,
        scanned_bytes: page.scanned.bytes,
    }))
}

/// The number of matching events, and the values of each filter. Counts at most the newest 64 MiB of the period's events; the
/// answer says how far it got.
#[utoipa::path(get, path = "/v1/audit-logs/summary", operation_id = "summarizeAuditLogs", tag = "Audit logs",
    params(FilterQuery),
    responses(
        (status = 200, description = "The counts", body = AuditLogSummary),
        (status = 429, description = "Too many searches in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn summary<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(query): Query<FilterQuery>,
) -> Result<Json<AuditLogSummary>, Problem> {
    let search = query.search(app.time())?;
    let (_, summary) = summarize(&app, caller.tenant(), &search, 0).await?;
    Ok(Json(summary))
}

/// Returns the newest matching events, at most `max_events`, and the counts of all.
pub(crate) async fn summarize<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    search: &Search,
    max_events: usize,
) -> Result<(SearchPage, AuditLogSummary), Problem> {
    let scope = Scope { tenant, shards: begin_search(app, tenant).await? };
    let (started, clock) = (app.time(), app.clock());
    let should_stop = || is_over(started, clock(), ScanLimit::FULL.time);
    let limits = limits(max_events, ScanLimit::FULL, &should_stop);
    let (page, summary) = search::summarize(app.events(), scope, search, limits).await?;
    let counts = |values: &search::ValueCounts| {
        let values = values.most_frequent().into_iter();
        let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
        let count = |it: Counted<'_>| ValueCount { value: it.value.to_owned(), name: named(it.name), count: it.events };
        values.map(count).collect()
    };
    let bar = |(bar, count): (Window, u64)| TimeCount {
        from: timestamp::seconds(bar.from),
        to: timestamp::seconds(bar.to),
        count,
    };
    let summary = AuditLogSummary {
        total: summary.total,
        complete: summary.cut_at.is_none(),
        counted_from: summary.cut_at.map(timestamp::millis),
        scanned: summary.counted.events,
        scanned_bytes: summary.counted.bytes,
        actions: counts(&summary.actions),
        users: counts(&summary.users),
        log_types: counts(&summary.log_types),
        histogram: summary.histogram.bars().map(bar).collect(),
    };
    Ok((page, summary))
}

/// The tenant's audit logs as CSV (RFC 4180) in UTF-8, newest first, up to 4 MB. A request reads at most 512 MiB, and of the
/// events with these actions and log types 64 MiB, matching or not. The header `Link` leads to the rest, if any.
/// Cells that a spreadsheet would run as a formula begin with an apostrophe. Each download is an audit event.
#[utoipa::path(get, path = "/v1/audit-logs.csv", operation_id = "downloadAuditLogs", tag = "Audit logs",
    params(CsvQuery),
    responses(
        (status = 200, description = "A table", body = String, content_type = "text/csv",
            headers(("Link" = String, description = "With `rel=\"next\"`: the rest of the table"))),
        (status = 429, description = "Too many searches in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn csv<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
    Query(query): Query<CsvQuery>,
) -> Result<Response, Problem> {
    csv_response(&app, &caller, &query, "").await
}

/// Each part of a table is an audit event of its own. `suffix` ends the name of a file that has not all events.
pub(crate) async fn csv_response<B: Backend>(
    app: &App<B>,
    caller: &Caller<Read>,
    query: &CsvQuery,
    suffix: &str,
) -> Result<Response, Problem> {
    let tenant = caller.tenant();
    let (search, after, has_bom) = (query.search(app.time())?, query.position()?, query.has_bom()?);
    let page = find(app, tenant, &search, after, usize::MAX, ScanLimit::FULL).await?;
    let (mut table, written) = csv::table(&page.events);
    if has_bom {
        table.insert_str(0, csv::BOM);
    }
    let next = match page.events.get(written) {
        Some(_) => written.checked_sub(1).and_then(|last| page.events.get(last)).map(|last| last.position.clone()),
        None => page.next,
    };
    let downloaded = app.change(caller)?.downloaded(tenant, &describe_download(&search, written));
    app.recorder().record(&downloaded).await?;
    let mut response = table.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        disposition(tenant, search.window, if next.is_some() { suffix } else { "" }),
    );
    let link = next.map(|next| {
        let query = query.next(&search, &page_token::encode(&next));
        // Relative: behind a domain of the platform's, this function doesn't know the request's URL.
        format!("<?{query}>; rel=\"next\"")
    });
    if let Some(Ok(link)) = link.map(HeaderValue::try_from) {
        headers.insert(header::LINK, link);
    }
    Ok(response)
}

/// Names the file by tenant, first day and last day. `suffix` goes before the extension.
fn disposition(tenant: &TenantId, Window { from, to }: Window, suffix: &str) -> HeaderValue {
    // The end is excluded.
    let (from, to) = (from.date_naive(), (to - TimeDelta::milliseconds(1)).max(from).date_naive());
    let value = format!("attachment; filename=\"audit-logs-{tenant}-{from}-{to}{suffix}.csv\"");
    // A tenant id is ASCII without quotes.
    HeaderValue::try_from(value).unwrap_or_else(|_| HeaderValue::from_static("attachment"))
}

/// The period, the filters that are set, and the number of events.
fn describe_download(search: &Search, events: usize) -> Value {
    let filters = [
        ("action", json!(search.actions.only)),
        ("user", json!(search.users.only)),
        ("logType", json!(search.log_types.only)),
        ("notAction", json!(search.actions.except)),
        ("notUser", json!(search.users.except)),
        ("notLogType", json!(search.log_types.except)),
        ("q", json!(search.text)),
    ];
    let is_set = |value: &Value| *value != json!([]) && *value != json!("");
    let filters: Map<String, Value> =
        filters.into_iter().filter(|(_, value)| is_set(value)).map(|(name, value)| (name.to_owned(), value)).collect();
    let Window { from, to } = search.window;
    json!({ "from": timestamp::millis(from), "to": timestamp::millis(to), "filters": filters, "events": events })
}

/// Returns matching events, newest first, from `after` on.
pub(crate) async fn find<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    search: &Search,
    after: Option<String>,
    max_events: usize,
    scan: ScanLimit,
) -> Result<SearchPage, Problem> {
    let scope = Scope { tenant, shards: begin_search(app, tenant).await? };
    let (started, clock) = (app.time(), app.clock());
    let should_stop = || is_over(started, clock(), scan.time);
    let limits = limits(max_events, scan, &should_stop);
    Ok(search::search(app.events(), scope, search, after.as_deref(), limits).await?)
}

fn limits(
    max_events: usize,
    ScanLimit { bytes: scanned_bytes, sent_bytes, time: _ }: ScanLimit,
    should_stop: &(dyn Fn() -> bool + Send + Sync),
) -> SearchLimits<'_> {
    SearchLimits { most: max_events, bytes: MAX_PAGE_ESCAPED_BYTES, scanned_bytes, sent_bytes, should_stop }
}

fn is_over(started: DateTime<Utc>, now: DateTime<Utc>, time: Duration) -> bool {
    (now - started).to_std().is_ok_and(|passed| passed > time)
}

/// Counts the search against the tenant's limit, and returns the shards to search. A stored number that can't be read is an
/// error: with 1 in its place, events would be missing.
async fn begin_search<B: Backend>(app: &App<B>, tenant: &TenantId) -> Result<EventShards, Problem> {
    take_slot(app, tenant, SlotKind::Search).await?;
    let config = app.settings().records(tenant).await?.config.unwrap_or_default();
    let Some(text) = config.event_shards else { return Ok(EventShards::ONE) };
    EventShards::parse(&text).map_err(|invalid| {
        tracing::error!(tenant = %tenant, reason = invalid.0, "the stored event_shards can't be used");
        Problem::unavailable()
    })
}
