//! Replays: request, progress, stop and preview.

use audit_log_core::{
    records::{AmendedManifest, Location, ManifestState, Receipt, Refusal, Replay, ReplayState, StoredManifest},
    schedule::Window,
};

use super::{reading::export, *};

impl World {
    /// With `acme`, whose last three hours are exported.
    async fn exported() -> Self {
        let world = Self::with("acme").await;
        export(&world, "acme", 3);
        world.change(|tenant| {
            let watermark = tenant.watermark.as_mut().unwrap();
            watermark.exported_until = Some("2026-11-21T10:00:00Z".to_owned());
        });
        world
    }

    async fn replay(&self, from: &str, to: &str) -> Answer {
        self.admin("acme", "POST", "/v1/replays", Some(json!({ "from": from, "to": to }))).await
    }

    async fn preview(&self, from: &str, to: &str) -> Answer {
        self.admin("acme", "GET", &format!("/v1/replays/preview?from={from}&to={to}"), None).await
    }

    async fn current(&self) -> Answer {
        self.get("acme", "/v1/replays/current").await
    }

    async fn stop_replay(&self) -> Answer {
        self.admin("acme", "DELETE", "/v1/replays/current", None).await
    }

    /// Writes the record as a run does.
    fn change_replay(&self, change: impl FnOnce(&Replay) -> Replay) {
        self.change(|tenant| {
            let replay = tenant.replay.take().unwrap();
            tenant.replay = Some(Replay { revision: replay.revision + 1, ..change(&replay) });
        });
    }
}

#[tokio::test]
async fn a_replay_is_requested_goes_on_and_ends() {
    let world = World::exported().await;
    assert_eq!(world.current().await.refusal(), (404, "not_found".to_owned()));
    let requested = world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await;
    assert_eq!((requested.status.as_u16(), requested.header("location")), (202, "/v1/replays/current"));
    let replay = requested.json();
    assert_eq!((&replay["state"], &replay["from"]), (&json!("running"), &json!("2026-11-21T08:00:00Z")));
    assert_eq!(replay["planned"], json!({ "windows": 2, "events": 360, "bytes": 12_000 }));
    assert_eq!(replay["delivered"], json!({ "windows": 0, "events": 0, "bytes": 0 }));
    assert_eq!(
        (&replay["bucket"], &replay["requestedAt"]),
        (&json!("acme-audit-logs"), &json!("2026-11-21T10:03:12Z"))
    );
    assert_eq!(world.fakes.state().requested_exports, ["acme"], "a run goes on with it");
    let recorded = world.recorded("acme", "Export Replay Requested");
    assert_eq!((&recorded[0]["id"], recorded.len()), (&replay["id"], 1));
    assert_eq!(world.current().await.json(), replay);

    let window = Window { from: now() - TimeDelta::hours(2), to: now() - TimeDelta::hours(1) };
    world.change_replay(|replay| {
        let failure = Failure::new(Code::AccessDenied, "S3 refused the write.");
        replay.after_refusal(window, Refusal::EventsExpired, now()).after_failure(&failure, now())
    });
    let replay = world.current().await.json();
    assert_eq!((&replay["refused"], &replay["refusedWindows"][0]["reason"]), (&json!(1), &json!("events_expired")));
    assert_eq!(
        (&replay["lastError"]["code"], &replay["lastError"]["party"]),
        (&json!("access_denied"), &json!("customer"))
    );
    world.change_replay(|replay| replay.ended(ReplayState::Completed, None, now()));
    let replay = world.current().await.json();
    assert_eq!((&replay["state"], &replay["endedAt"]), (&json!("completed"), &json!("2026-11-21T10:03:12Z")));
}

#[tokio::test]
async fn a_second_replay_is_refused_by_the_name_of_the_first_until_it_ends() {
    let world = World::exported().await;
    let first = world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await.json();
    let refused = world.replay("2026-11-21T07:00:00Z", "2026-11-21T10:00:00Z").await;
    assert_eq!(refused.refusal(), (409, "replay_running".to_owned()));
    assert!(refused.json()["detail"].as_str().unwrap().contains(first["id"].as_str().unwrap()), "{}", refused.text);
    world.change_replay(|replay| replay.ended(ReplayState::Completed, None, now()));
    assert_eq!(world.replay("2026-11-21", "2026-11-22").await.status, 202, "dates do as well");
}

#[tokio::test]
async fn a_replay_is_stopped_once_and_only_while_it_runs() {
    let world = World::exported().await;
    assert_eq!(world.stop_replay().await.refusal(), (409, "no_replay_running".to_owned()));
    world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await;
    for _ in 0..2 {
        let stopping = world.stop_replay().await;
        assert_eq!((stopping.status.as_u16(), &stopping.json()["state"]), (202, &json!("stopping")));
    }
    assert_eq!(world.fakes.state().tenants["acme"].replay.as_ref().unwrap().revision, 2, "written once");
    assert_eq!(world.fakes.state().requested_exports.len(), 2, "so that it ends soon; once is enough");
    world.change_replay(|replay| {
        replay.ended(ReplayState::Stopped, Some(audit_log_core::records::StopCause::Requested), now())
    });
    assert_eq!(world.current().await.json()["stopCause"], "requested");
    assert_eq!(world.stop_replay().await.refusal(), (409, "no_replay_running".to_owned()));
}

#[tokio::test]
async fn three_replays_a_day_are_allowed_and_refused_ones_do_not_count() {
    let world = World::exported().await;
    for _ in 0..5 {
        let refused = world.replay("2026-11-21T11:00:00Z", "2026-11-21T12:00:00Z").await;
        assert_eq!(refused.refusal(), (422, "nothing_to_replay".to_owned()));
    }
    for _ in 0..3 {
        assert_eq!(world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await.status, 202);
        world.change_replay(|replay| replay.ended(ReplayState::Completed, None, now()));
    }
    let refused = world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await;
    assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
    assert_eq!(refused.header("retry-after"), "50207", "until midnight in UTC");
    assert!(refused.json()["detail"].as_str().unwrap().contains("3 replays a day"), "{}", refused.text);
}

#[tokio::test]
async fn previews_are_limited_together_with_the_plans_of_requests() {
    let world = World::exported().await;
    let (from, to) = ("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z");
    for _ in 0..20 {
        assert_eq!(world.preview(from, to).await.status, 200);
    }
    for refused in [world.preview(from, to).await, world.replay(from, to).await] {
        assert_eq!(refused.refusal(), (429, "rate_limited".to_owned()));
        assert_eq!(refused.header("retry-after"), "47", "until the next minute");
    }
    assert_eq!(world.current().await.status, 404);
}

#[tokio::test]
async fn a_hint_names_a_start_that_is_not_refused_again() {
    let world = World::exported().await;
    // The eighth of the retention that a replay may need, and a run.
    let expired = world.preview("2026-08-01", "2026-08-02").await.json();
    assert!(expired["hint"].as_str().unwrap().contains("begins at 2026-08-24T11:00:00Z or later"), "{expired}");
}

#[tokio::test]
async fn a_range_that_can_not_be_replayed_is_refused_with_the_reason() {
    let world = World::exported().await;
    for (from, to, expected, detail) in [
        ("2026-11-21T09:00:00Z", "2026-11-21T09:00:00Z", (422, "invalid_fields"), ""),
        ("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z", (422, "nothing_to_replay"), "2026-11-21T10:00:00Z"),
        ("2026-08-01", "2026-08-02", (422, "nothing_to_replay"), "2026-08-23T10:04:12Z"),
        ("2026-11-01", "2026-11-02", (422, "nothing_to_replay"), "no receipt"),
        ("yesterday", "2026-11-02", (422, "invalid_fields"), ""),
    ] {
        for refused in [world.replay(from, to).await, world.preview(from, to).await] {
            assert_eq!(refused.refusal(), (expected.0, expected.1.to_owned()), "{from} {to}");
            assert!(refused.json()["detail"].as_str().unwrap().contains(detail), "{}", refused.text);
        }
    }
    assert_eq!(world.replay("yesterday", "tomorrow").await.fields(), ["from", "to"]);
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    let refused = world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await;
    assert_eq!(refused.refusal(), (409, "connector_required".to_owned()));
    assert_eq!(world.fakes.state().requested_exports.len(), 0);
}

#[tokio::test]
async fn a_preview_says_what_would_happen_and_changes_nothing() {
    let world = World::exported().await;
    world.change(|tenant| {
        let receipt = tenant.receipts.values_mut().next().unwrap();
        receipt.location.bucket = "former".to_owned();
        receipt.gap = true;
    });
    let before = world.fakes.state().tenants.clone();
    let preview = world.preview("2026-11-01", "2026-12-01").await.json();
    assert_eq!((&preview["windows"], &preview["events"], &preview["bytes"]), (&json!(3), &json!(540), &json!(18_000)));
    assert_eq!((&preview["to"], &preview["complete"]), (&json!("2026-11-21T10:00:00Z"), &json!(true)));
    assert_eq!(
        (&preview["elsewhere"], &preview["eventsExpired"], &preview["incomplete"]),
        (&json!(1), &json!(0), &json!(0))
    );
    assert!(preview["notes"][0].as_str().unwrap().contains("Last-Modified"), "{preview}");
    assert_eq!(world.fakes.state().tenants, before);
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_requested_even_if_the_exporter_can_not_be_asked() {
    let world = World::exported().await;
    world.fakes.once(Op::RequestExport, None, Fault::Fail(Failure::new(Code::PlatformDenied, "no right")));
    assert_eq!(world.replay("2026-11-21T08:00:00Z", "2026-11-21T10:00:00Z").await.status, 202);
    assert_eq!(world.current().await.json()["state"], "running", "the next tick goes on with it");
}

#[tokio::test]
async fn an_export_has_its_replays_beside_it() {
    let world = World::exported().await;
    let at = now() - TimeDelta::minutes(1);
    world.change(|tenant| {
        let original = tenant.receipts.values().next_back().unwrap().clone();
        let elsewhere = Location { bucket: "elsewhere".to_owned(), folder: original.location.folder.clone() };
        let amended = AmendedManifest {
            number: 1,
            sha256: "b".repeat(64),
            amends: "a".repeat(64),
            cause: "late-events".to_owned(),
        };
        let manifest = StoredManifest {
            key: "m".to_owned(),
            sha256: "a".repeat(64),
            state: ManifestState::Signed,
            previous: None,
            amended: Some(amended),
        };
        let here = Receipt { manifest: Some(manifest), exported_at: at, ..original.clone() };
        let there = Receipt { location: elsewhere, exported_at: now(), gap: true, ..original };
        for receipt in [there, here] {
            tenant.replayed.insert((receipt.window.to, receipt.location.hash()), receipt);
        }
    });
    let exports = world.get("acme", "/v1/exports").await.json();
    let latest = &exports["exports"][0];
    assert_eq!((&latest["folder"], &latest["format"]), (&json!("security/audit-logs/tenant=acme/"), &json!("json")));
    assert_eq!((&latest["compression"], &latest["manifest"]), (&json!("none"), &Value::Null));
    let replays = latest["replays"].as_array().unwrap();
    assert_eq!(
        replays.iter().map(|it| &it["bucket"]).collect::<Vec<_>>(),
        [&json!("acme-audit-logs"), &json!("elsewhere")]
    );
    assert_eq!((&replays[0]["manifest"]["amended"]["number"], &replays[1]["gap"]), (&json!(1), &json!(true)));
    assert_eq!((&replays[0]["exportedAt"], &replays[0]["objectCount"]), (&json!("2026-11-21T10:02:12Z"), &json!(60)));
    assert_eq!(latest["replayCount"], 2);
    assert_eq!((&exports["exports"][1]["replays"], &exports["exports"][1]["replayCount"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn an_export_has_its_ten_latest_replays_and_their_number() {
    let world = World::exported().await;
    world.change(|tenant| {
        let original = tenant.receipts.values().next_back().unwrap().clone();
        for place in 0..12 {
            let folder = original.location.folder.clone();
            let location = Location { bucket: format!("place-{place:02}"), folder };
            let receipt = Receipt { location, exported_at: now() + TimeDelta::minutes(place), ..original.clone() };
            tenant.replayed.insert((receipt.window.to, receipt.location.hash()), receipt);
        }
    });
    let latest = world.get("acme", "/v1/exports").await.json()["exports"][0].take();
    let replays = latest["replays"].as_array().unwrap();
    assert_eq!((replays.len(), &latest["replayCount"]), (10, &json!(12)));
    assert_eq!((&replays[0]["bucket"], &replays[9]["bucket"]), (&json!("place-02"), &json!("place-11")));
}
