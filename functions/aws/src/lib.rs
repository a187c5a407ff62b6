//! The adapters, which implement the core's ports over AWS: the only crate that names the AWS SDK.
//!
//! [`config`] and [`clients`] configure, [`tenants`], [`events`] and [`mod@recorder`] use the two DynamoDB tables, [`buckets`] STS
//! and S3, [`queue`] SQS, [`bus`] EventBridge, [`signer`] KMS, [`verifier`] Lambda. [`telemetry`] writes logs and metrics, and [`errors`]
//! turns AWS's errors into failures. The adapters pass the same contract tests as the core's fakes.

mod attributes;
pub mod buckets;
pub mod bus;
pub mod clients;
pub mod config;
pub mod errors;
pub mod events;
pub mod pace;
pub mod queue;
pub mod recorder;
pub mod signer;
pub mod telemetry;
pub mod tenants;
#[cfg(test)]
mod tests;
pub mod verifier;

use audit_log_core::deployment::SharedConfig;

pub type Export = audit_log_core::export::Export<
    tenants::TenantsTable,
    events::EventsTable,
    buckets::AssumedBuckets,
    Option<bus::EventBus>,
    Option<signer::KmsSigner>,
>;

/// The exporter's adapters.
pub struct Exporter {
    pub export: Export,
    /// Without a queue, a tick exports the due tenants itself.
    pub queue: Option<queue::ExportQueue>,
}

pub async fn exporter(config: &config::ExporterConfig) -> Exporter {
    let shared = clients::shared_config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&shared);
    let SharedConfig { tenants_table, events_table, settle, .. } = &config.shared;
    let events = events::EventsTable::new(dynamodb.clone(), events_table);
    let tenants = tenants::TenantsTable::new(dynamodb, tenants_table, events.clone(), *settle);
    let signer = |arn: &String| signer::KmsSigner::new(&shared, arn, &config.manifest_key_name, tenants.clone());
    let export = audit_log_core::export::Export {
        signer: config.manifest_key_arn.as_ref().map(signer),
        tenants,
        events,
        buckets: buckets::AssumedBuckets::new(
            &shared,
            pace::Pace::per_second(config.assume_roles_per_second),
            config.options.budget.clone(),
            config.denies_organization,
        ),
        bus: config.event_bus.as_ref().map(|name| bus::EventBus::new(&shared, name)),
        options: config.options.clone(),
    };
    let queue = config.queue_url.as_ref().map(|url| queue::ExportQueue::new(&shared, url));
    Exporter { export, queue }
}

pub async fn recorder(shared: &SharedConfig) -> recorder::RecorderTables {
    let SharedConfig { tenants_table, events_table, settle, .. } = shared;
    let dynamodb = aws_sdk_dynamodb::Client::new(&clients::shared_config().await);
    recorder::RecorderTables::new(dynamodb, tenants_table, events_table, *settle)
}

/// The console's adapters.
#[derive(Debug, Clone)]
pub struct Console {
    pub tenants: tenants::TenantsTable,
    pub events: events::EventsTable,
    pub recorder: recorder::RecorderTables,
    pub exporter: verifier::ExporterFunction,
}

/// `exporter` is the ARN of that function.
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

/// The adapters of an operator's own commands.
pub struct Operator {
    pub tenants: tenants::TenantsTable,
    pub events: events::EventsTable,
}

/// With the credentials and the region of the environment.
pub async fn operator(tenants_table: &str, events_table: &str) -> Operator {
    let dynamodb = aws_sdk_dynamodb::Client::new(&clients::shared_config().await);
    let events = events::EventsTable::new(dynamodb.clone(), events_table);
    // No event is written, so it doesn't matter how soon windows settle.
    let settle = chrono::TimeDelta::zero();
    Operator { tenants: tenants::TenantsTable::new(dynamodb, tenants_table, events.clone(), settle), events }
}

/// The AWS SDK, so that the end-to-end tests need no dependency of their own on it.
#[cfg(feature = "test-util")]
pub mod sdk {
    pub use {
        aws_config as config, aws_credential_types as credentials, aws_sdk_dynamodb as dynamodb,
        aws_sdk_lambda as lambda, aws_sdk_s3 as s3, aws_sdk_sqs as sqs, aws_sdk_sts as sts,
    };
}
