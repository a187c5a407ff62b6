//! Stores a window's manifests, signed with the platform's key.

use super::{
    AbortReason, Export, Run,
    window::{Delivery, LeaseContext},
};
use crate::{
    failure::Failure,
    manifest::{self, Signature},
    object::{ManifestClass, ObjectSpec, sha256},
    ports::{Bucket as _, Buckets, Bus, Events, Finish, Signer, Tenants, Upload as _},
    records::{ManifestState, Receipt, StoredManifest},
};

impl<T: Tenants, E: Events, B: Buckets, N: Bus, S: Signer> Export<T, E, B, N, S> {
    /// Stores the manifests of a window whose objects are stored, and returns the receipt with them.
    pub(super) async fn store_manifests(
        &self,
        context: &mut LeaseContext<'_, T>,
        receipt: Receipt,
        bucket: &mut Option<B::Bucket>,
    ) -> Result<Receipt, AbortReason> {
        match &context.delivery {
            Delivery::Due | Delivery::Final(_) => self.store_manifest(context, receipt, bucket).await,
            Delivery::Replay(_) => self.store_replayed_manifests(context, receipt, bucket).await,
        }
    }

    /// A tenant that has no chain gets none as long as the platform has no key. A chain goes on without a key, so that a key
    /// that is taken away can't hide that.
    async fn store_manifest(
        &self,
        context: &mut LeaseContext<'_, T>,
        receipt: Receipt,
        bucket: &mut Option<B::Bucket>,
    ) -> Result<Receipt, AbortReason> {
        let chain = context.chain();
        if chain.head.is_none() && !self.signer.has_key() {
            return Ok(receipt);
        }
        let (config, is_final, now) = (context.config, context.is_final(), (context.run.now)());
        let previous = chain.head.map(str::to_owned);
        let about = manifest::Context { is_final, previous: chain.head, amends: None };
        let text = manifest::text(&config.tenant, &receipt, about)?;
        let (note, state, signing_failure) = if self.signer.has_key() {
            match self.sign(context.run, &text).await {
                Ok(signature) => (manifest::signed_note(&text, &signature), ManifestState::Signed, None),
                Err(failure) if chain.goes_on_unsigned(now) => (text.clone(), ManifestState::Unsigned, Some(failure)),
                Err(failure) => return Err(failure.into()),
            }
        } else {
            (text.clone(), ManifestState::Unsigned, None)
        };
        let class = if is_final { ManifestClass::Final } else { ManifestClass::Regular };
        let spec = ObjectSpec::manifest(config, receipt.window, class);
        let (key, sha256) = (spec.key.clone(), manifest::text_sha256(&text));
        self.store_note(context, spec, note, &receipt, bucket).await?;
        let manifest = Some(StoredManifest { key, sha256, state, previous, amended: None });
        Ok(Receipt { manifest, signing_failure, ..receipt })
    }

    /// Stores the window's manifest again and, if the files are no longer those that it lists, one that amends it.
    ///
    /// Without a key, manifests that are in the place already stay as they are.
    async fn store_replayed_manifests(
        &self,
        context: &mut LeaseContext<'_, T>,
        receipt: Receipt,
        bucket: &mut Option<B::Bucket>,
    ) -> Result<Receipt, AbortReason> {
        let Delivery::Replay(window) = &context.delivery else { return Ok(receipt) };
        let Some(planned) = window.manifests(context.config, &receipt)? else { return Ok(receipt) };
        let (mut manifest, has_key) = (planned.manifest, self.signer.has_key());
        if !has_key && !planned.is_new {
            return Ok(Receipt { manifest: Some(manifest), ..receipt });
        }
        let is_standing = window.standing.is_some();
        for (spec, text) in planned.texts {
            if !has_key && is_standing && spec.key != manifest.key {
                // The export's is there, and may be signed.
                continue;
            }
            let note = match has_key {
                true => manifest::signed_note(&text, &self.sign(context.run, &text).await?),
                false => text,
            };
            self.store_note(context, spec, note, &receipt, bucket).await?;
        }
        manifest.state = if has_key { ManifestState::Signed } else { ManifestState::Unsigned };
        Ok(Receipt { manifest: Some(manifest), ..receipt })
    }

    async fn store_note(
        &self,
        context: &mut LeaseContext<'_, T>,
        spec: ObjectSpec,
        note: String,
        receipt: &Receipt,
        bucket: &mut Option<B::Bucket>,
    ) -> Result<(), AbortReason> {
        let bucket = match bucket.take() {
            Some(open) => bucket.insert(open),
            None => bucket.insert(self.buckets.open(context.config, receipt.window).await?),
        };
        let (mut upload, digest) = (bucket.upload(spec), sha256(note.as_bytes()));
        if let Err(failure) = upload.write(note.into_bytes()).await {
            upload.abort().await;
            return Err(failure.into());
        }
        let Finish { result, in_doubt } = upload.finish(&digest).await;
        context.held.in_doubt |= in_doubt;
        Ok(result?)
    }

    /// While signing fails, tries it before a window is read: otherwise each try would read and store the whole window again.
    pub(super) async fn try_signing(&self, context: &LeaseContext<'_, T>) -> Result<(), Failure> {
        let chain = context.chain();
        let waits = match &context.delivery {
            Delivery::Replay(window) => window.replay.has_failed_signing(),
            _ => chain.signing_failed_since.is_some() && !chain.goes_on_unsigned((context.run.now)()),
        };
        if waits && self.signer.has_key() {
            self.sign(context.run, "audit-log-export: a signature that is thrown away\n").await?;
        }
        Ok(())
    }

    async fn sign(&self, run: Run<'_>, text: &str) -> Result<Signature, Failure> {
        self.signer.sign(&manifest::digest(text), (run.now)(), run.should_stop).await
    }
}
