//! Replays: what an admin asks for is delivered again, complete and with the same bytes, and nothing else is touched.

use super::*;
use crate::{
    event::User,
    export::PendingReplays,
    fakes::{FakeObject, Fault, Op},
    lease::LEASE_MARGIN,
    manifest::{ManifestKey, text_sha256},
    notification::Kind,
    records::{Place, Progress, Refusal, Replay, ReplayState, StopCause},
    schedule::Window,
};
use std::collections::BTreeMap;

type Objects = BTreeMap<String, FakeObject>;

impl World {
    /// `acme` with a signing platform, an event in each of three exported hours from 10:00 on, and no request in doubt any more.
    fn exported() -> Self {
        let world = Self::with_acme();
        world.fakes.state().manifest_key = Some(ManifestKey { name: "key".to_owned(), public_key: b"public".to_vec() });
        for hour in ["10", "11", "12"] {
            world.event("acme", &format!("2026-11-21T{hour}:30:00.000Z"), &format!("at{hour}"));
        }
        for hour in ["11:00", "12:00", "13:00"] {
            world.tick(hour).unwrap();
        }
        world
    }

    fn bucket_of(&self, bucket: &str) -> Objects {
        self.fakes.state().buckets[bucket].clone()
    }

    /// Asks for a replay into the present destination.
    fn request(&self, from: &str, to: &str, at: DateTime<Utc>) {
        let mut state = self.fakes.state();
        let tenant = state.tenants.get_mut("acme").unwrap();
        let config = tenant.config.as_ref().unwrap().check(&id("acme"), &platform()).unwrap();
        let range = Window { from: clock(from), to: clock(to) };
        let by = User { id: "ada".to_owned(), name: None, email: None };
        let before = tenant.replay.take();
        let place = Place::of(&id("acme"), &Draft::from_config(&config, 0)).unwrap();
        tenant.replay = Some(Replay::new("r1".to_owned(), range, place, Progress::default(), by, at, before.as_ref()));
    }

    fn replay(&self) -> Replay {
        self.fakes.state().tenants["acme"].replay.clone().unwrap()
    }

    /// A tick whose clock stands at that time.
    fn tick_at(&self, time: &str) -> Report {
        let now = clock(time);
        self.run(crate::schedule::full_hour(now), &move || now, &|| false).unwrap().unwrap()
    }

    fn change_replay(&self, change: impl FnOnce(&mut Replay)) {
        let mut state = self.fakes.state();
        let replay = state.tenants.get_mut("acme").unwrap().replay.as_mut().unwrap();
        change(replay);
        replay.revision += 1;
    }

    fn watermark(&self) -> crate::records::StoredWatermark {
        self.fakes.state().tenants["acme"].watermark.clone().unwrap()
    }
}

fn state(world: &World) -> (ReplayState, u64, u64) {
    let replay = world.replay();
    (replay.state, replay.delivered.windows, replay.refused_count)
}

fn text_of(objects: &Objects, name: &str) -> String {
    let key = objects.keys().find(|key| key.ends_with(name)).unwrap_or_else(|| panic!("{name}: {:?}", objects.keys()));
    String::from_utf8(objects[key].bytes.clone()).unwrap()
}

#[test]
fn every_window_that_overlaps_the_range_is_delivered_again_with_the_same_bytes_and_nothing_else_changes() {
    let world = World::exported();
    let (before, watermark) = (world.bucket_of("acme-bucket"), world.watermark());
    let receipts = world.fakes.state().tenants["acme"].receipts.clone();
    // The customer has deleted all of it.
    world.fakes.state().buckets.insert("acme-bucket".to_owned(), Objects::new());
    world.request("10:59", "11:01", clock("13:10"));
    let report = world.tick_at("13:20");
    assert_eq!((report.replays.windows, report.replays.completed, report.replays.amended), (2, 1, 0));
    let after = world.bucket_of("acme-bucket");
    let expected: Objects = before
        .iter()
        .filter(|(key, _)| !key.contains("T120000Z_20261121T130000Z"))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    assert_eq!(after, expected, "two windows with their manifests");
    assert_eq!(world.watermark(), watermark);
    assert_eq!(world.fakes.state().tenants["acme"].receipts, receipts);
    assert_eq!(state(&world), (ReplayState::Completed, 2, 0));
    assert!(!world.is_leased("acme"));
    let kinds: Vec<Kind> = world.fakes.state().notifications.iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::ReplayCompleted]);
    assert_eq!(world.tick_at("13:30").replays, Default::default(), "it is done once");
}

#[test]
fn files_are_replaced_in_their_own_format_and_schema_whatever_the_settings_are_now() {
    let world = World::exported();
    let before = world.bucket_of("acme-bucket");
    let text = |text: &str| Some(text.to_owned());
    let changed = Draft { format: text("ndjson"), compression: text("gzip"), schema: text("ocsf"), ..draft() };
    world.save("acme", &Draft { bucket: text("acme-bucket"), ..changed }, clock("13:05"));
    world.request("10:00", "13:00", clock("13:10"));
    assert_eq!(world.tick_at("13:20").replays.windows, 3);
    assert_eq!(world.bucket_of("acme-bucket"), before);
}

#[test]
fn a_window_with_a_late_event_gets_it_and_a_manifest_that_amends_the_exports() {
    let world = World::exported();
    let original = text_of(&world.bucket_of("acme-bucket"), "T100000Z_20261121T110000Z.manifest");
    world.event("acme", "2026-11-21T10:40:00.000Z", "late");
    world.tick("14:00").unwrap();
    for (round, amended) in [("14:10", 1), ("14:40", 0)] {
        world.request("10:00", "11:00", clock(round));
        let report = world.tick_at(round);
        assert_eq!((report.replays.windows, report.replays.amended), (1, amended), "{round}");
        let objects = world.bucket_of("acme-bucket");
        let file = text_of(&objects, "T110000Z_0001.json");
        assert_eq!(file, "[\n{\"n\":\"at10\"},\n{\"n\":\"late\"}\n]\n");
        assert_eq!(text_of(&objects, "T100000Z_20261121T110000Z.manifest"), original, "the chain stays");
        let amended = text_of(&objects, ".amended-1.manifest");
        let chain = original.split_once("\n\n").unwrap().0.to_owned() + "\n";
        assert!(amended.contains(&format!("previous none\namends {} late-events\n", text_sha256(&chain))), "{amended}");
        assert!(
            amended.contains(&crate::object::sha256(file.as_bytes()))
                && !objects.keys().any(|key| key.contains("amended-2"))
        );
    }
    let amended: Vec<_> = world.fakes.actions("acme").into_iter().filter(|it| it == "Manifest Amended").collect();
    assert_eq!(amended.len(), 1);
    world.event("acme", "2026-11-21T10:41:00.000Z", "later");
    world.request("10:00", "11:00", clock("14:50"));
    world.tick_at("15:10");
    assert!(world.bucket_of("acme-bucket").keys().any(|key| key.ends_with(".amended-2.manifest")));
}

#[test]
fn late_files_stay_as_they_are_in_the_place_and_are_not_needed_elsewhere() {
    let world = World::exported();
    world.event("acme", "2026-11-21T12:50:00.000Z", "late");
    world.tick("14:00").unwrap();
    let late = "20261121T125000Z_20261121T125100Z_late_0001.json";
    let before = world.bucket_of("acme-bucket");
    assert!(before.keys().any(|key| key.ends_with(late)));
    world.request("12:00", "14:00", clock("14:10"));
    let report = world.tick_at("14:40");
    assert_eq!((report.replays.windows, report.replays.amended), (2, 1), "the late window's own list is unchanged");
    let mut changed = world.bucket_of("acme-bucket");
    changed.retain(|key, object| before.get(key) != Some(object));
    let names: Vec<_> = changed.keys().map(|key| key.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        ["20261121T120000Z_20261121T130000Z.amended-1.manifest", "20261121T120000Z_20261121T130000Z_0001.json",]
    );

    world.move_to("elsewhere", clock("14:45"));
    world.tick("15:00").unwrap();
    world.request("10:00", "14:00", clock("15:10"));
    assert_eq!(world.tick_at("15:20").replays.windows, 4);
    let objects = world.bucket_of("elsewhere");
    assert!(!objects.keys().any(|key| key.contains("_late_")));
    for hour in ["T100000Z_20261121T110000Z", "T110000Z_20261121T120000Z"] {
        let same = |name: &str| text_of(&objects, name) == text_of(&world.bucket_of("acme-bucket"), name);
        assert!(same(&format!("{hour}_0001.json")) && same(&format!("{hour}.manifest")), "{hour}");
    }
    let text = text_of(&objects, "T130000Z_20261121T140000Z.amended-1.manifest");
    assert!(text.contains("late 0") && text.contains(" other-files\n"), "{text}");
}

#[test]
fn a_place_that_was_left_hears_of_that_before_its_windows_go_elsewhere() {
    let world = World::exported();
    world.move_to("elsewhere", clock("13:30"));
    world.request("10:00", "13:00", clock("13:31"));
    world.fakes.always(Op::WriteFinalDeliveries, None, Failure::new(crate::failure::Code::Throttled, "Busy."));
    assert_eq!(world.tick_at("13:40").replays, Default::default());
    assert!(world.bucket_of("elsewhere").is_empty());
    world.fakes.heal();
    assert_eq!(world.tick_at("13:50").replays.windows, 3);
}

#[test]
fn due_windows_go_first_also_by_the_clock_of_a_run_for_an_earlier_hour() {
    let world = World::exported();
    world.request("10:00", "13:00", clock("13:10"));
    let now = clock("14:00") + TimeDelta::seconds(20);
    let report = world.run(clock("13:00"), &move || now, &|| false).unwrap().unwrap();
    assert_eq!(report.replays, Default::default());
    assert!(!world.is_leased("acme"), "the tick must find no lease");
    assert_eq!(world.tick_at("14:02").replays.windows, 3);
    assert_eq!(world.exported_until("acme"), "2026-11-21T14:00:00Z");
}

#[test]
fn it_stops_when_asked_when_disconnected_and_when_the_destination_changes() {
    type Act = fn(&World);
    let stops: [(Act, StopCause); 3] = [
        (|world| world.change_replay(|replay| replay.stop_requested = true), StopCause::Requested),
        (|world| world.disconnect("acme"), StopCause::Disconnected),
        (|world| world.move_to("elsewhere", clock("13:30")), StopCause::DestinationChanged),
    ];
    for (stop, cause) in stops {
        let world = World::exported();
        world.request("10:00", "13:00", clock("13:10"));
        let before = world.bucket_of("acme-bucket").len();
        stop(&world);
        let report = world.tick_at("13:40");
        assert_eq!((report.replays.stopped, report.replays.windows), (1, 0), "{cause:?}");
        assert_eq!((world.replay().state, world.replay().stopped), (ReplayState::Stopped, Some(cause)));
        assert!(world.fakes.actions("acme").contains(&"Export Replay Stopped".to_owned()));
        assert!(world.bucket_of("acme-bucket").len() >= before && !world.is_leased("acme"));
    }
}

#[test]
fn a_request_to_stop_is_found_between_two_windows() {
    let world = World::exported();
    world.request("10:00", "13:00", clock("13:10"));
    let stopping = world.clone();
    let stop = move || stopping.change_replay(|replay| replay.stop_requested = true);
    world.fakes.once(Op::Page, Some("acme"), Fault::After(Box::new(stop)));
    let report = world.tick_at("13:20");
    assert_eq!((report.replays.windows, report.replays.stopped), (1, 1), "the window in progress is ended");
}

#[test]
fn files_in_the_place_are_never_replaced_by_incomplete_ones() {
    let mut world = World::exported();
    world.options.retention = Some(TimeDelta::minutes(210));
    let before = world.bucket_of("acme-bucket");
    world.request("10:00", "13:00", clock("13:10"));
    let report = world.tick_at("13:30");
    assert_eq!((report.replays.refused, report.replays.windows), (1, 2), "the first window's events have expired");
    assert_eq!(world.replay().refused[0].reason, Refusal::EventsExpired);
    assert_eq!(world.bucket_of("acme-bucket"), before);

    // An event is gone although it is younger than that.
    world.options.retention = None;
    world.fakes.state().events.get_mut(&("acme".to_owned(), 0)).unwrap().retain(|id, _| !id.contains("at11"));
    world.request("11:00", "12:00", clock("13:40"));
    assert_eq!(world.tick_at("13:41").replays.refused, 1);
    assert_eq!(world.bucket_of("acme-bucket"), before);
}

#[test]
fn elsewhere_a_window_whose_events_have_expired_says_so() {
    let mut world = World::exported();
    world.move_to("elsewhere", clock("13:20"));
    world.tick_at("13:30");
    world.options.retention = Some(TimeDelta::hours(3));
    world.fakes.state().events.get_mut(&("acme".to_owned(), 0)).unwrap().retain(|id, _| !id.contains("at10"));
    world.request("10:00", "12:00", clock("13:40"));
    assert_eq!(world.tick_at("13:41").replays.windows, 2);
    let objects = world.bucket_of("elsewhere");
    let text = text_of(&objects, "T100000Z_20261121T110000Z.amended-1.manifest");
    assert!(text.contains("gap yes") && text.contains(" events-expired\n"), "{text}");
    assert!(text_of(&objects, "T110000Z_0001.json").contains("Audit Log Retention Exceeded"));
    // They are there now, so they are complete as far as they can be.
    world.request("10:00", "11:00", clock("13:50"));
    assert_eq!(world.tick_at("13:51").replays.refused, 1);
}

/// An hour of ten events in files of three.
fn with_files() -> World {
    let mut world = World::with_acme();
    world.fakes.state().manifest_key = Some(ManifestKey { name: "key".to_owned(), public_key: b"public".to_vec() });
    world.options.max_object_bytes = 40;
    for n in 0..10 {
        world.event("acme", &format!("2026-11-21T10:{:02}:00.000Z", 2 * n), &format!("e{n}"));
    }
    world.tick("11:00").unwrap();
    assert!(world.objects("acme").len() > 4);
    world
}

fn events_in(world: &World) -> Vec<String> {
    let mut names: Vec<String> = world.fakes.state().buckets["acme-bucket"]
        .iter()
        .filter(|(key, _)| key.ends_with(".json"))
        .flat_map(|(_, object)| serde_json::from_slice::<Vec<serde_json::Value>>(&object.bytes).unwrap())
        .map(|event| event["n"].as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn a_run_that_is_cut_off_anywhere_leaves_every_event_in_the_bucket_once_and_the_next_run_ends_it() {
    let all: Vec<String> = (0..10).map(|n| format!("e{n}")).collect();
    let whole = {
        let world = with_files();
        world.event("acme", "2026-11-21T10:05:00.000Z", "late");
        world.options_limit(1 << 20).request("10:00", "11:00", clock("11:10"));
        world.options_limit(1 << 20).tick_at("11:40");
        world.bucket_of("acme-bucket")
    };
    let ops =
        [Op::AcquireLease, Op::Load, Op::ReceiptsAfter, Op::Page, Op::Open, Op::Finish, Op::Sign, Op::WriteReplay];
    for op in ops {
        for nth in 0..12 {
            let world = with_files();
            world.event("acme", "2026-11-21T10:05:00.000Z", "late");
            // A limit that was changed meanwhile doesn't matter: files keep their ranges.
            let world = world.options_limit(1 << 20);
            world.request("10:00", "11:00", clock("11:10"));
            (0..nth).for_each(|_| world.fakes.once(op, None, Fault::After(Box::new(|| {}))));
            world.fakes.once(op, None, Fault::Crash);
            let now = clock("11:40");
            let ended = world.run(clock("11:00"), &move || now, &|| false);
            let names: Vec<String> = events_in(&world).into_iter().filter(|name| name != "late").collect();
            assert_eq!(names, all, "{op:?} {nth}: at any time");
            world.fakes.heal();
            if ended.is_none() {
                world.expire_lease_if_any();
                world.tick_at("11:45");
            }
            assert_eq!(world.replay().state, ReplayState::Completed, "{op:?} {nth}");
            assert_eq!(world.bucket_of("acme-bucket"), whole, "{op:?} {nth}");
        }
    }
}

/// An hour of ten events in files of three, exported by two runs. Between them, events of another shard became visible that belong
/// into the first file.
fn resumed_with_late(late: &[&str]) -> World {
    let mut world = World::new();
    world.fakes.state().buckets.entry("acme-bucket".to_owned()).or_default();
    let (bucket, one) = (Some("acme-bucket".to_owned()), Some("1".to_owned()));
    let event_shards = Some("2".to_owned());
    world.save("acme", &Draft { bucket, frequency_hours: one, event_shards, ..draft() }, clock("10:00"));
    world.fakes.state().manifest_key = Some(ManifestKey { name: "key".to_owned(), public_key: b"public".to_vec() });
    world.options.max_object_bytes = 40;
    for n in 0..10 {
        world.event("acme", &format!("2026-11-21T10:{:02}:00.000Z", 2 * n), &format!("e{n}"));
    }
    let (fakes, now) = (world.fakes.clone(), clock("11:02"));
    let report = world.run(clock("11:00"), &move || now, &move || fakes.calls(Op::SaveCheckpoint) > 0);
    assert_eq!(counts(&report.unwrap().unwrap()), (0, 0, 1));
    for (n, name) in late.iter().enumerate() {
        world.event_in_shard("acme", 1, &format!("2026-11-21T10:01:{n:02}.000Z"), name);
    }
    world.tick("11:00").unwrap();
    world
}

#[test]
fn an_event_that_a_resumed_export_put_behind_later_ones_moves_to_its_place_and_is_always_in_the_bucket() {
    let text = |world: &World, file: u32| text_of(&world.bucket_of("acme-bucket"), &format!("_{file:04}.json"));
    let mut all: Vec<String> = (0..10).map(|n| format!("e{n}")).collect();
    all.push("l0".to_owned());
    for op in [Op::Page, Op::Finish, Op::Sign, Op::WriteReplay] {
        for nth in 0..6 {
            let world = resumed_with_late(&["l0"]);
            assert!(text(&world, 2).contains("l0"));
            let files = world.bucket_of("acme-bucket").len();
            world.request("10:00", "11:00", clock("11:10"));
            (0..nth).for_each(|_| world.fakes.once(op, None, Fault::After(Box::new(|| {}))));
            world.fakes.once(op, None, Fault::Crash);
            let now = clock("11:40");
            let ended = world.run(clock("11:00"), &move || now, &|| false);
            let mut names = events_in(&world);
            names.dedup();
            assert_eq!(names, all, "{op:?} {nth}: at any time");
            world.fakes.heal();
            if ended.is_none() {
                world.expire_lease_if_any();
                world.tick_at("11:45");
            }
            assert_eq!(state(&world), (ReplayState::Completed, 1, 0), "{op:?} {nth}");
            assert_eq!(events_in(&world), all, "{op:?} {nth}: once");
            assert!(text(&world, 1).contains("l0"));
            assert_eq!(world.bucket_of("acme-bucket").len(), files + 1, "and an amended manifest");
        }
    }
}

#[test]
fn a_window_with_a_file_that_would_be_empty_in_order_is_left_as_it_is() {
    let world = resumed_with_late(&["l0", "l1", "l2"]);
    let before = world.bucket_of("acme-bucket");
    assert!(text_of(&before, "_0002.json").starts_with("[\n{\"n\":\"l0\"},\n{\"n\":\"l1\"},\n{\"n\":\"l2\"}\n]"));
    world.request("10:00", "11:00", clock("11:10"));
    assert_eq!(world.tick_at("11:40").replays.refused, 1);
    assert_eq!(world.replay().refused[0].reason, Refusal::TooManyFiles);
    assert_eq!(world.bucket_of("acme-bucket"), before);
}

impl World {
    fn options_limit(&self, max_object_bytes: u64) -> Self {
        let mut world = self.clone();
        world.options.max_object_bytes = max_object_bytes;
        world
    }

    fn expire_lease_if_any(&self) {
        if let Some(lease) = &mut self.fakes.state().tenants.get_mut("acme").unwrap().lease {
            lease.until = clock("00:00");
        }
    }
}

#[test]
fn a_window_longer_than_a_run_goes_on_where_the_run_stopped() {
    let world = with_files();
    let before = world.bucket_of("acme-bucket");
    world.request("10:00", "11:00", clock("11:10"));
    let (fakes, began, now) = (world.fakes.clone(), world.fakes.calls(Op::WriteReplay), clock("11:20"));
    let report = world.run(clock("11:00"), &move || now, &move || fakes.calls(Op::WriteReplay) >= began + 2);
    assert_eq!(report.unwrap().unwrap().replays.unfinished, ["acme"]);
    assert!(world.replay().checkpoint.is_some() && !world.is_leased("acme"));
    let stored = world.fakes.state().stored.len();
    world.tick_at("11:30");
    assert_eq!(world.replay().state, ReplayState::Completed);
    assert!(world.fakes.state().stored.len() - stored < before.len(), "it didn't begin again");
    assert_eq!(world.bucket_of("acme-bucket"), before);
}

#[test]
fn a_request_that_may_still_be_carried_out_keeps_other_readings_away_but_not_due_windows() {
    let world = World::exported();
    world.request("10:00", "11:00", clock("13:10"));
    world.fakes.state().in_doubt = true;
    world.fakes.once(
        Op::Finish,
        Some("acme"),
        Fault::Fail(Failure::new(crate::failure::Code::Unavailable, "S3 failed.")),
    );
    assert_eq!(world.tick_at("13:20").replays.failed, 1);
    world.fakes.state().in_doubt = false;
    assert!(!world.is_leased("acme"));
    assert_eq!(world.replay().retry_after, Some(clock("13:20") + LEASE_MARGIN));
    assert_eq!(world.tick_at("13:40").replays, Default::default());
    assert_eq!(world.tick_at("13:51").replays.windows, 1);

    // An event that came late must not be overwritten by the export's own last request.
    world.tick("14:00").unwrap();
    world.event("acme", "2026-11-21T13:10:00.000Z", "late");
    world.request("13:00", "14:00", clock("14:05"));
    assert_eq!(world.tick_at("14:10").replays, Default::default());
    assert_eq!(world.tick_at("14:40").replays.amended, 1);
}

#[test]
fn a_refusal_is_tried_for_a_day_and_then_the_replay_has_failed() {
    let world = World::exported();
    world.request("10:00", "13:00", clock("13:10"));
    world.fakes.always(Op::Open, None, Failure::new(crate::failure::Code::AssumeRoleDenied, "Denied."));
    let mut last = None;
    for hour in 0..26 {
        let now = clock("13:20") + TimeDelta::hours(hour);
        // The exports fail, too, and would go first.
        world.fakes.state().tenants.get_mut("acme").unwrap().watermark.as_mut().unwrap().next_due =
            Some("2026-11-29T00:00:00Z".to_owned());
        let report = world.run(crate::schedule::full_hour(now), &move || now, &|| false).unwrap().unwrap();
        if report.replays.given_up > 0 {
            last = Some(hour);
        }
    }
    assert_eq!(last, Some(24));
    let replay = world.replay();
    assert_eq!((replay.state, replay.last_error.unwrap().code.as_str()), (ReplayState::Failed, "assume_role_denied"));
    assert!(world.fakes.actions("acme").contains(&"Export Replay Failed".to_owned()));
}

#[test]
fn a_signature_that_fails_leaves_the_window_to_a_later_run() {
    let world = World::exported();
    let before = world.bucket_of("acme-bucket");
    world.request("10:00", "11:00", clock("13:10"));
    world.fakes.always(Op::Sign, None, Failure::new(crate::failure::Code::SigningFailed, "KMS did not sign."));
    let report = world.tick_at("13:20");
    assert_eq!((report.replays.failed, report.replays.signing_failed), (1, 1));
    world.fakes.heal();
    // Without any key, what is there stays.
    world.fakes.state().manifest_key = None;
    assert_eq!(world.tick_at("13:30").replays.windows, 1);
    assert_eq!(world.bucket_of("acme-bucket"), before);
}

#[test]
fn a_lost_answer_counts_no_window_twice() {
    let world = World::exported();
    world.request("10:00", "13:00", clock("13:10"));
    let lost = world.clone();
    let fail = move || {
        lost.fakes.once(
            Op::WriteReplay,
            None,
            Fault::Fail(Failure::new(crate::failure::Code::Unavailable, "No answer.")),
        );
    };
    world.fakes.once(Op::ReceiptsAfter, None, Fault::After(Box::new(fail)));
    world.tick_at("13:20");
    world.tick_at("13:30");
    assert_eq!(state(&world), (ReplayState::Completed, 3, 0));
}

#[test]
fn the_hourly_check_goes_on_with_replays_by_the_queue_or_itself_and_counts_those_without_progress() {
    let world = World::exported();
    let check = |time: &str, has_queue: bool| {
        let (now, queue) = (clock(time), has_queue.then_some(&world.fakes));
        let job = async |export: FakeExport, run: Run<'_>| export.replay_pending(run, queue).await;
        world.run_of(crate::schedule::full_hour(now), &move || now, &|| false, job).unwrap().unwrap()
    };
    assert_eq!(check("13:31", true), PendingReplays::default());
    world.request("10:00", "13:00", clock("13:10"));
    let sent = check("13:31", true);
    assert_eq!((sent.running, sent.stalled, sent.counts.windows), (1, 0, 0));
    let sent: Vec<_> = std::mem::take(&mut world.fakes.state().queue);
    assert_eq!((sent.len(), sent[0].tenants.as_slice()), (1, ["acme".to_owned()].as_slice()));
    world.change_replay(|replay| replay.progressed_at = clock("07:31"));
    let done = check("13:31", false);
    assert_eq!((done.running, done.stalled, done.counts.windows, done.counts.completed), (1, 1, 3, 1));
    assert_eq!(world.fakes.state().queue.len(), 0);
    assert_eq!(check("13:32", false).running, 0);
}

#[test]
fn a_lost_answer_to_the_end_of_a_replay_changes_no_end() {
    let world = World::exported();
    world.request("09:00", "09:30", clock("13:10"));
    let lost = world.clone();
    let end = move || {
        lost.change_replay(|replay| *replay = replay.ended(ReplayState::Completed, None, clock("13:20")));
        let failure = Failure::new(crate::failure::Code::Unavailable, "No answer.");
        lost.fakes.once(Op::WriteReplay, None, Fault::Fail(failure));
    };
    world.fakes.once(Op::ReceiptsAfter, None, Fault::After(Box::new(end)));
    world.tick_at("13:20");
    let replay = world.replay();
    assert_eq!((replay.state, replay.last_error, replay.failing_since), (ReplayState::Completed, None, None));
}

#[test]
fn without_a_key_the_signed_manifest_of_the_export_stays_beside_the_amended_one() {
    let world = World::exported();
    let name = "T100000Z_20261121T110000Z.manifest";
    let signed = text_of(&world.bucket_of("acme-bucket"), name);
    world.event("acme", "2026-11-21T10:40:00.000Z", "late");
    world.fakes.state().manifest_key = None;
    world.request("10:00", "11:00", clock("13:10"));
    assert_eq!(world.tick_at("13:50").replays.amended, 1);
    let objects = world.bucket_of("acme-bucket");
    assert_eq!(text_of(&objects, name), signed);
    assert!(signed.contains("\u{2014} ") && !text_of(&objects, ".amended-1.manifest").contains('\u{2014}'));
}

#[test]
fn a_window_with_a_file_that_its_manifest_does_not_list_is_ended_before_a_replay_stops() {
    let world = World::exported();
    world.event("acme", "2026-11-21T10:40:00.000Z", "late");
    world.request("10:00", "13:00", clock("13:10"));
    let failure = Failure::new(crate::failure::Code::SigningFailed, "KMS did not sign.");
    world.fakes.once(Op::Sign, None, Fault::Fail(failure));
    assert_eq!(world.tick_at("13:45").replays.failed, 1);
    world.change_replay(|replay| replay.stop_requested = true);
    let report = world.tick_at("13:50");
    assert_eq!((report.replays.windows, report.replays.amended, report.replays.stopped), (1, 1, 1));
}

#[test]
fn a_window_that_expires_soon_is_not_begun() {
    let mut world = World::exported();
    world.options.retention = Some(TimeDelta::minutes(230));
    world.event("acme", "2026-11-21T10:40:00.000Z", "late");
    let before = world.bucket_of("acme-bucket");
    world.request("10:00", "11:00", clock("13:10"));
    assert_eq!(world.tick_at("13:31").replays.refused, 1);
    assert_eq!(world.bucket_of("acme-bucket"), before);
}
