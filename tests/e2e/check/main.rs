//! The hourly check end to end: the deployed function and its second rule, and what its log says for the alarms.

mod connections;
mod reconciliation;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use audit_log_tests::Platform;
use chrono::{DateTime, Utc};
use serde_json::Value;

/// `20T10:31` and the like.
fn at(time: &str) -> Result<DateTime<Utc>> {
    Ok(format!("2026-11-{time}:00Z").parse()?)
}

/// What an invocation answers, and the metrics that it writes for CloudWatch.
struct Ran {
    answer: Value,
    metrics: BTreeMap<String, f64>,
}

/// Invokes the function, and reads the metrics of that invocation off its log.
async fn ran(platform: &Platform<'_>, invoke: impl Future<Output = Result<Value>>) -> Result<Ran> {
    // A function that was never invoked has no log.
    let before = platform.logs().await.map_or(0, |lines| lines.len());
    let answer = invoke.await?;
    let mut metrics = BTreeMap::new();
    // The answer can be there before the log is.
    for _ in 0..50 {
        let lines = platform.logs().await?;
        metrics = metrics_in(lines.iter().skip(before));
        if !metrics.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(!metrics.is_empty(), "no metrics were written");
    Ok(Ran { answer, metrics })
}

/// Every metric with its value. There is a line for each set of dimensions.
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

async fn check(platform: &Platform<'_>, time: &str) -> Result<Ran> {
    ran(platform, platform.check(at(time)?)).await
}

async fn tick(platform: &Platform<'_>, time: &str) -> Result<Ran> {
    ran(platform, platform.tick(at(time)?)).await
}
