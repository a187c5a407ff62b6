//! One window of a replay under a lease, and the record that holds the replay.

use chrono::{DateTime, Utc};

use super::{
    AbortReason, Run,
    held_lease::{HeldLease, lease_lost},
};
use crate::{
    failure::Failure,
    manifest::{self, Context},
    object::{ManifestClass, ObjectSpec},
    outbox::Announcement,
    ports::{Conditional, ReplayWrite, Tenants},
    records::{AmendedManifest, Chain, Receipt, Replay, StoredManifest},
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};

/// How often a write is tried while an admin changes the same record.
const MAX_ATTEMPTS: usize = 3;

/// Enough for a checkpoint of some 1,000 files.
const MAX_RECORD_BYTES: usize = 350 * 1024;

/// A window that is delivered again.
pub(super) struct ReplayedWindow {
    /// As it was read or written last under the lease.
    pub(super) replay: Replay,
    /// The stored settings. Those of the delivery have the format of the files that are replaced.
    pub(super) stored_config: TenantConfig,
    /// The export's.
    pub(super) original: Receipt,
    /// That of the files that lie at the replay's location; none if none of this window do.
    pub(super) standing: Option<Receipt>,
    /// After the first checkpoint from then on, another run goes on, so that others' turn comes.
    pub(super) ends: DateTime<Utc>,
}

/// The manifests that a replayed window gets.
pub(super) struct PlannedManifests {
    /// In the order in which they are stored.
    pub(super) texts: Vec<(ObjectSpec, String)>,
    /// For the receipt; the state is still that of the export.
    pub(super) manifest: StoredManifest,
    /// Whether the location doesn't have them yet.
    pub(super) is_new: bool,
}

impl ReplayedWindow {
    /// The files of late minutes aren't delivered again: where the window lies already they stay, and elsewhere their events are in
    /// the windows themselves. With fewer events than the export's, some are gone, whatever the retention is now.
    pub(super) fn receipt(&self, receipt: Receipt) -> Receipt {
        let gap = receipt.gap || receipt.events() < self.original.events();
        let receipt = Receipt { gap, ..receipt };
        let Some(standing) = &self.standing else { return receipt };
        let late = standing.objects.iter().filter(|object| object.late.is_some()).cloned();
        Receipt { objects: late.chain(receipt.objects).collect(), late: standing.late, ..receipt }
    }

    pub(super) fn chain(&self) -> Chain<'_> {
        let head = self.original.manifest.as_ref().and_then(|manifest| manifest.previous.as_deref());
        Chain { head, signing_failed_since: None }
    }

    /// Returns the manifests of the window as it was stored now; none if the export had none.
    ///
    /// # Errors
    /// If an object is not in its folder.
    pub(super) fn manifests(
        &self,
        config: &TenantConfig,
        receipt: &Receipt,
    ) -> Result<Option<PlannedManifests>, Failure> {
        let Some(chain) = &self.original.manifest else { return Ok(None) };
        let text = |receipt: &Receipt, amends: Option<&AmendedManifest>| {
            let previous = chain.previous.as_deref();
            let amends = amends.map(|amended| (amended.amends.as_str(), amended.cause.as_str()));
            manifest::text(&config.tenant, receipt, Context { is_final: false, previous, amends })
        };
        let spec = |class| ObjectSpec::manifest(config, receipt.window, class);
        let regular = spec(ManifestClass::Regular);
        let standing = self.standing.as_ref().and_then(|standing| standing.manifest.as_ref());
        let standing_amended = standing.and_then(|standing| standing.amended.clone());
        let planned = |texts, amended: Option<AmendedManifest>| {
            let is_new = standing.is_none_or(|standing| standing.amended != amended);
            let manifest = StoredManifest { key: spec(class(amended.as_ref())).key, amended, ..chain.clone() };
            Ok(Some(PlannedManifests { texts, manifest, is_new }))
        };
        let plain = text(receipt, None)?;
        if standing_amended.is_none() && manifest::text_sha256(&plain) == chain.sha256 {
            return planned(vec![(regular, plain)], None);
        }
        let original = text(&self.original, None)?;
        if let Some(amended) = standing_amended.clone() {
            let same = text(receipt, Some(&amended))?;
            if manifest::text_sha256(&same) == amended.sha256 {
                let amended_spec = spec(class(Some(&amended)));
                return planned(vec![(regular, original), (amended_spec, same)], Some(amended));
            }
        }
        let amends = standing_amended.as_ref().map_or(&chain.sha256, |amended| &amended.sha256).clone();
        let number = standing_amended.map_or(0, |amended| amended.number) + 1;
        let mut amended =
            AmendedManifest { number, sha256: String::new(), amends, cause: self.cause(receipt).to_owned() };
        let text = text(receipt, Some(&amended))?;
        amended.sha256 = manifest::text_sha256(&text);
        planned(vec![(regular, original), (spec(class(Some(&amended))), text)], Some(amended))
    }

    /// Why the files are no longer those of the export, in one word.
    fn cause(&self, receipt: &Receipt) -> &'static str {
        if receipt.gap && !self.original.gap {
            "events-expired"
        } else if receipt.events() > self.original.events() {
            "late-events"
        } else if self.standing.is_some() {
            // A resumed export had a late event out of order, somebody has written over an event, or the library that compresses
            // is another one.
            "changed-events"
        } else {
            // Elsewhere, late minutes have no files of their own, and files may have another format.
            "other-files"
        }
    }

    /// Whether the window's manifest that stood at the location is amended by this delivery.
    pub(super) fn amends(&self, receipt: &Receipt) -> bool {
        let amended = |receipt: &Receipt| receipt.manifest.as_ref().and_then(|manifest| manifest.amended.clone());
        self.standing.as_ref().is_some_and(|standing| amended(standing) != amended(receipt))
    }

    /// Saves the position in the window. Returns false if the checkpoint is too large. Either way, the settings and the connection
    /// are still as they were read.
    pub(super) async fn save_checkpoint<T: Tenants>(
        &mut self,
        run: Run<'_>,
        tenants: &T,
        held: &HeldLease,
        checkpoint: Option<String>,
    ) -> Result<bool, AbortReason> {
        let records = tenants.load_one(&held.tenant).await?;
        if !held.is_unchanged(run, &self.stored_config, &records) {
            return Err(AbortReason::Changed);
        }
        let Some(checkpoint) = checkpoint else { return Ok(false) };
        let with_checkpoint = |replay: &Replay| {
            let checkpoint = Some(checkpoint.clone());
            let progressed_at = timestamp::whole_seconds((run.now)());
            (Replay { checkpoint, progressed_at, failing_since: None, refused_since: None, ..replay.clone() }, None)
        };
        // An item in DynamoDB has at most 400 KB, and the checkpoint is text within text.
        if with_checkpoint(&self.replay).0.to_text().len() > MAX_RECORD_BYTES {
            return Ok(false);
        }
        write_replay(tenants, held, &mut self.replay, None, with_checkpoint).await.map(|()| true)
    }
}

fn class(amended: Option<&AmendedManifest>) -> ManifestClass {
    amended.map_or(ManifestClass::Regular, |amended| ManifestClass::Amended(amended.number))
}

/// Replaces the record of a replay. An admin may ask to stop it meanwhile; `change` then is applied to the record as it is now.
pub(super) async fn write_replay<T: Tenants>(
    tenants: &T,
    held: &HeldLease,
    replay: &mut Replay,
    receipt: Option<&Receipt>,
    change: impl Fn(&Replay) -> (Replay, Option<Announcement>),
) -> Result<(), AbortReason> {
    let lease = held.lease.as_ref().ok_or_else(lease_lost)?;
    for _ in 0..MAX_ATTEMPTS {
        let (after, announcement) = change(replay);
        let after = Replay { revision: replay.revision + 1, ..after };
        let write = ReplayWrite { after: &after, receipt, announcement: announcement.as_ref() };
        if tenants.write_replay(&held.tenant, lease, write).await? == Conditional::Written {
            *replay = after;
            return Ok(());
        }
        let records = tenants.load_one(&held.tenant).await?;
        if !held.holds(&records) {
            return Err(lease_lost().into());
        }
        let stored = records.replay.filter(|stored| stored.id == replay.id);
        // Only the run with the lease moves it on: the answer to an earlier attempt was lost.
        let is_after = |stored: &Replay| {
            let Replay { revision, stop_requested, stop_requested_by, .. } = stored.clone();
            *stored == Replay { revision, stop_requested, stop_requested_by, ..after.clone() }
        };
        match stored {
            Some(stored) if is_after(&stored) => {
                *replay = stored;
                return Ok(());
            }
            Some(stored) => *replay = stored,
            None => return Err(AbortReason::Changed),
        }
    }
    Err(AbortReason::Changed)
}

/// Whether the export's receipt leads to the export's manifest, if it has one: its text follows from the receipt.
pub(super) fn leads_to_manifest(tenant: &TenantId, original: &Receipt) -> bool {
    original.manifest.as_ref().is_none_or(|chain| {
        let context = Context { is_final: false, previous: chain.previous.as_deref(), amends: None };
        let text = manifest::text(tenant, original, context);
        text.is_ok_and(|text| manifest::text_sha256(&text) == chain.sha256)
    })
}

/// Whether nothing of a place may be written yet, because a request that failed may still store an object there.
pub(super) fn is_in_doubt(replay: &Replay, now: DateTime<Utc>) -> bool {
    replay.retry_after.is_some_and(|after| now <= after)
}
