//! The incidents on the status page, and the marks of the chart.

use audit_log_core::{
    new_event::{NewEvent, Stamp},
    records::{ConnectionChange, ConnectionCheck, Finding, ManifestState},
    schedule::Window,
    system_events, timestamp,
};

use super::{super::manifest_keys::sign, *};

fn acme() -> TenantId {
    TenantId::parse("acme").unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn stamp(at: DateTime<Utc>) -> Stamp {
    Stamp { at, retention: None }
}

fn put(world: &World, at: DateTime<Utc>, event: NewEvent) {
    let recorded_at_id = format!("{}#{}", timestamp::millis(at), event.id);
    world.fakes.put_event(&acme(), 0, StoredEvent { recorded_at_id, body: Body::Text(event.document) });
}

/// Exports fail at an instant, with all windows after `until` to come.
fn fail(world: &World, when: &str, until: &str) {
    let failure = Failure::new(Code::AccessDenied, "S3 <refused> the write.");
    let failing = system_events::FailingExport {
        tenant: &acme(),
        exported_until: until,
        since: at(when),
        days: 0,
        failures: 1,
        failure: &failure,
    };
    put(world, at(when), failing.announce(stamp(at(when))).event);
}

fn recover(world: &World, when: &str, from: &str) {
    let window = Window { from: at(from), to: at(from) + TimeDelta::hours(1) };
    put(world, at(when), system_events::export_recovered(&acme(), stamp(at(when)), window, false, None).event);
}

async fn section(world: &World) -> String {
    let page = world.browser("acme", READ).get("/status").await.text;
    let section = page.split("<h2 id=\"incidents-title\">").nth(1).unwrap_or_else(|| panic!("{page}"));
    section.split("</section>").next().unwrap().to_owned()
}

#[tokio::test]
async fn a_failure_and_its_recovery_are_one_incident_with_cause_fix_hours_and_links() {
    let world = World::with("acme").await;
    assert!(section(&world).await.contains("None in the last 30 days"));
    super::super::reading::export(&world, "acme", 3);
    fail(&world, "2026-11-10T11:01:00Z", "2026-11-10T10:00:00Z");
    recover(&world, "2026-11-10T15:01:00Z", "2026-11-10T10:00:00Z");
    fail(&world, "2026-11-18T11:01:00Z", "2026-11-18T10:00:00Z");
    recover(&world, "2026-11-18T12:01:00Z", "2026-11-18T10:00:00Z");
    let section = section(&world).await;
    let (first, second) = (section.find("18 Nov 2026, 11:01"), section.find("10 Nov 2026, 11:01"));
    assert!(first.is_some() && first < second, "newest first: {section}");
    let hint = Code::AccessDenied.hint().replace('\'', "&#39;");
    for words in ["Resolved", "Exports failed", "S3 &#60;refused&#62; the write.", &hint, "5 hours: ", "delivered late"]
    {
        assert!(section.contains(words), "{words}: {section}");
    }
    assert_eq!((section.matches("<details>").count(), section.matches("<details open>").count()), (2, 0), "{section}");
    let browser = world.browser("acme", READ);
    let links: Vec<_> = section.split("href=\"./event?at=").skip(1).map(|it| it.split('"').next().unwrap()).collect();
    assert_eq!(links.len(), 4);
    for (link, action) in links.into_iter().zip(["Export Failed", "Export Recovered"].into_iter().cycle()) {
        let event = browser.get(&format!("/event?at={link}")).await;
        assert!(event.status == 200 && event.text.contains(action), "{action}: {}", event.text);
    }
    let page = browser.get("/status").await.text;
    for link in ["href=\"#failed-20261110T110100Z\"", "href=\"#failed-20261118T110100Z\""] {
        assert_eq!(page.matches(link).count(), 4, "{link}: mark and table, of failure and recovery: {page}");
    }
    assert!(page.contains("id=\"failed-20261110T110100Z\""), "{page}");
}

#[tokio::test]
async fn a_failure_that_goes_on_is_an_open_incident_even_if_its_event_was_not_read() {
    let world = World::with("acme").await;
    world.fail("10:02:00");
    world.change(|tenant| {
        tenant.backoff_reset_at = None;
        tenant.watermark.as_mut().unwrap().exported_until = Some("2026-11-21T04:00:00Z".to_owned());
    });
    let unread = section(&world).await;
    for words in ["Ongoing", "<details open>", "6 hours: ", "not delivered yet", "S3 refused the write."] {
        assert!(unread.contains(words), "{words}: {unread}");
    }
    assert!(!unread.contains("event?at="), "{unread}");
    fail(&world, "2026-11-21T05:01:00Z", "2026-11-21T04:00:00Z");
    let read = section(&world).await;
    assert!(read.contains("event?at=") && read.contains("21 Nov 2026, 05:01"), "{read}");
    assert_eq!(read.matches("<details").count(), 1, "{read}");
}

#[tokio::test]
async fn unsigned_windows_are_an_incident_until_the_next_signed_one() {
    let world = World::with("acme").await;
    super::super::reading::export(&world, "acme", 4);
    sign(&world, "acme");
    let unsigned: Vec<_> = {
        let mut state = world.fakes.state();
        let receipts = &mut state.tenants.get_mut("acme").unwrap().receipts;
        let unsigned = receipts.values_mut().skip(1).take(2).map(|receipt| {
            receipt.manifest.as_mut().unwrap().state = ManifestState::Unsigned;
            receipt.clone()
        });
        unsigned.collect()
    };
    for receipt in &unsigned {
        let event = system_events::window_unsigned(&acme(), stamp(receipt.exported_at), receipt).event;
        put(&world, receipt.exported_at, event);
    }
    let section = section(&world).await;
    assert_eq!(section.matches("<details>").count(), 1, "{section}");
    for words in ["Windows were not signed", "2 hours: ", "proved by the next signed window", "have to act"] {
        assert!(section.contains(words), "{words}: {section}");
    }
}

#[tokio::test]
async fn a_connection_that_drifted_is_an_incident_until_it_is_restored() {
    let world = World::with("acme").await;
    let finding = Finding {
        step: "external_id_enforced".to_owned(),
        is_failure: true,
        code: Code::ExternalIdNotEnforced.to_string(),
        message: "It answers to <anybody>.".to_owned(),
    };
    let check = |at, findings| ConnectionCheck { due_hour: at, at, version: 2, findings };
    let (drifted, restored) = (at("2026-11-19T08:31:00Z"), at("2026-11-20T08:31:00Z"));
    let announce = |when, change, findings| {
        let event = system_events::connection_checked(&acme(), stamp(when), change, &check(when, findings)).event;
        put(&world, when, event);
    };
    announce(drifted, ConnectionChange::Drifted, vec![finding]);
    let open = section(&world).await;
    for words in ["The connection check failed", "Ongoing", "It answers to &#60;anybody&#62;.", "StringEquals"] {
        assert!(open.contains(words), "{words}: {open}");
    }
    announce(restored, ConnectionChange::Restored, Vec::new());
    let over = section(&world).await;
    assert!(over.contains("Resolved") && over.contains("20 Nov 2026, 08:31"), "{over}");
}

#[tokio::test]
async fn incidents_say_from_when_on_they_are_known() {
    let world = World::with_searches(0);
    world.onboard("acme").await;
    let section = section(&world).await;
    assert!(section.contains("None since ") && section.contains("21 Nov 2026, 10:03"), "{section}");
}
