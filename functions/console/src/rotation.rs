//! The rotation of a tenant's external ID: start and cancel. A verification completes it.

use audit_log_core::{
    onboarding,
    ports::{Conditional, Settings as _},
};
use audit_log_web::{
    body::Json,
    caller::{Admin, Caller},
    problem::Problem,
};
use axum::extract;

use crate::{
    app::{App, Backend},
    connector::{self, Connector, MAX_ATTEMPTS},
    problems::changed_meanwhile,
};

/// Makes a pending external ID, or keeps the one there is. Exports try the current one and, refused, the pending one. The
/// first verification that finds the connected role to require the pending one makes it the only one.
#[utoipa::path(post, path = "/v1/connector/external-id", operation_id = "startExternalIdRotation", tag = "Connector",
    responses(
        (status = 200, description = "There is a pending external ID", body = Connector),
        (status = 412, description = "Someone else changed the external ID at the same time", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn start<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Json<Connector>, Problem> {
    start_rotation(&app, &caller).await.map(Json)
}

pub(crate) async fn start_rotation<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Connector, Problem> {
    let tenant = caller.tenant();
    connector::external_id(app, caller).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        let (candidate, change) = (app.new_external_id()?, app.change(caller)?);
        let started = onboarding::start_rotation(app.settings(), &records, tenant, &candidate, &change).await?;
        if started == Conditional::Written {
            tracing::info!(tenant = %tenant, "rotation of the external ID started");
            return connector::describe(app, tenant).await;
        }
    }
    Err(changed_meanwhile())
}

/// Removes the pending external ID. A role that requires it can't be assumed any more.
#[utoipa::path(delete, path = "/v1/connector/external-id", operation_id = "cancelExternalIdRotation", tag = "Connector",
    responses(
        (status = 200, description = "There is no pending external ID", body = Connector),
        (status = 412, description = "Someone else changed the external ID at the same time", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn cancel<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Json<Connector>, Problem> {
    cancel_rotation(&app, &caller).await.map(Json)
}

pub(crate) async fn cancel_rotation<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Connector, Problem> {
    let tenant = caller.tenant();
    connector::external_id(app, caller).await?;
    for _ in 0..MAX_ATTEMPTS {
        let records = app.settings().records(tenant).await?;
        let change = app.change(caller)?;
        if onboarding::cancel_rotation(app.settings(), &records, tenant, &change).await? == Conditional::Written {
            tracing::info!(tenant = %tenant, "no rotation of the external ID is pending");
            return connector::describe(app, tenant).await;
        }
    }
    Err(changed_meanwhile())
}
