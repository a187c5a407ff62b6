//! Replays on the pages: preview, start, progress, stop, result.

use audit_log_core::{
    records::{Location, Refusal, Replay, ReplayState, StopCause},
    schedule::Window,
};

use super::*;

const RANGE: &str = "?from=2026-11-21T07:00&to=2026-11-21T09:00";

/// With five windows of two files each, in the place of the settings.
async fn exported() -> World {
    let world = World::with("acme").await;
    super::super::reading::export(&world, "acme", 5);
    world.change(|tenant| tenant.receipts.values_mut().for_each(|receipt| receipt.objects.truncate(2)));
    world
}

/// Makes the windows ones of another bucket.
fn move_away(world: &World) {
    world.change(|tenant| {
        for receipt in tenant.receipts.values_mut() {
            receipt.location.bucket = "old-bucket".to_owned();
        }
    });
}

fn running(world: &World) -> Option<Replay> {
    world.fakes.state().tenants["acme"].replay.clone()
}

fn change(world: &World, change: impl FnOnce(&Replay) -> Replay) {
    world.change(|tenant| tenant.replay = tenant.replay.as_ref().map(change));
}

async fn start(world: &World) -> Answer {
    let range = [("from", "2026-11-21T07:00:00Z"), ("to", "2026-11-21T09:00:00Z")];
    world.browser("acme", ADMIN).send("/replay", "/replay", &range).await
}

/// The part of the status page; blank if there is none.
async fn part(world: &World) -> String {
    let page = world.browser("acme", ADMIN).get("/status").await.text;
    let part = page.split(" id=\"replay\"").nth(1).unwrap_or_default();
    part.split("</section>").next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_range_is_shown_before_it_starts() {
    let world = exported().await;
    let browser = world.browser("acme", ADMIN);
    let page = browser.get(&format!("/replay{RANGE}")).await;
    assert_eq!((page.status.as_u16(), page.title()), (200, "Deliver again"), "{}", page.text);
    for words in [
        "<dt>Windows</dt><dd>2</dd>",
        "<dd>12, 400 B as exported</dd>",
        "s3://acme-audit-logs/security/audit-logs/tenant=acme/",
        "Last-Modified",
    ] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    assert_eq!(page.text.matches("value=\"2026-11-21T07:00").count(), 2, "the form for another range, and the button");
    assert!(running(&world).is_none(), "nothing has started");
    let blank = browser.get("/replay").await.text;
    assert!(!blank.contains("Preview</h2>") && blank.contains("Last 24 hours"), "{blank}");
    let to_now = browser.get("/replay?from=2026-11-21T07:00&to=").await.text;
    assert!(to_now.contains("<dt>Windows</dt><dd>3</dd>"), "{to_now}");
    assert_eq!(world.browser("acme", READ).get(&format!("/replay{RANGE}")).await.status, 403);
}

#[tokio::test]
async fn a_preview_says_what_can_not_be_delivered_again_and_why() {
    let world = exported().await;
    world.change(|tenant| tenant.receipts.values_mut().nth(2).unwrap().gap = true);
    let page = world.browser("acme", ADMIN).get(&format!("/replay{RANGE}")).await.text;
    assert!(page.contains("1 window stays as it is: its events have expired"), "{page}");
    move_away(&world);
    let elsewhere = world.browser("acme", ADMIN).get(&format!("/replay{RANGE}")).await.text;
    assert!(elsewhere.contains("2 windows were delivered to another place before"), "{elsewhere}");
    for (range, words) in [
        ("?from=2026-07-01T00:00&to=2026-07-02T00:00", "23 Aug 2026"),
        ("?from=2026-11-21T09:00&to=2026-11-21T08:00", "The start must be before the end"),
        ("?from=yesterday&to=", "must begin and end with a date"),
    ] {
        let page = world.browser("acme", ADMIN).get(&format!("/replay{range}")).await;
        assert!(page.status.is_client_error(), "{range}: {}", page.text);
        let words = words.replace("23 Aug 2026", "2026-08-23");
        assert!(page.text.contains(&words) && !page.text.contains("Preview</h2>"), "{range}: {}", page.text);
    }
}

#[tokio::test]
async fn a_replay_starts_shows_how_it_fares_and_stops() {
    let world = exported().await;
    assert_eq!(part(&world).await, "");
    let started = start(&world).await;
    assert_eq!((started.status.as_u16(), started.location()), (303, "./status?replay=requested#replay"));
    let browser = world.browser("acme", ADMIN);
    let notice = browser.get("/status?replay=requested").await.text;
    assert!(notice.contains("Redelivery requested") && !notice.contains("again-title"), "{notice}");
    let waiting = part(&world).await;
    for words in [
        "hx-get=\"./replay/progress\"",
        "0 of 2 windows",
        "<progress max=\"2\" value=\"0\"",
        "action=\"./replay/stop\"",
        "within minutes",
    ] {
        assert!(waiting.contains(words), "{words}: {waiting}");
    }
    let again = start(&world).await;
    assert!(again.status == 409 && again.text.contains("is running"), "{}", again.text);

    change(&world, |replay| {
        let failure = Failure::new(Code::AccessDenied, "S3 <refused> it.");
        let window = Window { from: replay.range.from, to: replay.range.from + TimeDelta::hours(1) };
        replay.after_refusal(window, Refusal::EventsExpired, now()).after_failure(&failure, now())
    });
    let failing = part(&world).await;
    let hint = Code::AccessDenied.hint().replace('\'', "&#39;");
    for words in ["1 of 2 windows", "S3 &#60;refused&#62; it.", &hint, "Not delivered again: 1", "is retried"] {
        assert!(failing.contains(words), "{words}: {failing}");
    }
    let reader = world.browser("acme", READ).get("/status").await.text;
    assert!(reader.contains("1 of 2 windows") && !reader.contains("replay/stop"), "{reader}");

    let stopped = browser.send("/status", "/replay/stop", &[]).await;
    assert_eq!((stopped.status.as_u16(), stopped.location()), (303, "../status?replay=stopped#replay"));
    let stopping = part(&world).await;
    assert!(stopping.contains("Stopping the redelivery") && !stopping.contains("replay/stop"), "{stopping}");
    change(&world, |replay| replay.ended(ReplayState::Stopped, Some(StopCause::Requested), now()));
    let over = part(&world).await;
    for words in ["The redelivery was stopped", "An administrator stopped it.", "Its events have expired"] {
        assert!(over.contains(words), "{words}: {over}");
    }
    assert!(!over.contains("hx-get") && !over.contains("<progress"), "nothing is loaded again: {over}");
    assert_eq!(browser.send("/status", "/replay/stop", &[]).await.status, 409);
    change(&world, |replay| Replay { ended_at: Some(now() - TimeDelta::days(8)), ..replay.clone() });
    assert_eq!(part(&world).await, "", "it was shown for a week");
}

#[tokio::test]
async fn the_part_is_loaded_alone_and_without_a_script_with_its_page() {
    let world = exported().await;
    let browser = world.browser("acme", READ);
    assert_eq!(browser.get_partial("/replay/progress").await.status, 204);
    start(&world).await;
    let part = browser.get_partial("/replay/progress").await;
    assert!(
        part.status == 200 && part.text.starts_with("<section") && part.text.contains("of 2 windows"),
        "{}",
        part.text
    );
    let page = browser.get("/replay/progress").await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "../status#replay"));
    for (wait, words) in [("due", "due are exported first"), ("final", "wait for the last events for the old place")] {
        if wait == "due" {
            world.change(|tenant| {
                let watermark = tenant.watermark.as_mut().unwrap();
                watermark.exported_until = Some("2026-11-21T08:00:00Z".to_owned());
                watermark.next_due = Some("2026-11-21T09:00:00Z".to_owned());
            });
        } else {
            world.change(|tenant| {
                let watermark = tenant.watermark.as_mut().unwrap();
                watermark.next_due = Some("2026-11-21T11:00:00Z".to_owned());
            });
            let mut moved = settings("acme");
            moved["bucket"] = json!("another-bucket");
            world.save("acme", moved).await;
        }
        let part = browser.get_partial("/replay/progress").await.text;
        assert!(part.contains(words), "{wait}: {part}");
        if wait == "due" {
            let before = running(&world).unwrap();
            change(&world, |replay| replay.after_failure(&Failure::new(Code::AccessDenied, "Refused."), now()));
            let part = browser.get_partial("/replay/progress").await.text;
            assert!(part.contains(words) && part.contains("Refused.") && !part.contains("is retried"), "{part}");
            world.change(|tenant| tenant.replay = Some(before));
        }
    }
    let status = browser.get("/status").await.text;
    assert!(status.contains("Last events for the old place <code>s3://acme-audit-logs/"), "{status}");
}

#[tokio::test]
async fn receipts_say_where_and_when_a_window_was_delivered_again() {
    let world = exported().await;
    let row = async || {
        let page = world.browser("acme", ADMIN).get("/status").await.text;
        page.split("<tr role=\"row\" class=\"first\">").nth(1).unwrap().split("</tr>").next().unwrap().to_owned()
    };
    let before = row().await;
    assert!(
        before.contains("21 Nov 2026, 10:01")
            && !before.contains("s3://acme-audit-logs/security/audit-logs/tenant=acme/</span>"),
        "{before}"
    );
    assert!(before.contains("href=\"./replay?from=2026-11-21T09:00:00Z&#38;to=2026-11-21T10:00:00Z\""), "{before}");
    world.change(|tenant| {
        let export = tenant.receipts.values().last().unwrap().clone();
        let mut here = export.clone();
        here.exported_at += TimeDelta::hours(30);
        here.objects.iter_mut().for_each(|object| object.sha256 = "b".repeat(64));
        let location = Location { bucket: "second".to_owned(), folder: "audit-logs/tenant=acme/".to_owned() };
        let there = audit_log_core::records::Receipt { location, exported_at: now(), ..export };
        for receipt in [here, there] {
            tenant.replayed.insert((receipt.window.to, receipt.location.hash()), receipt);
        }
    });
    let after = row().await;
    for words in [
        "Delivered again on",
        "22 Nov 2026, 16:01",
        "Also delivered to s3://second/audit-logs/tenant=acme/ on",
        "bbbbbbbb…",
    ] {
        assert!(after.contains(words), "{words}: {after}");
    }
    move_away(&world);
    let moved = row().await;
    assert!(moved.contains("to s3://old-bucket/security/audit-logs/tenant=acme/"), "{moved}");
}
