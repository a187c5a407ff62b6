//! The chain of manifests on the watermark, in receipts and in final deliveries.

use anyhow::{Context as _, Result};
use audit_log_core::{
    failure::{Code, Failure},
    onboarding,
    ports::{Acquisition, Conditional, FinalDeliveryWrite, Purpose, Settings, Tenants},
    records::{FinalDelivery, ManifestState, Receipt, StoredManifest, StoredReceipt, StoredWatermark},
    settings::TenantConfig,
};

use crate::{
    local::{on_local_aws, text},
    world::{
        AsRead, Failures, World, announcement_of, change, clock, connect, connect_and_acquire, denied, failures, load,
        stored_watermark,
    },
};

on_both_worlds! {
    a_commit_stores_the_head_of_the_chain_and_the_receipts_manifest
    a_commit_without_a_manifest_leaves_the_chain_as_it_is
    the_first_failure_to_sign_since_another_failure_is_noted
    an_unsigned_window_ends_failures_and_the_next_one_does_not_wait
    a_signed_window_ends_the_failures
    a_window_that_is_unsigned_without_a_key_is_no_failure
    settings_and_connections_leave_the_chain_alone
    a_final_delivery_begins_with_the_head_of_the_chain
    a_final_delivery_is_stored_with_its_own_chain
}

/// The receipt with a manifest, whose checksum is made of that of its first object.
pub(crate) fn with_manifest(receipt: &Receipt, state: ManifestState) -> Receipt {
    let object = &receipt.objects[0];
    let (key, sha256) = (format!("{}.manifest", object.key), object.sha256.repeat(64));
    let manifest = StoredManifest { key, sha256, state, previous: None, amended: None };
    Receipt { manifest: Some(manifest), ..receipt.clone() }
}

fn unsigned(receipt: &Receipt) -> Receipt {
    Receipt { signing_failure: Some(no_signature()), ..with_manifest(receipt, ManifestState::Unsigned) }
}

fn no_signature() -> Failure {
    Failure::new(Code::SigningFailed, "KMS answered DisabledException.")
}

/// The tenant as the next window finds it.
async fn read_again(world: &impl World, acme: &AsRead) -> Result<AsRead> {
    let watermark = stored_watermark(world, &acme.config.tenant).await?;
    let schedule = watermark.schedule().ok().context("no schedule")?;
    Ok(AsRead { watermark, schedule, ..acme.clone() })
}

/// Commits the due window, and checks what `after` says of it.
async fn commit(world: &impl World, acme: &AsRead, receipt: &Receipt) -> Result<AsRead> {
    let acme = read_again(world, acme).await?;
    assert_eq!(acme.commit(world, receipt).await?, Conditional::Written);
    let after = read_again(world, &acme).await?;
    assert_eq!(after.watermark, acme.watermark.after(receipt, acme.after()));
    Ok(after)
}

async fn a_commit_stores_the_head_of_the_chain_and_the_receipts_manifest(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    assert_eq!(acme.watermark.chain().head, None);
    let first = with_manifest(&acme.receipt("a"), ManifestState::Signed);
    let acme = commit(world, &acme, &first).await?;
    assert_eq!(acme.watermark.manifest_sha256, Some("a".repeat(64)));
    let second = with_manifest(&acme.receipt("b"), ManifestState::Signed);
    let acme = commit(world, &acme, &second).await?;
    assert_eq!(acme.watermark.manifest_sha256, Some("b".repeat(64)));
    let receipts = world.settings().receipts(&acme.config.tenant, None, 10).await?;
    assert_eq!(receipts, [&second, &first].map(StoredReceipt::from_receipt));
    Ok(())
}

async fn a_commit_without_a_manifest_leaves_the_chain_as_it_is(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let acme = commit(world, &acme, &with_manifest(&acme.receipt("a"), ManifestState::Signed)).await?;
    let acme = commit(world, &acme, &acme.receipt("b")).await?;
    assert_eq!(acme.watermark.manifest_sha256, Some("a".repeat(64)));
    assert_eq!(world.settings().receipts(&acme.config.tenant, None, 1).await?[0].receipt.manifest, None);
    Ok(())
}

async fn the_first_failure_to_sign_since_another_failure_is_noted(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    for (failure, time, since) in [
        (denied(), "11:01", None),
        (no_signature(), "11:02", Some("2026-11-20T11:02:00Z")),
        (no_signature(), "12:02", Some("2026-11-20T11:02:00Z")),
        (denied(), "12:03", None),
        (no_signature(), "13:04", Some("2026-11-20T13:04:00Z")),
    ] {
        assert_eq!(acme.fail(world, &failure, time).await?, Conditional::Written);
        let watermark = stored_watermark(world, &acme.config.tenant).await?;
        assert_eq!(watermark.signing_failed_since.as_deref(), since, "{failure} at {time}");
    }
    let health = load(world, &acme.config.tenant).await?.health;
    assert_eq!((health.failing_since, health.consecutive_failures), (Some(clock("11:01")?), 5));
    Ok(())
}

async fn an_unsigned_window_ends_failures_and_the_next_one_does_not_wait(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    for (failure, time) in [(denied(), "11:02"), (no_signature(), "12:02")] {
        assert_eq!(acme.fail(world, &failure, time).await?, Conditional::Written);
    }
    let since = Some("2026-11-20T12:02:00Z".to_owned());
    let mut acme = read_again(world, &acme).await?;
    for sha256 in ["a", "b"] {
        let receipt = unsigned(&acme.receipt(sha256));
        acme = commit(world, &acme, &receipt).await?;
        let StoredWatermark { manifest_sha256, signing_failed_since, failing, .. } = acme.watermark.clone();
        assert_eq!((manifest_sha256, signing_failed_since, failing), (Some(sha256.repeat(64)), since.clone(), false));
        assert_eq!(failures(world, tenant).await?, Failures::default());
        let health = load(world, tenant).await?.health;
        assert_eq!(health.failing_since, None);
        assert_eq!(health.last_success_at, Some(receipt.exported_at));
        let stored = world.settings().receipts(tenant, None, 1).await?.remove(0).receipt;
        assert_eq!((stored.manifest, stored.signing_failure), (receipt.manifest, None));
    }
    Ok(())
}

async fn a_signed_window_ends_the_failures(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    assert_eq!(acme.fail(world, &no_signature(), "11:02").await?, Conditional::Written);
    let acme = commit(world, &acme, &unsigned(&acme.receipt("a"))).await?;
    let acme = commit(world, &acme, &with_manifest(&acme.receipt("b"), ManifestState::Signed)).await?;
    let StoredWatermark { manifest_sha256, signing_failed_since, failing, .. } = acme.watermark.clone();
    assert_eq!((manifest_sha256, signing_failed_since, failing), (Some("b".repeat(64)), None, false));
    assert_eq!(failures(world, &acme.config.tenant).await?, Failures::default());
    assert_eq!(load(world, &acme.config.tenant).await?.health.failing_since, None);
    // The next failure to sign waits for six hours again.
    assert_eq!(acme.fail(world, &no_signature(), "13:04").await?, Conditional::Written);
    let watermark = stored_watermark(world, &acme.config.tenant).await?;
    assert_eq!(watermark.signing_failed_since.as_deref(), Some("2026-11-20T13:04:00Z"));
    Ok(())
}

async fn a_window_that_is_unsigned_without_a_key_is_no_failure(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    assert_eq!(acme.fail(world, &no_signature(), "11:02").await?, Conditional::Written);
    let acme = commit(world, &acme, &with_manifest(&acme.receipt("a"), ManifestState::Unsigned)).await?;
    let StoredWatermark { manifest_sha256, signing_failed_since, failing, .. } = acme.watermark.clone();
    assert_eq!((manifest_sha256, signing_failed_since, failing), (Some("a".repeat(64)), None, false));
    assert_eq!(failures(world, &acme.config.tenant).await?, Failures::default());
    Ok(())
}

/// So that a tenant that comes back, or moves, goes on where its chain stopped.
async fn settings_and_connections_leave_the_chain_alone(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let acme = commit(world, &acme, &with_manifest(&acme.receipt("a"), ManifestState::Signed)).await?;
    assert_eq!(acme.fail(world, &no_signature(), "12:02").await?, Conditional::Written);
    let before = stored_watermark(world, tenant).await?;
    let chain = |it: &StoredWatermark| (it.manifest_sha256.clone(), it.signing_failed_since.clone());
    assert_eq!(chain(&before), (Some("a".repeat(64)), Some("2026-11-20T12:02:00Z".to_owned())));

    let save = async |version, id: &str| {
        let as_read = stored_watermark(world, tenant).await?;
        let config = TenantConfig { version, ..acme.config.clone() };
        let announcement = announcement_of("acme", id, "12:10")?;
        let saved = world.settings().save(&config, Some(&as_read), acme.schedule, false, &announcement).await?;
        assert_eq!(saved, Conditional::Written, "{id}");
        anyhow::Ok(stored_watermark(world, tenant).await?)
    };
    assert_eq!(save(1, "saved").await?, before);
    let left = world.settings().disconnect(tenant, 2, &announcement_of("acme", "left", "12:20")?).await?;
    assert_eq!(left, Conditional::Written);
    let disconnected = stored_watermark(world, tenant).await?;
    assert_eq!(disconnected, StoredWatermark { due_shard: None, signing_failed_since: None, ..before.clone() });
    assert_eq!(save(3, "back").await?, StoredWatermark { signing_failed_since: None, ..before });
    Ok(())
}

/// `acme` with one window, disconnected, with its one final delivery and under the lease for it.
async fn left(world: &impl World) -> Result<(AsRead, FinalDelivery)> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let acme = commit(world, &acme, &with_manifest(&acme.receipt("a"), ManifestState::Signed)).await?;
    world.tenants().release_lease(tenant, &acme.lease).await?;
    let records = load(world, tenant).await?;
    let left = onboarding::disconnect(world.settings(), &records, tenant, &change("11:20")?).await?;
    assert_eq!(left, Conditional::Written);
    let now = clock("11:22")?;
    let acquired = world.tenants().acquire_lease(tenant, Purpose::Redelivery, &acme.lease, now).await?;
    assert!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
    let places = load(world, tenant).await?.final_deliveries.places;
    let [delivery] = &places[..] else { anyhow::bail!("expected one: {places:?}") };
    Ok((acme, delivery.clone()))
}

async fn a_final_delivery_begins_with_the_head_of_the_chain(world: &impl World) -> Result<()> {
    let (_, delivery) = left(world).await?;
    assert_eq!((delivery.manifest_sha256, delivery.signing_failed_since), (Some("a".repeat(64)), None));
    let connected = connect(world, "globex").await?;
    let records = load(world, &connected.config.tenant).await?;
    let change = change("11:30")?;
    let left = onboarding::disconnect(world.settings(), &records, &connected.config.tenant, &change).await?;
    assert_eq!(left, Conditional::Written);
    let places = load(world, &connected.config.tenant).await?.final_deliveries.places;
    assert_eq!(places[0].manifest_sha256, None, "it has no chain");
    Ok(())
}

async fn a_final_delivery_is_stored_with_its_own_chain(world: &impl World) -> Result<()> {
    let (acme, delivery) = left(world).await?;
    let tenant = &acme.config.tenant;
    let before = load(world, tenant).await?;
    let since = Some(clock("11:25")?);
    for (manifest_sha256, signing_failed_since) in
        [(Some("a".repeat(64)), since), (Some("b".repeat(64)), since), (Some("c".repeat(64)), None), (None, None)]
    {
        let pending = load(world, tenant).await?.final_deliveries;
        let part = FinalDelivery { manifest_sha256, signing_failed_since, ..delivery.clone() };
        let after = pending.with(&delivery.place, Some(part.clone()));
        let write = FinalDeliveryWrite { after: &after, delivered_until: None, announcement: None };
        assert_eq!(world.tenants().write_final_deliveries(tenant, &acme.lease, write).await?, Conditional::Written);
        assert_eq!(load(world, tenant).await?.final_deliveries.places, [part]);
    }
    assert_eq!(load(world, tenant).await?.watermark, before.watermark, "the chain of the windows is another");
    Ok(())
}

/// The console and operators read these attributes, so their names are a contract.
#[test]
fn the_table_has_the_head_of_the_chain_and_each_receipts_manifest() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect_and_acquire(world, "acme").await?;
        assert_eq!(acme.fail(world, &no_signature(), "11:02").await?, Conditional::Written);
        commit(world, &acme, &unsigned(&acme.receipt("a"))).await?;
        let head = "a".repeat(64);
        let stored = world.record(&acme.config.tenant, "watermark").await?.context("no watermark")?;
        let receipt = world.record(&acme.config.tenant, "export#2026-11-20T11:00:00Z").await?.context("no receipt")?;
        let key = "audit-logs/tenant=acme/20261120T100000Z_20261120T110000Z_0001.json.manifest";
        for (item, attribute, value) in [
            (&stored, "manifest_sha256", head.as_str()),
            (&stored, "signing_failed_since", "2026-11-20T11:02:00Z"),
            (&receipt, "manifest_key", key),
            (&receipt, "manifest_sha256", &head),
            (&receipt, "manifest_state", "unsigned"),
        ] {
            assert_eq!(text(item, attribute).as_deref(), Some(value), "{attribute}");
        }
        Ok(())
    })
}
