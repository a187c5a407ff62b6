//! Stores a window's manifest, signed with the platform's key.

use super::{AbortReason, Export, Run, window::LeaseContext};
use crate::{
    failure::Failure,
    manifest::{self, Signature},
    object::{ObjectSpec, sha256},
    ports::{Bucket as _, Buckets, Bus, Events, Finish, Signer, Tenants, Upload as _},
    records::{ManifestState, Receipt, StoredManifest},
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Stores the manifest of a window whose objects are stored, and returns the receipt with it.
    ///
    /// A tenant that has no chain gets none as long as the platform has no key. A chain goes on without a key, so that a key
    /// that is taken away can't hide that.
    pub(super) async fn store_manifest(
        &self,
        context: &mut LeaseContext<'_, T>,
        receipt: Receipt,
        bucket: &mut Option<B::Bucket>,
    ) -> Result<Receipt, AbortReason> {
        let chain = context.chain();
        if chain.head.is_none() && !self.signer.has_key() {
            return Ok(receipt);
        }
        let (config, is_final, now) = (context.config, context.pending.is_some(), (context.run.now)());
        let text = manifest::text(config, &receipt, is_final, chain.head)?;
        let (note, state, signing_failure) = if self.signer.has_key() {
            match self.sign(context.run, &text).await {
                Ok(signature) => (manifest::signed_note(&text, &signature), ManifestState::Signed, None),
                Err(failure) if chain.goes_on_unsigned(now) => (text.clone(), ManifestState::Unsigned, Some(failure)),
                Err(failure) => return Err(failure.into()),
            }
        } else {
            (text.clone(), ManifestState::Unsigned, None)
        };
        let spec = ObjectSpec::manifest(config, receipt.window, is_final);
        let stored = StoredManifest { key: spec.key.clone(), sha256: manifest::text_sha256(&text), state };
        let bucket = match bucket.take() {
            Some(open) => bucket.insert(open),
            None => bucket.insert(self.buckets.open(config, receipt.window).await?),
        };
        let (mut upload, digest) = (bucket.upload(spec), sha256(note.as_bytes()));
        if let Err(failure) = upload.write(note.into_bytes()).await {
            upload.abort().await;
            return Err(failure.into());
        }
        let Finish { result, in_doubt } = upload.finish(&digest).await;
        context.held.in_doubt |= in_doubt;
        result?;
        Ok(Receipt { manifest: Some(stored), signing_failure, ..receipt })
    }

    /// While signing fails, tries it before a window is read: otherwise each try would read and store the whole window again.
    pub(super) async fn try_signing(&self, context: &LeaseContext<'_, T>) -> Result<(), Failure> {
        let chain = context.chain();
        let waits = chain.signing_failed_since.is_some() && !chain.goes_on_unsigned((context.run.now)());
        if waits && self.signer.has_key() {
            self.sign(context.run, "audit-log-export: a signature that is thrown away\n").await?;
        }
        Ok(())
    }

    async fn sign(&self, run: Run<'_>, text: &str) -> Result<Signature, Failure> {
        self.signer.sign(&manifest::digest(text), (run.now)(), run.should_stop).await
    }
}
