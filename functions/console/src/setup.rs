//! The guided setup of a tenant that isn't exporting yet: keeps the destination, then connects the role, verifies and saves.

use audit_log_core::{
    object::sha256,
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
use serde_json::json;

use crate::{
    app::{App, Backend},
    connector,
    draft::SettingsDraft,
    problems::{changed_meanwhile, invalid},
    settings::{self, VerifiedSave},
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
    /// Of the settings and of what was typed. Another admin may have changed either.
    pub(crate) version: String,
    /// Whether exports are scheduled.
    pub(crate) is_activated: bool,
    pub(crate) is_exporting: bool,
}

impl Setup {
    pub(crate) fn from_records(records: &TenantRecords) -> Self {
        let typed = onboarding::open_setup(records);
        let digest = typed.map(|typed| sha256(json!(typed.fields()).to_string().as_bytes()));
        let saved = || records.config.clone().filter(|config| config.bucket.is_some());
        Self {
            destination: typed
                .cloned()
                .or_else(|| saved().map(|settings| SetupDraft { settings, ..SetupDraft::default() })),
            version: settings::etag(records) + &digest.unwrap_or_default(),
            is_activated: ConnectorState::from_records(records) == ConnectorState::Scheduled,
            is_exporting: records.health.last_success_at.is_some(),
        }
    }
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
    if Setup::from_records(&records).is_activated {
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
    match onboarding::save_setup_draft(app.settings(), &records, tenant, &typed).await? {
        Conditional::Written => Ok(()),
        Conditional::ConditionFailed => Err(changed_meanwhile()),
    }
}

fn any_role(partition: Partition) -> String {
    format!("arn:{partition}:iam::000000000000:role/any")
}

/// Activates the destination that the admin has seen, as [`settings::connect_and_save`] does.
pub(crate) async fn activate<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    seen_version: &str,
    role_arn: String,
    anyway: bool,
) -> Result<VerifiedSave, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    let Setup { destination, version, is_activated, .. } = Setup::from_records(&records);
    if is_activated || version != seen_version {
        return Err(changed_meanwhile());
    }
    let typed = destination.ok_or_else(|| invalid().field("bucket", "is required"))?;
    settings::connect_and_save(app, caller, &records, role_arn, SettingsDraft::from_setup(&typed), anyway).await
}
