//! The failure of a request to each service: its code by the tables, and its message.

use audit_log_core::{
    failure::{Code, Failure},
    ports::Access,
    tenant::RoleArn,
};

use super::{
    AwsError,
    codes::{DYNAMODB, EVENTBRIDGE, LAMBDA, NO_ANSWER, S3, SQS, STS, Table},
    denials::{Policy, account_in},
};

impl AwsError {
    fn failure_code(&self, table: &Table) -> Code {
        table.failure_code(&self.code, self.status)
    }

    /// AWS documents its codes as words. Anything else is not repeated.
    fn shown_code(&self) -> &str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '.';
        if self.code.chars().all(is_word) { &self.code } else { "an unknown code" }
    }

    /// The failure of a request, with a message that fits every service.
    fn failure(&self, code: Code, service: &str, doing: &str) -> Failure {
        let what = match code {
            Code::Throttled => "AWS asked for fewer requests".to_owned(),
            Code::CredentialsExpired => "Temporary credentials expired".to_owned(),
            Code::Unavailable if NO_ANSWER.split(' ').any(|own| own == self.code) => "AWS did not answer".to_owned(),
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

    pub fn eventbridge_failure(&self) -> Failure {
        self.platform_failure(&EVENTBRIDGE, "a notification was published on the bus")
    }

    /// `region` is that of the STS endpoint.
    pub fn sts_failure(&self, role: &RoleArn, region: &str) -> Failure {
        let doing = format!("the role {} was assumed", role.as_str());
        self.log(&doing);
        match self.failure_code(&STS) {
            Code::AssumeRoleDenied => self.assume_role_denied(role),
            Code::StsRegionDisabled => self.sts_region_disabled(role, region),
            code => self.failure(code, STS.name, &doing),
        }
    }

    fn assume_role_denied(&self, role: &RoleArn) -> Failure {
        let role = role.as_str();
        // The caller is the exporter: what limits the caller is the platform's.
        let by_platform = match Policy::from_message(&self.message) {
            Some(Policy::Identity) => "the policies of the exporter's own role",
            Some(Policy::Boundary) => "the permissions boundary of the exporter's own role",
            Some(Policy::ServiceControl) => "a service control policy (SCP) of the platform's organization",
            Some(Policy::Endpoint) => "the policy of the platform's VPC endpoint for STS",
            Some(Policy::ResourceControl) => {
                return Failure::new(
                    Code::AssumeRoleDenied,
                    format!(
                        "AWS refused to let the platform assume the role {role}: a resource control policy (RCP) of the role's organization denies it."
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
        let message = format!("AWS refused to let the platform assume the role {role}: {by_platform} denies it.");
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

    pub fn s3_failure(&self, bucket: &str, region: &str, key: &str) -> Failure {
        let doing = format!("s3://{bucket}/{key} was stored");
        self.log(&doing);
        let code = match self.status {
            // With or without a code in the body.
            301 | 307 => Code::WrongRegion,
            _ => self.failure_code(&S3),
        };
        match code {
            Code::AccessDenied if self.is_about_key() => self.kms_denied(bucket),
            Code::AccessDenied => self.write_denied(bucket, key),
            Code::KmsDenied => Failure::new(
                code,
                format!("The key that encrypts the bucket {bucket} can't be used ({}).", self.shown_code()),
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

    fn write_denied(&self, bucket: &str, key: &str) -> Failure {
        if Policy::from_message(&self.message) == Some(Policy::Endpoint) {
            let message = format!("The policy of the platform's VPC endpoint for S3 refused s3://{bucket}/{key}.");
            return Failure::new(Code::PlatformDenied, message);
        }
        let unnamed = "the role may not write there, or the bucket belongs to another account than expected";
        let reason = self.denying_policy().unwrap_or(unnamed);
        Failure::new(Code::AccessDenied, format!("S3 refused to store s3://{bucket}/{key}: {reason}."))
    }

    /// The customer's policy that refused a request to S3, if AWS names one.
    pub fn denying_policy(&self) -> Option<&'static str> {
        match Policy::from_message(&self.message)? {
            Policy::ServiceControl => Some("a service control policy (SCP) of the role's organization denies it"),
            Policy::ResourceControl => Some("a resource control policy (RCP) of the bucket's organization denies it"),
            Policy::Boundary => Some("the role's permissions boundary denies it"),
            Policy::Identity => Some("the role's own policies don't allow it"),
            Policy::Resource => Some("the bucket policy denies it"),
            Policy::Session | Policy::Endpoint => None,
        }
    }

    fn kms_denied(&self, bucket: &str) -> Failure {
        let reason = match Policy::from_message(&self.message) {
            Some(Policy::ServiceControl) => ": a service control policy (SCP) of the role's organization denies it",
            Some(Policy::ResourceControl) => ": a resource control policy (RCP) of the key's organization denies it",
            Some(Policy::Boundary) => ": the role's permissions boundary denies it",
            Some(Policy::Identity) => ": the role's own policies don't allow it",
            Some(Policy::Resource) => ": the key's policy doesn't allow it",
            // The session policy allows the key of the settings, or all keys if they have none.
            Some(Policy::Session) => ": it is another key than that of the settings",
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
    pub fn access(&self, bucket: &str, region: &str, key: &str) -> Access {
        match self.code.as_str() {
            "AccessDenied" if self.is_about_key() => Access::Allowed,
            "AccessDenied" => Access::Refused,
            _ => Access::Unclear(self.s3_failure(bucket, region, key).code),
        }
    }

    /// Whether S3 refused the request without saying why. It does so too if the bucket's owner is not the expected one.
    pub fn is_access_denied(&self) -> bool {
        self.code == "AccessDenied" && !self.is_about_key()
    }
}
