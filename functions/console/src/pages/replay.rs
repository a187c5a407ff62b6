//! The page of a replay before it starts: choose a range, read what is delivered again, start it. The status page shows how it
//! fares.

use askama::Template;
use audit_log_core::timestamp;
use audit_log_web::{body::Query, caller::Admin, problem::Problem};
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::StatusCode;
use serde::Deserialize;

use super::{
    error_page::ErrorPage,
    form::{Form, NoFields},
    layout::{Alert, Layout, NavItem, html},
    session::{CsrfToken, Session},
    text::{When, bytes, number, shown},
};
use crate::{
    app::{App, Backend},
    replays::{self, ReplayPreview, ReplayRange},
};

#[derive(Template)]
#[template(path = "replay.html")]
struct ReplayPage {
    layout: Layout,
    csrf: CsrfToken,
    range: RangeForm,
    alert: Option<Alert>,
    preview: Option<PreviewView>,
}

/// What a replay would do.
struct PreviewView {
    from: When,
    to: When,
    /// For the form that starts it.
    range: ReplayRange,
    windows: u64,
    events: String,
    size: String,
    place: String,
    elsewhere: u64,
    incomplete: u64,
    expired: u64,
    too_many_files: u64,
    kept_since: Option<When>,
    is_complete: bool,
}

/// The form in which a range is chosen. The end may be blank: then it is the present.
#[derive(Template)]
#[template(path = "replay-range.html")]
pub(super) struct RangeForm {
    root: &'static str,
    from: String,
    to: String,
    presets: Vec<Preset>,
}

struct Preset {
    label: String,
    query: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RangeQuery {
    from: String,
    to: String,
}

impl RangeForm {
    /// `incident` is the beginning of the windows that an incident has affected.
    pub(super) fn new(root: &'static str, now: DateTime<Utc>, incident: Option<DateTime<Utc>>) -> Self {
        let since = |label: &str, from: DateTime<Utc>| Preset {
            label: label.to_owned(),
            query: format!("?from={}&to={}", field(from), field(now)),
        };
        let mut presets =
            vec![since("Last 24 hours", now - TimeDelta::days(1)), since("Last 7 days", now - TimeDelta::days(7))];
        presets.extend(incident.map(|from| since("Since the last incident began", from)));
        Self { root, from: String::new(), to: String::new(), presets }
    }

    fn with(self, RangeQuery { from, to }: RangeQuery) -> Self {
        Self { from: field_text(&from), to: field_text(&to), ..self }
    }
}

impl RangeQuery {
    fn range(&self, now: DateTime<Utc>) -> Result<ReplayRange, Box<Alert>> {
        let invalid = || {
            Box::new(Alert {
                tone: "bad",
                hint: Some("Enter both in UTC. Leave the end blank for the present.".to_owned()),
                ..Alert::good("Check the dates", "The range must begin and end with a date and a time.")
            })
        };
        let to = if self.to.is_empty() { Some(now) } else { parse(&self.to) };
        let (from, to) = (parse(&self.from).ok_or_else(invalid)?, to.ok_or_else(invalid)?);
        if from >= to {
            let alert = Alert::good("Check the dates", "The start must be before the end.");
            return Err(Box::new(Alert { tone: "bad", ..alert }));
        }
        let [from, to] = [from, to].map(timestamp::seconds);
        Ok(ReplayRange { from, to })
    }
}

/// An instant of a form, in UTC, or of a link.
fn parse(text: &str) -> Option<DateTime<Utc>> {
    let forms = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"];
    forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok()).map(|at| at.and_utc())
}

/// As a form's field has it.
fn field(at: DateTime<Utc>) -> String {
    let seconds = if at.timestamp() % 60 == 0 { "" } else { ":%S" };
    at.format(&format!("%Y-%m-%dT%H:%M{seconds}")).to_string()
}

fn field_text(text: &str) -> String {
    parse(text).map_or_else(|| shown(text, 40), field)
}

/// Shows what a replay of the range would do, if a range is given.
pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
    query: Result<Query<RangeQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let Query(query) = query.map_err(|problem| session.refuse(&problem))?;
    if query.from.is_empty() && query.to.is_empty() {
        let form = RangeForm::new(session.request.root, app.time(), None);
        return Ok(replay_page(&session, form, Ok(None), StatusCode::OK));
    }
    Ok(preview(&app, &session, query, None).await)
}

/// The preview of a range, or what is wrong with it. `refused` says why the replay did not start.
async fn preview<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
    query: RangeQuery,
    refused: Option<Problem>,
) -> Response {
    let form = |query| RangeForm::new(session.request.root, app.time(), None).with(query);
    let range = match query.range(app.time()) {
        Ok(range) => range,
        Err(alert) => return replay_page(session, form(query), Err(*alert), StatusCode::BAD_REQUEST),
    };
    if let Some(problem) = refused {
        let alert = session.alert(&problem);
        return replay_page(session, form(query), Err(alert), problem.code().status());
    }
    match replays::preview(app, &session.caller, &range).await {
        Ok(preview) => replay_page(session, form(query), Ok(Some(preview)), StatusCode::OK),
        Err(problem) => {
            let alert = session.alert(&problem);
            replay_page(session, form(query), Err(alert), problem.code().status())
        }
    }
}

pub(super) async fn start<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields }: Form<Admin, RangeQuery>,
) -> Response {
    let Ok(range) = fields.range(app.time()) else { return preview(&app, &session, fields, None).await };
    match replays::request(&app, &session.caller, &range).await {
        Ok(_) => Redirect::to("./status?replay=requested#replay").into_response(),
        Err(problem) => preview(&app, &session, fields, Some(problem)).await,
    }
}

pub(super) async fn stop<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    replays::stop(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(Redirect::to("../status?replay=stopped#replay").into_response())
}

fn replay_page(
    session: &Session<Admin>,
    range: RangeForm,
    found: Result<Option<ReplayPreview>, Alert>,
    status: StatusCode,
) -> Response {
    let (preview, alert) = match found {
        Ok(preview) => (preview, None),
        Err(alert) => (None, Some(alert)),
    };
    let page = ReplayPage {
        layout: session.layout(NavItem::Status, "Deliver again"),
        csrf: session.csrf_token(),
        range,
        alert,
        preview: preview.map(PreviewView::from),
    };
    html(status, &page)
}

impl From<ReplayPreview> for PreviewView {
    fn from(preview: ReplayPreview) -> Self {
        let ReplayPreview { from, to, bucket, folder, .. } = preview;
        Self {
            windows: preview.windows,
            events: number(preview.events),
            size: bytes(preview.bytes),
            place: shown(&format!("s3://{bucket}/{folder}"), 400),
            elsewhere: preview.elsewhere,
            incomplete: preview.incomplete,
            expired: preview.events_expired,
            too_many_files: preview.too_many_files,
            kept_since: preview.kept_since.as_deref().map(When::minute),
            is_complete: preview.complete,
            from: When::minute(&from),
            to: When::minute(&to),
            range: ReplayRange { from, to },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_comes_from_a_form_or_a_link_in_utc() {
        let now: DateTime<Utc> = "2026-11-21T10:03:12.345Z".parse().unwrap();
        let range = |from: &str, to: &str| {
            let query = RangeQuery { from: from.to_owned(), to: to.to_owned() };
            query.range(now).ok().map(|range| (range.from, range.to))
        };
        let expected = Some(("2026-11-20T09:00:00Z".to_owned(), "2026-11-21T09:00:30Z".to_owned()));
        assert_eq!(range("2026-11-20T09:00", "2026-11-21T09:00:30"), expected);
        assert_eq!(range("2026-11-20T09:00:00Z", "2026-11-21T09:00:30Z"), expected);
        assert_eq!(range("2026-11-20T09:00", "").unwrap().1, "2026-11-21T10:03:12Z");
        for (from, to) in [("", ""), ("yesterday", ""), ("2026-11-20", ""), ("2026-11-21T09:00", "2026-11-21T09:00")] {
            assert_eq!(range(from, to), None, "{from} {to}");
        }
    }
}
