//! The outbox: what is announced, in which order, also if a run dies or the bus is down.

use serde_json::json;

use super::{overlaps::with_events, *};
use crate::{
    export::Publishing,
    failure::Code,
    fakes::{Fault, Op},
    notification::{Kind, Notification},
    ports::Tenants as _,
    status::ExportState,
};

fn denied() -> Failure {
    Failure::new(Code::AssumeRoleDenied, "STS refused the role.")
}

fn no_answer() -> Failure {
    Failure::new(Code::Unavailable, "no answer")
}

/// A world in which STS refuses `acme`.
fn refused() -> World {
    let world = World::with_acme();
    world.fakes.always(Op::Open, Some("acme"), denied());
    world
}

fn kinds(world: &World) -> Vec<Kind> {
    world.fakes.state().notifications.iter().map(|it| it.kind).collect()
}

fn pending(world: &World) -> Vec<Kind> {
    world.fakes.state().tenants["acme"].outbox.entries.iter().map(|it| it.kind).collect()
}

impl World {
    fn publish(&self, time: &str) -> Publishing {
        let job = async |export: FakeExport, run: Run<'_>| export.publish_pending(run).await;
        self.run_of(clock(time), &|| clock(time), &|| false, job).unwrap().unwrap()
    }

    fn publish_one(&self, time: &str) -> Publishing {
        let job = async |export: FakeExport, run: Run<'_>| export.publish_one(run, &id("acme")).await;
        self.run_of(clock(time), &|| clock(time), &|| false, job).unwrap().unwrap()
    }
}

#[test]
fn a_notification_says_what_the_state_of_the_exports_is() {
    let world = refused();
    let state = |world: &World| {
        let records = world.fakes.records(&id("acme")).now_or_never().unwrap().unwrap();
        (kinds(world).last().copied(), ExportState::from_records(&records, None))
    };
    world.tick("11:00").unwrap();
    assert_eq!(state(&world), (Some(Kind::Failed), ExportState::Failing));
    world.fakes.heal();
    world.tick("12:00").unwrap();
    assert_eq!(state(&world), (Some(Kind::Recovered), ExportState::Healthy));
    world.disconnect("acme");
    world.publish("12:10");
    assert_eq!(state(&world), (Some(Kind::Disconnected), ExportState::Disconnected));
}

#[test]
fn a_failure_and_its_end_are_published_once_in_order_under_the_ids_of_the_audit_events() {
    let world = refused();
    for hour in ["11:00", "12:00"] {
        world.tick(hour).unwrap();
    }
    world.fakes.heal();
    world.tick("13:00").unwrap();
    world.tick("14:00").unwrap();
    assert_eq!(kinds(&world), [Kind::Failed, Kind::Recovered]);
    let notifications = world.fakes.state().notifications.clone();
    assert_eq!(notifications.iter().map(|it| it.sequence).collect::<Vec<_>>(), [1, 2]);
    let recorded: Vec<String> = world.fakes.state().events[&("acme".to_owned(), 0)].keys().cloned().collect();
    assert!(notifications.iter().all(|it| recorded.iter().any(|key| key.ends_with(&format!("#{}", it.id)))));
    assert_eq!(pending(&world), []);
    assert!(!world.is_leased("acme"));
}

#[test]
fn the_lease_is_released_after_the_outbox_is_published() {
    let world = refused();
    let other = world.clone();
    let overlap = move || {
        assert!(other.is_leased("acme"));
        assert_eq!(other.tick("11:00").unwrap().leased, 1);
    };
    world.fakes.once(Op::Publish, None, Fault::After(Box::new(overlap)));
    world.tick("11:00").unwrap();
    assert_eq!((kinds(&world), world.is_leased("acme")), (vec![Kind::Failed], false));
}

#[test]
fn if_a_run_dies_before_it_publishes_the_next_run_does() {
    for op in [Op::Outbox, Op::Publish, Op::RemovePublished] {
        let world = refused();
        world.fakes.once(op, None, Fault::Crash);
        assert!(world.try_tick("11:00").is_none(), "{op:?}");
        world.tick("12:00").unwrap();
        let published = kinds(&world);
        let twice = if op == Op::RemovePublished { 2 } else { 1 };
        assert_eq!(published, vec![Kind::Failed; twice], "{op:?}: at least once");
        assert_eq!(pending(&world), [], "{op:?}");
        assert_eq!(world.fakes.actions("acme"), ["Export Failed"], "{op:?}");
    }
}

#[test]
fn exports_go_on_without_a_bus_and_notifications_are_published_in_order_when_it_is_back() {
    let world = refused();
    world.fakes.always(Op::Publish, None, no_answer());
    assert_eq!(counts(&world.tick("11:00").unwrap()), (0, 1, 0));
    world.fakes.heal();
    world.fakes.always(Op::Publish, None, no_answer());
    assert_eq!(counts(&world.tick("12:00").unwrap()), (1, 0, 0), "exports go on");
    assert_eq!((kinds(&world), pending(&world)), (vec![], vec![Kind::Failed, Kind::Recovered]));
    assert!(!world.is_leased("acme"));
    world.fakes.heal();
    world.tick("13:00").unwrap();
    assert_eq!((kinds(&world), pending(&world)), (vec![Kind::Failed, Kind::Recovered], vec![]));
}

#[test]
fn publishing_stops_at_the_first_refused_notification() {
    let world = refused();
    world.fakes.always(Op::Publish, None, no_answer());
    world.tick("11:00").unwrap();
    world.fakes.heal();
    world.fakes.always(Op::Publish, None, no_answer());
    world.tick("12:00").unwrap();
    world.fakes.heal();
    world.fakes.once(Op::Publish, None, Fault::After(Box::new(|| {})));
    world.fakes.once(Op::Publish, None, Fault::Fail(no_answer()));
    let publishing = world.publish("12:31");
    assert_eq!((publishing.published, publishing.left), (1, 1));
    assert_eq!((kinds(&world), pending(&world)), (vec![Kind::Failed], vec![Kind::Recovered]));
}

#[test]
fn a_failure_is_announced_only_if_it_is_recorded() {
    let world = refused();
    world.fakes.once(Op::RecordFailure, None, Fault::Fail(no_answer()));
    world.tick("11:00").unwrap();
    assert_eq!((kinds(&world), world.fakes.actions("acme")), (vec![], vec![]));
    world.tick("12:00").unwrap();
    assert_eq!((kinds(&world), world.fakes.actions("acme")), (vec![Kind::Failed], vec!["Export Failed".to_owned()]));
}

#[test]
fn the_hourly_check_publishes_notifications_of_changes_in_the_console() {
    let world = with_events();
    world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, clock("10:30"));
    world.disconnect("acme");
    assert_eq!(pending(&world), [Kind::SettingsChanged, Kind::Disconnected]);
    let publishing = world.publish("10:31");
    let expected = Publishing { pending: 1, published: 2, left: 0, stale: 0, dropped: 0 };
    assert_eq!(publishing, expected);
    assert_eq!(kinds(&world), [Kind::SettingsChanged, Kind::Disconnected]);
    assert!(!world.is_leased("acme"));
    assert_eq!(world.publish("10:32"), Publishing::default());
}

#[test]
fn an_outbox_is_published_outside_of_exports_only_if_no_run_has_the_lease() {
    let world = with_events();
    let other = world.clone();
    let overlap = move || {
        other.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, clock("11:01"));
        assert_eq!(other.publish_one("11:02").left, 1);
    };
    world.fakes.once(Op::Page, None, Fault::After(Box::new(overlap)));
    world.tick("11:00").unwrap();
    let kinds: std::collections::BTreeSet<_> = kinds(&world).into_iter().collect();
    assert_eq!(kinds, [Kind::SettingsChanged].into(), "published by the run, which loads the records again");
    assert_eq!(world.publish_one("11:03"), Publishing { pending: 1, ..Publishing::default() });
}

#[test]
fn a_notification_that_is_added_while_an_outbox_is_published_is_published_by_the_same_run() {
    for op in [Op::Publish, Op::RemovePublished, Op::ReleaseLease] {
        let world = World::with_acme();
        let save = |world: &World, time: &str| {
            world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, clock(time));
        };
        save(&world, "10:30");
        let other = world.clone();
        let again = move || {
            save(&other, "10:31");
            other.publish_one("10:31");
        };
        world.fakes.once(op, None, Fault::After(Box::new(again)));
        assert_eq!(world.publish_one("10:31").published, 2, "{op:?}");
        assert_eq!(pending(&world), [], "{op:?}");
    }
}

#[test]
fn a_tenant_without_a_watermark_has_an_outbox_too() {
    let world = World::new();
    let store = &world.fakes;
    let external_id = crate::tenant::ExternalId::parse("3f6c1d2e-external").unwrap();
    let viewed = change_at(clock("09:59")).external_id_viewed(&id("acme"));
    store.external_id(&id("acme"), &external_id, &viewed).now_or_never().unwrap().unwrap();
    let role = crate::tenant::RoleArn::parse("arn:aws:iam::222222222222:role/audit").unwrap();
    let records = store.records(&id("acme")).now_or_never().unwrap().unwrap();
    let change = change_at(clock("10:00"));
    let connected = onboarding::connect(store, &records, &id("acme"), &role, &platform(), &change).now_or_never();
    assert_eq!(connected.unwrap(), Ok(Conditional::Written));
    assert_eq!(world.publish_one("10:00").published, 1);
    assert_eq!(kinds(&world), [Kind::Connected]);
    assert!(store.load_one(&id("acme")).now_or_never().unwrap().unwrap().watermark.is_none());
}

#[test]
fn notifications_that_wait_for_more_than_two_hours_are_stale() {
    let world = refused();
    world.fakes.always(Op::Publish, None, no_answer());
    world.tick("11:00").unwrap();
    assert_eq!(["13:01", "13:03"].map(|time| world.publish(time).stale), [0, 1]);
    let mut state = world.fakes.state();
    let outbox = &mut state.tenants.get_mut("acme").unwrap().outbox;
    outbox.entries.clear();
    outbox.unreadable.push("damaged".to_owned());
    drop(state);
    let publishing = world.publish("11:30");
    assert_eq!((publishing.left, publishing.stale), (1, 1), "an unreadable entry has no age");
}

#[test]
fn notifications_are_stale_whatever_the_reason() {
    for op in [None, Some(Op::AcquireLease), Some(Op::RemovePublished)] {
        let world = refused();
        world.fakes.always(Op::Publish, None, no_answer());
        world.tick("11:00").unwrap();
        world.fakes.heal();
        match op {
            Some(op) => world.fakes.always(op, None, no_answer()),
            None => {
                let held = crate::lease::Lease::new([9; 16], clock("13:30"));
                world.fakes.state().tenants.get_mut("acme").unwrap().lease = Some(held);
            }
        }
        let publishing = world.publish("13:03");
        assert_eq!((publishing.published, publishing.left, publishing.stale), (0, 1, 1), "{op:?}");
    }
}

#[test]
fn a_disconnect_in_the_middle_of_a_run_is_published_by_that_run() {
    let world = with_events();
    let other = world.clone();
    let disconnect = move || {
        other.disconnect("acme");
        assert_eq!(other.publish_one("11:02").left, 1);
    };
    world.fakes.once(Op::Commit, None, Fault::After(Box::new(disconnect)));
    world.tick("11:00").unwrap();
    assert_eq!((kinds(&world), pending(&world)), (vec![Kind::Disconnected], vec![]));
}

#[test]
fn a_failure_that_lasts_its_recovery_and_the_admins_changes_are_announced_with_their_details() {
    let world = refused();
    for hour in [0, 24, 72, 168].map(|hours| clock("11:00") + TimeDelta::hours(hours)) {
        world.run(hour, &move || hour + TimeDelta::minutes(2), &|| false).unwrap().unwrap();
    }
    world.fakes.heal();
    let end = clock("11:00") + TimeDelta::hours(174);
    world.run(end, &move || end + TimeDelta::minutes(2), &|| false).unwrap().unwrap();
    world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), prefix: None, ..draft() }, end);
    world.disconnect("acme");
    let mut notifications: Vec<Notification> = world.fakes.state().notifications.clone();
    notifications.extend(world.fakes.state().tenants["acme"].outbox.entries.clone());
    let kinds: Vec<_> = notifications.iter().map(|it| it.kind).collect();
    let lasting = Kind::StillFailing;
    let expected =
        [Kind::Failed, lasting, lasting, lasting, Kind::Recovered, Kind::SettingsChanged, Kind::Disconnected];
    assert_eq!(kinds, expected);
    let detail = |at: usize| notifications[at].detail();
    assert_eq!(
        detail(2),
        json!({
            "version": "1", "id": "system:3ae037bb-9a20-5ad0-bb73-05ce0aae1354", "tenantId": "acme",
            "at": "2026-11-24T11:02:00Z", "sequence": 3, "exportedUntil": "2026-11-21T10:00:00Z",
            "code": "assume_role_denied", "party": "customer", "message": "STS refused the role.",
            "hint": Code::AssumeRoleDenied.hint(), "failingSince": "2026-11-21T11:02:00Z", "days": 3,
            "consecutiveFailures": 3, "eventsKeptUntil": null,
        })
    );
    assert_eq!(
        detail(4),
        json!({
            "version": "1", "id": "system:84595fab-0060-5d5a-af0f-0158bbc1081e", "tenantId": "acme",
            "at": "2026-11-28T17:02:00Z", "sequence": 5, "failingSince": "2026-11-21T11:02:00Z",
            "windowFrom": "2026-11-21T10:00:00Z", "windowTo": "2026-11-21T11:00:00Z",
        })
    );
    assert_eq!(detail(5)["by"], json!({ "id": "u-17", "name": "Ada" }));
}
