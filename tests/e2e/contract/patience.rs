//! What the watermark keeps for the sake of patience, and what others hear on the bus.

use anyhow::{Context as _, Result};
use audit_log_core::{
    failure::{Code, Failure},
    notice::Notice,
    ports::{Bus, Conditional, Settings, Tenants},
    record::own::Failing,
    records::Outcome,
    settings::TenantConfig,
    tenant::TenantId,
};

use crate::world::{AsRead, World, clock, connect, id, load, news, stored_watermark};

on_both_worlds! {
    the_first_failure_begins_it_and_a_commit_ends_it
    a_save_begins_a_new_first_day_and_leaves_the_failure
    a_verification_renews_the_patience_with_whoever_fails_and_leaves_no_other_trace
    what_others_were_told_is_kept_until_they_hear_of_the_end
    notices_are_heard_as_they_were_published
}

async fn outcome(world: &impl World, tenant: &TenantId) -> Result<Outcome> {
    Ok(load(world, tenant).await?.outcome)
}

/// A tenant whose exports fail at these times.
async fn failing(world: &impl World, times: &[&str]) -> Result<AsRead> {
    let acme = connect(world, "acme").await?;
    let denied = Failure::new(Code::AccessDenied, "S3 refused it.");
    for time in times {
        let (tenant, at) = (&acme.config.tenant, clock(time)?);
        let noted = world.tenants().record_failure(tenant, &acme.watermark, &denied, at, None).await?;
        assert_eq!(noted, Conditional::Written);
    }
    Ok(acme)
}

async fn commit(world: &impl World, acme: &AsRead) -> Result<()> {
    let watermark = stored_watermark(world, &acme.config.tenant).await?;
    let committed = world.tenants().commit(&acme.config, &watermark, acme.after(), &acme.receipt("a"), None).await?;
    assert_eq!(committed, Conditional::Written);
    Ok(())
}

async fn the_first_failure_begins_it_and_a_commit_ends_it(world: &impl World) -> Result<()> {
    let acme = failing(world, &["11:02", "12:02"]).await?;
    let tenant = &acme.config.tenant;
    let Outcome { failing_since, last_error, .. } = outcome(world, tenant).await?;
    assert_eq!(failing_since, Some(clock("11:02")?));
    assert_eq!(last_error.context("no error")?.at, Some(clock("12:02")?));
    commit(world, &acme).await?;
    let Outcome { failing_since, renewed_at, .. } = outcome(world, tenant).await?;
    assert_eq!((failing_since, renewed_at), (None, None));
    Ok(())
}

async fn a_save_begins_a_new_first_day_and_leaves_the_failure(world: &impl World) -> Result<()> {
    let acme = failing(world, &["11:02", "12:02"]).await?;
    let tenant = &acme.config.tenant;
    let watermark = stored_watermark(world, tenant).await?;
    let news = news("acme", "12:30")?;
    let saved = world.settings().save(&acme.config, Some(&watermark), acme.schedule, &news).await?;
    assert_eq!(saved, Conditional::Written);
    let after = outcome(world, tenant).await?;
    assert_eq!((after.renewed_at, after.failing_since), (Some(clock("12:30")?), Some(clock("11:02")?)));
    assert_eq!(after.consecutive_failures, 2, "it is not known yet whether the failure is over");
    let config = TenantConfig { version: acme.config.version + 1, ..acme.config.clone() };
    commit(world, &AsRead { config, ..acme.clone() }).await?;
    assert_eq!(outcome(world, tenant).await?.renewed_at, None);
    Ok(())
}

async fn a_verification_renews_the_patience_with_whoever_fails_and_leaves_no_other_trace(
    world: &impl World,
) -> Result<()> {
    let acme = failing(world, &["11:02"]).await?;
    let tenant = &acme.config.tenant;
    let before = load(world, tenant).await?;
    world.tenants().renew(tenant, clock("11:30")?).await?;
    let after = load(world, tenant).await?;
    assert_eq!(after.outcome.renewed_at, Some(clock("11:30")?));
    assert_eq!((&after.config, &after.watermark), (&before.config, &before.watermark), "whoever is at it goes on");
    commit(world, &acme).await?;
    let before = load(world, tenant).await?;
    world.tenants().renew(tenant, clock("12:30")?).await?;
    world.tenants().renew(&id("unknown")?, clock("12:30")?).await?;
    assert_eq!(load(world, tenant).await?, before, "nothing fails any more");
    assert_eq!(load(world, &id("unknown")?).await?, Default::default());
    Ok(())
}

async fn what_others_were_told_is_kept_until_they_hear_of_the_end(world: &impl World) -> Result<()> {
    let acme = failing(world, &["11:02"]).await?;
    let tenant = &acme.config.tenant;
    let watermark = stored_watermark(world, tenant).await?;
    for told in ["2026-11-20T10:00:00Z/0", "2026-11-20T10:00:00Z/1"] {
        world.tenants().note_told(tenant, Some(told)).await?;
        assert_eq!(outcome(world, tenant).await?.told.as_deref(), Some(told));
    }
    assert_eq!(stored_watermark(world, tenant).await?, watermark, "whoever is at it goes on");
    commit(world, &acme).await?;
    assert!(outcome(world, tenant).await?.told.is_some(), "they have not heard of it yet");
    world.tenants().note_told(tenant, None).await?;
    assert_eq!(outcome(world, tenant).await?.told, None);
    world.tenants().note_told(&id("unknown")?, Some("2026-11-20T10:00:00Z/0")).await?;
    assert_eq!(load(world, &id("unknown")?).await?, Default::default());
    Ok(())
}

async fn notices_are_heard_as_they_were_published(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let failure = Failure::new(Code::AccessDenied, "S3 refused it.");
    let since = clock("11:02")?;
    let failing = Failing { tenant, exported_until: "2026-11-20T10:00:00Z", since, days: 0, failure: &failure };
    let window = acme.receipt("a").window;
    let notices = [
        Notice::failing(&failing, "some-id".to_owned(), since, 1, None),
        Notice::recovered(tenant, "2026-11-20T10:00:00Z", Some(since), window, clock("12:02")?),
    ];
    let mut heard = world.hear(&notices).await?;
    heard.sort();
    let mut published: Vec<_> =
        notices.iter().map(|it| (it.kind.detail_type().to_owned(), it.detail().to_string())).collect();
    published.sort();
    assert_eq!(heard, published);
    assert!(world.bus().publish(&[]).await.is_empty());
    Ok(())
}
