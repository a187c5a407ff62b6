//! Settings as they are sent. All wrong fields are named at once.

use audit_log_core::{
    onboarding::StartOfHistory,
    records::TenantRecords,
    settings::{Draft, TenantConfig},
    setup_draft::SetupDraft,
    tenant::{Platform, Region, TenantId},
};
use audit_log_web::problem::{FieldProblem, Problem};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::problems::{camel_case, invalid, invalid_fields};

/// The oldest start of the history, even if events are kept forever.
const MAX_HISTORY: TimeDelta = TimeDelta::days(10 * 365);

/// The oldest events would be deleted before such a long backlog is exported.
const RETENTION_MARGIN: TimeDelta = TimeDelta::days(1);

/// The settings as a JSON object. Values may have any type, so that all wrong ones can be named at once.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SettingsDraft(Map<String, Value>);

/// Where, in which format and how often a tenant's logs are exported.
#[derive(ToSchema)]
#[schema(as = SettingsDraft)]
#[allow(dead_code, reason = "only its schema is used")]
struct Properties {
    /// The bucket's name. Capitals, underscores and more than 63 characters are accepted in us-east-1 alone, where buckets
    /// from before March 2018 may have them.
    #[schema(example = "acme-audit-logs", pattern = "^[A-Za-z0-9._-]{3,255}$")]
    bucket: String,
    /// The bucket's region.
    #[schema(example = "eu-west-1", pattern = "^[a-z]{2,4}(-[a-z]+){1,2}-[0-9]$")]
    region: String,
    /// The folder in the bucket. May be left out.
    #[schema(example = "security", max_length = 256, pattern = "^[A-Za-z0-9!_.'()/-]*$")]
    prefix: Option<String>,
    /// Hours from one export to the next; 1 if left out.
    #[schema(rename = "frequencyHours", minimum = 1, maximum = 24, default = 1)]
    frequency_hours: Option<i64>,
    /// `json` is one array. `ndjson` is one event per line, for query engines and SIEMs, which read each line as an event.
    /// `json` if left out.
    #[schema(example = "json", pattern = "^(json|ndjson)$")]
    format: Option<String>,
    /// `none` if left out.
    #[schema(example = "none", pattern = "^(none|gzip)$")]
    compression: Option<String>,
    /// `native`: events as they were recorded. `ocsf`: events of OCSF 1.8.0. A place with files of one schema should not get
    /// those of another: change the prefix, too. `native` if left out.
    #[schema(example = "native", pattern = "^(native|ocsf)$")]
    schema: Option<String>,
    /// `bucket`: S3 encrypts by the bucket's default. `sse-s3`: each write asks for `AES256`. `sse-kms`: each write asks
    /// for `aws:kms` with the key `kmsKeyArn`. `bucket` if left out.
    #[schema(example = "bucket", pattern = "^(bucket|sse-s3|sse-kms)$")]
    encryption: Option<String>,
    /// A KMS key in the bucket's region. Required with `sse-kms`, refused with `sse-s3`. With `bucket`, the key that the
    /// bucket encrypts with by default.
    #[schema(rename = "kmsKeyArn", pattern = "^arn:aws(-[a-z]+)*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]{1,64}$")]
    kms_key_arn: Option<String>,
    /// The account that owns the bucket, if it isn't the role's.
    #[schema(rename = "bucketOwner", pattern = "^[0-9]{12}$")]
    bucket_owner: Option<String>,
    /// Start of the history: a date (its first instant in UTC) or an instant by RFC 3339. If left out, the time of the first save.
    /// Can't be changed after the first export.
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

/// The fields that were sent, and the stored ones that no admin sets.
pub(crate) struct MergedDraft {
    pub(crate) draft: Draft,
    history_from: Option<String>,
    errors: Vec<FieldProblem>,
}

impl SettingsDraft {
    /// For fields of an HTML form.
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self(fields)
    }

    /// What a setup has typed.
    pub(crate) fn from_setup(typed: &SetupDraft) -> Self {
        let value = |(name, text): (&str, &str)| match (name, text.parse::<i64>()) {
            ("create_bucket", _) => None,
            ("frequency_hours", Ok(hours)) => Some((camel_case(name), Value::from(hours))),
            _ => Some((camel_case(name), Value::from(text))),
        };
        Self(typed.fields().into_iter().filter_map(value).collect())
    }

    /// Takes the fields that no admin sets from what is stored.
    pub(crate) fn merge(self, stored: &Draft) -> MergedDraft {
        let mut fields = FieldReader { sent: self.0, errors: Vec::new() };
        let draft = Draft {
            external_id: stored.external_id.clone(),
            pending_external_id: stored.pending_external_id.clone(),
            role_arn: stored.role_arn.clone(),
            event_shards: stored.event_shards.clone(),
            version: stored.version.clone(),
            bucket: fields.text("bucket"),
            region: fields.text("region"),
            prefix: fields.text("prefix"),
            frequency_hours: Some(fields.number("frequencyHours").unwrap_or_else(|| "1".to_owned())),
            format: fields.text("format"),
            compression: fields.text("compression"),
            schema: fields.text("schema"),
            encryption: fields.text("encryption"),
            kms_key_arn: fields.text("kmsKeyArn"),
            bucket_owner: fields.text("bucketOwner"),
        };
        let history_from = fields.text("historyFrom");
        let errors = fields.finish();
        MergedDraft { draft, history_from, errors }
    }
}

/// Takes field after field out of what was sent, and collects errors.
struct FieldReader {
    sent: Map<String, Value>,
    errors: Vec<FieldProblem>,
}

impl FieldReader {
    fn fail(&mut self, field: &str, message: &str) {
        self.errors.push(FieldProblem { field: field.to_owned(), message: message.to_owned() });
    }

    fn text(&mut self, field: &str) -> Option<String> {
        match self.sent.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => {
                self.fail(field, "must be a text");
                None
            }
        }
    }

    fn number(&mut self, field: &str) -> Option<String> {
        match self.sent.remove(field) {
            None | Some(Value::Null) => None,
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) => {
                self.fail(field, "must be a whole number from 1 to 24");
                None
            }
        }
    }

    /// Refuses all fields that are left.
    fn finish(mut self) -> Vec<FieldProblem> {
        const MAX_NAME_CHARS: usize = 60;
        const MAX_NAMES: usize = 20;
        let unknown: Vec<String> = self.sent.keys().map(|name| name.chars().take(MAX_NAME_CHARS).collect()).collect();
        for name in unknown.iter().take(MAX_NAMES) {
            self.fail(name, "is not a field of the settings");
        }
        self.errors
    }
}

impl MergedDraft {
    /// Replaces the fields that neither keys nor schedule depend on.
    pub(crate) fn without_destination(self, region: Region) -> Self {
        let (bucket, region) = (Some("any".to_owned()), Some(region.to_string()));
        let draft = Draft { bucket, region, encryption: None, kms_key_arn: None, bucket_owner: None, ..self.draft };
        Self { draft, ..self }
    }

    /// # Errors
    /// Names all wrong fields, and `history` as the error of `historyFrom`.
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
        match checked.map_err(invalid_fields) {
            Ok(config) if errors.is_empty() => Ok(config),
            Ok(_) => {
                Err(errors.into_iter().fold(invalid(), |problem, error| problem.field(error.field, error.message)))
            }
            // A field of the wrong type is also missing. One error is enough.
            Err(problem) => {
                Err(errors.into_iter().fold(problem, |problem, error| match named(&problem, &error.field) {
                    true => problem,
                    false => problem.field(error.field, error.message),
                }))
            }
        }
    }

    /// What a setup keeps of these fields.
    pub(crate) fn to_setup(&self, create_bucket: bool) -> SetupDraft {
        SetupDraft { settings: self.draft.clone(), history_from: self.history_from.clone(), create_bucket }
    }

    /// The start of the history; `None` is the time of the first save.
    ///
    /// # Errors
    /// A message about `historyFrom`.
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
        let from =
            from.map_err(|_| "must be a date like 2026-11-01, or an instant like 2026-11-01T08:00:00Z".to_owned())?;
        match StartOfHistory::from_records(records) {
            StartOfHistory::Open => {}
            StartOfHistory::Leased => {
                return Err("can't be changed while an export is running: try again in an hour".to_owned());
            }
            StartOfHistory::Fixed => return Err("can't be changed after the first export".to_owned()),
        }
        let longest = retention.map_or(MAX_HISTORY, |retention| retention - RETENTION_MARGIN);
        if from > now {
            return Err("must not be in the future".to_owned());
        }
        if from < now - longest {
            return Err(format!("must be at most {} days ago: older events are not kept", longest.num_days()));
        }
        Ok(Some(from))
    }
}
