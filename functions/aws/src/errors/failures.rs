//! The failure of a request to each service: its code by the tables, and its message.

use audit_log_core::{
    failure::{Code, Failure},
    ports::Access,
    tenant::{Encryption, RoleArn},
};

use super::{
    AwsError,
    codes::{DYNAMODB, EVENTBRIDGE, LAMBDA, NO_ANSWER, NO_ERROR_OF_AWS, S3, SQS, STS, Table},
    denials::{Policy, account_in},
};

impl AwsError {
    fn failure_code(&self, table: &Table) -> Code {
        table.failure_code(&self.code, self.status)
    }

    /// AWS documents its codes as words. Anything else is not repeated.
    fn shown_code(&self) -> &str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '.';
        if !self.code.is_empty() && self.code.chars().all(is_word) { &self.code } else { "an unknown code" }
    }

    /// The failure of a request, with a message that fits every service.
    fn failure(&self, code: Code, service: &str, doing: &str) -> Failure {
        let is_one_of = |own: &str| own.split(' ').any(|own| own == self.code);
        let what = match code {
            _ if is_one_of(NO_ANSWER) => "AWS did not answer".to_owned(),
            _ if is_one_of(NO_ERROR_OF_AWS) => {
                format!("A request failed without an error of {service} ({})", self.code)
            }
            Code::Throttled => "AWS asked for fewer requests".to_owned(),
            Code::CredentialsExpired => "Temporary credentials expired".to_owned(),
            Code::Unavailable => format!("AWS could not serve a request for now ({})", self.shown_code()),
            Code::Rejected => format!("AWS answered {}", self.shown_code()),
            _ => format!("{service} answered {}", self.shown_code()),
        };
        Failure::new(code, format!("{what} while {doing}."))
    }

    /// The failure of a request to one of the platform's own resources.
    fn platform_failure(&self, table: &Table, doing: &str) -> Failure {
        self.log(doing);
        self.failure(self.failure_code(table), table.name, doing)
    }

    pub fn dynamodb_failure(&self, doing: &str) -> Failure {
        self.platform_failure(&DYNAMODB, doing)
    }

    /// A table or an encryption key that refuses to be read has a code of its own.
    pub fn events_failure(&self) -> Failure {
        let failure = self.dynamodb_failure("the events were read");
        match failure.code {
            Code::PlatformDenied => Failure::new(Code::EventsUnreadable, failure.message),
            _ => failure,
        }
    }

    pub fn lambda_failure(&self, doing: &str) -> Failure {
        self.platform_failure(&LAMBDA, doing)
    }

    pub fn sqs_failure(&self) -> Failure {
        self.platform_failure(&SQS, "due tenants were sent to the queue")
    }

    /// KMS has no table: whatever the reason, the window waits for its signature.
    pub fn signing_failure(&self, doing: &str) -> Failure {
        self.log(doing);
        self.failure(Code::SigningFailed, "KMS", doing)
    }

    pub fn eventbridge_failure(&self) -> Failure {
        self.platform_failure(&EVENTBRIDGE, "a notification was published on the bus")
    }

    /// `region` is that of the STS endpoint. `denies_organization` says whether the exporter's own policy denies the roles of the
    /// platform's organization.
    pub fn sts_failure(&self, role: &RoleArn, region: &str, denies_organization: bool) -> Failure {
        let doing = format!("the role {} was assumed", role.as_str());
        self.log(&doing);
        match self.failure_code(&STS) {
            Code::AssumeRoleDenied => self.assume_role_denied(role, denies_organization),
            Code::StsRegionDisabled => self.sts_region_disabled(role, region),
            code => self.failure(code, STS.name, &doing),
        }
    }

    fn assume_role_denied(&self, role: &RoleArn, denies_organization: bool) -> Failure {
        let role = role.as_str();
        // The caller is the exporter: what limits the caller is the platform's.
        let by_platform = match Policy::from_message(&self.message) {
            // The exporter's policy denies roles of the platform's own account, which are refused before they are tried, and of
            // its organization. Without an organization, a deny is one that the platform's operators added, such as IAM's
            // revocation of sessions.
            Some(Policy::Identity) if denies_organization && Policy::is_explicit(&self.message) => {
                return Failure::new(
                    Code::ConfigInvalid,
                    format!(
                        "role_arn: The platform does not assume the role {role}, since it is a role of the platform's own organization. Connect a role of an account outside of it."
                    ),
                );
            }
            Some(Policy::Identity) => "the policy of the exporter's own role",
            Some(Policy::Boundary) => "the permissions boundary of the exporter's own role",
            Some(Policy::ServiceControl) => "a service control policy (SCP) of the platform's organization",
            Some(Policy::Endpoint) => "the policy of the platform's VPC endpoint for STS",
            Some(Policy::ResourceControl) => {
                return Failure::new(
                    Code::AssumeRoleDenied,
                    format!(
                        "AWS refused to let the platform assume the role {role}: a resource control policy (RCP) of the role's organization doesn't allow it."
                    ),
                );
            }
            Some(Policy::Resource | Policy::Session) | None => {
                return Failure::new(
                    Code::AssumeRoleDenied,
                    format!(
                        "AWS refused to let the platform assume the role {role}: the role doesn't exist, doesn't trust the platform's exporter, or requires another external ID."
                    ),
                );
            }
        };
        let message =
            format!("AWS refused to let the platform assume the role {role}: {by_platform} doesn't allow it.");
        Failure::new(Code::PlatformDenied, message)
    }

    /// A region of STS must be active in the account that credentials are issued for, that is the role's ("Manage AWS STS in
    /// an AWS Region" in the IAM user guide). A region that has to be enabled must be enabled in the caller's account too.
    fn sts_region_disabled(&self, role: &RoleArn, region: &str) -> Failure {
        let account = role.account().as_str();
        match account_in(&self.message) {
            Some(named) if named != account => {
                let message = format!("STS is not active in {region} for the platform's own account.");
                Failure::new(Code::PlatformDenied, message)
            }
            _ => Failure::new(
                Code::StsRegionDisabled,
                format!(
                    "STS is not active in {region} for the account {account}, so the platform can't assume the role {}.",
                    role.as_str()
                ),
            ),
        }
    }

    /// `encryption` is that of the settings.
    pub fn s3_failure(&self, bucket: &str, region: &str, key: &str, encryption: &Encryption) -> Failure {
        let doing = format!("s3://{bucket}/{key} was stored");
        self.log(&doing);
        let code = self.s3_failure_code(region);
        match code {
            Code::AccessDenied if self.is_about_key() => self.kms_denied(bucket, encryption),
            Code::AccessDenied => self.write_denied(bucket, key),
            Code::KmsDenied => Failure::new(
                code,
                format!("The key that encrypts the bucket {bucket} can't be used ({}).", self.shown_code()),
            ),
            Code::KmsThrottled => Failure::new(
                code,
                format!(
                    "KMS refused more requests for the key that encrypts the bucket {bucket}: the role's account has reached its request quota of KMS in {region} ({}).",
                    self.shown_code()
                ),
            ),
            Code::BucketNotFound => Failure::new(code, format!("There is no bucket {bucket}.")),
            Code::WrongRegion => {
                let location = match &self.bucket_region {
                    Some(actual) => format!("is in {actual}"),
                    None => "is in another region".to_owned(),
                };
                Failure::new(code, format!("The bucket {bucket} {location}, but the settings say {region}."))
            }
            Code::RegionNotEnabled => Failure::new(
                code,
                format!(
                    "S3 in {region} did not accept the credentials that STS had just issued for the role: the role's account has not enabled that region."
                ),
            ),
            Code::AccountProblem => Failure::new(
                code,
                format!("AWS has blocked the account of the role or of the bucket {bucket} ({}).", self.shown_code()),
            ),
            // An upload that is gone was completed or aborted ("CompleteMultipartUpload" in the S3 API reference). The role
            // can't read, which would tell, so the window is exported again.
            Code::Unavailable if self.code == "NoSuchUpload" => Failure::new(
                code,
                format!(
                    "S3 no longer had the unfinished upload of s3://{bucket}/{key}. An attempt without an answer had completed it, or a lifecycle rule had aborted it."
                ),
            ),
            _ => self.failure(code, S3.name, &doing),
        }
    }

    /// A redirection says that the bucket is in another region, unless S3 names that of the settings.
    fn s3_failure_code(&self, region: &str) -> Code {
        let code = match self.status {
            // With or without a code in the body.
            301 => Code::WrongRegion,
            307 => Code::Unavailable,
            _ => self.failure_code(&S3),
        };
        let is_temporary = self.status == 307 || ["Redirect", "TemporaryRedirect"].contains(&self.code.as_str());
        match &self.bucket_region {
            Some(actual) if actual != region && is_temporary => Code::WrongRegion,
            Some(actual) if actual == region && code == Code::WrongRegion => Code::Rejected,
            // "Please reduce your request rate for operations involving AWS KMS."
            _ if code == Code::Throttled && self.message.contains("KMS") => Code::KmsThrottled,
            _ => code,
        }
    }

    fn write_denied(&self, bucket: &str, key: &str) -> Failure {
        let by_platform = |policy: &str| {
            Failure::new(Code::PlatformDenied, format!("{policy} doesn't allow s3://{bucket}/{key} to be stored."))
        };
        match Policy::from_message(&self.message) {
            Some(Policy::Endpoint) => return by_platform("The policy of the platform's VPC endpoint for S3"),
            Some(Policy::Session) => return by_platform("The session policy that the exporter sends"),
            _ => {}
        }
        let unnamed = "the role may not write there, or the bucket belongs to another account than expected";
        let reason = self.denying_policy().unwrap_or(unnamed);
        Failure::new(Code::AccessDenied, format!("S3 refused to store s3://{bucket}/{key}: {reason}."))
    }

    /// The customer's policy that refused a request to S3, if AWS names one.
    pub fn denying_policy(&self) -> Option<&'static str> {
        match Policy::from_message(&self.message)? {
            Policy::ServiceControl => {
                Some("a service control policy (SCP) of the role's organization doesn't allow it")
            }
            Policy::ResourceControl => {
                Some("a resource control policy (RCP) of the bucket's organization doesn't allow it")
            }
            Policy::Boundary => Some("the role's permissions boundary doesn't allow it"),
            Policy::Identity => Some("the role's own policy doesn't allow it"),
            Policy::Resource => Some("the bucket policy doesn't allow it"),
            Policy::Session | Policy::Endpoint => None,
        }
    }

    fn kms_denied(&self, bucket: &str, encryption: &Encryption) -> Failure {
        let reason = match Policy::from_message(&self.message) {
            Some(Policy::ServiceControl) => {
                ": a service control policy (SCP) of the role's organization doesn't allow it"
            }
            Some(Policy::ResourceControl) => {
                ": a resource control policy (RCP) of the key's organization doesn't allow it"
            }
            Some(Policy::Boundary) => ": the role's permissions boundary doesn't allow it",
            Some(Policy::Identity) => ": the role's own policy doesn't allow it",
            Some(Policy::Resource) => ": the key's policy doesn't allow it",
            Some(Policy::Session) => match encryption {
                // The session policy allows this key alone.
                Encryption::Bucket(Some(_)) => ": it is another key than that of the settings",
                // The session policy allows the key that S3 uses. Only its other conditions can refuse.
                Encryption::Bucket(None) | Encryption::SseS3 | Encryption::SseKms(_) => {
                    let message = format!(
                        "The session policy that the exporter sends doesn't allow the key that encrypts the bucket {bucket}."
                    );
                    return Failure::new(Code::PlatformDenied, message);
                }
            },
            Some(Policy::Endpoint) | None => "",
        };
        let message = format!("KMS refused to let the role use the key that encrypts the bucket {bucket}{reason}.");
        Failure::new(Code::KmsDenied, message)
    }

    /// KMS refuses only what S3 has allowed: S3 asks for the key last.
    fn is_about_key(&self) -> bool {
        self.message.contains("kms:")
    }

    /// Whether S3 allowed a request that it should refuse.
    pub fn access(&self, region: &str) -> Access {
        match self.code.as_str() {
            "AccessDenied" if self.is_about_key() => Access::Allowed,
            "AccessDenied" => Access::Refused,
            _ => {
                self.log("a right of the role was tried");
                Access::Unclear(self.s3_failure_code(region))
            }
        }
    }

    /// Whether S3 refused the request without saying why. It does so too if the bucket's owner is not the expected one.
    pub fn is_access_denied(&self) -> bool {
        self.code == "AccessDenied" && !self.is_about_key()
    }
}
