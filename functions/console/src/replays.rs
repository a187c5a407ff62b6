//! Replays: past windows that are delivered again on an admin's request.

use audit_log_core::{
    ports::{Settings as _, SlotKind},
    records::{
        Progress, Refusal, RefusedWindow as StoredRefusal, Replay as StoredReplay, ReplayError as StoredError,
        ReplayState as StoredState, StopCause, TenantRecords,
    },
    replays::{self, Preview, StopRequest, Unreplayable},
    schedule::{Window, full_hour},
    timestamp,
};
use audit_log_web::{
    body::{Json, Query},
    caller::{Admin, Caller, Read},
    problem::{Code, Problem},
};
use axum::{
    extract,
    response::{IntoResponse as _, Response},
};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::{App, Backend},
    logs::query::{INSTANT_FORMS, instant},
    problems::{changed_meanwhile, connector_required, invalid},
    slots::take_slot,
};

/// A running replay writes its record after each window.
const MAX_ATTEMPTS: u32 = 10;

/// For each preview.
const LAST_MODIFIED: &str = "Files are stored again, also where their bytes stay the same: consumers that go by S3's events or by \
                             Last-Modified see them as new. Those that go by an event's id see nothing twice.";

/// Which windows are delivered again: all that overlap the range.
#[derive(Debug, Clone, Deserialize, ToSchema, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ReplayRange {
    /// A date, which begins in UTC, or an instant.
    #[schema(example = "2026-11-01")]
    pub(crate) from: String,
    /// The end, excluded: a date or an instant. Exports may not have come that far yet.
    #[schema(example = "2026-11-21T12:00:00Z")]
    pub(crate) to: String,
}

/// How a replay goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReplayState {
    /// It goes on, or waits for a run of the exporter.
    Running,
    /// It ends after the window in progress.
    Stopping,
    /// Every window was delivered again, or left as it is.
    Completed,
    /// An admin, a disconnect or another destination has ended it.
    Stopped,
    /// A window failed for too long.
    Failed,
}

/// A count of windows.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub struct ReplayProgress {
    /// How many windows.
    pub(crate) windows: u64,
    /// Their recorded events.
    pub(crate) events: u64,
    /// Their stored bytes.
    pub(crate) bytes: u64,
}

/// A window that a replay leaves as it is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefusedWindow {
    /// Start of the window.
    pub(crate) window_from: String,
    /// End of the window, excluded.
    pub(crate) window_to: String,
    /// `events_expired`, `partly_replaced`, `too_many_files`, `no_receipt` or `receipt_unclear`.
    pub(crate) reason: &'static str,
    /// The reason in a sentence.
    pub(crate) message: &'static str,
}

/// Why the next window failed last.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReplayError {
    /// What happened.
    pub(crate) code: String,
    /// The same in a sentence.
    pub(crate) message: String,
    /// Who must act: `customer` or `platform`.
    pub(crate) party: String,
    /// What to do. Null if the platform must act.
    pub(crate) hint: Option<String>,
    /// When it failed.
    pub(crate) at: String,
}

/// A tenant's last replay, in progress or ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// The id of the audit event of the request.
    pub(crate) id: String,
    /// How it goes.
    #[schema(inline)]
    pub(crate) state: ReplayState,
    /// Start of the range.
    pub(crate) from: String,
    /// End of the range, excluded: no later than exports had come.
    pub(crate) to: String,
    /// The bucket that the windows go to.
    pub(crate) bucket: String,
    /// The tenant's folder in that bucket.
    pub(crate) folder: String,
    /// The address, name or id of the admin who requested it.
    pub(crate) requested_by: String,
    /// When it was requested.
    pub(crate) requested_at: String,
    /// All windows that end at or before this are done.
    pub(crate) done_until: String,
    /// When it was requested, or came on last.
    pub(crate) progressed_at: String,
    /// What was to be delivered when it was requested.
    pub(crate) planned: ReplayProgress,
    /// What is delivered.
    pub(crate) delivered: ReplayProgress,
    /// How many windows have an amended manifest since.
    pub(crate) amended: u64,
    /// How many windows are left as they are.
    pub(crate) refused: u64,
    /// The first 50 of them.
    pub(crate) refused_windows: Vec<RefusedWindow>,
    /// Why the next window failed last. Null if it didn't, or if another one was delivered since.
    pub(crate) last_error: Option<ReplayError>,
    /// When it ended. Null while it goes on.
    pub(crate) ended_at: Option<String>,
    /// Why it was stopped: `requested`, `disconnected` or `destination_changed`. Null if it wasn't.
    pub(crate) stop_cause: Option<&'static str>,
}

/// What a replay of a range would do now.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplayPreview {
    /// Start of the range.
    pub(crate) from: String,
    /// End of the range, excluded: no later than exports have come.
    pub(crate) to: String,
    /// The bucket that the windows go to.
    pub(crate) bucket: String,
    /// The tenant's folder in that bucket.
    pub(crate) folder: String,
    /// How many windows would be delivered.
    pub(crate) windows: u64,
    /// Their recorded events.
    pub(crate) events: u64,
    /// Their stored bytes.
    pub(crate) bytes: u64,
    /// How many of these windows were delivered to another place before.
    pub(crate) elsewhere: u64,
    /// How many of these windows lack events that have expired. They are delivered with a gap, into another place only.
    pub(crate) incomplete: u64,
    /// How many windows are left as they are because their events have expired: the files in the bucket are the complete ones.
    pub(crate) events_expired: u64,
    /// How many windows are left as they are because they have more files than a replay can compare.
    pub(crate) too_many_files: u64,
    /// Events that were recorded before this have expired. Null if events are kept for ever.
    pub(crate) kept_since: Option<String>,
    /// Whether the whole range is counted. If not, there are at least as many windows.
    pub(crate) complete: bool,
    /// What else to know before the request.
    pub(crate) notes: Vec<&'static str>,
}

/// Requests a replay: every exported window that overlaps the range is delivered again, the earliest first, into the place of the
/// settings. The answer doesn't wait for it. There is one at a time, and there are three a day.
#[utoipa::path(post, path = "/v1/replays", operation_id = "requestReplay", tag = "Exports", request_body = ReplayRange, responses(
    (status = 202, description = "The replay is requested", body = Replay,
        headers(("Location" = String, description = "Where to read how it goes"))),
    (status = 409, description = "No exports are scheduled, or a replay is running: the detail names it", body = Problem,
        content_type = "application/problem+json"),
    (status = 422, description = "Nothing of the range can be delivered again", body = Problem,
        content_type = "application/problem+json"),
    (status = 429, description = "Too many replays in a day, or previews in a minute", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn create<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    Json(range): Json<ReplayRange>,
) -> Result<Response, Problem> {
    let replay = request(&app, &caller, &range).await?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, "/v1/replays/current")], Json(replay)).into_response())
}

/// The last replay, in progress or ended.
#[utoipa::path(get, path = "/v1/replays/current", operation_id = "readReplay", tag = "Exports", responses(
    (status = 200, description = "The replay", body = Replay),
    (status = 404, description = "There was none yet", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
) -> Result<Json<Replay>, Problem> {
    let none = || Problem::new(Code::NotFound, "No replay was requested yet.");
    current(&app, &caller).await?.map(Json).ok_or_else(none)
}

/// Stops the replay in progress after the window that it is at. What is delivered stays.
#[utoipa::path(delete, path = "/v1/replays/current", operation_id = "stopReplay", tag = "Exports", responses(
    (status = 202, description = "The replay stops", body = Replay),
    (status = 409, description = "No replay is running", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn delete<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<(StatusCode, Json<Replay>), Problem> {
    stop(&app, &caller).await.map(|replay| (StatusCode::ACCEPTED, Json(replay)))
}

/// What a replay would do. Counts at least the latest 10,000 windows of the range.
#[utoipa::path(get, path = "/v1/replays/preview", operation_id = "previewReplay", tag = "Exports", params(ReplayRange), responses(
    (status = 200, description = "What it would do", body = ReplayPreview),
    (status = 409, description = "No exports are scheduled", body = Problem, content_type = "application/problem+json"),
    (status = 422, description = "Nothing of the range can be delivered again", body = Problem,
        content_type = "application/problem+json"),
    (status = 429, description = "Too many previews in a minute", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn read_preview<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    Query(range): Query<ReplayRange>,
) -> Result<Json<ReplayPreview>, Problem> {
    preview(&app, &caller, &range).await.map(Json)
}

/// The last replay, in progress or ended; none if there never was one.
pub(crate) async fn current<B: Backend, P>(app: &App<B>, caller: &Caller<P>) -> Result<Option<Replay>, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    Ok(records.replay.map(Replay::from))
}

pub(crate) async fn preview<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    range: &ReplayRange,
) -> Result<ReplayPreview, Problem> {
    let range = range.parse()?;
    take_slot(app, caller.tenant(), SlotKind::Preview).await?;
    let records = app.settings().records(caller.tenant()).await?;
    plan(app, caller, &records, range).await.map(ReplayPreview::from)
}

pub(crate) async fn request<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    range: &ReplayRange,
) -> Result<Replay, Problem> {
    let (tenant, range, mut has_slot) = (caller.tenant(), range.parse()?, false);
    take_slot(app, tenant, SlotKind::Preview).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        if let Some(running) = records.replay.as_ref().filter(|replay| replay.is_running()) {
            return Err(replay_running(running));
        }
        let preview = plan(app, caller, &records, range).await?;
        if !has_slot {
            take_slot(app, tenant, SlotKind::Replay).await?;
            has_slot = true;
        }
        let change = app.change(caller)?;
        if let Some(replay) = replays::request(app.settings(), &records, tenant, &preview, &change).await? {
            tracing::info!(tenant = %tenant, windows = replay.planned.windows, "replay requested");
            request_run(app, caller).await;
            return Ok(replay.into());
        }
    }
    Err(changed_meanwhile())
}

pub(crate) async fn stop<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Replay, Problem> {
    let (tenant, by) = (caller.tenant(), app.change(caller)?.by);
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        match replays::request_stop(app.settings(), &records, tenant, &by).await? {
            StopRequest::Stored(replay) => {
                tracing::info!(tenant = %tenant, by = caller.actor().id, "the stop of a replay is requested");
                request_run(app, caller).await;
                return Ok(replay.into());
            }
            StopRequest::AlreadyStored(replay) => return Ok(replay.into()),
            StopRequest::NotRunning => return Err(Problem::new(Code::NoReplayRunning, "No replay is running.")),
            StopRequest::ConditionFailed => {}
        }
    }
    Err(changed_meanwhile())
}

/// Asks the exporter for a run. The record is all that a run needs: if the exporter can't be asked, the next tick or hourly check goes
/// on with it.
async fn request_run<B: Backend, P>(app: &App<B>, caller: &Caller<P>) {
    let tenant = caller.tenant();
    if let Err(failure) = app.request_export(tenant).await {
        let (code, reason) = (failure.code, failure.message);
        tracing::warn!(tenant = %tenant, code = %code, reason, "run not requested; the replay is left to the next tick or check");
    }
}

async fn plan<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    records: &TenantRecords,
    range: Window,
) -> Result<Preview, Problem> {
    let (tenant, deployment) = (caller.tenant(), app.deployment());
    let (platform, retention) = (&deployment.platform, deployment.retention);
    let plan = replays::preview(app.settings(), records, tenant, range, platform, retention, app.time()).await?;
    plan.map_err(unreplayable)
}

fn replay_running(running: &StoredReplay) -> Problem {
    let (id, since) = (&running.id, timestamp::seconds(running.requested_at));
    let detail = format!("The replay {id}, requested at {since}, is running. Wait until it ends, or stop it.");
    Problem::new(Code::ReplayRunning, detail)
}

fn unreplayable(why: Unreplayable) -> Problem {
    let nothing = |detail: String| Problem::new(Code::NothingToReplay, detail);
    match why {
        Unreplayable::NotConnected => connector_required(),
        Unreplayable::EmptyRange => invalid().field("from", "must be before the end"),
        Unreplayable::NotExported { exported_until } => {
            let until = timestamp::seconds(exported_until);
            nothing(format!("Nothing of this range is exported yet: exports have come to {until}."))
                .hint(format!("Choose a range that begins before {until}."))
        }
        Unreplayable::Expired { kept_since, earliest_start } => {
            let since = timestamp::seconds(kept_since);
            nothing(format!("All events of this range have expired: the platform keeps those recorded since {since}."))
                .hint(choose_later(earliest_start))
        }
        Unreplayable::NoWindows => {
            nothing("There is no receipt of an export in this range. Receipts are kept for 400 days.".to_owned())
        }
        Unreplayable::AllRefused(preview) => {
            let Preview { expired, too_many_files, earliest_start, .. } = *preview;
            let detail = format!(
                "No window of this range can be delivered again: the events of {expired} have expired or expire soon, and \
                 {too_many_files} have more files than a replay can compare. Their files in the bucket are left as they are."
            );
            let hint = earliest_start.filter(|_| expired > 0).map(choose_later);
            hint.into_iter().fold(nothing(detail), Problem::hint)
        }
    }
}

/// Windows begin at full hours. The next one leaves some time to act.
fn choose_later(earliest_start: DateTime<Utc>) -> String {
    let start = timestamp::seconds(full_hour(earliest_start) + TimeDelta::hours(1));
    format!("Choose a range that begins at {start} or later.")
}

impl ReplayRange {
    fn parse(&self) -> Result<Window, Problem> {
        let (from, to) = (instant(&self.from), instant(&self.to));
        let (Some(from), Some(to)) = (from, to) else {
            let wrong = [("from", from), ("to", to)].into_iter().filter(|(_, parsed)| parsed.is_none());
            return Err(wrong.fold(invalid(), |problem, (field, _)| problem.field(field, INSTANT_FORMS)));
        };
        // Rounded up, so that the range has all that it says.
        let to = timestamp::whole_seconds(to) + TimeDelta::seconds((to != to.trunc_subsecs(0)).into());
        Ok(Window { from: timestamp::whole_seconds(from), to })
    }
}

impl From<Progress> for ReplayProgress {
    fn from(Progress { windows, events, bytes }: Progress) -> Self {
        Self { windows, events, bytes }
    }
}

impl From<StoredRefusal> for RefusedWindow {
    fn from(StoredRefusal { window, reason }: StoredRefusal) -> Self {
        Self {
            window_from: timestamp::seconds(window.from),
            window_to: timestamp::seconds(window.to),
            reason: match reason {
                Refusal::EventsExpired => "events_expired",
                Refusal::PartlyReplaced => "partly_replaced",
                Refusal::TooManyFiles => "too_many_files",
                Refusal::NoReceipt => "no_receipt",
                Refusal::ReceiptUnclear => "receipt_unclear",
            },
            message: reason.message(),
        }
    }
}

impl From<StoredError> for ReplayError {
    fn from(StoredError { code, message, party, hint, at }: StoredError) -> Self {
        Self { code, message, party, hint, at: timestamp::seconds(at) }
    }
}

impl From<StoredReplay> for Replay {
    fn from(replay: StoredReplay) -> Self {
        let by = replay.requested_by;
        Self {
            id: replay.id,
            state: match replay.state {
                StoredState::Running if replay.stop_requested => ReplayState::Stopping,
                StoredState::Running => ReplayState::Running,
                StoredState::Completed => ReplayState::Completed,
                StoredState::Stopped => ReplayState::Stopped,
                StoredState::Failed => ReplayState::Failed,
            },
            from: timestamp::seconds(replay.range.from),
            to: timestamp::seconds(replay.range.to),
            bucket: replay.location.bucket,
            folder: replay.location.folder,
            requested_by: by.email.or(by.name).unwrap_or(by.id),
            requested_at: timestamp::seconds(replay.requested_at),
            done_until: timestamp::seconds(replay.next),
            progressed_at: timestamp::seconds(replay.progressed_at),
            planned: replay.planned.into(),
            delivered: replay.delivered.into(),
            amended: replay.amended,
            refused: replay.refused_count,
            refused_windows: replay.refused.into_iter().map(RefusedWindow::from).collect(),
            last_error: replay.last_error.map(ReplayError::from),
            ended_at: replay.ended_at.map(timestamp::seconds),
            stop_cause: replay.stopped.map(|cause| match cause {
                StopCause::Requested => "requested",
                StopCause::Disconnected => "disconnected",
                StopCause::DestinationChanged => "destination_changed",
            }),
        }
    }
}

impl From<Preview> for ReplayPreview {
    fn from(preview: Preview) -> Self {
        Self {
            from: timestamp::seconds(preview.range.from),
            to: timestamp::seconds(preview.range.to),
            bucket: preview.location.bucket,
            folder: preview.location.folder,
            windows: preview.planned.windows,
            events: preview.planned.events,
            bytes: preview.planned.bytes,
            elsewhere: preview.elsewhere,
            incomplete: preview.incomplete,
            events_expired: preview.expired,
            too_many_files: preview.too_many_files,
            kept_since: preview.kept_since.map(timestamp::seconds),
            complete: preview.is_complete,
            notes: vec![LAST_MODIFIED],
        }
    }
}
