use futures::FutureExt as _;

use super::*;
use crate::{
    fakes::Fakes,
    late_arrivals::TrailingCounts,
    onboarding::tests::{at, change_at},
    records::{Receipt, ReplayState, StoredManifest, StoredObject, StoredWatermark},
    schedule::Schedule,
    settings::tests::{draft, platform},
};

const NOW: &str = "2026-11-21T12:10:00Z";

/// `acme`, exported until noon, with receipts of these hours before, each of three events.
struct World {
    fakes: Fakes,
    retention: Option<TimeDelta>,
}

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn window(from: &str) -> Window {
    let from = at(&format!("2026-11-{from}:00:00Z"));
    Window { from, to: from + TimeDelta::hours(1) }
}

fn here() -> Location {
    Location::of(&draft().check(&acme(), &platform()).unwrap())
}

fn elsewhere() -> Location {
    Location { bucket: "former".to_owned(), folder: "audit-logs/tenant=acme/".to_owned() }
}

fn receipt(window: Window, location: Location) -> Receipt {
    let object = StoredObject {
        key: format!("{window}.json"),
        bytes: 100,
        events: 3,
        sha256: "a".repeat(64),
        late: None,
        last_event: None,
    };
    Receipt { objects: vec![object], ..Receipt::empty(window, location, TrailingCounts::new(window)) }
}

impl World {
    fn new() -> Self {
        let world = Self { fakes: Fakes::default(), retention: Some(TimeDelta::days(90)) };
        let schedule = Schedule { exported_until: at("2026-11-21T12:00:00Z"), next_due: at("2026-11-21T13:00:00Z") };
        {
            let mut state = world.fakes.state();
            let tenant = state.tenants.entry("acme".to_owned()).or_default();
            tenant.config = Some(draft());
            tenant.watermark = Some(StoredWatermark::connected(&acme(), schedule));
        }
        for from in ["21T08", "21T09", "21T10", "21T11"] {
            world.export(receipt(window(from), here()));
        }
        world
    }

    fn export(&self, receipt: Receipt) {
        let mut state = self.fakes.state();
        state.tenants.get_mut("acme").unwrap().receipts.insert(receipt.window.to, receipt);
    }

    fn replayed(&self, receipt: Receipt) {
        let mut state = self.fakes.state();
        let key = (receipt.window.to, receipt.location.hash());
        state.tenants.get_mut("acme").unwrap().replayed.insert(key, receipt);
    }

    fn records(&self) -> TenantRecords {
        self.fakes.records(&acme()).now_or_never().unwrap().unwrap()
    }

    fn preview(&self, from: &str, to: &str) -> Result<Preview, Unreplayable> {
        let range = Window { from: at(&format!("2026-11-{from}:00Z")), to: at(&format!("2026-11-{to}:00Z")) };
        let (records, tenant, platform) = (self.records(), acme(), platform());
        let plan = preview(&self.fakes, &records, &tenant, range, &platform, self.retention, at(NOW));
        plan.now_or_never().unwrap().unwrap()
    }

    fn request(&self, preview: &Preview, now: &str) -> Option<Replay> {
        let change = change_at(at(now));
        request(&self.fakes, &self.records(), &acme(), preview, &change).now_or_never().unwrap().unwrap()
    }

    fn stop(&self, as_read: &TenantRecords) -> StopRequest {
        request_stop(&self.fakes, as_read, &acme(), &User::system()).now_or_never().unwrap().unwrap()
    }
}

fn counts(preview: &Preview) -> (u64, u64, u64) {
    let Progress { windows, events, bytes } = preview.planned;
    (windows, events, bytes)
}

#[test]
fn a_preview_counts_each_window_that_overlaps_the_range_up_to_what_is_exported() {
    let world = World::new();
    for (from, to, expected) in [
        ("21T09:00", "21T11:00", (2, 6, 200)),
        ("21T08:59", "21T11:01", (4, 12, 400)),
        ("21T09:30", "21T09:31", (1, 3, 100)),
        ("20T00:00", "28T00:00", (4, 12, 400)),
        ("21T11:59", "21T12:30", (1, 3, 100)),
    ] {
        let preview = world.preview(from, to).unwrap();
        assert_eq!((counts(&preview), preview.is_complete), (expected, true), "{from} {to}");
        assert!(preview.range.to <= at("2026-11-21T12:00:00Z"));
        assert_eq!((preview.location, preview.elsewhere, preview.incomplete), (here(), 0, 0));
    }
}

#[test]
fn a_range_without_a_window_to_deliver_says_why() {
    let mut world = World::new();
    assert_eq!(world.preview("21T11:00", "21T11:00"), Err(Unreplayable::EmptyRange));
    let exported_until = at("2026-11-21T12:00:00Z");
    assert_eq!(world.preview("21T12:00", "21T13:00"), Err(Unreplayable::NotExported { exported_until }));
    assert_eq!(world.preview("19T00:00", "20T00:00"), Err(Unreplayable::NoWindows));
    world.retention = Some(TimeDelta::hours(3));
    let kept_since = at("2026-11-21T09:11:00Z");
    // An eighth of the retention to end, and a run.
    let earliest_start = at("2026-11-21T09:48:30Z");
    assert_eq!(world.preview("21T08:00", "21T09:00"), Err(Unreplayable::Expired { kept_since, earliest_start }));
    let Err(Unreplayable::AllRefused(preview)) = world.preview("21T09:00", "21T10:00") else { panic!("delivered") };
    assert_eq!((preview.expired, preview.kept_since), (1, Some(kept_since)), "the files here are the complete ones");
    assert_eq!(preview.earliest_start, Some(earliest_start));
    assert_eq!(counts(&world.preview("21T10:00", "21T11:00").unwrap()).0, 1, "it begins after that");
    world.fakes.state().tenants.get_mut("acme").unwrap().watermark.as_mut().unwrap().due_shard = None;
    assert_eq!(world.preview("21T09:00", "21T10:00"), Err(Unreplayable::NotConnected));
    world.fakes.state().tenants.get_mut("acme").unwrap().watermark = None;
    assert_eq!(world.preview("21T09:00", "21T10:00"), Err(Unreplayable::NotConnected));
}

#[test]
fn windows_go_to_another_place_even_if_events_have_expired_and_are_never_overwritten_by_less() {
    let mut world = World::new();
    world.retention = Some(TimeDelta::hours(3));
    world.export(receipt(window("21T08"), elsewhere()));
    world.export(receipt(window("21T10"), elsewhere()));
    let all = world.preview("21T08:00", "21T12:00").unwrap();
    assert_eq!((counts(&all).0, all.elsewhere, all.incomplete, all.expired), (3, 2, 1, 1));
    // Once a window was replayed into this place, its files there count.
    world.replayed(receipt(window("21T08"), here()));
    world.replayed(Receipt { gap: true, ..receipt(window("21T10"), here()) });
    world.replayed(receipt(window("21T11"), elsewhere()));
    let all = world.preview("21T08:00", "21T12:00").unwrap();
    assert_eq!((counts(&all).0, all.elsewhere, all.incomplete, all.expired), (1, 0, 0, 3));
}

#[test]
fn a_window_with_more_files_than_its_receipt_lists_can_not_be_compared() {
    let with_manifest = |receipt: Receipt| {
        let state = crate::records::ManifestState::Signed;
        let manifest =
            StoredManifest { key: "m".to_owned(), sha256: "b".repeat(64), state, previous: None, amended: None };
        StoredReceipt {
            object_count: 501,
            ..StoredReceipt::from_receipt(&Receipt { manifest: Some(manifest), ..receipt })
        }
    };
    let cut = with_manifest(receipt(window("21T10"), elsewhere()));
    assert_eq!(
        Refusal::of(&cut, None, false),
        Some(Refusal::TooManyFiles),
        "its manifest lists files that nobody knows"
    );
    let unsigned = StoredReceipt { receipt: Receipt { manifest: None, ..cut.receipt.clone() }, ..cut.clone() };
    assert_eq!(Refusal::of(&unsigned, None, true), None);
    assert_eq!(Refusal::of(&unsigned, Some(&unsigned), true), Some(Refusal::TooManyFiles));
    let whole = StoredReceipt::from_receipt(&receipt(window("21T10"), here()));
    assert_eq!(Refusal::of(&whole, Some(&whole), false), None);
    assert_eq!(Refusal::of(&whole, Some(&whole), true), Some(Refusal::EventsExpired));
}

#[test]
fn a_preview_ends_at_the_receipt_with_which_it_has_read_enough() {
    let world = World::new();
    let from = at("2026-11-18T00:00:00Z");
    for hour in 0..60 {
        let window = Window { from: from + TimeDelta::hours(hour), to: from + TimeDelta::hours(hour + 1) };
        let one = receipt(window, here());
        world.export(Receipt { objects: vec![one.objects[0].clone(); 500], ..one });
    }
    let preview = world.preview("18T00:00", "20T12:00").unwrap();
    assert_eq!((preview.planned.windows, preview.is_complete), (40, false), "of 500 objects each");
    let preview = world.preview("18T20:00", "20T12:00").unwrap();
    assert_eq!((preview.planned.windows, preview.is_complete), (40, true), "no more overlap the range");
}

#[test]
fn one_replay_runs_at_a_time_and_the_next_one_follows_its_end() {
    let world = World::new();
    let preview = world.preview("21T09:00", "21T11:00").unwrap();
    let first = world.request(&preview, NOW).unwrap();
    assert_eq!((first.revision, first.state, first.next), (1, ReplayState::Running, preview.range.from));
    assert_eq!((first.planned.windows, first.requested_by.id.as_str()), (2, "u-17"));
    assert_eq!(world.records().replay, Some(first.clone()));
    assert_eq!(world.fakes.actions("acme"), ["Export Replay Requested"]);
    assert_eq!(world.request(&preview, NOW), None, "one is running");
    let ended = Replay { revision: 2, ..first.ended(ReplayState::Completed, None, at(NOW)) };
    world.fakes.state().tenants.get_mut("acme").unwrap().replay = Some(ended);
    let second = world.request(&preview, "2026-11-21T12:20:00Z").unwrap();
    assert_eq!((second.revision, second.delivered, second.id != first.id), (3, Progress::default(), true));
}

#[test]
fn a_stop_is_asked_of_the_replay_that_runs_and_never_over_another_write() {
    let world = World::new();
    assert_eq!(world.stop(&world.records()), StopRequest::NotRunning);
    let replay = world.request(&world.preview("21T09:00", "21T11:00").unwrap(), NOW).unwrap();
    let before = world.records();
    let StopRequest::Stored(stopping) = world.stop(&before) else { panic!("not stored") };
    assert_eq!(stopping, replay.stopping(User::system()));
    assert_eq!(world.stop(&before), StopRequest::ConditionFailed, "the record was read before");
    assert_eq!(world.stop(&world.records()), StopRequest::AlreadyStored(stopping), "once is enough");
}
