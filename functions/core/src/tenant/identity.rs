//! Ids of tenants, accounts and the platform, and a tenant's numbers.

use std::{fmt, num::NonZeroU16};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Invalid, Partition, quoted, text_accessors};

/// A tenant's id: `[A-Za-z0-9_-]{1,64}`, safe in keys and session names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(String);

text_accessors!(TenantId);

impl TenantId {
    /// # Errors
    /// If the text has another form.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if !(1..=64).contains(&text.len()) || !text.bytes().all(allowed) {
            return Invalid::err("a tenant id has 1 to 64 letters, digits, '_' or '-'");
        }
        Ok(Self(text.to_owned()))
    }
}

/// A tenant's partition of the index `due`: the first hex digit of SHA-256 of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DueShard(u8);

impl DueShard {
    pub fn from_tenant(tenant: &TenantId) -> Self {
        Self(Sha256::digest(tenant.as_str())[0] >> 4)
    }

    pub const COUNT: usize = 16;

    pub fn all() -> impl Iterator<Item = Self> {
        (0..16).map(Self)
    }
}

impl fmt::Display for DueShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// What a customer's role demands when it is assumed. The platform creates it: a tenant that could choose it could name
/// another tenant's.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalId(String);

text_accessors!(ExternalId);

impl fmt::Debug for ExternalId {
    /// Omits the id, since debug output ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExternalId(…)")
    }
}

impl ExternalId {
    /// # Errors
    /// If the text breaks the rule of `ExternalId` in STS's AssumeRole: 2 to 1,224 characters of `[\w+=,.@:/-]`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
        if !(2..=1224).contains(&text.len()) || !text.bytes().all(allowed) {
            return Invalid::err("an external ID has 2 to 1224 letters, digits or any of _+=,.@:/-");
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns a wrong external ID, to prove that a role refuses it. It differs with every `salt`, so that a customer
    /// can't write a trust policy that refuses only this one. It does not reveal the true external ID.
    #[must_use]
    pub fn decoy(&self, salt: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{salt}/{}", self.0).as_bytes()).to_string())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(String);

text_accessors!(AccountId);

impl AccountId {
    /// # Errors
    /// If the text is not twelve ASCII digits.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() != 12 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Invalid::err("an AWS account id has twelve digits");
        }
        Ok(Self(text.to_owned()))
    }
}

/// The hours between two exports, 1 to 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency(u8);

impl Frequency {
    /// # Errors
    /// If the text is not a whole number from 1 to 24.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(hours @ 1..=24) => Ok(Self(hours)),
            _ => Invalid::err(format!(
                "the export frequency is a whole number of hours from 1 to 24, not {}",
                quoted(text)
            )),
        }
    }

    pub fn hours(self) -> u8 {
        self.0
    }

    pub fn duration(self) -> chrono::TimeDelta {
        chrono::TimeDelta::hours(self.0.into())
    }
}

/// The number of partitions of the events table over which a tenant's events are spread; 1 for all but the busiest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventShards(NonZeroU16);

impl EventShards {
    pub const ONE: Self = Self(NonZeroU16::MIN);

    /// The most shards that a tenant has.
    pub const MAX: u16 = 64;

    /// # Errors
    /// If the text is not a whole number from 1 to 64. The exporter holds a page of up to 1 MB for each.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse::<NonZeroU16>() {
            Ok(count) if count.get() <= Self::MAX => Ok(Self(count)),
            _ => Invalid::err(format!("event_shards is a whole number from 1 to 64, not {}", quoted(text))),
        }
    }

    pub fn count(self) -> u16 {
        self.0.get()
    }

    /// The shards' numbers, from 0.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        0..self.0.get()
    }
}

/// The account and partition that the exporter runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// No customer's role may be in this account.
    pub account: AccountId,
    /// AssumeRole works within a partition only.
    pub partition: Partition,
}

impl Platform {
    /// Reads both from the ARN under which Lambda invoked the function.
    ///
    /// # Errors
    /// If the text is not a Lambda function's ARN.
    pub fn from_function_arn(arn: &str) -> Result<Self, Invalid> {
        let mut parts = arn.split(':');
        match (parts.next(), parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("arn"), Some(partition), Some("lambda"), Some(_), Some(account)) => {
                Ok(Self { account: AccountId::parse(account)?, partition: Partition::parse(partition)? })
            }
            _ => Invalid::err(format!("{} is not a Lambda function's ARN", quoted(arn))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_id_can_not_lead_into_another_tenants_folder() {
        for good in ["a", "acme", "ACME_eu-1", &"x".repeat(64)] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a/b", "..", "a b", "a#0", "é", "a\n", &"x".repeat(65)] {
            assert!(TenantId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_due_shard_is_the_first_hex_digit_of_the_ids_sha_256() {
        // printf acme | sha256sum
        assert_eq!(DueShard::from_tenant(&TenantId::parse("acme").unwrap()).to_string(), "8");
        assert_eq!(DueShard::all().map(|shard| shard.to_string()).collect::<String>(), "0123456789abcdef");
    }

    #[test]
    fn external_ids_follow_stss_rule() {
        assert!(ExternalId::parse("3f6c-A_+=,.@:/").is_ok());
        for bad in ["", "x", "a b", "ümlaut", &"x".repeat(1225)] {
            assert!(ExternalId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_frequency_is_a_whole_number_of_hours_within_a_day() {
        assert_eq!(Frequency::parse("24").map(Frequency::hours), Ok(24));
        for bad in ["0", "25", "99", "-1", "1.5", "", "six"] {
            assert!(Frequency::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_platform_is_read_from_the_functions_arn() {
        let platform =
            Platform::from_function_arn("arn:aws-cn:lambda:cn-north-1:111111111111:function:exporter:live").unwrap();
        assert_eq!((platform.account.as_str(), platform.partition), ("111111111111", Partition::AwsCn));
        assert!(Platform::from_function_arn("arn:aws:iam::111111111111:role/x").is_err());
    }
}
