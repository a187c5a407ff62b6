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

/// Without the events of the changes that made the connection.
async fn saved_long_ago() -> World {
    let world = World::with("acme").await;
    world.fakes.state().events.clear();
    world
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
    let world = saved_long_ago().await;
    let finding = Finding {
        step: "external_id_enforced".to_owned(),
        is_failure: true,
        code: Code::ExternalIdNotEnforced.to_string(),
        message: "It answers to <anybody>.".to_owned(),
    };
    let (drifted, restored) = (at("2026-11-19T08:31:00Z"), at("2026-11-20T08:31:00Z"));
    check(&world, drifted, Some(ConnectionChange::Drifted), vec![finding]);
    let open = section(&world).await;
    for words in ["The connection check failed", "Ongoing", "It answers to &#60;anybody&#62;.", "StringEquals"] {
        assert!(open.contains(words), "{words}: {open}");
    }
    check(&world, restored, Some(ConnectionChange::Restored), Vec::new());
    let over = section(&world).await;
    assert!(over.contains("Resolved") && over.contains("20 Nov 2026, 08:31"), "{over}");
}

/// Stores a check of the saved settings, with the event of what it has changed.
fn check(world: &World, when: DateTime<Utc>, change: Option<ConnectionChange>, findings: Vec<Finding>) {
    let check = ConnectionCheck { due_hour: when, at: when, version: 2, findings };
    if let Some(change) = change {
        put(world, when, system_events::connection_checked(&acme(), stamp(when), change, &check).event);
    }
    world.change(|tenant| tenant.connection_check = Some(check));
}

fn found(is_failure: bool, code: Code) -> Finding {
    Finding { step: "least_privilege".to_owned(), is_failure, code: code.to_string(), message: "Found.".to_owned() }
}

#[tokio::test]
async fn a_warning_is_no_failure() {
    let world = saved_long_ago().await;
    let warning = vec![found(false, Code::ExcessRights)];
    check(&world, at("2026-11-19T08:31:00Z"), Some(ConnectionChange::Drifted), warning);
    let section = section(&world).await;
    assert!(section.contains("The connection check has a warning") && !section.contains("failed"), "{section}");
    assert!(section.contains("<span class=\"badge warn\">Ongoing</span>"), "{section}");
}

#[tokio::test]
async fn the_present_check_decides_whether_findings_go_on() {
    let world = saved_long_ago().await;
    let failure = || vec![found(true, Code::ExternalIdNotEnforced)];
    check(&world, at("2026-11-19T08:31:00Z"), Some(ConnectionChange::Drifted), failure());
    assert!(section(&world).await.contains("Ongoing"));
    check(&world, at("2026-11-20T08:31:00Z"), None, Vec::new());
    let over = section(&world).await;
    assert!(over.contains("Resolved") && over.contains("20 Nov 2026, 08:31"), "its event was not read: {over}");
    check(&world, at("2026-11-21T08:31:00Z"), None, failure());
    assert!(section(&world).await.contains("Ongoing"));
    // A verification of the saved settings that passes the step.
    assert_eq!(world.admin("acme", "POST", "/v1/export-settings/verify", None).await.status, 200);
    let verified = section(&world).await;
    assert!(verified.contains("Resolved") && !verified.contains("Ongoing"), "{verified}");
    let page = world.browser("acme", ADMIN).get("/status").await.text;
    assert!(page.contains("A verification has passed since.") && !page.contains("Action needed"), "{page}");
    // The next check fails again, which is no change and has no event.
    check(&world, at("2026-11-21T10:03:30Z"), None, failure());
    let again = section(&world).await;
    assert!(again.contains("Ongoing") && again.contains("Resolved"), "{again}");
}

#[tokio::test]
async fn a_change_of_the_connection_ends_what_was_found() {
    for is_disconnect in [false, true] {
        let world = saved_long_ago().await;
        let failure = vec![found(true, Code::ExternalIdNotEnforced)];
        check(&world, at("2026-11-21T08:31:00Z"), Some(ConnectionChange::Drifted), failure);
        if is_disconnect {
            world.admin("acme", "DELETE", "/v1/connector", None).await;
        } else {
            let mut changed = settings("acme");
            changed["frequencyHours"] = json!(6);
            world.save("acme", changed).await;
        }
        let section = section(&world).await;
        assert!(section.contains(">Over</span>") && section.contains("21 Nov 2026, 10:03"), "{section}");
        assert!(!section.contains("Ongoing") && !section.contains("Resolved"), "{section}");
    }
}

#[tokio::test]
async fn incidents_say_from_when_on_they_are_known() {
    let world = World::with_searches(0);
    world.onboard("acme").await;
    let section = section(&world).await;
    assert!(section.contains("None since ") && section.contains("21 Nov 2026, 10:03"), "{section}");
}
