//! Backoff: when a failing tenant is tried, and what is announced.

use super::*;
use crate::{
    failure::Code,
    fakes::Op,
    notification::{Kind, Notification},
    ports::Repairs as _,
};

fn denied() -> Failure {
    Failure::new(Code::AssumeRoleDenied, "STS refused the role.")
}

/// Runs the tick that many hours after 11:00, two minutes into the hour.
fn tick(world: &World, hours: i64) -> Report {
    let tick = clock("11:00") + TimeDelta::hours(hours);
    let now = tick + TimeDelta::minutes(2);
    world.run(tick, &move || now, &|| false).unwrap().unwrap()
}

/// A world in which STS refuses `acme`.
fn refused() -> World {
    let world = World::with_acme();
    world.fakes.always(Op::Open, Some("acme"), denied());
    world
}

/// Runs hourly ticks, and returns the hours in which they tried the tenant.
fn tries(world: &World, hours: std::ops::Range<i64>) -> Vec<i64> {
    let is_tried = |hour: &i64| {
        let before = world.fakes.calls(Op::Open);
        tick(world, *hour);
        world.fakes.calls(Op::Open) > before
    };
    hours.filter(is_tried).collect()
}

fn kinds(world: &World) -> Vec<Kind> {
    world.fakes.state().notifications.iter().map(|notification| notification.kind).collect()
}

#[test]
fn a_tenant_that_keeps_failing_is_tried_every_six_hours_and_then_gets_all_its_files() {
    let world = refused();
    world.event("acme", "2026-11-21T10:30:00.000Z", "kept");
    assert_eq!(tries(&world, 0..50), (0..=24).chain([30, 36, 42, 48]).collect::<Vec<_>>());
    assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z", "neither the watermark nor `next_due` has moved");
    let report = tick(&world, 50);
    assert_eq!((counts(&report), report.backed_off), ((0, 0, 1), 1));
    assert_eq!(report.latest_deferred, TimeDelta::zero(), "no window is deferred for lack of time");

    world.fakes.heal();
    let report = tick(&world, 54);
    assert_eq!((counts(&report), report.objects), ((1, 0, 0), 55));
    assert_eq!(world.objects("acme")[0].0, "20261121T100000Z_20261121T110000Z_0001.json");
    assert_eq!(world.names("acme")[0], ["kept"]);
    world.fakes.always(Op::Open, Some("acme"), denied());
    assert_eq!(tries(&world, 55..60), (55..60).collect::<Vec<_>>(), "a new failure has a new first day");
}

#[test]
fn nothing_is_delivered_only_if_several_tenants_begin_to_fail_at_once() {
    let world = refused();
    for tenant in ["globex", "initech"] {
        world.connect(tenant, "1", "10:00");
    }
    // Their customers' roles are in order.
    for tenant in ["stark", "wayne", "wonka"] {
        world.connect(tenant, "24", "10:00");
    }
    let refused = ["acme", "globex", "initech"];
    refused.iter().for_each(|tenant| world.fakes.always(Op::Open, Some(tenant), denied()));
    let alarms = |hours: std::ops::Range<i64>| -> Vec<i64> {
        hours.filter(|hour| tick(&world, *hour).nothing_delivered()).collect()
    };
    assert_eq!(alarms(0..80), [0_i64; 0], "customers' failures");
    world.fakes.heal();
    assert_eq!(alarms(80..86), [0_i64; 0]);
    world.fakes.always(Op::Open, None, denied());
    assert_eq!(alarms(86..130), [86, 96], "the others are due once a day; later a reconciliation finds it");
}

#[test]
fn a_daily_fleet_whose_windows_settle_by_the_next_tick_is_healthy() {
    let mut world = World::new();
    world.options.settle = TimeDelta::minutes(5);
    for tenant in ["acme", "globex", "initech"] {
        world.connect(tenant, "24", "10:00");
    }
    for hour in 0..80 {
        let report = tick(&world, hour);
        assert!(!report.nothing_delivered(), "{hour}: {report:?}");
    }
}

#[test]
fn after_a_save_or_a_verification_the_next_tick_tries() {
    for save in [true, false] {
        let world = refused();
        tries(&world, 0..26);
        let at = clock("11:00") + TimeDelta::minutes(26 * 60 - 30);
        if save {
            world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, at);
        } else {
            world.fakes.reset_backoff(&id("acme"), at).now_or_never().unwrap().unwrap();
        }
        assert_eq!(tries(&world, 26..54), (26..=49).collect::<Vec<_>>(), "for a day; a save: {save}");
        let kinds: Vec<_> = kinds(&world).into_iter().filter(|kind| *kind != Kind::SettingsChanged).collect();
        assert_eq!(kinds, [Kind::Failed, Kind::StillFailing], "it has failed all along");
    }
}

#[test]
fn a_failure_of_the_platform_is_tried_at_every_tick() {
    let world = World::with_acme();
    world.fakes.always(Op::Open, Some("acme"), Failure::new(Code::Throttled, "slow down"));
    assert_eq!(tries(&world, 0..40).len(), 40);
}

#[test]
fn invalid_settings_are_backed_off_too() {
    let world = World::with_acme();
    let damage = |config: &mut Draft| config.frequency_hours = Some("99".to_owned());
    damage(world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap());
    (0..=24).for_each(|hour| assert_eq!(tick(&world, hour).failed, 1));
    let report = tick(&world, 25);
    assert_eq!((report.failed, report.backed_off, report.longest_lag), (0, 1, TimeDelta::minutes(26 * 60 + 2)));
}

#[test]
fn a_lasting_failure_is_announced_after_one_three_and_seven_days_and_then_its_end() {
    let world = refused();
    assert_eq!(tries(&world, 0..8 * 24).len(), 25 + 27);
    world.fakes.heal();
    tries(&world, 8 * 24..8 * 24 + 8);
    let notifications = world.fakes.state().notifications.clone();
    let days = |it: &Notification| it.info.get("days").and_then(serde_json::Value::as_i64);
    let announced: Vec<_> = notifications.iter().map(|it| (it.kind, days(it))).collect();
    let lasting = |days| (Kind::StillFailing, Some(days));
    let expected = [(Kind::Failed, Some(0)), lasting(1), lasting(3), lasting(7), (Kind::Recovered, None)];
    assert_eq!(announced, expected);
    assert_eq!(
        world.fakes.actions("acme"),
        ["Export Failed", "Export Still Failing", "Export Still Failing", "Export Still Failing", "Export Recovered"]
    );
}

#[test]
fn a_backlog_that_nears_the_retention_is_counted_even_while_it_is_backed_off() {
    let mut world = refused();
    world.options.retention = Some(TimeDelta::days(4));
    let near: Vec<i64> = (0..60).filter(|hour| tick(&world, *hour).near_retention == 1).collect();
    assert_eq!(near, (47..60).collect::<Vec<_>>());
}
