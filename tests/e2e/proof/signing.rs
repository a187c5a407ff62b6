//! A key that can't be used, is taken away or is changed for another. Each test has a platform of its own.

use anyhow::{Context as _, Result, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::settings::Draft;
use audit_log_tests::{
    Item, Listener, LocalAws, PLATFORM_ACCOUNT, Platform, Table, attribute, deploy_platform, onboard, tools,
};
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{auditor, clock, head, record, tick};

/// Ids and actions of what happened to the tenant's export, in order.
async fn actions(platform: &Platform<'_>, tenant: &str) -> Result<Vec<String>> {
    let items = platform.items(Table::Events, &format!("{tenant}#0")).await?;
    let events = items.iter().map(|item| serde_json::from_str(attribute(item, "event")));
    let events: Vec<Value> = events.collect::<Result<_, _>>()?;
    let ours = events.iter().filter(|event| event["logType"] == "Audit Log Export");
    Ok(ours.filter_map(|event| Some(event["action"].as_str()?.to_owned())).collect())
}

/// The values of the metric `SigningFailed` that aren't zero.
async fn signing_failures(platform: &Platform<'_>) -> Result<Vec<u64>> {
    let lines = platform.logs().await?;
    let lines = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    Ok(lines
        .filter_map(|line| line["SigningFailed"].as_f64().filter(|count| *count > 0.0))
        .map(|count| count as u64)
        .collect())
}

/// Changes parameters of the stack, whose rules are disabled before and after.
async fn deploy_again<'a>(
    aws: &'a LocalAws,
    platform: &Platform<'_>,
    parameters: &[(&str, &str)],
) -> Result<Platform<'a>> {
    platform.resume_rules().await?;
    let platform = deploy_platform(aws, parameters).await?;
    platform.pause_rules().await?;
    Ok(platform)
}

#[tokio::test]
async fn a_disabled_key_holds_windows_for_six_hours_and_then_they_are_delivered_unsigned() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[("EventsRetentionDays", "0")]).await?;
    platform.pause_rules().await?;
    let tenant = "unsigned";
    let listener = Listener::new(&aws, &platform.outputs().notification_bus_name, tenant).await?;
    let customer = onboard(&aws, &platform, tenant, "200000000117", Draft::default(), clock("10:00")?).await?;
    for hour in ["11:00", "12:00", "13:00", "14:00"] {
        record(&platform, tenant, clock(hour)?, 5).await?;
    }
    assert_eq!(tick(&platform, clock("11:00")?).await?["exported"], 1);
    let key = platform.outputs().manifest_key_arn.clone().context("no key")?;
    let set_key = async |action: &str| tools::aws_cli(&aws, PLATFORM_ACCOUNT, &["kms", action, "--key-id", &key]).await;

    set_key("disable-key").await?;
    for _ in 0..2 {
        let report = tick(&platform, clock("12:00")?).await?;
        let failure = &report["failures"][0];
        assert_eq!((&failure["code"], &failure["party"]), (&json!("signing_failed"), &json!("platform")), "{report}");
    }
    let watermark = platform.record(tenant, "watermark").await?;
    assert_eq!(attribute(&watermark, "exported_until"), "2026-11-20T11:00:00Z");
    ensure!(attribute(&watermark, "signing_failed_since") <= attribute(&watermark, "last_error_at"), "{watermark:?}");
    let copy = auditor(&platform, &customer).await?;
    assert_eq!(copy.manifests()?.len(), 1, "no manifest of a window that isn't committed");
    assert_eq!(copy.files(|file| file.starts_with("dt="))?.len(), 2, "its file is stored");

    let six_hours_ago = Utc::now() - TimeDelta::hours(6);
    let since = AttributeValue::S(six_hours_ago.to_rfc3339_opts(SecondsFormat::Secs, true));
    let watermark: Item = watermark.into_iter().chain([("signing_failed_since".to_owned(), since)]).collect();
    platform.put_item(Table::Tenants, watermark).await?;
    let report = tick(&platform, clock("13:00")?).await?;
    assert_eq!(report["objects"], 2, "{report}");
    assert_eq!(signing_failures(&platform).await?, [1, 1, 2], "at each tick");
    let unsigned = head(&platform, tenant).await?;
    let copy = auditor(&platform, &customer).await?;
    let verdict = copy.verify(&[])?;
    assert_eq!(verdict.kinds(1)?, ["manifest_unsigned"], "{}", verdict.printed);
    let status = platform.api().admin(tenant, "GET", "/v1/status", None).await?.ok()?;
    assert_eq!((&status["lastError"], &status["manifestHead"]), (&Value::Null, &json!(unsigned)), "{status}");

    set_key("enable-key").await?;
    // After some failures in a row, the exporter doesn't ask KMS for a while.
    tokio::time::sleep(std::time::Duration::from_secs(6)).await;
    assert_eq!(tick(&platform, clock("14:00")?).await?["failed"], 0);
    let newest = platform.record(tenant, "export#2026-11-20T14:00:00Z").await?;
    assert_eq!(attribute(&newest, "manifest_state"), "signed");
    let copy = auditor(&platform, &customer).await?;
    let path = copy.manifests()?.pop().context("no manifest")?;
    let text = std::fs::read_to_string(copy.folder().join(path))?;
    ensure!(text.contains(&format!("\nprevious {unsigned}\n")), "the chain doesn't go on: {text}");
    let verdict = copy.verify(&["--head", &head(&platform, tenant).await?])?;
    assert_eq!(verdict.kinds(0)?, ["unsigned_in_chain"], "{}", verdict.printed);

    let expected = ["Export Settings Changed", "Export Failed", "Export Recovered", "Window Unsigned"];
    assert_eq!(actions(&platform, tenant).await?, expected);
    let mut received = listener.receive(expected.len()).await?;
    received.sort_by_key(|event| event["detail"]["sequence"].as_u64());
    let types: Vec<_> = received.iter().filter_map(|event| event["detail-type"].as_str()).collect();
    assert_eq!(types, expected.map(|action| format!("Audit Log {action}")));
    assert_eq!(received[2]["detail"]["unsigned"], true, "the first one of the backlog");
    let window =
        ["windowFrom", "windowTo", "manifest"].map(|name| received[3]["detail"][name].as_str().unwrap_or_default());
    assert_eq!(window[..2], ["2026-11-20T12:00:00Z", "2026-11-20T13:00:00Z"]);
    ensure!(window[2].ends_with("/2026-11-20/20261120T120000Z_20261120T130000Z.manifest"), "{window:?}");
    Ok(())
}

/// A platform can't hide that it took the key away: the chain says so.
#[tokio::test]
async fn without_its_key_a_tenant_with_a_chain_gets_unsigned_windows_and_one_without_gets_none() -> Result<()> {
    let aws = LocalAws::start().await?;
    let parameters = [("EventsRetentionDays", "0"), ("ManifestKeyArn", "none")];
    let platform = deploy_platform(&aws, &parameters[..1]).await?;
    platform.pause_rules().await?;
    let signed = onboard(&aws, &platform, "signed", "200000000118", Draft::default(), clock("10:00")?).await?;
    assert_eq!(tick(&platform, clock("11:00")?).await?["exported"], 1);

    let platform = deploy_again(&aws, &platform, &parameters).await?;
    assert_eq!(platform.outputs().manifest_key_arn, None);
    let never = onboard(&aws, &platform, "never", "200000000119", Draft::default(), clock("11:00")?).await?;
    let report = tick(&platform, clock("12:00")?).await?;
    assert_eq!(report["objects"], 2, "{report}");
    assert_eq!(signing_failures(&platform).await?, [1]);
    assert_eq!(auditor(&platform, &never).await?.manifests()?, Vec::<String>::new());
    let verdict = auditor(&platform, &signed).await?.verify(&[])?;
    assert_eq!(verdict.kinds(1)?, ["manifest_unsigned"], "{}", verdict.printed);
    Ok(())
}

#[tokio::test]
async fn after_a_change_of_the_key_the_chain_goes_on_and_both_keys_are_listed() -> Result<()> {
    let aws = LocalAws::start().await?;
    let platform = deploy_platform(&aws, &[("EventsRetentionDays", "0")]).await?;
    platform.pause_rules().await?;
    let rotated = onboard(&aws, &platform, "rotated", "200000000120", Draft::default(), clock("10:00")?).await?;
    assert_eq!(tick(&platform, clock("11:00")?).await?["exported"], 1);
    let make = ["kms", "create-key", "--key-spec", "ECC_NIST_P256", "--key-usage", "SIGN_VERIFY"];
    let made = tools::aws_cli(&aws, PLATFORM_ACCOUNT, &make).await?;
    let another = made["KeyMetadata"]["Arn"].as_str().context("no key")?;
    let platform = deploy_again(&aws, &platform, &[("ManifestKeyArn", another)]).await?;
    for hour in ["12:00", "13:00"] {
        assert_eq!(tick(&platform, clock(hour)?).await?["exported"], 1);
    }

    let listed = platform.api().send("", "GET", "/v1/manifest-keys", &[], None).await?.ok()?;
    let listed = listed["keys"].as_array().context("no keys")?;
    let retired: Vec<bool> = listed.iter().map(|key| key["retiredAt"].is_string()).collect();
    assert_eq!(retired, [false, true], "{listed:?}");
    let copy = auditor(&platform, &rotated).await?;
    let verdict = copy.verify(&["--head", &head(&platform, "rotated").await?])?;
    assert_eq!(verdict.kinds(0)?, Vec::<String>::new(), "{}", verdict.printed);
    let report: Value = serde_json::from_str(&verdict.printed)?;
    let used = report["keys"].as_array().context("no keys")?.iter();
    let used: Vec<_> = used.map(|key| (&key["keyId"], &key["manifests"])).collect();
    let [new, old] = [0, 1].map(|index: usize| &listed[index]["keyId"]);
    assert_eq!(used, [(old, &json!(1)), (new, &json!(2))], "{}", verdict.printed);

    let keys = platform.manifest_keys().await?;
    for key in &keys {
        copy.pin(std::slice::from_ref(key))?;
        let verdict = copy.verify(&[])?;
        ensure!(verdict.kinds(1)?.contains(&"unknown_key".to_owned()), "{}", verdict.printed);
    }
    Ok(())
}
