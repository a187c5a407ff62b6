//! The recorder: a Lambda function that receives audit events, from a queue and over HTTP.
//!
//! It reads the configuration, and gives clock and random numbers to the library.

use std::sync::Arc;

use audit_log_aws::telemetry::{self, RecorderMetrics};
use audit_log_core::ingestion::EventValidator;
use audit_log_recorder::{
    config::RecorderConfig,
    http, invocation,
    store::{Counts, NoRandomness, Store, World},
};
use audit_log_web::{access_token::TokenVerifier, origin};
use chrono::{DateTime, Utc};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;

// One request at a time, and rarely more than one vCPU.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init_logs();
    let config = RecorderConfig::from_env()?;
    let metrics = RecorderMetrics::init(&config.function_name)?;
    let recorder = audit_log_aws::recorder(&config.shared).await;
    let token_verifier = config.tokens.map(TokenVerifier::new).transpose()?;
    let observe = move |Counts { recorded, duplicate, refused, failed }| {
        metrics.events(recorded, duplicate, refused, failed);
    };
    let world = World { now: Box::new(wall_clock), random: Box::new(random), observe: Box::new(observe) };
    let store = Arc::new(Store::new(recorder, EventValidator::new(config.catalogue), config.shared.retention, world));
    let router = origin::guard(http::router(Arc::clone(&store), token_verifier), config.origin_secret);
    let (store, router) = (&store, &router);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Box<RawValue>>| invocation::handle(store, router, event)))
        .await
}

#[allow(clippy::disallowed_methods, reason = "the one place of this function that reads the clock")]
fn wall_clock() -> DateTime<Utc> {
    Utc::now()
}

fn random() -> Result<[u8; 10], NoRandomness> {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).map_err(|error| NoRandomness(error.to_string()))?;
    Ok(bytes)
}
