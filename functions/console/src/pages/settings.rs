//! The page of the export settings: preview, verify and save.

use askama::Template;
use audit_log_core::onboarding::Verified;
use audit_log_web::{
    body::Query,
    caller::Admin,
    problem::{Code, Problem},
};
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;

use super::{
    deliveries::{DeliveriesView, place},
    error_page::ErrorPage,
    form::Form,
    layout::{Alert, Badge, Layout, NavItem, html},
    obstacles,
    session::{CsrfToken, Session},
    settings_form::{SettingsFields, SettingsForm, label},
    text::When,
};
use crate::{
    app::{App, Backend},
    connector::ConnectorStatus,
    settings::{self, Current, IfMatch, Preview, VerifiedSave},
    status::ExportState,
    verification::{self, VerificationReport, VerificationStep},
};

const TITLE: &str = "Audit log export";

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    layout: Layout,
    badge: Badge,
    connected: bool,
    alert: Option<Alert>,
    form: FormView,
}

/// The form alone: it replaces one whose fields were wrong.
#[derive(Template)]
#[template(path = "settings-form.html")]
struct FormView {
    root: &'static str,
    csrf: CsrfToken,
    /// The version that a save of this form is based on.
    etag: String,
    enabled: bool,
    fields: SettingsFields,
    /// Whether what is typed differs from what is saved, as far as that is known.
    is_unsaved: bool,
    /// Whether a verification has just refused to save this.
    can_save_anyway: bool,
    alert: Option<Alert>,
    conflicts: Vec<(&'static str, String)>,
    preview: PreviewView,
    report: Option<ReportView>,
}

/// The next file if the form were saved, or why it can't be shown, and what is delivered where.
#[derive(Template)]
#[template(path = "preview.html")]
struct PreviewView {
    next: Result<NextFile, String>,
    /// Where events go before the save.
    deliveries: Option<DeliveriesView>,
    /// Where the form leads instead.
    elsewhere: Option<String>,
    mixes_schemas: bool,
}

struct NextFile {
    key: String,
    run: When,
}

#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct ReportView {
    root: &'static str,
    /// Whether the report has the focus: it may be far down a whole page.
    autofocus: bool,
    passed: bool,
    steps: Vec<StepView>,
}

struct StepView {
    tone: &'static str,
    status: &'static str,
    name: &'static str,
    step: VerificationStep,
}

/// What the redirect after a save adds to the address.
#[derive(Deserialize)]
pub(crate) struct SavedQuery {
    saved: Option<String>,
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
    query: Result<Query<SavedQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let current = settings::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let saved = query.ok().and_then(|Query(query)| query.saved).map(|_| match current.state {
        ExportState::NotVerified => {
            let detail = "Exports may fail. Fix what the report named, then verify again.";
            Alert { tone: "warn", ..Alert::good("Settings saved, but not verified", detail) }
        }
        _ => {
            Alert::good("Settings saved", "They apply from the next export. Files exported so far stay where they are.")
        }
    });
    let typed = SettingsForm::from_current(&current);
    let form = form_view(&app, &session, &current, typed, None).await;
    Ok(full_page(&session, &current, form, saved, StatusCode::OK))
}

pub(super) async fn save<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, SettingsForm>,
) -> Result<Response, ErrorPage> {
    let if_match = IfMatch(vec![&typed.version]);
    let saved = if typed.saves_anyway() {
        let saved = settings::save_settings(&app, &session.caller, &if_match, typed.draft(), Verified::Failed).await;
        saved.map(|_| VerifiedSave::Saved)
    } else {
        settings::verify_and_save(&app, &session.caller, &if_match, typed.draft()).await
    };
    match saved {
        Ok(VerifiedSave::Saved) => Ok(Redirect::to("./settings?saved=yes").into_response()),
        Ok(VerifiedSave::Refused(report)) => show_report(&app, &session, typed.clone(), report, true).await,
        Err(problem) => show_form_again(&app, &session, typed.clone(), &problem).await,
    }
}

/// Verifies what was typed, saved or not.
pub(super) async fn verify<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, SettingsForm>,
) -> Result<Response, ErrorPage> {
    let report = match verification::verify_settings(&app, &session.caller, Some(typed.draft())).await {
        Ok(report) => report,
        Err(problem) => return show_form_again(&app, &session, typed, &problem).await,
    };
    if session.request.is_partial {
        return Ok(html(StatusCode::OK, &ReportView::new(session.request.root, report)));
    }
    show_report(&app, &session, typed, report, false).await
}

/// The whole page with what a verification of the typed settings found.
async fn show_report<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
    typed: SettingsForm,
    report: VerificationReport,
    can_save_anyway: bool,
) -> Result<Response, ErrorPage> {
    let current = settings::current(app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let report = Some(ReportView::new(session.request.root, report).focused());
    let form = FormView { report, can_save_anyway, ..form_view(app, session, &current, typed, None).await };
    Ok(full_page(session, &current, form, None, StatusCode::OK))
}

pub(super) async fn preview<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, SettingsForm>,
) -> Response {
    html(StatusCode::OK, &preview_view(&app, &session, &typed).await)
}

async fn preview_view<B: Backend>(app: &App<B>, session: &Session<Admin>, typed: &SettingsForm) -> PreviewView {
    let preview = settings::preview(app, &session.caller, typed.draft()).await;
    let Preview { next, deliveries, elsewhere, mixes_schemas } = preview.unwrap_or_else(|problem| Preview {
        next: Err(problem),
        deliveries: None,
        elsewhere: None,
        mixes_schemas: false,
    });
    let next = next.map(|next| NextFile { key: next.key, run: When::minute(&next.next_run_at.to_rfc3339()) });
    let label = |field: &str| label(field).unwrap_or(field).to_lowercase();
    let next = next.map_err(|problem| match (problem.code(), problem.errors().first()) {
        (Code::ConnectorRequired, _) => "Connect a role first.".to_owned(),
        (_, Some(error)) => format!("Correct the {} to see the next file.", label(&error.field)),
        (_, None) => problem.detail().to_owned(),
    });
    let deliveries = deliveries.map(DeliveriesView::from);
    PreviewView { next, deliveries, elsewhere: elsewhere.as_ref().map(place), mixes_schemas }
}

/// The form with what was typed and what is wrong with it. After a conflict, also with what is stored now.
async fn show_form_again<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
    typed: SettingsForm,
    problem: &Problem,
) -> Result<Response, ErrorPage> {
    let current = settings::current(app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let form = form_view(app, session, &current, typed, Some(problem)).await;
    let status = problem.code().status();
    if !session.request.is_partial {
        return Ok(full_page(session, &current, form, None, status));
    }
    let mut response = html(status, &form);
    for (name, value) in [("hx-retarget", "#settings-form"), ("hx-reswap", "outerHTML")] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(response)
}

async fn form_view<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
    current: &Current,
    typed: SettingsForm,
    problem: Option<&Problem>,
) -> FormView {
    let enabled = is_connected(current);
    let fields = SettingsFields::new(&app.deployment().platform, current, &typed, problem);
    let fields = SettingsFields { enabled, ..fields };
    let is_conflict = problem.is_some_and(|problem| problem.code() == Code::ChangedMeanwhile);
    let stored = SettingsForm::from_stored(current.body.settings.as_ref(), &current.etag);
    FormView {
        root: session.request.root,
        csrf: session.csrf_token(),
        // Only an admin who is shown the conflict may save over what someone else has saved.
        etag: if is_conflict { current.etag.clone() } else { typed.version.clone() },
        enabled,
        is_unsaved: problem.is_some() || typed.draft() != SettingsForm::from_current(current).draft(),
        can_save_anyway: false,
        conflicts: if is_conflict { typed.differences(&stored) } else { Vec::new() },
        preview: preview_view(app, session, &typed).await,
        alert: problem.map(|problem| alert(session, problem)),
        fields,
        report: None,
    }
}

pub(super) fn alert(session: &Session<Admin>, problem: &Problem) -> Alert {
    let alert = session.alert(problem);
    let (title, detail) = match problem.code() {
        Code::ChangedMeanwhile => (
            "Someone else saved changes",
            "Your changes are not saved, but still here. Save again to replace theirs, or reload the page to see theirs.",
        ),
        Code::ConnectorRequired => return alert,
        Code::InvalidFields => ("Check the highlighted fields", "Correct them, then try again. Nothing was saved."),
        code => (code.title(), problem.detail()),
    };
    let fixed_at_the_fields = problem.code() == Code::InvalidFields;
    let hint = alert.hint.filter(|_| !fixed_at_the_fields);
    Alert { title: title.to_owned(), detail: detail.to_owned(), hint, ..alert }
}

fn is_connected(current: &Current) -> bool {
    matches!(current.body.status, ConnectorStatus::Connected | ConnectorStatus::Scheduled)
}

fn full_page(
    session: &Session<Admin>,
    current: &Current,
    form: FormView,
    alert: Option<Alert>,
    status: StatusCode,
) -> Response {
    let page = SettingsPage {
        layout: session.layout(NavItem::Settings, TITLE),
        badge: current.state.into(),
        connected: is_connected(current),
        alert,
        form,
    };
    html(status, &page)
}

impl ReportView {
    pub(super) fn focused(self) -> Self {
        Self { autofocus: true, ..self }
    }

    pub(super) fn new(root: &'static str, VerificationReport { passed, steps }: VerificationReport) -> Self {
        let view = |step: VerificationStep| {
            let (tone, status) = match step.status.as_str() {
                "passed" => ("good", "Passed"),
                "failed" => ("bad", "Failed"),
                "warning" => ("warn", "Warning"),
                "inconclusive" => ("info", "No clear answer"),
                _ => ("quiet", "Skipped"),
            };
            let name = match step.step.as_str() {
                "assume_role" => "Assume the role",
                "external_id_enforced" => "External ID required",
                "region" => "Find the bucket in its region",
                "put_object" => "Write a test file",
                _ => "Least privilege",
            };
            StepView { tone, status, name, step }
        };
        Self { root, autofocus: false, passed, steps: steps.into_iter().map(view).collect() }
    }
}
