//! The tenant's connection: its external ID, the ways to make the role, and the role itself.

use audit_log_core::{
    onboarding::{self, ConnectorState},
    ports::{Conditional, Settings as _},
    records::TenantRecords,
    role_setup::{RoleSetup, TEMPLATE},
    settings::Draft,
    tenant::{BucketName, ExternalId, KmsKeyArn, Prefix, Region, TenantId},
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
    settings::{changed_meanwhile, problem_of},
    verification::{self, Purpose},
};

/// How often a change is decided anew after an export or another admin came in between.
pub(crate) const MAX_ATTEMPTS: usize = 3;

/// How far a tenant has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorStatus {
    /// No role was connected yet, or it was taken back.
    NotConnected,
    /// A role is connected; exports begin once settings are saved.
    Connected,
    /// Exports are scheduled.
    Scheduled,
    /// Exports are stopped; they go on where they stopped once a role is connected again.
    Disconnected,
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

/// All that a tenant's admin needs to make the role, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Connector {
    /// How far the tenant has come.
    pub(crate) status: ConnectorStatus,
    /// What the role has to ask for when it is assumed. Made by the platform, and never changed.
    pub(crate) external_id: String,
    /// The role that is connected.
    pub(crate) role_arn: Option<String>,
    /// The AWS account from which logs are delivered.
    pub(crate) provider_account_id: String,
    /// The one role of that account that the tenant's role lets in.
    pub(crate) provider_role_name: String,
    /// Opens the CloudFormation console with every parameter filled in that is known; null where the platform has not
    /// published the template.
    pub(crate) quick_create_url: Option<String>,
    /// The published template; null where there is none.
    pub(crate) template_url: Option<String>,
    /// The CloudFormation template itself, to download.
    pub(crate) template: &'static str,
    /// The same as commands of the AWS CLI, for bash.
    pub(crate) cli: String,
    /// The same as a Terraform file.
    pub(crate) terraform: String,
}

/// The role to connect.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConnectRequest {
    /// The output `RoleArn` of the tenant's stack.
    #[schema(
        example = "arn:aws:iam::123456789012:role/audit-log-export",
        max_length = 2048,
        pattern = "^arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/([!-~]+/)?[A-Za-z0-9_+=,.@-]{1,64}$"
    )]
    role_arn: String,
}

/// The connector, as it is now. The first time that a tenant asks, its external ID is made.
#[utoipa::path(get, path = "/v1/connector", operation_id = "getConnector", tag = "Connector", responses(
    (status = 200, description = "The connector", body = Connector),
))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Json<Connector>, Problem> {
    current(&app, &caller).await.map(Json)
}

/// The connector as it is now, with its external ID made if there was none.
pub(crate) async fn current<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Connector, Problem> {
    app.settings().external_id(caller.tenant(), &app.new_external_id()?).await?;
    show(app, caller.tenant()).await
}

/// Connects a role, once it has been seen to let the platform in with the external ID, and nobody without it. A tenant
/// that has settings is scheduled again with them.
#[utoipa::path(put, path = "/v1/connector", operation_id = "connect", tag = "Connector", request_body = ConnectRequest,
    responses(
        (status = 200, description = "The role is connected", body = Connector),
        (status = 412, description = "Somebody else changed it at the same time", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "The ARN can't be used, or the role can't be assumed, or by more than the platform",
            body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many verifications in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn connect<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    Json(ConnectRequest { role_arn }): Json<ConnectRequest>,
) -> Result<Json<Connector>, Problem> {
    connect_role(&app, &caller, role_arn).await.map(Json)
}

/// Verifies a role and connects it.
pub(crate) async fn connect_role<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    role_arn: String,
) -> Result<Connector, Problem> {
    let tenant = caller.tenant();
    let external_id = app.settings().external_id(tenant, &app.new_external_id()?).await?;
    let draft = Draft { external_id: Some(external_id), role_arn: Some(role_arn), ..Draft::default() };
    let platform = &app.deployment().platform;
    let connection = draft.check_connection(tenant, platform).map_err(problem_of)?;
    verification::demand_trust(app, caller, draft, Purpose::Connect).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        let change = app.change(caller)?;
        let connected =
            onboarding::connect(app.settings(), &records, tenant, &connection.role, platform, &change).await?;
        if connected == Conditional::Written {
            tracing::info!(tenant = %tenant, role = connection.role.as_str(), "a role was connected");
            let ((), connector) = tokio::join!(app.request_publishing(tenant), show(app, tenant));
            return connector;
        }
    }
    Err(changed_meanwhile())
}

/// Stops the tenant's exports and keeps everything else: who connects again goes on where they stopped.
#[utoipa::path(delete, path = "/v1/connector", operation_id = "disconnect", tag = "Connector", responses(
    (status = 200, description = "Exports are stopped", body = Connector),
    (status = 412, description = "Somebody else changed it at the same time", body = Problem,
        content_type = "application/problem+json"),
))]
pub(crate) async fn disconnect<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Json<Connector>, Problem> {
    stop(&app, &caller).await.map(Json)
}

/// Takes the tenant out of the schedule.
pub(crate) async fn stop<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Connector, Problem> {
    let tenant = caller.tenant();
    app.settings().external_id(tenant, &app.new_external_id()?).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        if !ConnectorState::of(&records).is_connected() {
            return show(app, tenant).await;
        }
        let change = app.change(caller)?;
        if onboarding::disconnect(app.settings(), &records, tenant, &change).await? == Conditional::Written {
            tracing::info!(tenant = %tenant, "a tenant was disconnected");
            let ((), connector) = tokio::join!(app.request_publishing(tenant), show(app, tenant));
            return connector;
        }
    }
    Err(changed_meanwhile())
}

async fn show<B: Backend>(app: &App<B>, tenant: &TenantId) -> Result<Connector, Problem> {
    let records = app.settings().records(tenant).await?;
    let status = ConnectorState::of(&records).into();
    let TenantRecords { config, .. } = records;
    let draft = config.unwrap_or_default();
    let external_id = ExternalId::parse(&draft.external_id.unwrap_or_default()).map_err(|invalid| {
        tracing::error!(tenant = %tenant, reason = invalid.0, "the stored external ID can't be used");
        Problem::unavailable()
    })?;
    // What is stored may be wrong in any field; then the field is not known here.
    let bucket = draft.bucket.and_then(|text| BucketName::parse(&text).ok());
    let prefix = draft.prefix.and_then(|text| Prefix::parse(&text).ok());
    let kms_key = draft.kms_key_arn.and_then(|text| KmsKeyArn::parse(&text).ok());
    let region = draft.region.and_then(|text| Region::parse(&text).ok());
    let deployment = app.deployment();
    let role_setup = RoleSetup {
        platform: &deployment.platform,
        role_name: &deployment.exporter_role,
        region: region.unwrap_or(deployment.region),
        template_url: deployment.template_url.as_deref(),
        external_id: &external_id,
        bucket: bucket.as_ref(),
        prefix: prefix.as_ref(),
        kms_key: kms_key.as_ref(),
    };
    Ok(Connector {
        status,
        external_id: external_id.to_string(),
        role_arn: draft.role_arn,
        provider_account_id: deployment.platform.account.to_string(),
        provider_role_name: deployment.exporter_role.clone(),
        quick_create_url: role_setup.quick_create_url(),
        template_url: deployment.template_url.clone(),
        template: TEMPLATE,
        cli: role_setup.cli(),
        terraform: role_setup.terraform(),
    })
}
