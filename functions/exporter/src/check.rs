//! The hourly check: what is missing in the whole fleet, the connections whose turn it is, and the notifications that are
//! left.

use std::time::Duration;

use audit_log_aws::telemetry::Metrics;
use audit_log_core::{
    connection_check,
    connection_check::ConnectionChecks,
    export::{PUBLISH_TIMEOUT, Publishing},
    failure::Failure,
    ports::Verifier,
    reconciliation::{self, Reconciliation},
    schedule, timestamp,
    verification::{Verification, VerificationRequest},
    verify,
};
use chrono::{DateTime, TimeDelta, Utc};
use lambda_runtime::Error;
use serde::Serialize;

use crate::{Invocation, RESERVE, failed, wall_clock};

/// How long the verification of one connection may take. Nobody waits for it, and its roles are assumed at a pace that may
/// be slow.
const VERIFY_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// What of the time is kept for publishing, however many connections are to be verified.
const KEPT_FOR_PUBLISHING: TimeDelta = TimeDelta::seconds(120);

/// What a check found; the function's answer.
#[derive(Serialize)]
pub(crate) struct Checked {
    #[serde(flatten)]
    reconciliation: Reconciliation,
    connections: connection_check::CheckCounts,
    notifications: Publishing,
}

/// Verifies connections within an invocation.
struct Within<'a>(&'a Invocation<'a>);

impl Verifier for Within<'_> {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let Invocation { exporter, platform, context, .. } = self.0;
        let within = VERIFY_TIMEOUT.to_std().unwrap_or(Duration::ZERO);
        let run = verify::VerifyContext { platform, now: wall_clock(), id: &context.request_id, within };
        Ok(verify::verify(&exporter.export.tenants, &exporter.export.buckets, request, run).await)
    }
}

impl Invocation<'_> {
    /// Looks for what no tick would notice, and publishes what runs and the console have left.
    pub(crate) async fn check(&self, time: DateTime<Utc>) -> Result<Checked, Error> {
        let started = wall_clock();
        let hour = schedule::tick(time, started);
        let log = |failure: &Failure| failed("check", hour, failure);
        let found = self.found(hour, started).await.inspect_err(log);
        // Whatever became of the rest.
        let notifications = self.publish_pending(hour, started).await.inspect_err(log);
        let duration = wall_clock() - started;
        let connections = found.as_ref().ok().map(|(_, connections)| connections);
        self.metrics.check(connections, notifications.as_ref().ok(), duration);
        let ((reconciliation, connections), notifications) = (found?, notifications?);
        tracing::info!(
            tick = timestamp::seconds(hour),
            connected = reconciliation.connected,
            connected_before = reconciliation.connected_before,
            watermarks_without_config = reconciliation.watermarks_without_config.len(),
            settings_without_watermark = reconciliation.settings_without_watermark.len(),
            checked = connections.checked,
            failing = connections.failing,
            drifted = connections.drifted,
            restored = connections.restored,
            unchecked = connections.unchecked,
            outboxes = notifications.pending,
            notifications = notifications.published,
            outboxes_left = notifications.left,
            outboxes_stale = notifications.stale,
            notifications_dropped = notifications.dropped,
            duration_ms = duration.num_milliseconds(),
            "check"
        );
        Ok(Checked { reconciliation, connections, notifications })
    }

    /// What is missing, and what is wrong with connections.
    async fn found(
        &self,
        hour: DateTime<Utc>,
        started: DateTime<Utc>,
    ) -> Result<(Reconciliation, connection_check::CheckCounts), Failure> {
        let export = &self.exporter.export;
        let (tenants, retention) = (&export.tenants, export.options.retention);
        let connected = reconciliation::connected(tenants).await?;
        let reconciliation =
            reconciliation::take(tenants, &export.events, &connected, hour.date_naive(), started, retention).await?;
        // What is found before counts, whatever becomes of the connections.
        Metrics::reconciliation(&reconciliation);
        // Whoever is begun with has to be done before the invocation ends.
        let should_stop = self.should_stop(RESERVE + KEPT_FOR_PUBLISHING + VERIFY_TIMEOUT);
        let run = connection_check::CheckContext { hour, now: &wall_clock, should_stop: &should_stop, retention };
        let connections = ConnectionChecks { store: tenants, verifier: &Within(self) }.run(&connected, run).await?;
        Ok((reconciliation, connections))
    }

    async fn publish_pending(&self, hour: DateTime<Utc>, started: DateTime<Utc>) -> Result<Publishing, Failure> {
        let should_stop =
            self.should_stop(RESERVE + TimeDelta::from_std(PUBLISH_TIMEOUT).unwrap_or(KEPT_FOR_PUBLISHING));
        self.exporter.export.publish_pending(self.run(hour, started, &should_stop)).await
    }
}
