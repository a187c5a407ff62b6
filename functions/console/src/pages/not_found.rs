//! Where there is no page: a page says so to a browser, and a problem to everything else.

use audit_log_web::{
    caller::Read,
    problem::{Code, Problem},
};
use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header, request::Parts};

use super::{
    render::{Refused, refused},
    session::{self, Asked, Session},
};
use crate::app::{App, Backend};

/// The same router, with answers to paths and methods that there are not. It comes last: routes that are added later
/// don't have it.
pub(crate) fn with_fallbacks<B: Backend>(router: Router<App<B>>) -> Router<App<B>> {
    let nothing = || Problem::new(Code::NotFound, "There is nothing under this address.");
    let not_so = || Problem::new(Code::MethodNotAllowed, "This address takes only the methods that Allow names.");
    router
        .fallback(async move |parts: Parts, session: Result<Session<Read>, Refused>| {
            answer(&nothing(), &parts, session.ok()).await
        })
        .method_not_allowed_fallback(async move |parts: Parts, session: Result<Session<Read>, Refused>| {
            answer(&not_so(), &parts, session.ok()).await
        })
}

async fn answer(problem: &Problem, parts: &Parts, session: Option<Session<Read>>) -> Response {
    if !is_of_a_browser(&parts.headers) {
        return problem.clone().into_response();
    }
    let page = match session {
        Some(session) => session.refuse(problem),
        None => refused(problem, Asked::of(parts), None),
    };
    session::protect(page.into_response()).await
}

fn is_of_a_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media_type| media_type.trim().starts_with("text/html"))
}
