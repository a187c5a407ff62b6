//! Partitions, regions, bucket names and prefixes.

use std::fmt;

use super::{Invalid, quoted, text_accessors};

/// A group of regions with its own accounts. No role is assumed and no object is written across partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Partition {
    Aws,
    AwsCn,
    AwsUsGov,
}

impl Partition {
    /// # Errors
    /// If the text is none of `aws`, `aws-cn` and `aws-us-gov`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "aws" => Ok(Self::Aws),
            "aws-cn" => Ok(Self::AwsCn),
            "aws-us-gov" => Ok(Self::AwsUsGov),
            _ => Invalid::err(format!("the partition is one of aws, aws-cn and aws-us-gov, not {}", quoted(text))),
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::AwsCn => "aws-cn",
            Self::AwsUsGov => "aws-us-gov",
        }
    }

    /// The end of its services' host names, as in `kms:ViaService`.
    pub fn dns_suffix(self) -> &'static str {
        match self {
            Self::Aws | Self::AwsUsGov => "amazonaws.com",
            Self::AwsCn => "amazonaws.com.cn",
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An AWS region. Endpoints are built from these alone, never from a tenant's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(&'static str);

impl Region {
    /// From "Regions and Availability Zones" in the AWS documentation, November 2026.
    const KNOWN: &[&str] = &[
        "af-south-1",
        "ap-east-1",
        "ap-east-2",
        "ap-northeast-1",
        "ap-northeast-2",
        "ap-northeast-3",
        "ap-south-1",
        "ap-south-2",
        "ap-southeast-1",
        "ap-southeast-2",
        "ap-southeast-3",
        "ap-southeast-4",
        "ap-southeast-5",
        "ap-southeast-6",
        "ap-southeast-7",
        "ca-central-1",
        "ca-west-1",
        "cn-north-1",
        "cn-northwest-1",
        "eu-central-1",
        "eu-central-2",
        "eu-north-1",
        "eu-south-1",
        "eu-south-2",
        "eu-west-1",
        "eu-west-2",
        "eu-west-3",
        "il-central-1",
        "me-central-1",
        "me-south-1",
        "mx-central-1",
        "sa-east-1",
        "us-east-1",
        "us-east-2",
        "us-gov-east-1",
        "us-gov-west-1",
        "us-west-1",
        "us-west-2",
    ];

    /// # Errors
    /// If no region has that name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match Self::KNOWN.iter().find(|known| **known == text) {
            Some(known) => Ok(Self(known)),
            None => Invalid::err(format!("unknown AWS region: {}", quoted(text))),
        }
    }

    /// In alphabetical order.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::KNOWN.iter().map(|name| Self(name))
    }

    pub fn as_str(self) -> &'static str {
        self.0
    }

    pub fn partition(self) -> Partition {
        match self.0 {
            name if name.starts_with("cn-") => Partition::AwsCn,
            name if name.starts_with("us-gov-") => Partition::AwsUsGov,
            _ => Partition::Aws,
        }
    }

    /// The region's host of the AWS console. Source: "AWS Management Console endpoints and quotas" in the AWS General
    /// Reference.
    pub fn console_host(self) -> String {
        let domain = match self.partition() {
            Partition::Aws => "console.aws.amazon.com",
            Partition::AwsCn => "console.amazonaws.cn",
            Partition::AwsUsGov => "console.amazonaws-us-gov.com",
        };
        format!("{self}.{domain}")
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The name of a general purpose bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(String);

text_accessors!(BucketName);

impl BucketName {
    /// # Errors
    /// If the text breaks the "General purpose bucket naming rules" of the Amazon S3 user guide.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const RESERVED_STARTS: &[&str] = &["xn--", "sthree-", "amzn-s3-demo-"];
        const RESERVED_ENDS: &[&str] = &["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
        let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
        if !(3..=63).contains(&text.len()) {
            return Invalid::err("a bucket name has 3 to 63 characters");
        }
        if !text.bytes().all(inner) {
            return Invalid::err("a bucket name has only lowercase letters, digits, '-' and '.'");
        }
        if !edge(text.bytes().next()) || !edge(text.bytes().last()) {
            return Invalid::err("a bucket name begins and ends with a lowercase letter or a digit");
        }
        if text.contains("..") {
            return Invalid::err("a bucket name has no two adjacent dots");
        }
        let numbers = text.split('.').filter(|part| part.bytes().all(|byte| byte.is_ascii_digit())).count();
        if numbers == 4 && text.split('.').count() == 4 {
            return Invalid::err("a bucket name does not look like an IP address");
        }
        if let Some(start) = RESERVED_STARTS.iter().find(|start| text.starts_with(**start)) {
            return Invalid::err(format!("a bucket name does not begin with {start:?}, which AWS reserves"));
        }
        if let Some(end) = RESERVED_ENDS.iter().find(|end| text.ends_with(**end)) {
            return Invalid::err(format!("a bucket name does not end with {end:?}, which AWS reserves"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The folder in the bucket that holds all exports; may be empty. Normalized: no slash at either end, none doubled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prefix(String);

text_accessors!(Prefix);

impl Prefix {
    /// # Errors
    /// If the normalized text has more than 256 bytes, a character outside `[A-Za-z0-9!_.'()/-]` (`*`, `?` and `$` are
    /// wildcards and variables in the IAM policies that limit a role to this folder), or a segment `.` or `..` (S3's
    /// clients and consoles resolve these).
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let segments: Vec<&str> = text.split('/').filter(|segment| !segment.is_empty()).collect();
        let normalized = segments.join("/");
        if normalized.len() > 256 {
            return Invalid::err("a prefix has at most 256 characters");
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!_.'()-/".contains(c);
        if let Some(other) = normalized.chars().find(|c| !allowed(*c)) {
            return Invalid::err(format!(
                "a prefix has only letters, digits and any of !_.'()-/, but this has {other:?}"
            ));
        }
        if segments.iter().any(|segment| matches!(*segment, "." | "..")) {
            return Invalid::err("a prefix has no folder named '.' or '..'");
        }
        Ok(Self(normalized))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_s3s_naming_rules() {
        for good in ["abc", "acme-audit-logs", "a.b.c", "1-2", &"x".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "ab",
            "Acme",
            "a_b",
            "-abc",
            "abc-",
            ".abc",
            "a..b",
            "192.168.5.4",
            "999.1.1.1",
            "xn--abc",
            "sthree-x",
            "amzn-s3-demo-x",
            "abc-s3alias",
            "abc--ol-s3",
            "abc.mrap",
            "abc--x-s3",
            "abc--table-s3",
            "a/b",
            &"x".repeat(64),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn extra_slashes_in_a_prefix_are_removed() {
        for (given, normalized) in [("", ""), ("/", ""), ("security", "security"), ("/a//b/", "a/b")] {
            assert_eq!(Prefix::parse(given).unwrap().as_str(), normalized, "{given}");
        }
        assert_eq!(Prefix::parse(&format!("/{}/", "x".repeat(256))).unwrap().as_str().len(), 256);
    }

    #[test]
    fn a_prefix_that_a_policy_or_a_client_would_interpret_is_refused() {
        for bad in ["a*", "a?", "${aws:userid}", "ü", "a b", "a\\b", "../other", "a/./b", "a\nb", &"x".repeat(257)] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_known_regions_become_endpoints() {
        for bad in ["", "us-east-9", "evil.example.com/", "US-EAST-1"] {
            assert!(Region::parse(bad).is_err(), "{bad:?}");
        }
        for (name, partition) in
            [("eu-west-1", Partition::Aws), ("cn-north-1", Partition::AwsCn), ("us-gov-west-1", Partition::AwsUsGov)]
        {
            assert_eq!(Region::parse(name).map(Region::partition), Ok(partition));
        }
        assert!(Region::all().count() > 30);
        assert!(Region::all().all(|region| Region::parse(region.as_str()) == Ok(region)));
    }

    #[test]
    fn each_partition_has_its_own_console() {
        for (name, host) in [
            ("eu-west-1", "eu-west-1.console.aws.amazon.com"),
            ("cn-northwest-1", "cn-northwest-1.console.amazonaws.cn"),
            ("us-gov-east-1", "us-gov-east-1.console.amazonaws-us-gov.com"),
        ] {
            assert_eq!(Region::parse(name).map(Region::console_host).as_deref(), Ok(host));
        }
    }
}
