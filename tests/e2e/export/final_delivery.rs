//! The attack of a stolen admin's token, on the deployed functions: the place that is left hears of it.

#![allow(clippy::disallowed_methods, reason = "changes over the API are as of now")]

use anyhow::{Context as _, Result};
use audit_log_core::settings::Draft;
use audit_log_tests::{Customer, Platform, REGION, connect, run_on_platform};
use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

/// Runs hourly checks until the bucket has a final delivery, and returns its events. Right before a full hour, none begins.
async fn last_events(platform: &Platform<'_>, customer: &Customer) -> Result<Vec<Value>> {
    for _ in 0..5 {
        platform.check(Utc::now()).await?;
        let exports = customer.exports().await?;
        if let Some((_, text)) = exports.iter().find(|(key, _)| key.contains("_final_0001.json")) {
            return Ok(serde_json::from_str(text)?);
        }
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    }
    anyhow::bail!("no final delivery in {:?}", customer.exports().await?)
}

#[test]
fn a_stolen_token_can_neither_divert_nor_silence_the_export_unseen() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let start = Utc::now() - TimeDelta::minutes(30);
        let diverted = connect(aws, platform, "diverted", "200000000071", Draft::default(), start).await?;
        let silenced = connect(aws, platform, "silenced", "200000000072", Draft::default(), start).await?;
        let elsewhere = json!({ "bucket": "bucket-of-a-thief", "region": REGION, "frequencyHours": 1 });
        platform.api().admin("diverted", "PUT", "/v1/export-settings", Some(&elsewhere)).await?.ok()?;
        platform.api().admin("silenced", "DELETE", "/v1/connector", None).await?.ok()?;

        // In one hour of the day, the tenant's connection is checked as well, and is not as it was.
        let events = last_events(platform, &diverted).await?;
        let last = events.iter().rfind(|event| event["action"] != "Connection Drifted").context("an empty file")?;
        assert_eq!(
            (&last["logType"], &last["action"]),
            (&"Audit Log Export".into(), &"Export Settings Changed".into())
        );
        assert_eq!(last["additionalInfo"]["changes"]["bucket"]["to"], "bucket-of-a-thief");
        let last = last_events(platform, &silenced).await?.pop().context("an empty file")?;
        assert_eq!(last["action"], "Connector Disconnected");
        for tenant in ["diverted", "silenced"] {
            let record = platform.record(tenant, "final_delivery").await?;
            assert!(!record.contains_key("pending_shard"), "{record:?}");
            let watermark = platform.record(tenant, "watermark").await?;
            assert!(
                watermark.contains_key("final_delivered_until") && !watermark.contains_key("lease"),
                "{watermark:?}"
            );
        }
        Ok(())
    })
}
