//! Settings as they are sent: every field is looked at, and all that is wrong is said at once.

use audit_log_core::{
    records::TenantRecords,
    settings::{Draft, TenantConfig},
    tenant::{Platform, Region, TenantId},
};
use audit_log_web::{
    body::Json,
    problem::{Code, FieldProblem, Problem},
};
use axum::extract::{FromRequest, Request};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use http::header;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::problem_of;

/// History reaches no further back than that, even where events are kept for ever.
const MAX_HISTORY: TimeDelta = TimeDelta::days(10 * 365);

/// Windows at the very edge of the retention would be too old by the time that a backlog of that length is caught up.
const RETENTION_MARGIN: TimeDelta = TimeDelta::days(1);

/// The settings as a JSON object, each value of any type: a wrong one is named beside the others, and not alone.
#[derive(Debug, Clone, Deserialize)]
pub struct SettingsDraft(Map<String, Value>);

/// Where, in which form and how often a tenant's logs are exported.
#[derive(ToSchema)]
#[schema(as = SettingsDraft)]
#[allow(dead_code, reason = "only its schema is used")]
struct Properties {
    /// The bucket's name.
    #[schema(example = "acme-audit-logs", pattern = "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    bucket: String,
    /// The bucket's region.
    #[schema(example = "eu-west-1", pattern = "^[a-z]{2}(-[a-z]+){1,2}-[0-9]$")]
    region: String,
    /// The folder in the bucket under which everything goes; may be left out.
    #[schema(example = "security", max_length = 256, pattern = "^[A-Za-z0-9!_.'()/-]*$")]
    prefix: Option<String>,
    /// How often, in hours; 1 if left out.
    #[schema(rename = "frequencyHours", minimum = 1, maximum = 24, default = 1)]
    frequency_hours: Option<i64>,
    /// One JSON array, one event a line; or one event a line. `json` if left out.
    #[schema(example = "json", pattern = "^(json|ndjson)$")]
    format: Option<String>,
    /// Not at all, or as gzip. `none` if left out.
    #[schema(example = "none", pattern = "^(none|gzip)$")]
    compression: Option<String>,
    /// The key for SSE-KMS, in the bucket's region; without one, the bucket's default applies.
    #[schema(
        rename = "kmsKeyArn",
        pattern = "^arn:aws(-cn|-us-gov)?:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}$"
    )]
    kms_key_arn: Option<String>,
    /// The account that the bucket belongs to, where it isn't the role's.
    #[schema(rename = "bucketOwner", pattern = "^[0-9]{12}$")]
    bucket_owner: Option<String>,
    /// Where the first export begins: a date (its first instant in UTC) or an instant by RFC 3339; the moment of the save
    /// if left out. Only for the first save.
    #[schema(rename = "historyFrom", example = "2026-11-01")]
    history_from: Option<String>,
}

impl PartialSchema for SettingsDraft {
    fn schema() -> RefOr<Schema> {
        Properties::schema()
    }
}

impl ToSchema for SettingsDraft {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Properties::schemas(schemas);
    }
}

/// What was sent, over what is stored.
pub(crate) struct Filled {
    pub(crate) draft: Draft,
    history_from: Option<String>,
    errors: Vec<FieldProblem>,
}

impl SettingsDraft {
    /// Of fields that came otherwise than as JSON.
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// The role, the external ID and what else no admin sets come from the stored record; all other fields from what was
    /// sent.
    pub(crate) fn onto(self, stored: &Draft) -> Filled {
        let mut fields = Fields { sent: self.0, errors: Vec::new() };
        let draft = Draft {
            external_id: stored.external_id.clone(),
            role_arn: stored.role_arn.clone(),
            event_shards: stored.event_shards.clone(),
            version: stored.version.clone(),
            bucket: fields.text("bucket"),
            region: fields.text("region"),
            prefix: fields.text("prefix"),
            frequency_hours: Some(fields.number("frequencyHours").unwrap_or_else(|| "1".to_owned())),
            format: fields.text("format"),
            compression: fields.text("compression"),
            kms_key_arn: fields.text("kmsKeyArn"),
            bucket_owner: fields.text("bucketOwner"),
        };
        let history_from = fields.text("historyFrom");
        let errors = fields.and_no_others();
        Filled { draft, history_from, errors }
    }
}

/// The fields that were not looked at yet.
struct Fields {
    sent: Map<String, Value>,
    errors: Vec<FieldProblem>,
}

impl Fields {
    fn fail(&mut self, field: &str, message: &str) {
        self.errors.push(FieldProblem { field: field.to_owned(), message: message.to_owned() });
    }

    fn text(&mut self, field: &str) -> Option<String> {
        match self.sent.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fail(field, "is a text");
                None
            }
        }
    }

    fn number(&mut self, field: &str) -> Option<String> {
        match self.sent.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => {
                self.fail(field, "is a whole number from 1 to 24");
                None
            }
        }
    }

    fn and_no_others(mut self) -> Vec<FieldProblem> {
        /// As much of a name as is said again, in characters.
        const MAX_NAME: usize = 60;
        let unknown: Vec<String> = self.sent.keys().map(|name| name.chars().take(MAX_NAME).collect()).collect();
        for name in unknown.iter().take(20) {
            self.fail(name, "is not a field of the settings");
        }
        self.errors
    }
}

impl Filled {
    /// The same for whoever only asks when and under which keys: it doesn't matter to that in which bucket it is.
    pub(super) fn anywhere(self, region: Region) -> Self {
        let (bucket, region) = (Some("any".to_owned()), Some(region.to_string()));
        Self { draft: Draft { bucket, region, kms_key_arn: None, bucket_owner: None, ..self.draft }, ..self }
    }

    /// Checks every field.
    ///
    /// # Errors
    /// All that is wrong, `history` included.
    pub(crate) fn check(
        &self,
        tenant: &TenantId,
        platform: &Platform,
        history: Option<&String>,
    ) -> Result<TenantConfig, Problem> {
        let checked = self.draft.check(tenant, platform);
        let history = history.map(|message| FieldProblem { field: "historyFrom".to_owned(), message: message.clone() });
        let errors: Vec<FieldProblem> = self.errors.iter().cloned().chain(history).collect();
        let named = |problem: &Problem, field: &str| problem.errors().iter().any(|error| error.field == field);
        match checked.map_err(problem_of) {
            Ok(config) if errors.is_empty() => Ok(config),
            Ok(_) => {
                let problem = Problem::new(Code::InvalidFields, "Correct the fields named here and send them again.");
                Err(errors.into_iter().fold(problem, |problem, error| problem.field(error.field, error.message)))
            }
            // A field of the wrong type is also missing; the one is enough.
            Err(problem) => {
                Err(errors.into_iter().fold(problem, |problem, error| match named(&problem, &error.field) {
                    true => problem,
                    false => problem.field(error.field, error.message),
                }))
            }
        }
    }

    /// Where the first export begins, if not at the save.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn history(
        &self,
        records: &TenantRecords,
        retention: Option<TimeDelta>,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, String> {
        let Some(text) = self.history_from.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let date = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        let instant = DateTime::parse_from_rfc3339(text).map(|instant| instant.to_utc());
        let from = text.parse().map(date).or(instant);
        let from = from.map_err(|_| "is a date like 2026-11-01, or an instant like 2026-11-01T08:00:00Z".to_owned())?;
        if records.watermark.is_some() {
            return Err("can only be chosen with the first save: what was exported stays exported".to_owned());
        }
        let longest = retention.map_or(MAX_HISTORY, |retention| retention - RETENTION_MARGIN);
        if from > now {
            return Err("lies in the future".to_owned());
        }
        if from < now - longest {
            return Err(format!("lies more than {} days back, and such old events are not kept", longest.num_days()));
        }
        Ok(Some(from))
    }
}

/// A body that may be missing.
pub(crate) struct Optional<T>(pub(crate) Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Optional<T> {
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
