//! The page on which the tenant's audit logs are read.

mod asked;
mod facets;
mod icon;
mod info;
mod row;
mod wrong;

use askama::Template;
use audit_log_web::{body::Query, caller::Read, problem::Problem};
use axum::{extract::State, response::Response};
use futures::future;
use http::{HeaderValue, StatusCode, header};

use self::{
    asked::{Asked, Period},
    facets::Facet,
    row::Row,
};
use super::{
    render::{Alert, Frame, Place, Refused, SignedIn, html},
    session::Session,
    text::{When, number},
};
use crate::{
    app::{App, Backend},
    logs::{self, AuditLogSummary, Reach},
    page_token,
};

/// How many events a page has, at most.
const ROWS: usize = 30;

#[derive(Template)]
#[template(path = "logs.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    periods: Vec<Period>,
    facets: Vec<Facet>,
    /// For who has just signed in: other sites can do that, too.
    welcome: Option<Alert>,
    alert: Option<Alert>,
    /// The fields that are to blame for it.
    wrong: Vec<&'static str>,
    /// None where it was not counted.
    total: Option<Total>,
    rows: Vec<Row>,
    /// The query of the page after this one.
    more: Option<String>,
    /// The query of the file.
    file: String,
}

impl Page {
    fn is_filtered(&self) -> bool {
        self.asked.is_filtered()
    }

    /// Whether this is not the first page.
    fn later(&self) -> bool {
        self.asked.page_token.is_some()
    }
}

struct Total {
    events: String,
    one: bool,
    /// Since when they were counted, if not since the period's beginning; and how many were looked at.
    since: Option<(When, String)>,
}

/// The audit logs.
pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    asked: Result<Query<Asked>, Problem>,
) -> Result<Response, Refused> {
    let (asked, found) = match asked {
        Ok(Query(asked)) => {
            let found = find(&app, &session, &asked).await;
            (asked, found)
        }
        Err(problem) => (Asked::default(), Err(problem)),
    };
    let (status, alert, wrong, (rows, next, summary)) = match found {
        Ok(found) => (StatusCode::OK, None, Vec::new(), found),
        // What was asked for can be corrected on the page, and stays there.
        Err(problem) if problem.code().status() == StatusCode::BAD_REQUEST => {
            let (alert, wrong) = wrong::told(&problem);
            (StatusCode::BAD_REQUEST, Some(alert), wrong, (Vec::new(), None, None))
        }
        Err(problem) => return Err(session.refuse(&problem)),
    };
    let total = summary.as_ref().map(|summary| Total {
        events: number(summary.total),
        one: summary.total == 1,
        since: summary.counted_from.as_deref().map(|at| (When::minute(at), number(summary.scanned))),
    });
    let page = Page {
        frame: session.frame(Place::Logs, "Audit logs"),
        periods: asked.periods(),
        facets: asked.facets(summary.as_ref()),
        more: next.map(|next| asked.query(Some(&page_token::encode(&next)))),
        file: asked.query(None),
        welcome: asked.signed_in.as_ref().map(|_| {
            let user = SignedIn::of(&session.caller, session.csrf());
            Alert::good(&format!("You are now signed in for the tenant {}", user.tenant), &format!("As {}.", user.who))
        }),
        asked,
        alert,
        wrong,
        total,
        rows,
    };
    Ok(html(status, &page))
}

type Findings = (Vec<Row>, Option<String>, Option<AuditLogSummary>);

async fn find<B: Backend>(app: &App<B>, session: &Session<Read>, asked: &Asked) -> Result<Findings, Problem> {
    let (tenant, now) = (session.caller.tenant(), app.time());
    let table = asked.table(now);
    let search = table.search(now)?;
    let events = logs::look(app, tenant, &search, table.position()?, ROWS, Reach::FULL);
    // A page that the script appends to the one before shows no counts.
    let (events, summary) = if asked.page_token.is_some() && session.request.partly {
        (events.await, None)
    } else {
        let (events, summary) = future::join(events, logs::count(app, tenant, &search)).await;
        (events, Some(summary))
    };
    let (events, summary) = (events?, summary.transpose()?);
    let (rows, next) = row::page(&events);
    Ok((rows, next, summary))
}

/// What the page shows, and all that follows, as a file.
pub(super) async fn csv<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    asked: Result<Query<Asked>, Problem>,
) -> Result<Response, Refused> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(asked) = asked.map_err(refuse)?;
    let table = asked.table(app.time());
    let mut response = logs::table(&app, session.caller.tenant(), &table).await.map_err(refuse)?;
    if response.headers().contains_key(header::LINK) {
        // Whoever opens the file later doesn't see the header that says that it isn't all.
        let name = HeaderValue::from_static("attachment; filename=\"audit-logs-newest-part.csv\"");
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
