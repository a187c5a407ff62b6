//! The ports of signed manifests: the key that signs, and the public parts of all keys that have signed.

use std::future::Future;

use chrono::{DateTime, Utc};

use crate::{
    failure::{Code, Failure},
    manifest::{ManifestKey, Signature, UsedKey},
};

/// The platform's key for manifests.
pub trait Signer: Sync {
    /// Whether the platform signs manifests.
    fn has_key(&self) -> bool;

    /// Signs a manifest, given SHA-256 of its text. A key is [noted](ManifestKeys::note_key) before its first signature is
    /// returned.
    ///
    /// `should_stop` says that the run has no time left to wait for a signature.
    ///
    /// # Errors
    /// With [`Code::SigningFailed`], whatever the reason.
    fn sign(
        &self,
        digest: &[u8; 32],
        now: DateTime<Utc>,
        should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> impl Future<Output = Result<Signature, Failure>> + Send;
}

/// Without a signer, there is no key.
impl<S: Signer> Signer for Option<S> {
    fn has_key(&self) -> bool {
        self.as_ref().is_some_and(Signer::has_key)
    }

    async fn sign(
        &self,
        digest: &[u8; 32],
        now: DateTime<Utc>,
        should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Signature, Failure> {
        match self {
            Some(signer) => signer.sign(digest, now, should_stop).await,
            None => Err(Failure::new(Code::SigningFailed, "The platform has no key for manifests.")),
        }
    }
}

/// The public parts of all keys that have signed manifests.
pub trait ManifestKeys: Sync {
    /// Notes the key that signs from now on, if it is not noted as such, and that all others are retired.
    fn note_key(&self, key: &ManifestKey, now: DateTime<Utc>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Returns all keys, the one in use first, then those that were retired last.
    fn manifest_keys(&self) -> impl Future<Output = Result<Vec<UsedKey>, Failure>> + Send;
}
