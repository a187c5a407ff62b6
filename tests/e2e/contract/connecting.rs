//! The tables as the console and the recorder use them.

use anyhow::Result;
use audit_log_core::{
    new_event::{NewEvent, Stamp, Submitter},
    onboarding::ConnectorState,
    ports::{Conditional, EventRange, Events, Recorder, Recording, Rotations, Settings, SlotKind},
    records::{StoredReceipt, TenantRecords},
    schedule::Window,
    settings::{Draft, TenantConfig},
    tenant::{ExternalId, ExternalIds, RoleArn},
};
use chrono::TimeDelta;
use futures::future::join_all;

use crate::world::{self, AsRead, World, announcement, announcement_of, change, clock, id, load, window};

on_both_worlds! {
    the_first_external_id_is_stored_with_its_event_and_never_replaced
    external_ids_are_replaced_only_as_they_were_read_and_nothing_else_is
    external_ids_are_not_replaced_for_another_role_than_the_tenants
    a_save_keeps_the_external_ids_of_a_rotation_that_it_did_not_know
    a_role_is_stored_and_removed_until_there_are_settings
    a_role_is_not_stored_unless_the_config_is_unchanged
    receipts_come_latest_first_and_page_by_page
    slots_are_limited_per_tenant_kind_and_minute
    an_event_that_is_sent_repeatedly_is_recorded_once
    of_many_concurrent_requests_for_one_event_exactly_one_records_it
    an_event_goes_into_the_shard_that_it_names
    a_tenant_has_one_shard_unless_its_config_says_more
    events_are_read_backwards_page_by_page_from_the_cursor
}

async fn the_first_external_id_is_stored_with_its_event_and_never_replaced(world: &impl World) -> Result<()> {
    let (acme, globex) = (id("acme")?, id("globex")?);
    let candidates: Vec<String> = (0..8).map(|n| format!("candidate-{n}")).collect();
    let asked = candidates.iter().map(|candidate| world::external_id(world, &acme, candidate));
    let kept: Vec<String> = join_all(asked).await.into_iter().collect::<Result<_, _>>()?;
    assert!(kept.iter().all(|it| *it == kept[0]), "{kept:?}");
    let range = EventRange { tenant: &acme, shard: 0, window: window("09:00", "11:00")?, after: None };
    let events = world.events().page(range).await?.events;
    let ids: Vec<_> = events.iter().filter_map(|event| event.recorded_at_id.split('#').nth(1)).collect();
    assert_eq!(ids, [kept[0].as_str()], "the event is that of the request whose candidate was stored");
    assert_eq!(world::external_id(world, &globex, "candidate-0").await?, "candidate-0");
    let records = world.settings().records(&acme).await?;
    assert_eq!(ConnectorState::from_records(&records), ConnectorState::NotConnected);
    assert_eq!(records.config.and_then(|config| config.external_id), Some(kept[0].clone()));
    Ok(())
}

fn external_ids(current: &str, pending: Option<&str>) -> Result<ExternalIds> {
    let pending = pending.map(ExternalId::parse).transpose()?;
    Ok(ExternalIds { current: ExternalId::parse(current)?, pending })
}

async fn external_ids_are_replaced_only_as_they_were_read_and_nothing_else_is(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    let replace = async |as_read: &ExternalIds, after: &ExternalIds| {
        let announcement = change("10:30")?.rotation_started(tenant);
        anyhow::Ok(world.rotations().replace_external_ids(tenant, as_read, after, None, &announcement).await?)
    };
    let before = load(world, tenant).await?;
    let config = before.config.clone().unwrap_or_default();
    let old = external_ids("some-external-id", None)?;
    let rotating = external_ids("some-external-id", Some("the-next-one"))?;
    let new = external_ids("the-next-one", None)?;
    for wrong in [&rotating, &new, &external_ids("some-external-id", Some("another"))?] {
        assert_eq!(replace(wrong, &old).await?, Conditional::ConditionFailed, "{wrong:?}");
    }
    assert_eq!(load(world, tenant).await?, before);
    for (as_read, after) in [(&old, &rotating), (&rotating, &old), (&old, &rotating), (&rotating, &new)] {
        assert_eq!(replace(as_read, after).await?, Conditional::Written);
        let stored = Draft {
            external_id: Some(after.current.to_string()),
            pending_external_id: after.pending.as_ref().map(ToString::to_string),
            ..config.clone()
        };
        assert_eq!(load(world, tenant).await?, TenantRecords { config: Some(stored), ..before.clone() });
        assert_eq!(replace(as_read, after).await?, Conditional::ConditionFailed, "a second time");
    }
    let unknown = id("unknown")?;
    let announcement = change("10:30")?.rotation_started(&unknown);
    let replaced = world.rotations().replace_external_ids(&unknown, &old, &rotating, None, &announcement).await?;
    assert_eq!((replaced, load(world, &unknown).await?), (Conditional::ConditionFailed, TenantRecords::default()));
    Ok(())
}

async fn external_ids_are_not_replaced_for_another_role_than_the_tenants(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let globex = id("globex")?;
    world::external_id(world, &globex, "some-external-id").await?;
    let connected = acme.config.role.clone();
    let other = RoleArn::parse("arn:aws:iam::222222222222:role/another")?;
    let ids = [external_ids("some-external-id", None)?, external_ids("the-next-one", None)?];
    for (tenant, role, expected) in [
        (&acme.config.tenant, &other, Conditional::ConditionFailed),
        (&acme.config.tenant, &connected, Conditional::Written),
        // Has no role yet.
        (&globex, &other, Conditional::Written),
    ] {
        let announcement = change("10:30")?.rotation_started(tenant);
        let [before, after] = &ids;
        let replaced = world.rotations().replace_external_ids(tenant, before, after, Some(role), &announcement).await?;
        let stored = load(world, tenant).await?.config.and_then(|config| config.external_id);
        let expected_id = if expected == Conditional::Written { after } else { before };
        assert_eq!((replaced, stored.as_deref()), (expected, Some(expected_id.current.as_str())), "{tenant} {role:?}");
    }
    Ok(())
}

async fn a_save_keeps_the_external_ids_of_a_rotation_that_it_did_not_know(world: &impl World) -> Result<()> {
    let acme = world::connect(world, "acme").await?;
    let tenant = &acme.config.tenant;
    for (number, after) in
        [external_ids("some-external-id", Some("the-next-one"))?, external_ids("the-next-one", None)?]
            .iter()
            .enumerate()
    {
        let records = load(world, tenant).await?;
        let config = records.config.unwrap_or_default();
        let as_read = external_ids(&config.external_id.unwrap_or_default(), config.pending_external_id.as_deref())?;
        let minute = format!("10:3{number}");
        let announcement = change(&minute)?.rotation_started(tenant);
        let replaced = world.rotations().replace_external_ids(tenant, &as_read, after, None, &announcement).await?;
        assert_eq!(replaced, Conditional::Written);
        // The settings as they were before.
        let version = acme.config.version + number as u64;
        let saved = TenantConfig { version, ..acme.config.clone() };
        let watermark = records.watermark.unwrap_or_default();
        let schedule = watermark.schedule().map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let announcement = announcement_of("acme", &minute, "10:40")?;
        let saved = world.settings().save(&saved, Some(&watermark), schedule, false, &announcement).await?;
        assert_eq!(saved, Conditional::Written);
        let config = load(world, tenant).await?.config.unwrap_or_default();
        let pending = after.pending.as_ref().map(ToString::to_string);
        assert_eq!((config.external_id, config.pending_external_id), (Some(after.current.to_string()), pending));
    }
    Ok(())
}

async fn a_role_is_stored_and_removed_until_there_are_settings(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let role = RoleArn::parse("arn:aws:iam::222222222222:role/audit")?;
    let settings = world.settings();
    world::external_id(world, &acme, "made-for-acme").await?;
    for (version, role, state) in [(0, Some(&role), ConnectorState::Connected), (1, None, ConnectorState::NotConnected)]
    {
        let announcement = announcement_of("acme", &version.to_string(), "10:00")?;
        assert_eq!(settings.store_role(&acme, role, version, &announcement).await?, Conditional::Written);
        let records = settings.records(&acme).await?;
        assert_eq!(ConnectorState::from_records(&records), state);
        let config = records.config.unwrap_or_default();
        assert_eq!(config.version, Some((version + 1).to_string()));
        assert_eq!(config.external_id.as_deref(), Some("made-for-acme"));
    }
    let scheduled = world::connect(world, "globex").await?;
    let lost = settings.store_role(&scheduled.config.tenant, None, 1, &announcement("globex", "10:30")?).await?;
    assert_eq!(lost, Conditional::ConditionFailed, "the tenant has a watermark");
    Ok(())
}

async fn a_role_is_not_stored_unless_the_config_is_unchanged(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let role = RoleArn::parse("arn:aws:iam::222222222222:role/audit")?;
    let announcement = announcement("acme", "10:00")?;
    let store = async |version| world.settings().store_role(&acme, Some(&role), version, &announcement).await;
    assert_eq!(store(0).await?, Conditional::ConditionFailed, "there is no external ID");
    assert_eq!(load(world, &acme).await?, TenantRecords::default());
    world::external_id(world, &acme, "made-for-acme").await?;
    let before = load(world, &acme).await?;
    assert_eq!(store(3).await?, Conditional::ConditionFailed, "there is another version");
    assert_eq!(load(world, &acme).await?, before);
    Ok(())
}

async fn receipts_come_latest_first_and_page_by_page(world: &impl World) -> Result<()> {
    let acme = world::connect_and_acquire(world, "acme").await?;
    let other = world::connect_and_acquire(world, "acme-2").await?;
    let mut expected = Vec::new();
    let mut as_read = acme.clone();
    for number in 0..5 {
        let receipt = as_read.receipt(&format!("{number:064x}"));
        assert_eq!(as_read.commit(world, &receipt).await?, Conditional::Written);
        let (watermark, schedule) = (as_read.watermark.after(&receipt, as_read.after()), as_read.after());
        as_read = AsRead { watermark, schedule, ..as_read };
        expected.insert(0, StoredReceipt::from_receipt(&receipt));
    }
    assert_eq!(other.commit(world, &other.receipt("b")).await?, Conditional::Written);
    let tenant = &acme.config.tenant;
    assert_eq!(world.settings().receipts(tenant, None, 100).await?, expected);
    assert_eq!(world.settings().receipts(tenant, None, 2).await?, expected[..2]);
    let third = Some(expected[2].receipt.window.to);
    assert_eq!(world.settings().receipts(tenant, third, 2).await?, expected[3..]);
    assert_eq!(world.settings().receipts(tenant, Some(clock("11:00")?), 2).await?, []);
    Ok(())
}

async fn slots_are_limited_per_tenant_kind_and_minute(world: &impl World) -> Result<()> {
    let (acme, globex) = (id("acme")?, id("globex")?);
    let (now, later) = (clock("10:00")?, clock("10:01")?);
    let (verification, search, session) = (SlotKind::Verification, SlotKind::Search, SlotKind::Session);
    for (tenant, kind, since, expected) in [
        (&acme, verification, now, true),
        (&acme, verification, now, true),
        (&acme, verification, now, false),
        (&acme, search, now, true),
        (&acme, search, now, true),
        (&acme, search, now, false),
        (&acme, session, now, true),
        (&acme, session, now, true),
        (&acme, session, now, false),
        (&globex, search, now, true),
        (&globex, verification, now, true),
        (&acme, search, later, true),
        (&acme, verification, later, true),
    ] {
        let taken = world.settings().take_slot(tenant, kind, since, 2).await?;
        assert_eq!(taken, expected, "{tenant} {kind:?} {since}");
    }
    Ok(())
}

async fn an_event_that_is_sent_repeatedly_is_recorded_once(world: &impl World) -> Result<()> {
    let first = announcement("acme", "10:00")?.event;
    let again = NewEvent { stamp: change("10:05")?.stamp, id: first.id.clone(), ..first.clone() };
    let others = NewEvent { tenant: id("acme-2")?, ..first.clone() };
    assert_eq!(world.recorder().record(&first).await?, Recording::Created);
    assert_eq!(world.recorder().record(&again).await?, Recording::Duplicate);
    assert_eq!(world.recorder().record(&others).await?, Recording::Created, "another tenant's event with that id");
    let role = RoleArn::parse("arn:aws:iam::222222222222:role/audit")?;
    let otherwise =
        change("10:06")?.connected(&first.tenant, &role, &audit_log_core::settings::Draft::default(), false).event;
    let otherwise = NewEvent { id: first.id.clone(), ..otherwise };
    assert_eq!(world.recorder().record(&otherwise).await?, Recording::Conflict);
    // Another submitter's event with that id, at the same time and a millisecond later.
    let scanner = NewEvent { submitted_by: Submitter::from_token("scanner"), ..first.clone() };
    let at = scanner.stamp.at + TimeDelta::milliseconds(1);
    let later = NewEvent { stamp: Stamp { at, ..scanner.stamp }, ..scanner.clone() };
    assert_eq!(world.recorder().record(&scanner).await?, Recording::KeyTaken);
    assert_eq!(world.recorder().record(&later).await?, Recording::Created);
    assert_eq!(world.recorder().record(&scanner).await?, Recording::Duplicate);
    let day = Window { from: clock("00:00")?, to: clock("23:59")? };
    let stretch = EventRange { tenant: &first.tenant, shard: 0, window: day, after: None };
    let events = world.events().page(stretch).await?.events;
    let keys: Vec<_> = events.iter().map(|event| event.recorded_at_id.clone()).collect();
    assert_eq!(keys, [first.recorded_at_id(), later.recorded_at_id()]);
    assert_eq!(events[0].line().0, first.document);
    Ok(())
}

async fn of_many_concurrent_requests_for_one_event_exactly_one_records_it(world: &impl World) -> Result<()> {
    let event = announcement("acme", "10:00")?.event;
    let at = |millis| NewEvent {
        stamp: Stamp { at: event.stamp.at + TimeDelta::milliseconds(millis), ..event.stamp },
        ..event.clone()
    };
    let events: Vec<_> = (0..8).map(at).collect();
    let sent = join_all(events.iter().map(|event| world.recorder().record(event))).await;
    let recorded: Vec<Recording> = sent.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(recorded.iter().filter(|it| **it == Recording::Created).count(), 1);
    Ok(())
}

async fn an_event_goes_into_the_shard_that_it_names(world: &impl World) -> Result<()> {
    let event = NewEvent { shard: 3, ..announcement("acme", "10:00")?.event };
    world.recorder().record(&event).await?;
    for (shard, expected) in [(0, 0), (3, 1)] {
        let day = Window { from: clock("00:00")?, to: clock("23:59")? };
        let page = world.events().page(EventRange { tenant: &event.tenant, shard, window: day, after: None }).await?;
        assert_eq!(page.events.len(), expected, "{shard}");
    }
    Ok(())
}

async fn a_tenant_has_one_shard_unless_its_config_says_more(world: &impl World) -> Result<()> {
    assert_eq!(world.recorder().event_shards(&id("unknown")?).await?.count(), 1);
    let acme = world::connect(world, "acme").await?;
    assert_eq!(world.recorder().event_shards(&acme.config.tenant).await?.count(), 1);
    let mut records = load(world, &acme.config.tenant).await?;
    for (shards, expected) in [(Some("4"), Some(4)), (Some("many"), None)] {
        records.config =
            records.config.map(|it| audit_log_core::settings::Draft { event_shards: shards.map(str::to_owned), ..it });
        world.put_records(&acme.config.tenant, records.clone()).await?;
        let shards = world.recorder().event_shards(&acme.config.tenant).await.ok();
        assert_eq!(shards.map(|shards| shards.count()), expected);
    }
    Ok(())
}

async fn events_are_read_backwards_page_by_page_from_the_cursor(world: &impl World) -> Result<()> {
    let acme = id("acme")?;
    let mut keys = Vec::new();
    for number in 0..7 {
        let key = format!("2026-11-20T10:0{number}:00.000Z#{number}");
        world.put_event(&acme, 0, &key, crate::world::Recorded::Text("{}".to_owned())).await?;
        keys.insert(0, key);
    }
    let window = Window { from: clock("10:01")?, to: clock("10:06")? };
    let (mut read, mut after) = (Vec::new(), None);
    loop {
        let stretch = EventRange { tenant: &acme, shard: 0, window, after: after.as_deref() };
        let page = world.events().page_back(stretch, 2, None).await?;
        assert!(page.events.len() <= 2, "{page:?}");
        read.extend(page.events.into_iter().map(|event| event.recorded_at_id));
        after = page.more_after;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(read, keys[1..6], "from the latest to the first, the window's end excluded");
    Ok(())
}
