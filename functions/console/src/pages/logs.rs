//! The page of the audit logs.

mod facet;
pub(super) mod query;
mod rows;
mod timeline;

use askama::Template;
use audit_log_core::{schedule::Window, search::SearchPage};
use audit_log_web::{
    body::Query,
    caller::Read,
    problem::{Code, Problem},
};
use axum::{extract::State, response::Response};
use http::StatusCode;

use self::{
    facet::{Facet, facets},
    query::{Chip, LogsQuery, Period, Preset},
    rows::Row,
    timeline::Timeline,
};
use super::{
    error_page::ErrorPage,
    layout::{Alert, Layout, NavItem, html},
    session::Session,
    text::{When, number, sentence},
};
use crate::{
    app::{App, Backend},
    logs::{self, AuditLogSummary, ScanLimit},
    page_token,
};

/// How many events a page has, at most.
const MAX_ROWS: usize = 30;

/// The page's parameters, as messages name them.
const PARAMETERS: [(&str, &str); 10] = [
    ("from", "The start date"),
    ("to", "The end date"),
    ("q", "The search"),
    ("action", "The filter by action"),
    ("user", "The filter by user"),
    ("logType", "The filter by log type"),
    ("notAction", "The filter of excluded actions"),
    ("notUser", "The filter of excluded users"),
    ("notLogType", "The filter of excluded log types"),
    ("pageToken", "The address of this page"),
];

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    layout: Layout,
    query: LogsQuery,
    periods: Vec<Period>,
    /// Of a custom period, or those that one begins with.
    dates: (String, String),
    presets: Vec<Preset>,
    chips: Vec<Chip>,
    more_chips: usize,
    facets: Vec<Facet>,
    alert: Option<Alert>,
    wrong_fields: Vec<&'static str>,
    /// `None` if the events were not counted.
    total: Option<Total>,
    timeline: Option<Timeline>,
    /// The query of the page with the counts, if they come later.
    counts: Option<String>,
    rows: Vec<Row>,
    /// The query of the next page.
    more: Option<String>,
    /// The query of the CSV file.
    file: String,
}

impl LogsPage {
    fn is_filtered(&self) -> bool {
        self.query.is_filtered()
    }

    fn is_first_page(&self) -> bool {
        self.query.page_token.is_none()
    }
}

struct Total {
    events: String,
    is_one: bool,
    /// If not all events of the period were counted: the time of the oldest, and how many were read.
    counted: Option<(When, String)>,
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    query: Result<Query<LogsQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let (query, found) = match query {
        Ok(Query(query)) => {
            let found = find(&app, &session, &query).await;
            (query, found)
        }
        Err(problem) => (LogsQuery::default(), Err(problem)),
    };
    let (status, alert, wrong_fields, found) = match found {
        Ok(found) => (StatusCode::OK, None, Vec::new(), found),
        // The page keeps a wrong query, to be corrected there.
        Err(problem) if problem.code().status() == StatusCode::BAD_REQUEST => {
            let (alert, wrong_fields) = explain(&problem);
            (StatusCode::BAD_REQUEST, Some(alert), wrong_fields, Found::default())
        }
        Err(problem) => return Err(session.refuse(&problem)),
    };
    let Found { window, rows, next, summary } = found;
    let is_later = summary.is_none() && window.is_some() && query.page_token.is_none();
    let counts = is_later.then(|| query.clone().counting(true).to_query(None));
    // Only a page that has the counts at once leads to pages that have.
    let query = if session.request.is_partial { query.counting(false) } else { query };
    let total = summary.as_ref().map(|summary| Total {
        events: number(summary.total),
        is_one: summary.total == 1,
        counted: summary.counted_from.as_deref().map(|at| (When::minute(at), number(summary.scanned))),
    });
    let (chips, more_chips) = query.chips();
    let page = LogsPage {
        layout: session.layout(NavItem::Logs, "Audit logs"),
        periods: query.periods(),
        dates: query.dates(window),
        presets: query.presets(),
        chips,
        more_chips,
        facets: facets(&query, summary.as_ref()),
        timeline: window.zip(summary.as_ref()).and_then(|(window, summary)| Timeline::new(&query, window, summary)),
        counts,
        more: next.map(|next| query.to_query(Some(&page_token::encode(&next)))),
        file: query.clone().counting(false).to_query(None),
        query,
        alert,
        wrong_fields,
        total,
        rows,
    };
    Ok(html(status, &page))
}

#[derive(Default)]
struct Found {
    window: Option<Window>,
    rows: Vec<Row>,
    next: Option<String>,
    summary: Option<AuditLogSummary>,
}

/// Finds the rows, or the counts for the page's script, which has the rows, or both for a page that has them at once.
async fn find<B: Backend>(app: &App<B>, session: &Session<Read>, query: &LogsQuery) -> Result<Found, Problem> {
    let (tenant, now) = (session.caller.tenant(), app.time());
    let csv_query = query.csv_query(now);
    let search = csv_query.search(now)?;
    let (events, summary) = if query.has_counts() {
        let max_events = if session.request.is_partial { 0 } else { MAX_ROWS };
        let (events, summary) = logs::summarize(app, tenant, &search, max_events).await?;
        (if session.request.is_partial { SearchPage::default() } else { events }, Some(summary))
    } else {
        let position = csv_query.position()?;
        (logs::find(app, tenant, &search, position, MAX_ROWS, ScanLimit::FULL).await?, None)
    };
    let (rows, next) = rows::page(query, &events);
    Ok(Found { window: Some(search.window), rows, next, summary })
}

/// Puts a refusal into the words of the page, and names the fields that are wrong.
fn explain(problem: &Problem) -> (Alert, Vec<&'static str>) {
    let mut wrong_fields = Vec::new();
    let messages: Vec<String> = problem
        .errors()
        .iter()
        .map(|error| {
            let known = PARAMETERS.iter().find(|(name, _)| *name == error.field);
            wrong_fields.extend(known.map(|(name, _)| *name));
            let (_, label) = known.unwrap_or(&("", "The address of this page"));
            match error.field.as_str() {
                "pageToken" => "The address of this page is not valid. Go back to the audit logs.".to_owned(),
                _ => sentence(label, &error.message),
            }
        })
        .collect();
    let are_dates = !wrong_fields.is_empty() && wrong_fields.iter().all(|field| matches!(*field, "from" | "to"));
    let title = if are_dates { "Check the dates" } else { "Check the search" }.to_owned();
    let detail = if messages.is_empty() { problem.detail().to_owned() } else { messages.join(" ") };
    (Alert { title, detail, ..Alert::from_problem(problem) }, wrong_fields)
}

/// The events of the page, and all that follow.
pub(super) async fn csv<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    query: Result<Query<LogsQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(query) = query.map_err(refuse)?;
    let csv_query = query.csv_query(app.time());
    // The name says that the file is incomplete: a reader of the file doesn't see the header `Link`.
    let file = logs::csv_response(&app, &session.caller, &csv_query, "-newest-part").await;
    file.map_err(|problem| match problem.code() {
        Code::InvalidParameter => refuse(Problem::new(problem.code(), explain(&problem).0.detail)),
        _ => refuse(problem),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_explained_in_the_words_of_the_page() {
        let (alert, wrong_fields) = explain(&Problem::parameter("from", "must be before the end"));
        assert_eq!(
            (alert.title.as_str(), alert.detail.as_str()),
            ("Check the dates", "The start date must be before the end.")
        );
        assert_eq!(wrong_fields, ["from"]);
        let (alert, wrong_fields) = explain(&Problem::parameter("pageToken", "is not valid"));
        assert!(!alert.detail.contains("pageToken") && !alert.detail.contains("API"), "{}", alert.detail);
        assert_eq!(wrong_fields, ["pageToken"]);
    }
}
