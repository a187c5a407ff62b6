//! The adapters: the only crate that names the AWS SDK.
//!
//! [`config`] and [`clients`] set up, [`tenants`] and [`events`] are the two DynamoDB tables, [`buckets`] is STS and S3
//! (deliveries and the probes of a verification), [`telemetry`] is logs and metrics. Each implements a port of `audit_log_core` and passes the same contract tests as
//! the fake in memory. What AWS answers is put into the core's words in [`answers`] and nowhere else.

pub mod answers;
mod attributes;
pub mod buckets;
pub mod clients;
pub mod config;
pub mod events;
pub mod recorder;
pub mod telemetry;
pub mod tenants;
#[cfg(test)]
mod tests;
pub mod verifier;

/// The export, over AWS.
pub type Exporter = audit_log_core::export::Export<tenants::TenantsTable, events::EventsTable, buckets::AssumedBuckets>;

/// Builds the exporter from what the function was deployed with.
pub async fn exporter(config: &config::ExporterConfig) -> Exporter {
    let shared = clients::shared_config().await;
    let dynamodb = aws_sdk_dynamodb::Client::new(&shared);
    let events = events::EventsTable::new(dynamodb.clone(), &config.events_table);
    audit_log_core::export::Export {
        tenants: tenants::TenantsTable::new(dynamodb, &config.tenants_table, events.clone(), config.options.settle),
        events,
        buckets: buckets::AssumedBuckets::new(&shared),
        options: config.options,
    }
}

/// Builds what the recorder stores events with, from the names of its tables and the time that windows settle for.
pub async fn recorder(tenants: &str, events: &str, settle: chrono::TimeDelta) -> recorder::RecorderTables {
    let dynamodb = aws_sdk_dynamodb::Client::new(&clients::shared_config().await);
    recorder::RecorderTables::new(dynamodb, tenants, events, settle)
}

/// The AWS SDK as this workspace pins it, so that the end-to-end harness needs no dependency of its own on it.
#[cfg(feature = "test-util")]
pub mod sdk {
    pub use {
        aws_config as config, aws_credential_types as credentials, aws_sdk_dynamodb as dynamodb,
        aws_sdk_lambda as lambda, aws_sdk_s3 as s3, aws_sdk_sts as sts,
    };
}
