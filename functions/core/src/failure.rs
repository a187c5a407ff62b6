//! Failures: a stable code, who must act, and what to do.
//!
//! Codes are a contract with dashboards, alarms and docs/operations.md: add codes, but rename none. A message may name the
//! tenant's bucket, role and region, but holds no SDK's error text, no credential and no event.

use std::fmt;

/// Who must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The tenant's admin, in the customer's AWS account or in the settings.
    Customer,
    /// The operators of this system.
    Platform,
}

impl Party {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Platform => "platform",
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Declares each code once, with its party and what to do about it.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $party:ident, $hint:literal;)*) => {
        /// A stable code for a kind of failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            pub const ALL: &[Self] = &[$(Self::$name),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Who must act, unless the failure says otherwise.
            pub fn party(self) -> Party {
                match self { $(Self::$name => Party::$party,)* }
            }

            /// What that party should do.
            pub fn hint(self) -> &'static str {
                match self { $(Self::$name => $hint,)* }
            }
        }
    };
}

codes! {
    /// STS refused the role: it is gone, doesn't trust the platform's role, or wants another external ID.
    AssumeRoleDenied = "assume_role_denied", Customer,
        "If the role was made a minute ago, try again. Check the role's ARN for typing errors; if it is right, create the stack from the quick-create template again, with the external ID that the connector shows, and connect the new stack's RoleArn. An organization's resource control policy (RCP) can also refuse the platform.";
    /// STS is switched off in the exporter's region for the account of the role.
    StsRegionDisabled = "sts_region_disabled", Customer,
        "Activate STS in the region that the message names: in the IAM console of the role's account, under Account settings, Endpoints. If the region is not enabled in that account, enable it first, under Account, AWS Regions.";
    /// No bucket has that name.
    BucketNotFound = "bucket_not_found", Customer,
        "Create the bucket, or save the name of one that exists.";
    /// The bucket is in another region than the settings say.
    WrongRegion = "wrong_region", Customer,
        "Save the settings with the region that the bucket is in.";
    /// S3 does not accept fresh credentials: the role's account has not enabled the bucket's region.
    RegionNotEnabled = "region_not_enabled", Customer,
        "Enable the bucket's region in the role's account, under Account, AWS Regions, and wait until it is enabled; or save a bucket in a region that is enabled there. If it is enabled, look whether the role was deleted.";
    /// AWS has blocked an account: it is suspended, not verified or not signed up.
    AccountProblem = "account_problem", Customer,
        "Sign in to the AWS accounts of the role and of the bucket and settle what AWS asks for there, such as a payment, a verification or, in China, an ICP record; otherwise ask AWS Support.";
    /// S3 refused the write.
    AccessDenied = "access_denied", Customer,
        "Save the bucket and the prefix that the role is limited to, or allow the role s3:PutObject and s3:AbortMultipartUpload there. If the role allows them, look for what denies them: a bucket policy (with aws:SourceVpce, aws:SourceIp or a demand for encryption), an organization's policy (SCP or RCP), a permissions boundary, the policy of the platform's VPC endpoint (ask its operators), Object Lock, Object Ownership or Requester Pays. The console's page /obstacles has the command that shows each.";
    /// KMS refused the key, or the key can't be used.
    KmsDenied = "kms_denied", Customer,
        "Allow the role kms:GenerateDataKey and kms:Decrypt on the key, in the role and in the key's own policy, and make sure that the key is enabled, not pending deletion, and in the bucket's region. If the settings name a key, it must be the one that encrypts the bucket. An organization's policy (SCP or RCP) can also deny it.";
    /// KMS asked for fewer requests for the key of the bucket.
    KmsThrottled = "kms_throttled", Customer,
        "Nothing, if it passes: the next tick goes on where this one stopped. If it stays, turn S3 Bucket Keys on in the bucket's default encryption, or raise the request quota of KMS in Service Quotas: in the role's account, in the bucket's region. If the key is in a custom key store, look at that store's limits.";
    /// The bucket belongs to another account than expected: nothing was written.
    BucketOwnerMismatch = "bucket_owner_mismatch", Customer,
        "Check the bucket's name for typing errors; if the bucket is meant to be in another account than the role, save that account as the bucket's owner.";
    /// The role can be assumed without the tenant's external ID; found by a verification.
    ExternalIdNotEnforced = "external_id_not_enforced", Customer,
        "Let the role's trust policy demand the external ID with StringEquals on sts:ExternalId, without wildcards and without IfExists; the quick-create template does.";
    /// The role may do more than a delivery needs: a warning of a verification.
    ExcessRights = "excess_rights", Customer,
        "Narrow the role to s3:PutObject and s3:AbortMultipartUpload under the tenant's folder, as the quick-create template does.";
    /// The role isn't limited to the tenant's folder, but does nothing else too much: a warning of a verification.
    RoleFolderTooWide = "role_folder_too_wide", Customer,
        "Set TenantId in the role's stack: run the update command of the connector page (updateCli in the API's answer). Write the stack's own name and region in it if they differ. With Terraform, replace the file by that of the connector page, and apply it.";
    /// The bucket belongs to another account than the role: a warning of a verification.
    ObjectOwnership = "object_ownership", Customer,
        "In the bucket's account, switch ACLs off: aws s3api put-bucket-ownership-controls --bucket BUCKET --ownership-controls 'Rules=[{ObjectOwnership=BucketOwnerEnforced}]'. If they are off already, as they are by default in new buckets, there is nothing to do.";
    /// The tenant's stored settings can't be used.
    ConfigInvalid = "config_invalid", Customer,
        "Correct the field named in the message and save the settings again.";
    /// An AWS service asked for fewer requests, for longer than retries.
    Throttled = "throttled", Platform,
        "Nothing, if it passes: the next tick goes on where this one stopped. If it stays, raise the service's quota or lower MAX_CONCURRENT_EXPORTS.";
    /// An AWS service did not answer, or answered with a server's error, for longer than retries.
    Unavailable = "unavailable", Platform,
        "Nothing, if it passes: the next tick goes on where this one stopped. If it stays, see the AWS Health Dashboard and the exporter's network.";
    /// The platform's own role, account or network may not do what a function needs.
    PlatformDenied = "platform_denied", Platform,
        "Compare the function and its role with infra/template.yaml, and deploy the template again. Then look at what limits the platform's account: an organization's policy (SCP), a permissions boundary, the policy of a VPC endpoint, or STS that is switched off in the region.";
    /// The events table can't be read: a right, the table or its key is missing.
    EventsUnreadable = "events_unreadable", Platform,
        "Compare the exporter's role with infra/template.yaml, and look whether the events table and the key that encrypts it are there and enabled. Nothing is lost as long as the events are kept; the next tick that can read them catches up.";
    /// The exporter's or the tenant's temporary credentials expired during the export.
    CredentialsExpired = "credentials_expired", Platform,
        "Nothing, if it passes: the next tick assumes the role again. If it stays, check the function's timeout, which must not exceed 15 minutes.";
    /// Events of the window may have been deleted before they could be exported.
    RetentionExceeded = "retention_exceeded", Platform,
        "The receipt, and mostly the object itself, say that it may be incomplete. Find out why the tenant was behind for that long, and keep events longer (EVENTS_RETENTION_DAYS and the writers' expires_at).";
    /// A run found its lease gone or expired before a write.
    LeaseLost = "lease_lost", Platform,
        "Nothing is lost: the watermark did not move, and the run that has the lease now goes on from it. Find out why two runs were at work: a function whose timeout exceeds 15 minutes, a clock that is wrong by many minutes, or a lease that was released by hand.";
    /// KMS did not sign a window's manifest.
    SigningFailed = "signing_failed", Platform,
        "Nothing, if it passes: for six hours the window waits for its signature. If it stays, make sure that the manifest key, the stack's output ManifestKeyArn, is enabled and lets the exporter's role sign, and look at KMS's request quotas.";
    /// STS or S3 refused a request to a customer's role or bucket, and this version knows no remedy for AWS's code.
    Rejected = "rejected", Platform,
        "Look AWS's code up in AWS's documentation: if a policy or a setting of the bucket, the role or the account refuses the request, tell the tenant. AWS Support can look up the request id in the exporter's log. If nothing explains the code, open an issue with this project, naming it.";
    /// Something happened in the platform that this version knows no remedy for.
    Unexpected = "unexpected", Platform,
        "Look AWS's code in the message up in AWS's documentation of that service; the request id is in the function's log. If nothing explains it, open an issue with this project, naming the code.";
}

impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let code = Self::ALL.iter().find(|code| code.as_str() == text);
        code.copied().ok_or_else(|| serde::de::Error::custom("this is a code of another version"))
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an export or another request did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    pub code: Code,
    /// Who must act.
    pub party: Party,
    /// What happened, in plain words.
    pub message: String,
}

impl Failure {
    /// A failure for the code's party.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, party: code.party(), message: message.into() }
    }

    /// A failure for another party than the code's.
    pub fn by(party: Party, code: Code, message: impl Into<String>) -> Self {
        Self { code, party, message: message.into() }
    }
}

/// Returns the message that a tenant sees: that of a failure that the tenant can do something about, and a general one for
/// others. The log and the records have the full message.
pub fn message_for_tenant(party: Party, code: &str, message: &str) -> String {
    let is = |known: Code| code == known.as_str();
    // Tenants must know what may be missing in their buckets, even if the platform must act.
    if party == Party::Customer || is(Code::RetentionExceeded) {
        return message.to_owned();
    }
    if is(Code::Rejected) {
        return format!(
            "{message} Look this code up in AWS's documentation: a policy or a setting of your bucket, role or account may \
             refuse the request. The platform's operators look into it as well."
        );
    }
    "The platform could not export. You don't have to do anything: its operators have to act, and the missing windows are \
     exported afterwards."
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_in_snake_case_and_has_a_hint() {
        let mut seen = std::collections::HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} twice");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{code}");
            assert!(code.hint().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn the_documented_codes_parties_and_fixes_are_exactly_these() {
        let page = include_str!("../../../docs/operations.md");
        let (_, section) = page.split_once("\n## Failures\n").unwrap();
        let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect();
        let documented: Vec<_> = rows.iter().map(|row| (row[0].trim_matches('`'), row[1], row[3])).collect();
        let codes: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), code.party().as_str(), code.hint())).collect();
        assert_eq!(documented, codes);
        assert!(rows.iter().all(|row| row.len() == 4 && !row[2].is_empty()), "a cause is missing: {rows:?}");
    }

    #[test]
    fn a_tenant_sees_what_aws_answered_about_its_bucket_and_nothing_about_the_platforms_services() {
        let shown = |failure: &Failure| message_for_tenant(failure.party, failure.code.as_str(), &failure.message);
        let of = |code| Failure::new(code, "AWS answered AccessPointNotOwnedByYou while s3://b/k was stored.");
        assert_eq!(shown(&of(Code::AccessDenied)), of(Code::AccessDenied).message);
        let rejected = shown(&of(Code::Rejected));
        assert!(rejected.starts_with(&of(Code::Rejected).message) && rejected.contains("your bucket"), "{rejected}");
        for code in [Code::Unexpected, Code::PlatformDenied, Code::Throttled] {
            assert!(shown(&of(code)).starts_with("The platform could not export."), "{code}");
        }
    }
}
