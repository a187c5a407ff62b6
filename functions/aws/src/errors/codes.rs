//! AWS's error codes, and which failure each becomes. docs/operations.md shows these tables.
//!
//! Sources: the errors of each operation in its API reference, "Common error types" of each API reference, "Error
//! responses" in the S3 API reference, "Error handling with DynamoDB" in the DynamoDB developer guide, and
//! "PutEventsResultEntry" in the EventBridge API reference.

use audit_log_core::failure::Code;

/// The codes that become one failure, separated by spaces. A code that ends in `*` stands for all that begin with the rest: it
/// is for codes that AWS adds later. What AWS documents is listed in full.
pub(super) type Row = (Code, &'static str);

/// This crate's own codes: there was no whole response.
pub(super) const NO_ANSWER: &str = "Timeout DispatchFailure ResponseError";

/// This crate's own codes: a request that could not be built, an answer without an upload id, and a part that was given up.
pub(super) const NO_ERROR_OF_AWS: &str = "ConstructionFailure NoUploadId PartCancelled";

/// A service, or what the services have in common.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) rows: &'static [Row],
    /// What a code becomes that no table names.
    pub(super) unknown: Code,
}

/// What a request to any service can be answered, unless the service's own table names the code.
pub(super) const COMMON: Table = Table {
    name: "every service",
    rows: &[
        (
            Code::Throttled,
            "BandwidthLimitExceeded LimitExceededException ProvisionedThroughputExceeded ProvisionedThroughputExceededException
             RequestLimitExceeded RequestThrottled RequestThrottledException SlowDown ThrottledException Throttling
             ThrottlingError ThrottlingException TooManyRequestsException",
        ),
        (Code::CredentialsExpired, "ExpiredToken ExpiredTokenException TokenRefreshRequired"),
        (Code::Unavailable, NO_ANSWER),
        (
            Code::Unavailable,
            "InternalError InternalException InternalFailure InternalServerError RequestAbortedException RequestTimeout
             RequestTimeoutException ServiceException ServiceUnavailable ServiceUnavailableException",
        ),
        // A function that was frozen can send a request long after it was signed.
        (Code::Unavailable, "RequestExpired RequestTimeTooSkewed"),
        (
            Code::PlatformDenied,
            "AccessDenied AccessDeniedException AuthFailure Blocked IncompleteSignature IncompleteSignatureException
             InvalidClientTokenId InvalidSignatureException MissingAuthenticationToken MissingAuthenticationTokenException
             NotAuthorized OptInRequired PendingVerification ResourceNotFoundException SignatureDoesNotMatch
             UnrecognizedClientException",
        ),
        (Code::Unexpected, NO_ERROR_OF_AWS),
        (
            Code::Unexpected,
            "InvalidAction InvalidParameterCombination InvalidParameterValue InvalidQueryParameter
             MalformedHttpRequestException MalformedQueryString MissingAction MissingParameter
             RequestEntityTooLargeException SerializationException UnknownOperationException ValidationError
             ValidationException",
        ),
    ],
    unknown: Code::Unexpected,
};

/// AssumeRole. AWS's message can make `AccessDenied` and `RegionDisabledException` the platform's failure.
pub(super) const STS: Table = Table {
    name: "STS",
    rows: &[
        (Code::AssumeRoleDenied, "AccessDenied AccessDeniedException"),
        (Code::StsRegionDisabled, "RegionDisabledException"),
        // About the session policy, which this crate writes.
        (Code::Unexpected, "MalformedPolicyDocument PackedPolicyTooLarge"),
    ],
    unknown: Code::Rejected,
};

/// The delivery of an object, with the keys of KMS that S3 uses for it. AWS's message can make `AccessDenied` another
/// failure.
pub(super) const S3: Table = Table {
    name: "S3",
    rows: &[
        (Code::AccessDenied, "AccessDenied NotAuthorized"),
        (Code::BucketNotFound, "InvalidBucketName NoSuchBucket"),
        (
            Code::WrongRegion,
            "AuthorizationHeaderMalformed EndpointNotFound IllegalLocationConstraintException IncorrectEndpoint
             PermanentRedirect PermanentRedirectControlError",
        ),
        // The role's credentials are at most 15 minutes old, and expired ones have other codes.
        (
            Code::RegionNotEnabled,
            "AuthFailure InvalidAccessKeyId InvalidClientTokenId InvalidSecurity InvalidToken UnrecognizedClientException",
        ),
        (
            Code::AccountProblem,
            "AccountProblem AllAccessDisabled Blocked InvalidPayer NotSignedUp OptInRequired PendingVerification
             UnauthorizedAccessError UnexpectedIPError",
        ),
        (
            Code::KmsDenied,
            "KMS.* KMS.DisabledException KMS.DryRunOperationException KMS.IncorrectKeyException
             KMS.InvalidCiphertextException KMS.InvalidGrantTokenException KMS.InvalidKeyUsageException
             KMS.KMSInvalidStateException KMS.NotFoundException",
        ),
        // KMS counts a request in the account that makes it: the role's ("Request quotas" in the AWS KMS developer guide).
        (Code::KmsThrottled, "KMS.LimitExceededException KMS.RequestLimitExceeded KMS.ThrottlingException"),
        (
            Code::Unavailable,
            "KMS.DependencyTimeoutException KMS.InternalException KMS.KMSInternalException KMS.KeyUnavailableException",
        ),
        // The name of a new bucket doesn't lead to its region yet, which passes ("Making requests using the REST API" in the
        // Amazon S3 API reference). If S3 names another region than that of the settings, it is `WrongRegion`.
        (Code::Unavailable, "Redirect TemporaryRedirect"),
        // The connection broke, or something changed the bytes on the way.
        (Code::Unavailable, "BadDigest IncompleteBody XAmzContentChecksumMismatch XAmzContentSHA256Mismatch"),
        // Another request for the object or the bucket is at work.
        (Code::Unavailable, "ConditionalRequestConflict OperationAborted"),
        // Something ended the upload: a lifecycle rule, or an attempt whose answer was lost. The window's next attempt begins
        // another upload.
        (Code::Unavailable, "NoSuchUpload"),
        // Only this crate's request can cause these.
        (
            Code::Unexpected,
            "EntityTooLarge EntityTooSmall InvalidBucketOwnerAWSAccountID InvalidDigest InvalidHostHeader InvalidHttpMethod
             InvalidPart InvalidPartOrder InvalidSignature InvalidURI InvalidWriteOffset KeyTooLongError MalformedXML
             MaxMessageLengthExceeded MetadataTooLarge MissingAuthenticationToken MissingContentLength
             MissingRequestBodyError MissingSecurityHeader RequestHeaderSectionTooLarge SignatureDoesNotMatch TooManyParts
             UnexpectedContent UnsupportedArgument UnsupportedSignature",
        ),
        // The bucket is in a state or of a kind that no setting serves.
        (
            Code::Rejected,
            "EncryptionTypeMismatch InvalidArgument InvalidBucketState InvalidEncryptionAlgorithmError InvalidObjectState
             InvalidRequest InvalidStorageClass MethodNotAllowed NoSuchKey NotImplemented PreconditionFailed",
        ),
    ],
    unknown: Code::Rejected,
};

/// The platform's tables, with the keys that encrypt them.
pub(super) const DYNAMODB: Table = Table {
    name: "DynamoDB",
    rows: &[
        (Code::PlatformDenied, "KMS*"),
        // Another request for the same item is at work.
        (
            Code::Throttled,
            "ReplicatedWriteConflictException TransactionConflictException TransactionInProgressException",
        ),
        (
            Code::Unexpected,
            "ConditionalCheckFailedException IdempotentParameterMismatchException ItemCollectionSizeLimitExceededException
             ResourceInUseException TransactionCanceledException",
        ),
    ],
    unknown: Code::Unexpected,
};

/// SendMessageBatch. SQS has two names for some codes.
pub(super) const SQS: Table = Table {
    name: "SQS",
    rows: &[
        (
            Code::PlatformDenied,
            "AWS.SimpleQueueService.NonExistentQueue InvalidAddress InvalidSecurity KMS.* Kms* KmsAccessDenied KmsDisabled
             KmsInvalidKeyUsage KmsInvalidState KmsNotFound KmsOptInRequired QueueDoesNotExist",
        ),
        (Code::Throttled, "KMS.ThrottlingException KmsThrottled OverLimit"),
        (
            Code::Unexpected,
            "AWS.SimpleQueueService.* BatchEntryIdsNotDistinct BatchRequestTooLong EmptyBatchRequest InvalidBatchEntryId
             InvalidMessageContents TooManyEntriesInBatchRequest UnsupportedOperation",
        ),
    ],
    unknown: Code::Unexpected,
};

/// The console's requests to the exporter.
pub(super) const LAMBDA: Table = Table {
    name: "Lambda",
    rows: &[
        // The deployed function or its network is not that of the template, and can't start.
        (
            Code::PlatformDenied,
            "CodeArtifactUserDeletedException CodeArtifactUserFailedException EC2AccessDeniedException EFSIOException
             EFSMountConnectivityException EFSMountFailureException EFSMountTimeoutException InvalidRuntimeException
             InvalidSecurityGroupIDException InvalidSubnetIDException InvalidZipFileException KMS* KMSAccessDeniedException
             KMSDisabledException KMSInvalidStateException KMSNotFoundException ModeNotSupportedException
             NoPublishedVersionException RecursiveInvocationException S3FilesMountConnectivityException
             S3FilesMountFailureException S3FilesMountTimeoutException SnapStartException",
        ),
        (Code::Throttled, "EC2ThrottledException ServiceQuotaExceededException"),
        (
            Code::Unavailable,
            "CodeArtifactUserPendingException EC2UnexpectedException ENILimitReachedException ENINotReadyException
             ResourceConflictException ResourceNotReadyException SnapStartNotReadyException
             SnapStartRegenerationFailureException SnapStartTimeoutException SubnetIPAddressLimitReachedException",
        ),
        (
            Code::Unexpected,
            "DurableExecutionAlreadyStartedException InvalidParameterValueException InvalidRequestContentException
             RequestTooLargeException SerializedRequestEntityTooLargeException UnsupportedMediaTypeException",
        ),
    ],
    unknown: Code::Unexpected,
};

/// PutEvents, as a whole and for its one entry.
pub(super) const EVENTBRIDGE: Table = Table {
    name: "EventBridge",
    rows: &[
        (
            Code::PlatformDenied,
            "InvalidAccountIdException NotAuthorizedForDetailTypeException NotAuthorizedForSourceException",
        ),
        (Code::Unexpected, "InvalidArgument MalformedDetail RedactionFailure"),
    ],
    unknown: Code::Unexpected,
};

impl Table {
    /// Which failure a code of this service becomes: by its name, by the beginning of its name, or by the HTTP status.
    pub(super) fn failure_code(&self, code: &str, status: u16) -> Code {
        let is_beginning = |name: &str| name.strip_suffix('*').is_some_and(|start| code.starts_with(start));
        let named = self.find(|name| name == code).or_else(|| COMMON.find(|name| name == code));
        named.or_else(|| self.find(is_beginning)).unwrap_or(match status {
            429 => Code::Throttled,
            500.. => Code::Unavailable,
            _ => self.unknown,
        })
    }

    fn find(&self, is_it: impl Fn(&str) -> bool) -> Option<Code> {
        self.rows.iter().find(|(_, names)| names.split_whitespace().any(&is_it)).map(|(failure, _)| *failure)
    }
}

/// Whether a code asks for fewer requests.
pub(crate) fn is_throttle(code: &str) -> bool {
    COMMON.find(|name| name == code) == Some(Code::Throttled)
}

#[cfg(test)]
pub(super) const ALL: &[&Table] = &[&STS, &S3, &DYNAMODB, &SQS, &LAMBDA, &EVENTBRIDGE, &COMMON];
