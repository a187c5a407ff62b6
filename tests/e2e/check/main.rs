//! The hourly check end to end: the deployed function, its second rule, and its metrics.

mod connections;
mod reconciliation;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use audit_log_tests::Platform;
use chrono::{DateTime, Utc};
use serde_json::Value;

/// A time such as `20T10:31`.
fn at(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-{time}:00Z").parse()?)
}

/// An invocation's answer and its metrics.
struct Invocation {
    answer: Value,
    metrics: BTreeMap<String, f64>,
}

/// Waits for an invocation's answer and reads its metrics from the log.
async fn invoke(platform: &Platform<'_>, answer: impl Future<Output = Result<Value>>) -> Result<Invocation> {
    let before = platform.logs().await.map_or(0, |lines| lines.len());
    let answer = answer.await?;
    let mut metrics = BTreeMap::new();
    // The answer can arrive before the log.
    for _ in 0..300 {
        let lines = platform.logs().await?;
        metrics = metrics_in(lines.iter().skip(before));
        if !metrics.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(!metrics.is_empty(), "no metrics were written");
    Ok(Invocation { answer, metrics })
}

/// The metrics with values. Each set of dimensions has its own line.
fn metrics_in<'a>(lines: impl Iterator<Item = &'a String>) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    for line in lines.filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let declared = line["_aws"]["CloudWatchMetrics"].as_array().into_iter().flatten();
        let ours = declared.filter(|it| it["Namespace"] == "AuditLogExport");
        let names =
            ours.flat_map(|it| it["Metrics"].as_array().into_iter().flatten()).filter_map(|it| it["Name"].as_str());
        metrics.extend(names.filter_map(|name| Some((name.to_owned(), line[name].as_f64()?))));
    }
    metrics
}

async fn check(platform: &Platform<'_>, time: &str) -> Result<Invocation> {
    invoke(platform, platform.check(at(time)?)).await
}

async fn tick(platform: &Platform<'_>, time: &str) -> Result<Invocation> {
    invoke(platform, platform.tick(at(time)?)).await
}
