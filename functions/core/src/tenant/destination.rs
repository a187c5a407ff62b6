//! Bucket names and prefixes.

use super::{Invalid, Region, text_accessors};

/// The name of a general purpose bucket. It may be one that only an old bucket has: see [`Self::check_in`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketName(String);

text_accessors!(BucketName);

impl BucketName {
    /// Accepts what S3 serves in at least one region. Each character is safe in the ARNs of IAM policies.
    ///
    /// # Errors
    /// If the text breaks the "General purpose bucket naming rules" of the Amazon S3 user guide, those for buckets that were
    /// made in us-east-1 before March 2018 included. What these would allow, but means something else, is refused: an IP
    /// address, and the marks of access points and other kinds of buckets.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const RESERVED_STARTS: &[&str] = &["xn--", "sthree-", "amzn-s3-demo-"];
        const RESERVED_ENDS: &[&str] = &["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--xa-s3", "--op-s3", "--table-s3"];
        if !(3..=255).contains(&text.len()) {
            return Invalid::err("a bucket name has 3 to 63 characters");
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Invalid::err("a bucket name has only lowercase letters, digits, '-' and '.'");
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

    /// # Errors
    /// If no bucket of that region can have the name: outside us-east-1, names have always been valid host names.
    pub fn check_in(&self, region: Region) -> Result<(), Invalid> {
        let name = self.0.as_str();
        let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let broken = if name.len() > 63 {
            "has 3 to 63 characters"
        } else if name.bytes().any(|byte| byte.is_ascii_uppercase() || byte == b'_') {
            "has only lowercase letters, digits, '-' and '.'"
        } else if !edge(name.bytes().next()) || !edge(name.bytes().last()) {
            "begins and ends with a lowercase letter or a digit"
        } else if name.contains("..") {
            "has no two adjacent dots"
        } else {
            return Ok(());
        };
        if region.as_str() == "us-east-1" {
            return Ok(());
        }
        Invalid::err(format!(
            "a bucket name in {region} {broken}; only buckets that were made in us-east-1 before March 2018 may have others"
        ))
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

    const LEGACY: [&str; 9] =
        ["ABCD_Central_1", "Acme", "a_b", "-abc", "abc-", ".abc", "a..b", "___", "acme.Audit.logs"];

    #[test]
    fn buckets_follow_s3s_naming_rules() {
        for good in ["abc", "acme-audit-logs", "a.b.c", "1-2", &"x".repeat(63)] {
            let bucket = BucketName::parse(good).unwrap();
            assert!(Region::all().all(|region| bucket.check_in(region).is_ok()), "{good}");
        }
        for bad in [
            "",
            "ab",
            "A b",
            "192.168.5.4",
            "999.1.1.1",
            "xn--abc",
            "sthree-x",
            "amzn-s3-demo-x",
            "abc-s3alias",
            "abc--ol-s3",
            "abc.mrap",
            "abc--x-s3",
            "abc--xa-s3",
            "abc--op-s3",
            "abc--table-s3",
            "a/b",
            "ümlaut",
            &"x".repeat(256),
        ] {
            assert!(BucketName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_of_old_buckets_are_accepted_in_us_east_1_alone() {
        for name in LEGACY.into_iter().chain([&*"x".repeat(64), &"Y".repeat(255)]) {
            let bucket = BucketName::parse(name).unwrap();
            for region in Region::all() {
                assert_eq!(bucket.check_in(region).is_ok(), region.as_str() == "us-east-1", "{name} in {region}");
            }
        }
        let refused = BucketName::parse("ABCD_Central_1").unwrap().check_in(Region::parse("eu-west-1").unwrap());
        assert!(refused.unwrap_err().0.contains("only buckets that were made in us-east-1 before March 2018"));
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
}
