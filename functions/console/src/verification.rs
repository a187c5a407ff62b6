//! Verifying a connection, saved or not: the exporter does it, since this function can't assume roles.

use std::time::Duration;

use audit_log_core::{
    failure::{Code as FailureCode, Failure, Party},
    onboarding::ConnectorState,
    ports::{Recorder as _, Settings as _, Verifier as _},
    settings::Draft,
    tenant::TenantId,
    verification::{Step, StepStatus, Verification, VerificationRequest},
};
use audit_log_web::{
    body::Json,
    caller::{Admin, Caller},
    problem::{Code, Problem},
};
use axum::extract;
use chrono::{DurationRound, TimeDelta};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    app::{App, Backend},
    settings::{Optional, SettingsDraft, connector_required},
};

/// How many verifications a tenant has in a minute: each makes half a dozen requests to AWS.
const TURNS_A_MINUTE: u32 = 10;

/// What a verification found.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationReport {
    /// Whether deliveries would work, and safely; a warning does not stand against it.
    pub(crate) passed: bool,
    /// All five steps, always in the same order.
    pub(crate) steps: Vec<VerificationStep>,
}

/// One step of a verification.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationStep {
    /// Which one: `assume_role`, `external_id_enforced`, `region`, `put_object` or `least_privilege`.
    pub(crate) step: String,
    /// `passed`, `failed`, `warning`, `inconclusive` (try again) or `skipped`.
    pub(crate) status: String,
    /// A stable code, where something was found.
    pub(crate) code: Option<String>,
    /// What was found.
    pub(crate) message: String,
    /// Who does what about it.
    pub(crate) hint: Option<String>,
}

impl From<Verification> for VerificationReport {
    fn from(verification: Verification) -> Self {
        let passed = verification.passed();
        let step = |Step { step, status, code, message, hint, .. }| VerificationStep {
            step: step.to_string(),
            status: status.to_string(),
            code: code.map(|code| code.to_string()),
            message,
            hint,
        };
        Self { passed, steps: verification.steps.into_iter().map(step).collect() }
    }
}

/// What a verification is for, as its audit event has it, and with it what it has to show.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Connect,
    Save,
    Check,
}

/// Verifies the settings that are sent, or without a body the saved ones; the role is always the connected one. A role
/// that answers without the external ID fails, and nothing is written through it.
#[utoipa::path(post, path = "/v1/export-settings/verify", operation_id = "verify", tag = "Export settings",
    request_body(content = Option<SettingsDraft>, description = "The settings to verify; none for the saved ones"),
    responses(
        (status = 200, description = "What was found, good or bad", body = VerificationReport),
        (status = 409, description = "No role is connected", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many verifications in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn verify<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    Optional(sent): Optional<SettingsDraft>,
) -> Result<Json<VerificationReport>, Problem> {
    check(&app, &caller, sent).await.map(Json)
}

/// Verifies what was sent, or what is saved.
pub(crate) async fn check<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    sent: Option<SettingsDraft>,
) -> Result<VerificationReport, Problem> {
    let tenant = caller.tenant();
    let records = app.settings().records(tenant).await?;
    if !ConnectorState::of(&records).is_connected() {
        return Err(connector_required());
    }
    let stored = records.config.unwrap_or_default();
    let draft = match sent {
        None => stored,
        Some(sent) => {
            let filled = sent.onto(&stored);
            filled.check(tenant, &app.deployment().platform, None)?;
            filled.draft
        }
    };
    run(app, caller, draft, Purpose::Check).await.map(VerificationReport::from)
}

/// Verifies the role alone, and refuses it unless it lets the platform in with the external ID and nobody without.
pub(crate) async fn demand_trust<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    draft: Draft,
    purpose: Purpose,
) -> Result<(), Problem> {
    let role_alone = Draft { external_id: draft.external_id, role_arn: draft.role_arn, ..Draft::default() };
    let found = run(app, caller, role_alone, purpose).await?;
    let Some(step) = found.distrusted() else { return Ok(()) };
    let problem = match step.status {
        StepStatus::Failed if step.code != Some(FailureCode::PlatformDenied) => {
            Problem::new(Code::RoleRefused, step.message.clone())
                .party(Party::Customer)
                .field("roleArn", format!("failed the step {}", step.step))
        }
        _ => Problem::new(Code::Unavailable, step.message.clone())
            .party(Party::Platform)
            .retry_after(Duration::from_secs(60)),
    };
    Err(match &step.hint {
        Some(hint) => problem.hint(hint.clone()),
        None => problem,
    })
}

/// One verification, counted and recorded.
async fn run<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    draft: Draft,
    purpose: Purpose,
) -> Result<Verification, Problem> {
    let tenant = caller.tenant();
    take_verification_slot(app, tenant).await?;
    let request = VerificationRequest { tenant_id: tenant.to_string(), draft };
    let found = app.verifier().verify(&request).await;
    let outcome = |step: &Step| json!({ "step": step.step, "status": step.status, "code": step.code });
    let info = json!({
        "purpose": match purpose {
            Purpose::Connect => "connect",
            Purpose::Save => "save",
            Purpose::Check => "check",
        },
        "roleArn": request.draft.role_arn,
        "bucket": request.draft.bucket,
        // Without an answer it is not known how far it came.
        "steps": found.as_ref().ok().map(|found| found.steps.iter().map(outcome).collect::<Vec<_>>()),
    });
    let passed = found.as_ref().is_ok_and(|found| match purpose {
        // The role alone was looked at, and the bucket's steps were skipped.
        Purpose::Connect | Purpose::Save => found.distrusted().is_none(),
        Purpose::Check => found.passed(),
    });
    app.recorder().record(&app.change(caller)?.checked(tenant, passed, &info)).await?;
    Ok(found?)
}

async fn take_verification_slot<B: Backend>(app: &App<B>, tenant: &TenantId) -> Result<(), Problem> {
    let now = app.time();
    let overflow = |_| Failure::new(FailureCode::Unavailable, "The clock can't be right.");
    let minute = now.duration_trunc(TimeDelta::minutes(1)).map_err(overflow)?;
    if app.settings().take_verification_slot(tenant, minute, TURNS_A_MINUTE).await? {
        return Ok(());
    }
    let wait = (minute + TimeDelta::minutes(1) - now).num_seconds().max(1).unsigned_abs();
    let detail = format!("A tenant has {TURNS_A_MINUTE} verifications in a minute, and these are used up.");
    Err(Problem::new(Code::RateLimited, detail).retry_after(Duration::from_secs(wait)))
}
