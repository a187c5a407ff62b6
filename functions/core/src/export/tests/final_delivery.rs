//! A change of destination: the place that is left gets everything up to and including the change.

use super::*;
use crate::{
    batch::Batch,
    export::FinalDeliveryCounts,
    failure::Code,
    fakes::{Fault, Op},
    lease::LEASE_MARGIN,
    new_event::Stamp,
    notification::Kind,
    records::FinalDelivery,
    system_events::AdminChange,
    tenant::RoleArn,
};

/// The file that `acme-bucket` gets if it is left at 10:20.
const FILE: &str = "20261121T100000Z_20261121T102001Z_final_0001.json";

/// The admin whose token was stolen. The audit events of the changes stay.
fn change(time: DateTime<Utc>) -> AdminChange {
    let id = format!("change-{}", time.format("%d-%H%M%S"));
    AdminChange { id, stamp: Stamp { at: time, retention: None }, ..change_at(time) }
}

impl World {
    fn bucket(&self, bucket: &str) {
        self.fakes.state().buckets.entry(bucket.to_owned()).or_default();
    }

    /// Points the export of `acme` at another bucket.
    pub(super) fn move_to(&self, bucket: &str, time: DateTime<Utc>) {
        self.bucket(bucket);
        self.change_settings(Draft { bucket: Some(bucket.to_owned()), ..draft() }, time);
    }

    fn change_settings(&self, settings: Draft, time: DateTime<Utc>) {
        let records = self.fakes.records(&id("acme")).now_or_never().unwrap().unwrap();
        let version = records.config.as_ref().unwrap().version.clone();
        let config = Draft { version, ..settings }.check(&id("acme"), &platform()).unwrap();
        let saved = onboarding::save(&self.fakes, &records, &config, None, Verified::NotTried, &change(time))
            .now_or_never()
            .unwrap();
        assert_eq!(saved, Ok(Conditional::Written));
    }

    fn leave(&self, time: DateTime<Utc>) {
        let records = self.fakes.records(&id("acme")).now_or_never().unwrap().unwrap();
        let left = onboarding::disconnect(&self.fakes, &records, &id("acme"), &change(time)).now_or_never().unwrap();
        assert_eq!(left, Ok(Conditional::Written));
    }

    /// The files in a bucket and what they hold: the names of recorded events and the actions of system events.
    fn files(&self, bucket: &str) -> Vec<(String, Vec<String>)> {
        let state = self.fakes.state();
        let name = |event: &serde_json::Value| event["n"].as_str().or(event["action"].as_str()).unwrap().to_owned();
        let parse = |bytes: &[u8]| serde_json::from_slice::<Vec<serde_json::Value>>(bytes).unwrap();
        let file = |key: &String| key.rsplit('/').next().unwrap().to_owned();
        let files = state.buckets[bucket].iter();
        files.map(|(key, object)| (file(key), parse(&object.bytes).iter().map(name).collect())).collect()
    }

    fn pending(&self) -> Vec<FinalDelivery> {
        self.fakes.state().tenants["acme"].final_deliveries.places.clone()
    }

    fn final_delivered_until(&self) -> Option<String> {
        self.fakes.state().tenants["acme"].watermark.clone().unwrap().final_delivered_until
    }

    fn check(&self, time: DateTime<Utc>) -> FinalDeliveryCounts {
        let job = async |export: FakeExport, run: Run<'_>| export.deliver_pending_finals(run).await;
        self.run_of(time, &move || time, &|| false, job).unwrap().unwrap()
    }
}

/// `acme`, whose `acme-bucket` has a SIEM behind it, with an event at 10:10 and one at 10:30.
fn with_siem() -> World {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:10:00.000Z", "before");
    world.event("acme", "2026-11-21T10:30:00.000Z", "after");
    world
}

/// The same, and at 10:20 a stolen token points the export at another bucket.
fn diverted() -> World {
    let world = with_siem();
    world.move_to("evil-bucket", clock("10:20"));
    world
}

fn counts_of(completed: u64, failed: u64, given_up: u64) -> FinalDeliveryCounts {
    FinalDeliveryCounts { completed, failed, given_up, ..FinalDeliveryCounts::default() }
}

fn contents(events: &[&str]) -> Vec<String> {
    events.iter().map(|name| (*name).to_owned()).collect()
}

fn final_file() -> Vec<(String, Vec<String>)> {
    vec![(FILE.to_owned(), contents(&["before", "Export Settings Changed"]))]
}

#[test]
fn a_stolen_token_cannot_point_the_export_at_another_bucket_unseen() {
    let world = diverted();
    let report = world.tick("11:00").unwrap();
    assert_eq!((counts(&report), report.final_deliveries), ((1, 0, 0), counts_of(1, 0, 0)));
    assert_eq!(world.files("acme-bucket"), final_file());
    let window = "20261121T100000Z_20261121T110000Z_0001.json".to_owned();
    let whole = contents(&["before", "Export Settings Changed", "after"]);
    assert_eq!(world.files("evil-bucket"), [(window, whole)], "the new place gets every window whole");
    assert_eq!((world.pending(), world.final_delivered_until().as_deref()), (vec![], Some("2026-11-21T10:20:01Z")));
    assert_eq!(world.fakes.actions("acme").last().map(String::as_str), Some("Final Delivery Completed"));
    world.tick("12:00").unwrap();
    assert_eq!(
        (world.files("acme-bucket"), world.exported_until("acme")),
        (final_file(), "2026-11-21T12:00:00Z".into())
    );
    assert!(!world.is_leased("acme"));
}

#[test]
fn a_place_gets_its_last_events_in_the_schema_of_its_files() {
    let world = World::with_acme_in_ocsf();
    world.event("acme", "2026-11-21T10:10:00.000Z", "before");
    world.move_to("native-bucket", clock("10:20"));
    world.tick("11:00").unwrap();
    assert_eq!(world.event_codes("acme"), [["-", "Export Settings Changed"]]);
    assert_eq!(world.files("native-bucket")[0].1, contents(&["before", "Export Settings Changed"]));
}

#[test]
fn a_stolen_token_cannot_disconnect_the_tenant_unseen() {
    let world = with_siem();
    world.leave(clock("10:20"));
    let report = world.tick("11:00").unwrap();
    assert_eq!((report.due, report.final_deliveries), (0, counts_of(1, 0, 0)));
    let expected = vec![(FILE.to_owned(), contents(&["before", "Connector Disconnected"]))];
    assert_eq!(world.files("acme-bucket"), expected);
    world.tick("12:00").unwrap();
    assert_eq!((world.files("acme-bucket"), world.exported_until("acme")), (expected, "2026-11-21T10:00:00Z".into()));
}

#[test]
fn a_role_of_another_account_cannot_take_the_place_of_the_first_one_unseen() {
    let world = with_siem();
    world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().bucket_owner =
        Some("222222222222".to_owned());
    let records = world.fakes.records(&id("acme")).now_or_never().unwrap().unwrap();
    let role = RoleArn::parse("arn:aws:iam::333333333333:role/evil").unwrap();
    let change = change(clock("10:20"));
    let connected =
        onboarding::connect(&world.fakes, &records, &id("acme"), &role, &platform(), &change).now_or_never();
    assert_eq!(connected.unwrap(), Ok(Conditional::Written));
    world.tick("11:00").unwrap();
    assert_eq!(world.files("acme-bucket")[0].1, contents(&["before", "Connector Changed"]));
}

/// Else the settings that are left would be the wrong ones, and nothing could be delivered by them.
#[test]
fn a_stolen_token_cannot_break_the_settings_before_it_points_the_export_elsewhere() {
    let wrong_region = Draft { region: Some("us-east-1".to_owned()), ..draft() };
    let key = "arn:aws:kms:eu-west-1:444444444444:key/1234abcd-12ab-34cd-56ef-1234567890ab".to_owned();
    let wrong_key = Draft { encryption: Some("sse-kms".to_owned()), kms_key_arn: Some(key), ..draft() };
    for wrong in [wrong_region, wrong_key] {
        let world = with_siem();
        world.change_settings(Draft { bucket: Some("acme-bucket".to_owned()), ..wrong }, clock("10:20"));
        world.move_to("evil-bucket", clock("10:25"));
        let right = world.pending().remove(0).config;
        assert_eq!((right.region, right.kms_key_arn), (draft().region, None), "the settings before the first change");
        world.tick("11:00").unwrap();
        assert!(world.files("acme-bucket").contains(&final_file()[0]), "{:?}", world.files("acme-bucket"));
    }
}

/// An admin corrects the name of a bucket.
#[test]
fn a_place_to_which_exports_failed_already_is_given_up_without_an_alarm() {
    let world = with_siem();
    world.fakes.state().buckets.remove("acme-bucket");
    world.tick("11:00").unwrap();
    world.move_to("siem-bucket", clock("11:20"));
    world.tick("12:00").unwrap();
    let tick = at("2026-11-22T13:00:00Z");
    let now = tick + TimeDelta::minutes(2);
    let report = world.run(tick, &move || now, &|| false).unwrap().unwrap();
    assert_eq!((world.pending(), report.final_deliveries), (vec![], counts_of(0, 0, 0)));
    assert!(world.fakes.actions("acme").contains(&"Final Delivery Failed".to_owned()));
    assert!(world.fakes.state().notifications.iter().all(|it| it.kind != Kind::FinalDeliveryFailed));
}

#[test]
fn other_changes_of_settings_leave_no_place() {
    let world = with_siem();
    let bucket = Some("acme-bucket".to_owned());
    let draft = Draft { bucket, format: Some("ndjson".to_owned()), frequency_hours: Some("2".to_owned()), ..draft() };
    world.change_settings(draft, clock("10:20"));
    assert_eq!((world.pending(), world.tick("11:00").unwrap().final_deliveries), (vec![], counts_of(0, 0, 0)));
}

#[test]
fn a_place_that_refuses_is_tried_at_every_tick_for_a_day_and_never_delays_a_window() {
    let world = diverted();
    let removed = world.fakes.state().buckets.remove("acme-bucket");
    for hour in 11..=34_u32 {
        let tick = at("2026-11-21T00:00:00Z") + TimeDelta::hours(hour.into());
        let now = tick + TimeDelta::minutes(2);
        let report = world.run(tick, &move || now, &|| false).unwrap().unwrap();
        assert_eq!((counts(&report), report.final_deliveries), ((1, 0, 0), counts_of(0, 1, 0)), "{hour}");
        assert!(!world.is_leased("acme"));
    }
    let tick = at("2026-11-22T11:00:00Z");
    let now = tick + TimeDelta::minutes(2);
    let report = world.run(tick, &move || now, &|| false).unwrap().unwrap();
    assert_eq!((counts(&report), report.final_deliveries), ((1, 0, 0), counts_of(0, 0, 1)));
    assert_eq!((world.pending(), world.final_delivered_until()), (vec![], None));
    let last = world.fakes.state().notifications.last().cloned().unwrap();
    assert_eq!(
        (last.kind, &last.info["code"], &last.info["bucket"]),
        (Kind::FinalDeliveryFailed, &"bucket_not_found".into(), &"acme-bucket".into())
    );
    assert_eq!(world.fakes.actions("acme").last().map(String::as_str), Some("Final Delivery Failed"));
    world.fakes.state().buckets.extend(removed.map(|bucket| ("acme-bucket".to_owned(), bucket)));
    world.tick("23:00").unwrap();
    assert_eq!(world.files("acme-bucket"), [], "given up");
}

#[test]
fn a_place_that_refuses_hides_no_later_change_from_another_place() {
    let world = with_siem();
    world.move_to("siem-bucket", clock("10:20"));
    world.fakes.state().buckets.remove("acme-bucket");
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T11:10:00.000Z", "later");
    world.move_to("evil-bucket", clock("11:20"));
    let report = world.tick("12:00").unwrap();
    assert_eq!((counts(&report), report.final_deliveries), ((1, 0, 0), counts_of(1, 1, 0)));
    let (name, events) = world.files("siem-bucket").pop().unwrap();
    assert_eq!(name, "20261121T110000Z_20261121T112001Z_final_0001.json");
    assert_eq!(events, contents(&["later", "Export Settings Changed"]));
    assert_eq!(world.pending().iter().map(|it| it.place.bucket.as_str()).collect::<Vec<_>>(), ["acme-bucket"]);
}

#[test]
fn a_flood_of_changes_does_not_hold_up_what_is_before_them() {
    let mut world = diverted();
    world.options.settle = TimeDelta::minutes(5);
    // Back and away again, so that the end of the delivery never settles before a tick.
    world.move_to("acme-bucket", clock("10:59"));
    world.move_to("evil-bucket", clock("11:01"));
    let report = world.tick("11:00").unwrap();
    assert_eq!(report.final_deliveries, counts_of(0, 0, 0));
    let now = clock("11:06");
    world.run(clock("11:00"), &move || now, &|| false).unwrap().unwrap();
    let delivered = world.files("acme-bucket");
    assert_eq!(delivered[0].0, "20261121T100000Z_20261121T110101Z_final_0001.json");
    assert_eq!(delivered[0].1.len(), 5, "{delivered:?}");

    world.move_to("acme-bucket", clock("11:30"));
    world.event("acme", "2026-11-21T11:40:00.000Z", "noon");
    world.move_to("evil-bucket", clock("12:01"));
    world.tick("12:00").unwrap();
    let now = clock("12:05");
    world.move_to("acme-bucket", clock("12:04"));
    world.move_to("evil-bucket", clock("12:05"));
    world.run(clock("12:00"), &move || now, &|| false).unwrap().unwrap();
    let names: Vec<_> = world.files("acme-bucket").into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"20261121T110000Z_20261121T120000Z_final_0001.json".to_owned()), "{names:?}");
    let rest = world.pending().remove(0);
    assert_eq!((rest.from, rest.until), (clock("12:00"), at("2026-11-21T12:05:01Z")));
}

#[test]
fn a_change_during_the_delivery_is_delivered_too() {
    for op in [Op::Page, Op::Open, Op::Finish, Op::WriteFinalDeliveries] {
        let world = diverted();
        world.move_to("acme-bucket", clock("10:40"));
        world.tick("11:00").unwrap();
        world.move_to("evil-bucket", clock("11:10"));
        let other = world.clone();
        let moves = move || {
            other.move_to("acme-bucket", clock("11:31"));
            other.move_to("evil-bucket", clock("11:32"));
        };
        world.fakes.once(op, None, Fault::After(Box::new(moves)));
        assert_eq!(world.check(clock("11:31")), counts_of(0, 0, 0), "{op:?}");
        assert_eq!(world.pending()[0].from, at("2026-11-21T11:10:01Z"), "{op:?}");
        let report = world.tick("12:00").unwrap();
        assert_eq!((report.final_deliveries.completed, world.pending()), (2, vec![]), "{op:?}: one of each place");
        let changes = world.files("acme-bucket").into_iter().flat_map(|(_, events)| events);
        assert!(changes.filter(|name| name == "Export Settings Changed").count() >= 5, "{op:?}");
    }
}

#[test]
fn the_hourly_check_and_batches_deliver_too() {
    let world = diverted();
    assert_eq!(world.check(clock("10:31")), counts_of(1, 0, 0));
    assert_eq!(world.files("acme-bucket"), final_file());
    assert_eq!(world.exported_until("acme"), "2026-11-21T10:00:00Z");

    let world = with_siem();
    world.leave(clock("10:20"));
    let now = clock("11:01");
    let enqueue = async |export: FakeExport, run: Run<'_>| export.enqueue_due(run, &world.fakes).await;
    let report = world.run_of(clock("11:00"), &move || now, &|| false, enqueue).unwrap().unwrap();
    assert_eq!((report.due, report.queued), (0, 0), "it is not due");
    let batches: Vec<Batch> = std::mem::take(&mut world.fakes.state().queue);
    let job = async |export: FakeExport, run: Run<'_>| export.export_batches(run, &batches, Some(&world.fakes)).await;
    let result = world.run_of(clock("11:00"), &move || now, &|| false, job).unwrap();
    assert_eq!((result.report.final_deliveries, result.failed), (counts_of(1, 0, 0), vec![]));
    assert_eq!(world.files("acme-bucket").len(), 1);
}

#[test]
fn after_a_crash_anywhere_the_same_file_is_stored() {
    let whole = diverted();
    whole.tick("11:00").unwrap();
    for op in [Op::Redeliveries, Op::AcquireLease, Op::Page, Op::Open, Op::Finish, Op::WriteFinalDeliveries, Op::Load] {
        let calls = whole.fakes.calls(op);
        for nth in 0..calls {
            for fault in [Fault::Crash, Fault::Fail(Failure::new(Code::Throttled, "Too much."))] {
                let world = diverted();
                (0..nth).for_each(|_| world.fakes.once(op, None, Fault::After(Box::new(|| {}))));
                world.fakes.once(op, None, fault);
                let _ = world.try_tick("11:00");
                let report = world.tick("12:00").unwrap();
                assert_eq!(counts(&report), (1, 0, 0), "{op:?} {nth}: windows come by the next tick");
                world.check(clock("12:31"));
                assert_eq!((world.files("acme-bucket"), world.pending()), (final_file(), vec![]), "{op:?} {nth}");
                let completed =
                    world.fakes.actions("acme").iter().filter(|it| *it == "Final Delivery Completed").count();
                assert_eq!(completed, 1, "{op:?} {nth}");
            }
        }
    }
}

#[test]
fn of_two_runs_at_once_one_delivers() {
    for op in [Op::Page, Op::Finish, Op::WriteFinalDeliveries] {
        let world = diverted();
        // The window first, so that the operation is one of the final delivery.
        world.fakes.state().tenants.get_mut("acme").unwrap().watermark.as_mut().unwrap().due_shard = None;
        let other = world.clone();
        let overlap = move || assert_eq!(other.check(clock("11:02")), counts_of(0, 0, 0), "{op:?}");
        world.fakes.once(op, None, Fault::After(Box::new(overlap)));
        assert_eq!(world.tick("11:00").unwrap().final_deliveries, counts_of(1, 0, 0), "{op:?}");
        assert_eq!((world.fakes.calls(Op::Finish), world.files("acme-bucket")), (1, final_file()), "{op:?}");
    }
}

#[test]
fn a_delivery_that_takes_longer_than_a_run_goes_on_where_it_stopped() {
    let long = || {
        let mut world = with_siem();
        world.options.max_object_bytes = 60;
        world.fakes.page_size = 3;
        (0..20).for_each(|n| world.event("acme", &format!("2026-11-21T10:11:{n:02}.000Z"), &format!("e{n:02}")));
        world.leave(clock("10:20"));
        world
    };
    let whole = long();
    whole.tick("11:00").unwrap();
    let (world, mut runs) = (long(), 0);
    while !world.pending().is_empty() {
        let (fakes, before) = (world.fakes.clone(), world.fakes.calls(Op::WriteFinalDeliveries));
        let stop = move || fakes.calls(Op::WriteFinalDeliveries) >= before + 2;
        let now = clock("11:02");
        world.run(clock("11:00"), &move || now, &stop).unwrap().unwrap();
        assert!(!world.is_leased("acme"));
        runs += 1;
        assert!(runs < 20, "no progress");
    }
    assert!(runs > 3, "{runs}");
    assert_eq!(world.files("acme-bucket"), whole.files("acme-bucket"));
    assert_eq!(world.fakes.calls(Op::Finish), whole.fakes.calls(Op::Finish), "no file is stored twice");
}

#[test]
fn after_a_request_in_doubt_no_other_reading_is_stored_for_a_while_and_windows_go_on() {
    let world = diverted();
    world.tick("11:00").unwrap();
    world.move_to("other-bucket", clock("11:10"));
    world.fakes.once(Op::Finish, None, Fault::Fail(Failure::new(Code::Unavailable, "no answer")));
    world.fakes.state().in_doubt = true;
    assert_eq!(world.check(clock("11:31")), counts_of(0, 1, 0));
    assert_eq!((world.pending()[0].retry_after, world.is_leased("acme")), (Some(clock("11:31") + LEASE_MARGIN), false));
    world.fakes.state().in_doubt = false;
    assert_eq!(world.check(clock("12:00")), counts_of(0, 0, 0), "too early");
    let report = world.tick("12:00").unwrap();
    assert_eq!((counts(&report), report.final_deliveries), ((1, 0, 0), counts_of(1, 0, 0)));
}

#[test]
fn a_delivery_does_not_begin_right_before_a_tick() {
    let world = diverted();
    assert_eq!(world.check(at("2026-11-21T10:59:35Z")), counts_of(0, 0, 0));
    assert!(!world.is_leased("acme"));
}

#[test]
fn late_arrivals_of_the_window_before_are_delivered_to_the_place_that_is_left() {
    let world = World::with_acme();
    world.event("acme", "2026-11-21T10:50:10.000Z", "in time");
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:50:20.000Z", "late");
    world.leave(clock("11:20"));
    world.tick("12:00").unwrap();
    let late = "20261121T105000Z_20261121T105100Z_final_late_0001.json".to_owned();
    assert!(
        world.files("acme-bucket").contains(&(late, contents(&["in time", "late"]))),
        "{:?}",
        world.files("acme-bucket")
    );
}

#[test]
fn a_final_delivery_after_the_retention_says_that_it_may_lack_events() {
    let mut world = diverted();
    world.options.retention = Some(TimeDelta::minutes(30));
    world.tick("11:00").unwrap();
    let [(_, events)] = &world.files("acme-bucket")[..] else { panic!("{:?}", world.files("acme-bucket")) };
    assert_eq!(events[0], "Audit Log Retention Exceeded");
}

#[test]
fn a_place_that_is_left_again_while_another_one_is_delivered_to_gets_that_change_too() {
    let world = with_siem();
    world.move_to("other-bucket", clock("10:20"));
    world.move_to("acme-bucket", clock("10:40"));
    world.leave(clock("10:50"));
    let other = world.clone();
    let again = move || {
        let records = other.fakes.records(&id("acme")).now_or_never().unwrap().unwrap();
        let after = records.final_deliveries.after_leaving(
            &id("acme"),
            &Draft { bucket: Some("other-bucket".to_owned()), ..draft() },
            records.watermark.as_ref().unwrap(),
            clock("10:55"),
        );
        other.fakes.state().tenants.get_mut("acme").unwrap().final_deliveries = after.unwrap();
    };
    world.fakes.once(Op::Finish, None, Fault::After(Box::new(again)));
    world.tick("11:00").unwrap();
    world.check(clock("11:31"));
    assert_eq!(world.pending(), []);
    let names: Vec<_> = world.files("other-bucket").into_iter().map(|(name, _)| name).collect();
    assert!(names.iter().any(|name| name.contains("_20261121T105501Z_final_")), "{names:?}");
}

#[test]
fn a_delivery_that_nobody_could_try_for_a_day_is_not_given_up_at_its_first_try() {
    let world = diverted();
    world.fakes.state().buckets.remove("acme-bucket");
    let run = |time: &str| {
        let now = at(time);
        let job = async |export: FakeExport, run: Run<'_>| export.deliver_pending_finals(run).await;
        world.run_of(now, &move || now, &|| false, job).unwrap().unwrap()
    };
    assert_eq!(run("2026-11-23T11:02:00Z"), counts_of(0, 1, 0));
    assert_eq!(world.pending()[0].refused_since, Some(at("2026-11-23T11:02:00Z")));
    assert_eq!(run("2026-11-24T11:01:00Z"), counts_of(0, 1, 0));
    assert_eq!(run("2026-11-24T11:02:00Z"), counts_of(0, 0, 1));
}

#[test]
fn a_rotation_that_is_completed_before_the_delivery_does_not_stop_it() {
    let world = diverted();
    world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().external_id =
        Some("rotated-external-id".to_owned());
    assert_eq!((world.check(clock("10:31")), world.files("acme-bucket")), (counts_of(1, 0, 0), final_file()));
    let opened = world.fakes.state().opened.clone().unwrap();
    assert_eq!((opened.bucket.as_str(), opened.external_id.as_str()), ("acme-bucket", "rotated-external-id"));
}

#[test]
fn a_place_that_cannot_be_read_counts_as_failed_and_hides_no_other() {
    let world = diverted();
    world.fakes.state().tenants.get_mut("acme").unwrap().final_deliveries.unreadable.push("{}".to_owned());
    assert_eq!(world.check(clock("10:31")), counts_of(1, 1, 0));
    assert_eq!((world.check(clock("11:31")), world.files("acme-bucket")), (counts_of(0, 1, 0), final_file()));
}

#[test]
fn a_lost_lease_is_counted() {
    let world = diverted();
    let other = world.clone();
    let release = move || other.fakes.state().tenants.get_mut("acme").unwrap().lease = None;
    world.fakes.once(Op::Finish, None, Fault::After(Box::new(release)));
    assert_eq!(world.check(clock("10:31")), FinalDeliveryCounts { lease_lost: 1, ..counts_of(0, 1, 0) });
}
