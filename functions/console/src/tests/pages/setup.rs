//! The guided setup: from the first page to the first export, without scripts.

use axum::Router;

use super::{crawl::assert_accessible, forms::filled, *};

const PAGE: &str = "/setup";
const OTHER_ROLE: &str = "arn:aws:iam::222222222222:role/other";

/// The filled-in form of the destination.
fn destination<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [filled("", changes), vec![("createBucket", "yes")]].concat()
}

/// The steps of the page that are done, and those that are to be done now.
fn progress(page: &Answer) -> (usize, usize) {
    (
        page.text.matches("<span class=\"unseen\">Done: </span>").count(),
        page.text.matches("aria-current=\"step\"").count(),
    )
}

fn stored(world: &World) -> audit_log_core::fakes::FakeTenant {
    world.fakes.state().tenants["acme"].clone()
}

#[tokio::test]
async fn an_admin_is_led_from_the_first_page_to_the_first_export() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    for (path, to) in [
        ("/", "./setup"),
        ("/?slash=added", "./setup"),
        ("/?signedIn=yes", "./setup?signedIn=yes"),
        ("/?signedIn=yes&slash=added", "./setup?signedIn=yes"),
    ] {
        let landing = browser.get(path).await;
        assert_eq!((landing.status.as_u16(), landing.location()), (303, to), "{path}");
    }
    let page = browser.get("/setup?signedIn=yes").await;
    assert!(page.text.contains("You are now signed in for the tenant acme"), "{}", page.text);
    assert_eq!((page.status.as_u16(), progress(&page)), (200, (0, 1)));
    assert_accessible(&page.text, PAGE);
    assert!(page.text.contains("<a href=\"./setup\" aria-current=\"page\">"), "{}", page.text);

    let changes = [("history", "date"), ("historyFrom", "2026-11-20")];
    let kept = browser.send(PAGE, PAGE, &destination(&changes)).await;
    assert_eq!((kept.status.as_u16(), kept.location()), (303, "./setup"), "{}", kept.text);
    assert!(stored(&world).watermark.is_none(), "nothing is saved yet");
    let page = browser.get(PAGE).await;
    assert_eq!(progress(&page), (1, 2), "role and activation are one go: {}", page.text);
    assert_accessible(&page.text, PAGE);
    let folder = "security/audit-logs/tenant=acme/";
    for words in
        ["acme-audit-logs", "created along with the role", folder, "NDJSON, gzip, every 6 hours", "2026-11-20 (UTC)"]
    {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }

    let page = browser.send(PAGE, "/setup/activate", &[("roleArn", ROLE), ("version", &page.field("version"))]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "../setup"), "{}", page.text);
    let verified = world.fakes.state().verified.clone();
    let drafts: Vec<_> = verified.iter().map(|it| (it.draft.role_arn.as_deref(), it.draft.bucket.as_deref())).collect();
    assert_eq!(drafts, [(Some(ROLE), Some("acme-audit-logs"))], "one verification of both");
    let acme = stored(&world);
    let config = acme.config.unwrap();
    let saved = (config.bucket.as_deref(), config.prefix.as_deref(), config.role_arn.as_deref());
    assert_eq!(saved, (Some("acme-audit-logs"), Some("security"), Some(ROLE)));
    assert_eq!(acme.watermark.unwrap().exported_until.as_deref(), Some("2026-11-20T00:00:00Z"));
    assert_eq!((acme.setup_draft, acme.verified_version.map(|it| it.to_string())), (None, config.version));
    let page = browser.get(PAGE).await;
    assert_eq!(progress(&page), (3, 1), "{}", page.text);
    assert_accessible(&page.text, PAGE);
    for words in
        ["Waiting for the first export", "21 Nov 2026, 11:01", "20261120T000000Z_20261120T010000Z_0001.ndjson.gz"]
    {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }

    world.succeed();
    assert_eq!(browser.get(PAGE).await.location(), "./status");
    let logs = browser.get("/").await;
    assert_eq!(logs.status, 200);
    assert!(!logs.text.contains("Set up export"), "{}", logs.text);
}

#[tokio::test]
async fn until_the_first_export_admins_find_the_setup_and_others_read_whom_to_ask() {
    let world = World::new();
    let (admin, reader) = (world.browser("acme", ADMIN), world.browser("acme", READ));
    let notice = "Exports to S3 are not set up yet";
    for path in ["/?period=7d", "/status", "/connector", "/settings"] {
        let page = admin.get(path).await;
        assert!(page.status == 200 && !page.text.contains(notice), "{path}: {}", page.text);
        assert!(page.text.contains(">Set up export</a>"), "{path}: {}", page.text);
        assert!(page.text.contains("href=\"./?period=7d\""), "{path}: the logs can't be reached");
    }
    for path in ["/", "/status"] {
        let page = reader.get(path).await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text.contains(notice) && page.text.contains("audit-logs:admin"), "{path}: {}", page.text);
        assert!(!page.text.contains("href=\"./setup\""), "{path}");
        assert!(!reader.get_partial(path).await.text.contains(notice), "{path}");
    }
    world.onboard("acme").await;
    assert_eq!(admin.get("/").await.location(), "./setup", "nothing was exported yet");
    world.succeed();
    assert!(!reader.get("/").await.text.contains(notice));
}

#[tokio::test]
async fn each_way_and_the_steps_to_send_have_the_whole_destination() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    let key = "arn:aws:kms:eu-central-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let changes = [("region", "eu-central-1"), ("encryption", "sse-kms"), ("kmsKeyArn", key), ("frequencyHours", "6")];
    let empty = browser.get("/setup/steps").await;
    assert!(empty.text.contains("The bucket is not filled in yet"), "{}", empty.text);
    assert_eq!(browser.send(PAGE, PAGE, &destination(&changes)).await.status, 303);
    let connector = world.admin("acme", "GET", "/v1/connector", None).await.json();
    let [link, cli, terraform] =
        ["quickCreateUrl", "cli", "terraform"].map(|name| connector[name].as_str().unwrap().to_owned());
    assert!(link.contains("region=eu-central-1#") && link.contains("param_CreateBucket=true"), "{link}");
    // The customer's alarm waits for an export and three hours more.
    assert!(link.contains("param_AlarmAfterHours=9"), "{link}");
    assert!(cli.contains("\"AlarmAfterHours\",\"ParameterValue\":\"9\""), "{cli}");
    assert!(terraform.contains("type        = number\n  default     = 9\n"), "{terraform}");
    assert!(
        cli.contains("--region eu-central-1") && cli.contains("\"CreateBucket\",\"ParameterValue\":\"true\""),
        "{cli}"
    );
    for (text, key) in [
        (&link, url::form_urlencoded::byte_serialize(key.as_bytes()).collect()),
        (&cli, key.to_owned()),
        (&terraform, key.to_owned()),
    ] {
        for value in ["acme-audit-logs", "security", "acme", key.as_str()] {
            assert!(text.contains(value), "{value}: {text}");
        }
    }
    for line in ["default     = true", "default     = \"eu-central-1\""] {
        assert!(terraform.contains(line), "{line}: {terraform}");
    }
    let pages = [browser.get(PAGE).await, browser.get("/connector").await, browser.get("/setup/steps").await];
    for (page, text) in pages.iter().map(|page| (page, unescaped(&page.text))) {
        for way in [&link, &cli, &terraform] {
            assert!(text.contains(way.as_str()), "{}: {way}", page.title());
        }
        assert!(!text.contains("__Host-"), "{}", page.title());
    }
    let steps = unescaped(&pages[2].text);
    let external_id = stored(&world).config.unwrap().external_id.unwrap();
    for words in [
        external_id.as_str(),
        "created along with the role",
        "SEND BACK",
        "RoleArn",
        "security/audit-logs/tenant=acme/",
    ] {
        assert!(steps.contains(words), "{words}: {steps}");
    }
    let file = browser.get("/connector/terraform.tf").await;
    assert_eq!(file.text, terraform);
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"audit-log-export-role.tf\"");
}

#[tokio::test]
async fn wrong_fields_of_the_destination_are_named_and_nothing_is_kept() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    let wrong = [("bucket", "Not A Bucket"), ("region", "moon-1"), ("history", "date"), ("historyFrom", "1999-01-01")];
    let page = browser.send(PAGE, PAGE, &destination(&wrong)).await;
    assert_eq!(page.status, 422);
    for (name, typed) in [("bucket", "Not A Bucket"), ("region", "moon-1"), ("historyFrom", "1999-01-01")] {
        assert_eq!(page.field(name), typed);
        assert!(page.text.contains(&format!("id=\"{name}-error\"")), "{name}: {}", page.text);
    }
    assert!(!page.text.contains("id=\"roleArn-error\"") && page.text.contains("data-unsaved"), "{}", page.text);
    assert!(page.text.contains("name=\"createBucket\" value=\"yes\" checked"), "{}", page.text);
    assert_accessible(&page.text, PAGE);
    assert_eq!(stored(&world).setup_draft, None);
    let activated = browser.send(PAGE, "/setup/activate", &[("roleArn", ROLE), ("version", "\"0\"")]).await;
    assert_eq!(activated.status, 422, "there is no destination yet: {}", activated.text);
    assert_eq!(stored(&world).config.unwrap().role_arn, None);
    // What was kept can be changed, and stays when the change is wrong.
    assert_eq!(browser.send(PAGE, PAGE, &destination(&[])).await.status, 303);
    let page = browser.get("/setup?step=destination").await;
    assert_eq!((page.field("bucket").as_str(), page.field("frequencyHours").as_str()), ("acme-audit-logs", "6"));
    assert_eq!(browser.send(PAGE, PAGE, &destination(&[("bucket", "")])).await.status, 422);
    assert_eq!(stored(&world).setup_draft.unwrap().settings.bucket.as_deref(), Some("acme-audit-logs"));
}

#[tokio::test]
async fn a_setup_that_does_not_work_shows_why_and_can_be_saved_anyway() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    browser.send(PAGE, PAGE, &destination(&[])).await;
    let activate = async |role: &str, more: &[(&str, &str)]| {
        let version = browser.get(PAGE).await.field("version");
        browser.send(PAGE, "/setup/activate", &[&[("roleArn", role), ("version", &version)], more].concat()).await
    };
    let page = activate("no-role", &[]).await;
    assert_eq!((page.status.as_u16(), page.field("roleArn").as_str()), (422, "no-role"));
    assert!(page.text.contains("id=\"roleArn-error\""), "{}", page.text);
    assert_accessible(&page.text, PAGE);

    world.plan_step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied);
    let page = activate(ROLE, &[]).await;
    assert_eq!(page.status, 200, "{}", page.text);
    for words in ["Not passed", "As planned.", "Do this.", "Save anyway", "action=\"../setup/activate\""] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    assert_accessible(&page.text, PAGE);
    assert_eq!(page.text.matches(" autofocus").count(), 1);
    let acme = stored(&world);
    assert!(acme.watermark.is_none() && acme.config.unwrap().role_arn.as_deref() == Some(ROLE), "only the role is");
    let saved = activate(ROLE, &[("anyway", "yes")]).await;
    assert_eq!((saved.status.as_u16(), saved.location()), (303, "../setup"), "{}", saved.text);
    let page = browser.get(PAGE).await;
    assert!(page.text.contains("Not verified") && page.text.contains("has not passed a test"), "{}", page.text);
    let late = browser.send(PAGE, PAGE, &destination(&[("bucket", "late-bucket")])).await;
    assert_eq!((late.status.as_u16(), stored(&world).setup_draft), (412, None), "the settings page has it now");
    assert!(
        late.text.contains("Exports were activated meanwhile") && !late.text.contains("still here"),
        "{}",
        late.text
    );
}

#[tokio::test]
async fn a_setup_that_another_admin_went_on_with_is_not_activated() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    browser.send(PAGE, PAGE, &destination(&[])).await;
    let version = browser.get(PAGE).await.field("version");
    world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": OTHER_ROLE }))).await;
    let page = browser.send(PAGE, "/setup/activate", &[("roleArn", ROLE), ("version", &version)]).await;
    assert_eq!(page.status, 412);
    assert!(page.text.contains("Someone else saved changes"), "{}", page.text);
    assert_eq!(stored(&world).config.unwrap().role_arn.as_deref(), Some(OTHER_ROLE));
    let version = browser.get(PAGE).await.field("version");
    browser.send(PAGE, PAGE, &destination(&[("bucket", "theirs-bucket")])).await;
    let page = browser.send(PAGE, "/setup/activate", &[("roleArn", ROLE), ("version", &version)]).await;
    assert_eq!(page.status, 412, "another destination than the one that was seen");
    assert!(page.text.contains("theirs-bucket"), "{}", page.text);
    assert!(stored(&world).watermark.is_none());
}

#[tokio::test]
async fn nothing_of_an_activation_is_stored_over_what_another_admin_changes_during_its_verification() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    browser.send(PAGE, PAGE, &destination(&[])).await;
    let version = browser.get(PAGE).await.field("version");
    let fakes = world.fakes.clone();
    let theirs = move || {
        let mut state = fakes.state();
        let config = state.tenants.get_mut("acme").unwrap().config.as_mut().unwrap();
        (config.role_arn, config.version) = (Some(OTHER_ROLE.to_owned()), Some("1".to_owned()));
    };
    world.fakes.once(Op::Verify, None, Fault::After(Box::new(theirs)));
    let page = browser.send(PAGE, "/setup/activate", &[("roleArn", ROLE), ("version", &version)]).await;
    assert_eq!(page.status, 412, "{}", page.text);
    let acme = stored(&world);
    assert_eq!((acme.config.unwrap().role_arn.as_deref(), acme.watermark), (Some(OTHER_ROLE), None));
}

/// With its settings, a tenant that was disconnected would go on with the exports to the place before.
#[tokio::test]
async fn exports_of_a_disconnected_tenant_go_on_only_to_the_destination_that_was_verified() {
    let world = World::with("acme").await;
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    let browser = world.browser("acme", ADMIN);
    let kept = browser.send(PAGE, PAGE, &destination(&[("bucket", "next-bucket")])).await;
    assert_eq!(kept.status, 303, "{}", kept.text);
    let activate = async || {
        let version = browser.get(PAGE).await.field("version");
        browser.send(PAGE, "/setup/activate", &[("roleArn", OTHER_ROLE), ("version", &version)]).await
    };
    let before = stored(&world);
    world.plan_step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied);
    let page = activate().await;
    assert!(page.status == 200 && page.text.contains("Not passed"), "{}", page.text);
    assert_eq!(stored(&world), before, "neither the role nor a schedule");
    world.fakes.state().findings.clear();
    assert_eq!(activate().await.status, 303);
    let after = stored(&world);
    let config = after.config.unwrap();
    assert_eq!((config.bucket.as_deref(), config.role_arn.as_deref()), (Some("next-bucket"), Some(OTHER_ROLE)));
    assert!(after.watermark.unwrap().due_shard.is_some() && after.setup_draft.is_none());
    assert_eq!(after.final_deliveries, before.final_deliveries, "nothing more is left for the place before");
}

#[tokio::test]
async fn what_a_setup_has_typed_is_shown_until_exports_are_scheduled() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    browser.send(PAGE, PAGE, &destination(&[])).await;
    let page = browser.get("/settings").await;
    assert_eq!((page.field("bucket").as_str(), page.field("prefix").as_str()), ("acme-audit-logs", "security"));
    assert!(!page.text.contains("data-unsaved"), "{}", page.text);
    world.onboard("acme").await;
    let settings = audit_log_core::settings::Draft { bucket: Some("late-bucket".to_owned()), ..Default::default() };
    let late = audit_log_core::setup_draft::SetupDraft { settings, ..Default::default() };
    world.change(|tenant| tenant.setup_draft = Some(late));
    for path in ["/connector", "/setup/steps", PAGE, "/settings"] {
        assert!(!browser.get(path).await.text.contains("late-bucket"), "{path}");
    }
}

#[tokio::test]
async fn links_to_the_logs_lead_to_the_logs_while_the_setup_is_pending() {
    let world = World::new();
    world.event("acme", 1, "Signed In");
    let browser = world.browser("acme", ADMIN);
    for (address, _) in PAGES.iter().filter(|(address, _)| address.starts_with("/event")) {
        let page = browser.get(address).await;
        assert!(page.text.contains("<a href=\"./?period=7d\">Audit logs</a>"), "{}", page.text);
    }
    let page = browser.get("/status?pageToken=x").await;
    assert!(page.text.contains("href=\"./?period=7d\">Go to audit logs"), "{}", page.text);
}

/// A gateway that removes a base path.
#[tokio::test]
async fn the_setup_stays_below_a_base_path() {
    let world = World::new();
    let world = World { router: Router::new().nest_service("/audit", world.router.clone()), ..world };
    let browser = world.browser("acme", ADMIN);
    let location = |from: &str, answer: &Answer| {
        assert_eq!(answer.status, 303, "{from}: {}", answer.text);
        url::Url::parse(&format!("https://host{from}")).unwrap().join(answer.location()).unwrap().path().to_owned()
    };
    assert_eq!(location("/audit/", &browser.get("/audit/").await), "/audit/setup");
    let (page, keep, activate) = ("/audit/setup", "/audit/setup", "/audit/setup/activate");
    for (path, form, action) in
        [(keep, destination(&[("bucket", "")]), "./setup"), (activate, vec![("roleArn", ROLE)], "../setup")]
    {
        let answer = browser.send(page, path, &form).await;
        assert!(answer.text.contains(&format!("action=\"{action}\"")), "{path}: {}", answer.text);
    }
    assert_eq!(location(keep, &browser.send(page, keep, &destination(&[])).await), page);
    let version = browser.get(page).await.field("version");
    let sent = [("roleArn", ROLE), ("version", version.as_str())];
    assert_eq!(location(activate, &browser.send(page, activate, &sent).await), page);
    // The whole page of a verification is deeper than the page of the settings; parts of it have its root.
    let version = browser.get("/audit/settings").await.field("version");
    let wrong = filled(&version, &[("bucket", "")]);
    for (path, root) in [("/audit/settings/verify", "../"), ("/audit/settings", "./")] {
        let whole = browser.send("/audit/settings", path, &wrong).await;
        assert!(whole.text.contains(&format!("action=\"{root}settings\"")), "{path}: {}", whole.text);
        let csrf = browser.get("/audit/settings").await.field("csrf");
        let headers = [("sec-fetch-site", "same-origin"), ("hx-request", "true"), ("page-root", root)];
        let part =
            browser.post("/audit/settings/verify", &headers, &[wrong.clone(), vec![("csrf", &csrf)]].concat()).await;
        assert!(
            part.text.starts_with("<form") && part.text.contains(&format!("action=\"{root}settings\"")),
            "{}",
            part.text
        );
    }
}
