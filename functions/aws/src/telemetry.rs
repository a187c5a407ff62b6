//! Logs and metrics. A log line is JSON and names tenant, window, key, code and duration; it never holds an event, a
//! credential or an external ID.

use audit_log_core::{
    connection_check,
    export::{Publishing, Report},
    failure::Party,
    reconciliation::Reconciliation,
};
use chrono::TimeDelta;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::EnvFilter;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "AuditLogExport";

/// Notifications that the bus has not taken; counted where they are published, and written with the rest.
pub(crate) const UNPUBLISHED: &str = "UnpublishedNotifications";

/// Writes logs to standard output, filtered by `RUST_LOG` (default: `info`).
pub fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_target(false)
        .init();
}

/// The metrics of a tick, written to standard output in CloudWatch's embedded metric format.
#[derive(Clone, Copy)]
pub struct Metrics(&'static Collector);

impl Metrics {
    /// Sets the process's metrics up. `function` becomes the dimension `FunctionName`, so that two deployments in one
    /// account don't speak for each other.
    ///
    /// # Errors
    /// If called twice.
    pub fn init(function: &str) -> Result<Self, metrics_cloudwatch_embedded::Error> {
        let collector = collector(function)?;
        for name in [
            "SuccessfulTicks",
            "NoConnectedTenants",
            "NothingDelivered",
            "DueTenants",
            "QueuedTenants",
            "ExportedTenants",
            "FailedTenants",
            "DeferredTenants",
            "EventReadsRefused",
            "BackedOffTenants",
            "TenantsLeased",
            "TenantsLeasedAgain",
            "LeasesLost",
            "BacklogNearsRetention",
            "Events",
            "Objects",
            UNPUBLISHED,
            "SuccessfulChecks",
            "ConnectedTenants",
            "TenantsShrunken",
            "WatermarksWithoutConfig",
            "SettingsWithoutWatermark",
            "CheckedConnections",
            "FailingConnections",
            "DriftedConnections",
            "RestoredConnections",
            "UncheckedConnections",
            "OutboxesPending",
            "OutboxesStale",
            "NotificationsDropped",
        ] {
            describe_counter!(name, Unit::Count, "");
        }
        describe_counter!("Bytes", Unit::Bytes, "");
        describe_counter!("LateEvents", Unit::Count, "");
        describe_gauge!("OldestWatermarkLag", Unit::Seconds, "");
        describe_gauge!("DeferredLateness", Unit::Seconds, "");
        describe_gauge!("Duration", Unit::Milliseconds, "");
        Ok(Self(collector))
    }

    /// Writes what a tick did. Of a tick that could not run there is no report, and `SuccessfulTicks` stays away: its
    /// alarm goes by that.
    pub fn tick(&self, report: &Report, duration: TimeDelta) {
        counter!("SuccessfulTicks").increment(1);
        counter!("NoConnectedTenants").increment(report.no_connected_tenant.into());
        counter!("DueTenants").increment(report.due);
        self.exports(report, duration);
    }

    /// Writes what was done for tenants that a tick had handed over: it has counted them as due.
    pub fn batches(&self, report: &Report, duration: TimeDelta) {
        self.exports(report, duration);
    }

    /// Counts what a reconciliation of the fleet found; [`check`](Self::check) writes it, whatever becomes of the rest.
    pub fn reconciliation(reconciliation: &Reconciliation) {
        // Counters, all of them: a gauge keeps its value, and every later tick of this process would repeat it.
        counter!("ConnectedTenants").increment(reconciliation.connected);
        counter!("TenantsShrunken").increment(reconciliation.shrunken.into());
        counter!("WatermarksWithoutConfig").increment(reconciliation.watermarks_without_config.len() as u64);
        counter!("SettingsWithoutWatermark").increment(reconciliation.settings_without_watermark.len() as u64);
        counter!("EventReadsRefused").increment(reconciliation.event_reads_refused.into());
        counter!("NothingDelivered").increment(reconciliation.everyone_fails.into());
        counter!("BacklogNearsRetention").increment(reconciliation.backlogs_near_retention);
    }

    /// Writes what a check found and published. What it could not do is none, and then `SuccessfulChecks` stays away: its
    /// alarm goes by that.
    pub fn check(
        &self,
        connections: Option<&connection_check::CheckCounts>,
        publishing: Option<&Publishing>,
        duration: TimeDelta,
    ) {
        if connections.is_some() && publishing.is_some() {
            counter!("SuccessfulChecks").increment(1);
        }
        if let Some(connections) = connections {
            counter!("CheckedConnections").increment(connections.checked);
            counter!("FailingConnections").increment(connections.failing);
            counter!("DriftedConnections").increment(connections.drifted);
            counter!("RestoredConnections").increment(connections.restored);
            counter!("UncheckedConnections").increment(connections.unchecked);
        }
        if let Some(publishing) = publishing {
            counter!("OutboxesPending").increment(publishing.pending);
            counter!("OutboxesStale").increment(publishing.stale);
            counter!("NotificationsDropped").increment(publishing.dropped);
        }
        gauge!("OldestWatermarkLag").set(0.0);
        gauge!("DeferredLateness").set(0.0);
        gauge!("Duration").set(duration.as_seconds_f64() * 1000.0);
        flush(self.0);
    }

    /// Writes what was counted since it was written last.
    pub fn flush(&self) {
        flush(self.0);
    }

    fn exports(&self, report: &Report, duration: TimeDelta) {
        counter!("NothingDelivered").increment(report.nothing_delivered().into());
        counter!("QueuedTenants").increment(report.queued);
        counter!("ExportedTenants").increment(report.exported);
        for (party, failed) in report.failed_by_party {
            let party = match party {
                Party::Customer => "customer",
                Party::Platform => "platform",
            };
            counter!("FailedTenants", "Party" => party).increment(failed);
        }
        counter!("DeferredTenants").increment(report.deferred);
        counter!("EventReadsRefused").increment(report.unreadable);
        counter!("BackedOffTenants").increment(report.backed_off);
        counter!("TenantsLeased").increment(report.leased);
        counter!("TenantsLeasedAgain").increment(report.leased_again);
        counter!("LeasesLost").increment(report.lease_lost);
        counter!("BacklogNearsRetention").increment(report.near_retention);
        counter!("Events").increment(report.events);
        counter!("Objects").increment(report.objects);
        counter!("Bytes").increment(report.bytes);
        counter!("LateEvents").increment(report.late);
        // So that there is a zero where all went well.
        counter!(UNPUBLISHED).increment(0);
        gauge!("OldestWatermarkLag").set(report.longest_lag.as_seconds_f64());
        gauge!("DeferredLateness").set(report.latest_deferred.as_seconds_f64());
        gauge!("Duration").set(duration.as_seconds_f64() * 1000.0);
        flush(self.0);
    }
}

/// The metrics of the recorder, written likewise.
#[derive(Clone, Copy)]
pub struct RecorderMetrics(&'static Collector);

impl RecorderMetrics {
    /// Sets the process's metrics up, as [`Metrics::init`] does.
    ///
    /// # Errors
    /// If called twice.
    pub fn init(function: &str) -> Result<Self, metrics_cloudwatch_embedded::Error> {
        let collector = collector(function)?;
        for name in ["RecordedEvents", "DuplicateEvents", "RefusedEvents", "FailedEvents"] {
            describe_counter!(name, Unit::Count, "");
        }
        Ok(Self(collector))
    }

    /// Writes what became of the events of a batch or a request.
    pub fn events(&self, recorded: u64, duplicate: u64, refused: u64, failed: u64) {
        counter!("RecordedEvents").increment(recorded);
        counter!("DuplicateEvents").increment(duplicate);
        counter!("RefusedEvents").increment(refused);
        counter!("FailedEvents").increment(failed);
        flush(self.0);
    }
}

fn collector(function: &str) -> Result<&'static Collector, metrics_cloudwatch_embedded::Error> {
    Builder::new()
        .cloudwatch_namespace(NAMESPACE)
        .with_dimension("FunctionName", function.to_owned())
        .emit_zeros(true)
        .init()
}

fn flush(collector: &Collector) {
    if let Err(error) = collector.flush(std::io::stdout()) {
        tracing::error!(%error, "the metrics could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const TEMPLATE: &str = include_str!("../../../infra/template.yaml");

    /// The platform's alarms: each one's name and text.
    fn alarms() -> Vec<(&'static str, &'static str)> {
        let resources = TEMPLATE.split("\n\n").filter(|it| it.contains("Type: AWS::CloudWatch::Alarm"));
        let named = resources.filter_map(|it| {
            let is_name = |line: &&str| line.starts_with("  ") && !line.trim_start().starts_with('#');
            Some((it.lines().find(is_name)?.trim().trim_end_matches(':'), it))
        });
        named.collect()
    }

    /// The names in the first column of a section's tables in docs/operations.md.
    fn documented(heading: &str) -> BTreeSet<&'static str> {
        let page = include_str!("../../../docs/operations.md");
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let rows = section.split("\n## ").next().unwrap().lines();
        let cells = rows.filter_map(|row| row.strip_prefix("| `")?.split(" | ").next());
        cells.flat_map(|cell| cell.trim_end_matches('`').split("`, `")).collect()
    }

    /// The names of metrics in this file, and those of them that are counted and not only described.
    fn metrics() -> [BTreeSet<&'static str>; 2] {
        let ours = include_str!("telemetry.rs").split("#[cfg(test)]").next().unwrap();
        let is_name = |text: &&str| {
            let others = [super::NAMESPACE, "FunctionName", "Party"];
            text.starts_with(|c: char| c.is_ascii_uppercase())
                && text.bytes().all(|byte| byte.is_ascii_alphabetic())
                && !others.contains(text)
        };
        let counted = [" counter!(\"", " gauge!(\"", "UNPUBLISHED: &str = \""];
        let counted = counted.iter().flat_map(|it| ours.split(it).skip(1)).filter_map(|rest| rest.split('"').next());
        [ours.split('"').filter(is_name).collect(), counted.collect()]
    }

    #[test]
    fn the_documented_alarms_are_exactly_those_of_the_template() {
        let alarms: BTreeSet<_> = alarms().into_iter().map(|(name, _)| name).collect();
        assert_eq!(documented("Alarms"), alarms);
    }

    #[test]
    fn the_documented_metrics_are_exactly_those_that_are_counted() {
        let [named, counted] = metrics();
        assert_eq!(named, counted, "described, but never counted");
        assert_eq!(documented("Metrics"), counted);
    }

    #[test]
    fn every_alarm_on_a_metric_of_ours_goes_by_one_that_is_counted() {
        let [_, counted] = metrics();
        for (name, text) in alarms().into_iter().filter(|(_, text)| text.contains("Namespace: AuditLogExport")) {
            let metric = text.lines().find_map(|line| line.trim().strip_prefix("MetricName: ")).unwrap();
            assert!(counted.contains(metric), "{name} goes by {metric}, which is never counted");
        }
    }
}
