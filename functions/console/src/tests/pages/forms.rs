//! Forms without scripts, wrong input, and the parts that scripts ask for.

use utoipa::PartialSchema;

use super::*;
use crate::draft::SettingsDraft;

/// The filled-in settings form, with changes.
pub(super) fn filled<'a>(version: &'a str, changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let fields = [
        ("version", version),
        ("bucket", "acme-audit-logs"),
        ("region", "eu-west-1"),
        ("prefix", "security"),
        ("frequencyHours", "6"),
        ("format", "ndjson"),
        ("compression", "gzip"),
        ("schema", "native"),
        ("encryption", "bucket"),
        ("kmsKeyArn", ""),
        ("bucketOwner", ""),
        ("history", "now"),
        ("historyFrom", ""),
    ];
    let changed = |name: &str| changes.iter().find(|(it, _)| *it == name).map(|(_, value)| *value);
    fields.into_iter().map(|(name, value)| (name, changed(name).unwrap_or(value))).collect()
}

#[tokio::test]
async fn an_admin_connects_configures_verifies_and_disconnects_without_a_script() {
    let world = World::new();
    let browser = world.browser("acme", ADMIN);
    let page = browser.get("/connector").await;
    assert!(page.text.contains("Not connected") && !page.text.contains("Disconnect</a>"), "{}", page.text);
    let external_id = world.fakes.state().tenants["acme"].config.clone().unwrap().external_id.unwrap();
    assert!(page.text.contains(&external_id) && page.text.contains("rel=\"noopener noreferrer\""));
    assert!(browser.get("/settings").await.text.contains("Connect a role first"));

    let connected = browser.send("/connector", "/connector", &[("roleArn", &format!(" {ROLE} "))]).await;
    assert_eq!(
        (connected.status.as_u16(), connected.location()),
        (303, "./connector?connected=yes"),
        "{}",
        connected.text
    );
    let page = browser.get("/connector").await;
    assert!(page.text.contains("<a href=\"./setup\">Set up export</a>"), "{}", page.text);

    let form = browser.get("/settings").await;
    for (region, is_listed) in [("eu-west-1", true), ("cn-north-1", false), ("eusc-de-east-1", false)] {
        assert_eq!(form.text.contains(&format!("<option value=\"{region}\">")), is_listed, "{region}");
    }
    let hint = form.text.split("id=\"format-hint\">").nth(1).unwrap().split("</p>").next().unwrap();
    assert!(hint.contains("NDJSON") && hint.contains("for query engines and SIEMs"), "{hint}");
    let fields = [("history", "date"), ("historyFrom", "2026-11-20")];
    let version = form.field("version");
    let verified = browser.send("/settings", "/settings/verify", &filled(&version, &fields)).await;
    assert_eq!(verified.status, 200, "{}", verified.text);
    assert_eq!(verified.text.matches("<span class=\"step-status\">Passed</span>").count(), 5);
    assert_eq!((verified.field("prefix").as_str(), verified.field("frequencyHours").as_str()), ("security", "6"));
    let preview = browser.send("/settings", "/settings/preview", &filled(&version, &fields)).await;
    let key = "security/audit-logs/tenant=acme/dt=2026-11-20/20261120T000000Z_20261120T010000Z_0001.ndjson.gz";
    assert!(preview.text.contains(key) && preview.text.contains("21 Nov 2026, 11:01"), "{}", preview.text);

    let saved = browser.send("/settings", "/settings", &filled(&version, &fields)).await;
    assert_eq!((saved.status.as_u16(), saved.location()), (303, "./settings?saved=yes"), "{}", saved.text);
    let page = browser.get("/settings?saved=yes").await;
    assert!(
        page.text.contains("Settings saved") && page.text.contains("Waiting for the first export"),
        "{}",
        page.text
    );
    assert!(page.text.contains(key), "the preview was wrong");

    assert!(browser.get("/connector/disconnect").await.text.contains("<strong>Exports stop</strong>"));
    let stopped = browser.send("/connector", "/connector/disconnect", &[]).await;
    assert_eq!((stopped.status.as_u16(), stopped.location()), (303, "../connector?disconnected=yes"));
    let page = browser.get("/connector?disconnected=yes").await;
    assert!(page.text.contains("Disconnected") && page.text.contains("The role is disconnected"), "{}", page.text);
    let untrue = browser.get("/connector?connected=yes").await;
    assert!(!untrue.text.contains("The role is connected"), "{}", untrue.text);
    let recorded = ["Connection Check Passed", "Connector Connected"];
    assert!(recorded.iter().all(|action| world.fakes.actions("acme").iter().any(|it| it == action)));
}

#[tokio::test]
async fn an_admin_rotates_the_external_id_without_a_script() {
    const PAGE: &str = "/connector/external-id";
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let ids = || {
        let config = world.fakes.state().tenants["acme"].config.clone().unwrap();
        (config.external_id.unwrap(), config.pending_external_id)
    };
    assert!(browser.get("/connector").await.text.contains("Rotate the external ID"));
    assert!(browser.get(PAGE).await.text.contains("Start the rotation"));
    let started = browser.send(PAGE, PAGE, &[]).await;
    assert_eq!((started.status.as_u16(), started.location()), (303, "./external-id"));
    let (current, pending) = ids();
    let pending = pending.unwrap();
    let page = browser.get(PAGE).await;
    for words in [&current, &pending, "aws cloudformation update-stack", "Cancel the rotation"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    let connector = browser.get("/connector?rotated=yes").await;
    assert!(connector.text.contains(&pending) && connector.text.contains("Finish the rotation"), "{}", connector.text);
    assert!(!connector.text.contains("The new external ID is in use"), "it is not");

    let verify = format!("{PAGE}/verify");
    let early = browser.send(PAGE, &verify, &[]).await;
    assert_eq!(early.status, 200);
    assert!(early.text.contains("The new external ID is not in use yet"), "{}", early.text);
    world.plan_step(StepName::AssumeRole, StepStatus::Failed, Code::AssumeRoleDenied);
    let refused = browser.send(PAGE, &verify, &[]).await;
    assert!(refused.text.contains("As planned.") && refused.text.contains("Do this."), "{}", refused.text);
    world.fakes.state().findings.clear();
    world.fakes.once(Op::Verify, None, super::super::connecting::completing(&world.fakes, "acme"));
    let verified = browser.send(PAGE, &verify, &[]).await;
    assert_eq!((verified.status.as_u16(), verified.location()), (303, "../../connector?rotated=yes"));
    assert_eq!(ids(), (pending, None));
    let page = browser.get("/connector?rotated=yes").await;
    assert!(page.text.contains("The new external ID is in use") && !page.text.contains(&current), "{}", page.text);

    browser.send(PAGE, PAGE, &[]).await;
    let cancelled = browser.send(PAGE, &format!("{PAGE}/cancel"), &[]).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.location()), (303, "../../connector"));
    assert_eq!(ids().1, None);
}

#[tokio::test]
async fn a_rotation_that_another_admin_cancels_during_the_verification_is_not_shown_as_completed() {
    const PAGE: &str = "/connector/external-id";
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    browser.send(PAGE, PAGE, &[]).await;
    let fakes = world.fakes.clone();
    let cancel = move || {
        fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().pending_external_id = None;
    };
    world.fakes.once(Op::Verify, None, Fault::After(Box::new(cancel)));
    // The second time it is cancelled before the verification.
    for _ in 0..2 {
        let verified = browser.send(PAGE, &format!("{PAGE}/verify"), &[]).await;
        assert_eq!(verified.status, 200, "{}", verified.text);
        assert!(verified.text.contains("This rotation is not pending any more"), "{}", verified.text);
    }
}

#[tokio::test]
async fn errors_are_shown_at_their_fields_and_the_input_stays() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let hostile = "\"><script>alert(1)</script>";
    let page = browser.send("/connector", "/connector", &[("roleArn", hostile)]).await;
    assert_eq!((page.status.as_u16(), page.field("roleArn").as_str()), (422, hostile));
    assert!(page.text.contains("id=\"roleArn-error\"") && !page.text.contains("<script>alert"), "{}", page.text);

    let version = browser.get("/settings").await.field("version");
    let wrong = [
        ("bucket", "Not A Bucket"),
        ("region", "moon-1"),
        ("prefix", hostile),
        ("frequencyHours", "ninety"),
        ("kmsKeyArn", "alias/x"),
        ("bucketOwner", "12"),
    ];
    for path in ["/settings", "/settings/verify"] {
        let page = browser.send("/settings", path, &filled(&version, &wrong)).await;
        assert_eq!(page.status, 422, "{path}");
        for (name, typed) in wrong {
            assert_eq!(page.field(name), typed, "{path}");
            assert!(page.text.contains(&format!("aria-describedby=\"{name}-hint {name}-error\"")), "{path} {name}");
            assert!(page.text.contains(&format!("id=\"{name}-error\"")), "{path} {name}");
        }
        assert!(page.text.contains("value=\"ndjson\" selected") && page.text.contains("value=\"gzip\" selected"));
        assert!(page.text.contains("<details class=\"advanced\" open>"), "a wrong field is hidden");
        assert!(!page.text.contains("<script>alert"));
    }
    assert_eq!(world.fakes.state().tenants["acme"].config.as_ref().unwrap().bucket.as_deref(), Some("acme-audit-logs"));
}

#[tokio::test]
async fn the_chosen_encryption_stays_selected_and_its_fields_open() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let page = browser.get("/settings").await;
    let selected = |text: &str, value: &str| text.contains(&format!("<option value=\"{value}\" selected>"));
    assert!(selected(&page.text, "bucket") && page.text.contains("<details class=\"advanced\">"), "{}", page.text);
    let version = page.field("version");
    let refused = browser.send("/settings", "/settings", &filled(&version, &[("encryption", "sse-kms")])).await;
    assert_eq!(refused.status, 422);
    assert!(selected(&refused.text, "sse-kms") && refused.text.contains("id=\"kmsKeyArn-error\""), "{}", refused.text);
    let saved = browser.send("/settings", "/settings", &filled(&version, &[("encryption", "sse-s3")])).await;
    assert_eq!(saved.status, 303, "{}", saved.text);
    let page = browser.get("/settings").await;
    assert!(selected(&page.text, "sse-s3") && page.text.contains("<details class=\"advanced\" open>"), "{}", page.text);
}

#[tokio::test]
async fn a_region_of_another_partition_and_a_blank_frequency_are_refused_at_their_fields() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    let wrong = [("region", "cn-north-1"), ("frequencyHours", " ")];
    let page = browser.send("/settings", "/settings", &filled(&version, &wrong)).await;
    assert_eq!((page.status.as_u16(), page.field("region").as_str()), (422, "cn-north-1"));
    for words in ["cn-north-1 is in the partition aws-cn", "Frequency must be a whole number from 1 to 24."] {
        assert!(page.text.contains(&format!("<span>{words}")), "{words}: {}", page.text);
    }
    // The first wrong field gets the focus.
    assert_eq!(page.text.matches(" autofocus").count(), 1);
    let region = page.text.split("<input id=\"region\"").nth(1).unwrap().split('>').next().unwrap();
    assert!(region.contains("aria-invalid=\"true\" autofocus"), "{region}");
    assert!(!browser.get("/settings").await.text.contains("autofocus"));
}

#[tokio::test]
async fn enter_in_a_field_of_the_settings_saves() {
    let world = World::with("acme").await;
    let page = world.browser("acme", ADMIN).get("/settings").await;
    let form = page.text.split("<form id=\"settings-form\"").nth(1).unwrap();
    let first = form.split("<button").nth(1).unwrap().split("</button>").next().unwrap();
    assert!(
        first.ends_with(">Verify and save") && !first.contains("formaction"),
        "Enter presses the first button: {first}"
    );
}

#[tokio::test]
async fn findings_of_a_verification_have_a_status_a_message_and_a_hint() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let step = |step, status, code: Code| Step {
        step,
        status,
        code: Some(code),
        message: "found <it>".to_owned(),
        hint: Some("do & fix".to_owned()),
        party: Some(code.party()),
    };
    let findings = [
        step(StepName::LeastPrivilege, StepStatus::Warning, Code::ExcessRights),
        step(StepName::PutObject, StepStatus::Failed, Code::AccessDenied),
        step(StepName::Region, StepStatus::Inconclusive, Code::Unavailable),
    ];
    world.fakes.state().findings.extend(findings.map(|step| (step.step, step)));
    let version = browser.get("/settings").await.field("version");
    let page = browser.send("/settings", "/settings/verify", &filled(&version, &[])).await;
    for words in ["Not passed", ">Warning<", ">Failed<", ">No clear answer<", "access_denied", "found &#60;it&#62;"] {
        assert!(page.text.contains(words), "{words}: {}", page.text);
    }
    assert!(page.text.contains("do &#38; fix"));

    let refused = step(StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
    world.fakes.state().findings.insert(refused.step, refused);
    let page = browser.send("/connector", "/connector", &[("roleArn", ROLE)]).await;
    assert_eq!((page.status.as_u16(), page.field("roleArn").as_str()), (422, ROLE));
    assert!(page.text.contains("id=\"roleArn-error\"") && page.text.contains("do &#38; fix"), "{}", page.text);
}

#[tokio::test]
async fn the_command_that_updates_the_roles_stack_is_on_the_report_and_on_the_connector_page() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    let verify = async || browser.send("/settings", "/settings/verify", &filled(&version, &[])).await;
    assert!(!verify().await.text.contains("update-stack"));
    world.plan_step(StepName::LeastPrivilege, StepStatus::Warning, Code::RoleFolderTooWide);
    let connector = browser.get("/connector").await;
    for (page, id) in [(verify().await, "command"), (connector, "update-cli")] {
        let (_, command) = page.text.split_once(&format!("<pre id=\"{id}\" tabindex=\"0\">")).unwrap();
        assert!(
            command.starts_with("aws cloudformation update-stack --stack-name audit-log-export-acme-"),
            "{command}"
        );
    }
}

#[tokio::test]
async fn an_outage_or_too_many_verifications_lose_no_input() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let version = browser.get("/settings").await.field("version");
    world.fakes.always(Op::Verify, None, Failure::new(Code::Unavailable, "table acme-internal"));
    for path in ["/settings", "/settings/verify"] {
        let page = browser.send("/settings", path, &filled(&version, &[("prefix", "typed")])).await;
        assert_eq!((page.status.as_u16(), page.field("prefix").as_str()), (503, "typed"), "{path}");
        assert!(!page.text.contains("acme-internal"));
    }
    let role = "arn:aws:iam::222222222222:role/typed";
    let page = browser.send("/connector", "/connector", &[("roleArn", role)]).await;
    assert_eq!((page.status.as_u16(), page.field("roleArn").as_str()), (503, role));
    world.fakes.heal();
    let mut page = page;
    for _ in 0..10 {
        page = browser.send("/settings", "/settings/verify", &filled(&version, &[("prefix", "typed")])).await;
    }
    assert_eq!((page.status.as_u16(), page.field("prefix").as_str()), (429, "typed"));
}

#[tokio::test]
async fn a_script_gets_only_the_part_that_it_replaces() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let page = browser.get("/settings").await;
    let (version, csrf) = (page.field("version"), page.field("csrf"));
    let with_token = |changes| [filled(&version, changes), vec![("csrf", csrf.as_str())]].concat();
    let headers = [("sec-fetch-site", "same-origin"), ("hx-request", "true")];
    let report = browser.post("/settings/verify", &headers, &with_token(&[])).await;
    assert!(
        report.status == 200 && report.text.starts_with("<div class=\"report\" tabindex=\"-1\">"),
        "{}",
        report.text
    );
    let form = browser.post("/settings/verify", &headers, &with_token(&[("bucket", "")])).await;
    assert_eq!((form.status.as_u16(), form.header("hx-retarget")), (422, "#settings-form"));
    assert!(form.text.starts_with("<form id=\"settings-form\"") && form.text.contains("bucket-error"), "{}", form.text);
    let note = Browser { world: &world, token: None }.post("/settings/verify", &headers, &with_token(&[])).await;
    assert_eq!((note.status.as_u16(), note.header("hx-retarget")), (401, "#notice"));
    assert!(note.text.starts_with("<div class=\"alert bad\"") && !note.text.contains("<html"), "{}", note.text);
}

/// The tests of pages send these fields.
#[test]
fn every_setting_has_a_value_in_these_tests() {
    let schema = serde_json::to_value(<SettingsDraft as PartialSchema>::schema()).unwrap();
    for setting in schema["properties"].as_object().unwrap().keys() {
        assert!(filled("", &[]).iter().any(|(name, _)| name == setting), "{setting} is not in `filled`");
    }
}

/// An admin who is about to change a destination reads what still goes to the old one, with and without scripts.
#[tokio::test]
async fn the_pages_say_before_a_change_what_is_delivered_where() {
    let world = World::with("acme").await;
    let browser = world.browser("acme", ADMIN);
    let (here, until) = ("s3://acme-audit-logs/security/ (account 222222222222)", "21 Nov 2026, 10:03");
    let contains =
        |page: &str, all: &[&str]| all.iter().for_each(|words| assert!(page.contains(words), "{words}: {page}"));
    let settings = browser.get("/settings").await;
    contains(&settings.text, &[here, until, "If you save another bucket, prefix, bucket owner, region or encryption"]);
    contains(&settings.text, &["input from:#bucket ", "input from:#bucketOwner "]);
    let version = settings.field("version");
    for (changes, there) in [
        (&[("bucket", "moved-logs")][..], "s3://moved-logs/security/ (account 222222222222)"),
        (&[("prefix", "")][..], "s3://acme-audit-logs/ (account 222222222222)"),
        (&[("bucketOwner", "333333333333")][..], "s3://acme-audit-logs/security/ (account 333333333333)"),
        // The next file can't be shown, but the destination can.
        (&[("bucket", "moved-logs"), ("frequencyHours", "x")][..], "s3://moved-logs/security/ (account 222222222222)"),
    ] {
        // With scripts the preview is asked for, and without them it comes with a verification.
        for path in ["/settings/preview", "/settings/verify"] {
            let page = browser.send("/settings", path, &filled(&version, changes)).await;
            contains(
                &page.text,
                &[here, there, until, "still go to the old place", "everything goes to the new place"],
            );
        }
    }
    let page = browser.send("/settings", "/settings/preview", &filled(&version, &[("encryption", "sse-s3")])).await;
    contains(&page.text, &[here, "go to this place once more, by the settings before it", until]);
    assert!(!page.text.contains("old place"), "{}", page.text);
    for changes in
        [&[("prefix", "/security/")][..], &[("bucket", "Not A Bucket")], &[("bucket", "")], &[("region", "")]]
    {
        let page = browser.send("/settings", "/settings/preview", &filled(&version, changes)).await;
        contains(&page.text, &["If you save another bucket"]);
        assert!(!page.text.contains("old place"), "{changes:?}: {}", page.text);
    }
    contains(&browser.get("/connector").await.text, &[here, until, "If you connect a role of another account"]);
    let fixed = json!({ "bucket": "acme-audit-logs", "region": "eu-west-1", "prefix": "security", "bucketOwner": "444444444444" });
    assert_eq!(world.save("acme", fixed).await.status, 200);
    let page = browser.get("/connector").await.text;
    contains(&page, &["(account 444444444444)", "Another role of the account 222222222222", "to the same bucket"]);
    let page = browser.get("/connector/disconnect").await.text;
    contains(
        &page,
        &["Events up to now still go to", "(account 444444444444)", "delivered nowhere", until, "90 days each"],
    );
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    contains(&browser.get("/connector").await.text, &["Once a role is connected, all events from", until]);
    assert!(!browser.get("/settings").await.text.contains("Delivered to"), "nothing is delivered");
    let before = world.browser("globex", ADMIN).get("/connector").await.text;
    assert!(!before.contains("id=\"deliveries\""), "{before}");
}
