//! The page of the export status: last error, connection check, chart, how to verify, and receipts.

use askama::Template;
use audit_log_core::{failure::Code, records::ManifestState};
use audit_log_web::{body::Query, caller::Read, problem::Problem};
use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::Deserialize;

use super::{
    chart::{self, Chart},
    error_page::ErrorPage,
    layout::{Badge, Layout, NavItem, html},
    obstacles,
    proof::Proof,
    session::Session,
    text::{When, bytes, number, shown},
};
use crate::{
    app::{App, Backend},
    exports::{self, ExportedObject, Manifest, Parameters, Receipt},
    status::{self, ConnectionCheck, ConnectionFinding, ExportError, ExportState, Undelivered},
};

/// How many of a window's objects are listed, at most.
const MAX_LISTED_OBJECTS: usize = 2;

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    layout: Layout,
    badge: Badge,
    state: ExportState,
    admin: bool,
    last: Option<When>,
    next: Option<When>,
    until: Option<When>,
    backlog: i64,
    failures: u64,
    since: Option<When>,
    error: Option<ErrorView>,
    /// Whether the error is that the last window, which was exported, lacks events.
    is_loss: bool,
    check: Option<CheckView>,
    undelivered: Option<UndeliveredView>,
    chart: Option<Chart>,
    proof: Option<Proof>,
    receipts: Vec<ReceiptView>,
    /// The query of the next page.
    more: Option<String>,
    is_first_page: bool,
}

struct ErrorView {
    code: String,
    message: String,
    hint: Option<String>,
    at: Option<When>,
    is_customers: bool,
    is_about_signing: bool,
}

struct CheckView {
    at: When,
    passed: bool,
    findings: Vec<ConnectionFinding>,
}

struct UndeliveredView {
    since: When,
    until: Option<When>,
    near_retention: bool,
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
    manifest: ManifestView,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ManifestView {
    Signed,
    Unsigned,
    None,
}

struct ObjectView {
    folder: String,
    file: String,
    size: String,
    sha256: String,
    copy_command: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PageQuery {
    page_token: Option<String>,
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    query: Result<Query<PageQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let Query(PageQuery { page_token }) = query.map_err(refuse)?;
    let is_first_page = page_token.is_none();
    let parameters = Parameters { page_token, ..Parameters::default() };
    let exports = exports::page(&app, &session.caller, parameters).await.map_err(refuse)?;
    let status = status::current(&app, &session.caller).await.map_err(refuse)?;
    let chart = if is_first_page { Some(chart::load(&app, &session.caller).await.map_err(refuse)?) } else { None };
    let proof = match status.manifest_head {
        Some(head) if is_first_page => Some(Proof::load(&app, head, exports.exports.first()).await),
        _ => None,
    };
    let minute = |at: &Option<String>| at.as_deref().map(When::minute);
    let page = StatusPage {
        layout: session.layout(NavItem::Status, "Export status"),
        badge: status.state.into(),
        state: status.state,
        admin: session.caller.permissions().admin,
        last: minute(&status.last_success_at),
        next: minute(&status.next_run_at),
        until: minute(&status.exported_until),
        backlog: status.backlog_hours,
        failures: status.consecutive_failures,
        since: minute(&status.failing_since),
        is_loss: status.loss.is_some(),
        error: status.last_error.or(status.loss).map(ErrorView::from),
        check: status.connection_check.map(CheckView::from),
        undelivered: status.undelivered.map(UndeliveredView::from),
        chart,
        proof,
        receipts: exports.exports.into_iter().map(ReceiptView::from).collect(),
        more: exports.next_page_token.map(|token| format!("?pageToken={token}")),
        is_first_page,
    };
    Ok(html(StatusCode::OK, &page))
}

impl From<ExportError> for ErrorView {
    fn from(ExportError { code, party, message, hint, at }: ExportError) -> Self {
        Self {
            is_about_signing: code == Code::SigningFailed.as_str(),
            code,
            message,
            hint,
            at: at.as_deref().map(When::minute),
            is_customers: party == "customer",
        }
    }
}

impl From<ConnectionCheck> for CheckView {
    fn from(ConnectionCheck { checked_at, passed, findings }: ConnectionCheck) -> Self {
        Self { at: When::minute(&checked_at), passed, findings }
    }
}

impl From<Undelivered> for UndeliveredView {
    fn from(Undelivered { since, kept_until, near_retention }: Undelivered) -> Self {
        Self { since: When::minute(&since), until: kept_until.as_deref().map(When::minute), near_retention }
    }
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        let listed = receipt.objects.iter().take(MAX_LISTED_OBJECTS);
        Self {
            from: When::minute(&receipt.window_from),
            to: When::minute(&receipt.window_to),
            events: number(receipt.events),
            malformed: receipt.malformed,
            gap: receipt.gap,
            size: bytes(receipt.bytes),
            manifest: receipt.manifest.as_ref().into(),
            unlisted: receipt.object_count.saturating_sub(MAX_LISTED_OBJECTS as u64),
            objects: listed.map(|object| ObjectView::new(&receipt.bucket, object)).collect(),
        }
    }
}

impl From<Option<&Manifest>> for ManifestView {
    fn from(manifest: Option<&Manifest>) -> Self {
        match manifest {
            Some(manifest) if manifest.state == ManifestState::Signed.as_str() => Self::Signed,
            Some(_) => Self::Unsigned,
            None => Self::None,
        }
    }
}

impl ObjectView {
    fn new(bucket: &str, ExportedObject { key, bytes: size, sha256, .. }: &ExportedObject) -> Self {
        let (folder, file) = key.rsplit_once('/').map_or(("", key.as_str()), |(folder, file)| (folder, file));
        let url = format!("s3://{bucket}/{key}");
        // A prefix may have apostrophes and parentheses. Quoting fails only for NUL, which no key has.
        let quoted = shlex::try_quote(&url).unwrap_or_default();
        Self {
            folder: shown(&format!("{bucket}/{folder}/"), 400),
            file: shown(file, 200),
            size: bytes(*size),
            sha256: sha256.clone(),
            copy_command: format!("aws s3 cp {quoted} ."),
        }
    }

    fn short_sha256(&self) -> String {
        self.sha256.chars().take(8).collect()
    }
}
