//! Listing due and connected tenants, and reading their records.

use std::collections::BTreeMap;

use anyhow::Result;
use audit_log_core::{
    ports::{Conditional, Settings, Tenants},
    records::{StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::Draft,
    tenant::{DueShard, TenantId},
};
use audit_log_tests::REGION;
use chrono::{DateTime, TimeDelta, Utc};

use crate::world::{World, announcement, clock, connect, id};

on_both_worlds! {
    a_tenant_is_due_from_next_due_on_and_only_in_its_shard
    a_disconnected_tenant_is_neither_due_nor_connected
    a_tenant_that_is_not_due_is_listed_as_connected
    each_of_many_tenants_is_loaded_with_its_records
    records_are_loaded_as_stored_valid_or_not
    the_next_read_sees_a_write
    loading_no_tenants_returns_none
}

/// The due tenants of each shard that has any.
async fn due(world: &impl World, tick: DateTime<Utc>) -> Result<BTreeMap<String, Vec<String>>> {
    let mut by_shard = BTreeMap::new();
    for shard in DueShard::all() {
        let due = world.tenants().due(shard, tick).await?;
        let mut due: Vec<String> = due.into_iter().map(|due| due.tenant).collect();
        due.sort();
        if !due.is_empty() {
            by_shard.insert(shard.to_string(), due);
        }
    }
    Ok(by_shard)
}

/// The shards with a connected tenant.
async fn connected(world: &impl World) -> Result<Vec<String>> {
    let mut shards = Vec::new();
    for shard in DueShard::all() {
        if world.tenants().any_connected(shard).await? {
            shards.push(shard.to_string());
        }
    }
    Ok(shards)
}

fn shard(tenant: &str) -> Result<String> {
    Ok(DueShard::from_tenant(&id(tenant)?).to_string())
}

async fn a_tenant_is_due_from_next_due_on_and_only_in_its_shard(world: &impl World) -> Result<()> {
    let tick = clock("11:00")?;
    let mut expected = BTreeMap::<_, Vec<_>>::new();
    // More tenants than shards, so that some share a shard.
    for number in 0..40 {
        let tenant = format!("tenant-{number:02}");
        let due = tick + TimeDelta::seconds(number - 20);
        let schedule = Schedule { exported_until: due - TimeDelta::hours(1), next_due: due };
        let watermark = Some(StoredWatermark::connected(&id(&tenant)?, schedule));
        world.put_records(&id(&tenant)?, TenantRecords { config: None, watermark, ..TenantRecords::default() }).await?;
        if due <= tick {
            expected.entry(shard(&tenant)?).or_default().push(tenant);
        }
    }
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 21, "with the tenant that is due exactly at the tick");
    assert_eq!(due(world, tick).await?, expected);
    Ok(())
}

async fn a_disconnected_tenant_is_neither_due_nor_connected(world: &impl World) -> Result<()> {
    let acme = connect(world, "acme").await?;
    assert_eq!(due(world, clock("11:00")?).await?, BTreeMap::from([(shard("acme")?, vec!["acme".to_owned()])]));
    assert_eq!(connected(world).await?, [shard("acme")?]);
    let disconnected = world.settings().disconnect(&acme.config.tenant, 1, &announcement("acme", "10:10")?).await?;
    assert_eq!(disconnected, Conditional::Written);
    assert_eq!(due(world, clock("11:00")?).await?, BTreeMap::new());
    assert_eq!(connected(world).await?, [""; 0]);
    Ok(())
}

async fn a_tenant_that_is_not_due_is_listed_as_connected(world: &impl World) -> Result<()> {
    connect(world, "acme").await?;
    assert_eq!(due(world, clock("10:59")?).await?, BTreeMap::new());
    assert_eq!(connected(world).await?, [shard("acme")?]);
    Ok(())
}

async fn each_of_many_tenants_is_loaded_with_its_records(world: &impl World) -> Result<()> {
    let mut stored = BTreeMap::new();
    for number in 0..120 {
        let tenant = id(&format!("tenant-{number:03}"))?;
        let due = clock("11:00")? + TimeDelta::seconds(number);
        let schedule = Schedule { exported_until: clock("10:00")?, next_due: due };
        let draft = Draft { bucket: Some(format!("bucket-{number}")), ..Draft::default() };
        // Both records, either one, none.
        let records = TenantRecords {
            config: (number % 4 < 2).then_some(draft),
            watermark: (number % 2 == 0).then(|| StoredWatermark::connected(&tenant, schedule)),
            ..TenantRecords::default()
        };
        world.put_records(&tenant, records.clone()).await?;
        stored.insert(tenant.to_string(), records);
    }
    let tenants: Vec<_> = stored.keys().map(|tenant| id(tenant)).collect::<Result<_>>()?;
    let loaded = world.tenants().load(&tenants).await?;
    assert_eq!(loaded.len(), 120, "one entry for each");
    let loaded: BTreeMap<_, _> = loaded.into_iter().map(|(tenant, records)| (tenant.to_string(), records)).collect();
    assert_eq!(loaded, stored);
    Ok(())
}

async fn records_are_loaded_as_stored_valid_or_not(world: &impl World) -> Result<()> {
    let some = |text: &str| Some(text.to_owned());
    let records = TenantRecords {
        config: Some(Draft {
            external_id: some("x"),
            pending_external_id: some("y"),
            role_arn: some("not an ARN"),
            bucket: some("Not A Bucket"),
            region: some(REGION),
            prefix: some("/a//b/"),
            frequency_hours: some("ninety-nine"),
            format: some("xml"),
            compression: some("zip"),
            schema: some("xml"),
            encryption: some("rot13"),
            kms_key_arn: some("a key"),
            bucket_owner: some("me"),
            event_shards: some("-1"),
            version: some("7"),
        }),
        watermark: Some(StoredWatermark {
            exported_until: some("yesterday"),
            next_due: some("2026-11-20T11:00:00.000Z"),
            ..StoredWatermark::default()
        }),
        ..TenantRecords::default()
    };
    let tenant = id("acme")?;
    world.put_records(&tenant, records.clone()).await?;
    assert_eq!(world.tenants().load(std::slice::from_ref(&tenant)).await?, [(tenant, records)]);
    Ok(())
}

async fn the_next_read_sees_a_write(world: &impl World) -> Result<()> {
    let (tenant, schedule) = (id("acme")?, |minute: i64| -> Result<Schedule> {
        let from = clock("10:00")?;
        Ok(Schedule { exported_until: from, next_due: from + TimeDelta::minutes(minute) })
    });
    for minute in 1..20 {
        let watermark = Some(StoredWatermark::connected(&tenant, schedule(minute)?));
        world
            .put_records(
                &tenant,
                TenantRecords { config: None, watermark: watermark.clone(), ..TenantRecords::default() },
            )
            .await?;
        assert_eq!(crate::world::load(world, &tenant).await?.watermark, watermark);
        assert_eq!(world.settings().records(&tenant).await?.watermark, watermark);
    }
    Ok(())
}

async fn loading_no_tenants_returns_none(world: &impl World) -> Result<()> {
    connect(world, "acme").await?;
    assert_eq!(world.tenants().load(&[]).await?, <[(TenantId, TenantRecords); 0]>::default());
    Ok(())
}
