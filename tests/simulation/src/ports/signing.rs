//! The platform's key for manifests.

use audit_log_core::{failure::Failure, manifest::Signature, ports::Signer};
use chrono::{DateTime, Utc};

use super::Ports;

impl Signer for Ports {
    fn has_key(&self) -> bool {
        self.fakes().has_key()
    }

    async fn sign(&self, digest: &[u8; 32], now: DateTime<Utc>) -> Result<Signature, Failure> {
        self.fakes().sign(digest, now).await
    }
}
