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

    /// Returns a text that differs for each external ID and each `salt`, and does not reveal the external ID.
    #[must_use]
    pub fn decoy(&self, salt: &str) -> Self {
        Self(Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{salt}/{}", self.0).as_bytes()).to_string())
    }

    /// Returns a wrong external ID of the same shape: as long, a digit for a digit and a letter for a letter. A trust policy
    /// with `StringLike` and a `?` for each character takes it. It differs with every `salt`, so that a customer can't write a
    /// trust policy that refuses only this one. It does not reveal the true external ID.
    #[must_use]
    pub fn same_shape(&self, salt: &str) -> Self {
        let mut random = (0_u32..).flat_map(|block| Sha256::digest(format!("{block}/{salt}/{}", self.0)));
        let mut within = |alphabet: &str, byte: u8| {
            let drawn = usize::from(random.next().unwrap_or_default()) % alphabet.len();
            alphabet.as_bytes().get(drawn).copied().unwrap_or(byte)
        };
        let like = |byte: u8| match byte {
            b'0'..=b'9' => within("0123456789", byte),
            b'a'..=b'f' => within("abcdef", byte),
            b'g'..=b'z' => within("ghijklmnopqrstuvwxyz", byte),
            b'A'..=b'Z' => within("ABCDEFGHIJKLMNOPQRSTUVWXYZ", byte),
            other => other,
        };
        let text = self.0.bytes().map(like).map(char::from).collect();
        // A short external ID may be drawn by chance.
        if text == self.0 { self.last_changed() } else { Self(text) }
    }

    /// Returns a wrong external ID that differs in its last character. A trust policy that compares only the first
    /// characters takes it.
    #[must_use]
    pub fn last_changed(&self) -> Self {
        let mut text = self.0.clone();
        let last = text.pop();
        text.push(if last == Some('0') { '1' } else { '0' });
        Self(text)
    }

    /// Returns a wrong external ID that differs in its first character. A trust policy that compares only the last characters
    /// takes it.
    #[must_use]
    pub fn first_changed(&self) -> Self {
        let first = if self.0.starts_with('0') { '1' } else { '0' };
        Self(std::iter::once(first).chain(self.0.chars().skip(1)).collect())
    }

    /// Returns a wrong external ID with one character more, which a trust policy like `"3f6c…*"` takes. None if STS would
    /// refuse it as too long.
    #[must_use]
    pub fn extended(&self) -> Option<Self> {
        Self::parse(&format!("{}0", self.0)).ok()
    }
}

/// The external IDs that a tenant's role may demand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalIds {
    pub current: ExternalId,
    /// During a rotation, the one that replaces it.
    pub pending: Option<ExternalId>,
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

    /// The most that a tenant can have.
    pub const MAX: Self = Self(NonZeroU16::new(64).unwrap());

    /// # Errors
    /// If the text is not a whole number from 1 to 64. The exporter holds a page of up to 1 MB for each.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.parse::<NonZeroU16>() {
            Ok(count) if count <= Self::MAX.0 => Ok(Self(count)),
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
    fn wrong_external_ids_are_valid_differ_from_the_true_one_and_have_its_shape() {
        let longest = "x".repeat(1224);
        for text in ["3f6c1d2e-external", "00", "zz", "--", "A-z_0+=,.@:/", &longest] {
            let right = ExternalId::parse(text).unwrap();
            let random = right.same_shape("run-1");
            assert_eq!(random, right.same_shape("run-1"));
            let changed = [right.first_changed(), right.last_changed()];
            assert!(changed.iter().chain([&random]).all(|wrong| wrong.as_str().len() == text.len()), "{text}");
            for wrong in changed.into_iter().chain([random]).chain(right.extended()) {
                assert!(wrong != right && ExternalId::parse(wrong.as_str()).is_ok(), "{}", wrong.as_str());
            }
        }
        let right = ExternalId::parse("3f6c1d2e-external").unwrap();
        assert_ne!(right.same_shape("run-1"), right.same_shape("run-2"));
        let class = |byte: u8| (byte.is_ascii_digit(), byte.is_ascii_lowercase(), byte == b'-');
        let classes = |id: &ExternalId| id.as_str().bytes().map(class).collect::<Vec<_>>();
        assert_eq!(classes(&right.same_shape("run-1")), classes(&right));
        assert_eq!(right.last_changed().as_str(), "3f6c1d2e-externa0");
        assert_eq!(right.first_changed().as_str(), "0f6c1d2e-external");
        assert_eq!(right.extended().unwrap().as_str(), "3f6c1d2e-external0");
        assert_eq!(ExternalId::parse(&longest).unwrap().extended(), None);
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
