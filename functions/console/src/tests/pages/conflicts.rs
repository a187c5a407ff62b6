//! Another admin saves while a form is open: nobody replaces those settings without being shown them.

use super::{forms::filled, *};

async fn another_admin_saves(world: &World) {
    let theirs = json!({ "bucket": "theirs-bucket", "region": "eu-west-1", "frequencyHours": 6 });
    assert_eq!(world.save("acme", theirs).await.status, 200);
}

fn stored_bucket(world: &World) -> Option<String> {
    world.fakes.state().tenants["acme"].config.clone().unwrap().bucket
}

#[tokio::test]
async fn a_conflict_is_explained_and_the_save_can_be_repeated() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    another_admin_saves(&world).await;
    let page = browser.send("/settings", "/settings", &filled(&version, &[("bucket", "mine-bucket")])).await;
    assert_eq!(page.status, 412);
    assert_eq!(page.field("bucket"), "mine-bucket");
    assert!(
        page.text.contains("Someone else saved changes") && page.text.contains("<code>theirs-bucket</code>"),
        "{}",
        page.text
    );
    let newer = page.field("version");
    assert_ne!(newer, version);
    let saved = browser.send("/settings", "/settings", &filled(&newer, &[("bucket", "mine-bucket")])).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    assert_eq!(browser.get("/settings").await.field("bucket"), "mine-bucket");
}

#[tokio::test]
async fn a_verification_does_not_move_a_form_to_a_newer_version() {
    let too_many = || [("prefix", "typed")];
    for (what, changes, status) in [
        ("a good form", too_many(), 200),
        ("a wrong field", [("prefix", "\"")], 422),
        ("too many tries", too_many(), 429),
    ] {
        let world = World::with("acme").await;
        let browser = world.browser("acme", ADMIN);
        let version = browser.get("/settings").await.field("version");
        let form = filled(&version, &changes);
        let mut verified = browser.send("/settings", "/settings/verify", &form).await;
        another_admin_saves(&world).await;
        for _ in 0..20 {
            verified = browser.send("/settings", "/settings/verify", &form).await;
            if verified.status.as_u16() == status {
                break;
            }
        }
        assert_eq!((verified.status.as_u16(), verified.field("version")), (status, version.clone()), "{what}");
        let again = verified.field("version");
        let form = filled(&again, &[("bucket", "mine-bucket")]);
        let saved = browser.send("/settings", "/settings", &form).await;
        assert_eq!(saved.status, 412, "{what}: {}", saved.text);
        assert_eq!(stored_bucket(&world).as_deref(), Some("theirs-bucket"), "{what}");
    }
}
