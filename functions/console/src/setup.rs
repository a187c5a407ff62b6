//! The guided setup of a tenant that isn't exporting yet: keeps the destination, then connects the role, verifies and saves.

use audit_log_core::{
    onboarding::{self, ConnectorState},
    ports::{Conditional, Settings as _},
    records::TenantRecords,
    settings::Draft,
    setup_draft::SetupDraft,
    tenant::{Partition, TenantId},
};
use audit_log_web::{
    caller::{Admin, Caller},
    problem::Problem,
};

use crate::{
    app::{App, Backend},
    connector,
    draft::SettingsDraft,
    problems::{changed_meanwhile, invalid},
    settings::{self, IfMatch, VerifiedSave},
};

/// Whether exports of a tenant are still to be set up: nothing was ever exported. If that can't be read, no.
pub(crate) async fn is_pending<B: Backend>(app: &App<B>, tenant: &TenantId) -> bool {
    let records = app.settings().records(tenant).await;
    records.is_ok_and(|records| records.health.last_success_at.is_none())
}

/// Where the tenant's setup stands.
pub(crate) struct Setup {
    /// What was typed or saved; none before that.
    pub(crate) destination: Option<SetupDraft>,
    /// Whether exports are scheduled.
    pub(crate) is_activated: bool,
    pub(crate) is_exporting: bool,
}

pub(crate) async fn current<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Setup, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    Ok(Setup {
        is_activated: is_activated(&records),
        is_exporting: records.health.last_success_at.is_some(),
        destination: destination(records),
    })
}

fn is_activated(records: &TenantRecords) -> bool {
    ConnectorState::from_records(records) == ConnectorState::Scheduled
}

/// What was typed, or else what is saved.
fn destination(TenantRecords { setup_draft, config, .. }: TenantRecords) -> Option<SetupDraft> {
    let saved = || config.filter(|config| config.bucket.is_some());
    setup_draft.or_else(|| saved().map(|settings| SetupDraft { settings, ..SetupDraft::default() }))
}

/// Keeps a destination that can be used, without saving it.
pub(crate) async fn keep<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    sent: SettingsDraft,
    create_bucket: bool,
) -> Result<(), Problem> {
    let tenant = caller.tenant();
    connector::external_id(app, caller).await?;
    let records = app.settings().records(tenant).await?;
    if is_activated(&records) {
        return Err(changed_meanwhile());
    }
    let platform = &app.deployment().platform;
    let mut merged = sent.merge(&records.config.clone().unwrap_or_default());
    // Where files go doesn't depend on the role, which may not exist yet.
    merged.draft.role_arn.get_or_insert_with(|| any_role(platform.partition));
    let history = merged.history(&records, app.deployment().retention, app.time());
    merged.check(tenant, platform, history.as_ref().err())?;
    let typed = merged.to_setup(create_bucket);
    let typed = SetupDraft { settings: Draft { external_id: None, role_arn: None, ..typed.settings }, ..typed };
    match onboarding::save_setup_draft(app.settings(), tenant, &typed).await? {
        Conditional::Written => Ok(()),
        // The tenant was erased.
        Conditional::ConditionFailed => Err(changed_meanwhile()),
    }
}

fn any_role(partition: Partition) -> String {
    format!("arn:{partition}:iam::000000000000:role/any")
}

/// Connects the role unless it is connected, verifies the destination with it, and saves it if the verification passes or the admin saves
/// `anyway`.
pub(crate) async fn activate<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    if_match: &str,
    role_arn: String,
    anyway: bool,
) -> Result<VerifiedSave, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    if settings::etag(&records) != if_match {
        return Err(changed_meanwhile());
    }
    let is_connected = ConnectorState::from_records(&records).is_connected();
    let has_role = records.config.as_ref().and_then(|config| config.role_arn.as_ref()) == Some(&role_arn);
    let typed = destination(records).ok_or_else(|| invalid().field("bucket", "is required"))?;
    if !(is_connected && has_role) {
        connector::connect_role(app, caller, role_arn).await?;
    }
    let after = settings::current(app, caller).await?.etag;
    let (if_match, sent) = (IfMatch(vec![&after]), SettingsDraft::from_setup(&typed));
    if anyway {
        settings::save_settings(app, caller, &if_match, sent).await?;
        return Ok(VerifiedSave::Saved);
    }
    settings::verify_and_save(app, caller, &if_match, sent).await
}
