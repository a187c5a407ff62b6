//! The pages for a tenant's admin. They call the functions that the API's handlers call, and put the results into HTML.
//!
//! Without scripts they are links and forms. With scripts, htmx replaces parts of them.
//!
//! In reading order: [`brand`] (what the platform chooses), [`request`] and [`session`] (who asks for what), [`form`] (what may
//! change something), [`layout`], [`error_page`], [`document`] and [`text`] (what pages share), then one module per page.

mod assets;
mod brand;
mod chart;
mod connector;
mod deliveries;
pub(crate) mod document;
mod error_page;
mod event;
mod form;
mod history;
mod incidents;
mod layout;
mod logs;
mod not_found;
pub(crate) mod obstacles;
mod palette;
mod proof;
mod receipts;
mod replay;
mod replay_progress;
mod request;
pub(crate) mod return_path;
mod rotation;
mod session;
mod settings;
mod settings_form;
mod setup;
mod setup_steps;
mod sign_in;
mod status;
mod text;

use std::{sync::Arc, time::Duration};

use audit_log_web::problem::Problem;
use axum::{
    Extension, Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, header};

pub(crate) use self::not_found::with_fallbacks;
use self::{brand::Brand, error_page::ErrorPage, request::PageRequest};
use crate::{
    app::{App, Backend},
    embedding::Embedding,
};

/// A little less than the API's, so that a page answers before the API does.
const PAGE_TIMEOUT: Duration = Duration::from_secs(26);

/// No link between the pages begins with a slash: a gateway may serve them under any path.
pub(crate) fn router<B: Backend>() -> Router<App<B>> {
    let pages = Router::new()
        .route("/", get(setup::landing::<B>))
        .route("/audit-logs.csv", get(logs::csv::<B>))
        .route("/event", get(event::page::<B>))
        .route("/status", get(status::page::<B>))
        .route("/status/retry", post(status::retry::<B>))
        .route("/replay", get(replay::page::<B>).post(replay::start::<B>))
        .route("/replay/progress", get(replay_progress::part::<B>))
        .route("/replay/stop", post(replay::stop::<B>))
        .route("/connector", get(connector::page::<B>).post(connector::connect::<B>))
        .route("/connector/test", post(connector::test::<B>))
        .route("/connector/disconnect", get(connector::confirm_disconnect::<B>).post(connector::disconnect::<B>))
        .route("/connector/external-id", get(rotation::page::<B>).post(rotation::start::<B>))
        .route("/connector/external-id/cancel", post(rotation::cancel::<B>))
        .route("/connector/external-id/verify", post(rotation::verify::<B>))
        .route("/connector/template.yaml", get(connector::template::<B>))
        .route("/connector/terraform.tf", get(connector::terraform::<B>))
        .route("/settings", get(settings::page::<B>).post(settings::save::<B>))
        .route("/settings/verify", post(settings::verify::<B>))
        .route("/settings/preview", post(settings::preview::<B>))
        .route("/setup", get(setup::page::<B>).post(setup::keep::<B>))
        .route("/setup/activate", post(setup::activate::<B>))
        .route("/setup/steps", get(setup_steps::page::<B>))
        .route("/obstacles", get(obstacles::page))
        .route("/proof", get(proof::page))
        .route("/manifest-keys/{name}", get(proof::key::<B>))
        .route("/session", post(sign_in::sign_in::<B>))
        .route("/session/end", post(sign_in::sign_out::<B>))
        .route("/assets/{name}", get(brand::asset));
    guarded(pages)
}

/// Adds the timeout and the headers that protect pages.
pub(crate) fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(answer_in_time)).layer(middleware::from_fn(protect))
}

/// Adds what the platform has chosen, for all routes and fallbacks that the router has so far.
pub(crate) fn branded<S: Clone + Send + Sync + 'static>(router: Router<S>, embedding: &Embedding) -> Router<S> {
    router.layer(Extension(Arc::new(Brand::new(embedding))))
}

/// Answers with a page before the API's own timeout answers without one.
async fn answer_in_time(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let page_request = PageRequest::from_parts(&parts);
    let answer = tokio::time::timeout(PAGE_TIMEOUT, next.run(Request::from_parts(parts, body))).await;
    answer.unwrap_or_else(|_| ErrorPage::new(&Problem::unavailable(), &page_request, None).into_response())
}

async fn protect(request: Request, next: Next) -> Response {
    let brand = Brand::of(request.extensions());
    add_security_headers(next.run(request).await, &brand)
}

/// The referrer is sent within the pages: without it, browsers send forms without an origin.
fn add_security_headers(mut response: Response, brand: &Brand) -> Response {
    const FIXED: [(HeaderName, &str); 3] = [
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, brand.policy.clone());
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
