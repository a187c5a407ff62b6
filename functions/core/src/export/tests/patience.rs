//! How a tenant fares that keeps failing, and who hears of it.

use serde_json::json;

use super::*;
use crate::{
    failure::Code,
    memory::{Fault, Op},
    notice::{Kind, Notice},
    ports::Tenants as _,
};

fn denied() -> Failure {
    Failure::new(Code::AssumeRoleDenied, "STS refused the role.")
}

/// The tick so many hours after 11:00, two minutes into it.
fn tick(world: &World, hours: i64) -> Report {
    let tick = clock("11:00") + TimeDelta::hours(hours);
    let now = tick + TimeDelta::minutes(2);
    world.run(tick, &move || now, &|| false).unwrap().unwrap()
}

/// A world in which `acme` is refused.
fn refused() -> World {
    let world = World::with_acme();
    world.memory.always(Op::Open, Some("acme"), denied());
    world
}

/// The hours at which ticks tried, out of some that come every hour.
fn tries(world: &World, hours: std::ops::Range<i64>) -> Vec<i64> {
    let tried = |hour: &i64| {
        let before = world.memory.calls(Op::Open);
        tick(world, *hour);
        world.memory.calls(Op::Open) > before
    };
    hours.filter(tried).collect()
}

fn kinds(world: &World) -> Vec<Kind> {
    world.memory.state().notices.iter().map(|notice| notice.kind).collect()
}

#[test]
fn a_tenant_that_keeps_failing_costs_a_role_only_every_six_hours_and_then_gets_all_its_own_files() {
    let world = refused();
    world.event("acme", "2026-11-21T10:30:00.000Z", "kept");
    assert_eq!(tries(&world, 0..50), (0..=24).chain([30, 36, 42, 48]).collect::<Vec<_>>());
    assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z", "neither the watermark nor `next_due` has moved");
    let report = tick(&world, 50);
    assert_eq!((counts(&report), report.put_off), ((0, 0, 1), 1));
    assert_eq!(report.latest_deferred, TimeDelta::zero(), "nobody falls behind for want of time");

    world.memory.heal();
    let report = tick(&world, 54);
    assert_eq!((counts(&report), report.objects), ((1, 0, 0), 55));
    assert_eq!(world.objects("acme")[0].0, "20261121T100000Z_20261121T110000Z_0001.json");
    assert_eq!(world.names("acme")[0], ["kept"]);
    world.memory.always(Op::Open, Some("acme"), denied());
    assert_eq!(tries(&world, 55..60), (55..60).collect::<Vec<_>>(), "another failure has a first day of its own");
}

#[test]
fn several_who_begin_to_fail_at_once_look_as_if_nothing_were_delivered_but_those_who_go_on_failing_do_not() {
    let world = refused();
    for tenant in ["globex", "initech"] {
        world.connect(tenant, "1", "10:00");
    }
    // Whose customers have nothing to do with it.
    for tenant in ["stark", "wayne", "wonka"] {
        world.connect(tenant, "24", "10:00");
    }
    let refused = ["acme", "globex", "initech"];
    refused.iter().for_each(|tenant| world.memory.always(Op::Open, Some(tenant), denied()));
    let alarms = |hours: std::ops::Range<i64>| -> Vec<i64> {
        hours.filter(|hour| tick(&world, *hour).nothing_delivered()).collect()
    };
    assert_eq!(alarms(0..80), [0_i64; 0], "customers' failures");
    world.memory.heal();
    assert_eq!(alarms(80..86), [0_i64; 0]);
    world.memory.always(Op::Open, None, denied());
    assert_eq!(alarms(86..130), [86, 96], "the others are due once a day; and then a census tells of it");
}

#[test]
fn a_daily_fleet_whose_windows_settle_only_for_the_next_tick_is_healthy() {
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
fn a_save_and_a_verification_let_the_next_tick_try() {
    for save in [true, false] {
        let world = refused();
        tries(&world, 0..26);
        let at = clock("11:00") + TimeDelta::minutes(26 * 60 - 30);
        if save {
            world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, at);
        } else {
            world.memory.renew(&id("acme"), at).now_or_never().unwrap().unwrap();
        }
        assert_eq!(tries(&world, 26..54), (26..=49).collect::<Vec<_>>(), "for a day; a save: {save}");
        assert_eq!(kinds(&world), [Kind::Failed, Kind::StillFailing], "it has failed all along");
    }
}

#[test]
fn what_the_platform_has_to_mend_is_tried_at_every_tick() {
    let world = World::with_acme();
    world.memory.always(Op::Open, Some("acme"), Failure::new(Code::Throttled, "slow down"));
    assert_eq!(tries(&world, 0..40).len(), 40);
}

#[test]
fn settings_that_can_not_be_used_are_put_off_alike() {
    let world = World::with_acme();
    let break_it = |config: &mut Draft| config.frequency_hours = Some("99".to_owned());
    break_it(world.memory.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap());
    (0..=24).for_each(|hour| assert_eq!(tick(&world, hour).failed, 1));
    let report = tick(&world, 25);
    assert_eq!((report.failed, report.put_off, report.longest_lag), (0, 1, TimeDelta::minutes(26 * 60 + 2)));
}

#[test]
fn others_hear_of_the_first_failure_of_one_that_lasts_and_of_its_end() {
    let world = refused();
    assert_eq!(tries(&world, 0..8 * 24).len(), 25 + 27);
    world.memory.heal();
    tries(&world, 8 * 24..8 * 24 + 8);
    let notices = world.memory.state().notices.clone();
    let days = |notice: &Notice| notice.info.get("days").and_then(serde_json::Value::as_i64);
    let told: Vec<_> = notices.iter().map(|notice| (notice.kind, days(notice))).collect();
    let lasting = |days| (Kind::StillFailing, Some(days));
    let expected = [(Kind::Failed, Some(0)), lasting(1), lasting(3), lasting(7), (Kind::Recovered, None)];
    assert_eq!(told, expected);
    assert_eq!(
        world.memory.actions("acme"),
        ["Export Failed", "Export Still Failing", "Export Still Failing", "Export Still Failing", "Export Recovered"]
    );
    assert_eq!(world.memory.state().tenants["acme"].told, None);

    let ids: std::collections::BTreeSet<_> = notices.iter().map(|notice| &notice.id).collect();
    assert_eq!(ids.len(), notices.len());
    let recorded = world.memory.state().ids.clone();
    assert!(ids.iter().all(|id| recorded.contains_key(&("acme".to_owned(), (*id).clone()))), "as the audit events'");
    let schema = serde_json::from_str(include_str!("../../../schema/notice.json")).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    assert!(notices.iter().all(|notice| validator.is_valid(&notice.detail())), "as published");
    insta::assert_snapshot!(notices[2].detail().to_string(), @r#"{"version":"1","id":"system:3ae037bb-9a20-5ad0-bb73-05ce0aae1354","tenantId":"acme","at":"2026-11-24T11:02:00Z","exportedUntil":"2026-11-21T10:00:00Z","code":"assume_role_denied","party":"customer","message":"STS refused the role.","hint":"Check the role's ARN for typing errors; if it is right, create the stack from the quick-create template again, with the external ID that the connector shows, and connect the new stack's RoleArn.","failingSince":"2026-11-21T11:02:00Z","days":3,"consecutiveFailures":33,"eventsKeptUntil":null}"#);
    insta::assert_snapshot!(notices[4].detail().to_string(), @r#"{"version":"1","id":"system:84595fab-0060-5d5a-af0f-0158bbc1081e","tenantId":"acme","at":"2026-11-29T11:02:00Z","failingSince":"2026-11-21T11:02:00Z","windowFrom":"2026-11-21T10:00:00Z","windowTo":"2026-11-21T11:00:00Z"}"#);
}

#[test]
fn a_bus_that_is_down_holds_nothing_up_and_is_told_when_it_is_back() {
    let world = refused();
    world.memory.always(Op::Publish, None, Failure::new(Code::Unavailable, "no answer"));
    assert_eq!(counts(&tick(&world, 0)), (0, 1, 0));
    assert_eq!(world.memory.actions("acme"), ["Export Failed"]);
    world.memory.heal();
    world.memory.always(Op::Open, Some("acme"), denied());
    tries(&world, 1..3);
    assert_eq!((kinds(&world), world.memory.actions("acme").len()), (vec![Kind::Failed], 1), "once, on both");

    world.memory.heal();
    world.memory.once(Op::Publish, None, Fault::Fail(Failure::new(Code::Unavailable, "no answer")));
    assert_eq!(counts(&tick(&world, 3)), (1, 0, 0));
    assert_eq!(kinds(&world), [Kind::Failed, Kind::Recovered], "with the next window of the same run");
    let recovered = world.memory.state().notices[1].clone();
    assert_eq!(recovered.info["windowFrom"], json!("2026-11-21T11:00:00Z"));
    let recorded = world.memory.state().ids.contains_key(&("acme".to_owned(), recovered.id));
    assert!(recorded, "under the id of the audit event all the same");
}

#[test]
fn a_run_that_dies_between_the_notice_and_its_record_leads_to_the_same_notice_once_more() {
    let world = refused();
    world.memory.once(Op::RecordFailure, None, Fault::Crash);
    let now = clock("11:02");
    assert_eq!(world.run(clock("11:00"), &move || now, &|| false), None);
    tick(&world, 1);
    let notices = world.memory.state().notices.clone();
    assert_eq!((kinds(&world), &notices[0].id), (vec![Kind::Failed; 2], &notices[1].id));
    assert_eq!(world.memory.actions("acme"), ["Export Failed"]);
}

#[test]
fn a_failure_that_another_run_has_made_good_meanwhile_is_taken_back() {
    let world = refused();
    let other = world.clone();
    let exported = move || {
        other.memory.heal();
        assert_eq!(counts(&other.tick("11:00").unwrap()), (1, 0, 0));
    };
    world.memory.once(Op::RecordFailure, None, Fault::After(Box::new(exported)));
    tick(&world, 0);
    // The other run has told the end, too, but perhaps before anybody heard of the failure.
    let told = vec![Kind::Failed, Kind::Recovered, Kind::Recovered];
    assert_eq!((kinds(&world), world.memory.actions("acme")), (told, vec![]));
    let notices = world.memory.state().notices.clone();
    assert_eq!(notices[1].id, notices[2].id);
    tick(&world, 1);
    assert_eq!(kinds(&world).len(), 3);
}

#[test]
fn a_failure_that_can_not_be_taken_back_at_once_is_taken_back_after_the_next_window() {
    let world = refused();
    let other = world.clone();
    let exported = move || {
        other.memory.heal();
        assert_eq!(counts(&other.tick("11:00").unwrap()), (1, 0, 0));
        other.memory.once(Op::Load, None, Fault::Fail(Failure::new(Code::Unavailable, "no answer")));
    };
    world.memory.once(Op::NoteTold, None, Fault::After(Box::new(exported)));
    tick(&world, 0);
    assert_eq!((kinds(&world), world.memory.actions("acme")), (vec![Kind::Failed], vec![]));
    tick(&world, 1);
    assert_eq!(kinds(&world), [Kind::Failed, Kind::Recovered]);
}

#[test]
fn an_end_that_nobody_has_heard_of_is_told_before_the_next_failure() {
    let world = refused();
    tick(&world, 0);
    world.memory.heal();
    world.memory.once(Op::Publish, None, Fault::Crash);
    let now = clock("12:02");
    assert_eq!(world.run(clock("12:00"), &move || now, &|| false), None, "it dies right after the commit");
    world.memory.always(Op::Open, Some("acme"), denied());
    tick(&world, 2);
    assert_eq!(kinds(&world), [Kind::Failed, Kind::Recovered, Kind::Failed]);
    let recovered = world.memory.state().notices[1].id.clone();
    assert!(world.memory.state().ids.contains_key(&("acme".to_owned(), recovered)), "the same news as the audit event");
}

#[test]
fn a_backlog_that_nears_the_retention_is_counted_also_while_it_is_put_off() {
    let mut world = refused();
    world.options.retention = Some(TimeDelta::days(4));
    let near: Vec<i64> = (0..60).filter(|hour| tick(&world, *hour).near_retention == 1).collect();
    assert_eq!(near, (47..60).collect::<Vec<_>>());
}
