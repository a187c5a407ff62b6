//! The tenant's connection to AWS: external ID, role setup, and the connected role.

use audit_log_core::{
    onboarding::{self, ConnectorState},
    ports::{Conditional, Settings as _},
    records::TenantRecords,
    role_setup::{RoleSetup, TEMPLATE},
    settings::Draft,
    tenant::{ExternalId, TenantId},
};
use audit_log_web::{
    body::Json,
    caller::{Admin, Caller},
    problem::Problem,
};
use axum::extract;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    app::{App, Backend},
    problems::{changed_meanwhile, final_deliveries_pending, invalid_fields},
    role_scope::RoleScope,
    status::{self, ExportState},
    verification::{self, Purpose},
};

/// How often a change is tried while exports or other admins change the same records.
pub(crate) const MAX_ATTEMPTS: usize = 3;

/// The state of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorStatus {
    /// No role is connected, and no settings are saved.
    NotConnected,
    /// A role is connected. Exports begin after settings are saved.
    Connected,
    /// Exports are scheduled.
    Scheduled,
    /// Exports are stopped. They resume where they stopped after a role is connected again.
    Disconnected,
}

impl ConnectorStatus {
    /// Whether there is a role to export through.
    pub(crate) fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Scheduled)
    }
}

impl From<ConnectorState> for ConnectorStatus {
    fn from(state: ConnectorState) -> Self {
        match state {
            ConnectorState::NotConnected => Self::NotConnected,
            ConnectorState::Connected => Self::Connected,
            ConnectorState::Scheduled => Self::Scheduled,
            ConnectorState::Disconnected => Self::Disconnected,
        }
    }
}

/// What a tenant's admin needs to create the role, and the connected role.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connector {
    /// The state of the connection.
    pub(crate) status: ConnectorStatus,
    /// For the page.
    #[serde(skip)]
    pub(crate) state: ExportState,
    /// The external ID that the role must require. The platform creates it, and only a rotation changes it.
    pub(crate) external_id: String,
    /// In a rotation, the external ID that the role must require next. The link, the commands and the Terraform file have this
    /// one. Null otherwise.
    pub(crate) pending_external_id: Option<String>,
    /// The connected role.
    pub(crate) role_arn: Option<String>,
    /// The AWS account that exports the logs.
    pub(crate) provider_account_id: String,
    /// The role of that account that may assume the tenant's role.
    pub(crate) provider_role_name: String,
    /// Opens the CloudFormation console with all known parameters filled in. Null if the template is not published, or
    /// the AWS partition has no public console.
    pub(crate) quick_create_url: Option<String>,
    /// The published template. Null if there is none.
    pub(crate) template_url: Option<String>,
    /// The CloudFormation template itself.
    pub(crate) template: &'static str,
    /// AWS CLI commands for bash that create the same role.
    pub(crate) cli: String,
    /// A Terraform file that creates the same role.
    pub(crate) terraform: String,
    /// AWS CLI commands for bash that update an existing stack to the template, set the tenant's id, the external ID (in a
    /// rotation, the pending one) and the saved prefix, and keep all other parameters. They name the bucket's region: write the
    /// stack's own name and region if they differ.
    pub(crate) update_cli: String,
}

/// The role to connect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectRequest {
    /// The output `RoleArn` of the stack.
    #[schema(
        example = "arn:aws:iam::123456789012:role/audit-log-export",
        max_length = 2048,
        pattern = "^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,64}$"
    )]
    role_arn: String,
}

/// The connector. The first request creates the external ID, and is an audit event.
#[utoipa::path(get, path = "/v1/connector", operation_id = "getConnector", tag = "Connector", responses(
    (status = 200, description = "The connector", body = Connector),
))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Json<Connector>, Problem> {
    current(&app, &caller).await.map(Json)
}

pub(crate) async fn current<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Connector, Problem> {
    Ok(with_records(app, caller).await?.0)
}

/// Returns the connector, and the records that it is made of.
pub(crate) async fn with_records<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
) -> Result<(Connector, TenantRecords), Problem> {
    external_id(app, caller).await?;
    let records = app.settings().records(caller.tenant()).await?;
    Ok((from_records(app, caller.tenant(), &records).await?, records))
}

/// Returns the tenant's external ID. The first look at it creates it.
pub(crate) async fn external_id<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<String, Problem> {
    let (tenant, candidate) = (caller.tenant(), app.new_external_id()?);
    let viewed = app.change(caller)?.external_id_viewed(tenant);
    Ok(app.settings().external_id(tenant, &candidate, &viewed).await?)
}

/// Connects a role after verifying that it can be assumed with the external ID, and not without it. If the tenant has
/// settings, its exports are scheduled with them. If the role is connected already, it is only verified again.
#[utoipa::path(put, path = "/v1/connector", operation_id = "connect", tag = "Connector", request_body = ConnectRequest,
    responses(
        (status = 200, description = "The role is connected", body = Connector),
        (status = 409, description = "Too many places wait for their final delivery", body = Problem,
            content_type = "application/problem+json"),
        (status = 412, description = "Someone else saved changes at the same time", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The ARN can't be used, or the role can't be assumed, or it can be assumed without the external ID",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many verifications in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn connect<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    Json(ConnectRequest { role_arn }): Json<ConnectRequest>,
) -> Result<Json<Connector>, Problem> {
    connect_role(&app, &caller, role_arn).await?;
    describe(&app, caller.tenant()).await.map(Json)
}

/// How a request to connect a role ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connecting {
    Connected,
    /// The role was connected already, and passed the test again.
    Tested,
}

pub(crate) async fn connect_role<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    role_arn: String,
) -> Result<Connecting, Problem> {
    let tenant = caller.tenant();
    let external_id = external_id(app, caller).await?;
    let draft = Draft { external_id: Some(external_id), role_arn: Some(role_arn), ..Draft::default() };
    let platform = &app.deployment().platform;
    let connection = draft.check_connection(tenant, platform).map_err(invalid_fields)?;
    verification::ensure_role_is_safe(app, caller, draft, Purpose::Connect).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        let role_arn = Some(connection.role.as_str().to_owned());
        let is_same = records.config.as_ref().is_some_and(|config| config.role_arn == role_arn);
        if is_same && ConnectorState::from_records(&records).is_connected() {
            return Ok(Connecting::Tested);
        }
        let change = app.change(caller)?;
        let after = Draft { role_arn, ..records.config.clone().unwrap_or_default() };
        onboarding::ensure_room(&records, tenant, &after).map_err(final_deliveries_pending)?;
        let connected =
            onboarding::connect(app.settings(), &records, tenant, &connection.role, platform, &change).await?;
        if connected == Conditional::Written {
            tracing::info!(tenant = %tenant, role = connection.role.as_str(), "role connected");
            app.request_publishing(tenant).await;
            return Ok(Connecting::Connected);
        }
    }
    Err(changed_meanwhile())
}

/// Stops the tenant's exports and keeps everything else. After connecting again, they resume where they stopped.
#[utoipa::path(delete, path = "/v1/connector", operation_id = "disconnect", tag = "Connector", responses(
    (status = 200, description = "Exports are stopped", body = Connector),
    (status = 412, description = "Someone else saved changes at the same time", body = Problem,
        content_type = "application/problem+json"),
))]
pub(crate) async fn disconnect<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Json<Connector>, Problem> {
    disconnect_role(&app, &caller).await.map(Json)
}

pub(crate) async fn disconnect_role<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Connector, Problem> {
    let tenant = caller.tenant();
    external_id(app, caller).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        if !ConnectorState::from_records(&records).is_connected() {
            return describe(app, tenant).await;
        }
        let change = app.change(caller)?;
        if onboarding::disconnect(app.settings(), &records, tenant, &change).await? == Conditional::Written {
            tracing::info!(tenant = %tenant, "tenant disconnected");
            let ((), connector) = tokio::join!(app.request_publishing(tenant), describe(app, tenant));
            return connector;
        }
    }
    Err(changed_meanwhile())
}

pub(crate) async fn describe<B: Backend>(app: &App<B>, tenant: &TenantId) -> Result<Connector, Problem> {
    let records = app.settings().records(tenant).await?;
    from_records(app, tenant, &records).await
}

async fn from_records<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    records: &TenantRecords,
) -> Result<Connector, Problem> {
    let state = status::state(app, tenant, records).await?;
    let stored = records.config.clone().unwrap_or_default();
    let parse = |text: &str| {
        ExternalId::parse(text).map_err(|invalid| {
            tracing::error!(tenant = %tenant, reason = invalid.0, "the stored external ID can't be used");
            Problem::unavailable()
        })
    };
    let external_id = parse(stored.external_id.as_deref().unwrap_or_default())?;
    let pending = stored.pending_external_id.as_deref().map(parse).transpose()?;
    // What a setup has typed is newer than what is saved: a save removes it.
    let typed = onboarding::open_setup(records);
    let scope = RoleScope::from_draft(typed.map_or(&stored, |typed| &typed.settings));
    let deployment = app.deployment();
    let role_setup = RoleSetup {
        create_bucket: typed.is_some_and(|typed| typed.create_bucket),
        ..scope.role_setup(deployment, tenant, pending.as_ref().unwrap_or(&external_id))
    };
    Ok(Connector {
        status: ConnectorState::from_records(records).into(),
        state,
        external_id: external_id.to_string(),
        pending_external_id: pending.as_ref().map(ToString::to_string),
        role_arn: stored.role_arn,
        provider_account_id: deployment.platform.account.to_string(),
        provider_role_name: deployment.exporter_role.clone(),
        quick_create_url: role_setup.quick_create_url(),
        template_url: deployment.template_url.clone(),
        template: TEMPLATE,
        cli: role_setup.cli(),
        terraform: role_setup.terraform(),
        update_cli: role_setup.update_cli(),
    })
}
