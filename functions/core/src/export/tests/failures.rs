//! Which tenants fail, and what is reported.

use super::*;
use crate::{
    failure::{Code, Party},
    fakes::{Fault, Op},
};

fn denied() -> Failure {
    Failure::new(Code::AssumeRoleDenied, "STS refused the role.")
}

#[test]
fn a_tenant_fails_alone_and_its_backlog_arrives_after_the_repair() {
    let world = World::with_acme();
    world.connect("broken", "1", "10:00");
    world.event("broken", "2026-11-21T10:30:00.000Z", "kept");
    world.fakes.always(Op::Open, Some("broken"), denied());
    for hour in ["11:00", "12:00"] {
        let report = world.tick(hour).unwrap();
        assert_eq!(counts(&report), (1, 1, 0));
        assert_eq!(
            (report.failures[0].tenant_id.as_str(), report.failures[0].code),
            ("broken", Code::AssumeRoleDenied)
        );
        assert!(report.failures[0].message.contains("create the stack"), "the message says what to do");
    }
    let broken = world.fakes.state().tenants["broken"].clone();
    assert_eq!((broken.last_error.unwrap().0, broken.consecutive_failures), (denied(), 2));
    assert_eq!(world.exported_until("broken"), "2026-11-21T10:00:00Z", "the watermark did not move");

    world.fakes.heal();
    assert_eq!(counts(&world.tick("13:00").unwrap()), (2, 0, 0));
    assert_eq!(world.names("broken"), [vec!["kept"], vec!["-"], vec!["-"]]);
    let recovered = world.fakes.state().tenants["broken"].clone();
    assert_eq!((recovered.last_error, recovered.consecutive_failures), (None, 0));
}

#[test]
fn a_failed_window_keeps_the_windows_before_it() {
    let world = World::with_acme();
    world.fakes.once(Op::Finish, None, Fault::After(Box::new(|| {})));
    world.fakes.once(Op::Finish, None, Fault::Fail(Failure::new(Code::Throttled, "slow down")));
    let report = world.tick("13:00").unwrap();
    assert_eq!((counts(&report), report.objects), ((0, 1, 0), 1));
    assert_eq!(world.exported_until("acme"), "2026-11-21T11:00:00Z");
}

#[test]
fn damaged_records_fail_their_own_tenant_with_the_field_named() {
    let world = World::with_acme();
    for tenant in ["frequency", "nobucket", "noconfig", "watermark"] {
        world.connect(tenant, "1", "10:00");
    }
    {
        let mut state = world.fakes.state();
        let mut change = |tenant: &str, change: &dyn Fn(&mut Draft)| {
            change(state.tenants.get_mut(tenant).unwrap().config.as_mut().unwrap());
        };
        change("frequency", &|config| config.frequency_hours = Some("99".to_owned()));
        change("nobucket", &|config| config.bucket = None);
        state.tenants.get_mut("noconfig").unwrap().config = None;
        let watermark = state.tenants.get_mut("watermark").unwrap().watermark.as_mut().unwrap();
        watermark.exported_until = Some("long ago".to_owned());
        let stray = state.tenants["acme"].clone();
        state.tenants.insert("../acme".to_owned(), stray);
    }
    let report = world.tick("11:00").unwrap();
    assert_eq!(counts(&report), (1, 5, 0));
    for (tenant, party, words) in [
        ("frequency", Party::Customer, "frequency_hours: "),
        ("nobucket", Party::Customer, "bucket: is required"),
        ("noconfig", Party::Platform, "no record `config`"),
        ("watermark", Party::Platform, "exported_until: "),
        ("../acme", Party::Platform, "a tenant id has"),
    ] {
        let failed = report.failures.iter().find(|failed| failed.tenant_id == tenant).unwrap();
        assert_eq!((failed.code, failed.party), (Code::ConfigInvalid, party), "{tenant}");
        assert!(failed.message.contains(words), "{tenant}: {}", failed.message);
    }
    assert_eq!(world.fakes.state().tenants["frequency"].consecutive_failures, 1);
    assert_eq!(world.fakes.state().tenants["watermark"].consecutive_failures, 1);
}

#[test]
fn records_that_cannot_be_read_are_the_platforms_failure() {
    let world = World::with_acme();
    world.fakes.once(Op::Load, None, Fault::Fail(Failure::new(Code::Unavailable, "no answer")));
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.failures[0].party), ((0, 1, 0), Party::Platform));
}

#[test]
fn a_shard_that_cannot_be_read_fails_the_tick_after_all_others_were_exported() {
    let world = World::with_acme();
    let others_shard =
        crate::tenant::DueShard::all().find(|shard| *shard != crate::tenant::DueShard::from_tenant(&id("acme")));
    let failure = Failure::new(Code::Throttled, "slow down");
    world.fakes.once(Op::Due, Some(&others_shard.unwrap().to_string()), Fault::Fail(failure.clone()));
    assert_eq!(world.tick("11:00"), Err(failure));
    assert_eq!(world.objects("acme").len(), 1);
}

#[test]
fn a_tick_without_any_connected_tenant_is_reported_but_one_without_due_tenants_is_normal() {
    let world = World::new();
    assert!(world.tick("11:00").unwrap().no_connected_tenant);
    world.connect("acme", "24", "10:00");
    world.tick("11:00").unwrap();
    let report = world.tick("12:00").unwrap();
    assert_eq!((report.due, report.no_connected_tenant), (0, false));
}

#[test]
fn a_failure_that_cannot_be_noted_is_still_reported() {
    let world = World::with_acme();
    world.fakes.always(Op::Open, None, denied());
    world.fakes.always(Op::RecordFailure, None, Failure::new(Code::Unavailable, "no answer"));
    assert_eq!(world.tick("11:00").unwrap().failures.len(), 1);
}

#[test]
fn the_report_has_the_longest_lag() {
    let world = World::with_acme();
    world.fakes.always(Op::Open, None, denied());
    assert_eq!(world.tick("13:00").unwrap().longest_lag, TimeDelta::minutes(3 * 60 + 2));
    world.fakes.heal();
    assert_eq!(world.tick("13:00").unwrap().longest_lag, TimeDelta::minutes(2));
}

#[test]
fn a_call_that_hangs_does_not_keep_other_tenants_from_the_report() {
    let world = World::with_acme();
    world.connect("hung", "1", "10:00");
    world.fakes.once(Op::Finish, Some("hung"), Fault::Crash);
    let fakes = world.fakes.clone();
    let now = || clock("11:00") + TimeDelta::minutes(2);
    let report = world.run(clock("11:00"), &now, &move || fakes.calls(Op::Commit) > 0).unwrap().unwrap();
    assert_eq!(counts(&report), (1, 0, 1));
}

#[test]
fn a_tenant_with_invalid_records_has_a_lag_too() {
    let world = World::with_acme();
    world.fakes.state().tenants.get_mut("acme").unwrap().config = None;
    assert_eq!(world.tick("20:00").unwrap().longest_lag, TimeDelta::minutes(10 * 60 + 2));
}

#[test]
fn the_first_failure_and_the_recovery_are_audit_events_of_the_tenant_and_reach_its_bucket() {
    let world = World::with_acme();
    world.fakes.always(Op::Open, Some("acme"), denied());
    for hour in ["11:00", "12:00"] {
        world.tick(hour).unwrap();
    }
    assert_eq!(world.fakes.actions("acme"), ["Export Failed"], "once, however often it fails");
    world.fakes.heal();
    world.tick("13:00").unwrap();
    world.tick("14:00").unwrap();
    let actions = world.fakes.actions("acme");
    assert_eq!(actions, ["Export Failed", "Export Recovered"], "once, however many windows come after it");
    let files = world.objects("acme");
    for (file, action, words) in [
        ("20261121T110000Z_20261121T120000Z_0001.json", "Export Failed", r#""code":"assume_role_denied""#),
        ("20261121T130000Z_20261121T140000Z_0001.json", "Export Recovered", r#""windowFrom":"2026-11-21T10:00:00Z""#),
    ] {
        let (_, text) = files.iter().find(|(name, _)| name == file).unwrap();
        assert!(text.contains(action) && text.contains(words), "{text}");
    }
}
