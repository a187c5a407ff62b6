//! The fields of the settings' form: as they were typed, with what is wrong with each.

use audit_log_web::problem::Problem;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    pages::text::sentence,
    settings::{SettingsDraft, StoredSettings},
};

/// The fields as they were typed, by their names in the API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Typed {
    /// The ETag of the settings that the form was filled with.
    pub(super) version: String,
    bucket: String,
    region: String,
    prefix: String,
    frequency_hours: String,
    format: String,
    compression: String,
    kms_key_arn: String,
    bucket_owner: String,
    /// `now` or `date`.
    history: String,
    history_from: String,
}

/// What a field is called on the page.
pub(in crate::pages) fn label(field: &str) -> Option<&'static str> {
    Some(match field {
        "bucket" => "Bucket",
        "region" => "Region",
        "prefix" => "Prefix",
        "frequencyHours" => "Frequency",
        "format" => "Format",
        "compression" => "Compression",
        "kmsKeyArn" => "KMS key",
        "bucketOwner" => "Bucket owner",
        "historyFrom" => "Start of history",
        "roleArn" => "Role ARN",
        _ => return None,
    })
}

impl Typed {
    /// As if what is stored had been typed.
    pub(super) fn of(stored: Option<&StoredSettings>) -> Self {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
        match stored {
            None => Self { frequency_hours: "1".to_owned(), ..Self::default() },
            Some(stored) => Self {
                bucket: stored.bucket.clone(),
                region: stored.region.clone(),
                prefix: stored.prefix.clone(),
                frequency_hours: stored.frequency_hours.to_string(),
                format: stored.format.clone(),
                compression: stored.compression.clone(),
                kms_key_arn: or_none(&stored.kms_key_arn),
                bucket_owner: or_none(&stored.bucket_owner),
                ..Self::default()
            },
        }
    }

    /// The same, filled in from the settings that have this ETag.
    pub(super) fn at(self, etag: &str) -> Self {
        Self { version: etag.to_owned(), ..self }
    }

    /// By name, in the order of the page.
    fn texts(&self) -> [(&'static str, &String); 8] {
        [
            ("bucket", &self.bucket),
            ("region", &self.region),
            ("prefix", &self.prefix),
            ("kmsKeyArn", &self.kms_key_arn),
            ("bucketOwner", &self.bucket_owner),
            ("frequencyHours", &self.frequency_hours),
            ("format", &self.format),
            ("compression", &self.compression),
        ]
    }

    /// The same for the API, whose rules are the only ones.
    pub(super) fn draft(&self) -> SettingsDraft {
        let value = |(name, text): (&'static str, &String)| {
            let text = text.trim();
            let value = match (name, text.parse::<i64>()) {
                ("frequencyHours", Ok(hours)) => Value::from(hours),
                // The API's default is for who leaves it out; here it was there, and somebody has emptied it.
                ("frequencyHours", Err(_)) => Value::from(text),
                (_, _) if text.is_empty() => return None,
                _ => Value::from(text),
            };
            Some((name.to_owned(), value))
        };
        let mut fields: Map<String, Value> = self.texts().into_iter().filter_map(value).collect();
        if self.history == "date" {
            fields.insert("historyFrom".to_owned(), Value::from(self.history_from.trim()));
        }
        SettingsDraft::new(fields)
    }

    /// Where the others are not as typed: what a field is called, and how it is there.
    pub(super) fn differences(&self, others: &Self) -> Vec<(&'static str, String)> {
        let pairs = self.texts().into_iter().zip(others.texts());
        let differing = pairs.filter(|((_, mine), (_, theirs))| mine.trim() != theirs.as_str());
        differing.filter_map(|((name, _), (_, theirs))| Some((label(name)?, theirs.clone()))).collect()
    }
}

/// One field of the form.
pub(super) struct Field {
    pub(super) value: String,
    pub(super) error: Option<String>,
    /// Whether it is the first of the page that is wrong.
    pub(super) first: bool,
}

/// All of them.
pub(super) struct Fields {
    pub(super) bucket: Field,
    pub(super) region: Field,
    pub(super) prefix: Field,
    pub(super) frequency_hours: Field,
    pub(super) format: Field,
    pub(super) compression: Field,
    pub(super) kms_key_arn: Field,
    pub(super) bucket_owner: Field,
    pub(super) history_from: Field,
    pub(super) from_a_date: bool,
}

impl Fields {
    pub(super) fn of(typed: &Typed, problem: Option<&Problem>) -> Self {
        let errors = problem.map(Problem::errors).unwrap_or_default();
        let names = typed.texts().map(|(name, _)| name).into_iter().chain(["historyFrom"]);
        let first = names.into_iter().find(|name| errors.iter().any(|error| error.field == *name));
        let field = |name: &str, value: &String| {
            let of_it = errors.iter().filter(|error| error.field == name);
            let messages: Vec<String> =
                of_it.map(|error| sentence(label(name).unwrap_or(name), &error.message)).collect();
            let error = (!messages.is_empty()).then(|| messages.join(" "));
            Field { value: value.clone(), error, first: first == Some(name) }
        };
        Self {
            bucket: field("bucket", &typed.bucket),
            region: field("region", &typed.region),
            prefix: field("prefix", &typed.prefix),
            frequency_hours: field("frequencyHours", &typed.frequency_hours),
            format: field("format", &typed.format),
            compression: field("compression", &typed.compression),
            kms_key_arn: field("kmsKeyArn", &typed.kms_key_arn),
            bucket_owner: field("bucketOwner", &typed.bucket_owner),
            history_from: field("historyFrom", &typed.history_from),
            from_a_date: typed.history == "date",
        }
    }

    /// Whether what is rarely needed has to be looked at.
    pub(super) fn advanced(&self) -> bool {
        [&self.kms_key_arn, &self.bucket_owner]
            .into_iter()
            .any(|field| !field.value.is_empty() || field.error.is_some())
    }
}
