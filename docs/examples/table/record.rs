//! Puts audit events straight into the events table. Needs `aws-config`, `aws-sdk-dynamodb`, `chrono`, `rand`, `serde_json`,
//! and `tokio` (`macros`, `rt-multi-thread`).

use std::{env, error::Error, time::Duration};

use aws_config::{BehaviorVersion, timeout::TimeoutConfig};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use chrono::{SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

/// Less than half of `SETTLE_SECONDS`, retries included.
const GIVE_UP: Duration = Duration::from_secs(25);
/// At least `EventsRetentionDays`. If that is 0, leave `expires_at` out.
const KEPT: TimeDelta = TimeDelta::days(90);

/// To repeat a write that failed, call this again: it makes a new stamp. The event may then be stored twice.
async fn record(dynamodb: &Client, mut event: Value, tenant: &str) -> Result<(), Box<dyn Error>> {
    let now = Utc::now();
    let recorded_at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
    event["date"] = recorded_at.as_str().into();
    let text = |value: &Value| AttributeValue::S(value.as_str().unwrap_or_default().to_owned());
    let id = event["id"].as_str().unwrap_or_default();
    let mut put = dynamodb
        .put_item()
        .table_name(env::var("EVENTS_TABLE")?)
        .item("tenant_shard", AttributeValue::S(format!("{tenant}#0")))
        .item("recorded_at_id", AttributeValue::S(format!("{recorded_at}#{id}")))
        .item("event", AttributeValue::S(event.to_string()))
        .item("action", text(&event["action"]))
        .item("log_type", text(&event["logType"]))
        .item("expires_at", AttributeValue::N((now + KEPT).timestamp().to_string()));
    if event["user"]["email"].is_string() {
        put = put.item("user_email", text(&event["user"]["email"]));
    }
    put.send().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let timeouts =
        TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(5)).operation_timeout(GIVE_UP);
    let config = aws_config::defaults(BehaviorVersion::latest()).timeout_config(timeouts.build()).load().await;
    let login = json!({
        "id": format!("{:032x}", rand::random::<u128>()),
        "logType": "Authentication",
        "action": "Login",
        "user": { "id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example" },
        "additionalInfo": { "ip": "192.0.2.7", "mfa": true },
    });
    let scan = json!({
        "id": format!("{:032x}", rand::random::<u128>()),
        "logType": "Scan",
        "action": "Scan Completed",
        "user": { "id": "system" },
        "additionalInfo": {},
    });
    let dynamodb = Client::new(&config);
    record(&dynamodb, login, "acme").await?;
    record(&dynamodb, scan, "acme").await
}
