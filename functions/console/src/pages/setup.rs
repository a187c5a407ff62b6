//! The guided setup: destination, role, verification, first export. An admin lands here until something was exported.

use askama::Template;
use audit_log_core::{
    object::tenant_folder,
    setup_draft::SetupDraft,
    tenant::{Prefix, TenantId},
};
use audit_log_web::{
    body::Query,
    caller::{Admin, Read},
    problem::{Code, Problem},
};
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    connector::role_error,
    error_page::ErrorPage,
    form::Form,
    layout::{Alert, Badge, Layout, NavItem, html},
    logs::{self, query::LogsQuery},
    request::PageRequest,
    return_path::ReturnPath,
    session::{CsrfToken, Session},
    settings::{ReportView, alert},
    settings_form::{SettingsFields, SettingsForm},
    text::When,
};
use crate::{
    app::{App, Backend},
    connector::{self, Connector},
    settings::{self, VerifiedSave},
    setup::{self, Setup},
    status::ExportState,
    verification::VerificationReport,
};

const TITLE: &str = "Set up export";

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupPage {
    layout: Layout,
    csrf: CsrfToken,
    badge: Badge,
    alert: Option<Alert>,
    connector: Connector,
    /// The destination as kept or saved.
    place: Option<PlaceView>,
    /// The form of the destination, while it is typed.
    form: Option<SettingsFields>,
    is_unsaved: bool,
    /// The role that was typed, and what is wrong with it.
    typed: String,
    error: Option<Alert>,
    report: Option<ReportView>,
    version: String,
    activated: bool,
    is_verified: bool,
    is_failing: bool,
    /// When the first export runs, and its first file.
    next: Option<When>,
    key: Option<String>,
}

impl SetupPage {
    fn is_connected(&self) -> bool {
        self.connector.status.is_connected()
    }

    fn connected_role(&self) -> &str {
        self.connector.role_arn.as_deref().unwrap_or_default()
    }

    fn creates_bucket(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.create_bucket)
    }

    fn has_place(&self) -> bool {
        self.place.is_some() && self.form.is_none()
    }

    fn is_at_role(&self) -> bool {
        self.has_place() && !self.is_connected()
    }

    fn is_at_activation(&self) -> bool {
        self.has_place() && self.is_connected() && !self.activated
    }
}

/// A destination in short.
pub(super) struct PlaceView {
    pub(super) bucket: String,
    pub(super) region: String,
    /// The tenant's folder in the bucket.
    pub(super) folder: String,
    pub(super) kms_key: Option<String>,
    pub(super) create_bucket: bool,
    files: String,
    history: Option<String>,
}

impl PlaceView {
    pub(super) fn new(tenant: &TenantId, SetupDraft { settings, history_from, create_bucket }: &SetupDraft) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let prefix = Prefix::parse(&text(&settings.prefix)).unwrap_or_default();
        let format = settings.format.as_deref().unwrap_or("json").to_uppercase();
        let gzip = if settings.compression.as_deref() == Some("gzip") { ", gzip" } else { "" };
        let ocsf = if settings.schema.as_deref() == Some("ocsf") { ", OCSF" } else { "" };
        let every = match settings.frequency_hours.as_deref().unwrap_or("1") {
            "1" => "every hour".to_owned(),
            hours => format!("every {hours} hours"),
        };
        Self {
            bucket: text(&settings.bucket),
            region: text(&settings.region),
            folder: tenant_folder(&prefix, tenant),
            kms_key: settings.kms_key_arn.clone().filter(|arn| !arn.is_empty()),
            create_bucket: *create_bucket,
            files: format!("{format}{gzip}{ocsf}, {every}"),
            history: history_from.as_ref().map(|from| format!("{from} (UTC)")),
        }
    }
}

#[derive(Default, Deserialize)]
pub(crate) struct SetupQuery {
    step: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(crate) struct ActivateForm {
    role_arn: String,
    /// The version of the setup that the page was made with.
    version: String,
    /// Not blank: save although the verification did not pass.
    anyway: String,
}

/// The first page: the audit logs. An admin whose exports are still to be set up is led to the setup instead, unless the address
/// says what to show.
pub(super) async fn landing<B: Backend>(
    app: State<App<B>>,
    session: Session<Read>,
    query: Result<Query<LogsQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let PageRequest { return_path, is_signed_in, .. } = &session.request;
    if *return_path == ReturnPath::default() && session.setup_pending && session.caller.permissions().admin {
        return Ok(Redirect::to(if *is_signed_in { "./setup?signedIn=yes" } else { "./setup" }).into_response());
    }
    logs::page(app, session, query).await
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
    query: Result<Query<SetupQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let edits = query.is_ok_and(|Query(query)| query.step.as_deref() == Some("destination"));
    let content = if edits { Content::Destination(None) } else { Content::Overview };
    show(&app, &session, content).await
}

/// Keeps the destination.
pub(super) async fn keep<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, SettingsForm>,
) -> Result<Response, ErrorPage> {
    match setup::keep(&app, &session.caller, typed.draft(), typed.creates_bucket()).await {
        Ok(()) => Ok(Redirect::to("./setup").into_response()),
        Err(problem) => show(&app, &session, Content::Destination(Some(Box::new((typed, problem))))).await,
    }
}

pub(super) async fn activate<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: ActivateForm { role_arn, version, anyway } }: Form<Admin, ActivateForm>,
) -> Result<Response, ErrorPage> {
    let typed = role_arn.trim().to_owned();
    match setup::activate(&app, &session.caller, &version, typed.clone(), !anyway.is_empty()).await {
        Ok(VerifiedSave::Saved) => Ok(Redirect::to("../setup").into_response()),
        Ok(VerifiedSave::Refused(report)) => show(&app, &session, Content::Report(typed, report)).await,
        Err(problem) => show(&app, &session, Content::Refusal(typed, problem)).await,
    }
}

/// What the page shows beside where the setup stands.
enum Content {
    Overview,
    /// The form of the destination, with what was typed and what is wrong with it.
    Destination(Option<Box<(SettingsForm, Problem)>>),
    /// The role that was typed, and what a verification with it found.
    Report(String, VerificationReport),
    /// The role that was typed, and why nothing was activated.
    Refusal(String, Problem),
}

async fn show<B: Backend>(app: &App<B>, session: &Session<Admin>, content: Content) -> Result<Response, ErrorPage> {
    let refuse = |problem| session.refuse(&problem);
    let (connector, records) = connector::with_records(app, &session.caller).await.map_err(refuse)?;
    let current = settings::from_records(app, session.caller.tenant(), &records).await.map_err(refuse)?;
    let Setup { destination, version, is_activated, is_exporting } = Setup::from_records(&records);
    if is_exporting {
        return Ok(Redirect::to(&format!("{}status", session.request.root)).into_response());
    }
    let (mut status, mut alerted, mut error, mut report) = (StatusCode::OK, None, None, None);
    let (mut typed_role, mut typed_form, mut edits) = (connector.role_arn.clone().unwrap_or_default(), None, false);
    match content {
        Content::Overview => {}
        Content::Destination(typed) => (edits, typed_form) = (true, typed.map(|typed| *typed)),
        Content::Report(role, found) => {
            (typed_role, report) = (role, Some(ReportView::new(session.request.root, found).focused()));
        }
        Content::Refusal(role, problem) => {
            (typed_role, status) = (role, problem.code().status());
            let is_conflict = problem.code() == Code::ChangedMeanwhile;
            let is_about_the_role = problem.errors().iter().all(|it| it.field == "roleArn");
            match problem.code() {
                Code::InvalidFields if !is_about_the_role => edits = true,
                _ => error = role_error(&problem),
            }
            if edits {
                let typed = destination.as_ref().map(SettingsForm::from_setup).unwrap_or_default();
                typed_form = Some((typed, problem));
            } else if error.is_none() {
                alerted = Some(alert(session, &problem));
            }
            if let Some(alert) = alerted.as_mut().filter(|_| is_conflict) {
                "Check the setup below as it is now, then go on.".clone_into(&mut alert.detail);
            }
        }
    }
    // Settings that are saved are changed on their own page.
    let shows_form = !is_activated && (edits || destination.is_none());
    let form = shows_form.then(|| {
        let (typed, problem) = match &typed_form {
            Some((typed, problem)) => (typed.clone(), Some(problem)),
            None => (destination.as_ref().map(SettingsForm::from_setup).unwrap_or_else(SettingsForm::blank), None),
        };
        let fields = SettingsFields::new(&app.deployment().platform, &current, &typed, problem);
        SettingsFields { create_bucket: Some(typed.creates_bucket()), ..fields }
    });
    let is_unsaved = typed_form.is_some();
    if let Some((_, problem)) = typed_form {
        let alert = alert(session, &problem);
        let is_late = is_activated && problem.code() == Code::ChangedMeanwhile;
        let late = "Your changes are not saved. Change the destination in the settings.";
        let late = || Alert { tone: "bad", ..Alert::good("Exports were activated meanwhile", late) };
        (status, alerted) = (problem.code().status(), Some(if is_late { late() } else { alert }));
    }
    let tenant = session.caller.tenant();
    let page = SetupPage {
        layout: session.layout(NavItem::Setup, TITLE),
        csrf: session.csrf_token(),
        badge: current.state.into(),
        alert: alerted,
        place: destination.as_ref().map(|typed| PlaceView::new(tenant, typed)),
        form,
        is_unsaved,
        typed: typed_role,
        error,
        report,
        version,
        activated: is_activated,
        is_verified: current.state != ExportState::NotVerified,
        is_failing: matches!(current.state, ExportState::Failing | ExportState::Retrying),
        next: current.body.next_run_at.as_deref().map(When::minute),
        key: current.body.example_key,
        connector,
    };
    Ok(html(status, &page))
}
