//! The page of the rotation of the external ID: start it, update the role, verify, or cancel it.

use askama::Template;
use audit_log_web::caller::Admin;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::StatusCode;

use super::{
    error_page::ErrorPage,
    form::{Form, NoFields},
    layout::{Alert, Layout, NavItem, html},
    session::{CsrfToken, Session},
};
use crate::{
    app::{App, Backend},
    connector::{self, Connector},
    rotation,
    verification::{self, VerificationReport},
};

#[derive(Template)]
#[template(path = "rotation.html")]
struct RotationPage {
    layout: Layout,
    csrf: CsrfToken,
    connector: Connector,
    alert: Option<Alert>,
}

impl RotationPage {
    fn is_connected(&self) -> bool {
        self.connector.status.is_connected()
    }
}

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
) -> Result<Response, ErrorPage> {
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(rotation_page(&session, connector, None, StatusCode::OK))
}

pub(super) async fn start<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    rotation::start_rotation(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(Redirect::to("./external-id").into_response())
}

pub(super) async fn cancel<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    rotation::cancel_rotation(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(Redirect::to("../../connector").into_response())
}

/// Verifies the connected role, which completes the rotation if the role requires the pending external ID.
pub(super) async fn verify<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    let before = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let Some(pending) = before.pending_external_id.clone() else {
        return Ok(rotation_page(&session, before, Some(not_pending()), StatusCode::OK));
    };
    let found = verification::verify_settings(&app, &session.caller, None).await;
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    if connector.external_id == pending {
        return Ok(Redirect::to("../../connector?rotated=yes").into_response());
    }
    let (alert, status) = match found {
        Ok(_) if connector.pending_external_id.as_ref() != Some(&pending) => (not_pending(), StatusCode::OK),
        Ok(report) => (not_completed(report), StatusCode::OK),
        Err(problem) => (session.alert(&problem), problem.code().status()),
    };
    Ok(rotation_page(&session, connector, Some(alert), status))
}

/// What the steps about the role have found.
fn not_completed(VerificationReport { steps, .. }: VerificationReport) -> Alert {
    let title = "The new external ID is not in use yet";
    let first = steps.first().map_or(String::new(), |step| step.message.clone());
    let found = steps.into_iter().take(2).find(|step| step.status != "passed");
    match found {
        Some(step) => Alert { tone: "bad", hint: step.hint, ..Alert::good(title, &step.message) },
        None => {
            let hint = "If the role requires the new external ID already, verify again. Otherwise update the stack or apply the Terraform file first.".to_owned();
            Alert { tone: "warn", hint: Some(hint), ..Alert::good(title, &first) }
        }
    }
}

/// Another request has ended the rotation.
fn not_pending() -> Alert {
    let detail = "It was completed or cancelled meanwhile. This page shows the external ID that is in use now.";
    Alert { tone: "warn", ..Alert::good("This rotation is not pending any more", detail) }
}

fn rotation_page(session: &Session<Admin>, connector: Connector, alert: Option<Alert>, status: StatusCode) -> Response {
    let page = RotationPage {
        layout: session.layout(NavItem::Connector, "External ID"),
        csrf: session.csrf_token(),
        connector,
        alert,
    };
    html(status, &page)
}
