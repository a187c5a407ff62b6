//! The exporter: a Lambda function that EventBridge invokes every hour for a tick and for a check of all tenants, that
//! takes what a tick has handed over through a queue, and that publishes a tenant's notifications or verifies a connection
//! when it is asked to.
//!
//! This is only the shell. It decodes the event, hands the clock, the deadline and the random numbers to
//! `audit_log_core::export`, `reconciliation`, `drift` or `verify`, and encodes the answer.

mod batches;
mod check;
mod input;

use std::time::Duration;

use anyhow::Context as _;
use audit_log_aws::{
    Export, Exporter,
    config::ExporterConfig,
    exporter,
    telemetry::{self, Metrics},
};
use audit_log_core::{
    export::{Done, Publishing, Report, Run},
    failure::{Code, Failure},
    schedule,
    tenant::{Platform, TenantId},
    timestamp,
    verification::{Step, Verification, VerificationRequest},
    verify,
};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use batches::Messages;
use check::Checked;
use chrono::{DateTime, TimeDelta, Utc};
use input::Input;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;

/// The end of the invocation that belongs to giving up in good order: a window that is being read is abandoned, its
/// upload aborted, and the answer written.
const RESERVE: TimeDelta = TimeDelta::seconds(20);

/// How long an invocation lasts at most, by "Lambda quotas" in the Lambda developer guide.
const MAX_INVOCATION: TimeDelta = TimeDelta::minutes(15);

/// How long a verification may take: someone sits before a page and waits, behind an API that gives up at 29 seconds.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(20);

/// What the function answers.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Tick(Box<Report>),
    Check(Box<Checked>),
    Publishing(Publishing),
    Batches(SqsBatchResponse),
    Verification(Verification),
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init_logs();
    let config = ExporterConfig::from_env()?;
    let metrics = Metrics::init(&config.function_name)?;
    let exporter = &exporter(&config).await;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| handle(exporter, metrics, event))).await
}

async fn handle(exporter: &Exporter, metrics: Metrics, event: LambdaEvent<Value>) -> Result<Answer, Error> {
    let LambdaEvent { payload, context } = event;
    let input = input::decode(payload)?;
    let platform = Platform::from_function_arn(&context.invoked_function_arn)
        .context("Lambda did not say which function was invoked")?;
    let invocation = Invocation { exporter, metrics, platform: &platform, context: &context };
    match input {
        Input::Tick { time } => invocation.tick(time).await.map(|report| Answer::Tick(Box::new(report))),
        Input::Check { time } => invocation.check(time).await.map(|checked| Answer::Check(Box::new(checked))),
        Input::Publish { tenant } => invocation.publish(&tenant).await.map(Answer::Publishing),
        Input::Batches(messages) => Ok(Answer::Batches(invocation.batches(messages).await)),
        Input::Verify(request) => {
            Ok(Answer::Verification(verify(&exporter.export, &platform, &context, &request).await))
        }
    }
}

async fn verify(
    exporter: &Export,
    platform: &Platform,
    context: &Context,
    request: &VerificationRequest,
) -> Verification {
    let now = wall_clock();
    let run = verify::VerifyContext { platform, now, id: &context.request_id, within: VERIFY_TIMEOUT };
    let verification = verify::verify(&exporter.tenants, &exporter.buckets, request, run).await;
    let duration_ms = (wall_clock() - now).num_milliseconds();
    for step in &verification.steps {
        let Step { step, status, code, message, .. } = step;
        let code = code.map(Code::as_str);
        tracing::info!(
            tenant = request.tenant_id,
            step = %step,
            status = %status,
            code,
            reason = message,
            duration_ms,
            "verified"
        );
    }
    verification
}

/// A run of the export within this invocation.
struct Invocation<'a> {
    exporter: &'a Exporter,
    metrics: Metrics,
    platform: &'a Platform,
    context: &'a Context,
}

impl Invocation<'_> {
    /// When Lambda ends the invocation, if that can be read.
    fn deadline(&self) -> Option<DateTime<Utc>> {
        i64::try_from(self.context.deadline).ok().and_then(DateTime::from_timestamp_millis)
    }

    /// Whether no more than a reserve is left of the time.
    fn should_stop(&self, reserve: TimeDelta) -> impl Fn() -> bool + Send + Sync + use<> {
        let deadline = self.deadline();
        move || deadline.is_some_and(|deadline| wall_clock() + reserve > deadline)
    }

    /// A run for a tick that began at an instant.
    fn run<'a>(
        &'a self,
        tick: DateTime<Utc>,
        started: DateTime<Utc>,
        should_stop: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> Run<'a> {
        // Leases last beyond the deadline. One that is too long costs a tenant a tick, one that is too short is unsafe.
        let deadline = self.deadline().unwrap_or(started + MAX_INVOCATION);
        Run { tick, platform: self.platform, now: &wall_clock, should_stop, deadline, random: &fill_with_random }
    }

    async fn tick(&self, time: DateTime<Utc>) -> Result<Report, Error> {
        let (started, should_stop) = (wall_clock(), self.should_stop(RESERVE));
        let tick = schedule::tick(time, started);
        let run = self.run(tick, started, &should_stop);
        let Exporter { export, queue } = self.exporter;
        let report = match queue {
            Some(queue) => export.hand_over(run, queue).await,
            None => export.tick(run).await,
        };
        let report = report.inspect_err(|failure| failed("tick", tick, failure))?;
        if report.no_connected_tenant {
            tracing::error!(
                tick = report.tick,
                "no tenant is connected: unless none ever was, the tenants table has lost its watermarks"
            );
        }
        let duration = wall_clock() - started;
        log("tick", &report, duration);
        self.metrics.tick(&report, duration);
        Ok(report)
    }

    async fn batches(&self, messages: Vec<SqsMessage>) -> SqsBatchResponse {
        let (started, should_stop) = (wall_clock(), self.should_stop(RESERVE));
        let messages = Messages::read(messages);
        let Some(latest) = messages.batches.iter().map(|batch| batch.tick).max() else { return messages.answer(&[]) };
        let tick = schedule::tick(latest, started);
        let run = self.run(tick, started, &should_stop);
        let Exporter { export, queue } = self.exporter;
        let Done { report, failed } = export.batches(run, &messages.batches, queue.as_ref()).await;
        let duration = wall_clock() - started;
        log("batch", &report, duration);
        self.metrics.batches(&report, duration);
        messages.answer(&failed)
    }

    /// Publishes what one tenant's outbox holds.
    async fn publish(&self, tenant: &TenantId) -> Result<Publishing, Error> {
        let (started, should_stop) = (wall_clock(), self.should_stop(RESERVE));
        let hour = schedule::full_hour(started);
        let published = self.exporter.export.publish_one(self.run(hour, started, &should_stop), tenant).await;
        self.metrics.flush();
        let published = published.inspect_err(|failure| failed("publishing", hour, failure))?;
        let Publishing { published: notifications, left, dropped, .. } = published;
        let duration_ms = (wall_clock() - started).num_milliseconds();
        tracing::info!(tenant = %tenant, notifications, left, dropped, duration_ms, "published");
        Ok(published)
    }
}

fn failed(what: &str, tick: DateTime<Utc>, failure: &Failure) {
    let Failure { code, party, message } = failure;
    tracing::error!(tick = timestamp::seconds(tick), code = %code, party = %party, reason = message, hint = code.hint(), "the {what} failed");
}

fn log(what: &str, report: &Report, duration: TimeDelta) {
    if report.nothing_delivered() {
        tracing::error!(
            tick = report.tick,
            due = report.due,
            "several tenants have begun to fail and not one was exported"
        );
    }
    tracing::info!(
        tick = report.tick,
        due = report.due,
        queued = report.queued,
        exported = report.exported,
        failed = report.failed,
        deferred = report.deferred,
        leased = report.leased,
        events = report.events,
        objects = report.objects,
        bytes = report.bytes,
        duration_ms = duration.num_milliseconds(),
        "{what}"
    );
}

/// The one place of this function that reads the clock.
#[allow(clippy::disallowed_methods, reason = "main hands the clock to everyone else")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

fn fill_with_random(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}
