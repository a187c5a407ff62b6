//! What an admin has typed in a setup that isn't finished: kept beside the settings, until these are saved.

use crate::{
    failure::{Code, Failure, Party},
    settings::Draft,
};

/// The most bytes of a field. No setting may have as many.
const MAX_FIELD_BYTES: usize = 1024;

/// Unchecked, as typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SetupDraft {
    /// Where files go and how they are made. Neither role nor external IDs: those are not typed in a setup, or are saved at once.
    pub settings: Draft,
    /// A date or an instant; none is the time at which the setup is finished.
    pub history_from: Option<String>,
    /// Whether the stack of the role makes the bucket, too.
    pub create_bucket: bool,
}

impl SetupDraft {
    /// Returns the fields that are filled in, by their names in the table.
    pub fn fields(&self) -> Vec<(&'static str, &str)> {
        // Without `..`, so that a new setting does not compile until it is kept or left out.
        let Self {
            settings:
                Draft {
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
                },
            history_from,
            create_bucket,
        } = self;
        let fields = [
            ("bucket", bucket),
            ("region", region),
            ("prefix", prefix),
            ("frequency_hours", frequency_hours),
            ("format", format),
            ("compression", compression),
            ("schema", schema),
            ("encryption", encryption),
            ("kms_key_arn", kms_key_arn),
            ("bucket_owner", bucket_owner),
            ("history_from", history_from),
        ];
        let filled = fields.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
        let mut filled: Vec<_> = filled.filter(|(_, text)| !text.is_empty()).collect();
        if *create_bucket {
            filled.push(("create_bucket", "true"));
        }
        filled
    }

    /// The reverse of [`SetupDraft::fields`].
    pub fn from_fields(field: impl Fn(&str) -> Option<String>) -> Self {
        let settings = Draft {
            bucket: field("bucket"),
            region: field("region"),
            prefix: field("prefix"),
            frequency_hours: field("frequency_hours"),
            format: field("format"),
            compression: field("compression"),
            schema: field("schema"),
            encryption: field("encryption"),
            kms_key_arn: field("kms_key_arn"),
            bucket_owner: field("bucket_owner"),
            ..Draft::default()
        };
        let create_bucket = field("create_bucket").is_some_and(|text| text == "true");
        Self { settings, history_from: field("history_from"), create_bucket }
    }

    /// Checks that the record stays small.
    ///
    /// # Errors
    /// If a field is longer than any setting may be.
    pub fn check_size(&self) -> Result<(), Failure> {
        match self.fields().into_iter().find(|(_, text)| text.len() > MAX_FIELD_BYTES) {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!("{name} has more than {MAX_FIELD_BYTES} bytes.");
                Err(Failure::by(Party::Customer, Code::ConfigInvalid, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_is_stored_and_read_without_a_loss_and_blank_fields_are_left_out() {
        let text = |text: &str| Some(text.to_owned());
        let settings = Draft { bucket: text("acme"), region: text("eu-west-1"), ..Draft::default() };
        let typed = SetupDraft { settings, history_from: text("2026-11-01"), create_bucket: true };
        let read = |typed: &SetupDraft| {
            let fields = typed.fields();
            let field = |name: &str| fields.iter().find(|(it, _)| *it == name).map(|(_, text)| (*text).to_owned());
            SetupDraft::from_fields(field)
        };
        assert_eq!(read(&typed), typed);
        let blank = SetupDraft { history_from: text(""), create_bucket: false, ..typed.clone() };
        assert_eq!(read(&blank), SetupDraft { history_from: None, ..blank });
        assert_eq!(typed.check_size(), Ok(()));
        let long = SetupDraft { history_from: text(&"1".repeat(1025)), ..typed };
        assert_eq!(long.check_size().unwrap_err().party, Party::Customer);
    }
}
