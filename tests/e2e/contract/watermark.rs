//! Commits and recorded failures. `fencing` tests when they fail.

use anyhow::Result;
use audit_log_core::{
    failure::{Code, Failure},
    ports::{Conditional, Settings},
    records::{Receipt, StoredReceipt, StoredWatermark, TenantRecords},
    settings::{Draft, TenantConfig},
};
use futures::future::join_all;

use crate::{
    local::{on_local_aws, text},
    world::{
        AsRead, Failures, World, acquire, connect, connect_and_acquire, denied, failures, id, load, stored_watermark,
    },
};

on_both_worlds! {
    a_commit_moves_the_watermark_stores_the_receipt_and_clears_the_error
    a_commit_of_a_window_with_a_gap_announces_the_loss
    of_many_concurrent_commits_exactly_one_succeeds
    a_commit_counts_a_config_without_a_version_as_version_one
    a_failure_is_recorded_and_counted_and_moves_nothing
}

async fn a_commit_moves_the_watermark_stores_the_receipt_and_clears_the_error(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    assert_eq!(acme.fail(world, &denied(), "11:02").await?, Conditional::Written);
    let before = load(world, tenant).await?;

    let receipt = acme.receipt("a");
    let failing = AsRead { watermark: stored_watermark(world, tenant).await?, ..acme.clone() };
    assert_eq!(failing.commit(world, &receipt).await?, Conditional::Written);
    let after = load(world, tenant).await?;
    let watermark = after.watermark.unwrap_or_default();
    assert_eq!(watermark, acme.watermark.after(&receipt, acme.after()));
    assert_eq!(watermark.schedule().ok(), Some(acme.after()));
    assert_eq!(failures(world, tenant).await?, Failures::default());
    assert_eq!((after.config, after.lease), (before.config, before.lease), "an export doesn't change the settings");
    assert_eq!(world.settings().receipts(tenant, None, 10).await?, [StoredReceipt::from_receipt(&receipt)]);
    Ok(())
}

async fn a_commit_of_a_window_with_a_gap_announces_the_loss(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let receipt = Receipt { gap: true, ..acme.receipt("a") };
    assert_eq!(acme.commit(world, &receipt).await?, Conditional::Written);
    let Failures { last, in_a_row } = failures(world, &acme.config.tenant).await?;
    assert_eq!((last.map(|(code, _)| code), in_a_row), (Some(Code::RetentionExceeded.to_string()), 0));
    Ok(())
}

/// Repetitions of one run's call, for example after lost answers.
async fn of_many_concurrent_commits_exactly_one_succeeds(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let receipts: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|sha256| acme.receipt(sha256)).into();
    let commits = join_all(receipts.iter().map(|receipt| acme.commit(world, receipt))).await;
    let commits: Vec<Conditional> = commits.into_iter().collect::<Result<_>>()?;
    let winners: Vec<_> = receipts.iter().zip(&commits).filter(|(_, it)| **it == Conditional::Written).collect();
    let [(winner, _)] = winners[..] else { anyhow::bail!("{} winners", winners.len()) };
    let tenant = &acme.config.tenant;
    assert_eq!(world.settings().receipts(tenant, None, 10).await?, [StoredReceipt::from_receipt(winner)]);
    assert_eq!(stored_watermark(world, tenant).await?.schedule().ok(), Some(acme.after()));
    Ok(())
}

async fn a_commit_counts_a_config_without_a_version_as_version_one(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let hand_made = id("hand-made")?;
    let stored = load(world, &acme.config.tenant).await?;
    let config = stored.config.map(|config| Draft { version: None, ..config });
    world.put_records(&hand_made, TenantRecords { config, ..stored }).await?;
    let config = TenantConfig { tenant: hand_made.clone(), version: 0, ..acme.config.clone() };
    let as_read = AsRead { config, ..acme };
    acquire(world, &as_read).await?;
    assert_eq!(as_read.commit(world, &as_read.receipt("a")).await?, Conditional::Written);
    assert_eq!(stored_watermark(world, &hand_made).await?.schedule().ok(), Some(as_read.after()));
    Ok(())
}

async fn a_failure_is_recorded_and_counted_and_moves_nothing(world: &impl World) -> Result<()> {
    let acme = connect_and_acquire(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let before = load(world, tenant).await?;
    let throttled = Failure::new(Code::Throttled, "Too many requests.");
    for (failure, count) in [(denied(), 1), (denied(), 2), (throttled, 3)] {
        assert_eq!(acme.fail(world, &failure, "11:02").await?, Conditional::Written);
        assert_eq!(failures(world, tenant).await?, Failures::new(failure.code, &failure.message, count));
    }
    let after = load(world, tenant).await?;
    assert_eq!((after.config, after.lease), (before.config, before.lease));
    assert_eq!(after.watermark, before.watermark.map(|it| StoredWatermark { failing: true, ..it }));
    Ok(())
}

/// The console reads these attributes, so their names are a contract.
#[test]
fn the_table_says_when_a_tenant_last_succeeded_and_last_failed() -> Result<()> {
    on_local_aws(async |world| {
        let acme = connect_and_acquire(world, "acme").await?;
        let tenant = &acme.config.tenant;
        let receipt = acme.receipt("a");
        assert_eq!(acme.commit(world, &receipt).await?, Conditional::Written);
        let moved = AsRead { watermark: acme.watermark.after(&receipt, acme.after()), ..acme.clone() };
        assert_eq!(moved.fail(world, &denied(), "12:03").await?, Conditional::Written);
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
