//! From raw fields to a tenant's configuration, or to every error at once.
//!
//! What an admin saves and what the table holds go through the same door, so a record that was damaged is refused with
//! the same words, and the field named, as a form that was filled in wrong.

use crate::{
    failure::{Code, Failure, Party},
    tenant::{
        AccountId, BucketName, Compression, EventShards, ExternalId, Format, Frequency, Invalid, KmsKeyArn, Platform,
        Prefix, Region, RoleArn, TenantId, quoted,
    },
};

/// A tenant's configuration, each field checked, and the fields against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantConfig {
    /// Whose it is.
    pub tenant: TenantId,
    /// What the customer's role asks for.
    pub external_id: ExternalId,
    /// The customer's role.
    pub role: RoleArn,
    /// Where the objects go.
    pub bucket: BucketName,
    /// The bucket's region.
    pub region: Region,
    /// The folder in the bucket.
    pub prefix: Prefix,
    /// How often.
    pub frequency: Frequency,
    /// How events are laid out.
    pub format: Format,
    /// How objects are compressed.
    pub compression: Compression,
    /// The key for SSE-KMS; without one, the bucket's own default applies.
    pub kms_key: Option<KmsKeyArn>,
    /// The account that the bucket must belong to, where it isn't the role's.
    pub bucket_owner: Option<AccountId>,
    /// Over how many partitions the tenant's events are spread.
    pub event_shards: EventShards,
    /// Grows with every save; 0 where a record has none.
    pub version: u64,
}

impl TenantConfig {
    /// The account that every write expects the bucket to belong to; S3 refuses it otherwise.
    pub fn expected_bucket_owner(&self) -> &AccountId {
        self.bucket_owner.as_ref().unwrap_or(self.role.account())
    }
}

/// The part of a tenant's configuration that there is before any bucket: a role, and what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Whose it is.
    pub tenant: TenantId,
    /// What the customer's role asks for.
    pub external_id: ExternalId,
    /// The customer's role.
    pub role: RoleArn,
}

/// The fields as someone typed or stored them. Numbers are text here, so that a wrong one can be named as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the field of the same name of `TenantConfig`, by its name in the table")]
pub struct Draft {
    pub external_id: Option<String>,
    pub role_arn: Option<String>,
    pub bucket: Option<String>,
    pub region: Option<String>,
    pub prefix: Option<String>,
    pub frequency_hours: Option<String>,
    pub format: Option<String>,
    pub compression: Option<String>,
    pub kms_key_arn: Option<String>,
    pub bucket_owner: Option<String>,
    pub event_shards: Option<String>,
    pub version: Option<String>,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name in the table.
    pub field: &'static str,
    /// What is wrong with it, in words for whoever fills it in.
    pub message: String,
}

/// What is wrong with a draft, field by field; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// The same as a failure of the tenant's export. The admin can correct what an admin sets; the rest is the
    /// platform's.
    pub fn into_failure(self) -> Failure {
        const PLATFORMS_OWN: &[&str] = &["external_id", "event_shards", "version", "exported_until", "next_due"];
        let platform = self.0.iter().any(|error| PLATFORMS_OWN.contains(&error.field));
        let party = if platform { Party::Platform } else { Party::Customer };
        let fields: Vec<String> = self.0.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Failure::by(party, Code::ConfigInvalid, format!("The settings can't be used. {}.", fields.join("; ")))
    }
}

/// Collects errors, so that all of them come at once.
#[derive(Default)]
struct Fields(Vec<FieldError>);

impl Fields {
    fn fail(&mut self, field: &'static str, message: impl Into<String>) {
        self.0.push(FieldError { field, message: message.into() });
    }

    /// A field that no form has: left out or right, never blank.
    fn given<T>(
        &mut self,
        field: &'static str,
        text: Option<&String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        text.and_then(|text| parse(text).map_err(|invalid| self.fail(field, invalid.0)).ok())
    }

    /// A field that a form may leave blank.
    fn optional<T>(
        &mut self,
        field: &'static str,
        text: Option<&String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        self.given(field, text.filter(|text| !text.is_empty()), parse)
    }

    fn required<T>(
        &mut self,
        field: &'static str,
        text: Option<&String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        if text.is_none_or(String::is_empty) {
            self.fail(field, "is required");
        }
        self.optional(field, text, parse)
    }
}

impl Draft {
    /// The fields of a checked config, at a version; what the table holds after a save.
    pub fn of(config: &TenantConfig, version: u64) -> Self {
        Self {
            external_id: Some(config.external_id.to_string()),
            role_arn: Some(config.role.as_str().to_owned()),
            bucket: Some(config.bucket.to_string()),
            region: Some(config.region.to_string()),
            prefix: Some(config.prefix.to_string()),
            frequency_hours: Some(config.frequency.hours().to_string()),
            format: Some(config.format.as_str().to_owned()),
            compression: Some(config.compression.as_str().to_owned()),
            kms_key_arn: config.kms_key.as_ref().map(ToString::to_string),
            bucket_owner: config.bucket_owner.as_ref().map(ToString::to_string),
            event_shards: Some(config.event_shards.count().to_string()),
            version: Some(version.to_string()),
        }
    }

    /// Checks what is needed to assume the role, whatever the other fields hold.
    ///
    /// # Errors
    /// As [`Draft::check`].
    pub fn check_connection(&self, tenant: &TenantId, platform: &Platform) -> Result<Connection, FieldErrors> {
        let mut fields = Fields::default();
        match self.connection(&mut fields, platform) {
            (Some(external_id), Some(role)) => Ok(Connection { tenant: tenant.clone(), external_id, role }),
            _ => Err(FieldErrors(fields.0)),
        }
    }

    fn connection(&self, fields: &mut Fields, platform: &Platform) -> (Option<ExternalId>, Option<RoleArn>) {
        (
            fields.required("external_id", self.external_id.as_ref(), ExternalId::parse),
            fields.required("role_arn", self.role_arn.as_ref(), |text| role_of_a_customer(text, platform)),
        )
    }

    /// Checks every field, and the fields against each other and against the platform.
    ///
    /// # Errors
    /// All that is wrong. A role in the platform's own account or in another partition is refused here: the first
    /// would let a tenant name the platform's roles, the second can't be assumed.
    pub fn check(&self, tenant: &TenantId, platform: &Platform) -> Result<TenantConfig, FieldErrors> {
        let mut fields = Fields::default();
        let (external_id, role) = self.connection(&mut fields, platform);
        let bucket = fields.required("bucket", self.bucket.as_ref(), BucketName::parse);
        let region = fields.required("region", self.region.as_ref(), |text| region_of(text, platform));
        let prefix = fields.optional("prefix", self.prefix.as_ref(), Prefix::parse);
        let frequency = fields.required("frequency_hours", self.frequency_hours.as_ref(), Frequency::parse);
        let format = fields.optional("format", self.format.as_ref(), Format::parse);
        let compression = fields.optional("compression", self.compression.as_ref(), Compression::parse);
        let kms_key = fields.optional("kms_key_arn", self.kms_key_arn.as_ref(), KmsKeyArn::parse);
        let bucket_owner = fields.optional("bucket_owner", self.bucket_owner.as_ref(), AccountId::parse);
        let event_shards = fields.given("event_shards", self.event_shards.as_ref(), EventShards::parse);
        let version = fields.given("version", self.version.as_ref(), parse_version);
        if let (Some(key), Some(region)) = (&kms_key, region)
            && key.region() != region
        {
            let message =
                format!("the key is in {}, but the bucket in {region}; S3 needs both in one region", key.region());
            fields.fail("kms_key_arn", message);
        }
        match (external_id, role, bucket, region, frequency) {
            (Some(external_id), Some(role), Some(bucket), Some(region), Some(frequency)) if fields.0.is_empty() => {
                Ok(TenantConfig {
                    tenant: tenant.clone(),
                    external_id,
                    role,
                    bucket,
                    region,
                    prefix: prefix.unwrap_or_default(),
                    frequency,
                    format: format.unwrap_or_default(),
                    compression: compression.unwrap_or_default(),
                    kms_key,
                    bucket_owner,
                    event_shards: event_shards.unwrap_or(EventShards::ONE),
                    version: version.unwrap_or(0),
                })
            }
            _ => Err(FieldErrors(fields.0)),
        }
    }
}

/// A config's version, which can be raised by one.
pub(crate) fn parse_version(text: &str) -> Result<u64, Invalid> {
    let version = text.parse::<u64>().ok().filter(|version| *version < u64::MAX);
    version.ok_or_else(|| Invalid(format!("is a whole number, not {}", quoted(text))))
}

fn role_of_a_customer(text: &str, platform: &Platform) -> Result<RoleArn, Invalid> {
    let role = RoleArn::parse(text)?;
    if role.partition() != platform.partition {
        return Err(Invalid(format!(
            "the role is in the partition {}, but the platform runs in {}, and a role can't be assumed across partitions",
            role.partition(),
            platform.partition
        )));
    }
    if *role.account() == platform.account {
        return Err(Invalid("the role is in the platform's own account; it has to be in the customer's".to_owned()));
    }
    Ok(role)
}

fn region_of(text: &str, platform: &Platform) -> Result<Region, Invalid> {
    let region = Region::parse(text)?;
    if region.partition() != platform.partition {
        return Err(Invalid(format!(
            "{region} is in the partition {}, but the platform runs in {}",
            region.partition(),
            platform.partition
        )));
    }
    Ok(region)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tenant::Partition;

    pub(crate) fn platform() -> Platform {
        Platform { account: AccountId::parse("111111111111").unwrap(), partition: Partition::Aws }
    }

    pub(crate) fn draft() -> Draft {
        let text = |text: &str| Some(text.to_owned());
        Draft {
            external_id: text("3f6c1d2e-external"),
            role_arn: text("arn:aws:iam::222222222222:role/audit"),
            bucket: text("acme-audit"),
            region: text("eu-west-1"),
            frequency_hours: text("1"),
            ..Draft::default()
        }
    }

    fn errors_of(draft: &Draft) -> Vec<&'static str> {
        let acme = TenantId::parse("acme").unwrap();
        draft.check(&acme, &platform()).unwrap_err().0.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn what_is_left_out_has_its_documented_default() {
        let config = draft().check(&TenantId::parse("acme").unwrap(), &platform()).unwrap();
        assert_eq!(config.expected_bucket_owner().as_str(), "222222222222", "the account in the role's ARN");
        assert_eq!((config.prefix.as_str(), config.format, config.compression), ("", Format::Json, Compression::None));
        assert_eq!((config.event_shards.count(), config.version, config.kms_key), (1, 0, None));
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        assert_eq!(
            errors_of(&Draft::default()),
            ["external_id", "role_arn", "bucket", "region", "frequency_hours"],
            "nothing filled in"
        );
        let text = |text: &str| Some(text.to_owned());
        let wrong = Draft {
            external_id: text("x"),
            role_arn: text("me"),
            bucket: text("A"),
            region: text("moon"),
            prefix: text("a*"),
            frequency_hours: text("99"),
            format: text("csv"),
            compression: text("zip"),
            kms_key_arn: text("alias/x"),
            bucket_owner: text("me"),
            event_shards: text("0"),
            version: text("-1"),
        };
        assert_eq!(
            errors_of(&wrong),
            [
                "external_id",
                "role_arn",
                "bucket",
                "region",
                "prefix",
                "frequency_hours",
                "format",
                "compression",
                "kms_key_arn",
                "bucket_owner",
                "event_shards",
                "version",
            ]
        );
    }

    #[test]
    fn a_role_is_refused_in_the_platforms_own_account_and_across_partitions() {
        for (role, words) in [
            ("arn:aws:iam::111111111111:role/audit-log-exporter", "platform's own account"),
            ("arn:aws-cn:iam::222222222222:role/audit", "can't be assumed across partitions"),
        ] {
            let draft = Draft { role_arn: Some(role.to_owned()), ..draft() };
            let errors = draft.check(&TenantId::parse("acme").unwrap(), &platform()).unwrap_err();
            assert_eq!(errors.0.len(), 1);
            assert!(errors.0[0].message.contains(words), "{}", errors.0[0].message);
        }
    }

    #[test]
    fn fields_are_held_against_each_other() {
        let text = |text: &str| Some(text.to_owned());
        let blank = Draft { event_shards: text(""), prefix: text(""), kms_key_arn: text(""), ..draft() };
        assert_eq!(errors_of(&blank), ["event_shards"], "no form has it, so a blank one is damage");
        let elsewhere = text("arn:aws:kms:us-east-1:222222222222:key/1234");
        assert_eq!(errors_of(&Draft { kms_key_arn: elsewhere, ..draft() }), ["kms_key_arn"]);
        assert_eq!(errors_of(&Draft { region: text("cn-north-1"), ..draft() }), ["region"]);
    }

    #[test]
    fn the_party_of_a_damaged_config_is_whoever_can_set_the_field() {
        let check =
            |draft: Draft| draft.check(&TenantId::parse("acme").unwrap(), &platform()).unwrap_err().into_failure();
        let admins = check(Draft { frequency_hours: Some("99".to_owned()), ..draft() });
        assert_eq!((admins.code, admins.party), (Code::ConfigInvalid, Party::Customer));
        assert!(admins.message.contains("frequency_hours: "), "{}", admins.message);
        assert_eq!(check(Draft { external_id: None, ..draft() }).party, Party::Platform);
    }
}
