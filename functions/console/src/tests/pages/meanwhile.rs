//! Somebody else saves while a form is open: nothing of theirs is replaced by one who has not been told.

use super::{forms::filled, *};

async fn somebody_else_saves(world: &World) {
    let theirs = json!({ "bucket": "theirs-bucket", "region": "eu-west-1", "frequencyHours": 6 });
    assert_eq!(world.save("acme", theirs).await.status, 200);
}

fn stored_bucket(world: &World) -> Option<String> {
    world.fakes.state().tenants["acme"].config.clone().unwrap().bucket
}

#[tokio::test]
async fn a_save_over_somebody_elses_is_explained_and_can_be_repeated() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.look("/settings").await.field("version");
    somebody_else_saves(&world).await;
    let page = browser.send("/settings", "/settings", &filled(&version, &[("bucket", "mine-bucket")])).await;
    assert_eq!(page.status, 412);
    assert_eq!(page.field("bucket"), "mine-bucket");
    assert!(
        page.text.contains("Somebody else saved") && page.text.contains("<code>theirs-bucket</code>"),
        "{}",
        page.text
    );
    let newer = page.field("version");
    assert_ne!(newer, version);
    let saved = browser.send("/settings", "/settings", &filled(&newer, &[("bucket", "mine-bucket")])).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    assert_eq!(browser.look("/settings").await.field("bucket"), "mine-bucket");
}

#[tokio::test]
async fn a_verification_does_not_make_a_form_one_that_is_based_on_what_somebody_else_saved() {
    let too_many = || [("prefix", "typed")];
    for (what, changes, status) in [
        ("a good form", too_many(), 200),
        ("a wrong field", [("prefix", "\"")], 422),
        ("too many tries", too_many(), 429),
    ] {
        let world = World::with("acme").await;
        let browser = world.browser("acme", ADMIN);
        let version = browser.look("/settings").await.field("version");
        let form = filled(&version, &changes);
        let mut verified = browser.send("/settings", "/settings/verify", &form).await;
        somebody_else_saves(&world).await;
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
