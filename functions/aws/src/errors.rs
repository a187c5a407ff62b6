//! Turns AWS's errors into the core's failures.
//!
//! AWS's error texts end here: they can hold anything, and don't say what to do.

use audit_log_core::{
    failure::{Code, Failure},
    ports::Access,
};
use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::Headers,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// The parts of an error that decide which failure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// AWS's error code, or one of this module if there was no response.
    pub code: String,
    /// AWS's message, which no failure repeats.
    pub message: String,
    /// The HTTP status; 0 if there was no response.
    pub status: u16,
    /// The header `x-amz-bucket-region`.
    pub bucket_region: Option<String>,
    pub request_id: Option<String>,
}

impl AwsError {
    pub fn from_sdk<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let header = |name: &str| {
            let headers: Option<&Headers> = error.raw_response().map(HttpResponse::headers);
            headers.and_then(|headers| headers.get(name)).map(str::to_owned)
        };
        let code = match error {
            SdkError::ServiceError(service) => service.err().code().unwrap_or("Unknown"),
            SdkError::TimeoutError(_) => "Timeout",
            SdkError::DispatchFailure(_) => "DispatchFailure",
            SdkError::ResponseError(_) => "ResponseError",
            _ => "ConstructionFailure",
        };
        let message = error.as_service_error().and_then(|service| service.message()).unwrap_or_default();
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
            status: error.raw_response().map_or(0, |response| response.status().as_u16()),
            bucket_region: header("x-amz-bucket-region"),
            request_id: header("x-amzn-requestid").or_else(|| header("x-amz-request-id")),
        }
    }

    /// The error of one entry in the response to a batch.
    pub(crate) fn from_batch_entry(code: &str) -> Self {
        Self { status: 400, ..Self::invalid_response(code) }
    }

    /// A response without something that AWS documents.
    pub(crate) fn invalid_response(code: &str) -> Self {
        Self { code: code.to_owned(), message: String::new(), status: 200, bucket_region: None, request_id: None }
    }

    /// The request id is for AWS support.
    fn log(&self, doing: &str) {
        let Self { code, status, request_id, .. } = self;
        tracing::warn!(aws_code = code, status, request_id, doing, "AWS refused a request");
    }

    /// The failures that any request can have, by "Common error types" of each service's API reference.
    fn common_failure(&self, doing: &str) -> Option<Failure> {
        let expired = ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];
        let no_answer = ["Timeout", "DispatchFailure", "ResponseError", "RequestTimeout", "InternalError"];
        let failure = |code, what: &str| Some(Failure::new(code, format!("{what} while {doing}.")));
        match self.code.as_str() {
            code if is_throttle(code) || self.status == 429 => failure(Code::Throttled, "AWS asked for fewer requests"),
            code if expired.contains(&code) => failure(Code::CredentialsExpired, "Temporary credentials expired"),
            code if no_answer.contains(&code) || self.status >= 500 => {
                failure(Code::Unavailable, "AWS did not answer, or answered with an error of its own,")
            }
            _ => None,
        }
    }

    fn rejected(&self, doing: &str) -> Failure {
        // AWS documents its codes as words. Anything else is not repeated.
        let word = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let code = if self.code.chars().all(word) { self.code.as_str() } else { "an unknown code" };
        Failure::new(Code::Rejected, format!("AWS answered {code} while {doing}."))
    }

    /// The failure of a request to one of the platform's own resources.
    fn platform_failure(&self, service: &str, doing: &str) -> Failure {
        self.log(doing);
        let denied = [
            "AccessDenied",
            "AccessDeniedException",
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
            "ResourceNotFoundException",
            "UnrecognizedClientException",
        ];
        self.common_failure(doing).unwrap_or_else(|| match self.code.as_str() {
            code if denied.contains(&code) => {
                Failure::new(Code::PlatformDenied, format!("{service} answered {code} while {doing}."))
            }
            _ => self.rejected(doing),
        })
    }

    pub fn dynamodb_failure(&self, doing: &str) -> Failure {
        self.platform_failure("DynamoDB", doing)
    }

    /// A table or an encryption key that refuses to be read has a code of its own.
    pub fn events_failure(&self) -> Failure {
        let failure = self.dynamodb_failure("the events were read");
        let refused = failure.code == Code::PlatformDenied || self.code.starts_with("KMS");
        if refused { Failure::new(Code::EventsUnreadable, failure.message) } else { failure }
    }

    pub fn lambda_failure(&self, doing: &str) -> Failure {
        self.platform_failure("Lambda", doing)
    }

    pub fn sqs_failure(&self) -> Failure {
        self.platform_failure("SQS", "due tenants were sent to the queue")
    }

    pub fn eventbridge_failure(&self) -> Failure {
        self.platform_failure("EventBridge", "a notification was published on the bus")
    }

    pub fn sts_failure(&self, role: &str) -> Failure {
        let doing = format!("the role {role} was assumed");
        self.log(&doing);
        self.common_failure(&doing).unwrap_or_else(|| match self.code.as_str() {
            "AccessDenied" | "AccessDeniedException" => Failure::new(
                Code::AssumeRoleDenied,
                format!("AWS refused to let the platform assume the role {role}: the role doesn't exist, doesn't trust the platform's exporter, or requires another external ID."),
            ),
            "RegionDisabledException" => {
                Failure::new(Code::PlatformDenied, "STS is switched off in the exporter's region.")
            }
            _ => self.rejected(&doing),
        })
    }

    pub fn s3_failure(&self, bucket: &str, region: &str, key: &str) -> Failure {
        let doing = format!("s3://{bucket}/{key} was stored");
        self.log(&doing);
        if let Some(failure) = self.common_failure(&doing) {
            return failure;
        }
        let wrong_region = [
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ];
        match self.code.as_str() {
            // "CompleteMultipartUpload" in the S3 API reference: the upload was aborted or completed. So an earlier attempt may
            // have completed it. The role can't read, which would tell: the window is exported again.
            "NoSuchUpload" => Failure::new(
                Code::Unavailable,
                format!(
                    "S3 no longer had the unfinished upload of s3://{bucket}/{key}. An attempt without an answer had completed it, or a lifecycle rule had aborted it."
                ),
            ),
            "NoSuchBucket" => Failure::new(Code::BucketNotFound, format!("There is no bucket {bucket}.")),
            code if wrong_region.contains(&code) || self.status == 301 || self.status == 307 => {
                let location = match &self.bucket_region {
                    Some(actual) => format!("is in {actual}"),
                    None => "is in another region".to_owned(),
                };
                Failure::new(
                    Code::WrongRegion,
                    format!("The bucket {bucket} {location}, but the settings say {region}."),
                )
            }
            code if code.starts_with("KMS.") => Failure::new(
                Code::KmsDenied,
                format!("The key that encrypts the bucket {bucket} can't be used ({code})."),
            ),
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "InvalidObjectState" => {
                if self.message.contains("kms:") {
                    let message = format!("KMS refused to let the role use the key that encrypts the bucket {bucket}.");
                    return Failure::new(Code::KmsDenied, message);
                }
                Failure::new(
                    Code::AccessDenied,
                    format!(
                        "S3 refused to store s3://{bucket}/{key}: the role may not write there, or the bucket belongs to another account than expected."
                    ),
                )
            }
            _ => self.rejected(&doing),
        }
    }

    /// Whether S3 allowed a request that it should refuse. KMS refuses only what S3 has allowed: S3 asks for the key last.
    pub fn access(&self, bucket: &str, region: &str, key: &str) -> Access {
        match self.code.as_str() {
            "AccessDenied" if self.message.contains("kms:") => Access::Allowed,
            "AccessDenied" => Access::Refused,
            _ => Access::Unclear(self.s3_failure(bucket, region, key).code),
        }
    }

    /// Whether S3 refused the request without saying why. It does so too if the bucket's owner is not the expected one.
    pub fn is_access_denied(&self) -> bool {
        self.code == "AccessDenied" && !self.message.contains("kms:")
    }
}

/// Whether a code asks for fewer requests.
pub(crate) fn is_throttle(code: &str) -> bool {
    const CODES: [&str; 10] = [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottled",
        "RequestThrottledException",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "LimitExceededException",
    ];
    CODES.contains(&code)
}

#[cfg(test)]
mod tests {
    use audit_log_core::failure::Party;

    use super::*;

    fn error(status: u16, code: &str, message: &str) -> AwsError {
        AwsError { code: code.to_owned(), message: message.to_owned(), status, bucket_region: None, request_id: None }
    }

    #[test]
    fn each_error_of_s3_has_its_own_code() {
        for (status, code, message, expected) in [
            (404, "NoSuchBucket", "", Code::BucketNotFound),
            (404, "NoSuchUpload", "", Code::Unavailable),
            (301, "PermanentRedirect", "", Code::WrongRegion),
            (400, "AuthorizationHeaderMalformed", "", Code::WrongRegion),
            (403, "AccessDenied", "Access Denied", Code::AccessDenied),
            (403, "AccessDenied", "User: x is not authorized to perform: kms:GenerateDataKey on y", Code::KmsDenied),
            (400, "KMS.DisabledException", "", Code::KmsDenied),
            (503, "SlowDown", "", Code::Throttled),
            (503, "ServiceUnavailable", "", Code::Unavailable),
            (500, "InternalError", "", Code::Unavailable),
            (0, "Timeout", "", Code::Unavailable),
            (400, "ExpiredToken", "", Code::CredentialsExpired),
            (400, "EntityTooLarge", "", Code::Rejected),
        ] {
            assert_eq!(error(status, code, message).s3_failure("b", "eu-west-1", "k").code, expected, "{code}");
        }
    }

    #[test]
    fn the_message_names_the_buckets_region_if_s3_does() {
        let redirect =
            AwsError { bucket_region: Some("eu-central-1".to_owned()), ..error(301, "PermanentRedirect", "") };
        let failure = redirect.s3_failure("b", "eu-west-1", "k");
        assert_eq!(failure.message, "The bucket b is in eu-central-1, but the settings say eu-west-1.");
    }

    #[test]
    fn a_refused_role_is_the_customers_failure_and_a_throttle_is_the_platforms() {
        assert_eq!(error(403, "AccessDenied", "").sts_failure("r").party, Party::Customer);
        assert_eq!(error(400, "Throttling", "").sts_failure("r").party, Party::Platform);
        assert_eq!(error(400, "PackedPolicyTooLarge", "").sts_failure("r").code, Code::Rejected);
    }

    #[test]
    fn a_failure_of_the_tables_is_the_platforms() {
        for (code, expected) in [
            ("AccessDeniedException", Code::PlatformDenied),
            ("ResourceNotFoundException", Code::PlatformDenied),
            ("ProvisionedThroughputExceededException", Code::Throttled),
            ("ValidationException", Code::Rejected),
        ] {
            assert_eq!(error(400, code, "").dynamodb_failure("reading").code, expected);
        }
    }

    #[test]
    fn events_that_can_not_be_read_have_another_code_than_a_busy_table() {
        for (code, expected) in [
            ("AccessDeniedException", Code::EventsUnreadable),
            ("ResourceNotFoundException", Code::EventsUnreadable),
            ("KMSAccessDeniedException", Code::EventsUnreadable),
            ("KMSDisabledException", Code::EventsUnreadable),
            ("ProvisionedThroughputExceededException", Code::Throttled),
            ("ValidationException", Code::Rejected),
        ] {
            let failure = error(400, code, "User: x is not authorized").events_failure();
            assert_eq!((failure.code, failure.party), (expected, Party::Platform), "{code}");
            assert!(!failure.message.contains("User"), "{failure}");
        }
    }

    #[test]
    fn awss_error_texts_never_reach_a_message() {
        let secret = "User: arn:aws:sts::1:assumed-role/x is not authorized; token=abc";
        for code in ["AccessDenied", "Whatever", "<script>"] {
            for failure in [
                error(403, code, secret).s3_failure("b", "eu-west-1", "k"),
                error(403, code, secret).sts_failure("r"),
                error(403, code, secret).dynamodb_failure("reading"),
            ] {
                assert!(!failure.message.contains("token") && !failure.message.contains('<'), "{}", failure.message);
            }
        }
    }
}
