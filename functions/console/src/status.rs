//! The state of the tenant's exports.

use audit_log_core::{
    failure::{Code, Failure, Party, message_for_tenant},
    onboarding::ConnectorState,
    ports::{Connections as _, Settings as _},
    records::{self, ExportHealth, Finding, LastError},
    status::Status,
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

use crate::{
    app::{App, Backend},
    connector::ConnectorStatus,
};

/// The state of the tenant's exports.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportStatus {
    /// The state of the connection.
    pub(crate) status: ConnectorStatus,
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
    /// The last error since the last success.
    pub(crate) last_error: Option<ExportError>,
    /// How many exports have failed in a row.
    pub(crate) consecutive_failures: u64,
    /// When the first of these failed. Exports are retried every hour for a day after it, or after the settings were last
    /// saved or verified. Later, they are retried every six hours.
    pub(crate) failing_since: Option<String>,
    /// The last daily check of the connection. Null before the first one of these settings.
    pub(crate) connection_check: Option<ConnectionCheck>,
    /// Events of a disconnected tenant that are in no bucket. Null if there are none, if they can't be read, and if exports are
    /// scheduled.
    pub(crate) undelivered: Option<Undelivered>,
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

/// The state of the tenant's exports: next run, last success, head of the chain of manifests, backlog, last error, connection check and undelivered events.
#[utoipa::path(get, path = "/v1/status", operation_id = "getStatus", tag = "Exports", responses(
    (status = 200, description = "The status", body = ExportStatus),
))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Read>,
) -> Result<Json<ExportStatus>, Problem> {
    current(&app, &caller).await.map(Json)
}

pub(crate) async fn current<B: Backend>(app: &App<B>, caller: &Caller<Read>) -> Result<ExportStatus, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    // A check of a disconnected tenant or of other settings is outdated.
    let check = match ConnectorState::from_records(&records) {
        ConnectorState::Scheduled => app.settings().last_check(caller.tenant()).await?,
        _ => None,
    };
    let version = records.config.as_ref().and_then(|config| config.version.as_deref());
    let check = check.filter(|check| check.version.to_string() == version.unwrap_or("0"));
    let (deployment, now) = (app.deployment(), app.time());
    let undelivered = undelivered::undelivered(app.events(), caller.tenant(), &records, deployment.retention, now);
    // The rest of the status is of use without it.
    let undelivered = undelivered.await.unwrap_or_else(|Failure { code, message, .. }| {
        tracing::error!(code = %code, reason = message, "the undelivered events could not be read");
        None
    });
    let Status { state, exported_until, next_run_at, backlog_hours, failing_since } =
        Status::from_records(&records, deployment.settle, now);
    let manifest_head = records.watermark.and_then(|watermark| watermark.manifest_sha256);
    let ExportHealth { last_success_at, last_object_key, last_error, consecutive_failures, .. } = records.health;
    Ok(ExportStatus {
        status: state.into(),
        next_run_at: next_run_at.map(timestamp::seconds),
        exported_until: exported_until.map(timestamp::seconds),
        last_success_at: last_success_at.map(timestamp::seconds),
        last_object_key,
        manifest_head,
        backlog_hours,
        last_error: last_error.map(ExportError::from),
        consecutive_failures,
        failing_since: failing_since.map(timestamp::seconds),
        connection_check: check.map(ConnectionCheck::from),
        undelivered: undelivered.map(Undelivered::from),
    })
}
