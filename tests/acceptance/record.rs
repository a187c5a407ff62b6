//! Records events as the platform's services do.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::{
    act::Run,
    aws::{list, text},
    deliver::{self, Window},
    platform::Deployment,
    report::{Found, passed},
};

const VISIBLE_WITHIN: Duration = Duration::from_secs(60);

fn event(id: &str, way: &str) -> Value {
    json!({
        "id": id, "logType": "Authentication", "action": "Login", "user": { "id": "acceptance-test" },
        "additionalInfo": { "recordedBy": way },
    })
}

fn id(run: &Run<'_>, way: &str) -> String {
    format!("acceptance-{}-{way}", run.deployment.names.run)
}

pub(crate) async fn by_http(run: &Run<'_>) -> Result<Found<()>> {
    let id = id(run, "http");
    let body = json!({ "events": [event(&id, "http")] });
    let answer = run.api.send("POST", "/v1/events", Some(&body)).await?.ok()?;
    let status = text(&answer["results"][0]["status"]).to_owned();
    ensure!(status == "recorded", "the event was {status}: {answer}");
    wait_until_visible(run, &id).await
}

pub(crate) async fn by_queue(run: &Run<'_>) -> Result<Found<()>> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let id = id(run, "queue");
    let message = json!({ "tenantId": names.tenant, "event": event(&id, "queue") }).to_string();
    let url = stack.output("IngestionQueueUrl")?;
    let group = ["--message-group-id", names.tenant.as_str(), "--message-body", &message];
    platform.call(&[&["sqs", "send-message", "--queue-url", url], &group[..]].concat()).await?;
    wait_until_visible(run, &id).await
}

/// Waits until the audit log shows an event.
async fn wait_until_visible(run: &Run<'_>, id: &str) -> Result<Found<()>> {
    let platform = &run.deployment.platform;
    let visible = platform.poll(VISIBLE_WITHIN, Duration::from_secs(2), async || {
        let logs = run.api.send("GET", "/v1/audit-logs?action=Login&pageSize=10", None).await?.ok()?;
        Ok(list(&logs["events"]).iter().any(|event| event["id"] == id).then_some(()))
    });
    let seconds = VISIBLE_WITHIN.as_secs();
    visible.await?.with_context(|| format!("after {seconds} s, the audit log does not show the event {id}"))?;
    passed((), format!("{id} is in the audit log"))
}

/// Puts events of a window that is over straight into the table, and returns them. The recorder would stamp them with the
/// current time.
pub(crate) async fn put_into_table(run: &Run<'_>, window: Window, count: u32, bytes: usize) -> Result<Vec<String>> {
    run.ensure_before_next_tick()?;
    let Deployment { platform, stack, names, .. } = run.deployment;
    let table = stack.output("EventsTableName")?;
    let mut documents = Vec::new();
    let mut puts = Vec::new();
    for n in 0..count {
        let recorded_at = window.from + (window.to - window.from) / i32::try_from(count)? * i32::try_from(n)?;
        let recorded_at = recorded_at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let id = format!("acceptance-{}-{}-{n:04}", names.run, window.from.format("%H"));
        let document = json!({
            "id": id, "date": recorded_at, "logType": "Authentication", "action": "Login",
            "user": { "id": "acceptance-test" }, "additionalInfo": { "text": "x".repeat(bytes) },
        })
        .to_string();
        puts.push(json!({ "PutRequest": { "Item": {
            "tenant_shard": { "S": format!("{}#0", names.tenant) },
            "recorded_at_id": { "S": format!("{recorded_at}#{id}") },
            "event": { "S": document }, "action": { "S": "Login" }, "log_type": { "S": "Authentication" },
            "expires_at": { "N": (Utc::now().timestamp() + 7 * 86_400).to_string() },
        } } }));
        documents.push(document);
    }
    // A partition takes 1,000 KB a second, so a few large events at a time.
    for puts in puts.chunks(if bytes > 10_000 { 8 } else { 25 }) {
        platform.batch_write(table, puts).await?;
    }
    Ok(documents)
}

/// Waits until the hourly rule itself has exported the current hour, with the events that the recorder took in.
pub(crate) async fn wait_for_next_hour(run: &Run<'_>) -> Result<Found<()>> {
    let window = Window { from: run.next_hour() - chrono::TimeDelta::hours(1), to: run.next_hour() };
    let limit = (run.next_hour() - Utc::now()).to_std().unwrap_or_default() + Duration::from_secs(900);
    println!("{:<20}until about {} UTC", "", run.next_hour().format("%H:05"));
    let platform = &run.deployment.platform;
    let receipt = platform.poll(limit, Duration::from_secs(30), async || deliver::receipt(run, window).await).await?;
    let Some(receipt) = receipt else { bail!("15 minutes after the hour, the hourly rule has exported nothing") };
    let files = deliver::read_files(run, &receipt).await?;
    for way in ["http", "queue"] {
        let id = id(run, way);
        let is_there = files.lines.iter().any(|line| line.contains(&format!("\"{id}\"")));
        ensure!(is_there, "the exported hour lacks the event {id}");
    }
    passed((), format!("{} events, those by HTTP and queue among them", receipt["events"]))
}
