//! The API and the pages for a tenant's admin: connect a bucket, verify it, set the schedule, read the logs.
//!
//! In reading order: [`app`] (the handlers' state), [`embedding`] (what the platform chooses for the pages), [`router`] (paths),
//! then one module per resource: [`connector`],
//! [`rotation`], [`settings`], [`verification`], [`exports`], [`retry`], [`replays`], [`manifest_keys`], [`status`] and [`logs`]. [`openapi`]
//! describes them. `pages` call the same functions.
//!
//! A handler decodes, calls the core once, and encodes. The tenant comes from its [`Caller`] alone: no path, parameter or
//! body names one.
//!
//! [`Caller`]: audit_log_web::caller::Caller

pub mod app;
pub mod config;
pub mod connector;
mod deliveries;
mod draft;
pub mod embedding;
pub mod exports;
pub mod logs;
pub mod manifest_keys;
pub mod openapi;
mod page_token;
mod pages;
mod problems;
pub mod replays;
pub mod retry;
mod role_scope;
pub mod rotation;
pub mod settings;
mod setup;
mod slots;
pub mod status;
#[cfg(test)]
mod tests;
pub mod verification;

use std::time::Duration;

use app::{App, Backend};
use audit_log_web::{access_log::log_requests, body::with_fallbacks, compression::compress, headers, problem::Problem};
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};

/// The function has 29 seconds, the API in front of it 30.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(27);

const MAX_BODY_BYTES: usize = 64 << 10;

pub fn router<B: Backend>(app: App<B>) -> Router {
    let v1 = Router::new()
        .route("/connector", get(connector::read::<B>).put(connector::connect::<B>).delete(connector::disconnect::<B>))
        .route("/connector/external-id", post(rotation::start::<B>).delete(rotation::cancel::<B>))
        .route("/export-settings", get(settings::read::<B>).put(settings::save::<B>))
        .route("/export-settings/verify", post(verification::verify::<B>))
        .route("/exports", get(exports::list::<B>))
        .route("/exports/retry", post(retry::retry::<B>))
        .route("/replays", post(replays::create::<B>))
        .route("/replays/current", get(replays::read::<B>).delete(replays::delete::<B>))
        .route("/replays/preview", get(replays::read_preview::<B>))
        .route("/manifest-keys", get(manifest_keys::list::<B>))
        .route("/status", get(status::read::<B>))
        .route("/audit-logs", get(logs::list::<B>))
        .route("/audit-logs/summary", get(logs::summary::<B>))
        .route("/audit-logs.csv", get(logs::csv::<B>));
    let api = Router::new().route("/openapi.json", get(openapi::serve)).nest("/v1", with_fallbacks(v1));
    let router = pages::with_fallbacks(api.merge(pages::router())).layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    let router = pages::branded(router, &app.deployment().embedding).layer(middleware::from_fn(answer_in_time));
    log_requests(headers::protect(compress(router.with_state(app))))
}

/// Answers before Lambda ends the function: its own answer says nothing about the reason.
async fn answer_in_time(request: Request, next: Next) -> Response {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| Problem::unavailable().into_response())
}
