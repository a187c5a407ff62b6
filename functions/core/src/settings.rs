//! Checks the fields of a tenant's settings, and reports every error at once.
//!
//! Forms and stored records are checked by the same code, so that an error names the field of a damaged record too.

use serde::{Deserialize, Serialize};

use crate::{
    failure::{Code, Failure, Party},
    tenant::{
        AccountId, BucketName, Compression, Encryption, EventShards, ExternalId, Format, Frequency, Invalid, KmsKeyArn,
        Platform, Prefix, Region, RoleArn, Schema, TenantId, quoted,
    },
};

/// A tenant's configuration; each field is checked alone and against the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantConfig {
    pub tenant: TenantId,
    pub external_id: ExternalId,
    /// During a rotation, the external ID that the role may demand already.
    pub pending_external_id: Option<ExternalId>,
    pub role: RoleArn,
    pub bucket: BucketName,
    pub region: Region,
    pub prefix: Prefix,
    pub frequency: Frequency,
    pub format: Format,
    pub compression: Compression,
    pub schema: Schema,
    pub encryption: Encryption,
    /// The bucket's account, if it isn't the role's.
    pub bucket_owner: Option<AccountId>,
    pub event_shards: EventShards,
    /// Each save raises it by one; 0 in a record without the attribute.
    pub version: u64,
}

impl TenantConfig {
    /// Returns the account that each write names; S3 refuses the write if the bucket has another owner.
    pub fn expected_bucket_owner(&self) -> &AccountId {
        self.bucket_owner.as_ref().unwrap_or(self.role.account())
    }
}

/// Where a tenant's files go, as stored, unchecked. The role may change without it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    pub bucket: String,
    pub region: Option<String>,
    /// Empty: none.
    pub prefix: String,
    /// The account that each write names; none if the role's can't be read.
    pub bucket_owner: Option<String>,
}

/// A role with its external ID: what is configured before the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    pub tenant: TenantId,
    pub external_id: ExternalId,
    /// As in [`TenantConfig`].
    pub pending_external_id: Option<ExternalId>,
    pub role: RoleArn,
}

/// Unchecked fields, named as in the table. Numbers are text, so that an error can quote a wrong one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Draft {
    pub external_id: Option<String>,
    pub pending_external_id: Option<String>,
    pub role_arn: Option<String>,
    pub bucket: Option<String>,
    pub region: Option<String>,
    pub prefix: Option<String>,
    pub frequency_hours: Option<String>,
    pub format: Option<String>,
    pub compression: Option<String>,
    pub schema: Option<String>,
    pub encryption: Option<String>,
    pub kms_key_arn: Option<String>,
    pub bucket_owner: Option<String>,
    pub event_shards: Option<String>,
    pub version: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The field's name in the table.
    pub field: &'static str,
    /// In words for the person who fills in the field.
    pub message: String,
}

/// Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldErrors(pub Vec<FieldError>);

impl FieldErrors {
    /// Returns a failure of the tenant's export. The party is the customer, unless the platform sets one of the fields.
    pub fn into_failure(self) -> Failure {
        const PLATFORM_FIELDS: &[&str] =
            &["external_id", "pending_external_id", "event_shards", "version", "exported_until", "next_due"];
        let platform = self.0.iter().any(|error| PLATFORM_FIELDS.contains(&error.field));
        let party = if platform { Party::Platform } else { Party::Customer };
        let fields: Vec<String> = self.0.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
        Failure::by(party, Code::ConfigInvalid, format!("The settings can't be used. {}.", fields.join("; ")))
    }
}

/// Collects the errors of all fields.
#[derive(Default)]
struct FieldChecks(Vec<FieldError>);

impl FieldChecks {
    fn fail(&mut self, field: &'static str, message: impl Into<String>) {
        self.0.push(FieldError { field, message: message.into() });
    }

    /// Checks a field that no form has: it may be absent, but not blank.
    fn present<T>(
        &mut self,
        field: &'static str,
        text: Option<&String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        text.and_then(|text| parse(text).map_err(|invalid| self.fail(field, invalid.0)).ok())
    }

    /// Checks a field that a form may leave blank.
    fn optional<T>(
        &mut self,
        field: &'static str,
        text: Option<&String>,
        parse: impl Fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        self.present(field, text.filter(|text| !text.is_empty()), parse)
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
    /// Returns the fields that the table holds once `config` is saved as `version`.
    pub fn from_config(config: &TenantConfig, version: u64) -> Self {
        // Without `..`, so that a new setting does not compile until it is stored.
        let TenantConfig {
            tenant: _,
            external_id,
            pending_external_id,
            role,
            bucket,
            region,
            prefix,
            frequency,
            format,
            compression,
            schema,
            encryption,
            bucket_owner,
            event_shards,
            version: _,
        } = config;
        Self {
            external_id: Some(external_id.to_string()),
            pending_external_id: pending_external_id.as_ref().map(ToString::to_string),
            role_arn: Some(role.as_str().to_owned()),
            bucket: Some(bucket.to_string()),
            region: Some(region.to_string()),
            prefix: Some(prefix.to_string()),
            frequency_hours: Some(frequency.hours().to_string()),
            format: Some(format.as_str().to_owned()),
            compression: Some(compression.as_str().to_owned()),
            schema: Some(schema.as_str().to_owned()),
            encryption: Some(encryption.as_str().to_owned()),
            kms_key_arn: encryption.kms_key().map(ToString::to_string),
            bucket_owner: bucket_owner.as_ref().map(ToString::to_string),
            event_shards: Some(event_shards.count().to_string()),
            version: Some(version.to_string()),
        }
    }

    /// Returns where these settings lead; none without a bucket.
    pub fn destination(&self) -> Option<Destination> {
        let filled = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        let prefix = filled(&self.prefix).unwrap_or_default();
        let role = self.role_arn.as_deref().and_then(|arn| RoleArn::parse(arn).ok());
        Some(Destination {
            bucket: filled(&self.bucket)?,
            region: filled(&self.region),
            prefix: Prefix::parse(&prefix).map_or(prefix, |prefix| prefix.to_string()),
            bucket_owner: filled(&self.bucket_owner).or_else(|| role.map(|role| role.account().to_string())),
        })
    }

    /// Checks only the fields that are needed to assume the role.
    ///
    /// # Errors
    /// As [`Draft::check`].
    pub fn check_connection(&self, tenant: &TenantId, platform: &Platform) -> Result<Connection, FieldErrors> {
        let mut fields = FieldChecks::default();
        match self.connection(&mut fields, tenant, platform) {
            Some(connection) if fields.0.is_empty() => Ok(connection),
            _ => Err(FieldErrors(fields.0)),
        }
    }

    fn connection(&self, fields: &mut FieldChecks, tenant: &TenantId, platform: &Platform) -> Option<Connection> {
        let external_id = fields.required("external_id", self.external_id.as_ref(), ExternalId::parse);
        let pending_external_id =
            fields.present("pending_external_id", self.pending_external_id.as_ref(), ExternalId::parse);
        let role = fields.required("role_arn", self.role_arn.as_ref(), |text| parse_customer_role(text, platform));
        Some(Connection { tenant: tenant.clone(), external_id: external_id?, pending_external_id, role: role? })
    }

    /// Checks each field alone, against the others and against the platform.
    ///
    /// # Errors
    /// All errors at once. A role in the platform's own account is refused, since a tenant could name the platform's
    /// roles; a role in another partition is refused, since it can't be assumed.
    pub fn check(&self, tenant: &TenantId, platform: &Platform) -> Result<TenantConfig, FieldErrors> {
        let mut fields = FieldChecks::default();
        let connection = self.connection(&mut fields, tenant, platform);
        // Without `..`, so that a new setting does not compile until it is checked.
        let Self {
            external_id: _,
            pending_external_id: _,
            role_arn: _,
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
            event_shards,
            version,
        } = self;
        let bucket = fields.required("bucket", bucket.as_ref(), BucketName::parse);
        let region = fields.required("region", region.as_ref(), |text| parse_region(text, platform));
        let prefix = fields.optional("prefix", prefix.as_ref(), Prefix::parse);
        let frequency = fields.required("frequency_hours", frequency_hours.as_ref(), Frequency::parse);
        let format = fields.optional("format", format.as_ref(), Format::parse);
        let compression = fields.optional("compression", compression.as_ref(), Compression::parse);
        let schema = fields.optional("schema", schema.as_ref(), Schema::parse);
        let encryption = check_encryption(&mut fields, encryption.as_ref(), kms_key_arn.as_ref());
        let bucket_owner = fields.optional("bucket_owner", bucket_owner.as_ref(), AccountId::parse);
        let event_shards = fields.present("event_shards", event_shards.as_ref(), EventShards::parse);
        let version = fields.present("version", version.as_ref(), parse_version);
        if let (Some(bucket), Some(region)) = (&bucket, region)
            && let Err(invalid) = bucket.check_in(region)
        {
            fields.fail("bucket", invalid.0);
        }
        if let (Some(key), Some(region)) = (encryption.as_ref().and_then(Encryption::kms_key), region)
            && key.region() != region
        {
            let message =
                format!("the key is in {}, but the bucket in {region}; S3 needs both in one region", key.region());
            fields.fail("kms_key_arn", message);
        }
        match (connection, bucket, region, frequency, encryption) {
            (Some(connection), Some(bucket), Some(region), Some(frequency), Some(encryption))
                if fields.0.is_empty() =>
            {
                let Connection { tenant, external_id, pending_external_id, role } = connection;
                Ok(TenantConfig {
                    tenant,
                    external_id,
                    pending_external_id,
                    role,
                    bucket,
                    region,
                    prefix: prefix.unwrap_or_default(),
                    frequency,
                    format: format.unwrap_or_default(),
                    compression: compression.unwrap_or_default(),
                    schema: schema.unwrap_or_default(),
                    encryption,
                    bucket_owner,
                    event_shards: event_shards.unwrap_or(EventShards::ONE),
                    version: version.unwrap_or(0),
                })
            }
            _ => Err(FieldErrors(fields.0)),
        }
    }
}

/// Checks the key also if the encryption is wrong, so that both errors are named at once.
fn check_encryption(
    fields: &mut FieldChecks,
    encryption: Option<&String>,
    kms_key_arn: Option<&String>,
) -> Option<Encryption> {
    const KEY: &str = "kms_key_arn";
    let has_key = kms_key_arn.is_some_and(|text| !text.is_empty());
    let key = fields.optional(KEY, kms_key_arn, KmsKeyArn::parse);
    match encryption.map_or("", String::as_str) {
        "" | "bucket" => Some(Encryption::Bucket(key)),
        "sse-s3" => {
            if key.is_some() {
                fields.fail(KEY, "must be left out with the encryption sse-s3, which uses S3's own keys");
            }
            Some(Encryption::SseS3)
        }
        "sse-kms" => {
            if !has_key {
                fields.fail(KEY, "is required for the encryption sse-kms");
            }
            key.map(Encryption::SseKms)
        }
        other => {
            fields.fail("encryption", format!("the encryption is bucket, sse-s3 or sse-kms, not {}", quoted(other)));
            None
        }
    }
}

/// Parses a config's version; `u64::MAX` is refused, since the next save could not raise it.
pub(crate) fn parse_version(text: &str) -> Result<u64, Invalid> {
    let version = text.parse::<u64>().ok().filter(|version| *version < u64::MAX);
    version.ok_or_else(|| Invalid(format!("is a whole number, not {}", quoted(text))))
}

fn parse_customer_role(text: &str, platform: &Platform) -> Result<RoleArn, Invalid> {
    let role = RoleArn::parse(text)?;
    if role.partition() != platform.partition {
        return Err(Invalid(format!(
            "the role is in the partition {}, but the platform runs in {}, and a role can't be assumed across partitions",
            role.partition(),
            platform.partition
        )));
    }
    if *role.account() == platform.account {
        return Err(Invalid("the role is in the platform's own account; it must be in the customer's".to_owned()));
    }
    Ok(role)
}

fn parse_region(text: &str, platform: &Platform) -> Result<Region, Invalid> {
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

    fn wrong_fields(draft: &Draft) -> Vec<&'static str> {
        let acme = TenantId::parse("acme").unwrap();
        draft.check(&acme, &platform()).unwrap_err().0.into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn an_absent_setting_has_its_documented_default() {
        let config = draft().check(&TenantId::parse("acme").unwrap(), &platform()).unwrap();
        assert_eq!(config.expected_bucket_owner().as_str(), "222222222222", "the account in the role's ARN");
        assert_eq!((config.prefix.as_str(), config.format, config.compression), ("", Format::Json, Compression::None));
        assert_eq!((config.event_shards.count(), config.version, config.encryption), (1, 0, Encryption::Bucket(None)));
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        assert_eq!(
            wrong_fields(&Draft::default()),
            ["external_id", "role_arn", "bucket", "region", "frequency_hours"],
            "nothing filled in"
        );
        let text = |text: &str| Some(text.to_owned());
        let wrong = Draft {
            external_id: text("x"),
            pending_external_id: text("y"),
            role_arn: text("me"),
            bucket: text("A"),
            region: text("moon"),
            prefix: text("a*"),
            frequency_hours: text("99"),
            format: text("csv"),
            compression: text("zip"),
            schema: text("csv"),
            encryption: text("aws:kms"),
            kms_key_arn: text("alias/x"),
            bucket_owner: text("me"),
            event_shards: text("0"),
            version: text("-1"),
        };
        assert_eq!(
            wrong_fields(&wrong),
            [
                "external_id",
                "pending_external_id",
                "role_arn",
                "bucket",
                "region",
                "prefix",
                "frequency_hours",
                "format",
                "compression",
                "schema",
                "kms_key_arn",
                "encryption",
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
    fn fields_are_checked_against_each_other() {
        let text = |text: &str| Some(text.to_owned());
        let blank = Draft { event_shards: text(""), prefix: text(""), kms_key_arn: text(""), ..draft() };
        assert_eq!(wrong_fields(&blank), ["event_shards"], "no form has it, so a blank one is a damaged record");
        let elsewhere = text("arn:aws:kms:us-east-1:222222222222:key/1234");
        assert_eq!(wrong_fields(&Draft { kms_key_arn: elsewhere, ..draft() }), ["kms_key_arn"]);
        assert_eq!(wrong_fields(&Draft { region: text("cn-north-1"), ..draft() }), ["region"]);
        let old = Draft { bucket: text("ABCD_Central_1"), ..draft() };
        assert_eq!(wrong_fields(&old), ["bucket"]);
        let acme = TenantId::parse("acme").unwrap();
        assert!(Draft { region: text("us-east-1"), ..old }.check(&acme, &platform()).is_ok());
    }

    #[test]
    fn only_sse_kms_needs_a_key_and_only_sse_s3_refuses_one() {
        const KEY: &str = "arn:aws:kms:eu-west-1:222222222222:key/1234";
        let check = |encryption: &str, key: &str| {
            let (encryption, kms_key_arn) = (Some(encryption.to_owned()), Some(key.to_owned()));
            let draft = Draft { encryption, kms_key_arn, ..draft() };
            let checked = draft.check(&TenantId::parse("acme").unwrap(), &platform());
            checked
                .map(|config| config.encryption)
                .map_err(|errors| errors.0.into_iter().map(|error| error.field).collect())
        };
        let key = || KmsKeyArn::parse(KEY).unwrap();
        for (encryption, without, with) in [
            ("", Ok(Encryption::Bucket(None)), Ok(Encryption::Bucket(Some(key())))),
            ("bucket", Ok(Encryption::Bucket(None)), Ok(Encryption::Bucket(Some(key())))),
            ("sse-s3", Ok(Encryption::SseS3), Err(vec!["kms_key_arn"])),
            ("sse-kms", Err(vec!["kms_key_arn"]), Ok(Encryption::SseKms(key()))),
            ("SSE-KMS", Err(vec!["encryption"]), Err(vec!["encryption"])),
        ] {
            assert_eq!(check(encryption, ""), without, "{encryption}");
            assert_eq!(check(encryption, KEY), with, "{encryption}");
        }
        assert_eq!(check("sse-kms", "alias/x"), Err(vec!["kms_key_arn"]), "one error is enough");
    }

    #[test]
    fn the_party_of_a_damaged_config_is_the_one_that_can_set_the_field() {
        let check =
            |draft: Draft| draft.check(&TenantId::parse("acme").unwrap(), &platform()).unwrap_err().into_failure();
        let by_the_admin = check(Draft { frequency_hours: Some("99".to_owned()), ..draft() });
        assert_eq!((by_the_admin.code, by_the_admin.party), (Code::ConfigInvalid, Party::Customer));
        assert!(by_the_admin.message.contains("frequency_hours: "), "{}", by_the_admin.message);
        assert_eq!(check(Draft { external_id: None, ..draft() }).party, Party::Platform);
    }
}
