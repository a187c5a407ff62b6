//! The page on which a role is made and connected.

use askama::Template;
use audit_log_core::role_setup::TEMPLATE_FILE;
use audit_log_web::{
    body::Query,
    caller::Admin,
    problem::{Code, Problem},
};
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::{StatusCode, header};
use serde::Deserialize;

use super::{
    form::{Form, NoFields, Proof},
    render::{Alert, Frame, Place, Refused, html},
    session::Session,
    text::sentence,
};
use crate::{
    app::{App, Backend},
    connector::{self, Connector, ConnectorStatus},
};

/// How far the tenant has come, in a word.
pub(super) struct Badge {
    pub(super) tone: &'static str,
    pub(super) text: &'static str,
}

impl From<ConnectorStatus> for Badge {
    fn from(status: ConnectorStatus) -> Self {
        let (tone, text) = match status {
            ConnectorStatus::NotConnected => ("quiet", "Not connected"),
            ConnectorStatus::Connected => ("info", "Connected, not configured"),
            ConnectorStatus::Scheduled => ("good", "Active"),
            ConnectorStatus::Disconnected => ("warn", "Disconnected"),
        };
        Self { tone, text }
    }
}

#[derive(Template)]
#[template(path = "connector.html")]
struct Page {
    frame: Frame,
    proof: Proof,
    badge: Badge,
    connector: Connector,
    typed: String,
    error: Option<Alert>,
    alert: Option<Alert>,
}

impl Page {
    fn is_connected(&self) -> bool {
        matches!(self.connector.status, ConnectorStatus::Connected | ConnectorStatus::Scheduled)
    }

    fn needs_settings(&self) -> bool {
        self.connector.status == ConnectorStatus::Connected
    }
}

#[derive(Template)]
#[template(path = "disconnect.html")]
struct Question {
    frame: Frame,
    proof: Proof,
    role_arn: String,
    scheduled: bool,
}

/// What is typed into the one form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fields {
    #[serde(default)]
    role_arn: String,
}

/// What has led to the page, to be said once.
#[derive(Deserialize)]
pub(crate) struct Arrived {
    connected: Option<String>,
    disconnected: Option<String>,
}

impl Arrived {
    /// Only what is so. That a role is connected which has no settings yet, the page says anyway.
    fn alert(&self, status: ConnectorStatus) -> Option<Alert> {
        match (self, status) {
            (Self { connected: Some(_), .. }, ConnectorStatus::Scheduled) => Some(Alert::good(
                "The role is connected",
                "It lets the platform in with your external ID, and nobody without it. Exports use it from the next run on.",
            )),
            (Self { disconnected: Some(_), .. }, ConnectorStatus::Disconnected | ConnectorStatus::NotConnected) => {
                let detail = "No more logs are exported until a role is connected again. What is in your bucket stays.";
                Some(Alert::good("The role is disconnected", detail))
            }
            _ => None,
        }
    }
}

const TITLE: &str = "S3 Audit Log Exporter";

/// The connector.
pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
    arrived: Result<Query<Arrived>, Problem>,
) -> Result<Response, Refused> {
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let done = arrived.ok().and_then(|Query(arrived)| arrived.alert(connector.status));
    Ok(show(&session, connector, None, None, done))
}

/// Connects a role.
pub(super) async fn connect<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: Fields { role_arn } }: Form<Admin, Fields>,
) -> Result<Response, Refused> {
    let typed = role_arn.trim().to_owned();
    match connector::connect_role(&app, &session.caller, typed.clone()).await {
        Ok(_) => Ok(Redirect::to("./connector?connected=yes").into_response()),
        Err(problem) => {
            let connector = connector::current(&app, &session.caller).await;
            let connector = connector.map_err(|problem| session.refuse(&problem))?;
            Ok(show(&session, connector, Some(typed), Some(&problem), None))
        }
    }
}

/// Asks whether to disconnect.
pub(super) async fn ask<B: Backend>(State(app): State<App<B>>, session: Session<Admin>) -> Result<Response, Refused> {
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let question = Question {
        frame: session.frame(Place::Connector, "Disconnect"),
        proof: session.proof(),
        scheduled: connector.status == ConnectorStatus::Scheduled,
        role_arn: connector.role_arn.unwrap_or_default(),
    };
    Ok(html(StatusCode::OK, &question))
}

/// Disconnects.
pub(super) async fn disconnect<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, Refused> {
    connector::stop(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(Redirect::to("../connector?disconnected=yes").into_response())
}

/// The template, to download.
pub(super) async fn template<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
) -> Result<Response, Refused> {
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    let name = format!("attachment; filename=\"{TEMPLATE_FILE}\"");
    let headers = [(header::CONTENT_TYPE, "application/yaml".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, connector.template).into_response())
}

fn show(
    session: &Session<Admin>,
    connector: Connector,
    typed: Option<String>,
    problem: Option<&Problem>,
    done: Option<Alert>,
) -> Response {
    let about_the_role = problem.filter(|problem| !problem.errors().is_empty());
    let error = about_the_role.map(|problem| match problem.code() {
        // The steps say it better than the field's own word.
        Code::RoleRefused => Alert { detail: problem.detail().to_owned(), ..Alert::of(problem) },
        _ => {
            let messages: Vec<String> =
                problem.errors().iter().map(|error| sentence("Role ARN", &error.message)).collect();
            Alert { detail: messages.join(" "), ..Alert::of(problem) }
        }
    });
    let alert = problem.filter(|_| error.is_none()).map(Alert::of).or(done);
    let page = Page {
        frame: session.frame(Place::Connector, TITLE),
        proof: session.proof(),
        badge: connector.status.into(),
        typed: typed.or_else(|| connector.role_arn.clone()).unwrap_or_default(),
        connector,
        error,
        alert,
    };
    html(problem.map_or(StatusCode::OK, |problem| problem.code().status()), &page)
}
