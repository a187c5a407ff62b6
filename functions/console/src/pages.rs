//! The pages on which a tenant's admin does what the API offers, and sees what it tells.
//!
//! They call the very functions that the API's handlers call, and only put the answers into words and tables. Without
//! scripts they are links and forms; htmx replaces parts of them where there are.
//!
//! In reading order: [`session`] (who looks), [`form`] (who may change something), [`render`] and [`text`] (what all
//! pages have in common), then one module for each page.

mod assets;
mod chart;
mod connector;
mod event;
mod form;
mod logs;
mod not_found;
mod render;
mod session;
mod settings;
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

pub(crate) use self::not_found::with_fallbacks;
use self::{render::refused, session::Asked};
use crate::app::{App, Backend};

/// A little less than the API has: whichever gives up first, answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(26);

/// All pages, and what they are made with. No link among them begins with a slash: a gateway may put them anywhere.
pub(crate) fn router<B: Backend>() -> Router<App<B>> {
    let pages = Router::new()
        .route("/", get(logs::page::<B>))
        .route("/audit-logs.csv", get(logs::csv::<B>))
        .route("/event", get(event::page::<B>))
        .route("/status", get(status::page::<B>))
        .route("/connector", get(connector::page::<B>).post(connector::connect::<B>))
        .route("/connector/disconnect", get(connector::ask::<B>).post(connector::disconnect::<B>))
        .route("/connector/template.yaml", get(connector::template::<B>))
        .route("/settings", get(settings::page::<B>).post(settings::save::<B>))
        .route("/settings/verify", post(settings::verify::<B>))
        .route("/settings/preview", post(settings::preview::<B>))
        .route("/session", post(session::begin::<B>))
        .route("/session/end", post(session::end))
        .route("/assets/{name}", get(assets::serve));
    guarded(pages)
}

/// The same router, answering in time, and with the headers that protect pages.
pub(crate) fn guarded<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(middleware::from_fn(in_time)).layer(middleware::map_response(session::protect))
}

/// Answers before whatever would answer instead, and with less to say. To whoever asks for a page, a page says so; the
/// page's script puts it above the rest, which stays.
async fn in_time(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(&parts);
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, next.run(Request::from_parts(parts, body))).await;
    answer.unwrap_or_else(|_| refused(&Problem::unavailable(), asked, None).into_response())
}
