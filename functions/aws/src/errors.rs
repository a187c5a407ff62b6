//! What AWS answers, in the core's words: which failure it is, and whose.
//!
//! The SDK's own error text goes no further than this: it can hold anything, and it tells nobody what to do.

use std::borrow::Cow;

use audit_log_core::{
    failure::{Code, Failure},
    ports::Access,
};
use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::Headers,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// The parts of an answer that a decision is made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// AWS's error code, or a word of ours where no answer came.
    pub code: String,
    /// AWS's message; looked into, never passed on.
    pub message: String,
    /// The HTTP status; 0 where no answer came.
    pub status: u16,
    /// The header `x-amz-bucket-region`.
    pub bucket_region: Option<String>,
    /// AWS's id of the request.
    pub request_id: Option<String>,
}

impl AwsError {
    /// Takes an error apart.
    pub fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        let header = |name: &str| {
            let headers: Option<&Headers> = error.raw_response().map(HttpResponse::headers);
            headers.and_then(|headers| headers.get(name)).map(str::to_owned)
        };
        let code = match error {
            SdkError::ServiceError(service) => Cow::Owned(service.err().code().unwrap_or("Unknown").to_owned()),
            SdkError::TimeoutError(_) => Cow::Borrowed("Timeout"),
            SdkError::DispatchFailure(_) => Cow::Borrowed("DispatchFailure"),
            SdkError::ResponseError(_) => Cow::Borrowed("ResponseError"),
            _ => Cow::Borrowed("ConstructionFailure"),
        };
        let message = error.as_service_error().and_then(|service| service.message()).unwrap_or_default();
        Self {
            code: code.into_owned(),
            message: message.to_owned(),
            status: error.raw_response().map_or(0, |response| response.status().as_u16()),
            bucket_region: header("x-amz-bucket-region"),
            request_id: header("x-amzn-requestid").or_else(|| header("x-amz-request-id")),
        }
    }

    /// Of one entry of a batch.
    pub(crate) fn of_entry(code: &str) -> Self {
        Self { status: 400, ..Self::nonsense(code) }
    }

    /// Of an answer that lacks what AWS documents it to have.
    pub(crate) fn nonsense(code: &str) -> Self {
        Self { code: code.to_owned(), message: String::new(), status: 200, bucket_region: None, request_id: None }
    }

    /// For whoever runs the platform: what was asked, and the ids by which AWS support finds it.
    fn log(&self, doing: &str) {
        let Self { code, status, request_id, .. } = self;
        tracing::warn!(aws_code = code, status, request_id, doing, "AWS refused a request");
    }

    /// The failure that this is whatever the request was, if it is one of those.
    ///
    /// By "Common error types" of each service's API reference.
    fn common(&self, doing: &str) -> Option<Failure> {
        let expired = ["ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"];
        let no_answer = ["Timeout", "DispatchFailure", "ResponseError", "RequestTimeout", "InternalError"];
        let failure = |code, what: &str| Some(Failure::new(code, format!("{what} while {doing}.")));
        match self.code.as_str() {
            code if is_throttle(code) || self.status == 429 => failure(Code::Throttled, "AWS asked for fewer requests"),
            code if expired.contains(&code) => failure(Code::CredentialsExpired, "Temporary credentials ended"),
            code if no_answer.contains(&code) || self.status >= 500 => {
                failure(Code::Unavailable, "AWS did not answer, or with an error of its own,")
            }
            _ => None,
        }
    }

    fn rejected(&self, doing: &str) -> Failure {
        // A code is a word from AWS's documents; anything else is not repeated.
        let word = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let code = if self.code.chars().all(word) { self.code.as_str() } else { "an unknown code" };
        Failure::new(Code::Rejected, format!("AWS answered {code} while {doing}."))
    }

    /// What went wrong with something of the platform's own.
    fn of_our_own(&self, service: &str, doing: &str) -> Failure {
        self.log(doing);
        let denied = [
            "AccessDenied",
            "AccessDeniedException",
            "AWS.SimpleQueueService.NonExistentQueue",
            "QueueDoesNotExist",
            "ResourceNotFoundException",
            "UnrecognizedClientException",
        ];
        self.common(doing).unwrap_or_else(|| match self.code.as_str() {
            code if denied.contains(&code) => {
                Failure::new(Code::PlatformDenied, format!("{service} answered {code} while {doing}."))
            }
            _ => self.rejected(doing),
        })
    }

    /// What went wrong with the platform's own tables.
    pub fn from_dynamodb(&self, doing: &str) -> Failure {
        self.of_our_own("DynamoDB", doing)
    }

    /// Why events were not read. What keeps them from being read at all has a code of its own; the key that encrypts them
    /// is among that.
    pub fn from_events(&self) -> Failure {
        let failure = self.from_dynamodb("the events were read");
        let refused = failure.code == Code::PlatformDenied || self.code.starts_with("KMS");
        if refused { Failure::new(Code::EventsUnreadable, failure.message) } else { failure }
    }

    /// Why the exporter was not invoked.
    pub fn from_lambda(&self, doing: &str) -> Failure {
        self.of_our_own("Lambda", doing)
    }

    /// Why due tenants were not handed over.
    pub fn from_sqs(&self) -> Failure {
        self.of_our_own("SQS", "due tenants were handed over to the queue")
    }

    /// Why a notification was not published.
    pub fn from_eventbridge(&self) -> Failure {
        self.of_our_own("EventBridge", "a notification was published on the bus")
    }

    /// Why a customer's role was not assumed.
    pub fn from_sts(&self, role: &str) -> Failure {
        let doing = format!("the role {role} was assumed");
        self.log(&doing);
        self.common(&doing).unwrap_or_else(|| match self.code.as_str() {
            "AccessDenied" | "AccessDeniedException" => Failure::new(
                Code::AssumeRoleDenied,
                format!("AWS refused to let the platform assume the role {role}: the role doesn't exist, doesn't trust the platform's exporter, or asks for another external ID."),
            ),
            "RegionDisabledException" => {
                Failure::new(Code::PlatformDenied, format!("STS is switched off in the exporter's region; {doing} in vain."))
            }
            _ => self.rejected(&doing),
        })
    }

    /// Why an object was not stored.
    pub fn from_s3(&self, bucket: &str, region: &str, key: &str) -> Failure {
        let doing = format!("s3://{bucket}/{key} was stored");
        self.log(&doing);
        if let Some(failure) = self.common(&doing) {
            return failure;
        }
        let wrong_region = [
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ];
        match self.code.as_str() {
            "NoSuchBucket" => Failure::new(Code::BucketNotFound, format!("There is no bucket {bucket}.")),
            code if wrong_region.contains(&code) || self.status == 301 || self.status == 307 => {
                let place = match &self.bucket_region {
                    Some(actual) => format!("is in {actual}"),
                    None => "is in another region".to_owned(),
                };
                Failure::new(Code::WrongRegion, format!("The bucket {bucket} {place}, but the settings say {region}."))
            }
            code if code.starts_with("KMS.") => Failure::new(
                Code::KmsDenied,
                format!("The key that encrypts the bucket {bucket} can't be used ({code})."),
            ),
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "InvalidObjectState" => {
                if self.message.contains("kms:") {
                    let message = format!("KMS refused the role the use of the key that encrypts the bucket {bucket}.");
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

    /// What S3 said to something that it ought to refuse. A refusal by KMS is none: S3 asks for the key only once the
    /// request itself is allowed.
    pub fn access(&self, bucket: &str, region: &str, key: &str) -> Access {
        match self.code.as_str() {
            "AccessDenied" if self.message.contains("kms:") => Access::Allowed,
            "AccessDenied" => Access::Refused,
            _ => Access::Unclear(self.from_s3(bucket, region, key).code),
        }
    }

    /// Whether this is a plain refusal, which S3 also answers when the bucket's owner is not the expected one.
    pub fn is_access_denied(&self) -> bool {
        self.code == "AccessDenied" && !self.message.contains("kms:")
    }
}

/// Whether a service has asked for fewer requests. By "Common error types" of each service's API reference.
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

    fn answer(status: u16, code: &str, message: &str) -> AwsError {
        AwsError { code: code.to_owned(), message: message.to_owned(), status, bucket_region: None, request_id: None }
    }

    #[test]
    fn s3s_refusals_are_told_apart() {
        for (status, code, message, expected) in [
            (404, "NoSuchBucket", "", Code::BucketNotFound),
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
            assert_eq!(answer(status, code, message).from_s3("b", "eu-west-1", "k").code, expected, "{code}");
        }
    }

    #[test]
    fn the_bucket_s_own_region_is_named_where_s3_names_it() {
        let redirect =
            AwsError { bucket_region: Some("eu-central-1".to_owned()), ..answer(301, "PermanentRedirect", "") };
        let failure = redirect.from_s3("b", "eu-west-1", "k");
        assert_eq!(failure.message, "The bucket b is in eu-central-1, but the settings say eu-west-1.");
    }

    #[test]
    fn a_refused_role_is_the_customers_and_a_throttle_is_not() {
        assert_eq!(answer(403, "AccessDenied", "").from_sts("r").party, Party::Customer);
        assert_eq!(answer(400, "Throttling", "").from_sts("r").party, Party::Platform);
        assert_eq!(answer(400, "PackedPolicyTooLarge", "").from_sts("r").code, Code::Rejected);
    }

    #[test]
    fn the_platforms_own_tables_are_the_platforms() {
        for (code, expected) in [
            ("AccessDeniedException", Code::PlatformDenied),
            ("ResourceNotFoundException", Code::PlatformDenied),
            ("ProvisionedThroughputExceededException", Code::Throttled),
            ("ValidationException", Code::Rejected),
        ] {
            assert_eq!(answer(400, code, "").from_dynamodb("reading").code, expected);
        }
    }

    #[test]
    fn events_that_nobody_may_read_are_told_apart_from_a_table_that_is_busy() {
        for (code, expected) in [
            ("AccessDeniedException", Code::EventsUnreadable),
            ("ResourceNotFoundException", Code::EventsUnreadable),
            ("KMSAccessDeniedException", Code::EventsUnreadable),
            ("KMSDisabledException", Code::EventsUnreadable),
            ("ProvisionedThroughputExceededException", Code::Throttled),
            ("ValidationException", Code::Rejected),
        ] {
            let failure = answer(400, code, "User: x is not authorized").from_events();
            assert_eq!((failure.code, failure.party), (expected, Party::Platform), "{code}");
            assert!(!failure.message.contains("User"), "{failure}");
        }
    }

    #[test]
    fn awss_own_words_never_reach_a_message() {
        let secret = "User: arn:aws:sts::1:assumed-role/x is not authorized; token=abc";
        for code in ["AccessDenied", "Whatever", "<script>"] {
            for failure in [
                answer(403, code, secret).from_s3("b", "eu-west-1", "k"),
                answer(403, code, secret).from_sts("r"),
                answer(403, code, secret).from_dynamodb("reading"),
            ] {
                assert!(!failure.message.contains("token") && !failure.message.contains('<'), "{}", failure.message);
            }
        }
    }
}
