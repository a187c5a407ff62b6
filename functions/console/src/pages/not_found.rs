//! Answers to unknown paths and methods: a page for browsers, a problem for other programs.

use audit_log_web::{
    caller::Read,
    problem::{Code, Problem},
};
use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header, request::Parts};

use super::{add_security_headers, brand::Brand, error_page::ErrorPage, request::PageRequest, session::Session};
use crate::app::{App, Backend};

/// Adds the answers. It must come last: routes that are added later don't have them.
pub(crate) fn with_fallbacks<B: Backend>(router: Router<App<B>>) -> Router<App<B>> {
    let not_found = || Problem::new(Code::NotFound, "There is nothing at this address.");
    let not_allowed = || Problem::new(Code::MethodNotAllowed, "This address accepts only the methods in Allow.");
    router
        .fallback(async move |parts: Parts, session: Result<Session<Read>, ErrorPage>| {
            answer(&not_found(), &parts, session.ok())
        })
        .method_not_allowed_fallback(async move |parts: Parts, session: Result<Session<Read>, ErrorPage>| {
            answer(&not_allowed(), &parts, session.ok())
        })
}

fn answer(problem: &Problem, parts: &Parts, session: Option<Session<Read>>) -> Response {
    if !accepts_html(&parts.headers) {
        return problem.clone().into_response();
    }
    let page = match session {
        Some(session) => session.refuse(problem),
        None => ErrorPage::new(problem, &PageRequest::from_parts(parts), None),
    };
    add_security_headers(page.into_response(), &Brand::of(&parts.extensions))
}

fn accepts_html(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|media_type| media_type.trim().starts_with("text/html"))
}
