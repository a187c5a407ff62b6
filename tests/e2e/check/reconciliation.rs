//! The hourly check finds records that are missing or stuck, and raises no alarm for a healthy fleet.

#![allow(clippy::disallowed_methods, reason = "leases are as of now")]

use anyhow::{Result, ensure};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::tenant::{DueShard, TenantId};
use audit_log_tests::{Fixture, Item, PLATFORM_ACCOUNT, Platform, REGION, Table, run_on_platform, tools};
use chrono::{TimeDelta, Utc};
use serde_json::json;

use super::{Invocation, check, tick};

/// The metrics of the alarms.
const ALARMING: [&str; 11] = [
    "NoConnectedTenants",
    "TenantsShrunken",
    "WatermarksWithoutConfig",
    "SettingsWithoutWatermark",
    "EventReadsRefused",
    "NothingDelivered",
    "BacklogNearsRetention",
    "UndeliveredNearRetention",
    "TenantsLeasedAgain",
    "LeasesLost",
    "OutboxesStale",
];

/// No alarm.
const QUIET: [f64; 11] = [0.0; 11];

/// The values of the metrics; 0 for those that the invocation doesn't write.
fn alarming(invocation: &Invocation) -> [f64; 11] {
    ALARMING.map(|name| invocation.metrics.get(name).copied().unwrap_or_default())
}

/// These metrics at 1, the others at 0.
fn only(names: &[&str]) -> [f64; 11] {
    ALARMING.map(|name| f64::from(u8::from(names.contains(&name))))
}

fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn record(tenant: &str, record: &str, attributes: &[(&str, AttributeValue)]) -> Item {
    let keys = [("tenant_id", s(tenant)), ("record", s(record))];
    keys.iter().chain(attributes).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// A tenant that exports daily, next at 03:00 of the 21st.
async fn put_tenant(platform: &Platform<'_>, tenant: &str) -> Result<()> {
    let config = [
        ("external_id", s("some-external-id")),
        ("role_arn", s("arn:aws:iam::222222222222:role/audit")),
        ("bucket", s("some-bucket")),
        ("region", s(REGION)),
        ("frequency_hours", AttributeValue::N("24".to_owned())),
    ];
    let shard = DueShard::from_tenant(&TenantId::parse(tenant)?).to_string();
    let watermark = [
        ("exported_until", s("2026-11-20T03:00:00Z")),
        ("next_due", s("2026-11-21T03:00:00Z")),
        ("due_shard", s(&shard)),
    ];
    platform.put_item(Table::Tenants, record(tenant, "config", &config)).await?;
    platform.put_item(Table::Tenants, record(tenant, "watermark", &watermark)).await
}

async fn put_fleet(platform: &Platform<'_>, tenants: usize) -> Result<()> {
    for number in 0..tenants {
        put_tenant(platform, &format!("tenant-{number}")).await?;
    }
    Ok(())
}

/// Deletes a record.
async fn delete_record(fixture: &Fixture, tenant: &str, record: &str) -> Result<()> {
    let table = &fixture.platform.outputs().tenants_table_name;
    let key = json!({ "tenant_id": { "S": tenant }, "record": { "S": record } }).to_string();
    let delete = ["dynamodb", "delete-item", "--table-name", table, "--key", &key];
    tools::aws_cli(fixture.aws, PLATFORM_ACCOUNT, &delete).await?;
    Ok(())
}

#[test]
fn a_healthy_fleet_that_exports_once_a_day_raises_no_alarm_at_any_hour() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        put_fleet(platform, 4).await?;
        for hour in [4, 14, 23] {
            let tick = tick(platform, &format!("20T{hour:02}:01")).await?;
            assert_eq!((alarming(&tick), &tick.answer["due"]), (QUIET, &0.into()), "{hour}");
            let check = check(platform, &format!("20T{hour:02}:31")).await?;
            assert_eq!(alarming(&check), QUIET, "{hour}: {}", check.answer);
            let looked = ["SuccessfulChecks", "ConnectedTenants"].map(|name| check.metrics[name]);
            assert_eq!(looked, [1.0, 4.0]);
        }
        let next_day = check(platform, "21T00:31").await?;
        assert_eq!((alarming(&next_day), &next_day.answer["connectedBefore"]), (QUIET, &4.into()));
        Ok(())
    })
}

#[test]
fn each_lost_record_raises_an_alarm_and_is_logged_with_its_tenant() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        put_fleet(platform, 4).await?;
        delete_record(fixture, "tenant-1", "config").await?;
        delete_record(fixture, "tenant-2", "watermark").await?;
        let found = check(platform, "20T10:31").await?;
        assert_eq!(
            alarming(&found),
            only(&["WatermarksWithoutConfig", "SettingsWithoutWatermark"]),
            "{}",
            found.answer
        );
        assert_eq!(found.answer["watermarksWithoutConfig"], json!(["tenant-1"]));
        assert_eq!(found.answer["settingsWithoutWatermark"], json!(["tenant-2"]));
        let logs = platform.logs().await?;
        for (tenant, words) in [("tenant-1", "has no settings"), ("tenant-2", "will never be due")] {
            let named = |line: &&String| line.contains("ERROR") && line.contains(tenant) && line.contains(words);
            ensure!(logs.iter().any(|line| named(&line)), "{tenant} is not in the log");
        }
        for tenant in ["tenant-1", "tenant-2"] {
            put_tenant(platform, tenant).await?;
        }
        assert_eq!(alarming(&check(platform, "20T11:31").await?), QUIET);
        Ok(())
    })
}

#[test]
fn a_fleet_that_shrinks_overnight_raises_an_alarm() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        put_fleet(platform, 10).await?;
        assert_eq!(alarming(&check(platform, "19T00:31").await?), QUIET);
        for number in 0..4 {
            for record in ["config", "watermark"] {
                delete_record(fixture, &format!("tenant-{number}"), record).await?;
            }
        }
        let shrunken = check(platform, "20T00:31").await?;
        assert_eq!(alarming(&shrunken), only(&["TenantsShrunken"]), "{}", shrunken.answer);
        assert_eq!(shrunken.metrics["ConnectedTenants"], 6.0);
        assert_eq!(alarming(&check(platform, "21T00:31").await?), QUIET, "the alarm ends by itself");
        Ok(())
    })
}

/// Changes the exporter's retention; the shared platform keeps events forever.
async fn keep_events_for(fixture: &Fixture, days: &str) -> Result<()> {
    let lambda = async |arguments: &[&str]| {
        let name = ["--function-name", &fixture.platform.outputs().exporter_function_name];
        tools::aws_cli(fixture.aws, PLATFORM_ACCOUNT, &[&["lambda"], arguments, &name].concat()).await
    };
    let mut environment = lambda(&["get-function-configuration"]).await?["Environment"].take();
    environment["Variables"]["EVENTS_RETENTION_DAYS"] = json!(days);
    lambda(&["update-function-configuration", "--environment", &environment.to_string()]).await?;
    Ok(())
}

#[test]
fn a_disconnected_tenant_with_events_that_are_deleted_soon_raises_an_alarm() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        put_fleet(platform, 3).await?;
        let days_ago = |days: i64| (Utc::now() - TimeDelta::days(days)).format("%Y-%m-%dT%H:%M:%SZ").to_string();
        for tenant in ["tenant-1", "tenant-2"] {
            let watermark = [("exported_until", s(&days_ago(82))), ("next_due", s(&days_ago(81)))];
            platform.put_item(Table::Tenants, record(tenant, "watermark", &watermark)).await?;
        }
        for (tenant, days) in [("tenant-1", 20), ("tenant-2", 80)] {
            let recorded_at_id = days_ago(days).replace('Z', ".000Z#1");
            let keys = [("tenant_shard", s(&format!("{tenant}#0"))), ("recorded_at_id", s(&recorded_at_id))];
            let event = keys.into_iter().chain([("event", s("{}"))]);
            platform.put_item(Table::Events, event.map(|(name, value)| (name.to_owned(), value)).collect()).await?;
        }
        keep_events_for(fixture, "90").await?;
        let found = check(platform, "20T10:31").await;
        keep_events_for(fixture, "0").await?;
        let found = found?;
        assert_eq!(alarming(&found), only(&["UndeliveredNearRetention"]), "{}", found.answer);
        assert_eq!(found.answer["undeliveredNearRetention"], json!(["tenant-2"]));
        let logs = platform.logs().await?;
        let named =
            |line: &&String| line.contains("ERROR") && line.contains("tenant-2") && line.contains("undelivered");
        ensure!(logs.iter().any(|line| named(&line)), "the log does not name the tenant");
        Ok(())
    })
}

#[test]
fn a_lease_that_is_not_released_and_an_unreadable_notification_raise_alarms() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        put_fleet(platform, 1).await?;
        let mut watermark = platform.record("tenant-0", "watermark").await?;
        let until = Utc::now() + TimeDelta::hours(1);
        watermark.insert("lease".to_owned(), s(&"7".repeat(32)));
        watermark.insert("lease_until".to_owned(), AttributeValue::N(until.timestamp_millis().to_string()));
        platform.put_item(Table::Tenants, watermark).await?;
        // The run may have been killed. Leased at two ticks is an alarm.
        for (hour, expected) in [("21T03:01", QUIET), ("21T04:01", only(&["TenantsLeasedAgain"]))] {
            let ticked = tick(platform, hour).await?;
            assert_eq!((&ticked.answer["deferred"], &ticked.answer["leased"]), (&1.into(), &1.into()), "{hour}");
            assert_eq!(alarming(&ticked), expected, "{hour}: {}", ticked.answer);
        }

        let shard = DueShard::from_tenant(&TenantId::parse("tenant-0")?).to_string();
        let entries = AttributeValue::M([("system:damaged".to_owned(), s("no JSON"))].into());
        let outbox =
            [("entries", entries), ("sequence", AttributeValue::N("7".to_owned())), ("pending_shard", s(&shard))];
        platform.put_item(Table::Tenants, record("tenant-0", "outbox", &outbox)).await?;
        // Also while another run has the lease.
        for hour in ["21T04:31", "21T05:31"] {
            let checked = check(platform, hour).await?;
            let found = (checked.metrics["OutboxesPending"], alarming(&checked));
            assert_eq!(found, (1.0, only(&["OutboxesStale"])), "{hour}: {}", checked.answer);
            put_tenant(platform, "tenant-0").await?;
        }
        let logs = platform.logs().await?;
        let named = |line: &&String| line.contains("ERROR") && line.contains("system:damaged");
        ensure!(logs.iter().any(|line| named(&line)), "the log does not name the notification");
        Ok(())
    })
}

#[test]
fn an_events_table_that_refuses_reads_raises_an_alarm_before_and_after_a_tenant_is_due() -> Result<()> {
    run_on_platform(async |fixture| {
        let platform = &fixture.platform;
        put_fleet(platform, 1).await?;
        let role = platform.outputs().exporter_role_arn.rsplit('/').next().unwrap_or_default();
        let iam = async |arguments: &[&str]| {
            let policy = ["--role-name", role, "--policy-name", "closed"];
            tools::aws_cli(fixture.aws, PLATFORM_ACCOUNT, &[&["iam"], arguments, &policy].concat()).await
        };
        let table =
            format!("arn:aws:dynamodb:{REGION}:{PLATFORM_ACCOUNT}:table/{}", platform.outputs().events_table_name);
        let deny = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Deny", "Action": "dynamodb:Query", "Resource": table },
        ] });
        iam(&["put-role-policy", "--policy-document", &deny.to_string()]).await?;
        let refused = async {
            let check = check(platform, "20T10:31").await?;
            anyhow::Ok((check, tick(platform, "21T03:01").await?))
        };
        let refused = refused.await;
        iam(&["delete-role-policy"]).await?;
        let (checked, ticked) = refused?;
        assert_eq!(alarming(&checked), only(&["EventReadsRefused"]), "{}", checked.answer);
        assert_eq!(alarming(&ticked), only(&["EventReadsRefused"]), "{}", ticked.answer);
        assert_eq!(ticked.answer["failures"][0]["code"], "events_unreadable");
        assert_eq!(alarming(&check(platform, "20T11:31").await?), QUIET);
        Ok(())
    })
}
