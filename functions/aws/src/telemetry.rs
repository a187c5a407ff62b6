//! Logs and metrics. A log line is JSON and names tenant, window, key, code and duration. It never holds an event, a
//! credential or an external ID.

use audit_log_core::{
    connection_check::CheckCounts,
    export::{FinalDeliveryCounts, PendingReplays, Publishing, ReplayCounts, Report},
    failure::Party,
    reconciliation::Reconciliation,
};
use chrono::TimeDelta;
use metrics::{Unit, counter, describe_counter, gauge};
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::EnvFilter;

const NAMESPACE: &str = "AuditLogExport";

/// Declares the metrics with their units. A name is written only here in the code; docs/operations.md describes it.
macro_rules! metrics {
    ($($unit:ident: $($name:ident)*;)*) => {
        #[derive(Debug, Clone, Copy)]
        pub(crate) enum Metric { $($($name,)*)* }

        impl Metric {
            const ALL: &[(&str, Unit)] = &[$($((stringify!($name), Unit::$unit),)*)*];

            fn name(self) -> &'static str {
                match self { $($(Self::$name => stringify!($name),)*)* }
            }
        }
    };
}

metrics! {
    Count:
        SuccessfulTicks NoConnectedTenants NothingDelivered
        DueTenants QueuedTenants ExportedTenants FailedTenants DeferredTenants BackedOffTenants
        TenantsLeased TenantsLeasedAgain LeasesLost EventReadsRefused BacklogNearsRetention
        Events LateEvents Objects UnpublishedNotifications SigningFailed
        FinalDeliveriesCompleted FinalDeliveriesFailed FinalDeliveriesGivenUp
        ReplayedWindows ReplayFailed ReplayStalled
        SuccessfulChecks ConnectedTenants TenantsShrunken WatermarksWithoutConfig SettingsWithoutWatermark
        UndeliveredNearRetention
        CheckedConnections FailingConnections DriftedConnections RestoredConnections UncheckedConnections
        OutboxesPending OutboxesStale NotificationsDropped
        RecordedEvents DuplicateEvents RefusedEvents FailedEvents;
    Bytes: Bytes;
    Seconds: OldestWatermarkLag DeferredLateness;
    Milliseconds: Duration;
}

impl Metric {
    pub(crate) fn add(self, count: u64) {
        counter!(self.name()).increment(count);
    }

    /// A gauge keeps its value until it is set again.
    fn set(self, value: f64) {
        gauge!(self.name()).set(value);
    }
}

/// Writes logs to standard output, filtered by `RUST_LOG`, which is `info` by default.
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

/// The metrics of the exporter, written to standard output in CloudWatch's embedded metric format.
#[derive(Clone, Copy)]
pub struct Metrics(&'static Collector);

impl Metrics {
    /// `function` becomes the dimension `FunctionName`, so that two deployments in one account have metrics of their own.
    ///
    /// # Errors
    /// If called twice.
    pub fn init(function: &str) -> Result<Self, metrics_cloudwatch_embedded::Error> {
        collector(function).map(Self)
    }

    /// Writes the metrics of a tick. A tick that fails has no report and must not count as one of `SuccessfulTicks`, by
    /// which an alarm goes.
    pub fn tick(&self, report: &Report, duration: TimeDelta) {
        Metric::SuccessfulTicks.add(1);
        Metric::NoConnectedTenants.add(report.no_connected_tenant.into());
        Metric::DueTenants.add(report.due);
        self.batches(report, duration);
    }

    /// Writes the metrics of batches, whose tenants their tick has counted as due.
    pub fn batches(&self, report: &Report, duration: TimeDelta) {
        let Report {
            queued,
            exported,
            failed_by_party,
            deferred,
            unreadable,
            backed_off,
            leased,
            leased_again,
            lease_lost,
            signing_failed,
            near_retention,
            final_deliveries,
            replays,
            events,
            objects,
            bytes,
            late,
            longest_lag,
            latest_deferred,
            // Counted for ticks alone.
            due: _,
            no_connected_tenant: _,
            // The parties' failures together.
            failed: _,
            // What `nothing_delivered` goes by.
            newly_failed: _,
            uncommitted_objects: _,
            // No counts.
            tick: _,
            failures: _,
            unfinished: _,
            failed_by_platform: _,
        } = report;
        Metric::NothingDelivered.add(report.nothing_delivered().into());
        Metric::QueuedTenants.add(*queued);
        Metric::ExportedTenants.add(*exported);
        for (party, failed) in failed_by_party {
            let party = match party {
                Party::Customer => "customer",
                Party::Platform => "platform",
            };
            counter!(Metric::FailedTenants.name(), "Party" => party).increment(*failed);
        }
        Metric::DeferredTenants.add(*deferred);
        Metric::EventReadsRefused.add(*unreadable);
        Metric::BackedOffTenants.add(*backed_off);
        Metric::TenantsLeased.add(*leased);
        Metric::TenantsLeasedAgain.add(*leased_again);
        Metric::LeasesLost.add(*lease_lost);
        Metric::SigningFailed.add(*signing_failed);
        Metric::BacklogNearsRetention.add(*near_retention);
        Self::final_deliveries(*final_deliveries);
        Self::replays(replays);
        Metric::Events.add(*events);
        Metric::Objects.add(*objects);
        Metric::Bytes.add(*bytes);
        Metric::LateEvents.add(*late);
        // So that there is a zero if the bus took all of them.
        Metric::UnpublishedNotifications.add(0);
        self.flush_gauges(*longest_lag, *latest_deferred, duration);
    }

    /// Counts the findings of a reconciliation; [`check`](Self::check) writes them. They are counters, since a gauge would
    /// repeat its value at every later tick of this process.
    pub fn reconciliation(reconciliation: &Reconciliation) {
        let Reconciliation {
            connected,
            connected_before: _,
            shrunken,
            watermarks_without_config,
            settings_without_watermark,
            event_reads_refused,
            everyone_fails,
            backlogs_near_retention,
            undelivered_near_retention,
        } = reconciliation;
        Metric::ConnectedTenants.add(*connected);
        Metric::TenantsShrunken.add((*shrunken).into());
        Metric::WatermarksWithoutConfig.add(watermarks_without_config.len() as u64);
        Metric::SettingsWithoutWatermark.add(settings_without_watermark.len() as u64);
        Metric::EventReadsRefused.add((*event_reads_refused).into());
        Metric::NothingDelivered.add((*everyone_fails).into());
        Metric::BacklogNearsRetention.add(*backlogs_near_retention);
        Metric::UndeliveredNearRetention.add(undelivered_near_retention.len() as u64);
    }

    /// Counts final deliveries, of a tick, of batches or of a check.
    fn final_deliveries(counts: FinalDeliveryCounts) {
        let FinalDeliveryCounts { completed, failed, given_up, lease_lost, signing_failed } = counts;
        Metric::FinalDeliveriesCompleted.add(completed);
        Metric::FinalDeliveriesFailed.add(failed);
        Metric::FinalDeliveriesGivenUp.add(given_up);
        Metric::LeasesLost.add(lease_lost);
        Metric::SigningFailed.add(signing_failed);
    }

    /// Counts what was done for replays, by a tick, batches or a check. Their events and objects are no export's.
    fn replays(counts: &ReplayCounts) {
        let ReplayCounts { windows, failed, given_up, lease_lost, signing_failed, .. } = counts;
        Metric::ReplayedWindows.add(*windows);
        Metric::ReplayFailed.add(failed + given_up);
        Metric::LeasesLost.add(*lease_lost);
        Metric::SigningFailed.add(*signing_failed);
    }

    /// Writes the metrics of an hourly check. A part that failed is none, and the check must not count as one of
    /// `SuccessfulChecks`, by which an alarm goes.
    pub fn check(
        &self,
        connections: Option<&CheckCounts>,
        final_deliveries: Option<FinalDeliveryCounts>,
        replays: Option<&PendingReplays>,
        publishing: Option<&Publishing>,
        duration: TimeDelta,
    ) {
        if connections.is_some() && final_deliveries.is_some() && replays.is_some() && publishing.is_some() {
            Metric::SuccessfulChecks.add(1);
        }
        if let Some(CheckCounts { checked, failing, drifted, restored, unchecked }) = connections {
            Metric::CheckedConnections.add(*checked);
            Metric::FailingConnections.add(*failing);
            Metric::DriftedConnections.add(*drifted);
            Metric::RestoredConnections.add(*restored);
            Metric::UncheckedConnections.add(*unchecked);
        }
        Self::final_deliveries(final_deliveries.unwrap_or_default());
        if let Some(PendingReplays { stalled, counts, running: _ }) = replays {
            Metric::ReplayStalled.add(*stalled);
            Self::replays(counts);
        }
        if let Some(Publishing { pending, stale, dropped, published: _, left: _ }) = publishing {
            Metric::OutboxesPending.add(*pending);
            Metric::OutboxesStale.add(*stale);
            Metric::NotificationsDropped.add(*dropped);
        }
        self.flush_gauges(TimeDelta::zero(), TimeDelta::zero(), duration);
    }

    /// Writes what was counted while one tenant's notifications were published.
    pub fn published(&self, duration: TimeDelta) {
        self.flush_gauges(TimeDelta::zero(), TimeDelta::zero(), duration);
    }

    /// Sets every gauge, since one that isn't set repeats the value of the run before.
    fn flush_gauges(&self, longest_lag: TimeDelta, latest_deferred: TimeDelta, duration: TimeDelta) {
        Metric::OldestWatermarkLag.set(longest_lag.as_seconds_f64());
        Metric::DeferredLateness.set(latest_deferred.as_seconds_f64());
        Metric::Duration.set(duration.as_seconds_f64() * 1000.0);
        flush(self.0);
    }
}

/// The metrics of the recorder, written in the same way.
#[derive(Clone, Copy)]
pub struct RecorderMetrics(&'static Collector);

impl RecorderMetrics {
    /// # Errors
    /// If called twice.
    pub fn init(function: &str) -> Result<Self, metrics_cloudwatch_embedded::Error> {
        collector(function).map(Self)
    }

    /// Writes the metrics of a batch or a request.
    pub fn events(&self, recorded: u64, duplicate: u64, refused: u64, failed: u64) {
        Metric::RecordedEvents.add(recorded);
        Metric::DuplicateEvents.add(duplicate);
        Metric::RefusedEvents.add(refused);
        Metric::FailedEvents.add(failed);
        flush(self.0);
    }
}

fn collector(function: &str) -> Result<&'static Collector, metrics_cloudwatch_embedded::Error> {
    let builder = Builder::new().cloudwatch_namespace(NAMESPACE).emit_zeros(true);
    let collector = builder.with_dimension("FunctionName", function.to_owned()).init()?;
    for (name, unit) in Metric::ALL {
        // Gives a gauge its unit, too.
        describe_counter!(*name, *unit, "");
    }
    Ok(collector)
}

fn flush(collector: &Collector) {
    if let Err(error) = collector.flush(std::io::stdout()) {
        tracing::error!(%error, "the metrics could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use chrono::DateTime;
    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString};

    use super::*;

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

    fn declared() -> BTreeSet<&'static str> {
        Metric::ALL.iter().map(|(name, _)| *name).collect()
    }

    /// Remembers the names of the metrics that are counted or set.
    #[derive(Default)]
    struct Emitted(Mutex<BTreeSet<String>>);

    impl Emitted {
        fn insert(&self, key: &Key) {
            self.0.lock().unwrap().insert(key.name().to_owned());
        }
    }

    impl Recorder for Emitted {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            self.insert(key);
            Counter::noop()
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            self.insert(key);
            Gauge::noop()
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn every_declared_metric_is_emitted() {
        let reconciliation = Reconciliation {
            connected: 0,
            connected_before: None,
            shrunken: false,
            watermarks_without_config: Vec::new(),
            settings_without_watermark: Vec::new(),
            event_reads_refused: false,
            everyone_fails: false,
            backlogs_near_retention: 0,
            undelivered_near_retention: Vec::new(),
        };
        let (metrics, emitted) = (Metrics::init("exporter").unwrap(), Emitted::default());
        metrics::with_local_recorder(&emitted, || {
            metrics.tick(&Report::new(DateTime::UNIX_EPOCH), TimeDelta::zero());
            Metrics::reconciliation(&reconciliation);
            let (connections, finals) = (CheckCounts::default(), FinalDeliveryCounts::default());
            let (replays, published) = (PendingReplays::default(), Publishing::default());
            metrics.check(Some(&connections), Some(finals), Some(&replays), Some(&published), TimeDelta::zero());
            RecorderMetrics(metrics.0).events(0, 0, 0, 0);
        });
        assert_eq!(emitted.0.into_inner().unwrap().iter().map(String::as_str).collect::<BTreeSet<_>>(), declared());
    }

    #[test]
    fn the_documented_alarms_are_exactly_those_of_the_template() {
        let alarms: BTreeSet<_> = alarms().into_iter().map(|(name, _)| name).collect();
        assert_eq!(documented("Alarms"), alarms);
    }

    #[test]
    fn the_documented_metrics_are_exactly_those_that_are_declared() {
        assert_eq!(documented("Metrics"), declared());
    }

    #[test]
    fn every_alarm_on_a_metric_of_ours_goes_by_one_that_is_declared() {
        for (name, text) in alarms().into_iter().filter(|(_, text)| text.contains("Namespace: AuditLogExport")) {
            let metric = text.lines().find_map(|line| line.trim().strip_prefix("MetricName: ")).unwrap();
            assert!(declared().contains(metric), "{name} goes by {metric}, which no code declares");
        }
    }
}
