//! The hourly check: reconciles the fleet, verifies the connections of the hour, makes final deliveries, goes on with replays, and
//! publishes the outboxes.

use std::time::Duration;

use audit_log_aws::{Exporter, telemetry::Metrics};
use audit_log_core::{
    connection_check::{CheckContext, CheckCounts, ConnectionChecks},
    export::{FinalDeliveryCounts, PUBLISH_TIMEOUT, PendingReplays, Publishing},
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

use crate::{Invocation, RESERVE, log_failure, wall_clock};

/// Longer than for an admin's verification: no user waits, and the pace of AssumeRole may be slow.
const CHECK_TIMEOUT: TimeDelta = TimeDelta::seconds(60);

/// The time for publishing, however many connections are to be verified.
const PUBLISHING_RESERVE: TimeDelta = TimeDelta::seconds(120);

/// The function's answer to a check.
#[derive(Serialize)]
pub(crate) struct CheckReport {
    #[serde(flatten)]
    reconciliation: Reconciliation,
    connections: CheckCounts,
    #[serde(rename = "finalDeliveries")]
    final_deliveries: FinalDeliveryCounts,
    replays: PendingReplays,
    notifications: Publishing,
}

/// Verifies connections in this invocation.
struct InvocationVerifier<'a>(&'a Invocation<'a>);

impl Verifier for InvocationVerifier<'_> {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        let Invocation { exporter, platform, context, .. } = self.0;
        let within = CHECK_TIMEOUT.to_std().unwrap_or(Duration::ZERO);
        let run = verify::VerifyContext {
            platform,
            now: &wall_clock,
            retention: exporter.export.options.retention,
            id: &context.request_id,
            within,
            // These roles are no longer new, and a fleet with many refused ones would take too long.
            retry_refused_role: Duration::ZERO,
        };
        Ok(verify::verify(&exporter.export.tenants, &exporter.export.buckets, request, run).await)
    }
}

impl Invocation<'_> {
    /// Finds what no tick would notice, and publishes the notifications that runs and the console have left.
    pub(crate) async fn check(&self, time: DateTime<Utc>) -> Result<CheckReport, Error> {
        let started = wall_clock();
        let hour = schedule::tick(time, started);
        let log = |failure: &Failure| log_failure("check", hour, failure);
        let found = self.reconcile_and_verify(hour, started).await.inspect_err(log);
        // Even if the rest failed. Final deliveries and replays have notifications of their own, so these come last.
        let final_deliveries = self.deliver_finals(hour, started).await.inspect_err(log);
        let replays = self.replay_pending(hour, started).await.inspect_err(log);
        let notifications = self.publish_pending(hour, started).await.inspect_err(log);
        let duration = wall_clock() - started;
        let connections = found.as_ref().ok().map(|(_, connections)| connections);
        let finals = final_deliveries.as_ref().ok().copied();
        self.metrics.check(connections, finals, replays.as_ref().ok(), notifications.as_ref().ok(), duration);
        let ((reconciliation, connections), final_deliveries) = (found?, final_deliveries?);
        let (replays, notifications) = (replays?, notifications?);
        tracing::info!(
            tick = timestamp::seconds(hour),
            connected = reconciliation.connected,
            connected_before = reconciliation.connected_before,
            watermarks_without_config = reconciliation.watermarks_without_config.len(),
            settings_without_watermark = reconciliation.settings_without_watermark.len(),
            undelivered_near_retention = reconciliation.undelivered_near_retention.len(),
            checked = connections.checked,
            failing = connections.failing,
            drifted = connections.drifted,
            restored = connections.restored,
            unchecked = connections.unchecked,
            final_deliveries = final_deliveries.completed,
            final_deliveries_failed = final_deliveries.failed,
            final_deliveries_given_up = final_deliveries.given_up,
            replays = replays.running,
            replays_stalled = replays.stalled,
            replayed_windows = replays.counts.windows,
            replays_failed = replays.counts.failed,
            outboxes = notifications.pending,
            notifications = notifications.published,
            outboxes_left = notifications.left,
            outboxes_stale = notifications.stale,
            notifications_dropped = notifications.dropped,
            duration_ms = duration.num_milliseconds(),
            "check"
        );
        Ok(CheckReport { reconciliation, connections, final_deliveries, replays, notifications })
    }

    async fn reconcile_and_verify(
        &self,
        hour: DateTime<Utc>,
        started: DateTime<Utc>,
    ) -> Result<(Reconciliation, CheckCounts), Failure> {
        let export = &self.exporter.export;
        let (tenants, retention) = (&export.tenants, export.options.retention);
        let connected = reconciliation::connected(tenants).await?;
        let reconciliation =
            reconciliation::reconcile(tenants, &export.events, &connected, hour.date_naive(), started, retention)
                .await?;
        // Counted even if the connections can't be checked.
        Metrics::reconciliation(&reconciliation);
        // A verification that starts must finish before the invocation ends.
        let should_stop = self.should_stop(RESERVE + PUBLISHING_RESERVE + CHECK_TIMEOUT);
        let run = CheckContext { hour, now: &wall_clock, should_stop: &should_stop, retention };
        let connections =
            ConnectionChecks { store: tenants, verifier: &InvocationVerifier(self) }.run(&connected, run).await?;
        Ok((reconciliation, connections))
    }

    async fn deliver_finals(
        &self,
        hour: DateTime<Utc>,
        started: DateTime<Utc>,
    ) -> Result<FinalDeliveryCounts, Failure> {
        let should_stop = self.should_stop(RESERVE + PUBLISHING_RESERVE);
        self.exporter.export.deliver_pending_finals(self.run(hour, started, &should_stop)).await
    }

    async fn replay_pending(&self, hour: DateTime<Utc>, started: DateTime<Utc>) -> Result<PendingReplays, Failure> {
        let should_stop = self.should_stop(RESERVE + PUBLISHING_RESERVE);
        let Exporter { export, queue } = self.exporter;
        export.replay_pending(self.run(hour, started, &should_stop), queue.as_ref()).await
    }

    async fn publish_pending(&self, hour: DateTime<Utc>, started: DateTime<Utc>) -> Result<Publishing, Failure> {
        let should_stop =
            self.should_stop(RESERVE + TimeDelta::from_std(PUBLISH_TIMEOUT).unwrap_or(PUBLISHING_RESERVE));
        self.exporter.export.publish_pending(self.run(hour, started, &should_stop)).await
    }
}
