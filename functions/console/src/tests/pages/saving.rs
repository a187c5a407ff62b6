//! Saves of the settings page: verified, anyway, without a change; and the test of a connected role.

use super::{forms::filled, *};

fn stored(world: &World) -> audit_log_core::fakes::FakeTenant {
    world.fakes.state().tenants["acme"].clone()
}

#[tokio::test]
async fn settings_that_do_not_work_are_saved_only_anyway() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    world.plan_step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied);
    let fields = filled(&version, &[("bucket", "missing-bucket")]);
    let page = browser.send("/settings", "/settings", &fields).await;
    assert_eq!((page.status.as_u16(), page.field("bucket").as_str()), (200, "missing-bucket"));
    for words in ["Not passed", "As planned.", ">Save anyway</button>", "data-unsaved", "tabindex=\"-1\" autofocus"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    assert_eq!(stored(&world).config.unwrap().bucket.as_deref(), Some("acme-audit-logs"), "nothing was saved");
    // A verification alone offers no save.
    let page = browser.send("/settings", "/settings/verify", &fields).await;
    assert!(page.text.contains("Not passed") && !page.text.contains("Save anyway"), "{}", page.text);

    let saved = browser.send("/settings", "/settings", &[fields, vec![("anyway", "yes")]].concat()).await;
    assert_eq!((saved.status.as_u16(), saved.location()), (303, "./settings?saved=yes"), "{}", saved.text);
    assert_eq!(stored(&world).config.unwrap().bucket.as_deref(), Some("missing-bucket"));
    let page = browser.get("/settings?saved=yes").await;
    assert!(page.text.contains("Settings saved, but not verified"), "{}", page.text);
    assert!(page.text.contains(">Not verified</span>"), "{}", page.text);

    world.fakes.state().findings.clear();
    let version = page.field("version");
    let saved = browser.send("/settings", "/settings", &filled(&version, &[])).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let page = browser.get("/settings?saved=yes").await;
    assert!(
        page.text.contains("Settings saved<") && page.text.contains("Waiting for the first export"),
        "{}",
        page.text
    );
}

#[tokio::test]
async fn settings_that_a_verification_refused_are_not_verified_even_if_they_deliver_as_before() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let save = async |hours: &str, more: &[(&str, &str)]| {
        let version = browser.get("/settings").await.field("version");
        let fields = [&filled(&version, &[("frequencyHours", hours)]), more].concat();
        let saved = browser.send("/settings", "/settings", &fields).await;
        (saved.status.as_u16(), browser.get("/settings").await.text.contains(">Not verified</span>"))
    };
    assert_eq!(save("1", &[]).await, (303, false));
    world.plan_step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied);
    assert_eq!(save("2", &[]).await, (200, false), "refused");
    assert_eq!(save("2", &[("anyway", "yes")]).await, (303, true));
}

#[tokio::test]
async fn a_role_that_is_not_safe_is_not_used_anyway() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    world.plan_step(StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
    let fields = [filled(&version, &[("bucket", "other-bucket")]), vec![("anyway", "yes")]].concat();
    assert_eq!(browser.send("/settings", "/settings", &fields).await.status, 422);
    assert_eq!(stored(&world).config.unwrap().bucket.as_deref(), Some("acme-audit-logs"));
}

#[tokio::test]
async fn a_save_without_a_change_raises_no_version_and_records_no_change() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    let form = filled(&version, &[("frequencyHours", "1"), ("format", "json"), ("compression", "none")]);
    let before = stored(&world);
    for _ in 0..2 {
        assert_eq!(browser.send("/settings", "/settings", &form).await.status, 303);
    }
    assert_eq!(stored(&world), before);
    assert_eq!(world.recorded("acme", "Export Settings Changed").len(), 1);
    assert_eq!(world.save("acme", settings("acme")).await.status, 200);
    assert_eq!(stored(&world), before, "by the API");
}

#[tokio::test]
async fn an_unchanged_form_is_not_saved_over_what_another_admin_saves_during_its_verification() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    let form = filled(&version, &[("frequencyHours", "1"), ("format", "json"), ("compression", "none")]);
    let fakes = world.fakes.clone();
    let theirs = move || {
        let mut state = fakes.state();
        let config = state.tenants.get_mut("acme").unwrap().config.as_mut().unwrap();
        (config.bucket, config.version) = (Some("theirs-bucket".to_owned()), Some("3".to_owned()));
    };
    world.fakes.once(Op::Verify, None, Fault::After(Box::new(theirs)));
    let page = browser.send("/settings", "/settings", &form).await;
    assert_eq!(page.status, 412);
    assert!(page.text.contains("<code>theirs-bucket</code>"), "{}", page.text);
}

#[tokio::test]
async fn the_start_of_the_history_is_offered_until_the_first_export() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let page = browser.get("/settings").await;
    assert!(page.text.contains("As saved: from <time datetime=\"2026-11-21T10:03:12Z\">"), "{}", page.text);
    assert!(page.text.contains("Can’t be changed after the first export."), "{}", page.text);
    let earlier = [("history", "date"), ("historyFrom", "2026-11-19")];
    let version = page.field("version");
    let saved = browser.send("/settings", "/settings", &filled(&version, &earlier)).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    assert_eq!(stored(&world).watermark.unwrap().exported_until.as_deref(), Some("2026-11-19T00:00:00Z"));
    let changes = world.recorded("acme", "Export Settings Changed");
    let exported_from: Vec<_> = changes.iter().map(|it| it["additionalInfo"]["exportsFrom"].clone()).collect();
    assert!(exported_from.contains(&json!("2026-11-19T00:00:00Z")), "{exported_from:?}");

    let lease = audit_log_core::lease::Lease::new([9; 16], now());
    world.fakes.state().tenants.get_mut("acme").unwrap().lease = Some(lease);
    let version = browser.get("/settings").await.field("version");
    let earliest = [("history", "date"), ("historyFrom", "2026-11-18")];
    let page = browser.send("/settings", "/settings", &filled(&version, &earliest)).await;
    assert!(page.status == 422 && page.text.contains("while an export is running"), "{}", page.text);

    world.fakes.state().tenants.get_mut("acme").unwrap().lease = None;
    world.succeed();
    let page = browser.get("/settings").await;
    assert!(!page.text.contains("name=\"history\""), "{}", page.text);
    let page = browser.send("/settings", "/settings", &filled(&version, &earliest)).await;
    assert!(page.status == 422, "{}", page.text);
    assert_eq!(stored(&world).watermark.unwrap().exported_until.as_deref(), Some("2026-11-19T00:00:00Z"));
}

#[tokio::test]
async fn a_connected_role_is_tested_again_and_nothing_changes() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let page = browser.get("/connector").await;
    assert_eq!(page.text.matches("<span class=\"unseen\">Done: </span>").count(), 2, "{}", page.text);
    assert!(page.text.contains(">Test again</button>") && page.text.contains(">Continue</a>"), "{}", page.text);
    let before = stored(&world);
    for (path, fields, to) in [
        ("/connector/test", &[][..], "../connector?tested=yes"),
        ("/connector", &[("roleArn", ROLE)][..], "./connector?tested=yes"),
    ] {
        let tested = browser.send("/connector", path, fields).await;
        assert_eq!((tested.status.as_u16(), tested.location()), (303, to), "{path}: {}", tested.text);
    }
    let page = browser.get("/connector?tested=yes").await;
    assert!(page.text.contains("The role passed the test"), "{}", page.text);
    assert_eq!(world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await.status, 200);
    assert_eq!(stored(&world), before, "also by the API");
    assert_eq!(world.recorded("acme", "Connector Connected").len(), 1);
    world.plan_step(StepName::AssumeRole, StepStatus::Failed, Code::AssumeRoleDenied);
    let page = browser.send("/connector", "/connector/test", &[]).await;
    assert_eq!(page.status, 422);
    assert!(page.text.contains("As planned.") && page.text.contains("Do this."), "{}", page.text);
    assert_eq!(stored(&world), before);
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    let page = browser.send("/connector", "/connector/test", &[]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "../connector"), "there is no role to test");
}

#[tokio::test]
async fn a_change_of_the_schema_without_a_change_of_the_prefix_is_warned_of() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    for (changes, is_warned) in [
        (vec![("schema", "ocsf")], true),
        (vec![("schema", "native")], false),
        (vec![("schema", "ocsf"), ("prefix", "ocsf")], false),
    ] {
        let preview = browser.send("/settings", "/settings/preview", &filled(&version, &changes)).await;
        assert_eq!(preview.text.contains("files of another schema"), is_warned, "{changes:?}: {}", preview.text);
    }
}
