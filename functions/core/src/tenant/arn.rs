//! The ARNs of a customer's role and KMS key.

use super::{AccountId, Invalid, Partition, Region, text_accessors};

/// A customer's IAM role: `arn:<partition>:iam::<account>:role/[<path>/]<name>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleArn {
    text: String,
    partition: Partition,
    account: AccountId,
}

impl RoleArn {
    /// # Errors
    /// If the text breaks the rules of "IAM identifiers" and "IAM name requirements" in the IAM user guide: a name of 1
    /// to 64 characters of `[\w+=,.@-]`, a path of printable ASCII, 2,048 characters in all.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const SHAPE: &str = "a role's ARN looks like arn:aws:iam::123456789012:role/name";
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", partition, "iam", "", account, resource] = parts[..] else { return Invalid::err(SHAPE) };
        let Some(path_and_name) = resource.strip_prefix("role/") else { return Invalid::err(SHAPE) };
        let (path, name) = path_and_name.rsplit_once('/').unwrap_or(("", path_and_name));
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
        if text.len() > 2048 || !(1..=64).contains(&name.len()) || !name.bytes().all(in_name) {
            return Invalid::err("a role's name has 1 to 64 letters, digits or any of _+=,.@-");
        }
        if path.len() > 510 || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Invalid::err("a role's path has at most 512 printable ASCII characters");
        }
        Ok(Self { partition: Partition::parse(partition)?, account: AccountId::parse(account)?, text: text.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Only a platform in the same partition can assume the role.
    pub fn partition(&self) -> Partition {
        self.partition
    }

    pub fn account(&self) -> &AccountId {
        &self.account
    }
}

/// A customer's KMS key: `arn:<partition>:kms:<region>:<account>:key/<id>`. Aliases are refused: the session policy
/// names the key as a resource, and IAM matches no alias there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKeyArn(String, Region);

text_accessors!(KmsKeyArn);

impl KmsKeyArn {
    /// # Errors
    /// If the text is not a key's ARN in a known region. Source: "Key identifiers" in the KMS developer guide.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const SHAPE: &str = "a KMS key's ARN looks like arn:aws:kms:eu-west-1:123456789012:key/<key id>, not an alias";
        let parts: Vec<&str> = text.split(':').collect();
        let ["arn", partition, "kms", region, account, resource] = parts[..] else { return Invalid::err(SHAPE) };
        let id = resource.strip_prefix("key/").unwrap_or_default();
        let in_id = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !(1..=64).contains(&id.len()) || !id.bytes().all(in_id) {
            return Invalid::err(SHAPE);
        }
        AccountId::parse(account)?;
        let region = Region::parse(region)?;
        if Partition::parse(partition)? != region.partition() {
            return Invalid::err(format!("the key's region {region} is not in the partition {partition}"));
        }
        Ok(Self(text.to_owned(), region))
    }

    /// SSE-KMS needs the key in the bucket's region.
    pub fn region(&self) -> Region {
        self.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_may_have_a_path_and_be_in_any_partition() {
        for (text, partition, account) in [
            ("arn:aws:iam::222222222222:role/audit", Partition::Aws, "222222222222"),
            ("arn:aws-cn:iam::222222222222:role/a/b/c+=,.@-_", Partition::AwsCn, "222222222222"),
            ("arn:aws-us-gov:iam::333333333333:role/x", Partition::AwsUsGov, "333333333333"),
        ] {
            let role = RoleArn::parse(text).unwrap();
            assert_eq!((role.as_str(), role.partition(), role.account().as_str()), (text, partition, account));
        }
    }

    #[test]
    fn a_text_that_is_no_role_arn_is_refused() {
        for bad in [
            "",
            "audit",
            "arn:aws:iam::222222222222:user/x",
            "arn:aws:iam::222222222222:role/",
            "arn:aws:iam::22222222222:role/x",
            "arn:aws-xx:iam::222222222222:role/x",
            "arn:aws:iam:us-east-1:222222222222:role/x",
            "arn:aws:sts::222222222222:assumed-role/x/y",
            "arn:aws:iam::222222222222:role/a b",
            " arn:aws:iam::222222222222:role/x",
        ] {
            assert!(RoleArn::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_kms_key_is_named_by_its_arn_in_the_partition_of_its_region() {
        let good = "arn:aws:kms:eu-west-1:222222222222:key/mrk-1234abcd12ab34cd56ef1234567890ab";
        assert_eq!(KmsKeyArn::parse(good).unwrap().region().as_str(), "eu-west-1");
        for bad in [
            "",
            "alias/x",
            "1234abcd-12ab-34cd-56ef-1234567890ab",
            "arn:aws:kms:eu-west-1:222222222222:alias/x",
            "arn:aws:kms:nowhere-1:222222222222:key/x",
            "arn:aws-cn:kms:eu-west-1:222222222222:key/x",
            "arn:aws:kms:eu-west-1:222222222222:key/*",
        ] {
            assert!(KmsKeyArn::parse(bad).is_err(), "{bad:?}");
        }
    }
}
