//! The page of the export status: what to do next, last error, connection check, chart, incidents, replays, how to verify, and
//! receipts.

use askama::Template;
use audit_log_core::{failure::Code, ports::Settings as _, settings::Draft, timestamp};
use audit_log_web::{
    body::Query,
    caller::{Admin, Read},
    problem::Problem,
};
use axum::{
    extract::State,
    response::{IntoResponse as _, Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    chart::Chart,
    error_page::ErrorPage,
    form::{Form, NoFields},
    history::History,
    incidents::{Incidents, Present},
    layout::{Alert, Badge, Layout, NavItem, html},
    obstacles,
    proof::Proof,
    receipts::Receipts,
    replay::RangeForm,
    replay_progress::ReplayProgress,
    session::{CsrfToken, Session},
    text::{When, shown},
};
use crate::{
    app::{App, Backend},
    exports::{self, Parameters},
    retry::{self, ExportRequested},
    status::{
        self, ConnectionCheck, ConnectionFinding, ExportError, ExportState, ExportStatus, FinalDelivery, Undelivered,
    },
};

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage {
    layout: Layout,
    csrf: CsrfToken,
    badge: Badge,
    state: ExportState,
    admin: bool,
    notice: Option<Alert>,
    /// What needs action although exports run, or will.
    concern: Option<Concern>,
    /// Whether a verification of the saved settings has passed since the last failure.
    is_repaired: bool,
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
    final_deliveries: Vec<FinalDeliveryView>,
    has_manifests: bool,
    signing_failed_since: Option<When>,
    replay: Option<ReplayProgress>,
    range: Option<RangeForm>,
    chart: Option<Chart>,
    incidents: Option<Incidents>,
    proof: Option<Proof>,
    receipts: Receipts,
    is_first_page: bool,
}

/// What needs action beside the state of the exports, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    CheckFailed,
    /// A place that exports have left refuses its last events.
    DeliveryRefused,
    /// The last window lacks events.
    Loss,
    CheckWarned,
    /// Undelivered events are deleted soon.
    NearRetention,
}

impl Concern {
    /// While exports fail, or are not set up, the state itself is what needs action.
    fn of(status: &ExportStatus, is_check_repaired: bool) -> Option<Self> {
        let check = status.connection_check.as_ref().filter(|_| !is_check_repaired);
        let applies = |concern: &Self| match concern {
            Self::CheckFailed => check.is_some_and(|check| !check.passed),
            Self::DeliveryRefused => status.final_deliveries.iter().any(|it| it.refused_since.is_some()),
            Self::Loss => status.loss.is_some(),
            Self::CheckWarned => check.is_some_and(|check| !check.findings.is_empty()),
            Self::NearRetention => status.undelivered.as_ref().is_some_and(|it| it.near_retention),
        };
        let possible: &[Self] = match status.state {
            ExportState::NotConnected | ExportState::Failing | ExportState::Retrying => &[],
            ExportState::Disconnected => &[Self::NearRetention],
            ExportState::NotVerified | ExportState::WaitingForFirstExport | ExportState::Healthy => {
                &[Self::CheckFailed, Self::DeliveryRefused, Self::Loss, Self::CheckWarned]
            }
        };
        possible.iter().copied().find(applies)
    }
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
    /// Whether a verification has passed since the check failed.
    is_repaired: bool,
    findings: Vec<ConnectionFinding>,
}

struct UndeliveredView {
    since: When,
    until: Option<When>,
    near_retention: bool,
}

/// What is left to deliver to a place that exports have left.
struct FinalDeliveryView {
    place: String,
    since: When,
    refused_since: Option<When>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PageQuery {
    page_token: Option<String>,
    /// What was just done.
    retry: String,
    replay: String,
}

impl PageQuery {
    /// Says that what was asked for is done. Anybody can make such a link, so it says nothing more.
    fn notice(&self) -> Option<Alert> {
        let (title, detail) = match (self.retry.as_str(), self.replay.as_str()) {
            ("requested", _) => ("Export requested", "It starts within seconds. Reload this page for its result."),
            (_, "requested") => ("Redelivery requested", "It starts within minutes."),
            (_, "stopped") => ("The redelivery stops", "It stops after the window in progress."),
            _ => return None,
        };
        Some(Alert::good(title, detail))
    }
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Read>,
    query: Result<Query<PageQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let Query(query) = query.map_err(|problem| session.refuse(&problem))?;
    let notice = query.notice();
    let page =
        status_page(&app, &session, query.page_token, notice).await.map_err(|problem| session.refuse(&problem))?;
    Ok(html(StatusCode::OK, &page))
}

/// Asks for an export. If that is refused, the page says why.
pub(super) async fn retry<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    match retry::request(&app, &session.caller).await {
        Ok(ExportRequested { .. }) => Ok(Redirect::to("../status?retry=requested").into_response()),
        Err(problem) => {
            let alert = Some(session.alert(&problem));
            let page = status_page(&app, &session, None, alert).await.map_err(|problem| session.refuse(&problem))?;
            Ok(html(problem.code().status(), &page))
        }
    }
}

async fn status_page<B: Backend, P>(
    app: &App<B>,
    session: &Session<P>,
    page_token: Option<String>,
    notice: Option<Alert>,
) -> Result<StatusPage, Problem> {
    let (tenant, root, admin) = (session.caller.tenant(), session.request.root, session.caller.permissions().admin);
    let is_first_page = page_token.is_none();
    let exports = exports::page(app, &session.caller, Parameters { page_token, ..Parameters::default() }).await?;
    let records = app.settings().records(tenant).await?;
    let status = status::from_records(app, tenant, records.clone()).await?;
    let history = if is_first_page { Some(History::load(app, tenant).await?) } else { None };
    let saved = records.config.as_ref();
    let incidents = history.as_ref().map(|history| Incidents::new(root, history, &Present::new(&status, saved)));
    let chart = history.as_ref().zip(incidents.as_ref());
    let chart = chart.map(|(history, incidents)| Chart::from_history(history, incidents.listed()));
    let proof = match &status.manifest_head {
        Some(head) if is_first_page => Some(Proof::load(app, head.clone(), exports.exports.exports.first()).await),
        _ => None,
    };
    let replay = ReplayProgress::new(&records, session, app.time()).filter(|_| is_first_page);
    let may_replay = admin && is_first_page && !exports.exports.exports.is_empty() && status.next_run_at.is_some();
    let is_running = records.replay.as_ref().is_some_and(audit_log_core::records::Replay::is_running);
    let incident = incidents.as_ref().and_then(|incidents| incidents.last_failure()?.affected);
    let range = (may_replay && !is_running).then(|| RangeForm::new(root, app.time(), incident.map(|it| it.from)));
    let failed_at = status.last_error.as_ref().and_then(|error| timestamp::parse_seconds(error.at.as_deref()?));
    let has_passed = |history: &History| Some(history.has_passed_after(failed_at?, saved?));
    let is_repaired = status.state == ExportState::Retrying && history.as_ref().and_then(has_passed) == Some(true);
    let checked_at = status.connection_check.as_ref().filter(|check| !check.passed).map(|check| &check.checked_at);
    let has_passed = |history: &History| {
        Some(history.has_passed_after(checked_at.and_then(|at| timestamp::parse_seconds(at))?, saved?))
    };
    let is_check_repaired = history.as_ref().and_then(has_passed) == Some(true);
    let receipts = Receipts::new(session, &records, exports, is_first_page);
    let minute = |at: &Option<String>| at.as_deref().map(When::minute);
    Ok(StatusPage {
        layout: session.layout(NavItem::Status, "Export status"),
        csrf: session.csrf_token(),
        badge: status.state.into(),
        state: status.state,
        admin,
        notice,
        concern: Concern::of(&status, is_check_repaired),
        is_repaired,
        last: minute(&status.last_success_at),
        next: minute(&status.next_run_at),
        until: minute(&status.exported_until),
        backlog: status.backlog_hours,
        failures: status.consecutive_failures,
        since: minute(&status.failing_since),
        is_loss: status.loss.is_some(),
        error: status.last_error.or(status.loss).map(ErrorView::from),
        check: status.connection_check.map(|check| CheckView::new(check, is_check_repaired)),
        undelivered: status.undelivered.map(UndeliveredView::from),
        final_deliveries: status.final_deliveries.into_iter().map(FinalDeliveryView::from).collect(),
        has_manifests: status.manifest_head.is_some(),
        signing_failed_since: minute(&status.signing_failed_since),
        replay,
        range,
        chart,
        incidents,
        proof,
        receipts,
        is_first_page,
    })
}

impl StatusPage {
    fn next_tone(&self) -> &'static str {
        match self.concern {
            None => self.badge.tone,
            Some(Concern::CheckWarned) => "warn",
            Some(_) => "bad",
        }
    }

    fn leads_to_verification(&self) -> bool {
        let is_about_check = matches!(self.concern, Some(Concern::CheckFailed | Concern::CheckWarned));
        is_about_check || self.state == ExportState::NotVerified
    }

    /// Whether the customer must act on the failure.
    fn is_customers_turn(&self) -> bool {
        self.error.as_ref().is_some_and(|error| error.is_customers)
    }
}

impl<'a> Present<'a> {
    fn new(status: &'a ExportStatus, saved: Option<&'a Draft>) -> Self {
        Self {
            is_failing: matches!(status.state, ExportState::Failing | ExportState::Retrying),
            failing_since: status.failing_since.as_deref(),
            exported_until: status.exported_until.as_deref(),
            error: status.last_error.as_ref(),
            check: status.connection_check.as_ref(),
            saved,
        }
    }
}

impl From<FinalDelivery> for FinalDeliveryView {
    fn from(FinalDelivery { bucket, folder, since, refused_since, .. }: FinalDelivery) -> Self {
        Self {
            place: shown(&format!("s3://{bucket}/{folder}"), 400),
            since: When::minute(&since),
            refused_since: refused_since.as_deref().map(When::minute),
        }
    }
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

impl CheckView {
    fn new(ConnectionCheck { checked_at, passed, findings }: ConnectionCheck, is_repaired: bool) -> Self {
        Self { at: When::minute(&checked_at), passed, is_repaired, findings }
    }
}

impl From<Undelivered> for UndeliveredView {
    fn from(Undelivered { since, kept_until, near_retention }: Undelivered) -> Self {
        Self { since: When::minute(&since), until: kept_until.as_deref().map(When::minute), near_retention }
    }
}
