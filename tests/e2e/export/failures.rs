//! A failing tenant affects no other, and its failure is reported.

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::settings::Draft;
use audit_log_tests::{Bucket, Item, Table, delete_stack, onboard, run_on_platform};
use serde_json::{Value, json};

use super::{as_json, clock, events_before, minute_one};

/// An attribute of a tenant's watermark, as text.
fn on_watermark(records: &[Item], name: &str) -> Option<String> {
    let watermark = records
        .iter()
        .find(|item| item.get("record").and_then(|it| it.as_s().ok()).is_some_and(|it| it == "watermark"));
    match watermark?.get(name)? {
        AttributeValue::S(text) | AttributeValue::N(text) => Some(text.clone()),
        _ => None,
    }
}

#[test]
fn a_deleted_role_fails_only_its_tenant_and_the_backlog_is_exported_after_it_is_back() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let healthy = onboard(aws, platform, "healthy", "200000000021", Draft::default(), clock("10:00")?).await?;
        let mut broken = onboard(aws, platform, "broken", "200000000022", Draft::default(), clock("10:00")?).await?;
        platform.put_events("broken", &events_before("broken", "11:00", 5)?).await?;
        delete_stack(aws, &broken.stack.account, &broken.stack.name).await?;
        for hour in ["11:00", "12:00"] {
            let report = platform.tick(minute_one(hour)?).await?;
            assert_eq!((&report["exported"], &report["failed"]), (&1.into(), &1.into()), "{report}");
            let failure = &report["failures"][0];
            assert_eq!((&failure["tenantId"], &failure["code"]), (&json!("broken"), &json!("assume_role_denied")));
            assert_eq!(failure["party"], "customer");
            assert!(failure["message"].as_str().context("no message")?.contains("quick-create"), "{failure}");
        }
        assert_eq!((healthy.exports().await?.len(), broken.exports().await?.len()), (2, 0));
        let records = platform.items(Table::Tenants, "broken").await?;
        assert_eq!(on_watermark(&records, "consecutive_failures").as_deref(), Some("2"));
        assert_eq!(on_watermark(&records, "last_error_code").as_deref(), Some("assume_role_denied"));
        assert_eq!(on_watermark(&records, "exported_until").as_deref(), Some("2026-11-20T10:00:00Z"));

        broken.recreate_stack(aws).await?;
        let report = platform.tick(minute_one("13:00")?).await?;
        assert_eq!((&report["exported"], &report["failed"]), (&2.into(), &0.into()), "{report}");
        let exports = broken.exports().await?;
        assert_eq!(exports.len(), 3);
        assert_eq!(exports[0].1, as_json(&events_before("broken", "11:00", 5)?));
        let records = platform.items(Table::Tenants, "broken").await?;
        assert_eq!(on_watermark(&records, "consecutive_failures").as_deref(), Some("0"));
        assert_eq!(on_watermark(&records, "last_error_code"), None);
        Ok(())
    })
}

#[test]
fn each_mistake_of_a_customer_has_its_code() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let mut lost = onboard(aws, platform, "lost", "200000000023", Draft::default(), clock("10:00")?).await?;
        lost.settings.bucket = Some("no-such-bucket-anywhere".to_owned());
        lost.save(aws, platform, clock("10:01")?).await?;
        let mut afar = onboard(aws, platform, "afar", "200000000024", Draft::default(), clock("10:00")?).await?;
        afar.settings.region = Some("eu-west-1".to_owned());
        afar.save(aws, platform, clock("10:01")?).await?;
        let mut outside = onboard(aws, platform, "outside", "200000000025", Draft::default(), clock("10:00")?).await?;
        Bucket::create(aws, "200000000025", "outside-of-the-role", "us-east-1").await?;
        outside.settings.bucket = Some("outside-of-the-role".to_owned());
        outside.save(aws, platform, clock("10:01")?).await?;
        let spoof = onboard(aws, platform, "spoof", "200000000026", Draft::default(), clock("10:00")?).await?;
        let mut config = platform.record(&spoof.tenant, "config").await?;
        config.insert("external_id".to_owned(), AttributeValue::S("external-id-of-another".to_owned()));
        platform.put_item(Table::Tenants, config).await?;

        let report = platform.tick(minute_one("11:00")?).await?;
        let mut codes: Vec<(&str, &str)> = report["failures"]
            .as_array()
            .context("no failures")?
            .iter()
            .filter_map(|failure| Some((failure["tenantId"].as_str()?, failure["code"].as_str()?)))
            .collect();
        codes.sort_unstable();
        assert_eq!(
            codes,
            [
                ("afar", "wrong_region"),
                ("lost", "bucket_not_found"),
                ("outside", "access_denied"),
                ("spoof", "assume_role_denied"),
            ]
        );
        Ok(())
    })
}

#[test]
fn a_damaged_config_fails_only_its_tenant_and_the_failure_names_the_field() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let fine = onboard(aws, platform, "fine", "200000000027", Draft::default(), clock("10:00")?).await?;
        onboard(aws, platform, "damaged", "200000000028", Draft::default(), clock("10:00")?).await?;
        let records = platform.items(Table::Tenants, "damaged").await?;
        let mut config = records.into_iter().next().context("no config")?;
        config.insert("frequency_hours".to_owned(), AttributeValue::N("99".to_owned()));
        platform.put_item(Table::Tenants, config).await?;

        let report = platform.tick(minute_one("11:00")?).await?;
        let failure = &report["failures"][0];
        assert_eq!((&failure["tenantId"], &failure["code"]), (&json!("damaged"), &json!("config_invalid")), "{report}");
        assert!(failure["message"].as_str().context("no message")?.contains("frequency_hours: "), "{failure}");
        assert_eq!(fine.exports().await?.len(), 1);
        Ok(())
    })
}

#[test]
fn a_tick_without_any_connected_tenant_logs_an_error() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        let report = platform.tick(minute_one("11:00")?).await?;
        assert_eq!(report["due"], 0);
        let logs = platform.logs().await?;
        assert!(logs.iter().any(|line| line.contains("ERROR") && line.contains("no tenant is connected")));
        assert!(logs.iter().any(|line| metric(line, "NoConnectedTenants") == Some(1.0)));
        Ok(())
    })
}

/// The value of a metric in a log line of CloudWatch's embedded metric format.
fn metric(line: &str, name: &str) -> Option<f64> {
    let line: Value = serde_json::from_str(line).ok()?;
    let declared = line["_aws"]["CloudWatchMetrics"].as_array()?.iter().any(|metrics| {
        metrics["Namespace"] == "AuditLogExport"
            && metrics["Metrics"].as_array().is_some_and(|all| all.iter().any(|metric| metric["Name"] == name))
    });
    line[name].as_f64().filter(|_| declared)
}

#[test]
fn logs_have_each_export_and_no_event_and_no_external_id() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        onboard(aws, platform, "private", "200000000029", Draft::default(), clock("10:00")?).await?;
        let events = events_before("private", "11:00", 3)?;
        platform.put_events("private", &events).await?;
        platform.tick(minute_one("11:00")?).await?;
        let logs = platform.logs().await?;
        let ours = logs.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = ours.into_iter().find(|line| line["tenant"] == "private" && line["message"] == "exported");
        let line = line.context("the export was not logged")?;
        assert_eq!((&line["events"], &line["window"]), (&3.into(), &json!("20261120T100000Z_20261120T110000Z")));
        assert!(line["key"].as_str().is_some_and(|key| key.starts_with("audit-logs/tenant=private/")), "{line}");
        assert!(line["duration_ms"].is_u64(), "{line}");
        assert!(logs.iter().any(|line| metric(line, "SuccessfulTicks") == Some(1.0)));
        for secret in ["external-id-of-private", &events[0].id, &events[0].document] {
            assert!(!logs.iter().any(|line| line.contains(secret)), "{secret}");
        }
        Ok(())
    })
}

#[test]
fn an_unknown_event_is_refused_with_the_reason() -> Result<()> {
    run_on_platform(async |fixture| {
        let refused = fixture.platform.invoke(&json!({ "hello": "world" })).await.err().context("taken")?;
        assert!(format!("{refused:#}").contains("Scheduled Event"), "{refused:#}");
        Ok(())
    })
}
