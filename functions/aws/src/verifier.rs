//! Lets the console invoke the exporter, to verify a connection or to publish notifications.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    ports::{PublishTrigger, Verifier},
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
use serde_json::json;

use crate::errors::AwsError;

/// The exporter answers within 20 seconds, and an HTTP API gives up after 30.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);

#[derive(Debug, Clone)]
pub struct ExporterFunction {
    client: Client,
    name: String,
}

impl ExporterFunction {
    /// `name` is the function's name or ARN.
    pub fn new(shared: &SdkConfig, name: impl Into<String>) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(ANSWER_TIMEOUT).build();
        // An admin waits, and a retry would come too late.
        let config = aws_sdk_lambda::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
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

impl PublishTrigger for ExporterFunction {
    async fn request_publishing(&self, tenant: &TenantId) -> Result<(), Failure> {
        let payload = Blob::new(json!({ "publish": { "tenantId": tenant.as_str() } }).to_string());
        // Lambda answers once it has queued the event.
        let invoke = self.client.invoke().function_name(&self.name).invocation_type(InvocationType::Event);
        let sent = invoke.payload(payload).send().await;
        sent.map(drop).map_err(|error| {
            AwsError::from_sdk(&error).lambda_failure("the exporter was asked to publish notifications")
        })
    }
}
