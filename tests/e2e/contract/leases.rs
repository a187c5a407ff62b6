//! Acquiring and releasing a tenant's lease.

use anyhow::{Context as _, Result};
use audit_log_core::{
    lease::{Lease, MAX_LEASE},
    ports::{Acquisition, Conditional, Purpose, Settings, Tenants},
    records::{ExportHealth, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, TenantConfig},
    tenant::RoleArn,
};
use audit_log_tests::Item;
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;

use crate::{
    local::on_local_aws,
    world::{
        AsRead, LeaseDamage, World, announcement, clock, config, connect, connect_and_acquire, denied, external_id, id,
        lease, load, stored_watermark,
    },
};

on_both_worlds! {
    a_free_lease_is_acquired_and_comes_with_the_watermark
    a_lease_excludes_other_runs_until_its_end
    a_lease_that_ends_implausibly_late_excludes_no_run
    an_unreadable_lease_excludes_no_run
    a_run_that_repeats_its_call_acquires_its_own_lease
    of_many_concurrent_runs_exactly_one_acquires_the_lease
    a_lease_for_an_export_is_acquired_only_if_the_tenant_is_unchanged
    a_tenant_has_one_lease_for_all_purposes
    publishing_needs_no_watermark_and_does_not_prevent_a_first_save
    publishing_for_a_disconnected_tenant_leaves_it_disconnected
    only_its_own_run_releases_a_lease
}

async fn acquire(world: &impl World, acme: &AsRead, lease: &Lease, now: DateTime<Utc>) -> Result<Acquisition> {
    let purpose = Purpose::Export(&acme.watermark);
    Ok(world.tenants().acquire_lease(&acme.config.tenant, purpose, lease, now).await?)
}

fn is_acquired(acquisition: &Acquisition) -> bool {
    matches!(acquisition, Acquisition::Acquired(..))
}

async fn held(world: &impl World, acme: &AsRead) -> Result<Option<Lease>> {
    Ok(load(world, &acme.config.tenant).await?.lease)
}

async fn a_free_lease_is_acquired_and_comes_with_the_watermark(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let kept = world.tenants().save_checkpoint(&acme.config, acme.fence(), "so far").await?;
    assert_eq!(kept, Conditional::Written);
    assert_eq!(acme.fail(world, &denied(), "11:05").await?, Conditional::Written);
    world.tenants().release_lease(&acme.config.tenant, &acme.lease).await?;
    let before = load(world, &acme.config.tenant).await?;
    let watermark = before.watermark.clone().context("no watermark")?;
    assert_eq!((watermark.checkpoint.as_deref(), watermark.failing, &before.lease), (Some("so far"), true, &None));

    let own = lease(2, "11:45")?;
    let acquired = acquire(world, &acme, &own, clock("11:10")?).await?;
    assert_eq!(acquired, Acquisition::Acquired(watermark, before.health.clone()));
    assert_eq!(load(world, &acme.config.tenant).await?, TenantRecords { lease: Some(own), ..before });
    Ok(())
}

async fn a_lease_excludes_other_runs_until_its_end(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let end = clock("11:45")? + TimeDelta::milliseconds(123);
    let (first, second) = (Lease::new([1; 16], end), Lease::new([2; 16], end + TimeDelta::hours(1)));
    assert!(is_acquired(&acquire(world, &acme, &first, clock("11:02")?).await?));
    for now in [clock("11:02")?, end - TimeDelta::milliseconds(1), end] {
        assert_eq!(acquire(world, &acme, &second, now).await?, Acquisition::HeldUntil(end), "{now}");
        assert_eq!(held(world, &acme).await?.as_ref(), Some(&first));
    }
    assert!(is_acquired(&acquire(world, &acme, &second, end + TimeDelta::milliseconds(1)).await?));
    assert_eq!(held(world, &acme).await?, Some(second));
    Ok(())
}

async fn a_lease_that_ends_implausibly_late_excludes_no_run(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let now = clock("11:02")?;
    let longest = Lease::new([1; 16], now + MAX_LEASE);
    assert!(is_acquired(&acquire(world, &acme, &longest, now).await?));
    let next = lease(2, "11:45")?;
    assert_eq!(acquire(world, &acme, &next, now).await?, Acquisition::HeldUntil(longest.until));
    // For a slow clock, it ends later than any lease may.
    let behind = now - TimeDelta::milliseconds(1);
    assert!(is_acquired(&acquire(world, &acme, &next, behind).await?));
    assert_eq!(held(world, &acme).await?, Some(next));
    Ok(())
}

async fn an_unreadable_lease_excludes_no_run(world: &impl World) -> Result<()> {
    for (number, damage) in LeaseDamage::ALL.into_iter().enumerate() {
        let acme = connect(world, &format!("tenant-{number}")).await?;
        world.put_unreadable_lease(&acme.config.tenant, damage).await?;
        assert_eq!(held(world, &acme).await?, None, "{damage:?}");
        let acquired = acquire(world, &acme, &acme.lease, clock("11:02")?).await?;
        assert!(is_acquired(&acquired), "{damage:?}: {acquired:?}");
        assert_eq!(held(world, &acme).await?, Some(acme.lease), "{damage:?}");
    }
    Ok(())
}

async fn a_run_that_repeats_its_call_acquires_its_own_lease(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let first = acquire(world, &acme, &acme.lease, clock("11:03")?).await?;
    assert!(is_acquired(&first));
    assert_eq!(acquire(world, &acme, &acme.lease, clock("11:03")?).await?, first);
    assert_eq!(held(world, &acme).await?, Some(acme.lease));
    Ok(())
}

async fn of_many_concurrent_runs_exactly_one_acquires_the_lease(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let leases = (1..=8).map(|token| lease(token, "11:45")).collect::<Result<Vec<_>>>()?;
    let now = clock("11:02")?;
    let acquired = join_all(leases.iter().map(|lease| acquire(world, &acme, lease, now))).await;
    let acquired = acquired.into_iter().collect::<Result<Vec<_>>>()?;
    let winners: Vec<&Lease> =
        leases.iter().zip(&acquired).filter(|(_, it)| is_acquired(it)).map(|(it, _)| it).collect();
    assert_eq!(winners, [&held(world, &acme).await?.context("no lease")?]);
    let others = acquired.iter().filter(|it| **it == Acquisition::HeldUntil(acme.lease.until)).count();
    assert_eq!(others, 7, "{acquired:?}");
    Ok(())
}

async fn a_lease_for_an_export_is_acquired_only_if_the_tenant_is_unchanged(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let text = |text: &str| Some(text.to_owned());
    let stored = &acme.watermark;
    let other = |watermark: StoredWatermark| AsRead { watermark, ..acme.clone() };
    let others = [
        other(StoredWatermark { exported_until: text("2026-11-20T09:00:00Z"), ..stored.clone() }),
        other(StoredWatermark { exported_until: None, ..stored.clone() }),
        other(StoredWatermark { next_due: text("2026-11-20T12:00:00Z"), ..stored.clone() }),
        other(StoredWatermark { next_due: None, ..stored.clone() }),
        other(StoredWatermark { due_shard: text("not its own"), ..stored.clone() }),
        other(StoredWatermark { due_shard: None, ..stored.clone() }),
        other(StoredWatermark::default()),
    ];
    let is_refused = async |as_read: &AsRead| -> Result<()> {
        let before = load(world, &as_read.config.tenant).await?;
        let refused = acquire(world, as_read, &acme.lease, clock("11:02")?).await?;
        assert_eq!(refused, Acquisition::ConditionFailed, "{as_read:?}");
        assert_eq!(load(world, &as_read.config.tenant).await?, before, "{as_read:?}");
        Ok(())
    };
    for as_read in &others {
        is_refused(as_read).await?;
    }
    for unknown in [&acme, &other(StoredWatermark::default())] {
        let unknown = AsRead { config: config("unknown", Draft::default())?, ..unknown.clone() };
        is_refused(&unknown).await?;
    }
    let disconnected = world.settings().disconnect(&acme.config.tenant, 1, &announcement("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    is_refused(&acme).await?;
    // Another run's lease is the reported reason, whatever else changed.
    let until = clock("11:20")?;
    let publisher = Lease::new([9; 16], until);
    let tenant = &acme.config.tenant;
    let acquired = world.tenants().acquire_lease(tenant, Purpose::Publish, &publisher, clock("11:02")?).await?;
    assert!(is_acquired(&acquired));
    assert_eq!(acquire(world, &acme, &acme.lease, clock("11:02")?).await?, Acquisition::HeldUntil(until));
    Ok(())
}

async fn a_tenant_has_one_lease_for_all_purposes(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    let publisher = lease(2, "11:04")?;
    let now = clock("11:03")?;
    let refused = tenants.acquire_lease(tenant, Purpose::Publish, &publisher, now).await?;
    assert_eq!(refused, Acquisition::HeldUntil(acme.lease.until));
    tenants.release_lease(tenant, &acme.lease).await?;
    assert!(is_acquired(&tenants.acquire_lease(tenant, Purpose::Publish, &publisher, now).await?));
    assert_eq!(acquire(world, &acme, &acme.lease, now).await?, Acquisition::HeldUntil(publisher.until));
    Ok(())
}

async fn publishing_needs_no_watermark_and_does_not_prevent_a_first_save(world: &impl World) -> Result<()> {
    let (tenant, tenants, settings) = (id("acme")?, world.tenants(), world.settings());
    external_id(world, &tenant, "made-for-acme").await?;
    let (publisher, now) = (lease(9, "10:02")?, clock("10:00")?);
    let acquired = tenants.acquire_lease(&tenant, Purpose::Publish, &publisher, now).await?;
    assert_eq!(acquired, Acquisition::Acquired(StoredWatermark::default(), ExportHealth::default()));
    let records = load(world, &tenant).await?;
    assert_eq!((&records.watermark, records.lease.as_ref()), (&None, Some(&publisher)));
    // A record with a lease alone counts as no watermark, for connecting a role and for saving.
    let role = RoleArn::parse("arn:aws:iam::222222222222:role/audit")?;
    let stored = settings.store_role(&tenant, Some(&role), 0, &announcement("acme", "10:00")?).await?;
    assert_eq!(stored, Conditional::Written);
    let first = TenantConfig { version: 1, ..config("acme", Draft::default())? };
    let schedule = Schedule { exported_until: now, next_due: clock("11:00")? };
    let saved = settings.save(&first, None, schedule, false, &announcement("acme", "10:01")?).await?;
    assert_eq!(saved, Conditional::Written);
    let connected = StoredWatermark::connected(&tenant, schedule);
    assert_eq!(stored_watermark(world, &tenant).await?, connected);
    assert_eq!(load(world, &tenant).await?.lease.as_ref(), Some(&publisher), "a save leaves it");
    tenants.release_lease(&tenant, &publisher).await?;
    let records = load(world, &tenant).await?;
    assert_eq!((records.watermark, records.lease), (Some(connected), None));
    // The record that is left after the release counts as no watermark either.
    let globex = id("globex")?;
    assert!(is_acquired(&tenants.acquire_lease(&globex, Purpose::Publish, &publisher, now).await?));
    tenants.release_lease(&globex, &publisher).await?;
    assert_eq!(load(world, &globex).await?, TenantRecords::default());
    connect(world, "globex").await.map(|_| ())
}

async fn publishing_for_a_disconnected_tenant_leaves_it_disconnected(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let disconnected = world.settings().disconnect(tenant, 1, &announcement("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    let left = stored_watermark(world, tenant).await?;
    let acquired = world.tenants().acquire_lease(tenant, Purpose::Publish, &acme.lease, clock("11:02")?).await?;
    assert_eq!(acquired, Acquisition::Acquired(left.clone(), load(world, tenant).await?.health));
    world.tenants().release_lease(tenant, &acme.lease).await?;
    assert_eq!((left.due_shard.clone(), stored_watermark(world, tenant).await?), (None, left));
    Ok(())
}

async fn only_its_own_run_releases_a_lease(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    let before = load(world, tenant).await?;
    tenants.release_lease(tenant, &lease(2, "11:45")?).await?;
    assert_eq!(load(world, tenant).await?, before);
    for _ in 0..2 {
        tenants.release_lease(tenant, &acme.lease).await?;
        assert_eq!(load(world, tenant).await?, TenantRecords { lease: None, ..before.clone() });
    }
    tenants.release_lease(&id("unknown")?, &acme.lease).await?;
    assert_eq!(load(world, &id("unknown")?).await?, TenantRecords::default());
    Ok(())
}

/// The commands in docs/operations.md use these attributes.
#[test]
fn the_table_has_a_lease_as_a_text_and_its_end_in_milliseconds() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect_and_acquire(world, "acme").await?;
        let stored =
            async || -> Result<Item> { world.record(&acme.config.tenant, "watermark").await?.context("no watermark") };
        let watermark = stored().await?;
        let lease = watermark.get("lease").and_then(|it| it.as_s().ok());
        let until = watermark.get("lease_until").and_then(|it| it.as_n().ok());
        assert_eq!(lease, Some(&"01".repeat(16)));
        assert_eq!(until, Some(&clock("11:45")?.timestamp_millis().to_string()));
        world.tenants().release_lease(&acme.config.tenant, &acme.lease).await?;
        let released = stored().await?;
        assert!(!released.contains_key("lease") && !released.contains_key("lease_until"), "{released:?}");
        Ok(())
    })
}
