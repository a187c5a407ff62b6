//! The connector page: create a role, connect it, disconnect it.

use askama::Template;
use audit_log_core::role_setup::{TEMPLATE_FILE, TERRAFORM_FILE};
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
    deliveries::DeliveriesView,
    error_page::ErrorPage,
    form::{Form, NoFields},
    layout::{Alert, Badge, Layout, NavItem, html},
    session::{CsrfToken, Session},
    text::sentence,
};
use crate::{
    app::{App, Backend},
    connector::{self, Connecting, Connector, ConnectorStatus},
    deliveries::Deliveries,
};

#[derive(Template)]
#[template(path = "connector.html")]
struct ConnectorPage {
    layout: Layout,
    csrf: CsrfToken,
    badge: Badge,
    connector: Connector,
    /// What the form shows, and what is wrong with it.
    typed: String,
    error: Option<Alert>,
    alert: Option<Alert>,
    deliveries: Option<DeliveriesView>,
}

impl ConnectorPage {
    fn is_connected(&self) -> bool {
        self.connector.status.is_connected()
    }

    fn needs_settings(&self) -> bool {
        self.connector.status == ConnectorStatus::Connected
    }

    fn connected_role(&self) -> &str {
        self.connector.role_arn.as_deref().unwrap_or_default()
    }

    /// The address and the name of what comes after connecting; none once something was exported.
    fn next_step(&self) -> Option<(&'static str, &'static str)> {
        match (self.layout.leads_to_setup(), self.needs_settings()) {
            (true, _) => Some(("setup", "Continue")),
            (false, true) => Some(("settings", "Continue to the settings")),
            (false, false) => None,
        }
    }
}

#[derive(Template)]
#[template(path = "disconnect.html")]
struct DisconnectPage {
    layout: Layout,
    csrf: CsrfToken,
    role_arn: String,
    scheduled: bool,
    deliveries: Option<DeliveriesView>,
    /// How long events are kept; `None` is forever.
    kept_days: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectForm {
    #[serde(default)]
    role_arn: String,
}

/// What the redirect after a change adds to the address.
#[derive(Deserialize)]
pub(crate) struct ConnectedQuery {
    connected: Option<String>,
    tested: Option<String>,
    disconnected: Option<String>,
    rotated: Option<String>,
}

impl ConnectedQuery {
    /// Nothing that the connector contradicts. A connected role without settings has a notice of its own on the page.
    fn notice(&self, connector: &Connector) -> Option<Alert> {
        match (self, connector.status) {
            (Self { connected: Some(_), .. }, ConnectorStatus::Scheduled) => Some(Alert::good(
                "The role is connected",
                "Only this platform can assume it, using your external ID. It is used from the next export.",
            )),
            (Self { tested: Some(_), .. }, ConnectorStatus::Scheduled | ConnectorStatus::Connected) => {
                let detail = "Only this platform can assume it, using your external ID. Nothing was changed.";
                Some(Alert::good("The role passed the test", detail))
            }
            (Self { disconnected: Some(_), .. }, ConnectorStatus::Disconnected | ConnectorStatus::NotConnected) => {
                let detail = "Exports are stopped until you connect a role again. Files in your bucket stay there.";
                Some(Alert::good("The role is disconnected", detail))
            }
            (Self { rotated: Some(_), .. }, _) if connector.pending_external_id.is_none() => {
                let detail = "It is the only one that this platform uses now.";
                Some(Alert::good("The new external ID is in use", detail))
            }
            _ => None,
        }
    }
}

const TITLE: &str = "S3 Audit Log Exporter";

pub(super) async fn page<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
    query: Result<Query<ConnectedQuery>, Problem>,
) -> Result<Response, ErrorPage> {
    let (connector, deliveries) = current(&app, &session).await?;
    let notice = query.ok().and_then(|Query(query)| query.notice(&connector));
    Ok(connector_page(&session, connector, deliveries, Page { alert: notice, ..Page::default() }))
}

pub(super) async fn connect<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: ConnectForm { role_arn } }: Form<Admin, ConnectForm>,
) -> Result<Response, ErrorPage> {
    let typed = role_arn.trim().to_owned();
    match connector::connect_role(&app, &session.caller, typed.clone()).await {
        Ok(Connecting::Connected) => Ok(Redirect::to("./connector?connected=yes").into_response()),
        Ok(Connecting::Tested) => Ok(Redirect::to("./connector?tested=yes").into_response()),
        Err(problem) => {
            let (connector, deliveries) = current(&app, &session).await?;
            let error = role_error(&problem);
            let alert = error.is_none().then(|| Alert::from_problem(&problem));
            let page = Page { typed: Some(typed), error, alert, status: problem.code().status() };
            Ok(connector_page(&session, connector, deliveries, page))
        }
    }
}

/// Tests the connected role again. Changes nothing.
pub(super) async fn test<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    let (connector, deliveries) = current(&app, &session).await?;
    let Some(role) = connector.role_arn.clone().filter(|_| connector.status.is_connected()) else {
        return Ok(Redirect::to("../connector").into_response());
    };
    match connector::connect_role(&app, &session.caller, role).await {
        Ok(_) => Ok(Redirect::to("../connector?tested=yes").into_response()),
        Err(problem) => {
            let failed = role_error(&problem).unwrap_or_else(|| Alert::from_problem(&problem));
            let page = Page { alert: Some(failed), status: problem.code().status(), ..Page::default() };
            Ok(connector_page(&session, connector, deliveries, page))
        }
    }
}

async fn current<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
) -> Result<(Connector, Option<Deliveries>), ErrorPage> {
    let found = connector::with_records(app, &session.caller).await;
    let (connector, records) = found.map_err(|problem| session.refuse(&problem))?;
    Ok((connector, Deliveries::from_records(&records)))
}

pub(super) async fn confirm_disconnect<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
) -> Result<Response, ErrorPage> {
    let (connector, deliveries) = current(&app, &session).await?;
    let page = DisconnectPage {
        layout: session.layout(NavItem::Connector, "Disconnect"),
        csrf: session.csrf_token(),
        scheduled: connector.status == ConnectorStatus::Scheduled,
        role_arn: connector.role_arn.unwrap_or_default(),
        deliveries: deliveries.map(DeliveriesView::from),
        kept_days: app.deployment().retention.map(|retention| retention.num_days()),
    };
    Ok(html(StatusCode::OK, &page))
}

pub(super) async fn disconnect<B: Backend>(
    State(app): State<App<B>>,
    Form { session, .. }: Form<Admin, NoFields>,
) -> Result<Response, ErrorPage> {
    connector::disconnect_role(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(Redirect::to("../connector?disconnected=yes").into_response())
}

pub(super) async fn template<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
) -> Result<Response, ErrorPage> {
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(download(TEMPLATE_FILE, "application/yaml", connector.template.to_owned()))
}

pub(super) async fn terraform<B: Backend>(
    State(app): State<App<B>>,
    session: Session<Admin>,
) -> Result<Response, ErrorPage> {
    let connector = connector::current(&app, &session.caller).await.map_err(|problem| session.refuse(&problem))?;
    Ok(download(TERRAFORM_FILE, "text/plain; charset=utf-8", connector.terraform))
}

fn download(name: &str, media_type: &'static str, text: String) -> Response {
    let disposition = format!("attachment; filename=\"{name}\"");
    ([(header::CONTENT_TYPE, media_type.to_owned()), (header::CONTENT_DISPOSITION, disposition)], text).into_response()
}

/// What is wrong with a role; none if a problem is about something else.
pub(super) fn role_error(problem: &Problem) -> Option<Alert> {
    if problem.errors().is_empty() {
        return None;
    }
    Some(match problem.code() {
        // The failed step explains more than the field's message.
        Code::RoleRefused => Alert { detail: problem.detail().to_owned(), ..Alert::from_problem(problem) },
        _ => {
            let messages: Vec<String> =
                problem.errors().iter().map(|error| sentence("Role ARN", &error.message)).collect();
            Alert { detail: messages.join(" "), ..Alert::from_problem(problem) }
        }
    })
}

/// What the page shows beside the connector.
#[derive(Default)]
struct Page {
    /// The role that was typed, and what is wrong with it.
    typed: Option<String>,
    error: Option<Alert>,
    alert: Option<Alert>,
    status: StatusCode,
}

fn connector_page(
    session: &Session<Admin>,
    connector: Connector,
    deliveries: Option<Deliveries>,
    Page { typed, error, alert, status }: Page,
) -> Response {
    let page = ConnectorPage {
        layout: session.layout(NavItem::Connector, TITLE),
        csrf: session.csrf_token(),
        badge: connector.state.into(),
        // The connected role is shown above the form of another one.
        typed: typed
            .or_else(|| connector.role_arn.clone().filter(|_| !connector.status.is_connected()))
            .unwrap_or_default(),
        connector,
        error,
        alert,
        deliveries: deliveries.map(DeliveriesView::from),
    };
    html(status, &page)
}
