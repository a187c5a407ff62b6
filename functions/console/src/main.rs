//! The console's Lambda function: builds the router with the adapters, the clock and the random numbers.

use audit_log_aws::{
    Console, events::EventsTable, recorder::RecorderTables, telemetry, tenants::TenantsTable,
    verifier::ExporterFunction,
};
use audit_log_console::{
    app::{App, Backend, Deployment},
    config::ConsoleConfig,
    router,
};
use audit_log_web::{access_token::TokenVerifier, invocation, origin};
use chrono::{DateTime, Utc};
use lambda_http::{Error, lambda_runtime, service_fn};

struct AwsBackend(Console);

impl Backend for AwsBackend {
    type Settings = TenantsTable;
    type Events = EventsTable;
    type Recorder = RecorderTables;
    type Verifier = ExporterFunction;
    type ExporterTrigger = ExporterFunction;

    fn settings(&self) -> &TenantsTable {
        &self.0.tenants
    }

    fn events(&self) -> &EventsTable {
        &self.0.events
    }

    fn recorder(&self) -> &RecorderTables {
        &self.0.recorder
    }

    fn verifier(&self) -> &ExporterFunction {
        &self.0.exporter
    }

    fn exporter_trigger(&self) -> &ExporterFunction {
        &self.0.exporter
    }
}

// One request at a time, and rarely more than one vCPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init_logs();
    let config = ConsoleConfig::from_env()?;
    let console = audit_log_aws::console(&config.shared, &config.exporter_function).await;
    let deployment = Deployment {
        platform: config.platform,
        region: config.region,
        exporter_role: config.exporter_role,
        template_url: config.template_url,
        settle: config.shared.settle,
        retention: config.shared.retention,
        searches_per_minute: config.searches_per_minute,
        sign_in_origins: config.sign_in_origins,
        embedding: config.embedding,
    };
    let token_verifier = config.tokens.map(TokenVerifier::new).transpose()?;
    let app = App::new(AwsBackend(console), deployment, token_verifier, wall_clock, fill_with_random);
    let router = origin::guard(router(app), config.origin_secret);
    lambda_runtime::run(service_fn(move |event| invocation::answer(router.clone(), event))).await
}

#[allow(clippy::disallowed_methods, reason = "only main reads the clock")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

fn fill_with_random(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}
