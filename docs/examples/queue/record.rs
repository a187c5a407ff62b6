//! Records an audit event through the queue. Needs `aws-config`, `aws-sdk-sqs`, `rand`, `serde_json`, and `tokio` (`macros`,
//! `rt-multi-thread`).

use std::{env, error::Error, time::Duration};

use aws_config::{BehaviorVersion, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_sqs::Client;
use serde_json::{Value, json};

async fn record(sqs: &Client, event: &Value, tenant: &str) -> Result<(), Box<dyn Error>> {
    let message = sqs.send_message().queue_url(env::var("INGESTION_QUEUE_URL")?).message_group_id(tenant);
    message.message_body(json!({ "tenantId": tenant, "event": event }).to_string()).send().await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The SDK sends a message again if its answer is lost. The event's id makes that one event.
    let config = aws_config::defaults(BehaviorVersion::latest())
        .retry_config(RetryConfig::standard().with_max_attempts(6))
        .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(10)).build())
        .load()
        .await;
    let login = json!({
        "id": format!("{:032x}", rand::random::<u128>()),
        "logType": "Authentication",
        "action": "Login",
        "user": { "id": "usr_01", "name": "Priya Raman", "email": "priya.raman@acme.example" },
        "additionalInfo": { "ip": "192.0.2.7", "mfa": true },
    });
    record(&Client::new(&config), &login, "acme").await
}
