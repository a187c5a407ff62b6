//! What others hear of a customer's refusal, and of its end: audit events of the tenant, and events on the bus.

use anyhow::{Context as _, Result};
use audit_log_core::settings::Draft;
use audit_log_tests::{Listener, Platform, Table, delete_stack, on_the_platform, onboard};
use serde_json::{Value, json};

use super::{clock, minute_one};

/// Id and action of what the system itself has recorded of a tenant's exports, in order.
async fn audit_events(platform: &Platform<'_>, tenant: &str) -> Result<Vec<(String, String)>> {
    let mut told = Vec::new();
    for item in platform.items(Table::Events, &format!("{tenant}#0")).await? {
        let text = item.get("event").and_then(|event| event.as_s().ok()).context("an event without text")?;
        let event: Value = serde_json::from_str(text)?;
        let member = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        if ["Export Failed", "Export Still Failing", "Export Recovered"].contains(&member("action").as_str()) {
            told.push((member("id"), member("action")));
        }
    }
    Ok(told)
}

#[test]
fn a_refusal_and_its_end_are_audit_events_and_are_heard_on_the_bus() -> Result<()> {
    on_the_platform(async |fixture| {
        let (aws, platform) = (fixture.aws, &fixture.platform);
        let mut shut = onboard(aws, platform, "shut", "200000000031", Draft::default(), clock("10:00")?).await?;
        let listener = Listener::to(aws, &platform.outputs().notices_bus_name, "shut").await?;
        delete_stack(aws, &shut.stack.account, &shut.stack.name).await?;
        for hour in ["11:00", "12:00"] {
            assert_eq!(platform.tick(minute_one(hour)?).await?["failed"], 1);
        }
        shut.recreate_stack(aws).await?;
        assert_eq!(platform.tick(minute_one("13:00")?).await?["exported"], 1);

        let mut heard = listener.hear(2).await?;
        heard.sort_by_key(|event| event["detail-type"].to_string());
        let types: Vec<&str> = heard.iter().filter_map(|event| event["detail-type"].as_str()).collect();
        assert_eq!(types, ["Audit Log Export Failed", "Audit Log Export Recovered"], "one of each");
        let (failed, recovered) = (&heard[0]["detail"], &heard[1]["detail"]);
        assert_eq!(
            (&failed["version"], &failed["code"], &failed["party"], &failed["exportedUntil"]),
            (&json!("1"), &json!("assume_role_denied"), &json!("customer"), &json!("2026-11-20T10:00:00Z"))
        );
        assert!(failed["hint"].as_str().is_some_and(|hint| hint.contains("quick-create")), "{failed}");
        assert_eq!(recovered["failingSince"], failed["failingSince"]);
        assert_eq!(recovered["windowFrom"], "2026-11-20T10:00:00Z");
        assert!(!format!("{heard:?}").contains("external-id-of-shut"), "{heard:?}");
        let ids = [failed, recovered].map(|detail| detail["id"].as_str().unwrap_or_default().to_owned());
        let expected: Vec<_> = ids.into_iter().zip(["Export Failed", "Export Recovered"].map(str::to_owned)).collect();
        assert_eq!(audit_events(platform, "shut").await?, expected, "under the same ids");
        Ok(())
    })
}
