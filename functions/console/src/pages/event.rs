//! The page of one event, as it is exported.

use askama::Template;
use audit_log_core::{schedule::Window, search::Search};
use audit_log_web::{
    body::Query,
    caller::Read,
    problem::{Code, Problem},
};
use axum::{extract::State, response::Response};
use chrono::{DateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::Deserialize;

use super::{
    error_page::ErrorPage,
    layout::{Layout, NavItem, html},
    session::Session,
    text::pretty,
};
use crate::{
    app::{App, Backend},
    logs::{self, ScanLimit},
    page_token,
};

/// How many events of the same millisecond are read, at most.
const MAX_EVENTS: usize = 1_000;

#[derive(Template)]
#[template(path = "event.html")]
struct EventPage {
    layout: Layout,
    json: String,
}

/// The part that the script puts below a row.
#[derive(Template)]
#[template(path = "event-json.html")]
struct Part {
    json: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventQuery {
    /// The event's position, as a page token.
    at: String,
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    query: Result<Query<EventQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(EventQuery { at }) = query.map_err(refuse)?;
    let json = find(&app, &session, &at).await.map_err(refuse)?;
    if session.request.is_partial {
        return Ok(html(StatusCode::OK, &Part { json }));
    }
    Ok(html(StatusCode::OK, &EventPage { layout: session.layout(NavItem::Logs, "Event"), json }))
}

async fn find<B: Backend>(app: &App<B>, session: &Session<Read>, at: &str) -> Result<String, Problem> {
    let position = page_token::decode(at)?;
    let gone = || Problem::new(Code::NotFound, "This event does not exist, or is no longer kept.");
    let recorded_at = position.split('#').next().unwrap_or_default();
    let from: DateTime<Utc> = recorded_at.parse().map_err(|_| gone())?;
    let to = from.checked_add_signed(TimeDelta::milliseconds(1)).ok_or_else(gone)?;
    let window = Window { from, to };
    let (actions, users, log_types) = (Vec::new(), Vec::new(), Vec::new());
    let search = Search { window, actions, users, log_types, text: String::new() };
    let page = logs::find(app, session.caller.tenant(), &search, None, MAX_EVENTS, ScanLimit::FULL).await?;
    let event = page.events.into_iter().find(|event| event.position == position).ok_or_else(gone)?;
    Ok(pretty(&event.document))
}
