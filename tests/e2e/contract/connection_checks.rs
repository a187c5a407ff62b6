//! Storing the results of connection checks.

use anyhow::Result;
use audit_log_core::{
    new_event::Stamp,
    outbox::Announcement,
    ports::{Conditional, Connections, Settings, Tenants},
    records::{ConnectionChange, ConnectionCheck, Finding},
    settings::TenantConfig,
    system_events,
};

use crate::{
    events::keys,
    world::{World, announcement, clock, connect, id, load, window},
};

on_both_worlds! {
    a_result_is_stored_until_the_next_one
    a_result_for_other_settings_than_the_stored_ones_is_not_stored
    a_result_is_not_stored_after_another_check_was_faster
    an_unreadable_result_is_replaced_by_the_first_check
    new_findings_are_announced_with_the_result_or_not_at_all
    each_of_many_tenants_has_its_own_result
}

/// The result of a check on a day, of config version 1.
fn checked(day: &str, codes: &[&str]) -> Result<ConnectionCheck> {
    let finding = |(at, code): (usize, &&str)| Finding {
        step: "region".to_owned(),
        is_failure: at == 0,
        code: (*code).to_owned(),
        message: format!("{code} was found."),
    };
    let findings = codes.iter().enumerate().map(finding).collect();
    let due_hour = format!("2026-11-{day}T07:00:00Z").parse()?;
    Ok(ConnectionCheck { due_hour, at: format!("2026-11-{day}T07:31:02Z").parse()?, version: 1, findings })
}

async fn store_check(
    world: &impl World,
    config: &TenantConfig,
    as_read: Option<&ConnectionCheck>,
    found: &ConnectionCheck,
) -> Result<Conditional> {
    Ok(world.connections().save_check(&config.tenant, as_read, found, None).await?)
}

async fn a_result_is_stored_until_the_next_one(world: &impl World) -> Result<()> {
    let config = connect(world, "acme").await?.config;
    let before = load(world, &config.tenant).await?;
    assert_eq!(world.connections().last_check(&config.tenant).await?, None);
    let days = [checked("20", &[])?, checked("21", &["wrong_region", "excess_rights"])?, checked("22", &[])?];
    let mut last = None;
    for found in &days {
        assert_eq!(store_check(world, &config, last, found).await?, Conditional::Written);
        assert_eq!(world.connections().last_check(&config.tenant).await?.as_ref(), Some(found));
        last = Some(found);
    }
    assert_eq!(load(world, &config.tenant).await?, before, "an export doesn't see it");
    Ok(())
}

async fn a_result_for_other_settings_than_the_stored_ones_is_not_stored(world: &impl World) -> Result<()> {
    let config = connect(world, "acme").await?.config;
    let older = ConnectionCheck { version: 0, ..checked("20", &[])? };
    assert_eq!(store_check(world, &config, None, &older).await?, Conditional::ConditionFailed);
    let disconnected = world.settings().disconnect(&config.tenant, 1, &announcement("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    let current = ConnectionCheck { version: 2, ..checked("20", &[])? };
    assert_eq!(
        store_check(world, &config, None, &current).await?,
        Conditional::ConditionFailed,
        "the tenant is disconnected"
    );
    let unknown = TenantConfig { tenant: id("unknown")?, ..config.clone() };
    assert_eq!(store_check(world, &unknown, None, &older).await?, Conditional::ConditionFailed);
    assert_eq!(world.connections().last_check(&config.tenant).await?, None);
    Ok(())
}

async fn a_result_is_not_stored_after_another_check_was_faster(world: &impl World) -> Result<()> {
    let config = connect(world, "acme").await?.config;
    let (first, second, third) = (checked("20", &[])?, checked("21", &["wrong_region"])?, checked("22", &[])?);
    assert_eq!(store_check(world, &config, None, &first).await?, Conditional::Written);
    assert_eq!(
        store_check(world, &config, None, &second).await?,
        Conditional::ConditionFailed,
        "there is a result now"
    );
    assert_eq!(store_check(world, &config, Some(&first), &second).await?, Conditional::Written);
    assert_eq!(
        store_check(world, &config, Some(&first), &third).await?,
        Conditional::ConditionFailed,
        "there is another result now"
    );
    assert_eq!(world.connections().last_check(&config.tenant).await?, Some(second));
    Ok(())
}

async fn an_unreadable_result_is_replaced_by_the_first_check(world: &impl World) -> Result<()> {
    let (first, second, third) = (checked("20", &[])?, checked("21", &["wrong_region"])?, checked("22", &[])?);
    let without = [None, Some("checked_for"), Some("checked_at"), Some("config_version"), Some("findings")];
    for (number, without) in without.into_iter().enumerate() {
        let config = connect(world, &format!("tenant-{number}")).await?.config;
        assert_eq!(store_check(world, &config, None, &first).await?, Conditional::Written);
        world.put_unreadable_check(&config.tenant, without).await?;
        assert_eq!(world.connections().last_check(&config.tenant).await?, None, "{without:?}");
        assert_eq!(store_check(world, &config, None, &second).await?, Conditional::Written, "{without:?}");
        assert_eq!(
            store_check(world, &config, None, &third).await?,
            Conditional::ConditionFailed,
            "{without:?}: it can be read again"
        );
        assert_eq!(world.connections().last_check(&config.tenant).await?.as_ref(), Some(&second));
    }
    Ok(())
}

async fn new_findings_are_announced_with_the_result_or_not_at_all(world: &impl World) -> Result<()> {
    let config = connect(world, "acme").await?.config;
    let found = checked("20", &["wrong_region"])?;
    let drifted = |minute: &str| -> Result<Announcement> {
        let stamp = Stamp { at: clock(minute)?, retention: None };
        Ok(system_events::connection_checked(&config.tenant, stamp, ConnectionChange::Drifted, &found))
    };
    let recorded = async || -> Result<Vec<String>> {
        let keys = keys(world, &config.tenant, window("10:00", "11:00")?).await?;
        Ok(keys.into_iter().filter(|key| key.contains("#system:")).collect())
    };
    let sequence = async || world.tenants().outbox(&config.tenant).await.map(|outbox| outbox.sequence);
    let store_check = async |as_read: Option<&ConnectionCheck>, announcement: &Announcement| {
        world.connections().save_check(&config.tenant, as_read, &found, Some(announcement)).await
    };
    let other = checked("19", &[])?;
    assert_eq!(store_check(Some(&other), &drifted("10:05")?).await?, Conditional::ConditionFailed);
    assert_eq!((recorded().await?, sequence().await?), (vec![], 1));
    let first = drifted("10:06")?;
    assert_eq!(store_check(None, &first).await?, Conditional::Written);
    assert_eq!((recorded().await?, sequence().await?), (vec![first.event.recorded_at_id()], 2));
    // The event was recorded before and stays unchanged.
    assert_eq!(store_check(Some(&found), &drifted("10:07")?).await?, Conditional::Written);
    assert_eq!((recorded().await?, sequence().await?), (vec![first.event.recorded_at_id()], 3));
    Ok(())
}

async fn each_of_many_tenants_has_its_own_result(world: &impl World) -> Result<()> {
    let mut expected = Vec::new();
    for number in 0..120 {
        let tenant = format!("tenant-{number:03}");
        let found = checked("20", &[&tenant])?;
        // Some tenants have none.
        let kept = number % 20 == 0;
        if kept {
            let config = connect(world, &tenant).await?.config;
            assert_eq!(store_check(world, &config, None, &found).await?, Conditional::Written);
        }
        expected.push((id(&tenant)?, kept.then_some(found)));
    }
    let tenants: Vec<_> = expected.iter().map(|(tenant, _)| tenant.clone()).collect();
    let mut found = world.connections().last_checks(&tenants).await?;
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert_eq!(found, expected);
    assert_eq!(world.connections().last_checks(&[]).await?, []);
    Ok(())
}
