//! The exporter as the console sees it: it verifies connections, and publishes notifications.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    ports::{PublishTrigger, Verifier},
    settings::Draft,
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

/// Invokes the exporter.
#[derive(Debug, Clone)]
pub struct ExporterFunction {
    client: Client,
    name: String,
}

impl ExporterFunction {
    /// The function of that name or ARN.
    pub fn new(shared: &SdkConfig, name: impl Into<String>) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(ANSWER_TIMEOUT).build();
        // Somebody waits: a second try would come too late for them.
        let config = aws_sdk_lambda::config::Builder::from(shared)
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts)
            .build();
        Self { client: Client::from_conf(config), name: name.into() }
    }
}

impl Verifier for ExporterFunction {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let Draft { role_arn, external_id, bucket, region, prefix, kms_key_arn, bucket_owner, .. } = &request.draft;
        let payload = json!({ "verify": {
            "tenantId": request.tenant_id, "roleArn": role_arn, "externalId": external_id, "bucket": bucket,
            "region": region, "prefix": prefix, "kmsKeyArn": kms_key_arn, "bucketOwner": bucket_owner,
        } });
        let sent = self.client.invoke().function_name(&self.name).payload(Blob::new(payload.to_string())).send();
        let answer = sent
            .await
            .map_err(|error| AwsError::of(&error).from_lambda("the exporter was asked to verify a connection"))?;
        let broken = |what: &str| Failure::new(Code::Rejected, format!("{what}; its log says more."));
        if answer.function_error.is_some() {
            return Err(broken("The exporter failed at a verification"));
        }
        let payload = answer.payload.map(Blob::into_inner).unwrap_or_default();
        serde_json::from_slice(&payload).map_err(|_| broken("The exporter answers verifications in another way"))
    }
}

impl PublishTrigger for ExporterFunction {
    async fn request_publishing(&self, tenant: &TenantId) -> Result<(), Failure> {
        let payload = Blob::new(json!({ "publish": { "tenantId": tenant.as_str() } }).to_string());
        // Lambda answers once it has taken the event, and runs the function later.
        let invoke = self.client.invoke().function_name(&self.name).invocation_type(InvocationType::Event);
        let sent = invoke.payload(payload).send().await;
        sent.map(drop)
            .map_err(|error| AwsError::of(&error).from_lambda("the exporter was asked to publish notifications"))
    }
}
