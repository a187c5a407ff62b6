//! Sends events as services do, and reads the audit logs on the API.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_tests::{Api, LocalAws, PLATFORM_ACCOUNT, tools};
use serde_json::{Value, json};

use crate::screen::Screen;
use crate::setup::Demo;
use crate::tenants::BUSY;

/// For a message in the ingestion queue.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60);

/// Sends events over HTTP and the queue, each twice, and checks that they are recorded once.
pub(crate) async fn send_events(screen: &Screen, aws: &LocalAws, demo: &Demo<'_>) -> Result<()> {
    screen.section("Today: services send events, and an admin reads the audit logs")?;
    let (api, outputs) = (demo.platform.api(), demo.platform.outputs());
    let user = json!({ "id": "usr_01", "name": "Priya Raman", "email": format!("priya.raman@{BUSY}.example") });
    let event = |log_type: &str, action: &str, info: Value| json!({ "logType": log_type, "action": action, "user": user, "additionalInfo": info });

    let login = json!({ "events": [
        event("Authentication", "Login", json!({ "ip": "203.0.113.7", "demo": "live" })),
        event("Scan", "Scan Now", json!({ "target": "www.acme.example", "demo": "live" })),
    ] });
    let token = api.token(BUSY, &["events:write"]);
    let headers = [("idempotency-key", "a-request-that-is-sent-twice")];
    let mut counts = Vec::new();
    for _ in 0..2 {
        let answer = api.send(&token, "POST", "/v1/events", &headers, Some(&login)).await?.ok()?;
        counts.push((answer["recorded"].clone(), answer["duplicate"].clone()));
    }
    ensure!(counts == [(json!(2), json!(0)), (json!(0), json!(2))], "the events were not recorded once: {counts:?}");
    screen.verdict(
        true,
        "POST /v1/events with two events: 2 recorded. The same request again: 2 duplicates, 0 recorded",
    )?;

    let ticket = event("Ticket", "Jira Ticket Opened", json!({ "key": "SEC-1042", "demo": "live" }));
    let mut ticket = json!({ "tenantId": BUSY, "event": ticket });
    ticket["event"]["id"] = "ticket-SEC-1042-opened".into();
    let message = ticket.to_string();
    let queue = &outputs.ingestion_queue_url;
    let send = ["sqs", "send-message", "--queue-url", queue, "--message-group-id", BUSY, "--message-body", &message];
    for _ in 0..2 {
        tools::aws_cli(aws, PLATFORM_ACCOUNT, &send).await?;
    }
    let sent = "a message to the ingestion queue, sent twice: recorded once";
    screen.step("waiting for the message to be recorded", wait_for_events(api, 3), |_| sent.to_owned()).await?;

    let logs = wait_for_events(api, 3).await?;
    let rows = logs.iter().map(|event| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let info = event["additionalInfo"].to_string();
        [text(&event["user"]["name"]), text(&event["action"]), info, text(&event["logType"]), text(&event["date"])]
    });
    screen.blank()?;
    screen.line(&format!("  GET /v1/audit-logs?q=live, for an admin of {BUSY}"))?;
    screen.table(["user", "action", "additional info", "log type", "date"], rows.collect(), &[])?;

    let reader = api.token(BUSY, &["audit-logs:read"]);
    let path = "/v1/audit-logs/summary?logType=Audit+Log+Export";
    let summary = api.send(&reader, "GET", path, &[], None).await?.ok()?;
    screen.blank()?;
    let actions = summary["actions"].as_array().context("a summary without actions")?;
    let actions: Vec<_> =
        actions.iter().map(|it| format!("{} ({})", it["value"].as_str().unwrap_or_default(), it["count"])).collect();
    screen.prose(&format!(
        "The audit log also has what admins did with the export: {}. The next tick exports all of it.",
        actions.join(", ")
    ))
}

/// Waits until exactly `expected` live events are recorded.
async fn wait_for_events(api: &Api, expected: usize) -> Result<Vec<Value>> {
    let token = api.token(BUSY, &["audit-logs:read"]);
    let started = Instant::now();
    loop {
        let page = api.send(&token, "GET", "/v1/audit-logs?q=live", &[], None).await?.ok()?;
        let events = page["events"].as_array().context("a page without events")?;
        if events.len() >= expected {
            ensure!(events.len() == expected, "{} events instead of {expected}", events.len());
            return Ok(events.clone());
        }
        if started.elapsed() > RECORD_TIMEOUT {
            bail!("only {} of {expected} events were recorded", events.len());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
