//! Listing connected tenants and tenants with settings, and the count of the last check.

use std::collections::BTreeSet;

use anyhow::Result;
use audit_log_core::{
    ports::{Conditional, Due, Fleet, Settings},
    reconciliation,
    records::{ConnectedCount, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::Draft,
    tenant::DueShard,
    timestamp,
};
use audit_log_tests::REGION;
use chrono::TimeDelta;

use crate::world::{World, announcement, clock, connect, external_id, id};

on_both_worlds! {
    connected_tenants_are_listed_in_their_shard_due_or_not
    tenants_with_settings_are_listed_connected_or_not
    the_last_stored_count_is_returned
}

async fn connected_tenants_are_listed_in_their_shard_due_or_not(world: &impl World) -> Result<()> {
    assert_eq!(reconciliation::connected(world.fleet()).await?, []);
    let mut expected = Vec::new();
    // More tenants than shards, so that some share a shard.
    for number in 0..40 {
        let tenant = id(&format!("tenant-{number:02}"))?;
        let due = clock("11:00")? + TimeDelta::hours(number * 1000);
        let schedule = Schedule { exported_until: clock("10:00")?, next_due: due };
        let mut watermark = StoredWatermark::connected(&tenant, schedule);
        if number % 10 == 3 {
            watermark.due_shard = None;
        } else {
            expected.push(Due { tenant: tenant.to_string(), next_due: timestamp::seconds(due) });
        }
        let watermark = Some(watermark);
        world.put_records(&tenant, TenantRecords { watermark, ..TenantRecords::default() }).await?;
    }
    assert_eq!(reconciliation::connected(world.fleet()).await?, expected);
    let shard = DueShard::from_tenant(&id("tenant-00")?);
    for due in world.fleet().connected(shard).await? {
        assert_eq!(DueShard::from_tenant(&id(&due.tenant)?), shard);
    }
    Ok(())
}

async fn tenants_with_settings_are_listed_connected_or_not(world: &impl World) -> Result<()> {
    assert_eq!(world.fleet().saved().await?, [""; 0]);
    let acme = connect(world, "acme").await?;
    let globex = connect(world, "globex").await?;
    let left = announcement("globex", "10:10")?;
    assert_eq!(world.settings().disconnect(&globex.config.tenant, 1, &left).await?, Conditional::Written);
    // Before the first save there are no settings.
    external_id(world, &id("initech")?, acme.config.external_id.as_str()).await?;
    let came = announcement("initech", "10:10")?;
    let connected = world.settings().store_role(&id("initech")?, Some(&acme.config.role), 0, &came).await?;
    assert_eq!(connected, Conditional::Written);
    // Only the config matters. The watermark may be missing.
    let config = Some(Draft { region: Some(REGION.to_owned()), ..Draft::default() });
    world.put_records(&id("hooli")?, TenantRecords { config, ..TenantRecords::default() }).await?;
    let saved: BTreeSet<String> = world.fleet().saved().await?.into_iter().collect();
    assert_eq!(saved, ["acme", "globex", "hooli"].map(str::to_owned).into());
    Ok(())
}

async fn the_last_stored_count_is_returned(world: &impl World) -> Result<()> {
    connect(world, "acme").await?;
    assert_eq!(world.fleet().last_count().await?, None);
    let day = clock("11:00")?.date_naive();
    let first = ConnectedCount { day, connected: 40, before: None };
    let second = ConnectedCount { day: day.succ_opt().unwrap_or(day), connected: 0, before: Some(40) };
    for count in [first, second, first] {
        world.fleet().save_count(count).await?;
        assert_eq!(world.fleet().last_count().await?, Some(count));
    }
    // The count isn't listed as a tenant.
    assert_eq!(world.fleet().saved().await?, ["acme"]);
    assert_eq!(reconciliation::connected(world.fleet()).await?.len(), 1);
    Ok(())
}
