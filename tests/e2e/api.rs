//! The deployed API, used by admins, by services and by a generator of requests. The functions run with their own roles behind
//! the deployed routes. Unit tests cover the details of each answer.

#![allow(clippy::disallowed_methods, reason = "the API records events as of now")]

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_core::settings::Draft;
use audit_log_tests::{
    Api, Bucket, Listener, LocalAws, PLATFORM_ACCOUNT, REGION, Table, attribute, connect, project, quick_create,
    run_on_platform, tools,
};
use chrono::{DurationRound as _, TimeDelta, Utc};
use serde_json::{Value, json};

/// For a message in the ingestion queue.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60);

const ADMIN: &str = "audit-logs:admin";
const READ: &str = "audit-logs:read";
const WRITE: &str = "events:write";

async fn get(api: &Api, tenant: &str, path: &str) -> Result<Value> {
    api.send(&api.token(tenant, &[READ]), "GET", path, &[], None).await?.ok()
}

fn list<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>> {
    value[name].as_array().with_context(|| format!("no {name} in {value}"))
}

#[test]
fn an_admin_connects_verifies_saves_and_finds_the_export_and_its_events() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let choices = Draft { prefix: Some("security".to_owned()), ..Draft::default() };
        let history = hour - TimeDelta::hours(2);
        let customer = connect(aws, platform, "journey", "200000000071", choices, history).await?;
        let api = platform.api();
        let status = get(api, "journey", "/v1/status").await?;
        // The settings were verified before they were saved, and not since.
        assert_eq!((&status["state"], &status["lastSuccessAt"]), (&json!("not_verified"), &Value::Null));
        assert_eq!(status["exportedUntil"], json!(history.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)));

        let tick = platform.tick(hour + TimeDelta::minutes(1)).await?;
        assert_eq!((&tick["exported"], &tick["failed"]), (&json!(1), &json!(0)), "{tick}");
        let exports = get(api, "journey", "/v1/exports").await?;
        let keys: Vec<String> = customer.bucket.objects().await?.into_iter().map(|object| object.key).collect();
        for export in list(&exports, "exports")? {
            let key = export["objects"][0]["key"].as_str().context("an export without a key")?;
            ensure!(keys.iter().any(|it| it == key), "{key} is not among {keys:?}");
        }
        assert_eq!(list(&exports, "exports")?.len(), 2);
        let status = get(api, "journey", "/v1/status").await?;
        assert_eq!((&status["backlogHours"], &status["consecutiveFailures"]), (&json!(0), &json!(0)));
        assert_eq!(status["state"], "healthy", "{status}");
        ensure!(status["lastSuccessAt"].is_string(), "{status}");
        let retry = api.admin("journey", "POST", "/v1/exports/retry", None).await?;
        assert_eq!((retry.status, retry.body["nextRunAt"].is_string()), (202, true), "{retry:?}");

        let newest = &list(&exports, "exports")?[0]["manifest"];
        assert_eq!((&newest["state"], &newest["sha256"]), (&json!("signed"), &status["manifestHead"]), "{newest}");
        ensure!(keys.iter().any(|it| newest["key"] == it.as_str()), "{newest} is not among {keys:?}");
        let public = api.send("", "GET", "/v1/manifest-keys", &[], None).await?.ok()?;
        let [key] = list(&public, "keys")?.as_slice() else { bail!("not one key: {public}") };
        assert_eq!(key["retiredAt"], Value::Null);
        let id = key["keyId"].as_str().context("no id")?;
        let verifier_key = key["verifierKey"].as_str().context("no verifier key")?;
        ensure!(verifier_key.starts_with(&format!("{PLATFORM_ACCOUNT}.{REGION}.")), "{verifier_key}");
        ensure!(verifier_key.contains(&format!("+{id}+")), "{verifier_key}");

        let logs = get(api, "journey", "/v1/audit-logs?logType=Audit+Log+Export").await?;
        let mut actions: Vec<_> = list(&logs, "events")?.iter().filter_map(|event| event["action"].as_str()).collect();
        actions.sort_unstable();
        let expected =
            ["Connection Check Passed", "Connector Connected", "Export Settings Changed", "External ID Viewed"];
        actions.dedup();
        assert_eq!(actions, expected);
        for event in list(&logs, "events")? {
            assert_eq!(event["additionalInfo"]["client"]["ipAddress"], "127.0.0.1", "{event}");
        }

        let gone = api.admin("journey", "DELETE", "/v1/connector", None).await?.ok()?;
        assert_eq!(gone["status"], "disconnected");
        let next = platform.tick(hour + TimeDelta::minutes(1)).await?;
        assert_eq!(next["due"], 0);
        Ok(())
    })
}

/// The next notification's type, sequence number and user id, and the buckets before and after.
async fn receive_one(listener: &Listener<'_>) -> Result<(Value, Value, Value, [Value; 2])> {
    let mut events = listener.receive(1).await?;
    let mut event = events.pop().context("no notification was received")?;
    ensure!(events.is_empty(), "more than one notification: {events:?}");
    let mut detail = event["detail"].take();
    let buckets = ["previousDestination", "destination"].map(|place| detail[place]["bucket"].take());
    Ok((event["detail-type"].take(), detail["sequence"].take(), detail["by"]["id"].take(), buckets))
}

/// Whether the role demands the external ID that the connector shows, and no rotation is pending.
async fn rotated_to(api: &Api, tenant: &str, external_id: &Value) -> Result<bool> {
    let connector = api.admin(tenant, "GET", "/v1/connector", None).await?.ok()?;
    Ok((&connector["externalId"], &connector["pendingExternalId"]) == (external_id, &Value::Null))
}

#[test]
fn external_ids_are_rotated_by_updates_of_two_stacks_and_no_export_fails() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let api = platform.api();
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let tenants = [("early", "200000000077"), ("late", "200000000078")];
        let mut customers = Vec::new();
        for (tenant, account) in tenants {
            let history = hour - TimeDelta::hours(4);
            customers.push(connect(aws, platform, tenant, account, Draft::default(), history).await?);
        }
        let export = async |hours_ago: i64, when: &str| {
            let tick = platform.tick(hour - TimeDelta::hours(hours_ago) + TimeDelta::minutes(1)).await?;
            ensure!((&tick["exported"], &tick["failed"]) == (&json!(2), &json!(0)), "{when}: {tick}");
            Ok(())
        };
        export(3, "before").await?;

        let mut pending = Vec::new();
        for (tenant, _) in tenants {
            let started = api.admin(tenant, "POST", "/v1/connector/external-id", None).await?.ok()?;
            ensure!(started["pendingExternalId"] != started["externalId"], "{started}");
            pending.push(started);
        }
        export(2, "neither role is updated").await?;

        let update = async |customer: usize| {
            let commands = pending[customer]["updateCli"].as_str().context("no commands")?;
            // The template isn't published here: read it from the file.
            let (before, rest) = commands.split_once("--template-url ").context("no template")?;
            let (_, after) = rest.split_once(' ').context("nothing after the template")?;
            let commands = format!("{before}--template-body file://audit-log-export-role.yaml {after}");
            let folder = project::repository().join("cloudformation");
            tools::run(tools::bash(aws, tenants[customer].1, &commands)?.current_dir(folder)).await
        };
        let verify = async |tenant: &str| {
            let found = api.admin(tenant, "POST", "/v1/export-settings/verify", None).await?.ok()?;
            ensure!(found["passed"] == true, "{found:#}");
            anyhow::Ok(found["steps"][0]["message"].as_str().unwrap_or_default().to_owned())
        };
        update(0).await?;
        ensure!(verify("late").await?.contains("but not with the new one"), "the other role is not updated");
        ensure!(!rotated_to(api, "late", &pending[1]["pendingExternalId"]).await?, "nothing was proved");
        export(1, "one role is updated, and nothing is verified").await?;

        ensure!(verify("early").await?.contains("with the new external ID"), "the role is updated");
        update(1).await?;
        // The daily check would do the same.
        ensure!(verify("late").await?.contains("with the new external ID"), "the role is updated");
        for ((tenant, _), started) in tenants.iter().zip(&pending) {
            ensure!(rotated_to(api, tenant, &started["pendingExternalId"]).await?, "{tenant}");
            let logs = get(api, tenant, "/v1/audit-logs?q=rotation").await?;
            let actions: Vec<_> = list(&logs, "events")?.iter().map(|event| &event["action"]).collect();
            assert_eq!(actions, ["External ID Rotation Completed", "External ID Rotation Started"]);
        }
        export(0, "both are completed").await?;
        for customer in customers {
            let keys = customer.bucket.objects().await?.into_iter().map(|object| object.key);
            let files = keys.filter(|key| !key.contains("_audit-log-export")).count();
            assert_eq!(files, 4, "{}: one for each hour", customer.tenant);
        }
        Ok(())
    })
}

#[test]
fn an_admins_changes_are_published_soon_and_in_order() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let api = platform.api();
        let listener = Listener::new(aws, &platform.outputs().notification_bus_name, "loud").await?;
        let connector = api.admin("loud", "GET", "/v1/connector", None).await?.ok()?;
        let external_id = connector["externalId"].as_str().context("no external ID")?;
        Bucket::create(aws, "200000000076", "loud-audit-logs", REGION).await?;
        let parameters =
            [("BucketName", "loud-audit-logs"), ("ExternalId", external_id), ("ProviderAccountId", PLATFORM_ACCOUNT)];
        let stack = quick_create(aws, "200000000076", "audit-log-export", &parameters).await?;
        let (nowhere, bucket) = (Value::Null, json!("loud-audit-logs"));
        let published = |kind: &str, sequence: u64, [before, after]: [&Value; 2]| {
            (json!(format!("Audit Log {kind}")), json!(sequence), json!("loud-user"), [before.clone(), after.clone()])
        };

        let role = json!({ "roleArn": stack.outputs.role_arn });
        api.admin("loud", "PUT", "/v1/connector", Some(&role)).await?.ok()?;
        assert_eq!(receive_one(&listener).await?, published("Connector Connected", 1, [&nowhere; 2]));
        let settings = json!({ "bucket": "loud-audit-logs", "region": REGION });
        api.admin("loud", "PUT", "/v1/export-settings", Some(&settings)).await?.ok()?;
        assert_eq!(receive_one(&listener).await?, published("Export Settings Changed", 2, [&nowhere, &bucket]));
        api.admin("loud", "DELETE", "/v1/connector", None).await?.ok()?;
        assert_eq!(receive_one(&listener).await?, published("Connector Disconnected", 3, [&bucket, &nowhere]));
        Ok(())
    })
}

#[test]
fn a_role_that_demands_no_external_id_is_refused() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        for (account, condition) in
            [("200000000072", json!({})), ("200000000073", json!({ "StringLike": { "sts:ExternalId": "*" } }))]
        {
            let trust = json!({ "Version": "2012-10-17", "Statement": [{
                "Effect": "Allow", "Action": "sts:AssumeRole", "Condition": condition,
                "Principal": { "AWS": format!("arn:aws:iam::{PLATFORM_ACCOUNT}:root") },
            }] });
            let create =
                ["iam", "create-role", "--role-name", "open", "--assume-role-policy-document", &trust.to_string()];
            let role = tools::aws_cli(aws, account, &create).await?;
            let body = json!({ "roleArn": role["Role"]["Arn"] });
            let refused = platform.api().admin("open", "PUT", "/v1/connector", Some(&body)).await?;
            assert_eq!((refused.status, &refused.body["code"]), (422, &json!("role_refused")), "{refused:?}");
            ensure!(refused.body["detail"].to_string().contains("confused deputy"), "{refused:?}");
        }
        // Another tenant's role, though correct, is refused too.
        let connector = platform.api().admin("victim", "GET", "/v1/connector", None).await?.ok()?;
        let external_id = connector["externalId"].as_str().context("no external ID")?;
        let parameters =
            [("BucketName", "victim-logs"), ("ExternalId", external_id), ("ProviderAccountId", PLATFORM_ACCOUNT)];
        let stack = quick_create(aws, "200000000074", "audit-log-export", &parameters).await?;
        let body = json!({ "roleArn": stack.outputs.role_arn });
        let refused = platform.api().admin("thief", "PUT", "/v1/connector", Some(&body)).await?;
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("role_refused")), "{refused:?}");
        platform.api().admin("victim", "PUT", "/v1/connector", Some(&body)).await?.ok()?;
        Ok(())
    })
}

/// The ids of a tenant's events that contain a word.
async fn ids(api: &Api, tenant: &str, word: &str) -> Result<Vec<String>> {
    let page = get(api, tenant, &format!("/v1/audit-logs?q={word}")).await?;
    let events = list(&page, "events")?;
    Ok(events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect())
}

async fn wait_for(api: &Api, tenant: &str, word: &str, expected: &[&str]) -> Result<()> {
    let started = Instant::now();
    loop {
        let mut found = ids(api, tenant, word).await?;
        found.sort_unstable();
        if found == expected {
            return Ok(());
        }
        if started.elapsed() > RECORD_TIMEOUT {
            bail!("{found:?} instead of {expected:?}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

fn login(id: &str) -> Value {
    json!({ "id": id, "logType": "Authentication", "action": "Login", "user": { "id": "u" },
            "additionalInfo": { "word": "needle" } })
}

#[test]
fn events_of_services_are_recorded_once_and_for_their_own_tenant() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let api = platform.api();
        let body = json!({ "events": [login("one"), login("two"), login("one")] });
        let token = api.token("sender", &[WRITE]);
        for (recorded, duplicate) in [(2, 1), (0, 3)] {
            let answer = api.send(&token, "POST", "/v1/events", &[], Some(&body)).await?.ok()?;
            assert_eq!((&answer["recorded"], &answer["duplicate"]), (&json!(recorded), &json!(duplicate)));
        }
        let mixed = json!({ "events": [login("three"), { "logType": "Nonsense" }] });
        let answer = api.send(&token, "POST", "/v1/events", &[], Some(&mixed)).await?;
        assert_eq!((answer.status, &answer.body["results"][1]["status"]), (422, &json!("refused")), "{answer:?}");
        wait_for(api, "sender", "needle", &["one", "three", "two"]).await?;

        let queue = &platform.outputs().ingestion_queue_url;
        let bad = json!({ "tenantId": "sender", "event": { "logType": "Nonsense" } }).to_string();
        let good = json!({ "tenantId": "sender", "event": login("four") }).to_string();
        let others = json!({ "tenantId": "another", "event": login("one") }).to_string();
        // Half a character, and another event under an id that another submitter has used.
        let half =
            json!({ "tenantId": "sender", "event": login("five") }).to_string().replace("needle", "needle \\ud83d");
        let own = json!({ "tenantId": "sender", "event": login("one") }).to_string().replace("Login", "Logout");
        for (tenant, message) in
            [&bad, &good, &good, &half, &own].map(|it| ("sender", it)).into_iter().chain([("another", &others)])
        {
            let send =
                ["sqs", "send-message", "--queue-url", queue, "--message-group-id", tenant, "--message-body", message];
            tools::aws_cli(aws, PLATFORM_ACCOUNT, &send).await?;
        }
        wait_for(api, "sender", "needle", &["five", "four", "one", "one", "three", "two"]).await?;
        wait_for(api, "another", "needle", &["one"]).await?;
        let stored = platform.items(Table::Events, "sender#0").await?;
        let ids = stored.iter().map(|item| attribute(item, "recorded_at_id").split_once('#').map_or("", |(_, id)| id));
        let mut submitters: Vec<_> = ids.zip(stored.iter().map(|item| attribute(item, "submitted_by"))).collect();
        submitters.sort_unstable();
        // The local AWS names the account as the sender of a message.
        let (token, queue) = ("token:sender-user", "queue:111111111111");
        let expected =
            [("five", queue), ("four", queue), ("one", queue), ("one", token), ("three", token), ("two", token)];
        assert_eq!(submitters, expected);
        let half =
            stored.iter().find(|item| attribute(item, "recorded_at_id").ends_with("#five")).context("no half")?;
        ensure!(attribute(half, "event").ends_with(r#""_replacedCharacters":1}}"#), "{half:?}");
        Ok(())
    })
}

#[test]
fn requests_without_a_token_or_for_another_tenant_get_no_data() -> Result<()> {
    run_on_platform(async |fixture| {
        let api = fixture.platform.api();
        for (method, path) in [("GET", "/v1/connector"), ("GET", "/v1/audit-logs"), ("POST", "/v1/events")] {
            let body = (method == "POST").then(|| json!({ "events": [login("x")] }));
            let refused = api.send("", method, path, &[], body.as_ref()).await?;
            assert_eq!((refused.status, &refused.body["code"]), (401, &json!("missing_token")), "{method} {path}");
            let wrong = if method == "POST" { ADMIN } else { WRITE };
            let refused = api.send(&api.token("acme", &[wrong]), method, path, &[], body.as_ref()).await?;
            assert_eq!((refused.status, &refused.body["code"]), (403, &json!("permission_denied")), "{method} {path}");
        }
        let first = api.admin("acme", "GET", "/v1/connector", None).await?.ok()?;
        let second = api.admin("globex", "GET", "/v1/connector", None).await?.ok()?;
        ensure!(first["externalId"] != second["externalId"], "two tenants have the same external ID");
        let body = json!({ "events": [login("mine")] });
        api.send(&api.token("acme", &[WRITE]), "POST", "/v1/events", &[], Some(&body)).await?.ok()?;
        assert_eq!(ids(api, "acme", "needle").await?, ["mine"]);
        assert_eq!(ids(api, "globex", "needle").await?, [""; 0]);
        Ok(())
    })
}

/// Runs schemathesis against an OpenAPI document.
async fn schemathesis(aws: &LocalAws, api: &Api, description: &str, token: &str) -> Result<()> {
    let program = project::installed(".tools/schemathesis/bin/st")?;
    let mut command = tokio::process::Command::new(program);
    command
        .args(["run", &format!("{}{description}", api.base()), "--url", api.base()])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--header", "If-Match: *"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--checks", "response_schema_conformance,response_headers_conformance"])
        .args(["--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1"])
        // Verifications wait for seconds.
        .args(["--workers", "4", "--suppress-health-check", "all", "--no-color"])
        .env("HOME", aws.directory())
        .env("NO_PROXY", "127.0.0.1")
        .current_dir(aws.directory())
        .kill_on_drop(true);
    let printed = tools::run(&mut command).await?;
    println!("{printed}");
    Ok(())
}

#[test]
fn no_generated_request_causes_a_server_error_or_an_undocumented_answer() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let hour = Utc::now().duration_trunc(TimeDelta::hours(1))?;
        let choices = Draft::default();
        connect(aws, platform, "generated", "200000000075", choices, hour - TimeDelta::hours(2)).await?;
        platform.tick(hour + TimeDelta::minutes(1)).await?;
        let api = platform.api();
        let (admin, writer) = (api.token("generated", &[ADMIN]), api.token("generated", &[WRITE]));
        tokio::try_join!(
            schemathesis(aws, api, "/openapi.json", &admin),
            schemathesis(aws, api, "/v1/events/openapi.json", &writer),
        )?;
        Ok(())
    })
}
