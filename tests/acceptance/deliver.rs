//! Has windows exported, and reads the files with the customer's credentials.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use audit_log_core::batch::Batch;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{
    act::Run,
    aws::{list, text},
    connect::Customer,
    platform::Deployment,
    record,
    report::{Found, passed, skipped},
};

/// The exporter uploads larger files in parts of this size.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// Events that need a file of two parts, and the length of the text in each.
const LARGE_EVENTS: (u32, usize) = (40, 250_000);

/// More than the file with them.
const LARGE_FILE_BYTES: u64 = 11_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

/// The files of a window.
pub(crate) struct Files {
    /// Each event, byte for byte.
    pub(crate) lines: Vec<String>,
    /// What S3 answered for the first file.
    first: Value,
    bytes: u64,
}

/// An empty window and one with events.
pub(crate) async fn deliver_two_windows(run: &Run<'_>) -> Result<Found<()>> {
    let (empty, full) = (run.window(5), run.window(4));
    let events = record::put_into_table(run, full, 25, 100).await?;
    let receipt = deliver(run, full).await?;
    expect(&read_files(run, &receipt).await?, &events)?;
    let heartbeat = self::receipt(run, empty).await?.context("the window before has no receipt")?;
    let lines = read_files(run, &heartbeat).await?.lines;
    let is_heartbeat = lines.len() == 1 && lines[0].contains("Audit Log Export Completed");
    ensure!(is_heartbeat, "the empty window's file should hold one event of the system, not {}", lines.len());
    let key = text(&receipt["objects"][0]["key"]);
    passed((), format!("{} events, each byte as it was recorded, and a heartbeat; {key}", events.len()))
}

/// A file of more than one part.
pub(crate) async fn deliver_in_parts(run: &Run<'_>, customer: &Customer, window: Window) -> Result<Found<()>> {
    let Deployment { stack, .. } = run.deployment;
    if stack.number("MaxObjectBytes")? < LARGE_FILE_BYTES {
        return skipped(format!("MaxObjectBytes is below {LARGE_FILE_BYTES}, so that the events need several files"));
    }
    let (count, bytes) = LARGE_EVENTS;
    let events = record::put_into_table(run, window, count, bytes).await?;
    let receipt = deliver(run, window).await?;
    let files = read_files(run, &receipt).await?;
    expect(&files, &events)?;
    // The ETag of a multipart upload ends with the number of its parts ("Checking object integrity" in the Amazon S3 user
    // guide).
    let parts = text(&files.first["ETag"]).trim_matches('"').rsplit_once('-').map_or("1", |(_, parts)| parts);
    ensure!(files.bytes > PART_BYTES && parts != "1", "{} bytes in {parts} part", files.bytes);
    let encryption = files.first["ServerSideEncryption"].as_str().unwrap_or("no encryption named");
    if let Some(key) = &customer.kms_key_arn {
        let used = text(&files.first["SSEKMSKeyId"]);
        ensure!(encryption == "aws:kms" && used == key, "encrypted with {encryption:?} {used}, not with {key}");
    }
    passed((), format!("{} bytes in {parts} parts, {encryption}", files.bytes))
}

/// Has a window exported, and returns its receipt.
pub(crate) async fn deliver(run: &Run<'_>, window: Window) -> Result<Value> {
    let platform = &run.deployment.platform;
    // An export can be deferred, for example by a lease.
    for _ in 0..4 {
        invoke_exporter(run, window).await?;
        let exported =
            platform.poll(Duration::from_secs(30), Duration::from_secs(2), async || receipt(run, window).await);
        if let Some(receipt) = exported.await? {
            return Ok(receipt);
        }
    }
    let status = run.api.send("GET", "/v1/status", None).await?.ok()?;
    let error = &status["lastError"];
    bail!(
        "four invocations did not export the window until {}: {} {}",
        seconds(window.to),
        text(&error["code"]),
        text(&error["message"])
    )
}

/// Invokes the exporter as the export queue does, with a batch of the throw-away tenant alone for the tick at the window's
/// end. A tick would export each tenant that is due.
pub(crate) async fn invoke_exporter(run: &Run<'_>, window: Window) -> Result<()> {
    let Deployment { platform, stack, names, .. } = run.deployment;
    let batch = Batch { tick: window.to, tenants: vec![names.tenant.clone()] };
    let message = json!({ "messageId": names.resource, "body": batch.to_body(), "eventSource": "aws:sqs" });
    let event = json!({ "Records": [message] });
    let payload = platform.input(&event.to_string())?;
    let payload = format!("fileb://{}", payload.path().display());
    let output = platform.input("")?;
    let function = stack.output("ExporterFunctionName")?;
    let invoke = ["lambda", "invoke", "--function-name", function, "--payload", &payload];
    let answer = platform.call(&[&invoke[..], &[output.path().display().to_string().as_str()]].concat()).await?;
    let report = std::fs::read_to_string(output.path())?;
    ensure!(answer.get("FunctionError").is_none(), "the exporter failed: {report}");
    Ok(())
}

/// The receipt of a window, once it is exported.
pub(crate) async fn receipt(run: &Run<'_>, window: Window) -> Result<Option<Value>> {
    let exports = run.api.send("GET", "/v1/exports", None).await?.ok()?;
    let to = seconds(window.to);
    Ok(list(&exports["exports"]).iter().find(|receipt| receipt["windowTo"] == to.as_str()).cloned())
}

/// Reads all files of a receipt with the customer's credentials, and compares their checksums with the receipt.
pub(crate) async fn read_files(run: &Run<'_>, receipt: &Value) -> Result<Files> {
    let Deployment { customer, names, .. } = run.deployment;
    let mut files = Files { lines: Vec::new(), first: Value::Null, bytes: 0 };
    for object in list(&receipt["objects"]) {
        let key = text(&object["key"]);
        let output = customer.input("")?;
        let get = ["s3api", "get-object", "--bucket", &names.resource, "--key", key];
        let answer = customer.call(&[&get[..], &[output.path().display().to_string().as_str()]].concat()).await?;
        let bytes = std::fs::read(output.path())?;
        let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(object["sha256"] == sha256.as_str(), "{key} differs from its receipt");
        files.bytes += u64::try_from(bytes.len())?;
        let content = String::from_utf8(bytes).context("a file isn't text")?;
        let lines = content.lines().filter(|line| !["[", "]"].contains(line));
        files.lines.extend(lines.map(|line| line.trim_end_matches(',').to_owned()));
        if files.first.is_null() {
            files.first = answer;
        }
    }
    Ok(files)
}

/// Compares events byte for byte, and in order.
pub(crate) fn expect(files: &Files, events: &[String]) -> Result<()> {
    let (found, recorded) = (files.lines.len(), events.len());
    ensure!(found == recorded, "the files hold {found} events, and {recorded} were recorded");
    let differs = files.lines.iter().zip(events).position(|(line, event)| line != event);
    ensure!(differs.is_none(), "event {differs:?} differs from what was recorded");
    Ok(())
}

pub(crate) fn seconds(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
