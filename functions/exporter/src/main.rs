//! The exporter: a Lambda function that EventBridge invokes every hour for a tick and for a check, SQS for batches of due
//! tenants, and the console to verify a connection, to publish a tenant's notifications, or to export one now.
//!
//! It decodes the event, gives the clock, the deadline and random numbers to `audit_log_core`, and encodes the answer.

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
    export::{BatchResult, Publishing, Report, Run},
    failure::{Code, Failure},
    schedule,
    tenant::{Platform, TenantId},
    timestamp,
    verification::{Step, Verification, VerificationRequest},
    verify,
};
use aws_lambda_events::sqs::{SqsBatchResponse, SqsMessage};
use batches::Messages;
use check::CheckReport;
use chrono::{DateTime, TimeDelta, Utc};
use input::Input;
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde_json::Value;

/// The time at the end of an invocation to abandon a window, abort its upload and write the answer.
const RESERVE: TimeDelta = TimeDelta::seconds(20);

/// The memory with which a function has one vCPU, by "Configure Lambda function memory" in the Lambda developer guide.
const ONE_VCPU_MB: usize = 1769;

/// By "Lambda quotas" in the Lambda developer guide.
const MAX_INVOCATION: TimeDelta = TimeDelta::minutes(15);

/// An admin waits, behind an HTTP API that times out after 30 seconds.
const VERIFY_TIMEOUT: Duration = Duration::from_secs(20);

/// An admin connects a role as soon as the stack has created it, and IAM may know it some seconds later.
const RETRY_REFUSED_ROLE: Duration = Duration::from_secs(10);

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Export(Box<Report>),
    Check(Box<CheckReport>),
    Publishing(Publishing),
    Batches(SqsBatchResponse),
    Verification(Verification),
}

fn main() -> Result<(), Error> {
    telemetry::init_logs();
    let config = ExporterConfig::from_env()?;
    let metrics = Metrics::init(&config.function_name)?;
    // Several threads on one vCPU would only wake each other.
    let mut runtime = if config.memory_mb > ONE_VCPU_MB {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    runtime.enable_all().build()?.block_on(async {
        let exporter = &exporter(&config).await;
        lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| handle(exporter, metrics, event))).await
    })
}

async fn handle(exporter: &Exporter, metrics: Metrics, event: LambdaEvent<Value>) -> Result<Answer, Error> {
    let LambdaEvent { payload, context } = event;
    let input = input::decode(payload)?;
    let platform = Platform::from_function_arn(&context.invoked_function_arn)
        .context("Lambda did not say which function was invoked")?;
    let invocation = Invocation { exporter, metrics, platform: &platform, context: &context };
    match input {
        Input::Tick { time } => invocation.tick(time).await.map(|report| Answer::Export(Box::new(report))),
        Input::Check { time } => invocation.check(time).await.map(|report| Answer::Check(Box::new(report))),
        Input::Publish { tenant } => invocation.publish(&tenant).await.map(Answer::Publishing),
        Input::Export { tenant } => Ok(Answer::Export(Box::new(invocation.export(&tenant).await))),
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
    let began = wall_clock();
    let run = verify::VerifyContext {
        platform,
        now: &wall_clock,
        retention: exporter.options.retention,
        id: &context.request_id,
        within: VERIFY_TIMEOUT,
        retry_refused_role: RETRY_REFUSED_ROLE,
    };
    let verification = verify::verify(&exporter.tenants, &exporter.buckets, request, run).await;
    let duration_ms = (wall_clock() - began).num_milliseconds();
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

struct Invocation<'a> {
    exporter: &'a Exporter,
    metrics: Metrics,
    platform: &'a Platform,
    context: &'a Context,
}

impl Invocation<'_> {
    /// When Lambda ends the invocation; `None` if the context has no valid time.
    fn deadline(&self) -> Option<DateTime<Utc>> {
        i64::try_from(self.context.deadline).ok().and_then(DateTime::from_timestamp_millis)
    }

    /// Returns a function that says whether only the reserve is left before the deadline.
    fn should_stop(&self, reserve: TimeDelta) -> impl Fn() -> bool + Send + Sync + use<> {
        let deadline = self.deadline();
        move || deadline.is_some_and(|deadline| wall_clock() + reserve > deadline)
    }

    fn run<'a>(
        &'a self,
        tick: DateTime<Utc>,
        started: DateTime<Utc>,
        should_stop: &'a (dyn Fn() -> bool + Send + Sync),
    ) -> Run<'a> {
        // Leases last beyond the deadline. If it is unknown, assume the latest: a lease that is too long costs a tenant a
        // tick, and one that is too short is unsafe.
        let deadline = self.deadline().unwrap_or(started + MAX_INVOCATION);
        Run { tick, platform: self.platform, now: &wall_clock, should_stop, deadline, random: &fill_with_random }
    }

    async fn tick(&self, time: DateTime<Utc>) -> Result<Report, Error> {
        let (started, should_stop) = (wall_clock(), self.should_stop(RESERVE));
        let tick = schedule::tick(time, started);
        let run = self.run(tick, started, &should_stop);
        let Exporter { export, queue } = self.exporter;
        let report = match queue {
            Some(queue) => export.enqueue_due(run, queue).await,
            None => export.tick(run).await,
        };
        let report = report.inspect_err(|failure| log_failure("tick", tick, failure))?;
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
        let BatchResult { report, failed } = export.export_batches(run, &messages.batches, queue.as_ref()).await;
        let duration = wall_clock() - started;
        log("batch", &report, duration);
        self.metrics.batches(&report, duration);
        messages.answer(&failed)
    }

    /// Never fails: Lambda would invoke the function twice again, though the next tick tries anyway.
    async fn export(&self, tenant: &TenantId) -> Report {
        let (started, should_stop) = (wall_clock(), self.should_stop(RESERVE));
        let run = self.run(schedule::full_hour(started), started, &should_stop);
        let Exporter { export, queue } = self.exporter;
        let report = export.export_one(run, tenant, queue.as_ref()).await;
        let duration = wall_clock() - started;
        log("export on request", &report, duration);
        self.metrics.batches(&report, duration);
        report
    }

    async fn publish(&self, tenant: &TenantId) -> Result<Publishing, Error> {
        let (started, should_stop) = (wall_clock(), self.should_stop(RESERVE));
        let hour = schedule::full_hour(started);
        let published = self.exporter.export.publish_one(self.run(hour, started, &should_stop), tenant).await;
        let duration = wall_clock() - started;
        self.metrics.published(duration);
        let published = published.inspect_err(|failure| log_failure("publishing", hour, failure))?;
        let Publishing { published: notifications, left, dropped, .. } = published;
        let duration_ms = duration.num_milliseconds();
        tracing::info!(tenant = %tenant, notifications, left, dropped, duration_ms, "published");
        Ok(published)
    }
}

fn log_failure(what: &str, tick: DateTime<Utc>, failure: &Failure) {
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
        final_deliveries = report.final_deliveries.completed,
        final_deliveries_failed = report.final_deliveries.failed,
        final_deliveries_given_up = report.final_deliveries.given_up,
        replayed_windows = report.replays.windows,
        replays_completed = report.replays.completed,
        replays_failed = report.replays.failed,
        replays_given_up = report.replays.given_up,
        duration_ms = duration.num_milliseconds(),
        "{what}"
    );
}

#[allow(clippy::disallowed_methods, reason = "the one place of this function that reads the clock")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

fn fill_with_random(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}
