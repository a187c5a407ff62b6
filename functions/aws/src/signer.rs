//! Signs manifests with a key of KMS.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    manifest::{ManifestKey, Signature},
    ports::{ManifestKeys as _, Signer},
};
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_kms::{
    Client,
    config::Builder,
    primitives::Blob,
    types::{KeySpec, MessageType, SigningAlgorithmSpec},
};
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use crate::{errors::AwsError, tenants::TenantsTable};

/// Short, since the window of a tenant that gets no signature is tried again at the next tick. It includes reading and noting the
/// key, for which all tenants wait together.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ATTEMPTS: u32 = 4;

#[derive(Debug)]
pub struct KmsSigner {
    client: Client,
    key_arn: String,
    key_name: String,
    tenants: TenantsTable,
    /// Read and noted before the first signature. The public part of a key never changes.
    key: OnceCell<ManifestKey>,
}

impl KmsSigner {
    /// `key_name` is the name in signatures: `<account>.<region>.<stack>`.
    pub fn new(shared: &SdkConfig, key_arn: &str, key_name: &str, tenants: TenantsTable) -> Self {
        Self::from_config(Builder::from(shared), key_arn, key_name, tenants)
    }

    pub(crate) fn from_config(config: Builder, key_arn: &str, key_name: &str, tenants: TenantsTable) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
        let retries = RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS);
        let client = Client::from_conf(config.retry_config(retries).timeout_config(timeouts).build());
        let key = OnceCell::new();
        Self { client, key_arn: key_arn.to_owned(), key_name: key_name.to_owned(), tenants, key }
    }

    async fn public_key(&self, now: DateTime<Utc>) -> Result<ManifestKey, Failure> {
        let got = self.client.get_public_key().key_id(&self.key_arn).send().await;
        let got = got.map_err(|error| AwsError::from_sdk(&error).signing_failure("the manifest key was read"))?;
        // KMS signs with other keys too, but nobody who has only the documented command could check that.
        let (Some(KeySpec::EccNistP256), Some(public_key)) = (&got.key_spec, got.public_key) else {
            let spec = got.key_spec.as_ref().map_or("unknown", KeySpec::as_str);
            return Err(unsigned(format!("The manifest key has the spec {spec} instead of ECC_NIST_P256.")));
        };
        let key = ManifestKey { name: self.key_name.clone(), public_key: public_key.into_inner() };
        self.tenants.note_key(&key, now).await.map_err(|failure| unsigned(failure.message))?;
        Ok(key)
    }

    async fn sign_digest(&self, digest: &[u8; 32], now: DateTime<Utc>) -> Result<Signature, Failure> {
        let key = self.key.get_or_try_init(|| self.public_key(now)).await?;
        let signed = self
            .client
            .sign()
            .key_id(&self.key_arn)
            .message(Blob::new(digest.as_slice()))
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(&error).signing_failure("a manifest was signed"))?;
        let der = signed.signature.map(Blob::into_inner).unwrap_or_default();
        if der.is_empty() {
            return Err(unsigned("KMS answered without a signature."));
        }
        Ok(Signature { key_name: key.name.clone(), key_id: key.id(), der })
    }
}

fn unsigned(message: impl Into<String>) -> Failure {
    Failure::new(Code::SigningFailed, message)
}

impl Signer for KmsSigner {
    fn has_key(&self) -> bool {
        true
    }

    async fn sign(&self, digest: &[u8; 32], now: DateTime<Utc>) -> Result<Signature, Failure> {
        let signed = tokio::time::timeout(SIGN_TIMEOUT, self.sign_digest(digest, now)).await;
        signed.unwrap_or_else(|_| Err(unsigned("A manifest was not signed in time.")))
    }
}
