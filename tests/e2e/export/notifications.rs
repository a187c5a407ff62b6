//! Audit events and notifications of a customer's failure and recovery.

use anyhow::{Context as _, Result};
use audit_log_core::settings::Draft;
use audit_log_tests::{Listener, Platform, Table, delete_stack, onboard, run_on_platform};
use serde_json::{Value, json};

use super::{clock, minute_one};

/// Ids and actions of the system events about a tenant's exports, in order.
async fn audit_events(platform: &Platform<'_>, tenant: &str) -> Result<Vec<(String, String)>> {
    let mut recorded = Vec::new();
    for item in platform.items(Table::Events, &format!("{tenant}#0")).await? {
        let text = item.get("event").and_then(|event| event.as_s().ok()).context("an event without text")?;
        let event: Value = serde_json::from_str(text)?;
        let member = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if event["logType"] == "Audit Log Export" {
            recorded.push((member("id"), member("action")));
        }
    }
    Ok(recorded)
}

#[test]
fn a_failure_and_its_recovery_are_audit_events_and_notifications() -> Result<()> {
    run_on_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let listener = Listener::new(aws, &platform.outputs().notification_bus_name, "shut").await?;
        let mut shut = onboard(aws, platform, "shut", "200000000031", Draft::default(), clock("10:00")?).await?;
        delete_stack(aws, &shut.stack.account, &shut.stack.name).await?;
        for hour in ["11:00", "12:00"] {
            assert_eq!(platform.tick(minute_one(hour)?).await?["failed"], 1);
        }
        shut.recreate_stack(aws).await?;
        assert_eq!(platform.tick(minute_one("13:00")?).await?["exported"], 1);

        let mut received = listener.receive(3).await?;
        received.sort_by_key(|event| event["detail"]["sequence"].as_u64());
        let types: Vec<&str> = received.iter().filter_map(|event| event["detail-type"].as_str()).collect();
        let expected = ["Audit Log Export Settings Changed", "Audit Log Export Failed", "Audit Log Export Recovered"];
        assert_eq!(types, expected, "one of each, in order");
        let sequence: Vec<_> = received.iter().map(|event| event["detail"]["sequence"].as_u64()).collect();
        assert_eq!(sequence, [Some(1), Some(2), Some(3)]);
        let (failed, recovered) = (&received[1]["detail"], &received[2]["detail"]);
        assert_eq!(
            (&failed["version"], &failed["code"], &failed["party"], &failed["exportedUntil"]),
            (&json!("1"), &json!("assume_role_denied"), &json!("customer"), &json!("2026-11-20T10:00:00Z"))
        );
        assert!(failed["hint"].as_str().is_some_and(|hint| hint.contains("quick-create")), "{failed}");
        assert_eq!(recovered["failingSince"], failed["failingSince"]);
        assert_eq!(recovered["windowFrom"], "2026-11-20T10:00:00Z");
        assert!(!format!("{received:?}").contains("external-id-of-shut"), "{received:?}");
        let ids = received.iter().map(|event| event["detail"]["id"].as_str().unwrap_or_default().to_owned());
        let actions = ["Export Settings Changed", "Export Failed", "Export Recovered"].map(str::to_owned);
        assert_eq!(audit_events(platform, "shut").await?, ids.zip(actions).collect::<Vec<_>>(), "under the same ids");
        let outbox = platform.record("shut", "outbox").await?;
        assert_eq!(outbox.get("pending_shard"), None, "nothing is left to publish: {outbox:?}");
        Ok(())
    })
}
