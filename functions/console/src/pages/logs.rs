//! The page on which the tenant's audit logs are read.

mod asked;
mod icon;
mod info;

use askama::Template;
use audit_log_core::search::{Columns, Found};
use audit_log_web::{body::Query, caller::Read, problem::Problem};
use axum::{extract::State, response::Response};
use futures::future;
use http::{HeaderValue, StatusCode, header};

use self::{
    asked::{Asked, Facet, Period},
    icon::Icon,
    info::in_one_line,
};
use super::{
    render::{Alert, Frame, Place, Refused, SignedIn, html},
    session::Session,
    text::{When, number, shown},
};
use crate::{
    app::{App, Backend},
    logs::{self, AuditLogSummary, Reach},
    page_token,
};

/// How many events a page has; with what they hold, it stays within 150 kB.
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

struct Row {
    /// Leads to the whole event.
    open: String,
    user: String,
    /// The user's address or id, where they have a name.
    user_more: String,
    action: String,
    info: String,
    log_type: String,
    icon: Icon,
    date: When,
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
    let (status, alert, (rows, next, summary)) = match found {
        Ok(found) => (StatusCode::OK, None, found),
        // What was asked for can be corrected on the page, and stays there.
        Err(problem) if problem.code().status() == StatusCode::BAD_REQUEST => {
            (StatusCode::BAD_REQUEST, Some(Alert::of(&problem)), (Vec::new(), None, None))
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
    Ok((events.events.iter().map(Row::of).collect(), events.next, summary))
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

impl Row {
    fn of(Found { position, columns, .. }: &Found) -> Self {
        let Columns { date, log_type, action, user_id, user_name, user_email, additional_info, .. } = columns;
        let names: Vec<&String> =
            [user_name, user_email, user_id].into_iter().filter(|text| !text.is_empty()).collect();
        Self {
            open: page_token::encode(position),
            user: names.first().map(|text| shown(text, 60)).unwrap_or_default(),
            user_more: names.get(1).map(|text| shown(text, 60)).unwrap_or_default(),
            action: shown(action, 80),
            info: shown(&in_one_line(additional_info), 140),
            log_type: shown(log_type, 40),
            icon: Icon::of(log_type),
            date: When::second(date),
        }
    }
}
