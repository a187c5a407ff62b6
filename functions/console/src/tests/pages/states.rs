//! The badge on all pages, and what the status page says in each state.

use super::*;
use crate::tests::reading::checked;

/// Asserts that all pages have the badge.
async fn assert_badge(world: &World, text: &str) {
    let browser = world.browser("acme", ADMIN);
    for path in ["/status", "/connector", "/settings"] {
        let page = browser.get(path).await;
        let badges: Vec<&str> = page.text.split("<h1").skip(1).filter_map(|it| it.split("</h1>").next()).collect();
        assert!(badges.concat().contains(&format!(">{text}</span>")), "{path}: {text}, not {badges:?}");
    }
}

#[tokio::test]
async fn all_pages_show_the_same_state() {
    let world = World::new();
    assert_badge(&world, "Not connected").await;
    world.onboard("acme").await;
    assert_badge(&world, "Not verified").await;
    checked(&world, "acme", 2, &[]);
    assert_badge(&world, "Waiting for the first export").await;
    world.fail("10:02:00");
    world.change(|tenant| tenant.backoff_reset_at = None);
    assert_badge(&world, "Failing").await;
    assert_eq!(world.retry("acme").await.status, 202);
    assert_badge(&world, "Retrying").await;
    world.succeed();
    assert_badge(&world, "Exporting").await;
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert_badge(&world, "Disconnected").await;
}

#[tokio::test]
async fn only_a_healthy_tenant_has_everything_exported() {
    let world = World::with("acme").await;
    let says_so = async || world.browser("acme", READ).get("/status").await.text.contains("everything is exported");
    assert!(!says_so().await, "nothing was verified");
    world.fail("10:02:00");
    assert!(!says_so().await, "exports fail");
    world.succeed();
    assert!(says_so().await);
}

#[tokio::test]
async fn each_state_says_what_to_do_next() {
    let world = World::new();
    let next = async |permission: &str| {
        let page = world.browser("acme", permission).get("/status").await.text;
        let banner = page.split("aria-label=\"Next step\">").nth(1).unwrap().split("</section>").next().unwrap();
        banner.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let assert_next = async |words: &str, action: &str, for_readers: &str| {
        let (admins, readers) = (next(ADMIN).await, next(READ).await);
        assert!(admins.contains(words) && admins.contains(action), "{words}, {action}: {admins}");
        assert!(readers.contains(for_readers) && !readers.contains("<a ") && !readers.contains("<form"), "{readers}");
    };
    assert_next("Exports are not set up.", ">Set up exports</a>", "Ask an administrator").await;
    world.onboard("acme").await;
    assert_next("The settings are not verified.", ">Verify the settings</a>", "Ask an administrator").await;
    checked(&world, "acme", 2, &[]);
    assert_next("Wait for the first export", "11:01", "11:01").await;
    world.fail("10:02:00");
    world.change(|tenant| tenant.backoff_reset_at = None);
    assert_next("Fix the cause, then retry.", "action=\"./status/retry\"", "Ask an administrator to fix").await;
    assert_eq!(world.retry("acme").await.status, 202);
    assert_next("etrying at <time", "<button class=\"primary\">Retry now", "etrying at <time").await;
    world.change(|tenant| {
        tenant.last_error = Some((Failure::new(Code::Throttled, "Slow down."), now()));
        tenant.backoff_reset_at = None;
    });
    assert_next("You don’t have to do anything.", "<button>Retry now", "operators are notified").await;
    world.succeed();
    assert_next("Nothing to do until the next one", "11:01", "Exports work.").await;
    world.change(|tenant| {
        let watermark = tenant.watermark.as_mut().unwrap();
        watermark.exported_until = Some("2026-11-21T03:00:00Z".to_owned());
        watermark.next_due = Some("2026-11-21T04:00:00Z".to_owned());
    });
    assert_next("Catching up.", "11:01", "Catching up.").await;
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert_next("Exports are stopped.", ">Connect a role</a>", "Ask an administrator").await;
}

#[tokio::test]
async fn a_passed_verification_after_a_failure_is_a_repair() {
    let world = World::with("acme").await;
    world.fail("10:02:00");
    world.change(|tenant| tenant.backoff_reset_at = None);
    let page = async || world.browser("acme", READ).get("/status").await.text;
    assert!(!page().await.contains("Repaired"));
    world.admin("acme", "POST", "/v1/export-settings/verify", None).await;
    // As the exporter does.
    world.change(|tenant| tenant.backoff_reset_at = Some(now()));
    let page = page().await;
    assert!(page.contains("Repaired, retrying at") && page.contains(">Retrying</span>"), "{page}");
}

#[tokio::test]
async fn only_a_verification_of_the_saved_settings_is_a_repair() {
    let world = World::with("acme").await;
    world.fail("10:02:00");
    let mut typed = settings("acme");
    typed["bucket"] = json!("typed-only");
    let verified = world.admin("acme", "POST", "/v1/export-settings/verify", Some(typed)).await;
    assert_eq!(verified.json()["passed"], true, "{}", verified.text);
    let connected = world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    assert_eq!(connected.status, 200, "the role alone passed");
    world.change(|tenant| tenant.backoff_reset_at = Some(now()));
    let page = world.browser("acme", READ).get("/status").await.text;
    assert!(page.contains("<strong>Retrying at") && !page.contains("Repaired"), "{page}");
}

#[tokio::test]
async fn what_needs_action_comes_before_that_exports_work() {
    let world = World::with("acme").await;
    world.succeed();
    let next = async |permission: &str| {
        let page = world.browser("acme", permission).get("/status").await.text;
        page.split("<section class=\"next ").nth(1).unwrap().split("</section>").next().unwrap().to_owned()
    };
    let assert_next = async |tone: &str, words: &str, for_admins: &str, for_readers: &str| {
        let (admins, readers) = (next(ADMIN).await, next(READ).await);
        assert!(admins.starts_with(tone) && admins.contains(words) && admins.contains(for_admins), "{admins}");
        assert!(readers.contains(words) && readers.contains(for_readers) && !readers.contains("<a "), "{readers}");
        assert!(!admins.contains("Nothing to do"), "{admins}");
    };
    let ask = "Ask an administrator to";
    checked(&world, "acme", 2, &[(false, Code::ExcessRights, "It may read.")]);
    assert_next("warn", "check has a warning", ">Verify the settings</a>", ask).await;
    world.change(|tenant| {
        tenant.last_error = Some((Failure::new(Code::RetentionExceeded, "Some are gone."), now()));
        tenant.connection_check = None;
    });
    let operators = "operators are notified";
    assert_next("bad", "The last export may lack events.", operators, operators).await;
    let mut moved = settings("acme");
    moved["bucket"] = json!("another-bucket");
    world.save("acme", moved).await;
    world.change(|tenant| {
        tenant.last_error = None;
        tenant.final_deliveries.places[0].refused_since = Some(now());
    });
    assert_next("bad", "An old place refuses its last events.", "Let it accept", ask).await;
    checked(&world, "acme", 3, &[(true, Code::ExternalIdNotEnforced, "Anybody can.")]);
    assert_next("bad", "The daily connection check failed.", ">Verify the settings</a>", ask).await;
}

#[tokio::test]
async fn a_disconnected_tenant_is_told_before_events_are_deleted() {
    let world = World::with("acme").await;
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    world.event("acme", 80 * 24 * 60, "Login");
    world.change(|tenant| {
        tenant.watermark.as_mut().unwrap().exported_until = Some("2026-09-01T00:00:00Z".to_owned());
    });
    let page = world.browser("acme", ADMIN).get("/status").await.text;
    let next = page.split("<section class=\"next ").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(next.starts_with("bad") && next.contains("undelivered events will be deleted soon"), "{next}");
    assert!(next.contains(">Connect a role</a>"), "{next}");
}

#[tokio::test]
async fn retry_now_leads_to_a_notice_or_says_until_when_another_run_has_the_lease() {
    let world = World::with("acme").await;
    world.fail("10:02:00");
    let browser = world.browser("acme", ADMIN);
    let requested = browser.send("/status", "/status/retry", &[]).await;
    assert_eq!((requested.status.as_u16(), requested.location()), (303, "../status?retry=requested"));
    assert_eq!(world.fakes.state().requested_exports, ["acme"]);
    let page = browser.get("/status?retry=requested").await.text;
    assert!(page.contains("Export requested") && page.contains("within seconds"), "{page}");
    let until = now() + TimeDelta::minutes(20);
    world.change(|tenant| tenant.lease = Some(audit_log_core::lease::Lease::new([7; 16], until)));
    let refused = browser.send("/status", "/status/retry", &[]).await;
    assert_eq!((refused.status.as_u16(), refused.title()), (409, "Export status"), "{}", refused.text);
    assert!(refused.text.contains("10:23") && refused.text.contains("href=\"../settings\""), "{}", refused.text);
    assert_eq!(world.browser("acme", READ).send("/status", "/status/retry", &[]).await.status, 403);
}

#[tokio::test]
async fn without_a_role_nothing_is_delivered_again_and_pages_lead_to_the_connector() {
    let world = World::with("acme").await;
    crate::tests::reading::export(&world, "acme", 1);
    let browser = world.browser("acme", ADMIN);
    assert!(browser.get("/status").await.text.contains("Deliver again<"));
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert!(!browser.get("/status").await.text.contains("Deliver again<"));
    for (path, fields) in [("/status/retry", &[][..]), ("/replay", &[("from", "2026-11-21T07:00"), ("to", "")][..])] {
        let refused = browser.send("/status", path, fields).await;
        assert_eq!(refused.status, 409, "{path}: {}", refused.text);
        assert!(refused.text.contains("Connect a role first. <a href=\""), "{path}: {}", refused.text);
        assert!(!refused.text.contains("/v1/"), "{path}: {}", refused.text);
    }
}

#[tokio::test]
async fn the_status_lists_refused_final_deliveries_and_says_since_when_signing_fails() {
    let world = World::with("acme").await;
    let mut moved = settings("acme");
    moved["bucket"] = json!("another-bucket");
    world.save("acme", moved).await;
    let page = async || world.browser("acme", READ).get("/status").await.text;
    let waiting = page().await;
    assert!(waiting.contains("s3://acme-audit-logs/security/audit-logs/tenant=acme/</code>: waiting"), "{waiting}");
    world.change(|tenant| {
        tenant.watermark.as_mut().unwrap().signing_failed_since = Some("2026-11-21T09:01:05Z".to_owned());
        tenant.final_deliveries.places[0].refused_since = Some("2026-11-21T10:02:05Z".parse().unwrap());
    });
    let refused = page().await;
    assert!(refused.contains("refused since <time datetime=\"2026-11-21T10:02:05Z\">"), "{refused}");
    assert!(refused.contains("Manifests can’t be signed since <time datetime=\"2026-11-21T09:01:05Z\">"), "{refused}");
}
