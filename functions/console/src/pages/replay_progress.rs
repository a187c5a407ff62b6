//! How the last replay fares: a part of the status page that the pages' script loads again while the replay runs.

use askama::Template;
use audit_log_core::{
    ports::Settings as _,
    records::{Location, Progress, RefusedWindow, Replay, ReplayError, ReplayState, StopCause, TenantRecords},
    schedule::full_hour,
    timestamp,
};
use audit_log_web::caller::Read;
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;

use super::{
    error_page::ErrorPage,
    layout::html,
    obstacles,
    session::{CsrfToken, Session},
    text::{When, bytes, number, shown},
};
use crate::app::{App, Backend};

/// For how long the result of a replay is shown.
const SHOWN_FOR: TimeDelta = TimeDelta::days(7);

#[derive(Template)]
#[template(path = "replay-progress.html")]
pub(super) struct ReplayProgress {
    root: &'static str,
    csrf: CsrfToken,
    admin: bool,
    state: ReplayState,
    stopped: Option<StopCause>,
    from: When,
    to: When,
    place: String,
    requested_by: String,
    requested_at: When,
    ended_at: Option<When>,
    done: u64,
    planned: u64,
    events: String,
    size: String,
    amended: u64,
    refused: Vec<RefusedView>,
    unlisted: u64,
    waits: Option<Wait>,
    error: Option<ReplayError>,
    failing_since: Option<When>,
    is_stopping: bool,
}

struct RefusedView {
    from: When,
    to: When,
    reason: &'static str,
}

/// What the next window waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// The windows that are due come first.
    DueWindows,
    /// An upload that was cut off may still be stored.
    Upload,
    /// The last events for places that were left come first.
    FinalDeliveries,
}

impl ReplayProgress {
    /// None if there is no replay, or if the last one ended long ago.
    pub(super) fn new<P>(records: &TenantRecords, session: &Session<P>, now: DateTime<Utc>) -> Option<Self> {
        let replay = records.replay.as_ref()?;
        if replay.ended_at.is_some_and(|ended_at| now - ended_at > SHOWN_FOR) {
            return None;
        }
        let minute = |at: DateTime<Utc>| When::minute(&timestamp::seconds(at));
        let Replay { range, location, requested_by, delivered, planned, .. } = replay;
        let Location { bucket, folder } = location;
        let name = requested_by.email.as_ref().or(requested_by.name.as_ref()).unwrap_or(&requested_by.id);
        let Progress { windows, events, bytes: size } = *delivered;
        let done = windows + replay.refused_count;
        let refused = |RefusedWindow { window, reason }: &RefusedWindow| RefusedView {
            from: minute(window.from),
            to: minute(window.to),
            reason: reason.message(),
        };
        Some(Self {
            root: session.request.root,
            csrf: session.csrf_token(),
            admin: session.caller.permissions().admin,
            state: replay.state,
            stopped: replay.stopped,
            from: minute(range.from),
            to: minute(range.to),
            place: shown(&format!("s3://{bucket}/{folder}"), 400),
            requested_by: shown(name, 80),
            requested_at: minute(replay.requested_at),
            ended_at: replay.ended_at.map(minute),
            done,
            planned: planned.windows.max(done),
            events: number(events),
            size: bytes(size),
            amended: replay.amended,
            unlisted: replay.refused_count.saturating_sub(replay.refused.len() as u64),
            refused: replay.refused.iter().map(refused).collect(),
            waits: Wait::of(records, replay, now),
            error: replay.last_error.clone(),
            failing_since: replay.failing_since.map(minute),
            is_stopping: replay.stop_requested,
        })
    }

    fn is_running(&self) -> bool {
        self.state == ReplayState::Running
    }

    /// Why it was stopped, in a sentence.
    fn why_stopped(&self) -> &'static str {
        match self.stopped {
            Some(StopCause::Disconnected) => "The role was disconnected.",
            Some(StopCause::DestinationChanged) => "The settings lead to another place now.",
            Some(StopCause::Requested) | None => "An administrator stopped it.",
        }
    }
}

impl Wait {
    fn of(records: &TenantRecords, replay: &Replay, now: DateTime<Utc>) -> Option<Self> {
        let schedule = records.watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
        if schedule.is_some_and(|schedule| schedule.due_window(full_hour(now)).is_some()) {
            Some(Self::DueWindows)
        } else if replay.retry_after.is_some_and(|after| now <= after) {
            Some(Self::Upload)
        } else if !records.final_deliveries.is_empty() {
            Some(Self::FinalDeliveries)
        } else {
            None
        }
    }
}

/// The part alone. Without a script, the link to it leads to the page that has it.
pub(super) async fn part<B: Backend>(State(app): State<App<B>>, session: Session<Read>) -> Result<Response, ErrorPage> {
    if !session.request.is_partial {
        return Ok(Redirect::to("../status#replay").into_response());
    }
    let records = app.settings().records(session.caller.tenant()).await;
    let records = records.map_err(|failure| session.refuse(&failure.into()))?;
    match ReplayProgress::new(&records, &session, app.time()) {
        Some(progress) => Ok(html(StatusCode::OK, &progress)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}
