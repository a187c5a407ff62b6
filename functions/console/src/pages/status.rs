//! The page that tells how exports fare.

use askama::Template;
use audit_log_web::{body::Query, caller::Read, problem::Problem};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;

use super::{
    chart::{self, Chart},
    connector::Badge,
    render::{Frame, Place, Refused, html},
    session::Session,
    text::{When, bytes, number, shown},
};
use crate::{
    app::{App, Backend},
    exports::{self, ExportedObject, Parameters, Receipt},
    status::{self, ConnectionCheck, ConnectionFinding, ExportError},
};

/// How many of a window's objects a page lists.
const LISTED_OBJECTS: usize = 2;

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    frame: Frame,
    badge: Badge,
    admin: bool,
    last: Option<When>,
    next: Option<When>,
    until: Option<When>,
    backlog: i64,
    failures: u64,
    since: Option<When>,
    error: Option<ErrorView>,
    check: Option<CheckView>,
    chart: Option<Chart>,
    receipts: Vec<ReceiptView>,
    /// The query of the page after this one.
    more: Option<String>,
    /// Whether this is not the first page.
    later: bool,
}

struct ErrorView {
    code: String,
    message: String,
    hint: Option<String>,
    at: Option<When>,
    customers: bool,
}

/// What the last daily check found, for a tile and for a list.
struct CheckView {
    at: When,
    passed: bool,
    findings: Vec<ConnectionFinding>,
}

struct ReceiptView {
    from: When,
    to: When,
    events: String,
    malformed: u64,
    gap: bool,
    size: String,
    objects: Vec<ObjectView>,
    unlisted: u64,
}

struct ObjectView {
    folder: String,
    file: String,
    size: String,
    sha256: String,
    copy: String,
}

/// Which page.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Asked {
    page_token: Option<String>,
}

/// How exports fare.
pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    asked: Result<Query<Asked>, Problem>,
) -> Result<Response, Refused> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(Asked { page_token }) = asked.map_err(refuse)?;
    let later = page_token.is_some();
    let wanted = Parameters { page_token, ..Parameters::default() };
    let exports = exports::page(&app, &session.caller, wanted).await.map_err(refuse)?;
    let status = status::current(&app, &session.caller).await.map_err(refuse)?;
    let chart = if later { None } else { Some(chart::of(&app, &session.caller).await.map_err(refuse)?) };
    let frame = session.frame(Place::Status, "Export status");
    let minute = |at: &Option<String>| at.as_deref().map(When::minute);
    let page = Page {
        frame,
        badge: match &status.last_error {
            Some(_) if status.next_run_at.is_some() => Badge { tone: "bad", text: "Failing" },
            _ => status.status.into(),
        },
        admin: session.caller.permissions().admin,
        last: minute(&status.last_success_at),
        next: minute(&status.next_run_at),
        until: minute(&status.exported_until),
        backlog: status.backlog_hours,
        failures: status.consecutive_failures,
        since: minute(&status.failing_since),
        error: status.last_error.map(ErrorView::from),
        check: status.connection_check.map(CheckView::from),
        chart,
        receipts: exports.exports.into_iter().map(ReceiptView::from).collect(),
        more: exports.next_page_token.map(|token| format!("?pageToken={token}")),
        later,
    };
    Ok(html(StatusCode::OK, &page))
}

impl From<ExportError> for ErrorView {
    fn from(ExportError { code, party, message, hint, at }: ExportError) -> Self {
        Self { code, message, hint, at: at.as_deref().map(When::minute), customers: party == "customer" }
    }
}

impl From<ConnectionCheck> for CheckView {
    fn from(ConnectionCheck { checked_at, passed, findings }: ConnectionCheck) -> Self {
        Self { at: When::minute(&checked_at), passed, findings }
    }
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        let listed = receipt.objects.iter().take(LISTED_OBJECTS);
        Self {
            from: When::minute(&receipt.window_from),
            to: When::minute(&receipt.window_to),
            events: number(receipt.events),
            malformed: receipt.malformed,
            gap: receipt.gap,
            size: bytes(receipt.bytes),
            unlisted: receipt.object_count.saturating_sub(LISTED_OBJECTS as u64),
            objects: listed.map(|object| ObjectView::of(&receipt.bucket, object)).collect(),
        }
    }
}

impl ObjectView {
    fn of(bucket: &str, ExportedObject { key, bytes: size, sha256, .. }: &ExportedObject) -> Self {
        let (folder, file) = key.rsplit_once('/').map_or(("", key.as_str()), |(folder, file)| (folder, file));
        let place = format!("s3://{bucket}/{key}");
        // A prefix may have apostrophes and parentheses. No key has the one thing that a shell can't be told.
        let quoted = shlex::try_quote(&place).unwrap_or_default();
        Self {
            folder: shown(&format!("{bucket}/{folder}/"), 400),
            file: shown(file, 200),
            size: bytes(*size),
            sha256: sha256.clone(),
            copy: format!("aws s3 cp {quoted} ."),
        }
    }

    fn short_sha256(&self) -> String {
        self.sha256.chars().take(12).collect()
    }
}
