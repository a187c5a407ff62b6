//! The export settings: destination, format and schedule.

use audit_log_core::{
    object::ObjectSpec,
    onboarding::{self, ConnectorState, StartOfHistory, Verified},
    ports::{Conditional, Repairs as _, Settings as _},
    records::{Place, TenantRecords},
    schedule::{Schedule, Window},
    settings::{Destination, Draft, TenantConfig},
    setup_draft::SetupDraft,
    status::{Status, next_run},
    tenant::{Schema, TenantId},
    timestamp,
};
use audit_log_web::{
    body::Json,
    caller::{Admin, Caller},
    problem::{Code, Problem},
};
use axum::{
    extract,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::{App, Backend},
    connector::{ConnectorStatus, MAX_ATTEMPTS},
    deliveries::Deliveries,
    draft::{MergedDraft, SettingsDraft},
    problems::{changed_meanwhile, connector_required, final_deliveries_pending},
    status::{self, ExportState},
    verification::{self, Purpose, VerificationReport},
};

/// The stored export settings, and what follows from them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportSettings {
    /// The state of the connection.
    pub(crate) status: ConnectorStatus,
    /// Null until settings are saved for the first time.
    pub(crate) settings: Option<StoredSettings>,
    /// When the next export runs. Null if none is scheduled.
    pub(crate) next_run_at: Option<String>,
    /// All events recorded before this are in the bucket. Before the first export, the start of the history.
    pub(crate) exported_until: Option<String>,
    /// The key of the next object.
    pub(crate) example_key: Option<String>,
}

/// The settings and their version.
pub(crate) struct Current {
    pub(crate) body: ExportSettings,
    pub(crate) state: ExportState,
    pub(crate) start_of_history: StartOfHistory,
    /// What an unfinished setup has typed.
    pub(crate) setup_draft: Option<SetupDraft>,
    pub(crate) etag: String,
}

/// How a save that demands a verification ended.
pub(crate) enum VerifiedSave {
    Saved,
    /// The verification did not pass, and nothing was saved.
    Refused(VerificationReport),
}

/// The stored settings.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredSettings {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) prefix: String,
    pub(crate) frequency_hours: i64,
    pub(crate) format: String,
    pub(crate) compression: String,
    pub(crate) schema: String,
    pub(crate) encryption: String,
    pub(crate) kms_key_arn: Option<String>,
    pub(crate) bucket_owner: Option<String>,
}

/// The settings. Send their `ETag` along with a save, as `If-Match`.
#[utoipa::path(get, path = "/v1/export-settings", operation_id = "getExportSettings", tag = "Export settings",
    responses((status = 200, description = "The settings", body = ExportSettings,
        headers(("ETag" = String, description = "The settings' version")))))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Current, Problem> {
    current(&app, &caller).await
}

pub(crate) async fn current<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Current, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    from_records(app, caller.tenant(), &records).await
}

/// Saves the settings and schedules the next export, after verifying that the role can be assumed only with the external
/// ID. Saving again neither loses nor repeats events: those that are due keep their windows.
#[utoipa::path(put, path = "/v1/export-settings", operation_id = "saveExportSettings", tag = "Export settings",
    request_body = SettingsDraft,
    params(("If-Match" = String, Header, description = "The ETag of the settings that the change is based on, or `*`")),
    responses(
        (status = 200, description = "The settings are saved", body = ExportSettings,
            headers(("ETag" = String, description = "The settings' new version"))),
        (status = 409, description = "No role is connected, or too many places wait for their final delivery",
            body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Someone else saved changes", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Fields can't be used, and each is named; or the role can't be used", body = Problem,
            content_type = "application/problem+json"),
        (status = 428, description = "The header If-Match is missing", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many verifications in a minute", body = Problem,
            content_type = "application/problem+json"),
    ))]
pub(crate) async fn save<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
    headers: HeaderMap,
    Json(sent): Json<SettingsDraft>,
) -> Result<Current, Problem> {
    let given = headers.get_all(header::IF_MATCH).iter().filter_map(|value| value.to_str().ok());
    let if_match = IfMatch(given.flat_map(|value| value.split(',')).collect());
    save_settings(&app, &caller, &if_match, sent, Verified::NotTried).await
}

/// Saves the settings if they pass a verification.
pub(crate) async fn verify_and_save<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    if_match: &IfMatch<'_>,
    sent: SettingsDraft,
) -> Result<VerifiedSave, Problem> {
    let save = Save::prepare(app, caller, if_match, sent.clone()).await?;
    let report = verification::verify_settings(app, caller, Some(sent)).await?;
    if !report.passed {
        return Ok(VerifiedSave::Refused(report));
    }
    save.write(app, caller, Verified::Passed).await?;
    Ok(VerifiedSave::Saved)
}

/// Saves the settings if their role is safe. `verified` says what a verification of them has found before.
pub(crate) async fn save_settings<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    if_match: &IfMatch<'_>,
    sent: SettingsDraft,
    verified: Verified,
) -> Result<Current, Problem> {
    let save = Save::prepare(app, caller, if_match, sent).await?;
    verification::ensure_role_is_safe(app, caller, save.stored.clone(), Purpose::Save).await?;
    save.write(app, caller, verified).await
}

/// Verifies settings with a role, connects it, and saves them if the verification passes or the admin saves `anyway`, after one that has
/// not. Refuses a role that isn't safe. A tenant that was disconnected gets role and settings in one write: its exports must not go on
/// with the settings before.
pub(crate) async fn connect_and_save<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    records: &TenantRecords,
    role_arn: String,
    sent: SettingsDraft,
    anyway: bool,
) -> Result<VerifiedSave, Problem> {
    let mut save = Save::new(app, caller.tenant(), records, sent, Some(role_arn))?;
    let draft = save.merged.draft.clone();
    let report = if anyway {
        verification::ensure_role_is_safe(app, caller, draft, Purpose::Save).await?;
        None
    } else {
        Some(verification::verify_with_role(app, caller, draft).await?)
    };
    let is_connected = save.stored.role_arn.as_deref() == Some(save.config.role.as_str());
    if records.watermark.is_none() && !is_connected {
        save.connect(app, caller, records).await?;
    }
    match report {
        Some(report) if !report.passed => return Ok(VerifiedSave::Refused(report)),
        Some(_) => save.write(app, caller, Verified::Passed).await?,
        None => save.write(app, caller, Verified::Failed).await?,
    };
    Ok(VerifiedSave::Saved)
}

/// A save whose fields can be used.
struct Save {
    /// The settings before.
    stored: Draft,
    merged: MergedDraft,
    config: TenantConfig,
}

impl Save {
    async fn prepare<B: Backend>(
        app: &App<B>,
        caller: &Caller<Admin>,
        if_match: &IfMatch<'_>,
        sent: SettingsDraft,
    ) -> Result<Self, Problem> {
        let tenant = caller.tenant();
        let records = app.settings().records(tenant).await?;
        ensure_unchanged(app, tenant, if_match, &records)?;
        Self::new(app, tenant, &records, sent, None)
    }

    /// Without a role, with the stored one.
    fn new<B: Backend>(
        app: &App<B>,
        tenant: &TenantId,
        records: &TenantRecords,
        sent: SettingsDraft,
        role_arn: Option<String>,
    ) -> Result<Self, Problem> {
        let stored = records.config.clone().unwrap_or_default();
        let mut merged = sent.merge(&stored);
        if role_arn.is_some() {
            merged.draft.role_arn = role_arn;
        }
        let (config, _) = check(app, tenant, &merged, records)?;
        Ok(Self { stored, merged, config })
    }

    /// Connects the role of a tenant without a watermark. From then on, the save is based on the version that this has written.
    async fn connect<B: Backend>(
        &mut self,
        app: &App<B>,
        caller: &Caller<Admin>,
        as_read: &TenantRecords,
    ) -> Result<(), Problem> {
        let TenantConfig { tenant, role, version, .. } = &self.config;
        let (platform, change) = (&app.deployment().platform, app.change(caller)?);
        match onboarding::connect(app.settings(), as_read, tenant, role, platform, &change).await? {
            Conditional::ConditionFailed => return Err(changed_meanwhile()),
            Conditional::Written => tracing::info!(tenant = %tenant, role = role.as_str(), "role connected"),
        }
        app.request_publishing(tenant).await;
        let version = version + 1;
        self.stored.role_arn = Some(role.as_str().to_owned());
        self.stored.version = Some(version.to_string());
        self.config.version = version;
        Ok(())
    }

    async fn write<B: Backend>(
        self,
        app: &App<B>,
        caller: &Caller<Admin>,
        verified: Verified,
    ) -> Result<Current, Problem> {
        let Self { stored, merged, config } = self;
        let tenant = caller.tenant();
        for _ in 0..MAX_ATTEMPTS {
            // If an export has moved the watermark meanwhile, go on. If an admin saved or disconnected, which raises the version, give up.
            let records = app.settings().records(tenant).await?;
            if records.config.as_ref().map(without_external_ids) != Some(without_external_ids(&stored)) {
                break;
            }
            let after = Draft::from_config(&config, config.version);
            onboarding::ensure_room(&records, tenant, &after).map_err(final_deliveries_pending)?;
            let (_, history) = check(app, tenant, &merged, &records)?;
            let change = app.change(caller)?;
            let saved = onboarding::save(app.settings(), &records, &config, history, verified, &change).await?;
            if saved == Conditional::Written {
                // A save without a change writes nothing, but a failing tenant is tried again after it.
                if records.health.is_failing() {
                    app.settings().reset_backoff(tenant, change.stamp.at).await?;
                }
                let ((), records) = tokio::join!(app.request_publishing(tenant), app.settings().records(tenant));
                let current = from_records(app, tenant, &records?).await?;
                tracing::info!(tenant = %tenant, version = current.etag, "settings saved");
                return Ok(current);
            }
        }
        Err(changed_meanwhile())
    }
}

/// Checks all fields. Returns the start of the history, too.
fn check<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    merged: &MergedDraft,
    records: &TenantRecords,
) -> Result<(TenantConfig, Option<DateTime<Utc>>), Problem> {
    let history = merged.history(records, app.deployment().retention, app.time());
    let config = merged.check(tenant, &app.deployment().platform, history.as_ref().err())?;
    Ok((config, history.unwrap_or(None)))
}

/// The verification of a save may complete a rotation, which is no other admin's change.
fn without_external_ids(draft: &Draft) -> Draft {
    Draft { external_id: None, pending_external_id: None, ..draft.clone() }
}

/// The ETags of the versions that a save may be based on; `*` is any. By RFC 9110, section 13.1.1.
pub(crate) struct IfMatch<'a>(pub(crate) Vec<&'a str>);

/// What follows if these settings were saved now.
pub(crate) struct Preview {
    pub(crate) next: Result<NextExport, Problem>,
    /// Where events go before the save.
    pub(crate) deliveries: Option<Deliveries>,
    /// Where the save leads instead; `None` if to the same place, or if it can't be told.
    pub(crate) elsewhere: Option<Destination>,
    /// Whether the folder has files of another schema.
    pub(crate) mixes_schemas: bool,
}

/// The key of the next object and the time of the next run.
pub(crate) struct NextExport {
    pub(crate) key: String,
    pub(crate) next_run_at: DateTime<Utc>,
}

/// # Errors
/// If the records can't be read.
pub(crate) async fn preview<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    sent: SettingsDraft,
) -> Result<Preview, Problem> {
    let (tenant, now) = (caller.tenant(), app.time());
    let records = app.settings().records(tenant).await?;
    let merged = sent.merge(&records.config.clone().unwrap_or_default());
    let deliveries = Deliveries::from_records(&records).filter(|deliveries| deliveries.is_scheduled);
    let is_known = match merged.check(tenant, &app.deployment().platform, None) {
        Ok(_) => true,
        Err(problem) => !problem.errors().iter().any(|error| DESTINATION.contains(&error.field.as_str())),
    };
    let place = |draft: &Draft| Place::of(tenant, draft);
    // As a save decides whether the present place gets a final delivery.
    let leaves = deliveries.is_some() && records.config.as_ref().and_then(place) != place(&merged.draft);
    let elsewhere = merged.draft.destination().filter(|_| is_known && leaves);
    let mixes_schemas =
        deliveries.is_some() && records.config.as_ref().is_some_and(|saved| mixes(saved, &merged.draft));
    Ok(Preview { next: next_export(app, tenant, &records, merged, now), deliveries, elsewhere, mixes_schemas })
}

/// Whether a save puts files of another schema into the same folder.
fn mixes(saved: &Draft, draft: &Draft) -> bool {
    let schema = |draft: &Draft| Schema::parse(draft.schema.as_deref().unwrap_or_default()).unwrap_or_default();
    let folder = |draft: &Draft| draft.destination().map(|place| (place.bucket, place.prefix));
    schema(saved) != schema(draft) && folder(saved) == folder(draft)
}

/// The fields that say where files go, and how they get there.
const DESTINATION: [&str; 6] = ["bucket", "region", "prefix", "bucketOwner", "encryption", "kmsKeyArn"];

/// Depends on neither bucket, region, encryption nor bucket owner, so these may be missing or wrong.
fn next_export<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    records: &TenantRecords,
    merged: MergedDraft,
    now: DateTime<Utc>,
) -> Result<NextExport, Problem> {
    let deployment = app.deployment();
    if !ConnectorState::from_records(records).is_connected() {
        return Err(connector_required());
    }
    let merged = merged.without_destination(deployment.region);
    let history = merged.history(records, deployment.retention, now);
    let config = merged.check(tenant, &deployment.platform, history.as_ref().err())?;
    let schedule = onboarding::schedule_after_save(records.watermark.as_ref(), history.unwrap_or(None), now)?;
    Ok(NextExport { key: next_key(&config, schedule), next_run_at: next_run(schedule, deployment.settle, now) })
}

fn next_key(config: &TenantConfig, schedule: Schedule) -> String {
    let window = Window { from: schedule.exported_until, to: schedule.next_due };
    ObjectSpec::new(config, window, 1).key
}

/// Checks that the tenant is connected, and the settings have the version that the save is based on.
fn ensure_unchanged<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    IfMatch(given): &IfMatch<'_>,
    records: &TenantRecords,
) -> Result<(), Problem> {
    let state = ConnectorState::from_records(records);
    // Settings that can't be used any more prevent connecting again, so a disconnected tenant may replace them.
    let usable = |draft: &Draft| draft.check(tenant, &app.deployment().platform).is_ok();
    let stuck = state == ConnectorState::Disconnected && !records.config.as_ref().is_some_and(usable);
    if !state.is_connected() && !stuck {
        return Err(connector_required());
    }
    let current = etag(records);
    if given.is_empty() {
        let detail = "Read the settings, and send their ETag back in the header If-Match.";
        return Err(Problem::new(Code::PreconditionRequired, detail));
    }
    let holds = given.iter().map(|it| it.trim()).any(|it| it == "*" || it == current);
    if holds { Ok(()) } else { Err(changed_meanwhile()) }
}

pub(crate) fn etag(records: &TenantRecords) -> String {
    let version = records.config.as_ref().and_then(|config| config.version.as_deref()).unwrap_or("0");
    format!("\"{version}\"")
}

pub(crate) async fn from_records<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    records: &TenantRecords,
) -> Result<Current, Problem> {
    let check = status::last_check(app, tenant, records).await?;
    let Status { state, connector, exported_until, next_run_at, .. } =
        Status::from_records(records, check.as_ref(), app.deployment().settle, app.time());
    let draft = records.config.clone().unwrap_or_default();
    let config = draft.check(tenant, &app.deployment().platform).ok();
    let schedule = records.watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
    let example_key = config.zip(schedule).map(|(config, schedule)| next_key(&config, schedule));
    let body = ExportSettings {
        status: connector.into(),
        settings: StoredSettings::from_draft(draft),
        next_run_at: next_run_at.map(timestamp::seconds),
        exported_until: exported_until.map(timestamp::seconds),
        example_key,
    };
    let start_of_history = StartOfHistory::from_records(records);
    let setup_draft = onboarding::open_setup(records).cloned();
    Ok(Current { body, state: state.into(), start_of_history, setup_draft, etag: etag(records) })
}

impl IntoResponse for Current {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        if let Ok(etag) = HeaderValue::try_from(self.etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }
}

impl StoredSettings {
    /// `None` before the first save, when only a role is connected.
    fn from_draft(draft: Draft) -> Option<Self> {
        let Draft {
            bucket,
            region,
            prefix,
            frequency_hours,
            format,
            compression,
            schema,
            encryption,
            kms_key_arn,
            bucket_owner,
            external_id: _,
            pending_external_id: _,
            role_arn: _,
            event_shards: _,
            version: _,
        } = draft;
        Some(Self {
            bucket: bucket?,
            region: region.unwrap_or_default(),
            prefix: prefix.unwrap_or_default(),
            frequency_hours: frequency_hours.and_then(|hours| hours.parse().ok()).unwrap_or_default(),
            format: format.unwrap_or_else(|| "json".to_owned()),
            compression: compression.unwrap_or_else(|| "none".to_owned()),
            schema: schema.unwrap_or_else(|| "native".to_owned()),
            encryption: encryption.unwrap_or_else(|| "bucket".to_owned()),
            kms_key_arn,
            bucket_owner,
        })
    }
}
