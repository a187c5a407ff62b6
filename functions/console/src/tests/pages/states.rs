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
