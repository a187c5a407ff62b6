//! The fields of the settings form: their labels, what was typed, and what is wrong with each.

use askama::Template;
use audit_log_core::{
    onboarding::StartOfHistory,
    setup_draft::SetupDraft,
    tenant::{Platform, Region},
};
use audit_log_web::problem::Problem;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::text::{When, sentence};
use crate::{
    draft::SettingsDraft,
    settings::{Current, StoredSettings},
};

/// What was typed, by the fields' names in the API.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SettingsForm {
    /// The ETag of the settings that the form was filled with.
    pub(super) version: String,
    bucket: String,
    region: String,
    prefix: String,
    frequency_hours: String,
    format: String,
    compression: String,
    schema: String,
    encryption: String,
    kms_key_arn: String,
    bucket_owner: String,
    /// `now` or `date`.
    history: String,
    history_from: String,
    /// Not blank: save although a verification did not pass.
    anyway: String,
    /// Not blank: the stack makes the bucket. Of a setup.
    create_bucket: String,
}

/// The label of a field of any form. `None` for hidden fields and for choices between fields.
pub(super) fn label(field: &str) -> Option<&'static str> {
    Some(match field {
        "bucket" => "Bucket",
        "region" => "Region",
        "prefix" => "Prefix",
        "frequencyHours" => "Frequency",
        "format" => "Format",
        "compression" => "Compression",
        "schema" => "Schema",
        "encryption" => "Encryption",
        "kmsKeyArn" => "KMS key",
        "bucketOwner" => "Bucket owner",
        "historyFrom" => "Start of history",
        "roleArn" => "Role ARN",
        _ => return None,
    })
}

impl SettingsForm {
    /// The form filled with what is saved or, before the first save, with what a setup has typed.
    pub(super) fn from_current(current: &Current) -> Self {
        let typed = current.setup_draft.as_ref().filter(|_| current.body.settings.is_none());
        match typed {
            Some(typed) => Self { version: current.etag.clone(), ..Self::from_setup(typed) },
            None => Self::from_stored(current.body.settings.as_ref(), &current.etag),
        }
    }

    /// The form filled with what is stored, at its version.
    pub(super) fn from_stored(stored: Option<&StoredSettings>, etag: &str) -> Self {
        let version = etag.to_owned();
        let Some(stored) = stored else {
            return Self { version, ..Self::blank() };
        };
        let StoredSettings {
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
        } = stored.clone();
        Self {
            version,
            bucket,
            region,
            prefix,
            frequency_hours: frequency_hours.to_string(),
            format,
            compression,
            schema,
            encryption,
            kms_key_arn: kms_key_arn.unwrap_or_default(),
            bucket_owner: bucket_owner.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// The form of a setup in which nothing was typed yet.
    pub(super) fn blank() -> Self {
        Self { frequency_hours: "1".to_owned(), ..Self::default() }
    }

    /// The form filled with what a setup has typed.
    pub(super) fn from_setup(SetupDraft { settings, history_from, create_bucket }: &SetupDraft) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self {
            bucket: text(&settings.bucket),
            region: text(&settings.region),
            prefix: text(&settings.prefix),
            frequency_hours: settings.frequency_hours.clone().unwrap_or_else(|| "1".to_owned()),
            format: text(&settings.format),
            compression: text(&settings.compression),
            schema: text(&settings.schema),
            encryption: text(&settings.encryption),
            kms_key_arn: text(&settings.kms_key_arn),
            bucket_owner: text(&settings.bucket_owner),
            history: if history_from.is_some() { "date".to_owned() } else { String::new() },
            history_from: text(history_from),
            create_bucket: if *create_bucket { "yes".to_owned() } else { String::new() },
            ..Self::default()
        }
    }

    pub(super) fn saves_anyway(&self) -> bool {
        !self.anyway.is_empty()
    }

    pub(super) fn creates_bucket(&self) -> bool {
        !self.create_bucket.is_empty()
    }

    /// The settings by name, in the order of the page.
    fn settings(&self) -> [(&'static str, &String); 10] {
        let Self {
            bucket,
            region,
            prefix,
            encryption,
            kms_key_arn,
            bucket_owner,
            frequency_hours,
            format,
            compression,
            schema,
            version: _,
            history: _,
            history_from: _,
            anyway: _,
            create_bucket: _,
        } = self;
        [
            ("bucket", bucket),
            ("region", region),
            ("prefix", prefix),
            ("encryption", encryption),
            ("kmsKeyArn", kms_key_arn),
            ("bucketOwner", bucket_owner),
            ("frequencyHours", frequency_hours),
            ("format", format),
            ("compression", compression),
            ("schema", schema),
        ]
    }

    /// As the API takes it: its rules are the only ones.
    pub(super) fn draft(&self) -> SettingsDraft {
        let value = |(name, text): (&'static str, &String)| {
            let text = text.trim();
            let value = match (name, text.parse::<i64>()) {
                ("frequencyHours", Ok(hours)) => Value::from(hours),
                // A blank field is an error here. The API's default is for a field that is left out.
                ("frequencyHours", Err(_)) => Value::from(text),
                (_, _) if text.is_empty() => return None,
                _ => Value::from(text),
            };
            Some((name.to_owned(), value))
        };
        let mut fields: Map<String, Value> = self.settings().into_iter().filter_map(value).collect();
        if self.history == "date" {
            fields.insert("historyFrom".to_owned(), Value::from(self.history_from.trim()));
        }
        SettingsDraft::new(fields)
    }

    /// Labels and values of the stored settings that differ from what was typed.
    pub(super) fn differences(&self, stored: &Self) -> Vec<(&'static str, String)> {
        let pairs = self.settings().into_iter().zip(stored.settings());
        let differing = pairs.filter(|((_, typed), (_, stored))| typed.trim() != stored.as_str());
        differing.filter_map(|((name, _), (_, stored))| Some((label(name)?, stored.clone()))).collect()
    }
}

/// A field as the template shows it.
pub(super) struct Field {
    pub(super) value: String,
    pub(super) error: Option<String>,
    /// Whether it is the first wrong one of the page, which gets the focus.
    pub(super) first: bool,
}

/// The fields of settings, in the forms of the settings and of the setup.
#[derive(Template)]
#[template(path = "settings-fields.html")]
pub(super) struct SettingsFields {
    pub(super) enabled: bool,
    pub(super) fields: Fields,
    pub(super) regions: Vec<&'static str>,
    /// None if the start of the history is fixed.
    pub(super) history: Option<HistoryView>,
    /// Whether the stack makes the bucket. Only a setup asks.
    pub(super) create_bucket: Option<bool>,
}

pub(super) struct HistoryView {
    /// Where it begins as saved.
    pub(super) begins: Option<When>,
}

impl SettingsFields {
    /// Enabled, and without a bucket to be made.
    pub(super) fn new(platform: &Platform, current: &Current, form: &SettingsForm, problem: Option<&Problem>) -> Self {
        Self {
            enabled: true,
            fields: Fields::new(form, problem),
            regions: regions(platform),
            history: (current.start_of_history != StartOfHistory::Fixed)
                .then(|| HistoryView { begins: current.body.exported_until.as_deref().map(When::minute) }),
            create_bucket: None,
        }
    }
}

/// The regions to choose from.
fn regions(platform: &Platform) -> Vec<&'static str> {
    Region::all().filter(|region| region.partition() == platform.partition).map(Region::as_str).collect()
}

pub(super) struct Fields {
    pub(super) bucket: Field,
    pub(super) region: Field,
    pub(super) prefix: Field,
    pub(super) frequency_hours: Field,
    pub(super) format: Field,
    pub(super) compression: Field,
    pub(super) schema: Field,
    pub(super) encryption: Field,
    pub(super) kms_key_arn: Field,
    pub(super) bucket_owner: Field,
    pub(super) history_from: Field,
    pub(super) from_a_date: bool,
}

impl Fields {
    pub(super) fn new(form: &SettingsForm, problem: Option<&Problem>) -> Self {
        let errors = problem.map(Problem::errors).unwrap_or_default();
        let names = form.settings().map(|(name, _)| name).into_iter().chain(["historyFrom"]);
        let first = names.into_iter().find(|name| errors.iter().any(|error| error.field == *name));
        let field = |name: &str, value: &String| {
            let messages: Vec<String> = errors
                .iter()
                .filter(|error| error.field == name)
                .map(|error| sentence(label(name).unwrap_or(name), &error.message))
                .collect();
            let error = (!messages.is_empty()).then(|| messages.join(" "));
            Field { value: value.clone(), error, first: first == Some(name) }
        };
        Self {
            bucket: field("bucket", &form.bucket),
            region: field("region", &form.region),
            prefix: field("prefix", &form.prefix),
            frequency_hours: field("frequencyHours", &form.frequency_hours),
            format: field("format", &form.format),
            compression: field("compression", &form.compression),
            schema: field("schema", &form.schema),
            encryption: field("encryption", &form.encryption),
            kms_key_arn: field("kmsKeyArn", &form.kms_key_arn),
            bucket_owner: field("bucketOwner", &form.bucket_owner),
            history_from: field("historyFrom", &form.history_from),
            from_a_date: form.history == "date",
        }
    }

    /// Whether the advanced fields are shown open.
    pub(super) fn advanced(&self) -> bool {
        let defaults = [(&self.encryption, "bucket"), (&self.kms_key_arn, ""), (&self.bucket_owner, "")];
        let is_shown = |(field, default): (&Field, &str)| {
            field.error.is_some() || !(field.value.is_empty() || field.value == default)
        };
        defaults.into_iter().any(is_shown)
    }
}

#[cfg(test)]
mod tests {
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn every_setting_has_a_label_and_a_form_field() {
        let schema = serde_json::to_value(<SettingsDraft as PartialSchema>::schema()).unwrap();
        let template = include_str!("../../templates/settings-fields.html");
        for setting in schema["properties"].as_object().unwrap().keys() {
            assert!(label(setting).is_some(), "{setting} has no label");
            let fields = [format!("m::text(\"{setting}\","), format!("name=\"{setting}\"")];
            assert!(fields.iter().any(|field| template.contains(field)), "{setting} is not in the form");
        }
    }
}
