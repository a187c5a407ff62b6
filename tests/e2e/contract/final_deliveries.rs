//! What is left to deliver to the places that a tenant has left.

use anyhow::{Context as _, Result};
use audit_log_core::{
    onboarding::{self, Verified},
    ports::{Acquisition, Conditional, FinalDeliveryWrite, Fleet, Purpose, Tenants},
    records::{FinalDeliveries, FinalDelivery, TenantRecords},
    settings::{Draft, TenantConfig},
    system_events::AdminChange,
};

use crate::world::{
    self, AsRead, World, announcement_of, change, clock, config, connect, lease, load, stored_watermark,
};

on_both_worlds! {
    a_change_of_destination_stores_the_settings_before_it
    a_disconnect_does_so_too
    other_changes_leave_nothing
    a_disconnected_tenant_leaves_no_place
    a_change_fails_if_a_run_has_written_the_record_meanwhile
    a_run_writes_the_record_only_under_its_lease_and_as_it_was_read
    a_tenant_is_listed_while_something_is_left_to_deliver
    the_lease_for_a_final_delivery_needs_no_connected_tenant
}

/// Saves another bucket.
async fn move_to(world: &impl World, acme: &AsRead, bucket: &str, time: &str) -> Result<Conditional> {
    let records = load(world, &acme.config.tenant).await?;
    let version = records.config.clone().context("no config")?.version.context("no version")?.parse()?;
    let moved =
        TenantConfig { version, ..config("acme", Draft { bucket: Some(bucket.to_owned()), ..Draft::default() })? };
    let change = AdminChange { id: format!("move-at-{time}"), ..change(time)? };
    Ok(onboarding::save(world.settings(), &records, &moved, None, Verified::NotTried, &change).await?)
}

/// `acme`, whose bucket was left at 10:20.
async fn moved(world: &impl World) -> Result<(AsRead, FinalDeliveries)> {
    let acme = connect(world, "acme").await?;
    assert_eq!(move_to(world, &acme, "elsewhere", "10:20").await?, Conditional::Written);
    let pending = load(world, &acme.config.tenant).await?.final_deliveries;
    Ok((acme, pending))
}

/// Acquires the lease for a final delivery.
async fn acquire(world: &impl World, acme: &AsRead) -> Result<()> {
    let now = clock("11:02")?;
    let acquired = world.tenants().acquire_lease(&acme.config.tenant, Purpose::Redelivery, &acme.lease, now).await?;
    assert!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
    Ok(())
}

fn only(pending: &FinalDeliveries) -> Result<FinalDelivery> {
    let [delivery] = &pending.places[..] else { anyhow::bail!("expected one: {pending:?}") };
    Ok(delivery.clone())
}

async fn a_change_of_destination_stores_the_settings_before_it(world: &impl World) -> Result<()> {
    let (acme, pending) = moved(world).await?;
    let delivery = only(&pending)?;
    assert_eq!((pending.revision, delivery.window().from), (1, clock("10:00")?));
    assert_eq!(delivery.window().to, clock("10:20")? + chrono::TimeDelta::seconds(1));
    assert_eq!(config("acme", delivery.config)?, acme.config);
    Ok(())
}

async fn a_disconnect_does_so_too(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let records = load(world, tenant).await?;
    let left = onboarding::disconnect(world.settings(), &records, tenant, &change("10:20")?).await?;
    assert_eq!(left, Conditional::Written);
    let records = load(world, tenant).await?;
    assert_eq!(only(&records.final_deliveries)?.place.bucket, acme.config.bucket.as_str());
    assert_eq!(records.watermark.and_then(|watermark| watermark.due_shard), None);
    Ok(())
}

async fn other_changes_leave_nothing(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let bucket = acme.config.bucket.to_string();
    assert_eq!(move_to(world, &acme, &bucket, "10:20").await?, Conditional::Written);
    assert_eq!(load(world, &acme.config.tenant).await?.final_deliveries, FinalDeliveries::default());
    Ok(())
}

async fn a_disconnected_tenant_leaves_no_place(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let records = load(world, tenant).await?;
    let left = onboarding::disconnect(world.settings(), &records, tenant, &change("10:20")?).await?;
    assert_eq!(left, Conditional::Written);
    let before = load(world, tenant).await?.final_deliveries;
    assert_eq!(move_to(world, &acme, "elsewhere", "18:20").await?, Conditional::Written);
    assert_eq!(load(world, tenant).await?.final_deliveries, before, "nothing was delivered since");
    Ok(())
}

async fn a_change_fails_if_a_run_has_written_the_record_meanwhile(world: &impl World) -> Result<()> {
    let (acme, pending) = moved(world).await?;
    let tenant = &acme.config.tenant;
    let as_read = load(world, tenant).await?;
    acquire(world, &acme).await?;
    let after = pending.with(&only(&pending)?.place, None);
    let write = FinalDeliveryWrite { after: &after, delivered_until: None, announcement: None };
    assert_eq!(world.tenants().write_final_deliveries(tenant, &acme.lease, write).await?, Conditional::Written);
    let before = load(world, tenant).await?;
    let left = onboarding::disconnect(world.settings(), &as_read, tenant, &change("10:30")?).await?;
    assert_eq!((left, load(world, tenant).await?), (Conditional::ConditionFailed, before.clone()));
    let left = onboarding::disconnect(world.settings(), &before, tenant, &change("10:30")?).await?;
    assert_eq!(left, Conditional::Written);
    let records = load(world, tenant).await?;
    assert_eq!(
        (records.final_deliveries.revision, only(&records.final_deliveries)?.place.bucket.as_str()),
        (3, "elsewhere")
    );
    Ok(())
}

async fn a_run_writes_the_record_only_under_its_lease_and_as_it_was_read(world: &impl World) -> Result<()> {
    let (acme, pending) = moved(world).await?;
    let (tenant, delivery) = (&acme.config.tenant, only(&pending)?);
    acquire(world, &acme).await?;
    let part = FinalDelivery { from: clock("10:10")?, checkpoint: Some("so far".to_owned()), ..delivery.clone() };
    let after = pending.with(&delivery.place, Some(part.clone()));
    let announcement = announcement_of("acme", "system:final", "11:02")?;
    let (delivered_until, announced) = (Some(clock("10:10")?), Some(&announcement));
    let write = FinalDeliveryWrite { after: &after, delivered_until, announcement: announced };
    let before = load(world, tenant).await?;
    let other = lease(7, "11:45")?;
    assert_eq!(world.tenants().write_final_deliveries(tenant, &other, write).await?, Conditional::ConditionFailed);
    let stale = FinalDeliveries { revision: after.revision + 1, ..after.clone() };
    let stale = FinalDeliveryWrite { after: &stale, ..write };
    assert_eq!(world.tenants().write_final_deliveries(tenant, &acme.lease, stale).await?, Conditional::ConditionFailed);
    assert_eq!(load(world, tenant).await?, before, "nothing is written");

    assert_eq!(world.tenants().write_final_deliveries(tenant, &acme.lease, write).await?, Conditional::Written);
    let TenantRecords { watermark, final_deliveries, config, .. } = load(world, tenant).await?;
    assert_eq!((only(&final_deliveries)?, final_deliveries), (part, after));
    let watermark = watermark.context("no watermark")?;
    assert_eq!(watermark.final_delivered_until.as_deref(), Some("2026-11-20T10:10:00Z"));
    assert_eq!((watermark.schedule().ok(), config), (Some(acme.schedule), before.config), "nothing else moves");
    assert!(world.tenants().outbox(tenant).await?.entries.iter().any(|entry| entry.id == "system:final"));
    Ok(())
}

async fn a_tenant_is_listed_while_something_is_left_to_deliver(world: &impl World) -> Result<()> {
    assert_eq!(world.tenants().redeliveries().await?, [""; 0]);
    let (acme, pending) = moved(world).await?;
    world::connect(world, "globex").await?;
    assert_eq!(world.tenants().redeliveries().await?, ["acme"]);
    assert_eq!(world.fleet().pending().await?, ["acme", "globex"], "of outboxes alone");
    acquire(world, &acme).await?;
    let after = pending.with(&only(&pending)?.place, None);
    let write = FinalDeliveryWrite { after: &after, delivered_until: None, announcement: None };
    assert_eq!(
        world.tenants().write_final_deliveries(&acme.config.tenant, &acme.lease, write).await?,
        Conditional::Written
    );
    assert_eq!(world.tenants().redeliveries().await?, [""; 0]);
    assert_eq!(load(world, &acme.config.tenant).await?.final_deliveries, after);
    Ok(())
}

async fn the_lease_for_a_final_delivery_needs_no_connected_tenant(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let records = load(world, tenant).await?;
    let left = onboarding::disconnect(world.settings(), &records, tenant, &change("10:20")?).await?;
    assert_eq!(left, Conditional::Written);
    acquire(world, &acme).await?;
    let other = lease(7, "11:45")?;
    let held = world.tenants().acquire_lease(tenant, Purpose::Redelivery, &other, clock("11:03")?).await?;
    assert_eq!(held, Acquisition::HeldUntil(acme.lease.until));
    assert_eq!(stored_watermark(world, tenant).await?.due_shard, None);
    Ok(())
}
