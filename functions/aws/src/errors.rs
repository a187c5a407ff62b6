//! Turns AWS's errors into the core's failures.
//!
//! AWS's error texts end here: they can hold anything, and don't say what to do. `codes` decides by AWS's code which failure
//! it is. `denials` finds out which policy refused a request.

mod codes;
mod denials;
mod failures;
#[cfg(test)]
mod tests;

pub(crate) use codes::is_throttle;

use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::Headers,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

/// The parts of an error that decide which failure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsError {
    /// AWS's error code, or one of this module if there was no response. Empty if the response has no code.
    pub code: String,
    /// AWS's message, which no failure repeats. Only what it says about the policy, the account and the key is used.
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
            SdkError::ServiceError(service) => service.err().code().unwrap_or_default(),
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
}
