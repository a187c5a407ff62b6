//! Where and how often a tenant's logs are exported.

mod draft;

use audit_log_core::{
    object::ObjectSpec,
    onboarding::{self, ConnectorState},
    ports::{Conditional, Settings as _},
    records::TenantRecords,
    schedule::{Schedule, Window},
    settings::{Draft, FieldErrors, TenantConfig},
    status::{Status, next_run},
    tenant::TenantId,
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
    verification::{self, Purpose},
};
pub(crate) use draft::Optional;
pub use draft::SettingsDraft;

/// The export settings as they are stored, and what follows from them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportSettings {
    /// How far the tenant has come.
    pub(crate) status: ConnectorStatus,
    /// The settings; null until they are saved for the first time.
    pub(crate) settings: Option<StoredSettings>,
    /// When the next export runs; null if none is scheduled.
    pub(crate) next_run_at: Option<String>,
    /// All events recorded before this are in the bucket; before the first export, where history begins.
    pub(crate) exported_until: Option<String>,
    /// The key of the next object.
    pub(crate) example_key: Option<String>,
}

/// The settings, and by which version they go.
pub(crate) struct Current {
    pub(crate) body: ExportSettings,
    pub(crate) etag: String,
}

/// The fields of the settings, as they are stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredSettings {
    pub(crate) bucket: String,
    pub(crate) region: String,
    pub(crate) prefix: String,
    pub(crate) frequency_hours: i64,
    pub(crate) format: String,
    pub(crate) compression: String,
    pub(crate) kms_key_arn: Option<String>,
    pub(crate) bucket_owner: Option<String>,
}

/// The settings. The header `ETag` names their version; a save has to bring it along.
#[utoipa::path(get, path = "/v1/export-settings", operation_id = "getExportSettings", tag = "Export settings",
    responses((status = 200, description = "The settings", body = ExportSettings,
        headers(("ETag" = String, description = "The settings' version")))))]
pub(crate) async fn read<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    caller: Caller<Admin>,
) -> Result<Current, Problem> {
    current(&app, &caller).await
}

/// The settings as they are now.
pub(crate) async fn current<B: Backend>(app: &App<B>, caller: &Caller<Admin>) -> Result<Current, Problem> {
    let records = app.settings().records(caller.tenant()).await?;
    Ok(show(app, caller.tenant(), &records))
}

/// Saves the settings and schedules the next export, once the role has been seen to let in the platform and nobody else.
/// Saving again never loses or repeats an event: what waits to be exported keeps its windows.
#[utoipa::path(put, path = "/v1/export-settings", operation_id = "saveExportSettings", tag = "Export settings",
    request_body = SettingsDraft,
    params(("If-Match" = String, Header, description = "The ETag of the settings that the change is based on, or `*`")),
    responses(
        (status = 200, description = "They are saved", body = ExportSettings,
            headers(("ETag" = String, description = "The settings' new version"))),
        (status = 409, description = "No role is connected", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "Somebody else saved in between", body = Problem,
            content_type = "application/problem+json"),
        (status = 422, description = "Fields can't be used, each is named; or the role can't", body = Problem,
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
    store(&app, &caller, &BasedOn(given.flat_map(|value| value.split(',')).collect()), sent).await
}

/// Saves settings over the version that they are based on.
pub(crate) async fn store<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    based_on: &BasedOn<'_>,
    sent: SettingsDraft,
) -> Result<Current, Problem> {
    let tenant = caller.tenant();
    let mut records = app.settings().records(tenant).await?;
    demand_unchanged(app, tenant, based_on, &records)?;
    let stored = records.config.clone().unwrap_or_default();
    let filled = sent.onto(&stored);
    let history = filled.history(&records, app.deployment().retention, app.time());
    let config = filled.check(tenant, &app.deployment().platform, history.as_ref().err())?;
    let history = history.unwrap_or(None);
    verification::demand_trust(app, caller, stored.clone(), Purpose::Save).await?;
    for _ in 0..MAX_ATTEMPTS {
        let change = app.change(caller)?;
        let saved = onboarding::save(app.settings(), &records, &config, history, &change).await?;
        if saved == Conditional::Written {
            tracing::info!(tenant = %tenant, version = config.version + 1, "settings were saved");
            let ((), records) = tokio::join!(app.request_publishing(tenant), app.settings().records(tenant));
            return Ok(show(app, tenant, &records?));
        }
        // An export may have moved the watermark; only if somebody saved or disconnected is it over.
        records = app.settings().records(tenant).await?;
        demand_unchanged(app, tenant, based_on, &records)?;
        if records.config.as_ref() != Some(&stored) {
            break;
        }
    }
    Err(changed_meanwhile())
}

/// The versions, by their ETags, that a save may be based on; `*` is any. By RFC 9110, section 13.1.1.
pub(crate) struct BasedOn<'a>(pub(crate) Vec<&'a str>);

/// What the next object would be called, and when it would be stored, if these settings were saved now.
pub(crate) struct Preview {
    pub(crate) key: String,
    pub(crate) next_run_at: DateTime<Utc>,
}

/// Looks ahead without saving. Bucket, region, key and owner play no role in it, so they may still be missing.
pub(crate) async fn preview<B: Backend>(
    app: &App<B>,
    caller: &Caller<Admin>,
    sent: SettingsDraft,
) -> Result<Preview, Problem> {
    let (tenant, now, deployment) = (caller.tenant(), app.time(), app.deployment());
    let records = app.settings().records(tenant).await?;
    if !ConnectorState::of(&records).is_connected() {
        return Err(connector_required());
    }
    let filled = sent.onto(&records.config.clone().unwrap_or_default()).anywhere(deployment.region);
    let history = filled.history(&records, deployment.retention, now);
    let config = filled.check(tenant, &deployment.platform, history.as_ref().err())?;
    let schedule = onboarding::schedule_after_save(records.watermark.as_ref(), history.unwrap_or(None), now)?;
    Ok(Preview { key: next_key(&config, schedule), next_run_at: next_run(schedule, deployment.settle, now) })
}

fn next_key(config: &TenantConfig, schedule: Schedule) -> String {
    let window = Window { from: schedule.exported_until, to: schedule.next_due };
    ObjectSpec::new(config, window, 1).key
}

/// That the tenant is connected, and the settings are at the version that the change is based on.
fn demand_unchanged<B: Backend>(
    app: &App<B>,
    tenant: &TenantId,
    BasedOn(given): &BasedOn<'_>,
    records: &TenantRecords,
) -> Result<(), Problem> {
    let state = ConnectorState::of(records);
    // Whoever was disconnected and has settings that can't be used any more, can't be connected with them either.
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

fn etag(records: &TenantRecords) -> String {
    let version = records.config.as_ref().and_then(|config| config.version.as_deref()).unwrap_or("0");
    format!("\"{version}\"")
}

pub(crate) fn changed_meanwhile() -> Problem {
    Problem::new(Code::ChangedMeanwhile, "Somebody else changed it in the meantime. Read it again, and decide anew.")
}

pub(crate) fn connector_required() -> Problem {
    let detail =
        "Connect a role first: its ARN, with PUT /v1/connector. Without one there is nothing to export through.";
    Problem::new(Code::ConnectorRequired, detail)
}

/// What is wrong with fields, by their names in this API.
pub(crate) fn problem_of(FieldErrors(errors): FieldErrors) -> Problem {
    let problem = Problem::new(Code::InvalidFields, "Correct the fields named here and send them again.");
    errors.into_iter().fold(problem, |problem, error| problem.field(camel_case(error.field), error.message))
}

/// `frequency_hours` as `frequencyHours`.
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (head, tail) = word.split_at(word.len().min(1));
        name + &head.to_ascii_uppercase() + tail
    })
}

fn show<B: Backend>(app: &App<B>, tenant: &TenantId, records: &TenantRecords) -> Current {
    let Status { state, exported_until, next_run_at, .. } = Status::of(records, app.deployment().settle, app.time());
    let draft = records.config.clone().unwrap_or_default();
    let config = draft.check(tenant, &app.deployment().platform).ok();
    let schedule = records.watermark.as_ref().and_then(|watermark| watermark.schedule().ok());
    let example_key = config.zip(schedule).map(|(config, schedule)| next_key(&config, schedule));
    let body = ExportSettings {
        status: state.into(),
        settings: StoredSettings::of(draft),
        next_run_at: next_run_at.map(timestamp::seconds),
        exported_until: exported_until.map(timestamp::seconds),
        example_key,
    };
    Current { body, etag: etag(records) }
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
    /// Of a config that was saved once; none of one that has a role at most.
    fn of(draft: Draft) -> Option<Self> {
        Some(Self {
            bucket: draft.bucket?,
            region: draft.region.unwrap_or_default(),
            prefix: draft.prefix.unwrap_or_default(),
            frequency_hours: draft.frequency_hours.and_then(|hours| hours.parse().ok()).unwrap_or_default(),
            format: draft.format.unwrap_or_else(|| "json".to_owned()),
            compression: draft.compression.unwrap_or_else(|| "none".to_owned()),
            kms_key_arn: draft.kms_key_arn,
            bucket_owner: draft.bucket_owner,
        })
    }
}
