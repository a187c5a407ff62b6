//! Signed manifests: an unbroken chain over all windows, and what happens without signatures.

use super::*;
use crate::{
    failure::Code,
    fakes::{Fault, Op},
    manifest::{ManifestKey, text_sha256},
    notification::Kind,
    records::{ManifestState, StoredManifest},
};

const FOLDER: &str = "audit-logs/tenant=acme/";

fn key(name: &str) -> ManifestKey {
    ManifestKey { name: name.to_owned(), public_key: format!("public key of {name}").into_bytes() }
}

fn refusal() -> Failure {
    Failure::new(Code::SigningFailed, "KMS did not sign.")
}

/// A manifest in the bucket.
#[derive(Debug, PartialEq, Eq)]
struct Stored {
    name: String,
    text: String,
    is_signed: bool,
}

impl Stored {
    fn line(&self, beginning: &str) -> &str {
        self.text.lines().find_map(|line| line.strip_prefix(beginning)).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let files = self.text.lines().filter_map(|line| line.split_once("  "));
        files.map(|(_, path)| path.rsplit('/').next().unwrap().to_owned()).collect()
    }
}

impl World {
    /// `acme` on a platform with a key.
    fn signing() -> Self {
        let world = Self::with_acme();
        world.set_key(Some("first"));
        world
    }

    fn set_key(&self, name: Option<&str>) {
        self.fakes.state().manifest_key = name.map(key);
    }

    /// The manifests in a bucket in the order of their windows. Each agrees with the files that it lists.
    fn manifests(&self, bucket: &str) -> Vec<Stored> {
        let state = self.fakes.state();
        let objects = &state.buckets[bucket];
        let manifests = objects.iter().filter(|(key, _)| key.ends_with("manifest"));
        let read = |(key, object): (&String, &crate::fakes::FakeObject)| {
            let note = String::from_utf8(object.bytes.clone()).unwrap();
            let (text, signature) = match note.split_once("\n\n") {
                Some((text, signature)) => (format!("{text}\n"), Some(signature.to_owned())),
                None => (note, None),
            };
            for (sha256, path) in text.lines().filter_map(|line| line.split_once("  ")) {
                let listed = &objects[&format!("{FOLDER}{path}")];
                assert_eq!(crate::object::sha256(&listed.bytes), sha256, "{path}");
            }
            Stored { name: key.rsplit('/').next().unwrap().to_owned(), text, is_signed: signature.is_some() }
        };
        manifests.map(read).collect()
    }

    fn head(&self) -> Option<String> {
        self.fakes.state().tenants["acme"].watermark.clone().unwrap().manifest_sha256
    }

    fn manifest_of(&self, window_end: &str) -> Option<StoredManifest> {
        self.fakes.state().tenants["acme"].receipts[&clock(window_end)].manifest.clone()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.fakes.state().notifications.iter().map(|it| it.kind).collect()
    }
}

/// Asserts that each manifest names the one before.
fn assert_chain(manifests: &[Stored], head: Option<String>) {
    let mut previous = "none".to_owned();
    for manifest in manifests {
        assert_eq!(manifest.line("previous "), previous, "{manifest:?}");
        previous = text_sha256(&manifest.text);
    }
    assert_eq!(head, Some(previous));
}

#[test]
fn each_window_has_a_signed_manifest_that_names_the_one_before() {
    let world = World::signing();
    world.event("acme", "2026-11-21T10:30:00.000Z", "a");
    for hour in ["11:00", "12:00", "13:00"] {
        world.tick(hour).unwrap();
    }
    let manifests = world.manifests("acme-bucket");
    let seen: Vec<_> = manifests.iter().map(|it| (it.name.as_str(), it.is_signed, it.line("events "))).collect();
    assert_eq!(
        seen,
        [
            ("20261121T100000Z_20261121T110000Z.manifest", true, "1 late 0 malformed 0 gap no"),
            ("20261121T110000Z_20261121T120000Z.manifest", true, "0 late 0 malformed 0 gap no"),
            ("20261121T120000Z_20261121T130000Z.manifest", true, "0 late 0 malformed 0 gap no"),
        ],
        "an empty window has one too"
    );
    assert_chain(&manifests, world.head());
    let stored = world.manifest_of("13:00").unwrap();
    assert_eq!((Some(stored.sha256), stored.state), (world.head(), ManifestState::Signed));
    let (_, last) = world.fakes.state().stored.last().cloned().unwrap();
    assert_eq!(last, stored.key, "after the objects");
    assert_eq!(world.fakes.state().manifest_keys.len(), 1);
}

#[test]
fn late_arrivals_are_in_the_manifest_of_the_window_that_delivers_them() {
    let world = World::signing();
    world.tick("11:00").unwrap();
    world.event("acme", "2026-11-21T10:50:00.000Z", "late");
    world.tick("12:00").unwrap();
    let manifests = world.manifests("acme-bucket");
    assert_eq!(manifests[1].line("events "), "0 late 1 malformed 0 gap no");
    assert_eq!(
        manifests[1].files(),
        ["20261121T105000Z_20261121T105100Z_late_0001.json", "20261121T110000Z_20261121T120000Z_0001.json"]
    );
    assert_chain(&manifests, world.head());
}

#[test]
fn a_run_that_dies_between_manifest_and_commit_leaves_no_other_text() {
    let world = World::signing();
    world.fakes.once(Op::Commit, None, Fault::Crash);
    assert!(world.try_tick("11:00").is_none());
    let before = world.manifests("acme-bucket");
    world.expire_lease("acme");
    world.tick("11:00").unwrap();
    assert_eq!(world.manifests("acme-bucket"), before);
    assert_chain(&before, world.head());
}

#[test]
fn without_a_key_there_are_no_manifests() {
    let world = World::with_acme();
    world.tick("11:00").unwrap();
    assert_eq!((world.manifests("acme-bucket"), world.head(), world.manifest_of("11:00")), (vec![], None, None));
}

#[test]
fn a_chain_goes_on_unsigned_where_the_key_is_taken_away_and_signed_with_another_key() {
    let world = World::signing();
    world.tick("11:00").unwrap();
    world.set_key(None);
    let report = world.tick("12:00").unwrap();
    assert_eq!((counts(&report), report.signing_failed), ((1, 0, 0), 1));
    assert_eq!(world.fakes.actions("acme"), ["Window Unsigned"]);
    assert_eq!(world.kinds(), [Kind::WindowUnsigned]);
    world.set_key(Some("second"));
    assert_eq!(world.tick("13:00").unwrap().signing_failed, 0);
    let manifests = world.manifests("acme-bucket");
    assert_eq!(manifests.iter().map(|it| it.is_signed).collect::<Vec<_>>(), [true, false, true]);
    assert_chain(&manifests, world.head());
    let keys = world.fakes.state().manifest_keys.clone();
    let names: Vec<_> = keys.iter().map(|it| (it.key.name.as_str(), it.retired_at.is_some())).collect();
    assert_eq!(names, [("second", false), ("first", true)]);
    assert_eq!(world.kinds(), [Kind::WindowUnsigned], "exports never failed");
}

#[test]
fn a_recovery_without_a_key_says_that_the_window_is_unsigned() {
    let world = World::signing();
    world.tick("11:00").unwrap();
    world.fakes.once(Op::Sign, None, Fault::Fail(refusal()));
    world.tick("12:00").unwrap();
    world.set_key(None);
    world.tick("13:00").unwrap();
    let seen: Vec<_> =
        world.fakes.state().notifications.iter().map(|it| (it.kind, it.info.get("unsigned").cloned())).collect();
    let expected = [(Kind::Failed, None), (Kind::Recovered, Some(true.into())), (Kind::WindowUnsigned, None)];
    assert_eq!(seen, expected);
    let acme = world.fakes.state().tenants["acme"].clone();
    assert_eq!((acme.failing_since, acme.watermark.unwrap().signing_failed_since), (None, None));
}

#[test]
fn a_window_waits_six_hours_for_its_signature_and_is_then_delivered_without_one() {
    let world = World::signing();
    world.tick("11:00").unwrap();
    world.fakes.always(Op::Sign, None, refusal());
    for hour in 12..18 {
        let report = world.tick(&format!("{hour}:00")).unwrap();
        assert_eq!((counts(&report), report.signing_failed), ((0, 1, 0), 1), "{hour}");
        assert_eq!(report.failures[0].code, Code::SigningFailed);
        assert_eq!(world.exported_until("acme"), "2026-11-21T11:00:00Z", "{hour}");
    }
    let report = world.tick("18:00").unwrap();
    assert_eq!((counts(&report), report.signing_failed), ((1, 0, 0), 7), "the whole backlog");
    assert_eq!(world.exported_until("acme"), "2026-11-21T18:00:00Z");
    assert_chain(&world.manifests("acme-bucket"), world.head());
    let acme = world.fakes.state().tenants["acme"].clone();
    assert_eq!((acme.last_error, acme.failing_since), (None, None), "what is delivered does not fail");
    let unsigned = |kind| world.fakes.state().notifications.iter().filter(|it| it.kind == kind).count();
    assert_eq!(unsigned(Kind::WindowUnsigned), 6);
    assert_eq!(world.kinds()[..2], [Kind::Failed, Kind::Recovered]);
    let recovered = world.fakes.state().notifications[1].info["unsigned"].clone();
    assert_eq!(recovered, true, "the first one of the backlog");

    world.tick("19:00").unwrap();
    world.fakes.heal();
    world.tick("20:00").unwrap();
    let manifests = world.manifests("acme-bucket");
    let signed: Vec<bool> = manifests.iter().map(|it| it.is_signed).collect();
    assert_eq!(signed, [true, false, false, false, false, false, false, false, false, true]);
    assert_chain(&manifests, world.head());
    assert_eq!(world.kinds()[8..], [Kind::WindowUnsigned]);
    let acme = world.fakes.state().tenants["acme"].clone();
    assert_eq!((acme.failing_since, acme.watermark.unwrap().signing_failed_since), (None, None));

    world.fakes.once(Op::Sign, None, Fault::Fail(refusal()));
    assert_eq!(counts(&world.tick("21:00").unwrap()), (0, 1, 0), "the six hours begin anew");
}

#[test]
fn a_failure_of_the_customers_that_begins_in_an_outage_of_signatures_is_announced() {
    let world = World::signing();
    world.fakes.always(Op::Sign, None, refusal());
    for hour in 11..19 {
        world.tick(&format!("{hour}:00")).unwrap();
    }
    let before = world.kinds().len();
    world.fakes.always(Op::Finish, None, Failure::new(Code::AccessDenied, "S3 refused it."));
    world.tick("19:00").unwrap();
    assert_eq!(world.kinds()[before..], [Kind::Failed]);
}

#[test]
fn the_six_hours_begin_anew_after_another_failure_and_after_a_disconnect() {
    for interrupt in [
        |world: &World| {
            world.fakes.always(Op::Finish, None, Failure::new(Code::AccessDenied, "S3 refused it."));
            world.tick("12:00").unwrap();
            world.fakes.heal();
        },
        |world: &World| {
            world.fakes.heal();
            world.disconnect("acme");
            world.save("acme", &Draft { bucket: Some("acme-bucket".to_owned()), ..draft() }, clock("12:10"));
        },
    ] {
        let world = World::signing();
        world.fakes.once(Op::Sign, None, Fault::Fail(refusal()));
        world.tick("11:00").unwrap();
        interrupt(&world);
        world.fakes.always(Op::Sign, None, refusal());
        for hour in [18, 23] {
            assert_eq!(counts(&world.tick(&format!("{hour}:00")).unwrap()), (0, 1, 0), "{hour}");
        }
        assert!(world.manifests("acme-bucket").is_empty());
    }
}

#[test]
fn a_window_that_waits_for_its_signature_is_not_stored_again_at_every_try() {
    let world = World::signing();
    world.fakes.always(Op::Sign, None, refusal());
    world.tick("11:00").unwrap();
    let before = (world.fakes.calls(Op::Page), world.fakes.calls(Op::Finish));
    world.tick("12:00").unwrap();
    assert_eq!((world.fakes.calls(Op::Page), world.fakes.calls(Op::Finish)), before);
}

#[test]
fn another_failure_meanwhile_does_not_shorten_the_wait() {
    let world = World::signing();
    let denied = Failure::new(Code::AccessDenied, "S3 refused it.");
    world.fakes.always(Op::Finish, None, denied);
    for hour in 11..20 {
        world.tick(&format!("{hour}:00")).unwrap();
    }
    world.fakes.heal();
    world.fakes.always(Op::Sign, None, refusal());
    assert_eq!(counts(&world.tick("20:00").unwrap()), (0, 1, 0), "failing for nine hours, but signing for none");
    assert!(world.manifests("acme-bucket").is_empty());
}

#[test]
fn a_final_delivery_has_a_manifest_of_its_own_beside_the_chain() {
    let world = World::signing();
    world.tick("11:00").unwrap();
    let head = world.head().unwrap();
    world.fakes.state().buckets.entry("next-bucket".to_owned()).or_default();
    world.move_to("next-bucket", clock("11:20"));
    world.tick("12:00").unwrap();
    world.tick("13:00").unwrap();
    let left = world.manifests("acme-bucket");
    let last = &left[1];
    assert_eq!(last.name, "20261121T110000Z_20261121T112001Z.final.manifest");
    assert_eq!(last.line("final "), "2026-11-21T11:00:00Z 2026-11-21T11:20:01Z");
    assert_eq!((last.line("previous "), last.is_signed, left.len()), (head.as_str(), true, 2));
    let next = world.manifests("next-bucket");
    assert_eq!((next[0].line("previous "), next.len()), (head.as_str(), 2), "the chain goes on in the next place");
    assert_eq!(next[1].line("previous "), text_sha256(&next[0].text));
    assert_eq!(world.head(), Some(text_sha256(&next[1].text)));
}

#[test]
fn a_final_delivery_waits_for_its_signature_too() {
    let world = World::signing();
    world.tick("11:00").unwrap();
    world.fakes.state().buckets.entry("next-bucket".to_owned()).or_default();
    world.move_to("next-bucket", clock("11:20"));
    world.fakes.always(Op::Sign, None, refusal());
    for hour in 12..18 {
        let deliveries = world.tick(&format!("{hour}:00")).unwrap().final_deliveries;
        assert_eq!((deliveries.completed, deliveries.failed, deliveries.signing_failed), (0, 1, 1), "{hour}");
    }
    let deliveries = world.tick("18:00").unwrap().final_deliveries;
    assert_eq!((deliveries.completed, deliveries.failed, deliveries.signing_failed), (1, 0, 1));
    assert!(!world.manifests("acme-bucket")[1].is_signed);
    let state = world.fakes.state();
    let unsigned = state.notifications.iter().filter(|it| it.kind == Kind::WindowUnsigned);
    let keys: Vec<_> =
        unsigned.filter_map(|it| it.info["manifest"].as_str()).filter(|key| key.contains("final")).collect();
    assert_eq!(keys.len(), 1, "it is announced");
}
