//! The page on which it is set where and how often logs are exported.

mod fields;

use askama::Template;
use audit_log_core::tenant::Region;
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

pub(super) use self::fields::label;
use self::fields::{Fields, Typed};
use super::{
    connector::Badge,
    form::{Form, Proof},
    render::{Alert, Frame, Place, Refused, html},
    session::Session,
    text::When,
};
use crate::{
    app::{App, Backend},
    connector::ConnectorStatus,
    settings::{self, BasedOn, Current},
    verification::{self, VerificationReport, VerificationStep},
};

const TITLE: &str = "Audit Logs";

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    frame: Frame,
    badge: Badge,
    connected: bool,
    alert: Option<Alert>,
    form: FormView,
}

/// The form alone, to take the place of one whose fields were wrong.
#[derive(Template)]
#[template(path = "settings-form.html")]
struct FormView {
    root: &'static str,
    proof: Proof,
    /// The version that a save of this form is based on.
    etag: String,
    enabled: bool,
    first: bool,
    fields: Fields,
    regions: Vec<&'static str>,
    alert: Option<Alert>,
    conflicts: Vec<(&'static str, String)>,
    ahead: Ahead,
    report: Option<ReportView>,
}

/// What a save would lead to.
#[derive(Template)]
#[template(path = "preview.html")]
struct Ahead {
    /// Or why that can't be told.
    next: Result<Next, String>,
}

/// The object that would be stored next, and when.
struct Next {
    key: String,
    run: When,
}

/// What a verification found.
#[derive(Template)]
#[template(path = "report.html")]
struct ReportView {
    passed: bool,
    steps: Vec<StepView>,
}

struct StepView {
    tone: &'static str,
    word: &'static str,
    name: &'static str,
    step: VerificationStep,
}

#[derive(Deserialize)]
pub(crate) struct Arrived {
    saved: Option<String>,
}

/// The settings.
pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
    arrived: Result<Query<Arrived>, Problem>,
) -> Result<Response, Refused> {
    let saved = arrived.ok().and_then(|Query(arrived)| arrived.saved).map(|_| {
        Alert::good(
            "The settings are saved",
            "Exports follow them from the next run on; what was exported stays where it is.",
        )
    });
    let current = settings::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let typed = Typed::of(current.body.settings.as_ref()).at(&current.etag);
    let form = fill(&app, &session, &current, typed, None).await;
    Ok(whole(&session, &current, form, saved, StatusCode::OK))
}

/// Saves them.
pub(super) async fn save<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, Typed>,
) -> Result<Response, Refused> {
    let based_on = BasedOn(vec![&typed.version]);
    match settings::store(&app, &session.caller, &based_on, typed.draft()).await {
        Ok(_) => Ok(Redirect::to("./settings?saved=yes").into_response()),
        Err(problem) => again(&app, &session, typed.clone(), &problem).await,
    }
}

/// Tries out what is typed, saved or not.
pub(super) async fn verify<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, Typed>,
) -> Result<Response, Refused> {
    let report = match verification::check(&app, &session.caller, Some(typed.draft())).await {
        Ok(report) => ReportView::from(report),
        Err(problem) => return again(&app, &session, typed, &problem).await,
    };
    if session.request.partly {
        return Ok(html(StatusCode::OK, &report));
    }
    let current = settings::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let form = FormView { report: Some(report), ..fill(&app, &session, &current, typed, None).await };
    Ok(whole(&session, &current, form, None, StatusCode::OK))
}

/// What a save would lead to.
pub(super) async fn preview<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: typed }: Form<Admin, Typed>,
) -> Response {
    html(StatusCode::OK, &ahead(&app, &session, &typed).await)
}

async fn ahead<B: Backend>(app: &App<B>, session: &Session<Admin>, typed: &Typed) -> Ahead {
    let preview = settings::preview(app, &session.caller, typed.draft()).await;
    let next = preview.map(|preview| Next { key: preview.key, run: When::minute(&preview.next_run_at.to_rfc3339()) });
    let words = |field: &str| label(field).unwrap_or(field).to_lowercase();
    let next = next.map_err(|problem| match (problem.code(), problem.errors().first()) {
        (Code::ConnectorRequired, _) => "Connect a role first.".to_owned(),
        (_, Some(error)) => format!("Shown once the {} can be used.", words(&error.field)),
        (_, None) => problem.detail().to_owned(),
    });
    Ahead { next }
}

/// The form once more, with what was typed, what is wrong with it, and where somebody else was quicker, with what is
/// stored now.
async fn again<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
    typed: Typed,
    problem: &Problem,
) -> Result<Response, Refused> {
    let current = settings::current(app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let form = fill(app, session, &current, typed, Some(problem)).await;
    let status = problem.code().status();
    if !session.request.partly {
        return Ok(whole(session, &current, form, None, status));
    }
    let mut response = html(status, &form);
    for (name, value) in [("hx-retarget", "#settings-form"), ("hx-reswap", "outerHTML")] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    Ok(response)
}

async fn fill<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
    current: &Current,
    typed: Typed,
    problem: Option<&Problem>,
) -> FormView {
    let fields = Fields::of(&typed, problem);
    let changed = problem.is_some_and(|problem| problem.code() == Code::ChangedMeanwhile);
    let alert = problem.map(|problem| match problem.code() {
        Code::ChangedMeanwhile => Alert {
            detail: "Somebody else saved these settings since you opened this page, so yours were not saved. What you \
                typed is still here. Save again to replace theirs with yours, or reload the page to see theirs."
                .to_owned(),
            ..Alert::of(problem)
        },
        Code::ConnectorRequired => Alert { detail: "Connect a role first.".to_owned(), ..Alert::of(problem) },
        Code::InvalidFields => {
            let detail = "Correct the fields marked below, then try again. Nothing was saved yet.".to_owned();
            Alert { detail, hint: None, ..Alert::of(problem) }
        }
        _ => Alert { detail: problem.detail().to_owned(), ..Alert::of(problem) },
    });
    let stored = Typed::of(current.body.settings.as_ref());
    FormView {
        root: session.request.root,
        proof: session.proof(),
        // What somebody else has saved is only taken as known to whoever has been told so.
        etag: if changed { current.etag.clone() } else { typed.version.clone() },
        enabled: is_connected(current),
        first: current.body.exported_until.is_none(),
        conflicts: if changed { typed.differences(&stored) } else { Vec::new() },
        // One of another partition is refused, with the reason: that is more than not to find it.
        regions: Region::all().map(Region::as_str).collect(),
        ahead: ahead(app, session, &typed).await,
        fields,
        alert,
        report: None,
    }
}

fn is_connected(current: &Current) -> bool {
    matches!(current.body.status, ConnectorStatus::Connected | ConnectorStatus::Scheduled)
}

fn whole(
    session: &Session<Admin>,
    current: &Current,
    form: FormView,
    alert: Option<Alert>,
    status: StatusCode,
) -> Response {
    let page = Page {
        frame: session.frame(Place::Settings, TITLE),
        badge: current.body.status.into(),
        connected: is_connected(current),
        alert,
        form,
    };
    html(status, &page)
}

impl From<VerificationReport> for ReportView {
    fn from(VerificationReport { passed, steps }: VerificationReport) -> Self {
        let view = |step: VerificationStep| {
            let (tone, word) = match step.status.as_str() {
                "passed" => ("good", "Passed"),
                "failed" => ("bad", "Failed"),
                "warning" => ("warn", "Warning"),
                "inconclusive" => ("info", "No clear answer"),
                _ => ("quiet", "Not tried"),
            };
            let name = match step.step.as_str() {
                "assume_role" => "Assume the role",
                "external_id_enforced" => "Insist on the external ID",
                "region" => "Find the bucket in its region",
                "put_object" => "Store a delivery",
                _ => "Least privilege",
            };
            StepView { tone, word, name, step }
        };
        Self { passed, steps: steps.into_iter().map(view).collect() }
    }
}
