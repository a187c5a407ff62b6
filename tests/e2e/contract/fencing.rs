//! Conditions for a run's writes: a commit, a checkpoint, a recorded failure.

use anyhow::Result;
use audit_log_core::{
    outbox::{Announcement, Outbox},
    ports::{Acquisition, Commit, Conditional, FailureRecord, Purpose, Settings, Tenants},
    records::{StoredReceipt, StoredWatermark, TenantRecords},
    settings::TenantConfig,
    tenant::TenantId,
};

use crate::{
    events::keys,
    world::{
        AsRead, World, acquire, announcement, announcement_of, clock, connect, connect_and_acquire, denied, id, lease,
        load, stored_watermark, window,
    },
};

on_both_worlds! {
    with_the_lease_and_an_unchanged_tenant_each_write_succeeds
    without_the_lease_each_write_fails
    each_write_fails_if_the_schedule_changed
    after_a_save_only_a_failure_is_recorded
    after_a_disconnect_only_a_failure_is_recorded
    commits_and_checkpoints_fail_if_the_tenant_began_or_ceased_to_fail
    a_tenant_without_records_gets_no_records
    a_lease_ends_with_the_commit_that_releases_it
    a_lease_ends_with_the_recorded_failure_that_releases_it
}

/// A write under a fence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Write {
    Commit,
    Checkpoint,
    Failure,
}

const ALL: [Write; 3] = [Write::Commit, Write::Checkpoint, Write::Failure];

/// Writes, with an announcement if possible.
async fn attempt(world: &impl World, as_read: &AsRead, write: Write, releases: bool) -> Result<Conditional> {
    let AsRead { config, .. } = as_read;
    let (tenants, announcement) = (world.tenants(), of_the_write(&config.tenant)?);
    let announcement = Some(&announcement);
    Ok(match write {
        Write::Commit => {
            let receipt = as_read.receipt("a");
            let commit = Commit { after: as_read.after(), receipt: &receipt, announcement, releases };
            tenants.commit(config, as_read.fence(), commit).await?
        }
        Write::Checkpoint => tenants.save_checkpoint(config, as_read.fence(), "so far").await?,
        Write::Failure => {
            let record = FailureRecord { failure: &denied(), at: clock("11:05")?, announcement, releases };
            tenants.record_failure(&config.tenant, as_read.fence(), record).await?
        }
    })
}

fn of_the_write(tenant: &TenantId) -> Result<Announcement> {
    announcement_of(tenant.as_str(), "of-the-write", "11:05")
}

/// All that these writes may change.
async fn snapshot(
    world: &impl World,
    tenant: &TenantId,
) -> Result<(TenantRecords, Vec<StoredReceipt>, Outbox, Vec<String>)> {
    let receipts = world.settings().receipts(tenant, None, 10).await?;
    let events = keys(world, tenant, window("10:00", "12:00")?).await?;
    Ok((load(world, tenant).await?, receipts, world.tenants().outbox(tenant).await?, events))
}

/// Asserts that these writes fail and change nothing.
async fn fail(world: &impl World, as_read: &AsRead, writes: &[Write]) -> Result<()> {
    let tenant = &as_read.config.tenant;
    let before = snapshot(world, tenant).await?;
    for write in writes {
        let written = attempt(world, as_read, *write, true).await?;
        assert_eq!(written, Conditional::ConditionFailed, "{write:?} by {as_read:?}");
        assert_eq!(snapshot(world, tenant).await?, before, "{write:?} by {as_read:?}");
    }
    Ok(())
}

async fn with_the_lease_and_an_unchanged_tenant_each_write_succeeds(world: &impl World) -> Result<()> {
    for (number, write) in ALL.into_iter().enumerate() {
        let acme = connect_and_acquire(world, &format!("acme-{number}")).await?;
        let tenant = &acme.config.tenant;
        // Other attributes may differ.
        let watermark = StoredWatermark { due_shard: None, ..acme.watermark.clone() };
        let as_read = AsRead { watermark, ..acme.clone() };
        assert_eq!(attempt(world, &as_read, write, false).await?, Conditional::Written, "{write:?}");
        let (records, _, outbox, events) = snapshot(world, tenant).await?;
        let is_announced = write != Write::Checkpoint;
        let event = of_the_write(tenant)?.event.recorded_at_id();
        assert_eq!(
            (outbox.sequence, events.contains(&event)),
            (1 + u64::from(is_announced), is_announced),
            "{write:?}"
        );
        let watermark = records.watermark.unwrap_or_default();
        assert_eq!((records.lease, watermark.due_shard), (Some(acme.lease), acme.watermark.due_shard), "{write:?}");
    }
    Ok(())
}

async fn without_the_lease_each_write_fails(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    fail(world, &acme, &ALL).await?;
    let other = AsRead { lease: lease(2, "11:45")?, ..acme.clone() };
    acquire(world, &other).await?;
    fail(world, &acme, &ALL).await?;
    world.tenants().release_lease(&acme.config.tenant, &other.lease).await?;
    fail(world, &other, &ALL).await?;
    fail(world, &acme, &ALL).await?;
    // An expired lease that another run acquired.
    acquire(world, &acme).await?;
    let purpose = Purpose::Export(&acme.watermark);
    let later = lease(3, "12:30")?;
    let acquired = world.tenants().acquire_lease(&acme.config.tenant, purpose, &later, clock("11:46")?).await?;
    assert!(matches!(acquired, Acquisition::Acquired(..)), "{acquired:?}");
    fail(world, &acme, &ALL).await
}

async fn each_write_fails_if_the_schedule_changed(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let text = |text: &str| Some(text.to_owned());
    let stored = &acme.watermark;
    for watermark in [
        StoredWatermark { exported_until: text("2026-11-20T09:00:00Z"), ..stored.clone() },
        StoredWatermark { exported_until: None, ..stored.clone() },
        StoredWatermark { next_due: text("2026-11-20T12:00:00Z"), ..stored.clone() },
        StoredWatermark { next_due: None, ..stored.clone() },
        StoredWatermark::default(),
    ] {
        fail(world, &AsRead { watermark, ..acme.clone() }, &ALL).await?;
    }
    // A committed window isn't committed again.
    assert_eq!(attempt(world, &acme, Write::Commit, false).await?, Conditional::Written);
    fail(world, &acme, &ALL).await
}

async fn after_a_save_only_a_failure_is_recorded(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    // Settings and schedule are equal. Only the version differs.
    let saved = announcement("acme", "10:30")?;
    let saved = world.settings().save(&acme.config, Some(&acme.watermark), acme.schedule, false, &saved).await?;
    assert_eq!((saved, stored_watermark(world, tenant).await?), (Conditional::Written, acme.watermark.clone()));
    fail(world, &acme, &[Write::Commit, Write::Checkpoint]).await?;
    // With the stored version, all writes succeed.
    let again = AsRead { config: TenantConfig { version: 2, ..acme.config.clone() }, ..acme.clone() };
    assert_eq!(attempt(world, &again, Write::Checkpoint, false).await?, Conditional::Written);
    assert_eq!(attempt(world, &acme, Write::Failure, false).await?, Conditional::Written);
    let failing = AsRead { watermark: stored_watermark(world, tenant).await?, ..again };
    assert_eq!(attempt(world, &failing, Write::Commit, false).await?, Conditional::Written);
    Ok(())
}

async fn after_a_disconnect_only_a_failure_is_recorded(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let disconnected = world.settings().disconnect(tenant, 1, &announcement("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    let left = stored_watermark(world, tenant).await?;
    let current = TenantConfig { version: 2, ..acme.config.clone() };
    for as_read in [acme.clone(), AsRead { config: current, watermark: left, ..acme.clone() }] {
        fail(world, &as_read, &[Write::Commit, Write::Checkpoint]).await?;
    }
    assert_eq!(attempt(world, &acme, Write::Failure, false).await?, Conditional::Written);
    let stored = stored_watermark(world, tenant).await?;
    assert_eq!((stored.due_shard, stored.failing), (None, true), "the tenant stays disconnected");
    Ok(())
}

async fn commits_and_checkpoints_fail_if_the_tenant_began_or_ceased_to_fail(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let failing = StoredWatermark { failing: true, ..acme.watermark.clone() };
    let failing = AsRead { watermark: failing, ..acme.clone() };
    let both = [Write::Commit, Write::Checkpoint];
    fail(world, &failing, &both).await?;
    for as_read in [&failing, &acme] {
        assert_eq!(attempt(world, as_read, Write::Failure, false).await?, Conditional::Written);
    }
    // The commit would have to announce a recovery.
    fail(world, &acme, &both).await?;
    assert_eq!(attempt(world, &failing, Write::Checkpoint, false).await?, Conditional::Written);
    assert_eq!(attempt(world, &failing, Write::Commit, false).await?, Conditional::Written);
    Ok(())
}

async fn a_tenant_without_records_gets_no_records(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let of = |tenant: &str| -> Result<AsRead> {
        let config = TenantConfig { tenant: id(tenant)?, version: 0, ..acme.config.clone() };
        Ok(AsRead { config, ..acme.clone() })
    };
    let unknown = of("unknown")?;
    for watermark in [unknown.watermark.clone(), StoredWatermark::default()] {
        fail(world, &AsRead { watermark, ..unknown.clone() }, &ALL).await?;
    }
    assert_eq!(load(world, &unknown.config.tenant).await?, TenantRecords::default());
    // With a watermark alone.
    let without_config = of("without-config")?;
    let tenant = &without_config.config.tenant;
    let watermark = Some(acme.watermark.clone());
    world.put_records(tenant, TenantRecords { watermark, ..TenantRecords::default() }).await?;
    acquire(world, &without_config).await?;
    fail(world, &without_config, &[Write::Commit, Write::Checkpoint]).await
}

/// Asserts that a write releases the lease, and only on request.
async fn releases(world: &impl World, write: Write) -> Result<()> {
    for releases in [false, true] {
        let acme = connect_and_acquire(world, &format!("acme-{releases}")).await?;
        assert_eq!(attempt(world, &acme, write, releases).await?, Conditional::Written);
        let lease = load(world, &acme.config.tenant).await?.lease;
        assert_eq!(lease, Some(acme.lease.clone()).filter(|_| !releases));
        let other = self::lease(2, "11:45")?;
        let acquired =
            world.tenants().acquire_lease(&acme.config.tenant, Purpose::Publish, &other, clock("11:06")?).await?;
        assert_eq!(matches!(acquired, Acquisition::Acquired(..)), releases, "{acquired:?}");
    }
    Ok(())
}

async fn a_lease_ends_with_the_commit_that_releases_it(world: &impl World) -> Result<()> {
    releases(world, Write::Commit).await
}

async fn a_lease_ends_with_the_recorded_failure_that_releases_it(world: &impl World) -> Result<()> {
    releases(world, Write::Failure).await
}
