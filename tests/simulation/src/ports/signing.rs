//! The platform's key for manifests with faults.

use std::time::Duration;

use audit_log_core::{
    failure::{Code, Failure},
    manifest::{ManifestKey, Signature},
    ports::{ManifestKeys as _, Signer},
};
use chrono::{DateTime, Utc};

use super::{Ports, writes::Request};
use crate::{
    bugs::{Bug, is_planted},
    world::call_now,
};

/// How long a run waits for a signature.
const SIGN_TIMEOUT: Duration = Duration::from_secs(10);

impl Signer for Ports {
    fn has_key(&self) -> bool {
        self.key.is_some()
    }

    async fn sign(
        &self,
        digest: &[u8; 32],
        now: DateTime<Utc>,
        _should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Signature, Failure> {
        let Some(key) = self.key.clone() else {
            return Err(Failure::new(Code::SigningFailed, "There is no key."));
        };
        let signing = async {
            self.note(&key, now).await?;
            let (signing, digest) = (key.clone(), *digest);
            let sign =
                move |_| Ok(Signature { key_id: signing.id(), key_name: signing.name.clone(), der: digest.to_vec() });
            let request = Request::new(self, "sign", String::new(), sign);
            let signed = tokio::time::timeout(SIGN_TIMEOUT, self.write_with_faults(request)).await;
            let late = || Failure::new(Code::Unavailable, "There was no signature in time.");
            let signature = signed.map_or_else(|_| Err(late()), |answer| answer.result)?;
            let is_down = self.world.facts().key_is_down;
            if is_down { Err(Failure::new(Code::Unavailable, "The key is down.")) } else { Ok(signature) }
        };
        let signed = signing.await.map_err(|failure| {
            self.world.facts().failed_signatures.push(now);
            Failure::new(Code::SigningFailed, failure.message)
        });
        self.say(|| format!("sign with {:?}: {:?}", key.hex_id(), signed.as_ref().map(|_| "signed")));
        let first = self.fakes().state().manifest_keys.last().map(|used| used.key.id());
        let key_id = first.filter(|_| is_planted(Bug::KeyIdIsCached));
        signed.map(|signature| Signature { key_id: key_id.unwrap_or(signature.key_id), ..signature })
    }
}

impl Ports {
    /// Notes the run's key before its first signature.
    async fn note(&self, key: &ManifestKey, now: DateTime<Utc>) -> Result<(), Failure> {
        if self.seen().key_is_noted {
            return Ok(());
        }
        let (fakes, noted) = (self.fakes().clone(), key.clone());
        let note = move |_| call_now(fakes.note_key(&noted, now));
        self.write_with_faults(Request::new(self, "note key", key.hex_id(), note)).await.result?;
        self.seen().key_is_noted = true;
        Ok(())
    }
}
