//! The state of the tenant's exports.

use audit_log_core::{
    failure::{Code, Failure, Party, message_for_tenant},
    onboarding::ConnectorState,
    ports::{Connections as _, Settings as _},
    records::{self, ExportHealth, Finding, LastError, StoredWatermark, TenantRecords},
    status::{self, Status},
    tenant::TenantId,
    timestamp, undelivered,
};
use audit_log_web::{
    body::Json,
    caller::{Caller, Read},
    problem::Problem,
};
use axum::extract;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, Backend};

/// The state of the tenant's exports; the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportState {
    /// Exports are stopped. They resume where they stopped after a role is connected again.
    Disconnected,
    /// No role is connected, or no settings are saved yet.
    NotConnected,
    /// The last exports have failed.
    Failing,
    /// Exports have failed, but since then the settings were saved or verified, or an admin asked for a retry.
    Retrying,
    /// The settings have neither passed a verification nor delivered an export.
    NotVerified,
    /// The first export has not run yet.
    WaitingForFirstExport,
    /// Exports work.
    Healthy,
}

impl From<status::ExportState> for ExportState {
    fn from(state: status::ExportState) -> Self {
        match state {
            status::ExportState::Disconnected => Self::Disconnected,
            status::ExportState::NotConnected => Self::NotConnected,
            status::ExportState::Failing => Self::Failing,
            status::ExportState::Retrying => Self::Retrying,
            status::ExportState::NotVerified => Self::NotVerified,
            status::ExportState::WaitingForFirstExport => Self::WaitingForFirstExport,
            status::ExportState::Healthy => Self::Healthy,
        }
    }
}

/// The state of the tenant's exports.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportStatus {
    /// The state of the exports.
    pub(crate) state: ExportState,
    /// When the next export runs or is retried. Null if none is scheduled.
    pub(crate) next_run_at: Option<String>,
    /// All events recorded before this are in the bucket.
    pub(crate) exported_until: Option<String>,
    /// When the last export succeeded.
    pub(crate) last_success_at: Option<String>,
    /// The key of that export's last object.
    pub(crate) last_object_key: Option<String>,
    /// The head of the chain: SHA-256 of the newest manifest's text, not of the file, in lower-case hex. Null without manifests.
    pub(crate) manifest_head: Option<String>,
    /// How many whole hours of events are due but not in the bucket.
    pub(crate) backlog_hours: i64,
    /// Why the last export failed. Null unless exports fail.
    pub(crate) last_error: Option<ExportError>,
    /// Why the last exported window lacks events. Null if it is complete.
    pub(crate) loss: Option<ExportError>,
    /// How many exports have failed in a row.
    pub(crate) consecutive_failures: u64,
    /// When the first of these failed. Exports are retried every hour for a day after it, or after the settings were last
    /// saved or verified. Later, they are retried every six hours.
    pub(crate) failing_since: Option<String>,
    /// Since when the platform can't sign the manifests of this tenant's exports. Null if the last one was signed.
    pub(crate) signing_failed_since: Option<String>,
    /// What is left to deliver to places that exports have left, the place that was left first first.
    pub(crate) final_deliveries: Vec<FinalDelivery>,
    /// The last daily check of the connection. Null before the first one of these settings.
    pub(crate) connection_check: Option<ConnectionCheck>,
    /// Events of a disconnected tenant that are in no bucket. Null if there are none, if they can't be read, and if exports are
    /// scheduled.
    pub(crate) undelivered: Option<Undelivered>,
}

/// What is left to deliver to a place that exports have left: the events up to and including the change that left it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FinalDelivery {
    /// The bucket.
    pub(crate) bucket: String,
    /// The tenant's folder in the bucket.
    pub(crate) folder: String,
    /// All events recorded before this are in the place.
    pub(crate) since: String,
    /// The end of what is left to deliver.
    pub(crate) until: String,
    /// Since when the place refuses the delivery. It is given up a day later. Null if it doesn't refuse.
    pub(crate) refused_since: Option<String>,
}

impl From<&records::FinalDelivery> for FinalDelivery {
    fn from(delivery: &records::FinalDelivery) -> Self {
        Self {
            bucket: delivery.place.bucket.clone(),
            folder: delivery.place.folder.clone(),
            since: timestamp::seconds(delivery.from),
            until: timestamp::seconds(delivery.until),
            refused_since: delivery.refused_since.map(timestamp::seconds),
        }
    }
}

/// Events of a disconnected tenant that are in no bucket. Connecting a role again exports them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Undelivered {
    /// All events recorded before this were delivered.
    pub(crate) since: String,
    /// None of the events is deleted before this. Null if events are kept forever.
    pub(crate) kept_until: Option<String>,
    /// Whether some are deleted soon: a quarter of their retention is left, or two days if that is more.
    pub(crate) near_retention: bool,
}

impl From<undelivered::Undelivered> for Undelivered {
    fn from(undelivered::Undelivered { since, kept_until, near_retention }: undelivered::Undelivered) -> Self {
        Self { since: timestamp::seconds(since), kept_until: kept_until.map(timestamp::seconds), near_retention }
    }
}

/// A daily check of the connection.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCheck {
    /// When it ran.
    pub(crate) checked_at: String,
    /// Whether exports work, and safely. It may pass with warnings.
    pub(crate) passed: bool,
    /// What is wrong. Empty if nothing is.
    pub(crate) findings: Vec<ConnectionFinding>,
}

/// Something that is wrong with the connection.
#[derive(Debug, Serialize, ToSchema)]
pub struct ConnectionFinding {
    /// The step of the verification that found it.
    pub(crate) step: String,
    /// `failed` or `warning`.
    pub(crate) status: String,
    /// A stable code.
    pub(crate) code: String,
    /// What was found.
    pub(crate) message: String,
    /// How to fix it.
    pub(crate) hint: Option<String>,
}

impl From<records::ConnectionCheck> for ConnectionCheck {
    fn from(records::ConnectionCheck { at, findings, .. }: records::ConnectionCheck) -> Self {
        Self {
            checked_at: timestamp::seconds(at),
            passed: findings.iter().all(|finding| !finding.is_failure),
            findings: findings.into_iter().map(ConnectionFinding::from).collect(),
        }
    }
}

impl From<Finding> for ConnectionFinding {
    fn from(finding: Finding) -> Self {
        let status = if finding.is_failure { "failed" } else { "warning" };
        let hint = finding.hint().map(str::to_owned);
        let Finding { step, code, message, .. } = finding;
        Self { step, status: status.to_owned(), code, message, hint }
    }
}

/// Why the last export failed, and who must act.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportError {
    /// A stable code.
    pub(crate) code: String,
    /// Who must act: `customer` or `platform`.
    pub(crate) party: String,
    /// What happened.
    pub(crate) message: String,
    /// How the customer fixes it, if the customer must act.
    pub(crate) hint: Option<String>,
    /// When it happened.
    pub(crate) at: Option<String>,
}

impl From<LastError> for ExportError {
    fn from(LastError { code, message, party, at }: LastError) -> Self {
        // An unknown code comes from a newer exporter. The platform must update this function.
        let known = Code::ALL.iter().find(|known| known.as_str() == code);
        let by_code = known.map_or(Party::Platform, |code| code.party());
        let party = match party.as_deref() {
            Some("customer") => Party::Customer,
            Some(_) => Party::Platform,
            None => by_code,
        };
        Self {
            party: party.to_string(),
            hint: known.filter(|_| party == Party::Customer).map(|code| code.hint().to_owned()),
            message: message_for_tenant(party, &code, &message),
            code,
            at: at.map(timestamp::seconds),
        }
    }
}

/// The state of the tenant's exports, and what it follows from: next run, last success, head of the chain of manifests, backlog,
/// last error, connection check, final deliveries and undelivered events.
#[utoipa::path(get, path = "/v1/status", operation_id = "getStatus", tag = "Exports", responses(
    (status = 200, description = "The status", body = ExportStatus),
))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
) -> Result<Json<ExportStatus>, Problem> {
    current(&app, &caller).await.map(Json)
}

/// Returns the last daily check of the connection as it is. A check of a disconnected tenant or of other settings is outdated.
pub(crate) async fn last_check<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    records: &TenantRecords,
) -> Result<Option<records::ConnectionCheck>, Problem> {
    if ConnectorState::from_records(records) != ConnectorState::Scheduled {
        return Ok(None);
    }
    let check = app.settings().last_check(tenant).await?;
    Ok(check.filter(|check| records.version() == Some(check.version)))
}

/// Returns the state that goes with these records.
pub(crate) async fn state<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    records: &TenantRecords,
) -> Result<ExportState, Problem> {
    let check = last_check(app, tenant, records).await?;
    Ok(status::ExportState::from_records(records, check.as_ref()).into())
}

pub(crate) async fn current<B: Backend, P>(app: &App<B>, caller: &Caller<P>) -> Result<ExportStatus, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    from_records(app, caller.tenant(), records).await
}

pub(crate) async fn from_records<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    records: TenantRecords,
) -> Result<ExportStatus, Problem> {
    let check = last_check(app, tenant, &records).await?;
    let (deployment, now) = (app.deployment(), app.time());
    let undelivered = undelivered::undelivered(app.events(), tenant, &records, deployment.retention, now);
    // The rest of the status is of use without it.
    let undelivered = undelivered.await.unwrap_or_else(|Failure { code, message, .. }| {
        tracing::error!(code = %code, reason = message, "the undelivered events could not be read");
        None
    });
    let Status { state, connector: _, exported_until, next_run_at, backlog_hours, failing_since, failure, loss } =
        Status::from_records(&records, check.as_ref(), deployment.settle, now);
    let TenantRecords { watermark, health, final_deliveries, .. } = records;
    let StoredWatermark { manifest_sha256: manifest_head, signing_failed_since, .. } = watermark.unwrap_or_default();
    let ExportHealth { last_success_at, last_object_key, consecutive_failures, .. } = health;
    Ok(ExportStatus {
        state: state.into(),
        next_run_at: next_run_at.map(timestamp::seconds),
        exported_until: exported_until.map(timestamp::seconds),
        last_success_at: last_success_at.map(timestamp::seconds),
        last_object_key,
        manifest_head,
        backlog_hours,
        last_error: failure.map(ExportError::from),
        loss: loss.map(ExportError::from),
        consecutive_failures,
        failing_since: failing_since.map(timestamp::seconds),
        signing_failed_since,
        final_deliveries: final_deliveries.places.iter().map(FinalDelivery::from).collect(),
        connection_check: check.map(ConnectionCheck::from),
        undelivered: undelivered.map(Undelivered::from),
    })
}
