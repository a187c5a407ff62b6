//! The console: a Lambda function behind an HTTP API, on which a tenant's admin sets up and reads the audit logs.
//!
//! This is only the shell: it reads the settings, and hands the clock and the random numbers to the router.

use audit_log_aws::{
    clients, events::EventsTable, recorder::RecorderTables, telemetry, tenants::TenantsTable,
    verifier::ExporterFunction,
};
use audit_log_console::{
    app::{App, Backend, Deployment},
    config::ConsoleConfig,
    router,
};
use audit_log_web::authority::Authority;
use chrono::{DateTime, Utc};
use lambda_http::Error;

/// The ports over AWS.
struct OverAws {
    tenants: TenantsTable,
    events: EventsTable,
    recorder: RecorderTables,
    exporter: ExporterFunction,
}

impl Backend for OverAws {
    type Settings = TenantsTable;
    type Events = EventsTable;
    type Recorder = RecorderTables;
    type Verifier = ExporterFunction;

    fn settings(&self) -> &Self::Settings {
        &self.tenants
    }

    fn events(&self) -> &Self::Events {
        &self.events
    }

    fn recorder(&self) -> &Self::Recorder {
        &self.recorder
    }

    fn verifier(&self) -> &Self::Verifier {
        &self.exporter
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init_logs();
    let config = ConsoleConfig::from_env()?;
    let shared = clients::shared_config().await;
    let dynamodb = clients::dynamodb(&shared);
    let events = EventsTable::new(dynamodb.clone(), &config.events_table);
    let backend = OverAws {
        tenants: TenantsTable::new(dynamodb.clone(), &config.tenants_table, events.clone(), config.settle),
        recorder: RecorderTables::new(dynamodb, &config.tenants_table, &config.events_table, config.settle),
        exporter: ExporterFunction::new(&shared, config.exporter_function),
        events,
    };
    let deployment = Deployment {
        platform: config.platform,
        region: config.region,
        exporter_role: config.exporter_role,
        template_url: config.template_url,
        retention: config.retention,
    };
    let authority = config.authority.map(Authority::new).transpose()?;
    let app = App::new(backend, deployment, authority, wall_clock, fill_with_random);
    lambda_http::run(router(app)).await
}

/// The one place of this function that reads the clock.
#[allow(clippy::disallowed_methods, reason = "main hands the clock to everyone else")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

fn fill_with_random(bytes: &mut [u8]) -> bool {
    getrandom::fill(bytes).is_ok()
}
