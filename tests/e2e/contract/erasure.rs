//! The erasure of a tenant.

use anyhow::{Context as _, Result, ensure};
use audit_log_core::{
    manifest::ManifestKey,
    ports::{
        Acquisition, Begun, Conditional, Erased, Erasure, EventsPart, FinalDeliveryWrite, Inventory, ManifestKeys as _,
        Purpose, Settings, SlotKind, Tenants, being_erased,
    },
    records::{FinalDeliveries, ManifestState, TenantRecords},
    settings::TenantConfig,
    tenant::{ExternalId, RoleArn, TenantId},
};

use crate::manifests::with_manifest;
use crate::world::{self, AsRead, LeaseDamage, Recorded, World, announcement, announcement_of, clock, id, lease, load};

on_both_worlds! {
    all_records_and_events_are_erased_and_those_of_other_tenants_stay
    an_erasure_does_not_begin_while_the_tenant_is_connected_leased_or_waited_for
    an_unreadable_lease_does_not_keep_a_tenant_from_being_erased
    nobody_connects_a_tenant_between_the_begin_and_the_end_of_its_erasure
    an_erasure_touches_nothing_once_another_has_begun
    only_named_records_are_erased_and_never_the_config
    an_erasure_ends_the_chain_of_manifests_and_keeps_the_platforms_keys
    events_are_delivered_until_the_end_of_the_last_export_or_final_delivery
}

/// A tenant that was connected and has left, with an empty outbox. Its config has version 2.
async fn left(world: &impl World, tenant: &str) -> Result<AsRead> {
    let connected = world::connect(world, tenant).await?;
    disconnect(world, &connected).await?;
    Ok(connected)
}

async fn disconnect(world: &impl World, AsRead { config, .. }: &AsRead) -> Result<()> {
    let tenant = &config.tenant;
    let announcement = announcement_of(tenant.as_str(), "left", "10:30")?;
    let disconnected = world.settings().disconnect(tenant, 1, &announcement).await?;
    assert_eq!(disconnected, Conditional::Written);
    publish(world, tenant).await
}

async fn publish(world: &impl World, tenant: &TenantId) -> Result<()> {
    let outbox = world.tenants().outbox(tenant).await?;
    let ids: Vec<String> = outbox.entries.iter().map(|entry| entry.id.clone()).collect();
    Ok(world.tenants().remove_published(tenant, &outbox, &ids).await?)
}

async fn begin(world: &impl World, tenant: &TenantId, version: u64, time: &str) -> Result<Begun> {
    world.erasure().begin_erasure(tenant, version, clock(time)?).await?.context("the erasure has not begun")
}

/// How many events and markers there are.
async fn counts(world: &impl World, tenant: &TenantId) -> Result<(u64, u64)> {
    let (mut events, mut markers) = (0, 0);
    for shard in 0..64 {
        events += world.erasure().count(tenant, EventsPart::Shard(shard)).await?;
    }
    for byte in 0..=u8::MAX {
        markers += world.erasure().count(tenant, EventsPart::Markers(byte)).await?;
    }
    Ok((events, markers))
}

async fn all_records_and_events_are_erased_and_those_of_other_tenants_stay(world: &impl World) -> Result<()> {
    let mut before = Vec::new();
    let ids = [id("acme")?, id("acme-2")?, id("ACME")?];
    for tenant in &ids {
        let connected = world::connect_and_acquire(world, tenant.as_str()).await?;
        assert_eq!(connected.commit(world, &connected.receipt("a")).await?, Conditional::Written);
        world.tenants().release_lease(tenant, &connected.lease).await?;
        ensure!(world.settings().take_slot(tenant, SlotKind::Verification, clock("10:00")?, 5).await?, "no slot");
        for (shard, events) in [(0, 60), (3, 1), (63, 1)] {
            for n in 0..events {
                let key = format!("2026-11-20T10:00:{n:02}.000Z#{n}");
                world.put_event(tenant, shard, &key, Recorded::Text("{}".to_owned())).await?;
            }
        }
        disconnect(world, &connected).await?;
        // The save and the disconnect are events with markers.
        assert_eq!(counts(world, tenant).await?, (64, 2), "{tenant}");
        before.push((world.erasure().inventory(tenant).await?, load(world, tenant).await?));
    }
    let Inventory { mut names, pending, begun, delivered_until, records } = before[0].0.clone();
    names.sort_unstable();
    let slots = "verification_slots#2026-11-20T10:00:00Z";
    assert_eq!(names, ["config", "export#2026-11-20T11:00:00Z", "outbox", slots, "watermark"]);
    assert_eq!((pending, begun, delivered_until.as_deref()), (vec![], false, Some("2026-11-20T11:00:00Z")));
    assert_eq!(records, before[0].1);

    let (acme, erasure) = (&ids[0], world.erasure());
    let begun = begin(world, acme, 2, "11:02").await?;
    assert_eq!(begun, Begun { version: 3, since: clock("11:02")? });
    let inventory = erasure.inventory(acme).await?;
    ensure!(
        inventory.begun && !inventory.names.iter().any(|name| ["config", "watermark", "outbox"].contains(&&**name))
    );
    let parts = (0..64).map(EventsPart::Shard).chain((0..=u8::MAX).map(EventsPart::Markers));
    let mut erased = 0;
    for part in parts {
        loop {
            let Erased { items, more } = erasure.erase_some(acme, begun, part).await?.context("another erasure")?;
            erased += items;
            if !more {
                break;
            }
        }
    }
    assert_eq!((erased, counts(world, acme).await?), (66, (0, 0)));
    assert_eq!(erasure.erase_records(acme, begun, &inventory.names).await?, Conditional::Written);
    assert_eq!(erasure.end_erasure(acme, begun).await?, Conditional::Written);
    assert_eq!(erasure.inventory(acme).await?, Inventory::default());
    assert_eq!(erasure.end_erasure(acme, begun).await?, Conditional::ConditionFailed);

    for (tenant, (inventory, records)) in ids.iter().zip(&before).skip(1) {
        assert_eq!(counts(world, tenant).await?, (64, 2), "{tenant}");
        assert_eq!(&erasure.inventory(tenant).await?, inventory);
        assert_eq!(&load(world, tenant).await?, records);
    }
    Ok(())
}

async fn an_erasure_does_not_begin_while_the_tenant_is_connected_leased_or_waited_for(
    world: &impl World,
) -> Result<()> {
    let (tenants, erasure, acme) = (world.tenants(), world.erasure(), id("acme")?);
    let refused = async |version, title: &str| -> Result<()> {
        let before = load(world, &acme).await?;
        let begun = erasure.begin_erasure(&acme, version, clock("11:02")?).await?;
        assert_eq!(begun, None, "{title}");
        assert_eq!(load(world, &acme).await?, before, "{title}");
        Ok(())
    };
    let connected = world::connect(world, "acme").await?;
    publish(world, &acme).await?;
    refused(1, "connected").await?;
    let left = announcement_of("acme", "left", "10:30")?;
    assert_eq!(world.settings().disconnect(&acme, 1, &left).await?, Conditional::Written);
    assert_eq!(erasure.inventory(&acme).await?.pending, ["outbox"]);
    refused(2, "a notification waits").await?;
    publish(world, &acme).await?;
    refused(1, "another version").await?;
    refused(0, "no version").await?;

    let publishing = Purpose::Publish;
    let taken = tenants.acquire_lease(&acme, publishing, &connected.lease, clock("11:01")?).await?;
    ensure!(matches!(taken, Acquisition::Acquired(..)), "{taken:?}");
    refused(2, "leased").await?;
    // The lease ends at 11:45.
    begin(world, &acme, 2, "11:46").await?;
    Ok(())
}

async fn an_unreadable_lease_does_not_keep_a_tenant_from_being_erased(world: &impl World) -> Result<()> {
    for (damage, tenant) in LeaseDamage::ALL.into_iter().zip(["a", "b", "c", "d"]) {
        let AsRead { config, .. } = left(world, tenant).await?;
        world.put_unreadable_lease(&config.tenant, damage).await?;
        begin(world, &config.tenant, 2, "11:02").await.with_context(|| format!("{damage:?}"))?;
    }
    Ok(())
}

async fn nobody_connects_a_tenant_between_the_begin_and_the_end_of_its_erasure(world: &impl World) -> Result<()> {
    let (settings, erasure, acme) = (world.settings(), world.erasure(), id("acme")?);
    let AsRead { config, schedule, .. } = left(world, "acme").await?;
    let read_before = load(world, &acme).await?;
    let none = Begun { version: 2, since: clock("11:02")? };
    assert_eq!(erasure.end_erasure(&acme, none).await?, Conditional::ConditionFailed, "nothing has begun");
    begin(world, &acme, 2, "11:02").await?;

    let candidate = ExternalId::parse("made-anew")?;
    let viewed = world::change("11:03")?.external_id_viewed(&acme);
    assert_eq!(settings.external_id(&acme, &candidate, &viewed).await, Err(being_erased()));
    let role = RoleArn::parse("arn:aws:iam::222222222222:role/audit")?;
    let announcement = announcement("acme", "11:03")?;
    for version in 0..4 {
        let stored = settings.store_role(&acme, Some(&role), version, &announcement).await?;
        assert_eq!(stored, Conditional::ConditionFailed, "version {version}");
    }
    for (version, as_read) in [(2, read_before.watermark.as_ref()), (3, None), (2, None), (1, None), (0, None)] {
        let config = TenantConfig { version, ..config.clone() };
        let saved = settings.save(&config, as_read, schedule, false, &announcement).await?;
        assert_eq!(saved, Conditional::ConditionFailed, "version {version}");
    }
    // A run that looks for notifications.
    let publishing = Purpose::Publish;
    let taken = world.tenants().acquire_lease(&acme, publishing, &lease(1, "11:05")?, clock("11:03")?).await?;
    ensure!(matches!(taken, Acquisition::Acquired(..)), "{taken:?}");
    assert_eq!(erasure.inventory(&acme).await?.names, ["watermark"]);

    let again = begin(world, &acme, 3, "11:06").await?;
    let names = erasure.inventory(&acme).await?.names;
    assert_eq!(erasure.erase_records(&acme, again, &names).await?, Conditional::Written);
    assert_eq!(erasure.end_erasure(&acme, again).await?, Conditional::Written);
    assert_eq!(load(world, &acme).await?, TenantRecords::default());
    assert_eq!(settings.external_id(&acme, &candidate, &viewed).await?, "made-anew");
    Ok(())
}

/// The command runs twice: what the earlier run still does must not touch what the later one does, or a tenant that comes back
/// after it.
async fn an_erasure_touches_nothing_once_another_has_begun(world: &impl World) -> Result<()> {
    let (erasure, acme) = (world.erasure(), id("acme")?);
    left(world, "acme").await?;
    let parts = || (0..64).map(EventsPart::Shard).chain((0..=u8::MAX).map(EventsPart::Markers));
    let first = begin(world, &acme, 2, "11:02").await?;
    let touches_nothing = async |first: Begun, title: &str| -> Result<()> {
        let before = (erasure.inventory(&acme).await?, load(world, &acme).await?, counts(world, &acme).await?);
        for part in parts() {
            let erased = erasure.erase_some(&acme, first, part).await?.map_or(0, |erased| erased.items);
            assert_eq!(erased, 0, "{title}: {part:?}");
        }
        let mut names = before.0.names.clone();
        names.push("config".to_owned());
        assert_eq!(erasure.erase_records(&acme, first, &names).await?, Conditional::ConditionFailed, "{title}");
        assert_eq!(erasure.end_erasure(&acme, first).await?, Conditional::ConditionFailed, "{title}");
        let after = (erasure.inventory(&acme).await?, load(world, &acme).await?, counts(world, &acme).await?);
        assert_eq!(after, before, "{title}");
        Ok(())
    };
    let second = begin(world, &acme, 3, "11:05").await?;
    touches_nothing(first, "while the second goes on").await?;
    for part in parts() {
        ensure!(erasure.erase_some(&acme, second, part).await?.is_some_and(|erased| !erased.more), "{part:?}");
    }
    let names = erasure.inventory(&acme).await?.names;
    assert_eq!(erasure.erase_records(&acme, second, &names).await?, Conditional::Written);
    assert_eq!(erasure.end_erasure(&acme, second).await?, Conditional::Written);
    let back = world::connect(world, "acme").await?;
    ensure!(counts(world, &acme).await? == (1, 1), "the save is an event");
    touches_nothing(second, "after it has ended").await?;

    disconnect(world, &back).await?;
    begin(world, &acme, 2, "12:30").await?;
    touches_nothing(first, "of the same version, and begun at another time").await
}

async fn only_named_records_are_erased_and_never_the_config(world: &impl World) -> Result<()> {
    let (erasure, acme) = (world.erasure(), id("acme")?);
    let connected = world::connect_and_acquire(world, "acme").await?;
    assert_eq!(connected.commit(world, &connected.receipt("a")).await?, Conditional::Written);
    world.tenants().release_lease(&acme, &connected.lease).await?;
    for kind in [SlotKind::Verification, SlotKind::Search] {
        ensure!(world.settings().take_slot(&acme, kind, clock("10:00")?, 5).await?, "no slot");
    }
    disconnect(world, &connected).await?;
    let begun = begin(world, &acme, 2, "11:02").await?;
    let names = erasure.inventory(&acme).await?.names;
    assert_eq!(names.len(), 3, "{names:?}");
    for (n, name) in names.iter().enumerate() {
        let named = [name.clone(), "config".to_owned()];
        assert_eq!(erasure.erase_records(&acme, begun, &named).await?, Conditional::Written);
        let Inventory { names: rest, begun, .. } = erasure.inventory(&acme).await?;
        assert_eq!((rest.as_slice(), begun), (&names[n + 1..], true), "{name}");
    }
    assert_eq!(erasure.end_erasure(&acme, begun).await?, Conditional::Written);
    Ok(())
}

async fn an_erasure_ends_the_chain_of_manifests_and_keeps_the_platforms_keys(world: &impl World) -> Result<()> {
    let (erasure, acme) = (world.erasure(), id("acme")?);
    let key = ManifestKey { name: "platform".to_owned(), public_key: vec![1] };
    world.manifest_keys().note_key(&key, clock("10:00")?).await?;
    let keys = world.manifest_keys().manifest_keys().await?;
    let connected = world::connect_and_acquire(world, "acme").await?;
    let signed = with_manifest(&connected.receipt("a"), ManifestState::Signed);
    assert_eq!(connected.commit(world, &signed).await?, Conditional::Written);
    world.tenants().release_lease(&acme, &connected.lease).await?;
    disconnect(world, &connected).await?;
    let begun = begin(world, &acme, 2, "11:02").await?;
    assert_eq!(load(world, &acme).await?.watermark, None);
    let names = erasure.inventory(&acme).await?.names;
    assert_eq!(erasure.erase_records(&acme, begun, &names).await?, Conditional::Written);
    assert_eq!(erasure.end_erasure(&acme, begun).await?, Conditional::Written);
    let again = world::connect(world, "acme").await?;
    assert_eq!(world::stored_watermark(world, &acme).await?, again.watermark, "another chain begins");
    assert_eq!(world.manifest_keys().manifest_keys().await?, keys);
    Ok(())
}

async fn events_are_delivered_until_the_end_of_the_last_export_or_final_delivery(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let now = clock("11:02")?;
    for (revision, until) in [(1, "09:50"), (2, "10:20")] {
        let acquired = world.tenants().acquire_lease(tenant, Purpose::Redelivery, &acme.lease, now).await?;
        ensure!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
        let after = FinalDeliveries { revision, ..FinalDeliveries::default() };
        let write = FinalDeliveryWrite { after: &after, delivered_until: Some(clock(until)?), announcement: None };
        let written = world.tenants().write_final_deliveries(tenant, &acme.lease, write).await?;
        assert_eq!(written, Conditional::Written);
        let expected = clock(until)?.max(acme.schedule.exported_until);
        let found = world.erasure().inventory(tenant).await?.delivered_until;
        assert_eq!(found.context("never")?.parse::<chrono::DateTime<chrono::Utc>>()?, expected);
    }
    Ok(())
}
