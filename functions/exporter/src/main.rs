//! The exporter: a Lambda function that EventBridge invokes every hour.
//!
//! This is only the shell. It decodes the event, hands the clock and the deadline to `audit_log_core::export`, and
//! encodes the answer.

mod input;

use anyhow::Context as _;
use audit_log_aws::{
    Exporter,
    config::ExporterConfig,
    exporter,
    telemetry::{self, Metrics},
};
use audit_log_core::{
    export::{Report, Run},
    failure::Failure,
    schedule,
    tenant::Platform,
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};
use input::Input;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

/// The end of the invocation that belongs to giving up in good order: a window that is being read is abandoned, its
/// upload aborted, and the answer written.
const RESERVE: TimeDelta = TimeDelta::seconds(20);

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init_logs();
    let config = ExporterConfig::from_env()?;
    let metrics = Metrics::init(&config.function_name)?;
    let exporter = &exporter(&config).await;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| handle(exporter, metrics, event))).await
}

async fn handle(exporter: &Exporter, metrics: Metrics, event: LambdaEvent<Value>) -> Result<Report, Error> {
    let started = wall_clock();
    let Input::Tick { time } = input::decode(event.payload)?;
    let platform = Platform::from_function_arn(&event.context.invoked_function_arn)
        .context("Lambda did not say which function was invoked")?;
    let deadline = i64::try_from(event.context.deadline).ok().and_then(DateTime::from_timestamp_millis);
    let should_stop = || deadline.is_some_and(|deadline| wall_clock() + RESERVE > deadline);
    let tick = schedule::tick(time, started);
    let run = Run { tick, platform: &platform, now: &wall_clock, should_stop: &should_stop };
    let report = exporter.tick(run).await.inspect_err(|failure| {
        let Failure { code, party, message } = failure;
        tracing::error!(tick = timestamp::seconds(tick), code = %code, party = %party, reason = message, hint = code.hint(), "the tick failed");
    })?;
    if report.no_connected_tenant {
        tracing::error!(
            tick = report.tick,
            "no tenant is connected: unless none ever was, the tenants table has lost its watermarks"
        );
    }
    if report.nothing_delivered() {
        tracing::error!(tick = report.tick, due = report.due, "several tenants were due and not one was exported");
    }
    let duration = wall_clock() - started;
    tracing::info!(
        tick = report.tick,
        due = report.due,
        exported = report.exported,
        failed = report.failed,
        deferred = report.deferred,
        events = report.events,
        objects = report.objects,
        bytes = report.bytes,
        duration_ms = duration.num_milliseconds(),
        "tick"
    );
    metrics.tick(&report, duration);
    Ok(report)
}

/// The one place of this function that reads the clock.
#[allow(clippy::disallowed_methods, reason = "main hands the clock to everyone else")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}
