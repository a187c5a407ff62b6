//! The page of the audit logs.

mod query;
mod rows;

use askama::Template;
use audit_log_web::{body::Query, caller::Read, problem::Problem};
use axum::{extract::State, response::Response};
use http::{HeaderValue, StatusCode, header};

use self::{
    query::{Facet, LogsQuery, Period},
    rows::Row,
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
const PARAMETERS: [(&str, &str); 7] = [
    ("from", "The start date"),
    ("to", "The end date"),
    ("q", "The search"),
    ("action", "The filter by action"),
    ("user", "The filter by user"),
    ("logType", "The filter by log type"),
    ("pageToken", "The address of this page"),
];

#[derive(Template)]
#[template(path = "logs.html")]
struct LogsPage {
    layout: Layout,
    query: LogsQuery,
    periods: Vec<Period>,
    facets: Vec<Facet>,
    alert: Option<Alert>,
    wrong_fields: Vec<&'static str>,
    /// `None` if the events were not counted.
    total: Option<Total>,
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
    let (status, alert, wrong_fields, (rows, next, summary)) = match found {
        Ok(found) => (StatusCode::OK, None, Vec::new(), found),
        // The page keeps a wrong query, to be corrected there.
        Err(problem) if problem.code().status() == StatusCode::BAD_REQUEST => {
            let (alert, wrong_fields) = explain(&problem);
            (StatusCode::BAD_REQUEST, Some(alert), wrong_fields, (Vec::new(), None, None))
        }
        Err(problem) => return Err(session.refuse(&problem)),
    };
    let total = summary.as_ref().map(|summary| Total {
        events: number(summary.total),
        is_one: summary.total == 1,
        counted: summary.counted_from.as_deref().map(|at| (When::minute(at), number(summary.scanned))),
    });
    let page = LogsPage {
        layout: session.layout(NavItem::Logs, "Audit logs"),
        periods: query.periods(),
        facets: query.facets(summary.as_ref()),
        more: next.map(|next| query.to_query(Some(&page_token::encode(&next)))),
        file: query.to_query(None),
        query,
        alert,
        wrong_fields,
        total,
        rows,
    };
    Ok(html(status, &page))
}

type Found = (Vec<Row>, Option<String>, Option<AuditLogSummary>);

async fn find<B: Backend>(app: &App<B>, session: &Session<Read>, query: &LogsQuery) -> Result<Found, Problem> {
    let (tenant, now) = (session.caller.tenant(), app.time());
    let csv_query = query.csv_query(now);
    let search = csv_query.search(now)?;
    // The counts begin with the newest event. An older page shows none, or it would read all newer events again.
    let (events, summary) = match csv_query.position()? {
        Some(position) => (logs::find(app, tenant, &search, Some(position), MAX_ROWS, ScanLimit::FULL).await?, None),
        None => {
            let (events, summary) = logs::summarize(app, tenant, &search, MAX_ROWS).await?;
            (events, Some(summary))
        }
    };
    let (rows, next) = rows::page(&events);
    Ok((rows, next, summary))
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
    let mut response = logs::csv_response(&app, &session.caller, &csv_query).await.map_err(refuse)?;
    if response.headers().contains_key(header::LINK) {
        // The name says that the file is incomplete: a reader of the file doesn't see the header.
        let name = HeaderValue::from_static("attachment; filename=\"audit-logs-newest-part.csv\"");
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
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
