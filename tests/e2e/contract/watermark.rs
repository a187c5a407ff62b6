//! Moving the watermark, and noting that it could not be moved.

use anyhow::Result;
use audit_log_core::{
    event::StoredEvent,
    failure::{Code, Failure},
    ports::{Conditional, Events, Settings, Stretch, Tenants},
    record::NewEvent,
    records::{ReceiptDigest, StoredWatermark, TenantRecords},
    schedule::Window,
    settings::{Draft, TenantConfig},
    tenant::TenantId,
};
use futures::future::join_all;

use crate::{
    local::{on_local_aws, text},
    world::{AsRead, Failures, World, clock, connect, failures, id, load, news, stored_watermark},
};

on_both_worlds! {
    news_go_with_the_commit_or_the_failure_that_they_tell_of
    news_that_were_told_before_hold_nothing_up
    a_commit_moves_the_watermark_stores_the_receipt_and_clears_the_error
    a_commit_is_lost_unless_the_watermark_is_as_it_was_read
    a_commit_is_lost_once_the_tenant_is_disconnected
    a_commit_is_lost_once_the_settings_were_saved_again
    a_commit_without_a_record_of_the_tenant_is_lost
    of_many_runs_at_once_exactly_one_commits
    a_marked_watermark_is_committed_only_by_whoever_has_read_the_mark
    a_commit_on_a_config_without_a_version_counts_it_as_the_first
    a_failure_is_noted_and_counted_and_moves_nothing
    a_failure_is_not_noted_on_a_watermark_that_has_moved_on
    a_failure_of_an_unknown_tenant_leaves_no_record
}

fn denied() -> Failure {
    Failure::new(Code::AccessDenied, "S3 refused it.")
}

/// Everything that a commit or a noted failure may change.
async fn snapshot(world: &impl World, tenant: &AsRead) -> Result<(TenantRecords, Failures, Option<ReceiptDigest>)> {
    let id = &tenant.config.tenant;
    let receipt = world.tenants().receipt(id, tenant.schedule.next_due).await?;
    Ok((load(world, id).await?, failures(world, id).await?, receipt))
}

/// A commit of `as_read` is lost, and nothing is written.
async fn is_lost(world: &impl World, stored: &AsRead, as_read: &AsRead) -> Result<()> {
    let before = snapshot(world, stored).await?;
    let (after, receipt) = (as_read.after(), as_read.receipt("a"));
    let committed = world.tenants().commit(&as_read.config, &as_read.watermark, after, &receipt, None).await?;
    assert_eq!(committed, Conditional::LostRace, "{as_read:?}");
    assert_eq!(snapshot(world, stored).await?, before, "{as_read:?}");
    Ok(())
}

async fn a_commit_moves_the_watermark_stores_the_receipt_and_clears_the_error(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let noted = world.tenants().record_failure(tenant, &acme.watermark, &denied(), clock("11:02")?, None).await?;
    assert_eq!(noted, Conditional::Written);
    let config = load(world, tenant).await?.config;

    let (receipt, failing) = (acme.receipt("a"), stored_watermark(world, tenant).await?);
    let committed = world.tenants().commit(&acme.config, &failing, acme.after(), &receipt, None).await?;
    assert_eq!(committed, Conditional::Written);
    let watermark = stored_watermark(world, tenant).await?;
    assert_eq!(watermark, acme.watermark.after(&receipt, acme.after()));
    assert_eq!(watermark.schedule().ok(), Some(acme.after()));
    assert_eq!(failures(world, tenant).await?, Failures::default());
    assert_eq!(load(world, tenant).await?.config, config, "the settings are not the export's to change");
    let stored = world.tenants().receipt(tenant, receipt.window.to).await?;
    assert!(stored == Some(ReceiptDigest::of(&receipt)));
    Ok(())
}

async fn a_commit_is_lost_unless_the_watermark_is_as_it_was_read(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let text = |text: &str| Some(text.to_owned());
    let stored = &acme.watermark;
    for watermark in [
        StoredWatermark { exported_until: text("2026-11-20T09:00:00Z"), ..stored.clone() },
        StoredWatermark { exported_until: None, ..stored.clone() },
        StoredWatermark { next_due: text("2026-11-20T12:00:00Z"), ..stored.clone() },
        StoredWatermark { next_due: None, ..stored.clone() },
        StoredWatermark { due_shard: text("not its own"), ..stored.clone() },
        StoredWatermark { due_shard: None, ..stored.clone() },
        StoredWatermark::default(),
    ] {
        is_lost(world, &acme, &AsRead { watermark, ..acme.clone() }).await?;
    }
    Ok(())
}

async fn a_commit_is_lost_once_the_tenant_is_disconnected(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let disconnected = world.settings().disconnect(&acme.config.tenant, &news("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    is_lost(world, &acme, &acme).await
}

async fn a_commit_is_lost_once_the_settings_were_saved_again(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    // The same settings and the same schedule: only the version tells.
    let watermark = Some(&acme.watermark);
    let saved = world.settings().save(&acme.config, watermark, acme.schedule, &news("acme", "10:30")?).await?;
    assert_eq!(
        (saved, stored_watermark(world, &acme.config.tenant).await?),
        (Conditional::Written, acme.watermark.clone())
    );
    is_lost(world, &acme, &acme).await?;
    // The version that is stored now is the one that commits.
    let again = AsRead { config: TenantConfig { version: 2, ..acme.config.clone() }, ..acme };
    let committed =
        world.tenants().commit(&again.config, &again.watermark, again.after(), &again.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written);
    Ok(())
}

async fn a_commit_without_a_record_of_the_tenant_is_lost(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let first = TenantConfig { version: 0, ..acme.config.clone() };
    for (tenant, watermark) in [("without-config", Some(acme.watermark.clone())), ("unknown", None)] {
        let tenant = id(tenant)?;
        let stored = TenantRecords { watermark, ..TenantRecords::default() };
        world.put_records(&tenant, stored.clone()).await?;
        let config = TenantConfig { tenant: tenant.clone(), ..first.clone() };
        for as_read in [&acme.watermark, &StoredWatermark::default()] {
            let committed = world.tenants().commit(&config, as_read, acme.after(), &acme.receipt("a"), None).await?;
            assert_eq!(committed, Conditional::LostRace);
        }
        assert_eq!(load(world, &tenant).await?, stored);
        assert_eq!(world.tenants().receipt(&tenant, acme.schedule.next_due).await?, None);
    }
    Ok(())
}

async fn of_many_runs_at_once_exactly_one_commits(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let receipts: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|sha256| acme.receipt(sha256)).into();
    let tenants = world.tenants();
    let commits =
        receipts.iter().map(|receipt| tenants.commit(&acme.config, &acme.watermark, acme.after(), receipt, None));
    let commits: Vec<Conditional> = join_all(commits).await.into_iter().collect::<Result<_, _>>()?;
    let winners: Vec<_> = receipts.iter().zip(&commits).filter(|(_, it)| **it == Conditional::Written).collect();
    let [(winner, _)] = winners[..] else { anyhow::bail!("{} winners", winners.len()) };
    let stored = tenants.receipt(&acme.config.tenant, winner.window.to).await?;
    assert!(stored == Some(ReceiptDigest::of(winner)), "the receipt is not the winner's");
    assert_eq!(stored_watermark(world, &acme.config.tenant).await?.schedule().ok(), Some(acme.after()));
    Ok(())
}

async fn a_commit_on_a_config_without_a_version_counts_it_as_the_first(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let hand_made = id("hand-made")?;
    let stored = load(world, &acme.config.tenant).await?;
    let config = stored.config.map(|config| Draft { version: None, ..config });
    world.put_records(&hand_made, TenantRecords { config, ..stored }).await?;
    let config = TenantConfig { tenant: hand_made.clone(), version: 0, ..acme.config.clone() };
    let committed = world.tenants().commit(&config, &acme.watermark, acme.after(), &acme.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written);
    assert_eq!(stored_watermark(world, &hand_made).await?.schedule().ok(), Some(acme.after()));
    Ok(())
}

async fn a_marked_watermark_is_committed_only_by_whoever_has_read_the_mark(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let unmarked = acme.watermark.clone();
    for _ in 0..2 {
        assert_eq!(world.tenants().disturb(tenant, None).await?, Conditional::Written);
        let lost = world.tenants().commit(&acme.config, &unmarked, acme.after(), &acme.receipt("a"), None).await?;
        assert_eq!(lost, Conditional::LostRace);
    }
    let noted = world.tenants().record_failure(tenant, &unmarked, &denied(), clock("11:02")?, None).await?;
    assert_eq!(noted, Conditional::Written, "a mark is a commit's concern alone");
    let marked = stored_watermark(world, tenant).await?;
    let committed = world.tenants().commit(&acme.config, &marked, acme.after(), &acme.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written);
    assert_eq!(world.tenants().disturb(&id("unknown")?, None).await?, Conditional::Written);
    assert_eq!(load(world, &id("unknown")?).await?, TenantRecords::default(), "a mark makes no record");
    Ok(())
}

async fn a_failure_is_noted_and_counted_and_moves_nothing(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let before = load(world, tenant).await?;
    let throttled = Failure::new(Code::Throttled, "Too many requests.");
    for (failure, count) in [(denied(), 1), (denied(), 2), (throttled, 3)] {
        let noted = world.tenants().record_failure(tenant, &acme.watermark, &failure, clock("11:02")?, None).await?;
        assert_eq!(noted, Conditional::Written);
        assert_eq!(failures(world, tenant).await?, Failures::of(failure.code, &failure.message, count));
    }
    let after = load(world, tenant).await?;
    assert_eq!(after.config, before.config);
    assert_eq!(after.watermark, before.watermark.map(|it| StoredWatermark { failing: true, ..it }));
    Ok(())
}

async fn a_failure_is_not_noted_on_a_watermark_that_has_moved_on(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let committed =
        world.tenants().commit(&acme.config, &acme.watermark, acme.after(), &acme.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written);
    let moved = stored_watermark(world, tenant).await?;
    let disconnected = world.settings().disconnect(tenant, &news("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    let before = snapshot(world, &acme).await?;
    // As it was before the commit, and as it was before the tenant was disconnected.
    for as_read in [&acme.watermark, &moved, &StoredWatermark::default()] {
        let noted = world.tenants().record_failure(tenant, as_read, &denied(), clock("11:02")?, None).await?;
        assert_eq!(noted, Conditional::LostRace);
    }
    assert_eq!(snapshot(world, &acme).await?, before);
    Ok(())
}

async fn a_failure_of_an_unknown_tenant_leaves_no_record(world: &impl World) -> Result<()> {
    let unknown = id("unknown")?;
    let as_read = StoredWatermark::default();
    let noted = world.tenants().record_failure(&unknown, &as_read, &denied(), clock("11:02")?, None).await?;
    assert_eq!(noted, Conditional::LostRace);
    assert_eq!(load(world, &unknown).await?, TenantRecords::default());
    Ok(())
}

/// The ids of the recorded events, in order.
async fn told(world: &impl World, tenant: &TenantId) -> Result<Vec<String>> {
    let day = Window { from: clock("00:00")?, to: clock("23:59")? };
    let stretch = Stretch { tenant, shard: 0, window: day, after: None };
    let id = |event: StoredEvent| event.recorded_at_id.split_once('#').map(|(_, id)| id.to_owned());
    Ok(world.events().page(stretch).await?.events.into_iter().filter_map(id).collect())
}

/// An event under an id.
fn tells(id: &str, time: &str) -> Result<NewEvent> {
    Ok(NewEvent { id: id.to_owned(), ..news("acme", time)? })
}

async fn news_go_with_the_commit_or_the_failure_that_they_tell_of(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let (tenant, tenants) = (&acme.config.tenant, world.tenants());
    let (failed, recovered) = (tells("failed", "11:02")?, tells("recovered", "11:03")?);
    let before = told(world, tenant).await?;
    let elsewhere = StoredWatermark { next_due: None, ..acme.watermark.clone() };
    let lost = tenants.record_failure(tenant, &elsewhere, &denied(), clock("11:02")?, Some(&failed)).await?;
    assert_eq!((lost, told(world, tenant).await?), (Conditional::LostRace, before.clone()));
    let lost = tenants.commit(&acme.config, &elsewhere, acme.after(), &acme.receipt("a"), Some(&recovered)).await?;
    assert_eq!((lost, told(world, tenant).await?), (Conditional::LostRace, before.clone()));

    let noted = tenants.record_failure(tenant, &acme.watermark, &denied(), clock("11:02")?, Some(&failed)).await?;
    assert_eq!(noted, Conditional::Written);
    let receipt = acme.receipt("a");
    let lost = tenants.commit(&acme.config, &acme.watermark, acme.after(), &receipt, None).await?;
    assert_eq!(lost, Conditional::LostRace, "by whoever has not seen the failure");
    let failing = stored_watermark(world, tenant).await?;
    let committed = tenants.commit(&acme.config, &failing, acme.after(), &receipt, Some(&recovered)).await?;
    assert_eq!(committed, Conditional::Written);
    assert_eq!(told(world, tenant).await?, [before, vec!["failed".to_owned(), "recovered".to_owned()]].concat());
    Ok(())
}

async fn news_that_were_told_before_hold_nothing_up(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    for (time, in_a_row) in [("11:02", 1), ("11:04", 2)] {
        let failed = tells("failed", time)?;
        let noted =
            world.tenants().record_failure(tenant, &acme.watermark, &denied(), clock(time)?, Some(&failed)).await?;
        assert_eq!(noted, Conditional::Written);
        assert_eq!(load(world, tenant).await?.outcome.consecutive_failures, in_a_row);
    }
    assert_eq!(told(world, tenant).await?.iter().filter(|id| *id == "failed").count(), 1);
    Ok(())
}

/// The console reads these attributes, so their names are a contract of their own.
#[test]
fn the_table_says_when_a_tenant_last_succeeded_and_last_failed() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect(world, "acme").await?;
        let tenant = &acme.config.tenant;
        let committed =
            world.tenants().commit(&acme.config, &acme.watermark, acme.after(), &acme.receipt("a"), None).await?;
        assert_eq!(committed, Conditional::Written);
        let watermark = acme.watermark.after(&acme.receipt("a"), acme.after());
        let noted = world.tenants().record_failure(tenant, &watermark, &denied(), clock("12:03")?, None).await?;
        assert_eq!(noted, Conditional::Written);
        let stored = world.record(tenant, "watermark").await?.unwrap_or_default();
        for (attribute, value) in [
            ("last_success_at", "2026-11-20T11:02:00Z"),
            ("last_object_key", "audit-logs/tenant=acme/20261120T100000Z_20261120T110000Z_0001.json"),
            ("last_error_code", "access_denied"),
            ("last_error", "S3 refused it."),
            ("last_error_party", "customer"),
            ("last_error_at", "2026-11-20T12:03:00Z"),
            ("consecutive_failures", "1"),
        ] {
            assert_eq!(text(&stored, attribute).as_deref(), Some(value), "{attribute}");
        }
        Ok(())
    })
}
