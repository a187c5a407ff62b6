//! Logs and metrics. A log line is JSON and names tenant, window, key, code and duration; it never holds an event, a
//! credential or an external ID.

use audit_log_core::{export::Report, failure::Party};
use chrono::TimeDelta;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use metrics_cloudwatch_embedded::{Builder, Collector};
use tracing_subscriber::EnvFilter;

/// The namespace of all metrics.
pub const NAMESPACE: &str = "AuditLogExport";

/// Notices that the bus has not taken; counted where they are published, and written with the rest.
pub(crate) const UNPUBLISHED: &str = "UnpublishedNotices";

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
            "Events",
            "Objects",
            UNPUBLISHED,
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
