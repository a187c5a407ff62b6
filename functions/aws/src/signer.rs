//! Signs manifests with a key of KMS.

use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use audit_log_core::{
    failure::{Code, Failure},
    manifest::{ManifestKey, Signature},
    ports::{ManifestKeys as _, Signer},
};
use aws_config::{SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_kms::{
    Client,
    config::Builder,
    operation::sign::SignError,
    primitives::Blob,
    types::{KeySpec, MessageType, SigningAlgorithmSpec},
};
use chrono::{DateTime, Utc};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};

use crate::{
    errors::{AwsError, is_throttle},
    pace::{AdaptPace, Pace},
    tenants::TenantsTable,
};

/// Short, since all tenants wait for the same key: the window of a tenant that gets no signature is tried again at the next tick.
/// Also for reading and noting the key.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_ATTEMPTS: u32 = 4;

/// With the default concurrency of four, all invocations together stay below KMS's quota of 1,000 a second for an account in a
/// region ("Request quotas" in the KMS developer guide).
const SIGNATURES_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();

/// After so many failures in a row, tenants fail at once for a while instead of each waiting for KMS: a run has to come to all of
/// them, also to those whose windows are delivered without a signature.
const OUTAGE_FAILURES: u32 = 4;
const OUTAGE_PAUSE: Duration = Duration::from_secs(5);

/// While KMS throttles, a signature is requested for so long. Beyond [`SIGN_TIMEOUT`], since a throttle passes as the pace slows
/// down, and a failure costs the tenant an hour.
const THROTTLED_FOR: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct KmsSigner {
    client: Client,
    key_arn: String,
    key_name: String,
    tenants: TenantsTable,
    pace: Arc<Pace>,
    /// Read and noted before the first signature. The public part of a key never changes.
    key: OnceCell<ManifestKey>,
    outage: Mutex<Outage>,
}

/// What all tenants learn from each other's failures.
#[derive(Debug, Default)]
struct Outage {
    /// Signatures that failed in a row.
    failures: u32,
    /// The last failure, and when it was.
    last: Option<(Instant, Failure)>,
}

impl Outage {
    fn note(&mut self, failure: Option<&Failure>) {
        match failure {
            Some(failure) => {
                self.failures += 1;
                self.last = Some((Instant::now(), failure.clone()));
            }
            None => *self = Self::default(),
        }
    }

    /// The last failure, while nobody should ask KMS.
    fn current(&self) -> Option<Failure> {
        let (at, failure) = self.last.as_ref()?;
        (self.failures >= OUTAGE_FAILURES && at.elapsed() < OUTAGE_PAUSE).then(|| failure.clone())
    }
}

impl KmsSigner {
    /// `key_name` is the name in signatures: `<account>.<region>.<stack>`.
    pub fn new(shared: &SdkConfig, key_arn: &str, key_name: &str, tenants: TenantsTable) -> Self {
        Self::from_config(Builder::from(shared), key_arn, key_name, tenants)
    }

    pub(crate) fn from_config(config: Builder, key_arn: &str, key_name: &str, tenants: TenantsTable) -> Self {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(SIGN_TIMEOUT).build();
        let retries = RetryConfig::standard().with_max_attempts(MAX_ATTEMPTS);
        let client = Client::from_conf(config.retry_config(retries).timeout_config(timeouts).build());
        let pace = Arc::new(Pace::per_second(SIGNATURES_PER_SECOND));
        let (key_arn, key_name) = (key_arn.to_owned(), key_name.to_owned());
        Self { client, key_arn, key_name, tenants, pace, key: OnceCell::new(), outage: Mutex::default() }
    }

    fn outage(&self) -> MutexGuard<'_, Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tenants that wait for the key while reading it fails share the failure. Otherwise each would try in turn, and while KMS
    /// doesn't answer, a run would get through a few dozen tenants.
    async fn key(&self, now: DateTime<Utc>) -> Result<&ManifestKey, Failure> {
        let asked = Instant::now();
        let read = || async {
            if let Some((_, failure)) = self.outage().last.as_ref().filter(|(at, _)| *at > asked) {
                return Err(failure.clone());
            }
            let timed_out = |_| Err(signing_failure("The manifest key was not read and noted in time."));
            let read = timeout(SIGN_TIMEOUT, self.read_key(now)).await.unwrap_or_else(timed_out);
            if let Err(failure) = &read {
                self.outage().note(Some(failure));
            }
            read
        };
        self.key.get_or_try_init(read).await
    }

    async fn read_key(&self, now: DateTime<Utc>) -> Result<ManifestKey, Failure> {
        let got = self.client.get_public_key().key_id(&self.key_arn).send().await;
        let got = got.map_err(|error| AwsError::from_sdk(&error).signing_failure("the manifest key was read"))?;
        // KMS signs with other keys too, but nobody who has only the documented command could check that.
        let (Some(KeySpec::EccNistP256), Some(public_key)) = (&got.key_spec, got.public_key) else {
            let spec = got.key_spec.as_ref().map_or("unknown", KeySpec::as_str);
            return Err(signing_failure(format!("The manifest key has the spec {spec} instead of ECC_NIST_P256.")));
        };
        let key = ManifestKey { name: self.key_name.clone(), public_key: public_key.into_inner() };
        self.tenants.note_key(&key, now).await.map_err(|failure| signing_failure(failure.message))?;
        Ok(key)
    }

    async fn sign_digest(
        &self,
        digest: &[u8; 32],
        should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Vec<u8>, Failure> {
        let sign = self
            .client
            .sign()
            .key_id(&self.key_arn)
            .message(Blob::new(digest.as_slice()))
            .message_type(MessageType::Digest)
            .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256);
        let started = Instant::now();
        let may_retry = || started.elapsed() < THROTTLED_FOR && !should_stop();
        let signed = loop {
            self.pace.wait_for_slot().await;
            let sign = sign.clone().customize().interceptor(AdaptPace::<SignError>::new(&self.pace));
            match sign.send().await.map_err(|error| AwsError::from_sdk(&error)) {
                Ok(signed) => break signed,
                Err(error) if is_throttle(&error.code) && may_retry() => {}
                Err(error) => return Err(error.signing_failure("a manifest was signed")),
            }
        };
        let der = signed.signature.map(Blob::into_inner).unwrap_or_default();
        if der.is_empty() {
            return Err(signing_failure("KMS answered without a signature."));
        }
        Ok(der)
    }
}

fn signing_failure(message: impl Into<String>) -> Failure {
    Failure::new(Code::SigningFailed, message)
}

impl Signer for KmsSigner {
    fn has_key(&self) -> bool {
        true
    }

    async fn sign(
        &self,
        digest: &[u8; 32],
        now: DateTime<Utc>,
        should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Signature, Failure> {
        if let Some(failure) = self.outage().current() {
            return Err(failure);
        }
        let key = self.key(now).await?;
        let signed = self.sign_digest(digest, should_stop).await;
        self.outage().note(signed.as_ref().err());
        Ok(Signature { key_name: key.name.clone(), key_id: key.id(), der: signed? })
    }
}
