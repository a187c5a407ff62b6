//! Lets the console invoke the exporter, to verify a connection, to publish notifications, or to export a tenant now.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    ports::{ExporterTrigger, Verifier},
    tenant::TenantId,
    verification::{Verification, VerificationRequest},
};
use aws_config::SdkConfig;
use aws_sdk_lambda::{
    Client,
    config::{retry::RetryConfig, timeout::TimeoutConfig},
    primitives::Blob,
    types::InvocationType,
};
use aws_smithy_runtime_api::client::{
    interceptors::context::InterceptorContext,
    retries::classifiers::{ClassifyRetry, RetryAction},
};
use serde_json::{Value, json};

use crate::errors::AwsError;

/// The exporter answers within 20 seconds, and an HTTP API gives up after 30. It holds for all attempts together.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

/// Forbids another attempt after any response: an admin waits, and it would come too late. What remains is a connection that
/// breaks. Lambda freezes the console between requests, and a connection that it kept may be dead when it goes on. To invoke
/// the exporter twice does no harm.
#[derive(Debug)]
struct OnlyWithoutResponse;

impl ClassifyRetry for OnlyWithoutResponse {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if context.response().is_some() { RetryAction::RetryForbidden } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "OnlyWithoutResponse"
    }
}

#[derive(Debug, Clone)]
pub struct ExporterFunction {
    client: Client,
    name: String,
}

impl ExporterFunction {
    /// `name` is the function's name or ARN.
    pub fn new(shared: &SdkConfig, name: impl Into<String>) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(ANSWER_TIMEOUT).build();
        let retries = RetryConfig::standard().with_max_attempts(2).with_initial_backoff(Duration::from_millis(100));
        let config = aws_sdk_lambda::config::Builder::from(shared)
            .retry_config(retries)
            .retry_classifier(OnlyWithoutResponse)
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(config), name: name.into() }
    }
}

impl Verifier for ExporterFunction {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let payload = json!({ "verify": request });
        let sent = self.client.invoke().function_name(&self.name).payload(Blob::new(payload.to_string())).send();
        let output = sent.await.map_err(|error| {
            AwsError::from_sdk(&error).lambda_failure("the exporter was asked to verify a connection")
        })?;
        let unexpected = |what: &str| Failure::new(Code::Unexpected, format!("{what}; its log says more."));
        if output.function_error.is_some() {
            return Err(unexpected("The exporter failed while it verified a connection"));
        }
        let payload = output.payload.map(Blob::into_inner).unwrap_or_default();
        serde_json::from_slice(&payload)
            .map_err(|_| unexpected("The exporter's answer to a verification has another shape"))
    }
}

impl ExporterFunction {
    /// Returns once Lambda has queued the event.
    async fn send(&self, event: &Value, doing: &str) -> Result<(), Failure> {
        let invoke = self.client.invoke().function_name(&self.name).invocation_type(InvocationType::Event);
        let sent = invoke.payload(Blob::new(event.to_string())).send().await;
        sent.map(drop).map_err(|error| AwsError::from_sdk(&error).lambda_failure(doing))
    }
}

impl ExporterTrigger for ExporterFunction {
    async fn request_publishing(&self, tenant: &TenantId) -> Result<(), Failure> {
        let event = json!({ "publish": { "tenantId": tenant.as_str() } });
        self.send(&event, "the exporter was asked to publish notifications").await
    }

    async fn request_export(&self, tenant: &TenantId) -> Result<(), Failure> {
        let event = json!({ "export": { "tenantId": tenant.as_str() } });
        self.send(&event, "the exporter was asked to export a tenant").await
    }
}
