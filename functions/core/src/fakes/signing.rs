//! The platform's key for manifests, in memory.

use chrono::{DateTime, Utc};

use super::{Fakes, Op};
use crate::{
    failure::{Code, Failure},
    manifest::{ManifestKey, Signature, UsedKey},
    ports::{ManifestKeys, Signer},
};

impl Signer for Fakes {
    fn has_key(&self) -> bool {
        self.state().manifest_key.is_some()
    }

    /// The signature is the digest itself, so that tests can check it without a library.
    async fn sign(
        &self,
        digest: &[u8; 32],
        now: DateTime<Utc>,
        _should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Signature, Failure> {
        self.inject(Op::Sign, "").await?;
        let key = self.state().manifest_key.clone();
        let key = key.ok_or_else(|| Failure::new(Code::SigningFailed, "There is no key."))?;
        self.note_key(&key, now).await?;
        Ok(Signature { key_id: key.id(), key_name: key.name, der: digest.to_vec() })
    }
}

impl ManifestKeys for Fakes {
    async fn note_key(&self, key: &ManifestKey, now: DateTime<Utc>) -> Result<(), Failure> {
        self.inject(Op::ManifestKeys, "").await?;
        let keys = &mut self.state().manifest_keys;
        *keys = UsedKey::after_use(keys, key, now);
        Ok(())
    }

    async fn manifest_keys(&self) -> Result<Vec<UsedKey>, Failure> {
        self.inject(Op::ManifestKeys, "").await?;
        Ok(self.state().manifest_keys.clone())
    }
}
