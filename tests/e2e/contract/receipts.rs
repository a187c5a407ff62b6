//! Storing receipts.

use anyhow::{Context as _, Result};
use audit_log_core::{
    ports::{Conditional, Settings as _},
    records::{Receipt, StoredObject, StoredReceipt},
    schedule::Window,
};
use audit_log_tests::Item;
use chrono::TimeDelta;

use crate::{
    local::{on_local_aws, text},
    world::{AsRead, World, connect, connect_and_acquire},
};

on_both_worlds! {
    a_receipt_has_the_windows_objects_with_their_checksums
    there_is_no_receipt_for_a_window_that_was_not_stored
    a_receipt_of_very_many_objects_is_stored
}

async fn store(world: &impl World, tenant: &AsRead, receipt: &Receipt) -> Result<()> {
    assert_eq!(tenant.commit(world, receipt).await?, Conditional::Written);
    Ok(())
}

async fn stored(world: &impl World, tenant: &AsRead) -> Result<Vec<StoredReceipt>> {
    Ok(world.settings().receipts(&tenant.config.tenant, None, 10).await?)
}

async fn a_receipt_has_the_windows_objects_with_their_checksums(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let mut receipt = acme.receipt("a");
    let minute = Window { from: receipt.window.from - TimeDelta::minutes(1), to: receipt.window.from };
    receipt.objects.insert(0, StoredObject { late: Some(minute), ..receipt.objects[0].clone() });
    receipt.late = 2;
    store(world, &acme, &receipt).await?;
    assert_eq!(stored(world, &acme).await?, [StoredReceipt::from_receipt(&receipt)]);
    Ok(())
}

async fn there_is_no_receipt_for_a_window_that_was_not_stored(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    store(world, &acme, &acme.receipt("a")).await?;
    assert_eq!(stored(world, &connect(world, "globex").await?).await?, [], "another tenant's");
    Ok(())
}

/// More than fit into an item one by one.
async fn a_receipt_of_very_many_objects_is_stored(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let object = |number: u32| StoredObject {
        key: format!("{}/{number:04}.json", "folder".repeat(60)),
        bytes: u64::from(number),
        events: 1,
        sha256: format!("{number:064x}"),
        late: None,
        last_event: None,
    };
    let receipt = Receipt { objects: (1..=2_000).map(object).collect(), ..acme.receipt("a") };
    store(world, &acme, &receipt).await?;
    let stored = stored(world, &acme).await?.pop().context("no receipt")?;
    let all = StoredReceipt::from_receipt(&receipt);
    let counts = |it: &StoredReceipt| (it.object_count, it.events, it.bytes);
    assert_eq!(counts(&stored), counts(&all), "the counts include all objects");
    assert!(receipt.objects.starts_with(&stored.receipt.objects) && !stored.receipt.objects.is_empty());
    Ok(())
}

/// The console shows these attributes, and TTL uses one of them.
#[test]
fn the_table_has_a_receipt_with_its_counts_for_400_days() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect_and_acquire(world, "acme").await?;
        store(world, &acme, &acme.receipt("a")).await?;
        let item = world.record(&acme.config.tenant, "export#2026-11-20T11:00:00Z").await?.context("no receipt")?;
        for (attribute, value) in [
            ("window_from", "2026-11-20T10:00:00Z"),
            ("window_to", "2026-11-20T11:00:00Z"),
            ("bucket", "some-bucket"),
            ("object_count", "1"),
            ("events", "3"),
            ("malformed", "1"),
            ("bytes", "2048"),
            ("exported_at", "2026-11-20T11:02:00Z"),
            ("duration_ms", "250"),
            ("expires_at", "1829732520"),
        ] {
            assert_eq!(text(&item, attribute).as_deref(), Some(value), "{attribute}");
        }
        let objects = item.get("objects").and_then(|list| list.as_l().ok()).context("no objects")?;
        let objects: Vec<Option<&Item>> = objects.iter().map(|object| object.as_m().ok()).collect();
        let [Some(object)] = objects[..] else { anyhow::bail!("{objects:?}") };
        assert_eq!(text(object, "sha256").as_deref(), Some("a"));
        Ok(())
    })
}
