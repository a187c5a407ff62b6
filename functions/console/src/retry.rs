//! Requests to export now, for example after a repair.

use std::time::Duration;

use audit_log_core::{
    lease::Lease,
    onboarding::ConnectorState,
    ports::{Repairs as _, Settings as _, SlotKind},
    records::TenantRecords,
    timestamp,
};
use audit_log_web::{
    body::Json,
    caller::{Admin, Caller},
    problem::{Code, Problem},
};
use axum::extract;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::{App, Backend},
    problems::connector_required,
    slots::take_slot,
    status,
};

/// An export was requested, and begins within seconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportRequested {
    /// When the next scheduled export runs, whatever becomes of the requested one.
    pub(crate) next_run_at: Option<String>,
}

/// Asks for an export of what is due, now instead of at the next scheduled run. If exports fail, they are also retried every hour
/// for another day. The answer doesn't wait for the export: read the status for its result.
#[utoipa::path(post, path = "/v1/exports/retry", operation_id = "retryExport", tag = "Exports", responses(
    (status = 202, description = "The export is requested", body = ExportRequested),
    (status = 409, description = "No exports are scheduled, or one is running: Retry-After says until when at most", body = Problem,
        content_type = "application/problem+json"),
    (status = 429, description = "Too many requests in a minute", body = Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn retry<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<(StatusCode, Json<ExportRequested>), Problem> {
    request(&app, &caller).await.map(|requested| (StatusCode::ACCEPTED, Json(requested)))
}

pub(crate) async fn request<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<ExportRequested, Problem> {
    let tenant = caller.tenant();
    let records = app.settings().records(tenant).await?;
    ensure_retryable(&records, app.time())?;
    take_slot(app, tenant, SlotKind::Retry).await?;
    // Only a failing tenant has a backoff.
    app.settings().reset_backoff(tenant, app.time()).await?;
    app.request_export(tenant).await?;
    tracing::info!(tenant = %tenant, "export requested");
    let next_run_at = status::current(app, caller).await?.next_run_at;
    Ok(ExportRequested { next_run_at })
}

/// Refuses a request that would export nothing.
fn ensure_retryable(records: &TenantRecords, now: DateTime<Utc>) -> Result<(), Problem> {
    if ConnectorState::from_records(records) != ConnectorState::Scheduled {
        return Err(connector_required());
    }
    match records.lease.as_ref().filter(|lease| lease.excludes_others(now)) {
        Some(Lease { until, .. }) => {
            let wait = (*until - now).num_seconds() + 1;
            let until = timestamp::seconds(*until);
            let detail = format!("An export is running. If it is cut off, another one can start after {until}.");
            Err(Problem::new(Code::ExportRunning, detail).retry_after(Duration::from_secs(wait.max(1).unsigned_abs())))
        }
        None => Ok(()),
    }
}
