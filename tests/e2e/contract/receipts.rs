//! What is kept of a window that was stored.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use audit_log_core::{
    ports::{Conditional, Settings as _, Tenants},
    records::{Doubt, Receipt, ReceiptDigest, StoredObject, StoredReceipt, TenantRecords},
    schedule::Window,
    tenant::TenantId,
};
use audit_log_tests::Item;
use chrono::TimeDelta;

use crate::{
    local::{on_local_aws, text},
    world::{AsRead, World, clock, connect, id, load},
};

on_both_worlds! {
    a_receipt_tells_where_the_window_lies_and_what_bytes_it_has
    there_is_no_receipt_for_a_window_that_was_not_stored
    a_receipt_is_replaced_by_whoever_has_read_it
    a_receipt_is_not_replaced_unless_it_is_as_it_was_read
    a_receipt_that_does_not_exist_is_not_amended
    a_window_in_doubt_stays_so_until_its_mark_is_taken_away
    a_receipt_of_very_many_objects_is_stored
}

/// Commits a receipt, and reads it back.
async fn stored(world: &impl World, tenant: &AsRead, receipt: &Receipt) -> Result<ReceiptDigest> {
    let committed = world.tenants().commit(&tenant.config, &tenant.watermark, tenant.after(), receipt, None).await?;
    assert_eq!(committed, Conditional::Written);
    read(world, &tenant.config.tenant, receipt).await
}

async fn read(world: &impl World, tenant: &TenantId, receipt: &Receipt) -> Result<ReceiptDigest> {
    world.tenants().receipt(tenant, receipt.window.to).await?.context("no receipt")
}

async fn a_receipt_tells_where_the_window_lies_and_what_bytes_it_has(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let mut receipt = acme.receipt("a");
    let minute = Window { from: receipt.window.from - TimeDelta::minutes(1), to: receipt.window.from };
    receipt.objects.insert(0, StoredObject { late: Some(minute), ..receipt.objects[0].clone() });
    receipt.late = 2;
    let expected = ReceiptDigest::of(&receipt);
    assert_eq!(stored(world, &acme, &receipt).await?, expected);
    assert_eq!(expected.late, (BTreeSet::from([minute]), 2));
    let listed = world.settings().receipts(&acme.config.tenant, None, 1).await?;
    assert_eq!(listed, [StoredReceipt::of(&receipt)]);
    Ok(())
}

async fn there_is_no_receipt_for_a_window_that_was_not_stored(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    stored(world, &acme, &acme.receipt("a")).await?;
    connect(world, "globex").await?;
    assert_eq!(world.tenants().receipt(&acme.config.tenant, clock("12:00")?).await?, None);
    assert_eq!(world.tenants().receipt(&id("globex")?, clock("11:00")?).await?, None, "another tenant's");
    Ok(())
}

async fn a_receipt_is_replaced_by_whoever_has_read_it(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let as_read = stored(world, &acme, &acme.receipt("a")).await?;
    let records = load(world, tenant).await?;
    let anew = Receipt { amended: 1, ..acme.receipt("b") };
    assert_eq!(world.tenants().amend_receipt(tenant, &as_read, &anew).await?, Conditional::Written);
    assert_eq!(read(world, tenant, &anew).await?, ReceiptDigest::of(&anew));
    assert_eq!(load(world, tenant).await?, records, "an amended receipt moves nothing");
    Ok(())
}

async fn a_receipt_is_not_replaced_unless_it_is_as_it_was_read(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let stored = stored(world, &acme, &acme.receipt("a")).await?;
    for as_read in [
        ReceiptDigest { from: clock("09:00")?, ..stored.clone() },
        // The same objects by key and bytes, but in another bucket.
        ReceiptDigest { bucket: "another-bucket".to_owned(), ..stored.clone() },
        ReceiptDigest { manifest_sha256: acme.receipt("c").manifest_sha256(), ..stored.clone() },
        // The same, but of before or after another run has stored it again.
        ReceiptDigest { amended: 2, ..stored.clone() },
    ] {
        let amended = world.tenants().amend_receipt(tenant, &as_read, &acme.receipt("b")).await?;
        assert_eq!(amended, Conditional::LostRace, "{as_read:?}");
        assert_eq!(read(world, tenant, &acme.receipt("b")).await?, stored);
    }
    Ok(())
}

async fn a_receipt_that_does_not_exist_is_not_amended(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let receipt = acme.receipt("a");
    let never_stored = ReceiptDigest::of(&receipt);
    assert_eq!(world.tenants().amend_receipt(tenant, &never_stored, &receipt).await?, Conditional::LostRace);
    assert_eq!(world.tenants().receipt(tenant, receipt.window.to).await?, None);
    Ok(())
}

/// Two runs may store a window again at once; each has a mark of its own.
async fn a_window_in_doubt_stays_so_until_its_mark_is_taken_away(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    let before = load(world, tenant).await?;
    let window = acme.receipt("a").window;
    let [first, second] = [Doubt::new(window, clock("11:02")?), Doubt::new(window, clock("11:03")?)];
    for doubt in [first, second, second] {
        tenants.doubt(tenant, doubt).await?;
    }
    let marked = load(world, tenant).await?;
    assert_eq!(marked.doubts.iter().copied().collect::<BTreeSet<_>>(), BTreeSet::from([first, second]));
    assert_eq!(TenantRecords { doubts: Vec::new(), ..marked }, before, "nothing has moved");
    let committed = tenants.commit(&acme.config, &acme.watermark, acme.after(), &acme.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written, "and a commit is not kept from it");
    tenants.settle(tenant, &[first]).await?;
    assert_eq!(load(world, tenant).await?.doubts, [second]);
    tenants.settle(tenant, &[first, second]).await?;
    tenants.settle(tenant, &[]).await?;
    assert_eq!(load(world, tenant).await?.doubts, []);
    tenants.doubt(&id("unknown")?, first).await?;
    tenants.settle(&id("unknown")?, &[first]).await?;
    assert_eq!(load(world, &id("unknown")?).await?, TenantRecords::default(), "a mark makes no record");
    Ok(())
}

/// More than an item of the table could list one by one.
async fn a_receipt_of_very_many_objects_is_stored(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let object = |number: u32| StoredObject {
        key: format!("{}/{number:04}.json", "folder".repeat(60)),
        bytes: u64::from(number),
        events: 1,
        sha256: format!("{number:064x}"),
        late: None,
    };
    let receipt = Receipt { objects: (1..=2_000).map(object).collect(), ..acme.receipt("a") };
    let digest = stored(world, &acme, &receipt).await?;
    assert!(!digest.is_replaced_by(&receipt));
    let mut other = receipt.clone();
    other.objects[1_999].sha256 = "f".repeat(64);
    assert!(digest.is_replaced_by(&other), "the last object's bytes are not told apart");
    Ok(())
}

/// The console shows these attributes, and the table's TTL goes by one of them.
#[test]
fn the_table_keeps_a_receipt_with_its_counts_for_400_days() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect(world, "acme").await?;
        stored(world, &acme, &acme.receipt("a")).await?;
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
