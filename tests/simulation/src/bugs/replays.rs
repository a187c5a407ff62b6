//! Bugs in replays.

use audit_log_core::{
    failure::Failure,
    lease::Lease,
    ports::{Conditional, ReplayWrite, Tenants as _},
    records::{StoredReceipt, TenantRecords},
    tenant::{Format, TenantId},
    timestamp,
};

use super::{Bug, is_planted, with_tenant};
use crate::world::{World, call_now};

/// # Errors
/// The port's own.
pub fn write_replay(
    world: &World,
    tenant: &TenantId,
    lease: &Lease,
    write: ReplayWrite<'_>,
) -> Result<Conditional, Failure> {
    let fakes = &world.fakes;
    let mut after = write.after.clone();
    let other = with_tenant(fakes, tenant, |stored| {
        if is_planted(Bug::ReplayOfAnyRevision) {
            after.revision = stored.replay.as_ref().map_or(0, |replay| replay.revision) + 1;
        }
        if is_planted(Bug::ReplayMovesTheWatermark)
            && let Some((watermark, receipt)) = stored.watermark.as_mut().zip(write.receipt)
        {
            watermark.exported_until = Some(timestamp::seconds(receipt.window.to));
        }
        is_planted(Bug::ReplayUnleased).then(|| stored.lease.replace(lease.clone()))
    });
    let receipt = write.receipt.filter(|_| !is_planted(Bug::ReplayReceiptIsLost));
    let is_end = !after.is_running();
    let announcement = write.announcement.filter(|_| !is_end || !is_planted(Bug::ReplayEndIsNotAnnounced));
    let write = ReplayWrite { after: &after, receipt, announcement };
    let result = call_now(fakes.write_replay(tenant, lease, write));
    if let Some(Some(other)) = other {
        with_tenant(fakes, tenant, |stored| stored.lease = other);
    }
    result
}

/// Changes records that were read.
pub fn change_records(records: &mut TenantRecords) {
    if let Some(replay) = &mut records.replay {
        replay.stop_requested &= !is_planted(Bug::ReplayIgnoresStop);
        if is_planted(Bug::ReplayBeforeFinals) && replay.is_running() {
            records.final_deliveries = Default::default();
        }
    }
}

/// Changes a receipt that a replay has read.
pub fn change_receipt(stored: &mut StoredReceipt) {
    let receipt = &mut stored.receipt;
    for object in &mut receipt.objects {
        if is_planted(Bug::IncompleteOverComplete) {
            object.events = 0;
        }
        if is_planted(Bug::RangesAreForgotten) {
            object.last_event = None;
        }
    }
    if is_planted(Bug::OtherFormatOverFiles) {
        receipt.format = if receipt.format == Format::Json { Format::Ndjson } else { Format::Json };
    }
}

/// Changes the receipt of an earlier replay that a replay has read.
pub fn change_replayed_receipt(stored: &mut StoredReceipt) {
    if is_planted(Bug::AmendedIsForgotten)
        && let Some(manifest) = &mut stored.receipt.manifest
    {
        manifest.amended = None;
    }
}
