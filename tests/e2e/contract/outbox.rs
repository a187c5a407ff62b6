//! Storing notifications with a change, until they are published.

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::{
    notification::Notification,
    outbox::{MAX_ENTRIES, Outbox},
    ports::{Commit, Conditional, FailureRecord, Fleet, Settings, Tenants},
    records::TenantRecords,
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
};
use audit_log_tests::{Item, Table};
use futures::future::join_all;

use crate::{
    events::keys,
    local::{on_local_aws, text},
    world::{
        AsRead, World, announcement, announcement_of, clock, connect, connect_and_acquire, denied, id, load,
        stored_watermark, window,
    },
};

on_both_worlds! {
    each_change_adds_its_notification_in_order
    an_entry_is_the_announced_notification
    concurrent_changes_lose_no_notification
    a_failed_change_is_not_announced
    a_notification_is_stored_again_if_its_event_was_recorded_before
    published_entries_are_removed_and_newer_ones_stay
    sequence_numbers_continue_after_all_is_published
    a_full_outbox_drops_the_oldest_entry_of_a_kind_and_counts_it
    a_tenant_is_in_the_index_while_its_outbox_has_entries
    an_unknown_tenants_outbox_is_empty_and_stays_so
}

async fn outbox(world: &impl World, tenant: &TenantId) -> Result<Outbox> {
    Ok(world.tenants().outbox(tenant).await?)
}

/// Ids and sequence numbers of an outbox's entries.
async fn entries(world: &impl World, tenant: &TenantId) -> Result<Vec<(String, u64)>> {
    Ok(outbox(world, tenant).await?.entries.into_iter().map(|entry| (entry.id, entry.sequence)).collect())
}

fn numbered(entries: &[(&str, u64)]) -> Vec<(String, u64)> {
    entries.iter().map(|(id, sequence)| ((*id).to_owned(), *sequence)).collect()
}

/// Records a failure with an announcement.
async fn fail(world: &impl World, acme: &AsRead, event_id: &str, time: &str) -> Result<Conditional> {
    let announcement = announcement_of(acme.config.tenant.as_str(), event_id, time)?;
    let (failure, at) = (denied(), clock(time)?);
    let record = FailureRecord { failure: &failure, at, announcement: Some(&announcement), releases: false };
    Ok(world.tenants().record_failure(&acme.config.tenant, acme.fence(), record).await?)
}

/// Removes all entries.
async fn publish_all(world: &impl World, tenant: &TenantId) -> Result<()> {
    let outbox = outbox(world, tenant).await?;
    let ids: Vec<String> = outbox.entries.iter().map(|entry| entry.id.clone()).collect();
    Ok(world.tenants().remove_published(tenant, &outbox, &ids).await?)
}

async fn each_change_adds_its_notification_in_order(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    assert_eq!(fail(world, &acme, "failed", "11:02").await?, Conditional::Written);
    let failing = AsRead { watermark: stored_watermark(world, tenant).await?, ..acme.clone() };
    let recovered = announcement_of("acme", "recovered", "11:03")?;
    let receipt = acme.receipt("a");
    let commit = Commit { after: acme.after(), receipt: &receipt, announcement: Some(&recovered), releases: false };
    let committed = world.tenants().commit(&acme.config, failing.fence(), commit).await?;
    assert_eq!(committed, Conditional::Written);
    let left = announcement_of("acme", "disconnected", "11:04")?;
    assert_eq!(world.settings().disconnect(tenant, 1, &left).await?, Conditional::Written);
    let expected = [("change-at-10:00", 1), ("failed", 2), ("recovered", 3), ("disconnected", 4)];
    assert_eq!(entries(world, tenant).await?, numbered(&expected));
    assert!(load(world, tenant).await?.has_notifications);
    Ok(())
}

async fn an_entry_is_the_announced_notification(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let announced = announcement("acme", "10:00")?.notification.context("no notification")?;
    let expected = Notification { sequence: 1, ..announced };
    let stored = outbox(world, &acme.config.tenant).await?;
    assert_eq!(stored, Outbox { sequence: 1, entries: vec![expected], ..Outbox::default() });
    Ok(())
}

async fn concurrent_changes_lose_no_notification(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let (tenant, settings) = (&acme.config.tenant, world.settings());
    // A run and an admin write different records and only share the outbox.
    for round in 0..4_u64 {
        let name = format!("round-{round}");
        let version = round + 1;
        let saved = announcement_of("acme", &format!("{name}-saved"), "11:02")?;
        let config = TenantConfig { version, ..acme.config.clone() };
        let save = settings.save(&config, Some(&acme.watermark), acme.schedule, false, &saved);
        let names = [0, 1].map(|number| format!("{name}-failed-{number}"));
        let failures = join_all(names.iter().map(|name| fail(world, &acme, name, "11:02")));
        let (saved, failed) = futures::join!(save, failures);
        assert_eq!(saved?, Conditional::Written);
        for failed in failed {
            assert_eq!(failed?, Conditional::Written);
        }
    }
    let stored = entries(world, tenant).await?;
    let numbers: Vec<u64> = stored.iter().map(|(_, sequence)| *sequence).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<u64>>(), "{stored:?}");
    Ok(())
}

async fn a_failed_change_is_not_announced(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let before = (outbox(world, tenant).await?, keys(world, tenant, window("10:00", "12:00")?).await?);
    assert_eq!(fail(world, &acme, "failed", "11:02").await?, Conditional::ConditionFailed, "the run has no lease");
    let left = world.settings().disconnect(tenant, 7, &announcement("acme", "11:02")?).await?;
    assert_eq!(left, Conditional::ConditionFailed, "the version differs");
    assert_eq!((outbox(world, tenant).await?, keys(world, tenant, window("10:00", "12:00")?).await?), before);
    Ok(())
}

async fn a_notification_is_stored_again_if_its_event_was_recorded_before(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let recorded = async || -> Result<usize> {
        let keys = keys(world, tenant, window("10:00", "12:00")?).await?;
        Ok(keys.into_iter().filter(|key| key.ends_with("#failed")).count())
    };
    for (time, sequence) in [("11:02", 2), ("11:04", 3)] {
        assert_eq!(fail(world, &acme, "failed", time).await?, Conditional::Written);
        // Replaces the earlier entry, which isn't published yet.
        let expected = [("change-at-10:00", 1), ("failed", sequence)];
        assert_eq!((entries(world, tenant).await?, recorded().await?), (numbered(&expected), 1));
    }
    publish_all(world, tenant).await?;
    assert_eq!(fail(world, &acme, "failed", "11:06").await?, Conditional::Written);
    assert_eq!((entries(world, tenant).await?, recorded().await?), (numbered(&[("failed", 4)]), 1));
    assert_eq!(load(world, tenant).await?.health.consecutive_failures, 3);
    Ok(())
}

async fn published_entries_are_removed_and_newer_ones_stay(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    assert_eq!(fail(world, &acme, "second", "11:02").await?, Conditional::Written);
    let as_read = outbox(world, tenant).await?;
    assert_eq!(fail(world, &acme, "third", "11:03").await?, Conditional::Written);
    // All that were read, but not all that there are.
    let both = ["change-at-10:00".to_owned(), "second".to_owned()];
    tenants.remove_published(tenant, &as_read, &both).await?;
    assert_eq!(entries(world, tenant).await?, numbered(&[("third", 3)]));
    assert!(load(world, tenant).await?.has_notifications);
    assert_eq!(world.fleet().pending().await?, ["acme"]);
    // Removed again, after a lost answer.
    tenants.remove_published(tenant, &as_read, &both).await?;
    assert_eq!(entries(world, tenant).await?, numbered(&[("third", 3)]));
    // The first of two.
    assert_eq!(fail(world, &acme, "fourth", "11:04").await?, Conditional::Written);
    let as_read = outbox(world, tenant).await?;
    tenants.remove_published(tenant, &as_read, &["third".to_owned()]).await?;
    assert_eq!(entries(world, tenant).await?, numbered(&[("fourth", 4)]));
    Ok(())
}

async fn sequence_numbers_continue_after_all_is_published(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    publish_all(world, tenant).await?;
    assert_eq!(outbox(world, tenant).await?, Outbox { sequence: 1, ..Outbox::default() });
    assert!(!load(world, tenant).await?.has_notifications);
    assert_eq!(fail(world, &acme, "failed", "11:02").await?, Conditional::Written);
    assert_eq!(entries(world, tenant).await?, numbered(&[("failed", 2)]));
    assert!(load(world, tenant).await?.has_notifications);
    Ok(())
}

async fn a_full_outbox_drops_the_oldest_entry_of_a_kind_and_counts_it(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    for number in 1..MAX_ENTRIES + 2 {
        assert_eq!(fail(world, &acme, &format!("n{number}"), "11:02").await?, Conditional::Written);
    }
    let full = outbox(world, tenant).await?;
    assert_eq!((full.entries.len(), full.dropped, full.sequence), (MAX_ENTRIES, 2, MAX_ENTRIES as u64 + 2));
    // The save's entry is of the same kind and the oldest.
    assert_eq!(full.entries.first().map(|entry| entry.id.as_str()), Some("n2"));
    assert_eq!(full.entries.last().map(|entry| entry.id.as_str()), Some("n101"));
    publish_all(world, tenant).await?;
    let expected = Outbox { sequence: full.sequence, ..Outbox::default() };
    assert_eq!(outbox(world, tenant).await?, expected, "the count ends with its kind's entries");
    Ok(())
}

async fn a_tenant_is_in_the_index_while_its_outbox_has_entries(world: &impl World) -> Result<()> {
    assert_eq!(world.fleet().pending().await?, [""; 0]);
    let mut expected = Vec::new();
    // More tenants than shards, so that some share a shard.
    for number in (0..24).rev() {
        expected.insert(0, connect(world, &format!("tenant-{number:02}")).await?.config.tenant);
    }
    let left = announcement("tenant-03", "10:10")?;
    assert_eq!(world.settings().disconnect(&expected[3], 1, &left).await?, Conditional::Written);
    let ids = |tenants: &[TenantId]| tenants.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(world.fleet().pending().await?, ids(&expected));
    for published in [3, 10] {
        publish_all(world, &expected.remove(published)).await?;
        assert_eq!(world.fleet().pending().await?, ids(&expected));
    }
    Ok(())
}

async fn an_unknown_tenants_outbox_is_empty_and_stays_so(world: &impl World) -> Result<()> {
    let unknown = id("unknown")?;
    assert_eq!(outbox(world, &unknown).await?, Outbox::default());
    world.tenants().remove_published(&unknown, &Outbox::default(), &["some-id".to_owned()]).await?;
    assert_eq!(outbox(world, &unknown).await?, Outbox::default());
    assert_eq!(load(world, &unknown).await?, TenantRecords::default());
    assert_eq!(world.fleet().pending().await?, [""; 0]);
    Ok(())
}

/// The commands in docs/operations.md and the index use these attributes.
#[test]
fn the_table_has_an_outbox_as_a_map_and_its_shard_while_it_has_entries() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect(world, "acme").await?;
        let tenant = &acme.config.tenant;
        let stored = async || -> Result<Item> { world.record(tenant, "outbox").await?.context("no outbox") };
        let count = |item: &Item| item.get("entries").and_then(|it| it.as_m().ok()).map(Item::len);
        let full = stored().await?;
        assert_eq!((count(&full), text(&full, "sequence").as_deref()), (Some(1), Some("1")));
        assert_eq!(text(&full, "pending_shard"), Some(DueShard::from_tenant(tenant).to_string()));
        publish_all(world, tenant).await?;
        let empty = stored().await?;
        assert_eq!((count(&empty), text(&empty, "sequence").as_deref()), (Some(0), Some("1")));
        assert!(!empty.contains_key("pending_shard") && !empty.contains_key("dropped"), "{empty:?}");
        Ok(())
    })
}

#[test]
fn an_unreadable_entry_stays_until_an_operator_removes_it() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect(world, "acme").await?;
        let tenant = &acme.config.tenant;
        let mut item = world.record(tenant, "outbox").await?.context("no outbox")?;
        let Some(AttributeValue::M(entries)) = item.get_mut("entries") else { anyhow::bail!("no map") };
        entries.insert("damaged".to_owned(), AttributeValue::S("{}".to_owned()));
        world.fixture.platform.put_item(Table::Tenants, item).await?;
        assert_eq!(outbox(world, tenant).await?.unreadable, ["damaged"]);
        publish_all(world, tenant).await?;
        let left = outbox(world, tenant).await?;
        assert_eq!((left.entries.len(), left.unreadable), (0, vec!["damaged".to_owned()]));
        assert_eq!(world.fleet().pending().await?, ["acme"]);
        assert!(load(world, tenant).await?.has_notifications);
        Ok(())
    })
}
