//! Bugs in the chain of manifests.

use audit_log_core::{
    fakes::Fakes,
    object::sha256,
    outbox::Announcement,
    records::{Receipt, StoredWatermark},
    tenant::TenantId,
    timestamp,
};
use chrono::{DateTime, TimeDelta};

use super::{Bug, is_planted, with_tenant};
use crate::world::World;

/// Changes the chain in a watermark that was read.
pub fn change_chain(world: &World, tenant: &TenantId, has_key: bool, watermark: &mut StoredWatermark) {
    if is_planted(Bug::StaleHead)
        && let Some(head) = &watermark.manifest_sha256
    {
        let first = world.facts().first_heads.entry(tenant.to_string()).or_insert_with(|| head.clone()).clone();
        watermark.manifest_sha256 = Some(first);
    }
    if is_planted(Bug::ChainEndsWithoutKey) && !has_key {
        watermark.manifest_sha256 = None;
    }
    if is_planted(Bug::UnsignedAtOnce) {
        watermark.signing_failed_since = Some(timestamp::seconds(DateTime::UNIX_EPOCH));
    }
    if is_planted(Bug::NeverUnsigned) && watermark.signing_failed_since.is_some() {
        let recently = world.now() - TimeDelta::hours(1);
        watermark.signing_failed_since = Some(timestamp::seconds(recently));
    }
}

/// Changes a commit.
pub fn change_commit(receipt: &Receipt, announcement: &mut Option<Announcement>) {
    let is_unsigned = receipt.is_unsigned();
    announcement.take_if(|_| is_unsigned && is_planted(Bug::UnsignedIsNotAnnounced));
}

/// Takes the chain's head out of a stored watermark.
pub fn forget_head(fakes: &Fakes, tenant: &TenantId, bug: Bug, before: Option<String>) {
    if is_planted(bug) {
        with_tenant(fakes, tenant, |stored| {
            if let Some(watermark) = &mut stored.watermark {
                watermark.manifest_sha256 = before;
            }
        });
    }
}

/// Lets the chain go on from the manifest of a final delivery that was just stored.
pub fn chain_final(world: &World, tenant: &TenantId, (bucket, key): &(String, String)) {
    if !is_planted(Bug::FinalIsInTheChain) || !key.ends_with(".final.manifest") {
        return;
    }
    let bytes = world.fakes.state().buckets.get(bucket).and_then(|objects| Some(objects.get(key)?.bytes.clone()));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    let text = text.map(|note| note.split_once("\n\n").map_or(note.clone(), |(text, _)| format!("{text}\n")));
    with_tenant(&world.fakes, tenant, |stored| {
        if let Some((watermark, text)) = stored.watermark.as_mut().zip(text) {
            watermark.manifest_sha256 = Some(sha256(text.as_bytes()));
        }
    });
}
