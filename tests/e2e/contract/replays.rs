//! Replays: the record, the receipts that they read, and those that they write.

use anyhow::{Context as _, Result, ensure};
use audit_log_core::{
    event::User,
    ports::{Acquisition, Conditional, Erasure, Fleet, Purpose, ReplayWrite, Settings, Tenants},
    records::{
        AmendedManifest, EventPosition, Location, ManifestState, Place, Progress, Receipt, Replay, ReplayState,
        StoredReceipt,
    },
    schedule::Window,
    settings::Draft,
    tenant::TenantId,
};
use chrono::TimeDelta;

use crate::manifests::with_manifest;
use crate::world::{self, AsRead, World, acquire, announcement_of, change, clock, connect, id, lease, load, window};

on_both_worlds! {
    a_request_is_stored_with_its_audit_event_and_as_the_record_was_read
    a_request_needs_settings_that_are_not_being_erased
    a_run_writes_the_record_only_under_its_lease_and_as_it_was_read
    a_stop_that_was_asked_for_meanwhile_is_not_overwritten
    a_tenant_is_listed_once_while_its_replay_is_running
    receipts_come_in_order_after_an_instant_and_without_those_of_replays
    each_place_keeps_the_receipt_of_a_windows_last_replay
    a_running_replay_keeps_its_tenant_from_being_erased_and_an_ended_one_is_erased_with_its_receipts
}

/// A request of the window from 10:00 to 11:00 into the place of the settings.
fn requested(acme: &AsRead, before: Option<&Replay>) -> Result<Replay> {
    let range = window("10:00", "11:00")?;
    let settings = Draft::from_config(&acme.config, acme.config.version);
    let place = Place::of(&acme.config.tenant, &settings).context("settings that lead nowhere")?;
    let by = User { id: "ada".to_owned(), name: None, email: None };
    let planned = Progress { windows: 1, events: 3, bytes: 2048 };
    Ok(Replay::new("the-request".to_owned(), range, place, planned, by, clock("11:01")?, before))
}

async fn request(world: &impl World, acme: &AsRead) -> Result<Replay> {
    let replay = requested(acme, None)?;
    let stored = world.settings().request_replay(&acme.config.tenant, &replay, None).await?;
    ensure!(stored == Conditional::Written, "not stored");
    Ok(replay)
}

fn raised(replay: &Replay) -> Replay {
    Replay { revision: replay.revision + 1, ..replay.clone() }
}

async fn write(world: &impl World, acme: &AsRead, after: &Replay, receipt: Option<&Receipt>) -> Result<Conditional> {
    let write = ReplayWrite { after, receipt, announcement: None };
    Ok(world.tenants().write_replay(&acme.config.tenant, &acme.lease, write).await?)
}

async fn stored(world: &impl World, tenant: &TenantId) -> Result<Option<Replay>> {
    Ok(load(world, tenant).await?.replay)
}

/// A receipt of the hour that begins then.
fn receipt_of(acme: &AsRead, from: &str, sha256: &str) -> Result<Receipt> {
    let from = clock(from)?;
    let window = Window { from, to: from + TimeDelta::hours(1) };
    Ok(Receipt { window, exported_at: window.to, ..acme.receipt(sha256) })
}

async fn a_request_is_stored_with_its_audit_event_and_as_the_record_was_read(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let before = load(world, tenant).await?;
    assert_eq!(before.replay, None);
    let replay = requested(&acme, None)?;
    let announcement = change("11:01")?.replay_requested(tenant, &replay);
    let stored_now = world.settings().request_replay(tenant, &replay, Some(&announcement)).await?;
    assert_eq!((stored_now, stored(world, tenant).await?), (Conditional::Written, Some(replay.clone())));
    let after = load(world, tenant).await?;
    assert_eq!((after.config, after.watermark, after.lease), (before.config, before.watermark, before.lease));
    for stale in [requested(&acme, None)?, Replay { revision: 3, ..replay.clone() }] {
        let refused = world.settings().request_replay(tenant, &stale, None).await?;
        assert_eq!((refused, stored(world, tenant).await?), (Conditional::ConditionFailed, Some(replay.clone())));
    }
    let stopping = Replay { stop_requested: true, ..raised(&replay) };
    let stopped = world.settings().request_replay(tenant, &stopping, None).await?;
    assert_eq!((stopped, stored(world, tenant).await?), (Conditional::Written, Some(stopping)));
    Ok(())
}

async fn a_request_needs_settings_that_are_not_being_erased(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let globex = id("globex")?;
    let refused = world.settings().request_replay(&globex, &requested(&acme, None)?, None).await?;
    assert_eq!((refused, stored(world, &globex).await?), (Conditional::ConditionFailed, None), "it has no config");
    let left = left(world, &acme).await?;
    ensure!(world.erasure().begin_erasure(&left, 2, clock("11:02")?).await?.is_some(), "not begun");
    let refused = world.settings().request_replay(&left, &requested(&acme, None)?, None).await?;
    assert_eq!((refused, stored(world, &left).await?), (Conditional::ConditionFailed, None));
    Ok(())
}

async fn left(world: &impl World, AsRead { config, .. }: &AsRead) -> Result<TenantId> {
    let announcement = announcement_of(config.tenant.as_str(), "left", "10:30")?;
    let disconnected = world.settings().disconnect(&config.tenant, 1, &announcement).await?;
    ensure!(disconnected == Conditional::Written, "not disconnected");
    let outbox = world.tenants().outbox(&config.tenant).await?;
    let ids: Vec<String> = outbox.entries.iter().map(|entry| entry.id.clone()).collect();
    world.tenants().remove_published(&config.tenant, &outbox, &ids).await?;
    Ok(config.tenant.clone())
}

async fn a_run_writes_the_record_only_under_its_lease_and_as_it_was_read(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, replay, receipt) = (&acme.config.tenant, request(world, &acme).await?, acme.receipt("a"));
    let now = clock("11:02")?;
    let acquired = world.tenants().acquire_lease(tenant, Purpose::Redelivery, &acme.lease, now).await?;
    ensure!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
    let after = raised(&replay.after_window(&receipt, false, now));
    let announcement = announcement_of("acme", "system:replay", "11:02")?;
    let write = ReplayWrite { after: &after, receipt: Some(&receipt), announcement: Some(&announcement) };
    let (before, other) = (load(world, tenant).await?, lease(7, "11:45")?);
    let stale = raised(&after);
    for (lease, after) in [(&other, &after), (&acme.lease, &stale)] {
        let written = world.tenants().write_replay(tenant, lease, ReplayWrite { after, ..write }).await?;
        assert_eq!((written, load(world, tenant).await?), (Conditional::ConditionFailed, before.clone()));
    }
    assert_eq!(world.tenants().replayed_receipt(tenant, receipt.window.to, &receipt.location).await?, None);

    assert_eq!(world.tenants().write_replay(tenant, &acme.lease, write).await?, Conditional::Written);
    let now_stored = load(world, tenant).await?;
    assert_eq!((now_stored.replay, now_stored.watermark), (Some(after), before.watermark), "nothing else moves");
    let replayed = world.tenants().replayed_receipt(tenant, receipt.window.to, &receipt.location).await?;
    assert_eq!(replayed, Some(StoredReceipt::from_receipt(&receipt)));
    assert_eq!(world.settings().receipts(tenant, None, 10).await?, [], "it is none of an export");
    assert!(world.tenants().outbox(tenant).await?.entries.iter().any(|entry| entry.id == "system:replay"));
    Ok(())
}

async fn a_stop_that_was_asked_for_meanwhile_is_not_overwritten(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, replay) = (&acme.config.tenant, request(world, &acme).await?);
    acquire(world, &acme).await?;
    let stopping = Replay { stop_requested: true, ..raised(&replay) };
    assert_eq!(world.settings().request_replay(tenant, &stopping, None).await?, Conditional::Written);
    assert_eq!(write(world, &acme, &raised(&replay), None).await?, Conditional::ConditionFailed);
    assert_eq!(stored(world, tenant).await?, Some(stopping.clone()));
    assert_eq!(write(world, &acme, &raised(&stopping), None).await?, Conditional::Written);
    assert_eq!(stored(world, tenant).await?.map(|replay| (replay.revision, replay.stop_requested)), Some((3, true)));
    Ok(())
}

async fn a_tenant_is_listed_once_while_its_replay_is_running(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    world::connect(world, "globex").await?;
    assert_eq!(world.tenants().redeliveries().await?, [""; 0]);
    let replay = request(world, &acme).await?;
    assert_eq!(world.tenants().redeliveries().await?, ["acme"]);
    assert_eq!(world.fleet().pending().await?, ["acme", "globex"], "of outboxes alone");
    acquire(world, &acme).await?;
    let ended = raised(&replay.ended(ReplayState::Completed, None, clock("11:10")?));
    assert_eq!(write(world, &acme, &ended, None).await?, Conditional::Written);
    assert_eq!(world.tenants().redeliveries().await?, [""; 0]);
    assert_eq!(stored(world, &acme.config.tenant).await?, Some(ended.clone()), "it stays");
    let again = requested(&acme, Some(&ended))?;
    assert_eq!(world.settings().request_replay(&acme.config.tenant, &again, None).await?, Conditional::Written);
    assert_eq!(world.tenants().redeliveries().await?, ["acme"]);
    Ok(())
}

async fn receipts_come_in_order_after_an_instant_and_without_those_of_replays(world: &impl World) -> Result<()> {
    let mut acme = connect(world, "acme").await?;
    let (tenant, mut replay) = (acme.config.tenant.clone(), request(world, &acme).await?);
    acquire(world, &acme).await?;
    for _ in 0..3 {
        let receipt = acme.receipt("a");
        assert_eq!(acme.commit(world, &receipt).await?, Conditional::Written);
        replay = raised(&replay.after_window(&receipt, false, clock("14:00")?));
        assert_eq!(write(world, &acme, &replay, Some(&receipt)).await?, Conditional::Written);
        acme.schedule = acme.after();
        acme.watermark = world::stored_watermark(world, &tenant).await?;
    }
    let ends = async |after: &str, most| -> Result<Vec<String>> {
        let receipts = world.tenants().receipts_after(&tenant, clock(after)?, most).await?;
        Ok(receipts.iter().map(|it| it.receipt.window.to.format("%H:%M").to_string()).collect())
    };
    assert_eq!(ends("09:00", 10).await?, ["11:00", "12:00", "13:00"]);
    assert_eq!(ends("11:00", 10).await?, ["12:00", "13:00"], "the instant itself is done");
    assert_eq!(ends("10:59", 2).await?, ["11:00", "12:00"]);
    assert_eq!(ends("13:00", 2).await?, [""; 0]);
    assert_eq!(world.tenants().receipts_after(&id("globex")?, clock("09:00")?, 9).await?, []);
    let replayed = async |first: &str, last: &str| -> Result<usize> {
        Ok(world.settings().replayed_receipts(&tenant, clock(first)?, clock(last)?).await?.len())
    };
    assert_eq!((replayed("11:00", "13:00").await?, replayed("12:00", "12:00").await?), (3, 1));
    assert_eq!((replayed("11:01", "12:59").await?, replayed("13:01", "23:00").await?), (1, 0));
    Ok(())
}

async fn each_place_keeps_the_receipt_of_a_windows_last_replay(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, replay) = (&acme.config.tenant, request(world, &acme).await?);
    acquire(world, &acme).await?;
    let mut first = with_manifest(&receipt_of(&acme, "10:00", "a")?, ManifestState::Signed);
    first.objects[0].last_event =
        Some(EventPosition { recorded_at_id: "2026-11-20T10:59:59.999Z#one/2".to_owned(), shard: 3 });
    let elsewhere = Location { bucket: "elsewhere".to_owned(), folder: first.location.folder.clone() };
    let other = Receipt { location: elsewhere.clone(), gap: true, ..receipt_of(&acme, "10:00", "b")? };
    let mut second = first.clone();
    let cause = "late-events".to_owned();
    if let Some(manifest) = &mut second.manifest {
        manifest.previous = Some("p".repeat(64));
        manifest.amended =
            Some(AmendedManifest { number: 1, sha256: "c".repeat(64), amends: manifest.sha256.clone(), cause });
    }
    let mut after = replay;
    for receipt in [&first, &other, &second] {
        after = raised(&after);
        assert_eq!(write(world, &acme, &after, Some(receipt)).await?, Conditional::Written);
    }
    let end = first.window.to;
    let here = world.tenants().replayed_receipt(tenant, end, &first.location).await?;
    assert_eq!(here, Some(StoredReceipt::from_receipt(&second)), "the latest");
    let there = world.tenants().replayed_receipt(tenant, end, &elsewhere).await?;
    assert_eq!(there, Some(StoredReceipt::from_receipt(&other)));
    let nowhere = Location { folder: "audit-logs/tenant=globex/".to_owned(), ..elsewhere };
    assert_eq!(world.tenants().replayed_receipt(tenant, end, &nowhere).await?, None);
    assert_eq!(world.tenants().replayed_receipt(tenant, end + TimeDelta::hours(1), &first.location).await?, None);
    let mut all = world.settings().replayed_receipts(tenant, end, end).await?;
    all.sort_by_key(|it| it.receipt.gap);
    assert_eq!(all, [second, other].map(|receipt| StoredReceipt::from_receipt(&receipt)));
    Ok(())
}

async fn a_running_replay_keeps_its_tenant_from_being_erased_and_an_ended_one_is_erased_with_its_receipts(
    world: &impl World,
) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let replay = request(world, &acme).await?;
    acquire(world, &acme).await?;
    let receipt = receipt_of(&acme, "10:00", "a")?;
    let running = raised(&replay.after_window(&receipt, false, clock("11:05")?));
    assert_eq!(write(world, &acme, &running, Some(&receipt)).await?, Conditional::Written);
    let tenant = &left(world, &acme).await?;
    world.tenants().release_lease(tenant, &acme.lease).await?;
    assert_eq!(world.erasure().inventory(tenant).await?.pending, ["replay"]);
    assert_eq!(world.erasure().begin_erasure(tenant, 2, clock("11:06")?).await?, None);
    assert_eq!(stored(world, tenant).await?, Some(running.clone()));

    let now = clock("11:07")?;
    let acquired = world.tenants().acquire_lease(tenant, Purpose::Redelivery, &acme.lease, now).await?;
    ensure!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
    let ended = raised(&running.ended(ReplayState::Completed, None, clock("11:07")?));
    assert_eq!(write(world, &acme, &ended, None).await?, Conditional::Written);
    world.tenants().release_lease(tenant, &acme.lease).await?;
    let name = format!("replayed#2026-11-20T11:00:00Z#{}", receipt.location.hash());
    let before = world.erasure().inventory(tenant).await?;
    ensure!(before.pending.is_empty() && ["replay", &name].iter().all(|it| before.names.iter().any(|name| name == it)));
    let begun = world.erasure().begin_erasure(tenant, 2, clock("11:08")?).await?;
    let begun = begun.ok_or_else(|| anyhow::anyhow!("not begun"))?;
    assert_eq!(stored(world, tenant).await?, None);
    let names = world.erasure().inventory(tenant).await?.names;
    assert_eq!(world.erasure().erase_records(tenant, begun, &names).await?, Conditional::Written);
    assert_eq!(world.tenants().replayed_receipt(tenant, receipt.window.to, &receipt.location).await?, None);
    assert_eq!(world.erasure().end_erasure(tenant, begun).await?, Conditional::Written);
    Ok(())
}
