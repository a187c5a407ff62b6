//! The adapters: the only crate that names the AWS SDK.
//!
//! [`config`] and [`clients`] set up, [`tenants`] and [`events`] are the two DynamoDB tables, [`buckets`] is STS and S3
//! (deliveries and the probes of a verification), [`queue`] is SQS, [`bus`] is EventBridge, [`telemetry`] is logs and metrics. Each implements a port of `audit_log_core` and passes the same contract tests as
//! the fake in memory. What AWS errors is put into the core's words in [`errors`] and nowhere else.

mod attributes;
pub mod buckets;
pub mod bus;
pub mod clients;
pub mod config;
pub mod errors;
pub mod events;
pub mod queue;
pub mod recorder;
pub mod telemetry;
pub mod tenants;
#[cfg(test)]
mod tests;
pub mod verifier;

use audit_log_core::deployment::SharedConfig;

/// The export, over AWS.
pub type Export = audit_log_core::export::Export<
    tenants::TenantsTable,
    events::EventsTable,
    buckets::AssumedBuckets,
    Option<bus::EventBus>,
>;

/// What the exporter needs of AWS.
pub struct Exporter {
    /// The export.
    pub export: Export,
    /// Where ticks hand due tenants over, if they don't export them by themselves.
    pub queue: Option<queue::ExportQueue>,
}

/// Builds the exporter from what the function was deployed with.
pub async fn exporter(config: &config::ExporterConfig) -> Exporter {
    let shared = clients::shared_config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&shared);
    let SharedConfig { tenants_table, events_table, settle, .. } = &config.shared;
    let events = events::EventsTable::new(dynamodb.clone(), events_table);
    let export = audit_log_core::export::Export {
        tenants: tenants::TenantsTable::new(dynamodb, tenants_table, events.clone(), *settle),
        events,
        buckets: buckets::AssumedBuckets::new(
            &shared,
            buckets::Pace::per_second(config.assume_roles_per_second),
            config.options.budget.clone(),
        ),
        bus: config.event_bus.as_ref().map(|name| bus::EventBus::new(&shared, name)),
        options: config.options.clone(),
    };
    let queue = config.queue_url.as_ref().map(|url| queue::ExportQueue::new(&shared, url));
    Exporter { export, queue }
}

/// Builds what the recorder stores events with.
pub async fn recorder(shared: &SharedConfig) -> recorder::RecorderTables {
    let SharedConfig { tenants_table, events_table, settle, .. } = shared;
    let dynamodb = aws_sdk_dynamodb::Client::new(&clients::shared_config().await);
    recorder::RecorderTables::new(dynamodb, tenants_table, events_table, *settle)
}

/// What the console needs of AWS.
#[derive(Debug, Clone)]
pub struct Console {
    /// The tenants' records.
    pub tenants: tenants::TenantsTable,
    /// The recorded events.
    pub events: events::EventsTable,
    /// Where events are recorded.
    pub recorder: recorder::RecorderTables,
    /// The function that verifies connections and publishes notifications.
    pub exporter: verifier::ExporterFunction,
}

/// Builds what the console needs of AWS; `exporter` is the ARN of that function.
pub async fn console(shared: &SharedConfig, exporter: &str) -> Console {
    let SharedConfig { tenants_table, events_table, settle, .. } = shared;
    let aws = clients::shared_config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&aws);
    let events = events::EventsTable::new(dynamodb.clone(), events_table);
    Console {
        tenants: tenants::TenantsTable::new(dynamodb.clone(), tenants_table, events.clone(), *settle),
        recorder: recorder::RecorderTables::new(dynamodb, tenants_table, events_table, *settle),
        exporter: verifier::ExporterFunction::new(&aws, exporter),
        events,
    }
}

/// The AWS SDK as this workspace pins it, so that the end-to-end harness needs no dependency of its own on it.
#[cfg(feature = "test-util")]
pub mod sdk {
    pub use {
        aws_config as config, aws_credential_types as credentials, aws_sdk_dynamodb as dynamodb,
        aws_sdk_lambda as lambda, aws_sdk_s3 as s3, aws_sdk_sqs as sqs, aws_sdk_sts as sts,
    };
}
