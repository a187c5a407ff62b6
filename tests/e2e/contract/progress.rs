//! How far a window that is not committed yet was stored.

use anyhow::Result;
use audit_log_core::{
    ports::{Conditional, Settings, Tenants},
    records::StoredWatermark,
    settings::TenantConfig,
};

use crate::world::{World, connect, news, stored_watermark};

on_both_worlds! {
    progress_is_kept_until_the_window_is_committed
    progress_is_kept_only_by_whoever_has_read_all_that_was_written_before
    a_mark_takes_progress_back
}

async fn progress_is_kept_until_the_window_is_committed(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    let mut as_read = acme.watermark.clone();
    for progress in ["first", "second"] {
        assert_eq!(tenants.keep_progress(&acme.config, &as_read, progress).await?, Conditional::Written);
        as_read.progress = Some(progress.to_owned());
        assert_eq!(stored_watermark(world, tenant).await?, as_read, "and nothing has moved");
    }
    for stale in [&acme.watermark, &StoredWatermark { progress: Some("first".to_owned()), ..as_read.clone() }] {
        let lost = tenants.commit(&acme.config, stale, acme.after(), &acme.receipt("a"), None).await?;
        assert_eq!(lost, Conditional::LostRace);
    }
    let committed = tenants.commit(&acme.config, &as_read, acme.after(), &acme.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written);
    assert_eq!(stored_watermark(world, tenant).await?, as_read.after(&acme.receipt("a"), acme.after()));
    assert_eq!(as_read.after(&acme.receipt("a"), acme.after()).progress, None);
    Ok(())
}

async fn progress_is_kept_only_by_whoever_has_read_all_that_was_written_before(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    assert_eq!(tenants.keep_progress(&acme.config, &acme.watermark, "mine").await?, Conditional::Written);
    let mine = StoredWatermark { progress: Some("mine".to_owned()), ..acme.watermark.clone() };
    let other_version = TenantConfig { version: acme.config.version + 1, ..acme.config.clone() };
    for (config, as_read) in [
        (&acme.config, &acme.watermark),
        (&acme.config, &StoredWatermark { progress: Some("theirs".to_owned()), ..acme.watermark.clone() }),
        (&acme.config, &StoredWatermark { next_due: None, ..mine.clone() }),
        (&other_version, &mine),
    ] {
        assert_eq!(tenants.keep_progress(config, as_read, "other").await?, Conditional::LostRace, "{as_read:?}");
        assert_eq!(stored_watermark(world, tenant).await?, mine);
    }
    let disconnected = world.settings().disconnect(tenant, &news("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    assert_eq!(tenants.keep_progress(&acme.config, &mine, "other").await?, Conditional::LostRace);
    Ok(())
}

async fn a_mark_takes_progress_back(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    assert_eq!(tenants.keep_progress(&acme.config, &acme.watermark, "mine").await?, Conditional::Written);
    assert_eq!(tenants.disturb(tenant, Some("other")).await?, Conditional::LostRace, "it is not that any more");
    assert_eq!(tenants.disturb(tenant, Some("mine")).await?, Conditional::Written);
    assert_eq!(stored_watermark(world, tenant).await?.progress.as_deref(), Some("mine"));
    assert_eq!(tenants.disturb(tenant, None).await?, Conditional::Written);
    let marked = stored_watermark(world, tenant).await?;
    assert_eq!(marked.progress, None);
    assert_eq!(tenants.keep_progress(&acme.config, &acme.watermark, "mine").await?, Conditional::LostRace);
    assert_eq!(tenants.keep_progress(&acme.config, &marked, "mine").await?, Conditional::Written);
    Ok(())
}
