//! The pages for a tenant's admin. They call the functions that the API's handlers call, and put the results into HTML.
//!
//! Without scripts they are links and forms. With scripts, htmx replaces parts of them.
//!
//! In reading order: [`request`] and [`session`] (who asks for what), [`form`] (what may change something), [`layout`],
//! [`error_page`], [`document`] and [`text`] (what pages share), then one module per page.

mod assets;
mod chart;
mod connector;
mod deliveries;
pub(crate) mod document;
mod error_page;
mod event;
mod form;
mod info;
mod layout;
mod logs;
mod not_found;
pub(crate) mod obstacles;
mod proof;
mod request;
mod rotation;
mod session;
mod settings;
mod settings_form;
mod sign_in;
mod status;
mod text;

use std::time::Duration;

use audit_log_web::problem::Problem;
use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::{HeaderName, HeaderValue, header};

pub(crate) use self::not_found::with_fallbacks;
use self::{error_page::ErrorPage, request::PageRequest};
use crate::app::{App, Backend};

/// A little less than the API's, so that a page answers before the API does.
const PAGE_TIMEOUT: Duration = Duration::from_secs(26);

/// No link between the pages begins with a slash: a gateway may serve them under any path.
pub(crate) fn router<B: Backend>() -> Router<App<B>> {
    let pages = Router::new()
        .route("/", get(logs::page::<B>))
        .route("/audit-logs.csv", get(logs::csv::<B>))
        .route("/event", get(event::page::<B>))
        .route("/status", get(status::page::<B>))
        .route("/connector", get(connector::page::<B>).post(connector::connect::<B>))
        .route("/connector/disconnect", get(connector::confirm_disconnect::<B>).post(connector::disconnect::<B>))
        .route("/connector/external-id", get(rotation::page::<B>).post(rotation::start::<B>))
        .route("/connector/external-id/cancel", post(rotation::cancel::<B>))
        .route("/connector/external-id/verify", post(rotation::verify::<B>))
        .route("/connector/template.yaml", get(connector::template::<B>))
        .route("/settings", get(settings::page::<B>).post(settings::save::<B>))
        .route("/settings/verify", post(settings::verify::<B>))
        .route("/settings/preview", post(settings::preview::<B>))
        .route("/obstacles", get(obstacles::page))
        .route("/proof", get(proof::page))
        .route("/manifest-keys/{name}", get(proof::key::<B>))
        .route("/session", post(sign_in::sign_in::<B>))
        .route("/session/end", post(sign_in::sign_out::<B>))
        .route("/assets/{name}", get(assets::serve));
    guarded(pages)
}

/// Adds the timeout and the headers that protect pages.
pub(crate) fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(answer_in_time)).layer(middleware::map_response(add_security_headers))
}

/// Answers with a page before the API's own timeout answers without one.
async fn answer_in_time(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let page_request = PageRequest::from_parts(&parts);
    let answer = tokio::time::timeout(PAGE_TIMEOUT, next.run(Request::from_parts(parts, body))).await;
    answer.unwrap_or_else(|_| ErrorPage::new(&Problem::unavailable(), page_request, None).into_response())
}

/// Browsers load nothing from elsewhere and frame no page. The referrer is sent within the pages: without it,
/// browsers send forms without an origin.
async fn add_security_headers(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
        connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let fixed: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
