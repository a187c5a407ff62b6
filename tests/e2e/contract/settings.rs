//! Saving settings, disconnecting and reconnecting.

use anyhow::{Error, Result};
use audit_log_core::{
    onboarding,
    ports::{Conditional, Settings, Tenants},
    records::{StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, TenantConfig},
    setup_draft::SetupDraft,
    system_events::AdminChange,
    tenant::EventShards,
};
use futures::future::join_all;

use crate::world::{self, World, announcement, change, clock, config, id, load, platform, stored_watermark};

on_both_worlds! {
    a_save_never_reduces_shards_that_were_added_meanwhile
    the_first_save_stores_every_field_and_connects_the_tenant
    a_later_save_replaces_the_settings_and_raises_the_version_by_one
    a_save_fails_after_another_save
    a_save_fails_after_an_export
    a_first_save_fails_if_there_are_records
    of_many_concurrent_saves_exactly_one_is_stored
    a_disconnect_removes_only_the_due_shard
    a_save_neither_needs_nor_changes_the_attributes_of_an_export
    a_save_moves_the_beginning_only_before_anything_is_stored
    a_setup_is_kept_beside_the_config_until_a_save
    after_a_reconnect_exports_continue_at_the_watermark
    a_tenant_that_was_never_connected_can_be_disconnected
}

fn every_field(bucket: &str) -> Draft {
    let some = |text: &str| Some(text.to_owned());
    Draft {
        bucket: some(bucket),
        prefix: some("security/audit"),
        frequency_hours: some("6"),
        format: some("ndjson"),
        compression: some("gzip"),
        schema: some("ocsf"),
        encryption: some("sse-kms"),
        kms_key_arn: some("arn:aws:kms:us-east-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab"),
        bucket_owner: some("333333333333"),
        event_shards: some("4"),
        ..Draft::default()
    }
}

fn schedule(from: &str, due: &str) -> Result<Schedule> {
    Ok(Schedule { exported_until: clock(from)?, next_due: clock(due)? })
}

/// The stored settings, checked.
async fn stored_config(world: &impl World, tenant: &str) -> Result<TenantConfig> {
    config(tenant, load(world, &id(tenant)?).await?.config.unwrap_or_default())
}

async fn the_first_save_stores_every_field_and_connects_the_tenant(world: &impl World) -> Result<()> {
    let acme = config("acme", every_field("acme-audit"))?;
    assert_eq!(world.settings().records(&acme.tenant).await?.watermark, None);
    let schedule = schedule("10:03", "11:00")?;
    assert_eq!(
        world.settings().save(&acme, None, schedule, false, &announcement("acme", "10:03")?).await?,
        Conditional::Written
    );
    let watermark = StoredWatermark::connected(&acme.tenant, schedule);
    assert_eq!(world.settings().records(&acme.tenant).await?.watermark, Some(watermark.clone()));
    assert_eq!(stored_watermark(world, &acme.tenant).await?, watermark);
    assert_eq!(stored_config(world, "acme").await?, TenantConfig { version: 1, ..acme });
    Ok(())
}

async fn a_later_save_replaces_the_settings_and_raises_the_version_by_one(world: &impl World) -> Result<()> {
    let first = TenantConfig { version: 0, ..config("acme", every_field("acme-audit"))? };
    let began = schedule("10:03", "11:00")?;
    assert_eq!(
        world.settings().save(&first, None, began, false, &announcement("acme", "10:03")?).await?,
        Conditional::Written
    );
    // Fields that these settings leave out have no earlier value, except shards, which may only grow.
    let event_shards = first.event_shards;
    let plain = TenantConfig { version: 1, event_shards, ..config("acme", Draft::default())? };
    let (as_read, sooner) = (StoredWatermark::connected(&plain.tenant, began), schedule("10:03", "10:30")?);
    assert_eq!(
        world.settings().save(&plain, Some(&as_read), sooner, false, &announcement("acme", "10:20")?).await?,
        Conditional::Written
    );
    assert_eq!(stored_config(world, "acme").await?, TenantConfig { version: 2, ..plain.clone() });
    assert_eq!(stored_watermark(world, &plain.tenant).await?.schedule().ok(), Some(sooner));
    Ok(())
}

/// Asserts that a save fails and writes nothing.
async fn assert_save_fails(world: &impl World, config: &TenantConfig, as_read: Option<&StoredWatermark>) -> Result<()> {
    let before = load(world, &config.tenant).await?;
    let saved = world
        .settings()
        .save(config, as_read, schedule("10:00", "10:50")?, false, &announcement(config.tenant.as_str(), "10:40")?)
        .await?;
    assert_eq!(saved, Conditional::ConditionFailed);
    assert_eq!(load(world, &config.tenant).await?, before);
    Ok(())
}

async fn a_save_fails_after_another_save(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    for version in [0, 2] {
        assert_save_fails(world, &TenantConfig { version, ..acme.config.clone() }, Some(&acme.watermark)).await?;
    }
    Ok(())
}

async fn a_save_fails_after_an_export(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let text = |text: &str| Some(text.to_owned());
    for watermark in [
        StoredWatermark { exported_until: text("2026-11-20T09:00:00Z"), ..acme.watermark.clone() },
        StoredWatermark { next_due: text("2026-11-20T10:30:00Z"), ..acme.watermark.clone() },
        StoredWatermark { due_shard: None, ..acme.watermark.clone() },
        StoredWatermark::default(),
    ] {
        assert_save_fails(world, &acme.config, Some(&watermark)).await?;
    }
    Ok(())
}

async fn a_first_save_fails_if_there_are_records(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    assert_save_fails(world, &acme.config, None).await?;
    assert_save_fails(world, &TenantConfig { version: 0, ..acme.config }, None).await?;
    // A config alone, without a watermark.
    let stray = TenantConfig { version: 0, ..config("stray", Draft::default())? };
    let records =
        TenantRecords { config: Some(Draft::from_config(&stray, 3)), watermark: None, ..TenantRecords::default() };
    world.put_records(&stray.tenant, records).await?;
    assert_save_fails(world, &stray, None).await
}

async fn of_many_concurrent_saves_exactly_one_is_stored(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let change = |number: u32| config("acme", Draft { bucket: Some(format!("bucket-{number}")), ..Draft::default() });
    let changes: Vec<_> = (0..8).map(change).collect::<Result<_>>()?;
    let changes: Vec<_> = changes.into_iter().map(|change| TenantConfig { version: 1, ..change }).collect();
    let (settings, saved) = (world.settings(), announcement("acme", "10:20")?);
    let saves = changes.iter().map(|change| settings.save(change, Some(&acme.watermark), acme.schedule, false, &saved));
    let saves: Vec<Conditional> = join_all(saves).await.into_iter().collect::<Result<_, _>>()?;
    let winners: Vec<_> = changes.iter().zip(&saves).filter(|(_, it)| **it == Conditional::Written).collect();
    let [(winner, _)] = winners[..] else { anyhow::bail!("{} winners", winners.len()) };
    assert_eq!(stored_config(world, "acme").await?, TenantConfig { version: 2, ..winner.clone() });
    Ok(())
}

async fn a_save_never_reduces_shards_that_were_added_meanwhile(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let mut records = load(world, &acme.config.tenant).await?;
    records.config = records.config.map(|config| Draft { event_shards: Some("4".to_owned()), ..config });
    world.put_records(&acme.config.tenant, records).await?;
    assert_save_fails(world, &acme.config, Some(&acme.watermark)).await?;
    let four = TenantConfig { event_shards: EventShards::parse("4")?, ..acme.config.clone() };
    let saved = world
        .settings()
        .save(&four, Some(&acme.watermark), acme.schedule, false, &announcement("acme", "10:40")?)
        .await?;
    assert_eq!(saved, Conditional::Written);
    Ok(())
}

async fn a_disconnect_removes_only_the_due_shard(world: &impl World) -> Result<()> {
    let acme = world::connect_and_acquire(world, "acme").await?;
    let (tenant, settings) = (&acme.config.tenant, world.settings());
    let kept = world.tenants().save_checkpoint(&acme.config, acme.fence(), "so far").await?;
    assert_eq!(kept, Conditional::Written);
    let before = load(world, tenant).await?;
    let left = announcement("acme", "10:10")?;
    let disconnect = async |version| settings.disconnect(tenant, version, &left).await.map_err(Error::from);
    for version in [0, 2] {
        assert_eq!(disconnect(version).await?, Conditional::ConditionFailed, "version {version}");
        assert_eq!(load(world, tenant).await?, before);
    }
    assert_eq!(disconnect(1).await?, Conditional::Written);
    let watermark = before.watermark.clone().map(|it| StoredWatermark { due_shard: None, ..it });
    let config = before.config.clone().map(|it| Draft { version: Some("2".to_owned()), ..it });
    let after = TenantRecords { watermark, config, ..before };
    assert_eq!(load(world, tenant).await?, after);
    for version in [1, 2] {
        assert_eq!(disconnect(version).await?, Conditional::ConditionFailed, "a second time");
        assert_eq!(load(world, tenant).await?, after);
    }
    Ok(())
}

async fn a_save_neither_needs_nor_changes_the_attributes_of_an_export(world: &impl World) -> Result<()> {
    let acme = world::connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let receipt = acme.receipt("a");
    assert_eq!(acme.commit(world, &receipt).await?, Conditional::Written);
    let (watermark, schedule) = (acme.watermark.after(&receipt, acme.after()), acme.after());
    let moved = world::AsRead { watermark, schedule, ..acme.clone() };
    let kept = world.tenants().save_checkpoint(&moved.config, moved.fence(), "so far").await?;
    assert_eq!(kept, Conditional::Written);
    let before = load(world, tenant).await?;
    let saved = announcement("acme", "11:05")?;
    let saved = world.settings().save(&moved.config, Some(&moved.watermark), moved.schedule, false, &saved).await?;
    assert_eq!(saved, Conditional::Written);
    let after = load(world, tenant).await?;
    assert_eq!((&after.watermark, &after.lease), (&before.watermark, &before.lease));
    let watermark = after.watermark.unwrap_or_default();
    assert_eq!(watermark.checkpoint.as_deref(), Some("so far"));
    assert_eq!((watermark.trailing_counts, after.lease), (Some(receipt.trailing_counts.to_text()), Some(moved.lease)));
    Ok(())
}

async fn a_save_moves_the_beginning_only_before_anything_is_stored(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let (earlier, saved) = (schedule("08:00", "09:00")?, announcement("acme", "10:20")?);
    let save = async |config: &TenantConfig, as_read: &StoredWatermark, schedule: Schedule| {
        world.settings().save(config, Some(as_read), schedule, false, &saved).await
    };
    assert_eq!(save(&acme.config, &acme.watermark, earlier).await?, Conditional::Written);
    let watermark = StoredWatermark::connected(tenant, earlier);
    assert_eq!(stored_watermark(world, tenant).await?.schedule().ok(), Some(earlier));

    // A run that has the lease may have stored files of the window that is due.
    let config = TenantConfig { version: acme.config.version + 1, ..acme.config.clone() };
    let moved = world::AsRead { config, watermark, schedule: earlier, ..acme.clone() };
    world::acquire(world, &moved).await?;
    let before = load(world, tenant).await?;
    let back = acme.schedule;
    assert_eq!(save(&moved.config, &moved.watermark, back).await?, Conditional::ConditionFailed);
    assert_eq!(world.tenants().save_checkpoint(&moved.config, moved.fence(), "so far").await?, Conditional::Written);
    world.tenants().release_lease(tenant, &moved.lease).await?;
    assert_eq!(save(&moved.config, &moved.watermark, back).await?, Conditional::ConditionFailed, "a checkpoint");
    world::acquire(world, &moved).await?;
    assert_eq!(moved.commit(world, &moved.receipt("a")).await?, Conditional::Written);
    world.tenants().release_lease(tenant, &moved.lease).await?;
    let exported = stored_watermark(world, tenant).await?;
    assert_eq!(save(&moved.config, &exported, back).await?, Conditional::ConditionFailed, "a window");
    assert_eq!(load(world, tenant).await?.config, before.config);
    assert_eq!(save(&moved.config, &exported, moved.after()).await?, Conditional::Written, "where it stands");
    let left = world::connect(world, "globex").await?;
    let final_delivered_until = Some("2026-11-21T09:00:00Z".to_owned());
    let delivered = StoredWatermark { final_delivered_until, ..left.watermark.clone() };
    let records = load(world, &left.config.tenant).await?;
    world.put_records(&left.config.tenant, TenantRecords { watermark: Some(delivered), ..records }).await?;
    let (settings, saved) = (world.settings(), announcement("globex", "10:20")?);
    let saved = settings.save(&left.config, Some(&left.watermark), earlier, false, &saved).await?;
    assert_eq!(saved, Conditional::ConditionFailed, "a final delivery");
    Ok(())
}

async fn a_setup_is_kept_beside_the_config_until_a_save(world: &impl World) -> Result<()> {
    let (acme, text) = (id("acme")?, |text: &str| Some(text.to_owned()));
    let keep_at = async |version, typed: &SetupDraft| world.settings().save_setup_draft(&acme, version, typed).await;
    let keep = async |typed: &SetupDraft| keep_at(0, typed).await;
    let typed = |bucket: &str| SetupDraft {
        settings: Draft { event_shards: None, ..every_field(bucket) },
        history_from: text("2026-11-01"),
        create_bucket: true,
    };
    assert_eq!(keep(&typed("first")).await?, Conditional::ConditionFailed, "the tenant has not begun");
    assert_eq!(load(world, &acme).await?, TenantRecords::default());
    world::external_id(world, &acme, "made-for-acme").await?;
    let before = load(world, &acme).await?;
    for bucket in ["first", "second"] {
        assert_eq!(keep(&typed(bucket)).await?, Conditional::Written);
        let after = TenantRecords { setup_draft: Some(typed(bucket)), ..before.clone() };
        assert_eq!(load(world, &acme).await?, after);
    }
    let first = TenantConfig { version: 0, ..config("acme", every_field("acme-audit"))? };
    let (schedule, saved) = (schedule("10:03", "11:00")?, announcement("acme", "10:03")?);
    assert_eq!(world.settings().save(&first, None, schedule, false, &saved).await?, Conditional::Written);
    assert_eq!(load(world, &acme).await?.setup_draft, None);
    assert_eq!(keep(&typed("late")).await?, Conditional::ConditionFailed, "the settings are of another version");
    assert_eq!(keep_at(1, &typed("next")).await?, Conditional::Written);
    Ok(())
}

async fn after_a_reconnect_exports_continue_at_the_watermark(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let disconnected =
        onboarding::disconnect(world.settings(), &load(world, tenant).await?, tenant, &change("10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    let change = AdminChange { id: "02".to_owned(), ..change("15:20")? };
    let connected = onboarding::connect(
        world.settings(),
        &load(world, tenant).await?,
        tenant,
        &acme.config.role,
        &platform()?,
        &change,
    )
    .await?;
    assert_eq!(connected, Conditional::Written);
    assert_eq!(stored_watermark(world, tenant).await?, acme.watermark);
    Ok(())
}

async fn a_tenant_that_was_never_connected_can_be_disconnected(world: &impl World) -> Result<()> {
    let unknown = id("unknown")?;
    let disconnected = world.settings().disconnect(&unknown, 0, &announcement("unknown", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::ConditionFailed);
    assert_eq!(load(world, &unknown).await?, TenantRecords::default());
    Ok(())
}
