//! The watermark's attributes for backoff, and publishing on the bus.

use anyhow::{Context as _, Result};
use audit_log_core::{
    failure::{Code, Failure},
    new_event::Stamp,
    notification::Notification,
    ports::{Conditional, Repairs, Settings},
    records::{ExportHealth, TenantRecords},
    settings::TenantConfig,
    system_events::{FailingExport, export_recovered},
    tenant::TenantId,
};

use crate::world::{
    AsRead, World, announcement, clock, connect, connect_and_acquire, denied, id, load, stored_watermark,
};

on_both_worlds! {
    the_first_failure_starts_the_backoff_and_a_commit_ends_it
    a_save_resets_the_backoff_and_leaves_the_failure
    a_verification_resets_only_the_backoff_of_a_failing_tenant
    a_verification_is_noted_on_the_version_that_passed_and_a_save_replaces_it
    notifications_arrive_as_published
}

async fn health(world: &impl World, tenant: &TenantId) -> Result<ExportHealth> {
    Ok(load(world, tenant).await?.health)
}

/// Connects a tenant whose exports fail at these times.
async fn failing(world: &impl World, times: &[&str]) -> Result<AsRead> {
    let acme = connect_and_acquire(world, "acme").await?;
    for time in times {
        assert_eq!(acme.fail(world, &denied(), time).await?, Conditional::Written);
    }
    Ok(acme)
}

async fn commit(world: &impl World, acme: &AsRead) -> Result<()> {
    let watermark = stored_watermark(world, &acme.config.tenant).await?;
    let as_read = AsRead { watermark, ..acme.clone() };
    assert_eq!(as_read.commit(world, &acme.receipt("a")).await?, Conditional::Written);
    Ok(())
}

async fn the_first_failure_starts_the_backoff_and_a_commit_ends_it(world: &impl World) -> Result<()> {
    let acme = failing(world, &["11:02", "12:02"]).await?;
    let tenant = &acme.config.tenant;
    let ExportHealth { failing_since, last_error, .. } = health(world, tenant).await?;
    assert_eq!(failing_since, Some(clock("11:02")?));
    assert_eq!(last_error.context("no error")?.at, Some(clock("12:02")?));
    commit(world, &acme).await?;
    let ExportHealth { failing_since, backoff_reset_at, .. } = health(world, tenant).await?;
    assert_eq!((failing_since, backoff_reset_at), (None, None));
    Ok(())
}

async fn a_save_resets_the_backoff_and_leaves_the_failure(world: &impl World) -> Result<()> {
    let acme = failing(world, &["11:02", "12:02"]).await?;
    let tenant = &acme.config.tenant;
    let watermark = stored_watermark(world, tenant).await?;
    let saved = announcement("acme", "12:30")?;
    let saved = world.settings().save(&acme.config, Some(&watermark), acme.schedule, false, &saved).await?;
    assert_eq!(saved, Conditional::Written);
    let after = health(world, tenant).await?;
    assert_eq!((after.backoff_reset_at, after.failing_since), (Some(clock("12:30")?), Some(clock("11:02")?)));
    assert_eq!(after.consecutive_failures, 2, "the failure may still last");
    let config = TenantConfig { version: acme.config.version + 1, ..acme.config.clone() };
    commit(world, &AsRead { config, ..acme.clone() }).await?;
    assert_eq!(health(world, tenant).await?.backoff_reset_at, None);
    Ok(())
}

async fn a_verification_resets_only_the_backoff_of_a_failing_tenant(world: &impl World) -> Result<()> {
    let acme = failing(world, &["11:02"]).await?;
    let tenant = &acme.config.tenant;
    let before = load(world, tenant).await?;
    world.repairs().reset_backoff(tenant, clock("11:30")?).await?;
    let after = load(world, tenant).await?;
    assert_eq!(after.health.backoff_reset_at, Some(clock("11:30")?));
    assert_eq!(
        (&after.config, &after.watermark),
        (&before.config, &before.watermark),
        "the run with the lease continues"
    );
    commit(world, &acme).await?;
    let before = load(world, tenant).await?;
    world.repairs().reset_backoff(tenant, clock("12:30")?).await?;
    world.repairs().reset_backoff(&id("unknown")?, clock("12:30")?).await?;
    assert_eq!(load(world, tenant).await?, before, "the tenant doesn't fail anymore");
    assert_eq!(load(world, &id("unknown")?).await?, Default::default());
    Ok(())
}

async fn a_verification_is_noted_on_the_version_that_passed_and_a_save_replaces_it(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let (tenant, version) = (&acme.config.tenant, acme.config.version);
    let before = load(world, tenant).await?;
    assert_eq!((before.verified_version, before.version()), (None, Some(version)));
    for other in [version - 1, version + 1] {
        assert_eq!(world.repairs().mark_verified(tenant, other).await?, Conditional::ConditionFailed);
    }
    assert_eq!(world.repairs().mark_verified(&id("unknown")?, 0).await?, Conditional::ConditionFailed);
    assert_eq!(load(world, tenant).await?, before);
    assert_eq!(load(world, &id("unknown")?).await?, Default::default());
    for _ in 0..2 {
        assert_eq!(world.repairs().mark_verified(tenant, version).await?, Conditional::Written);
    }
    let marked = load(world, tenant).await?;
    assert_eq!(marked, TenantRecords { verified_version: Some(version), ..before }, "all else stays");
    let (mut watermark, mut config) = (acme.watermark.clone(), acme.config.clone());
    for (is_verified, expected) in [(true, Some(version + 1)), (false, None)] {
        let saved = announcement("acme", if is_verified { "10:20" } else { "10:30" })?;
        let saved = world.settings().save(&config, Some(&watermark), acme.schedule, is_verified, &saved).await?;
        assert_eq!(saved, Conditional::Written);
        let after = load(world, tenant).await?;
        assert_eq!(after.verified_version, expected, "{is_verified}");
        watermark = after.watermark.context("no watermark")?;
        config.version += 1;
    }
    // The run that read the settings before would lose its lease to nothing of this, but its commit fails by the version.
    commit(world, &AsRead { config, ..acme }).await
}

async fn notifications_arrive_as_published(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, since, failure) = (&acme.config.tenant, clock("11:02")?, Failure::new(Code::AccessDenied, "No."));
    let failing = FailingExport {
        tenant,
        exported_until: "2026-11-20T10:00:00Z",
        since,
        days: 0,
        failures: 1,
        failure: &failure,
    };
    let stamp = |at| Stamp { at, retention: None };
    let window = acme.receipt("a").window;
    let announced =
        [failing.announce(stamp(since)), export_recovered(tenant, stamp(clock("12:02")?), window, false, Some(since))];
    let numbered = |(it, sequence): (Notification, u64)| Notification { sequence, ..it };
    let notifications = announced.into_iter().filter_map(|it| it.notification);
    let notifications: Vec<Notification> = notifications.zip(1..).map(numbered).collect();
    assert_eq!(notifications.len(), 2);
    let mut received = world.publish_and_receive(&notifications).await?;
    received.sort();
    let mut published: Vec<_> =
        notifications.iter().map(|it| (it.kind.detail_type().to_owned(), it.detail().to_string())).collect();
    published.sort();
    assert_eq!(received, published);
    Ok(())
}
