//! One event in full, as it is exported.

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
    render::{Frame, Place, Refused, html},
    session::Session,
    text::pretty,
};
use crate::{
    app::{App, Backend},
    logs::{self, Reach},
    page_token,
};

/// How many events of one millisecond are looked at.
const MOST: usize = 1_000;

#[derive(Template)]
#[template(path = "event.html")]
struct Page {
    frame: Frame,
    json: String,
}

/// What the script puts below a row.
#[derive(Template)]
#[template(path = "event-json.html")]
struct Part {
    json: String,
}

/// Which one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// Its position, as a page token.
    at: String,
}

/// An event, by where it stands among the tenant's own.
pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    asked: Result<Query<Asked>, Problem>,
) -> Result<Response, Refused> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(Asked { at }) = asked.map_err(refuse)?;
    let json = find(&app, &session, &at).await.map_err(refuse)?;
    if session.request.partly {
        return Ok(html(StatusCode::OK, &Part { json }));
    }
    Ok(html(StatusCode::OK, &Page { frame: session.frame(Place::Logs, "Event"), json }))
}

async fn find<B: Backend>(app: &App<B>, session: &Session<Read>, at: &str) -> Result<String, Problem> {
    let position = page_token::decode(at)?;
    let gone = || Problem::new(Code::NotFound, "There is no such event, or it is no longer kept here.");
    let recorded_at = position.split('#').next().unwrap_or_default();
    let from: DateTime<Utc> = recorded_at.parse().map_err(|_| gone())?;
    let to = from.checked_add_signed(TimeDelta::milliseconds(1)).ok_or_else(gone)?;
    let window = Window { from, to };
    let (actions, users, log_types) = (Vec::new(), Vec::new(), Vec::new());
    let search = Search { window, actions, users, log_types, text: String::new() };
    let page = logs::look(app, session.caller.tenant(), &search, None, MOST, Reach::FULL).await?;
    let event = page.events.into_iter().find(|event| event.position == position).ok_or_else(gone)?;
    Ok(pretty(&event.document))
}
