//! Verifications of a connection. The exporter runs them, since this function can't assume roles.

use std::time::Duration;

use audit_log_core::{
    failure::{Code as FailureCode, Party},
    onboarding::ConnectorState,
    ports::{Recorder as _, Settings as _, SlotKind, Verifier as _},
    settings::Draft,
    tenant::{ExternalId, TenantId},
    verification::{Step, StepStatus, Verification, VerificationRequest},
};
use audit_log_web::{
    body::Json,
    caller::{Admin, Caller},
    problem::{Code, Problem},
};
use axum::extract::{self, FromRequest, Request};
use http::header;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use utoipa::ToSchema;

use crate::{
    app::{App, Backend, Deployment},
    draft::SettingsDraft,
    problems::connector_required,
    role_scope::RoleScope,
    slots::take_slot,
};

/// What a verification found.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationReport {
    /// Whether exports would work, and safely. It may pass with warnings.
    pub(crate) passed: bool,
    /// All five steps, always in the same order.
    pub(crate) steps: Vec<VerificationStep>,
}

/// One step of a verification.
#[derive(Debug, Serialize, ToSchema)]
pub struct VerificationStep {
    /// `assume_role`, `external_id_enforced`, `region`, `put_object` or `least_privilege`.
    pub(crate) step: String,
    /// `passed`, `failed`, `warning`, `inconclusive` (try again) or `skipped`.
    pub(crate) status: String,
    /// A stable code, where something was found.
    pub(crate) code: Option<String>,
    /// What was found.
    pub(crate) message: String,
    /// How to fix it.
    pub(crate) hint: Option<String>,
    /// AWS CLI commands for bash that fix it, where the hint names some.
    pub(crate) command: Option<String>,
}

impl VerificationReport {
    /// `update_cli` updates the stack of the role.
    fn new(verification: Verification, update_cli: Option<&str>) -> Self {
        let passed = verification.passed();
        let step = |Step { step, status, code, message, hint, .. }| VerificationStep {
            step: step.to_string(),
            status: status.to_string(),
            code: code.map(|code| code.to_string()),
            message,
            hint,
            command: update_cli.filter(|_| code == Some(FailureCode::RoleFolderTooWide)).map(str::to_owned),
        };
        Self { passed, steps: verification.steps.into_iter().map(step).collect() }
    }
}

/// Why the connection is verified. It is part of the audit event, and decides which steps must pass.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Purpose {
    Connect,
    Save,
    Check,
}

/// Verifies the settings in the body or, without a body, the saved ones, with the connected role. If the role can be assumed
/// without the external ID, the verification fails and writes nothing.
#[utoipa::path(post, path = "/v1/export-settings/verify", operation_id = "verify", tag = "Export settings",
    request_body(content = Option<SettingsDraft>, description = "The settings to verify. Leave it out to verify the saved ones"),
    responses(
        (status = 200, description = "What was found", body = VerificationReport),
        (status = 409, description = "No role is connected", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "Fields can't be used", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many verifications in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn verify<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    OptionalJson(sent): OptionalJson<SettingsDraft>,
) -> Result<Json<VerificationReport>, Problem> {
    verify_settings(&app, &caller, sent).await.map(Json)
}

pub(crate) async fn verify_settings<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    sent: Option<SettingsDraft>,
) -> Result<VerificationReport, Problem> {
    let tenant = caller.tenant();
    let records = app.settings().records(tenant).await?;
    if !ConnectorState::from_records(&records).is_connected() {
        return Err(connector_required());
    }
    let stored = records.config.unwrap_or_default();
    let is_saved = stored.bucket.is_some();
    let draft = match sent {
        None => stored.clone(),
        Some(sent) => {
            let merged = sent.merge(&stored);
            merged.check(tenant, &app.deployment().platform, None)?;
            merged.draft
        }
    };
    // Running exports depend on the saved prefix, so the typed one counts only before the first save.
    let deployed = if is_saved { &stored } else { &draft };
    let update_cli = update_cli(app.deployment(), tenant, deployed);
    let found = verify_and_record(app, caller, draft, Purpose::Check).await?;
    Ok(VerificationReport::new(found, update_cli.as_deref()))
}

fn update_cli(deployment: &Deployment, tenant: &TenantId, draft: &Draft) -> Option<String> {
    let external_id = draft.pending_external_id.as_ref().or(draft.external_id.as_ref())?;
    let external_id = ExternalId::parse(external_id).ok()?;
    Some(RoleScope::from_draft(draft).role_setup(deployment, tenant, &external_id).update_cli())
}

/// Verifies a destination with a role. Refuses the role as [`ensure_role_is_safe`] does.
pub(crate) async fn verify_with_role<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    draft: Draft,
) -> Result<VerificationReport, Problem> {
    let update_cli = update_cli(app.deployment(), caller.tenant(), &draft);
    let found = verify_and_record(app, caller, draft, Purpose::Check).await?;
    refuse_unsafe_role(&found)?;
    Ok(VerificationReport::new(found, update_cli.as_deref()))
}

/// Verifies the role alone. Refuses it unless it can be assumed with the external ID, and not without it.
pub(crate) async fn ensure_role_is_safe<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    draft: Draft,
    purpose: Purpose,
) -> Result<(), Problem> {
    let role_alone = Draft { external_id: draft.external_id, role_arn: draft.role_arn, ..Draft::default() };
    refuse_unsafe_role(&verify_and_record(app, caller, role_alone, purpose).await?)
}

fn refuse_unsafe_role(found: &Verification) -> Result<(), Problem> {
    let Some(step) = found.blocking_role_step() else { return Ok(()) };
    let problem = match step.status {
        StepStatus::Failed if step.party == Some(Party::Customer) => {
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

/// Counts against the tenant's limit, and records the result as an audit event.
async fn verify_and_record<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    draft: Draft,
    purpose: Purpose,
) -> Result<Verification, Problem> {
    let tenant = caller.tenant();
    take_slot(app, tenant, SlotKind::Verification).await?;
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
        "region": request.draft.region,
        "prefix": request.draft.prefix,
        "kmsKeyArn": request.draft.kms_key_arn,
        "bucketOwner": request.draft.bucket_owner,
        // Null without an answer.
        "steps": found.as_ref().ok().map(|found| found.steps.iter().map(outcome).collect::<Vec<_>>()),
    });
    let passed = found.as_ref().is_ok_and(|found| match purpose {
        // The bucket's steps were skipped.
        Purpose::Connect | Purpose::Save => found.blocking_role_step().is_none(),
        Purpose::Check => found.passed(),
    });
    app.recorder().record(&app.change(caller)?.checked(tenant, passed, &info)).await?;
    Ok(found?)
}

/// A body that may be missing.
pub(crate) struct OptionalJson<T>(Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJson<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let empty = length == Some("0") || axum::body::HttpBody::is_end_stream(request.body());
        if empty && !request.headers().contains_key(header::CONTENT_TYPE) {
            return Ok(Self(None));
        }
        Json::<Option<T>>::from_request(request, state).await.map(|Json(sent)| Self(sent))
    }
}
