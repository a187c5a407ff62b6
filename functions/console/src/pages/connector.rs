//! The connector page: create a role, connect it, disconnect it.

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
    deliveries::DeliveriesView,
    error_page::ErrorPage,
    form::{Form, NoFields},
    layout::{Alert, Badge, Layout, NavItem, html},
    session::{CsrfToken, Session},
    text::sentence,
};
use crate::{
    app::{App, Backend},
    connector::{self, Connector, ConnectorStatus},
    deliveries::{self, Deliveries},
};

#[derive(Template)]
#[template(path = "connector.html")]
struct ConnectorPage {
    layout: Layout,
    csrf: CsrfToken,
    badge: Badge,
    connector: Connector,
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
    Ok(connector_page(&session, connector, deliveries, None, None, notice))
}

pub(super) async fn connect<B: Backend>(
    State(app): State<App<B>>,
    Form { session, fields: ConnectForm { role_arn } }: Form<Admin, ConnectForm>,
) -> Result<Response, ErrorPage> {
    let typed = role_arn.trim().to_owned();
    match connector::connect_role(&app, &session.caller, typed.clone()).await {
        Ok(_) => Ok(Redirect::to("./connector?connected=yes").into_response()),
        Err(problem) => {
            let (connector, deliveries) = current(&app, &session).await?;
            Ok(connector_page(&session, connector, deliveries, Some(typed), Some(&problem), None))
        }
    }
}

async fn current<B: Backend>(
    app: &App<B>,
    session: &Session<Admin>,
) -> Result<(Connector, Option<Deliveries>), ErrorPage> {
    let refuse = |problem: Problem| session.refuse(&problem);
    let connector = connector::current(app, &session.caller).await.map_err(refuse)?;
    Ok((connector, deliveries::current(app, &session.caller).await.map_err(refuse)?))
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
    let name = format!("attachment; filename=\"{TEMPLATE_FILE}\"");
    let headers = [(header::CONTENT_TYPE, "application/yaml".to_owned()), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, connector.template).into_response())
}

fn connector_page(
    session: &Session<Admin>,
    connector: Connector,
    deliveries: Option<Deliveries>,
    typed: Option<String>,
    problem: Option<&Problem>,
    notice: Option<Alert>,
) -> Response {
    let about_the_role = problem.filter(|problem| !problem.errors().is_empty());
    let error = about_the_role.map(|problem| match problem.code() {
        // The failed step explains more than the field's message.
        Code::RoleRefused => Alert { detail: problem.detail().to_owned(), ..Alert::from_problem(problem) },
        _ => {
            let messages: Vec<String> =
                problem.errors().iter().map(|error| sentence("Role ARN", &error.message)).collect();
            Alert { detail: messages.join(" "), ..Alert::from_problem(problem) }
        }
    });
    let alert = problem.filter(|_| error.is_none()).map(Alert::from_problem).or(notice);
    let page = ConnectorPage {
        layout: session.layout(NavItem::Connector, TITLE),
        csrf: session.csrf_token(),
        badge: connector.state.into(),
        typed: typed.or_else(|| connector.role_arn.clone()).unwrap_or_default(),
        connector,
        error,
        alert,
        deliveries: deliveries.map(DeliveriesView::from),
    };
    html(problem.map_or(StatusCode::OK, |problem| problem.code().status()), &page)
}
