//! External ID, role, settings and their verification.

use audit_log_core::{notification::Kind, records::MAX_PLACES};

use super::*;

#[tokio::test]
async fn the_first_request_creates_the_external_id_which_no_other_change_replaces() {
    let world = World::new();
    let first = world.admin("acme", "GET", "/v1/connector", None).await.json();
    let id = first["externalId"].as_str().unwrap();
    assert!(id.len() >= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "128 bits or more: {id}");
    assert_eq!((&first["status"], &first["roleArn"]), (&json!("not_connected"), &Value::Null));
    world.onboard("acme").await;
    let later = world.admin("acme", "GET", "/v1/connector", None).await.json();
    assert_eq!((&later["externalId"], &later["status"]), (&first["externalId"], &json!("scheduled")));
    let others = world.admin("globex", "GET", "/v1/connector", None).await.json();
    assert_ne!(others["externalId"], first["externalId"]);
}

#[tokio::test]
async fn all_three_ways_to_create_the_role_are_filled_in() {
    let world = World::with("acme").await;
    let connector = world.admin("acme", "GET", "/v1/connector", None).await.json();
    let id = connector["externalId"].as_str().unwrap();
    for way in ["quickCreateUrl", "cli", "terraform"] {
        let text = connector[way].as_str().unwrap();
        for part in [id, "111111111111", "audit-log-exporter", "acme-audit-logs", "security"] {
            assert!(text.contains(part), "{way} lacks {part}: {text}");
        }
    }
    for way in ["quickCreateUrl", "cli", "terraform", "updateCli"] {
        let text = connector[way].as_str().unwrap();
        assert!(["TenantId", "tenant_id"].iter().any(|name| text.contains(name)), "{way} has no tenant: {text}");
    }
    assert!(connector["template"].as_str().unwrap().starts_with("AWSTemplateFormatVersion"));
    assert_eq!(connector["providerAccountId"], "111111111111");
}

#[tokio::test]
async fn a_role_is_connected_only_after_it_refused_everyone_else() {
    let world = World::new();
    let connect = async || world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    for (step, status, code, expected) in [
        (StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced, (422, "role_refused")),
        (StepName::AssumeRole, StepStatus::Failed, Code::AssumeRoleDenied, (422, "role_refused")),
        (StepName::ExternalIdEnforced, StepStatus::Inconclusive, Code::Throttled, (503, "unavailable")),
        (StepName::AssumeRole, StepStatus::Inconclusive, Code::Unavailable, (503, "unavailable")),
    ] {
        world.plan_step(step, status, code);
        let refused = connect().await;
        assert_eq!(refused.refusal(), (expected.0, expected.1.to_owned()));
        assert_eq!((&refused.json()["detail"], &refused.json()["hint"]), (&json!("As planned."), &json!("Do this.")));
        let connector = world.admin("acme", "GET", "/v1/connector", None).await.json();
        assert_eq!(connector["status"], "not_connected");
        world.fakes.state().findings.clear();
    }
    // Operators must act, though the code's party is the customer.
    world.plan_step_by(Party::Platform, StepName::AssumeRole, StepStatus::Failed, Code::ConfigInvalid);
    assert_eq!(connect().await.refusal(), (503, "unavailable".to_owned()));
    world.fakes.state().findings.clear();
    assert_eq!(connect().await.json()["status"], "connected");
    let asked = world.fakes.state().verified.last().cloned().unwrap();
    assert_eq!((asked.tenant_id.as_str(), asked.draft.bucket), ("acme", None));
}

#[tokio::test]
async fn an_arn_that_can_never_work_is_refused_without_a_verification() {
    let world = World::new();
    for role in ["me", "arn:aws:iam::111111111111:role/audit-log-exporter", "arn:aws-cn:iam::222222222222:role/x"] {
        let refused = world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": role }))).await;
        assert_eq!((refused.refusal().1.as_str(), refused.fields()), ("invalid_fields", vec!["roleArn".to_owned()]));
    }
    assert_eq!(world.fakes.calls(Op::Verify), 0);
}

#[tokio::test]
async fn saving_needs_a_connector_and_a_role_that_is_still_safe() {
    let world = World::new();
    assert_eq!(world.save("acme", settings("acme")).await.refusal(), (409, "connector_required".to_owned()));
    world.onboard("acme").await;
    world.plan_step(StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
    assert_eq!(world.save("acme", settings("acme")).await.refusal(), (422, "role_refused".to_owned()));
    world.fakes.state().findings.clear();
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert_eq!(world.save("acme", settings("acme")).await.refusal(), (409, "connector_required".to_owned()));
}

#[tokio::test]
async fn no_more_places_are_left_than_get_final_deliveries_and_a_disconnect_always_works() {
    let world = World::with("acme").await;
    let save = async |bucket: &str| {
        world.fakes.state().slots.clear();
        let settings = json!({ "bucket": bucket, "region": "eu-central-1" });
        world.save("acme", settings).await
    };
    for n in 0..MAX_PLACES {
        assert_eq!(save(&format!("invented-{n}")).await.status, 200);
    }
    let refused = save("evil").await;
    assert_eq!(refused.refusal(), (409, "final_deliveries_pending".to_owned()));
    assert!(refused.text.contains("To stop the exports now, disconnect."), "{}", refused.text);
    let connect = async |account: &str| {
        world.fakes.state().slots.clear();
        let role = format!("arn:aws:iam::{account}:role/audit");
        world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": role }))).await
    };
    assert_eq!(connect("333333333333").await.refusal(), (409, "final_deliveries_pending".to_owned()));
    assert_eq!(world.admin("acme", "DELETE", "/v1/connector", None).await.status, 200);
    assert_eq!(connect("222222222222").await.status, 200, "back to the place that was left last");
}

#[tokio::test]
async fn the_first_save_says_when_the_first_export_runs_and_what_its_key_will_be() {
    let world = World::with("acme").await;
    let read = world.admin("acme", "GET", "/v1/export-settings", None).await;
    let body = read.json();
    assert_eq!(body["nextRunAt"], "2026-11-21T11:01:00Z");
    assert_eq!(body["exportedUntil"], "2026-11-21T10:03:12Z");
    let key = "security/audit-logs/tenant=acme/dt=2026-11-21/20261121T100312Z_20261121T110000Z_0001.json";
    assert_eq!(body["exampleKey"], key);
    assert_eq!(body["settings"]["frequencyHours"], 1);
    assert_eq!(read.header("etag"), "\"2\"", "connected, then saved");
}

#[tokio::test]
async fn the_encryption_is_saved_verified_and_shown() {
    let world = World::with("acme").await;
    let stored = async || world.admin("acme", "GET", "/v1/export-settings", None).await.json()["settings"].clone();
    assert_eq!((&stored().await["encryption"], &stored().await["kmsKeyArn"]), (&json!("bucket"), &json!(null)));
    let key = "arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let with = |encryption: &str, key: Option<&str>| {
        let mut settings = settings("acme");
        settings["encryption"] = encryption.into();
        settings["kmsKeyArn"] = key.into();
        settings
    };
    for (encryption, key) in [("sse-s3", None), ("sse-kms", Some(key)), ("bucket", Some(key))] {
        let settings = with(encryption, key);
        world.admin("acme", "POST", "/v1/export-settings/verify", Some(settings.clone())).await;
        let verified = world.fakes.state().verified.last().cloned().unwrap().draft;
        assert_eq!((verified.encryption.as_deref(), verified.kms_key_arn.as_deref()), (Some(encryption), key));
        assert_eq!(world.save("acme", settings).await.status, 200, "{encryption}");
        assert_eq!((&stored().await["encryption"], &stored().await["kmsKeyArn"]), (&json!(encryption), &json!(key)));
    }
    for settings in [with("sse-s3", Some(key)), with("sse-kms", None)] {
        assert_eq!(world.save("acme", settings).await.fields(), ["kmsKeyArn"]);
    }
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once() {
    let world = World::with("acme").await;
    let wrong = json!({
        "bucket": "Acme logs", "region": 7, "prefix": "a*", "frequencyHours": 99, "format": "csv", "compression": "zip",
        "schema": "csv",
        "encryption": "aws:kms", "kmsKeyArn": "alias/x", "bucketOwner": "me", "historyFrom": "yesterday", "externalId": "mine",
    });
    let refused = world.save("acme", wrong).await;
    assert_eq!(refused.refusal(), (422, "invalid_fields".to_owned()));
    let all = [
        "bucket",
        "bucketOwner",
        "compression",
        "encryption",
        "externalId",
        "format",
        "frequencyHours",
        "historyFrom",
        "kmsKeyArn",
        "prefix",
        "region",
        "schema",
    ];
    assert_eq!(refused.fields(), all, "{}", refused.text);
    let empty = world.save("acme", json!({})).await;
    assert_eq!(empty.fields(), ["bucket", "region"]);
}

#[tokio::test]
async fn the_first_save_chooses_the_start_of_the_history_within_bounds() {
    let world = World::new();
    world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    let with = |from: &str| {
        let mut settings = settings("acme");
        settings["historyFrom"] = from.into();
        settings
    };
    for (from, words) in [
        ("2026-11-22", "future"),
        ("2026-08-01", "89 days ago"),
        ("last week", "must be a date"),
        ("2026-11-21T10:03:13Z", "future"),
    ] {
        let refused = world.save("acme", with(from)).await;
        assert!(refused.text.contains(words), "{from}: {}", refused.text);
        assert_eq!(refused.fields(), ["historyFrom"]);
    }
    let saved = world.save("acme", with("2026-11-20")).await.json();
    assert_eq!(
        (&saved["exportedUntil"], &saved["nextRunAt"]),
        (&json!("2026-11-20T00:00:00Z"), &json!("2026-11-21T11:01:00Z"))
    );
    let kept = world.save("acme", settings("acme")).await.json();
    assert_eq!(kept["exportedUntil"], "2026-11-20T00:00:00Z", "saving again neither loses nor repeats");
    let earlier = world.save("acme", with("2026-11-19")).await.json();
    assert_eq!(earlier["exportedUntil"], "2026-11-19T00:00:00Z", "nothing was exported yet");
    world.succeed();
    let again = world.save("acme", with("2026-11-18")).await;
    assert!(again.text.contains("can't be changed after the first export"), "{}", again.text);
    assert_eq!(again.fields(), ["historyFrom"]);
}

#[tokio::test]
async fn a_save_over_another_admins_save_is_refused() {
    let world = World::with("acme").await;
    let read = world.admin("acme", "GET", "/v1/export-settings", None).await;
    let etag = read.header("etag").to_owned();
    let token = world.token("acme", ADMIN);
    let save = async |etag: &str| {
        let headers = if etag.is_empty() { vec![] } else { vec![("if-match", etag)] };
        let mut changed = settings("acme");
        changed["frequencyHours"] = 2.into();
        world.send(&token, "PUT", "/v1/export-settings", &headers, Some(changed)).await
    };
    assert_eq!(save("").await.refusal(), (428, "precondition_required".to_owned()));
    let first = save(&etag).await;
    assert_eq!((first.status.as_u16(), first.header("etag")), (200, "\"3\""));
    assert_eq!(save(&etag).await.refusal(), (412, "changed_meanwhile".to_owned()));
    assert_eq!(save("\"9\", \"3\"").await.status, 200, "one of several");
}

#[tokio::test]
async fn an_export_or_a_rotation_during_a_save_is_no_conflict_but_another_admins_change_is() {
    use audit_log_core::ports::Settings as _;
    use futures::FutureExt as _;
    let world = World::with("acme").await;
    let fakes = world.fakes.clone();
    assert_eq!(world.admin("acme", "POST", "/v1/connector/external-id", None).await.status, 200);
    // The watermark moves while the role is being verified, and the verification completes the rotation.
    let export = move || {
        let mut state = fakes.state();
        let tenant = state.tenants.get_mut("acme").unwrap();
        tenant.watermark.as_mut().unwrap().exported_until = Some("2026-11-21T10:03:30Z".to_owned());
        let config = tenant.config.as_mut().unwrap();
        config.external_id = config.pending_external_id.take();
    };
    world.fakes.once(Op::Verify, None, Fault::After(Box::new(export)));
    let with = |hours: u8| {
        let mut settings = settings("acme");
        settings["frequencyHours"] = hours.into();
        settings
    };
    let saved = world.save("acme", with(2)).await;
    assert_eq!((saved.status.as_u16(), &saved.json()["exportedUntil"]), (200, &json!("2026-11-21T10:03:30Z")));

    let fakes = world.fakes.clone();
    let disconnect = move || {
        let acme = TenantId::parse("acme").unwrap();
        let change = audit_log_core::system_events::AdminChange {
            by: audit_log_core::event::User::system(),
            client: audit_log_core::system_events::Client::default(),
            stamp: audit_log_core::new_event::Stamp { at: now(), retention: None },
            id: "another".to_owned(),
        };
        let version = fakes.state().tenants["acme"].config.as_ref().unwrap().version.as_ref().unwrap().parse().unwrap();
        let draft = fakes.state().tenants["acme"].config.clone().unwrap();
        let disconnected =
            fakes.disconnect(&acme, version, &change.disconnected(&acme, &draft)).now_or_never().unwrap();
        assert_eq!(disconnected, Ok(audit_log_core::ports::Conditional::Written));
    };
    world.fakes.once(Op::Verify, None, Fault::After(Box::new(disconnect)));
    assert_eq!(world.save("acme", with(3)).await.refusal(), (412, "changed_meanwhile".to_owned()));
}

#[tokio::test]
async fn connecting_again_resumes_the_schedule_that_disconnecting_stopped() {
    let world = World::with("acme").await;
    let before = world.admin("acme", "GET", "/v1/export-settings", None).await.json();
    let gone = world.admin("acme", "DELETE", "/v1/connector", None).await.json();
    assert_eq!((&gone["status"], &gone["roleArn"]), (&json!("disconnected"), &json!(ROLE)));
    assert_eq!(world.get("acme", "/v1/status").await.json()["nextRunAt"], Value::Null);
    let another = "arn:aws:iam::222222222222:role/another";
    let back = world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": another }))).await.json();
    assert_eq!((&back["status"], &back["roleArn"]), (&json!("scheduled"), &json!(another)));
    let after = world.admin("acme", "GET", "/v1/export-settings", None).await.json();
    assert_eq!(after, before);
}

/// What a verification does that finds the role to require the pending external ID.
pub(super) fn completing(fakes: &Fakes, tenant: &'static str) -> Fault {
    let fakes = fakes.clone();
    Fault::After(Box::new(move || {
        let mut state = fakes.state();
        let config = state.tenants.get_mut(tenant).unwrap().config.as_mut().unwrap();
        config.external_id = config.pending_external_id.take();
    }))
}

#[tokio::test]
async fn a_rotation_of_the_external_id_is_started_shown_completed_and_cancelled() {
    let world = World::with("acme").await;
    let send = async |method: &str| world.admin("acme", method, "/v1/connector/external-id", None).await.json();
    let read = async || world.admin("acme", "GET", "/v1/connector", None).await.json();
    let (before, etag) = (read().await, world.admin("acme", "GET", "/v1/export-settings", None).await);
    assert_eq!(before["pendingExternalId"], Value::Null);
    let started = send("POST").await;
    let (current, pending) = (before["externalId"].as_str().unwrap(), started["pendingExternalId"].as_str().unwrap());
    assert_eq!((started["externalId"].as_str(), pending.len()), (Some(current), 40), "160 random bits");
    assert_ne!(pending, current);
    for way in ["quickCreateUrl", "cli", "terraform", "updateCli"] {
        let text = started[way].as_str().unwrap();
        assert!(text.contains(pending) && !text.contains(current), "{way}: {text}");
    }
    let stack = before["cli"].as_str().unwrap().split("--stack-name ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(started["updateCli"].as_str().unwrap().contains(stack), "the same stack: {stack}");
    assert_eq!(send("POST").await["pendingExternalId"], pending, "a second request keeps it");
    assert_eq!(read().await["pendingExternalId"], pending);
    let again = world.admin("acme", "GET", "/v1/export-settings", None).await;
    assert_eq!(again.header("etag"), etag.header("etag"), "no admin's settings are outdated by it");

    // Saving verifies the role, which completes the rotation meanwhile.
    world.fakes.once(Op::Verify, None, completing(&world.fakes, "acme"));
    assert_eq!(world.save("acme", settings("acme")).await.status, 200);
    let after = read().await;
    assert_eq!((after["externalId"].as_str(), &after["pendingExternalId"]), (Some(pending), &Value::Null));
    assert!(after["cli"].as_str().unwrap().contains(stack), "the next rotation updates the same stack");

    let second = send("POST").await;
    assert_ne!(second["pendingExternalId"], pending);
    for _ in 0..2 {
        let cancelled = send("DELETE").await;
        assert_eq!((cancelled["externalId"].as_str(), &cancelled["pendingExternalId"]), (Some(pending), &Value::Null));
    }
    let actions = world.fakes.actions("acme");
    let count = |action: &str| actions.iter().filter(|it| *it == action).count();
    assert_eq!((count("External ID Rotation Started"), count("External ID Rotation Cancelled")), (2, 1));
}

#[tokio::test]
async fn a_rotation_neither_reaches_nor_reveals_another_tenants_external_id() {
    let world = World::with("acme").await;
    world.onboard("globex").await;
    world.admin("acme", "POST", "/v1/connector/external-id", None).await;
    let ids = |tenant: &str| {
        let config = world.fakes.state().tenants[tenant].config.clone().unwrap();
        (config.external_id, config.pending_external_id)
    };
    let (acme, globex) = (ids("acme"), ids("globex"));
    let own = world.admin("globex", "POST", "/v1/connector/external-id", None).await;
    assert_ne!(ids("globex").1, acme.1);
    for secret in [acme.0.clone().unwrap(), acme.1.clone().unwrap()] {
        assert!(!own.text.contains(&secret), "{}", own.text);
    }
    world.admin("globex", "DELETE", "/v1/connector/external-id", None).await;
    assert_eq!((ids("acme"), ids("globex")), (acme, globex));
    let reader = world.send(&world.token("acme", READ), "POST", "/v1/connector/external-id", &[], None).await;
    assert_eq!(reader.refusal(), (403, "permission_denied".to_owned()));
}

#[tokio::test]
async fn every_change_of_an_admin_is_recorded_as_an_audit_event() {
    let world = World::with("acme").await;
    world.admin("acme", "POST", "/v1/export-settings/verify", None).await;
    world.plan_step(StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
    world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    let mut recorded = world.fakes.actions("acme");
    recorded.sort_unstable();
    let expected = [
        "Connection Check Failed", // refused, so that nothing was connected
        "Connection Check Passed", // to connect
        "Connection Check Passed", // to save
        "Connection Check Passed", // because an admin asked
        "Connector Connected",
        "Connector Disconnected",
        "Export Settings Changed",
        "External ID Viewed",
    ];
    assert_eq!(recorded, expected);
    let logs = world.get("acme", "/v1/audit-logs?to=2026-11-22").await.json();
    let user = &logs["events"][0]["user"];
    assert_eq!(user, &json!({ "id": "acme-user", "name": "Ada Lovelace", "email": "ada@acme.example" }));
}

#[tokio::test]
async fn each_change_stores_a_notification_and_requests_its_publishing() {
    let world = World::new();
    let requested = || world.fakes.state().requested.len();
    let connect = async || world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await.status;
    let disconnect = async || world.admin("acme", "DELETE", "/v1/connector", None).await.status;
    world.plan_step(StepName::ExternalIdEnforced, StepStatus::Failed, Code::ExternalIdNotEnforced);
    assert_eq!((connect().await.as_u16(), requested()), (422, 0), "the role was refused");
    world.fakes.state().findings.clear();
    assert_eq!((disconnect().await.as_u16(), requested()), (200, 0), "there was nothing to disconnect");
    assert_eq!((connect().await.as_u16(), requested()), (200, 1));
    assert_eq!((world.save("acme", settings("acme")).await.status.as_u16(), requested()), (200, 2));
    assert_eq!((world.save("acme", json!({})).await.status.as_u16(), requested()), (422, 2), "fields are missing");
    let verified = world.admin("acme", "POST", "/v1/export-settings/verify", None).await.status;
    assert_eq!((verified.as_u16(), requested()), (200, 2), "a verification changes nothing");
    assert_eq!((disconnect().await.as_u16(), requested()), (200, 3));
    assert_eq!(world.fakes.state().requested, ["acme"; 3]);
    let outbox = world.fakes.state().tenants["acme"].outbox.clone();
    let kinds: Vec<Kind> = outbox.entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::Connected, Kind::SettingsChanged, Kind::Disconnected]);
    assert_eq!(outbox.entries[0].detail()["by"]["id"], "acme-user");
    let bucket = |place: &str, entry: usize| outbox.entries[entry].detail()[place]["bucket"].take();
    let buckets = [0, 1, 2].map(|entry| (bucket("previousDestination", entry), bucket("destination", entry)));
    let (none, saved) = (Value::Null, json!("acme-audit-logs"));
    assert_eq!(buckets, [(none.clone(), none.clone()), (none.clone(), saved.clone()), (saved, none)]);
}

#[tokio::test(start_paused = true)]
async fn a_change_succeeds_even_if_publishing_can_not_be_requested() {
    let world = World::new();
    let fault = || Fault::Fail(Failure::new(Code::PlatformDenied, "no right to invoke the exporter"));
    world.fakes.once(Op::RequestPublishing, None, fault());
    let connected = world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    assert_eq!((connected.status.as_u16(), &connected.json()["status"]), (200, &json!("connected")));
    world.fakes.once(Op::RequestPublishing, None, Fault::Crash);
    let began = tokio::time::Instant::now();
    let saved = world.save("acme", settings("acme")).await;
    assert_eq!((saved.status.as_u16(), &saved.json()["status"]), (200, &json!("scheduled")));
    assert_eq!(began.elapsed().as_secs(), 2, "no admin waits for longer");
    world.fakes.once(Op::RequestPublishing, None, fault());
    let gone = world.admin("acme", "DELETE", "/v1/connector", None).await;
    assert_eq!((gone.status.as_u16(), &gone.json()["status"]), (200, &json!("disconnected")));
    assert_eq!(world.fakes.calls(Op::RequestPublishing), 3);
    assert_eq!(world.fakes.state().tenants["acme"].outbox.entries.len(), 3, "the hourly check finds them");
}

#[tokio::test]
async fn a_failure_of_the_platform_is_answered_without_its_cause() {
    let world = World::with("acme").await;
    world.fakes.once(Op::Settings, None, Fault::Fail(Failure::new(Code::PlatformDenied, "table-of-secrets")));
    let refused = world.get("acme", "/v1/status").await;
    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()));
    assert!(!refused.text.contains("secrets"), "{}", refused.text);
    world.fakes.once(Op::Verify, None, Fault::Fail(Failure::new(Code::Unavailable, "arn-of-exporter")));
    let refused = world.admin("acme", "POST", "/v1/export-settings/verify", None).await;
    assert_eq!(refused.refusal(), (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn a_save_does_not_undo_event_shards_that_were_added_during_it() {
    let world = World::with("acme").await;
    let fakes = world.fakes.clone();
    let add = move || {
        let mut state = fakes.state();
        state.tenants.get_mut("acme").unwrap().config.as_mut().unwrap().event_shards = Some("4".to_owned());
    };
    world.fakes.once(Op::Verify, None, Fault::After(Box::new(add)));
    assert_eq!(world.save("acme", settings("acme")).await.refusal(), (412, "changed_meanwhile".to_owned()));
    let shards = |world: &World| world.fakes.state().tenants["acme"].config.clone().unwrap().event_shards;
    assert_eq!(shards(&world).as_deref(), Some("4"));
    assert_eq!(world.save("acme", settings("acme")).await.status, 200);
    assert_eq!(shards(&world).as_deref(), Some("4"));
}

#[tokio::test]
async fn a_disconnected_tenant_with_unusable_settings_connects_by_saving_others() {
    let world = World::with("acme").await;
    world.admin("acme", "DELETE", "/v1/connector", None).await;
    world.fakes.state().tenants.get_mut("acme").unwrap().config.as_mut().unwrap().region = Some("moon-1".to_owned());
    let refused = world.admin("acme", "PUT", "/v1/connector", Some(json!({ "roleArn": ROLE }))).await;
    assert_eq!(refused.refusal(), (422, "invalid_fields".to_owned()));
    let saved = world.save("acme", settings("acme")).await;
    assert_eq!((saved.status.as_u16(), &saved.json()["status"]), (200, &json!("scheduled")), "{}", saved.text);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_hangs_is_answered_before_the_function_times_out() {
    let world = World::with("acme").await;
    world.fakes.once(Op::Verify, None, Fault::Crash);
    let answer = world.admin("acme", "POST", "/v1/export-settings/verify", None).await;
    assert_eq!(answer.refusal(), (503, "unavailable".to_owned()));
}
