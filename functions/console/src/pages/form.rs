//! Forms that change something. No form of another site, tenant or session reaches a handler that takes a [`Form`].

use audit_log_web::{
    caller::Permission,
    problem::{Code, Problem},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
};
use http::StatusCode;
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    error_page::ErrorPage,
    request::{PageRequest, is_surely_same_origin, may_be_same_origin},
    session::{CsrfToken, Session},
};
use crate::app::{App, Backend};

/// What a page of the caller's own session has sent.
pub(crate) struct Form<P, T> {
    pub(super) session: Session<P>,
    pub(super) fields: T,
}

/// A form that is only a button.
#[derive(Deserialize)]
pub(crate) struct NoFields {}

impl<B: Backend, P: Permission, T: DeserializeOwned> FromRequest<App<B>> for Form<P, T> {
    type Rejection = ErrorPage;

    async fn from_request(request: Request, app: &App<B>) -> Result<Self, ErrorPage> {
        let (mut parts, body) = request.into_parts();
        // An answer repeats the fields only of a form that a page of this origin surely sent.
        let surely = is_surely_same_origin(&parts.headers);
        let path = Some(parts.uri.path().to_owned()).filter(|_| surely);
        let session = match (Session::<P>::from_request_parts(&mut parts, app).await, &path) {
            (Ok(session), _) => session,
            (Err(error), Some(path)) if error.is_unauthorized() => {
                let request = PageRequest::from_parts(&parts);
                let body = Bytes::from_request(Request::from_parts(parts, body), app).await.unwrap_or_default();
                let fields = serde_html_form::from_bytes(&body).unwrap_or_default();
                return Err(ErrorPage::session_ended(&request, path, fields));
            }
            (Err(error), _) => return Err(error),
        };
        let refuse = |code, detail: &str| session.refuse(&Problem::new(code, detail));
        if !may_be_same_origin(&parts.headers) {
            return Err(refuse(Code::PermissionDenied, "Another site sent this form. Nothing was changed."));
        }
        let body = Bytes::from_request(Request::from_parts(parts, body), app).await;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => refuse(Code::BodyTooLarge, "Shorten your input."),
            _ => refuse(Code::MalformedBody, "The form arrived incomplete. Send it again."),
        })?;
        let token = serde_html_form::from_bytes::<CsrfToken>(&body).unwrap_or_default();
        if !session.accepts(&token.csrf) {
            let fields = serde_html_form::from_bytes(&body).unwrap_or_default();
            return Err(ask_to_resubmit(&session, path.as_deref(), &token.tenant, fields));
        }
        match serde_html_form::from_bytes(&body) {
            Ok(fields) => Ok(Self { session, fields }),
            Err(_) => Err(refuse(Code::MalformedBody, "The form lacks a field, or has one twice.")),
        }
    }
}

/// Refuses a form of an earlier session. Its fields are kept where a `path` is given, since then it surely comes from these
/// pages. `made_for` is the tenant that the form names, or blank.
fn ask_to_resubmit<P>(
    session: &Session<P>,
    path: Option<&str>,
    made_for: &str,
    fields: Vec<(String, String)>,
) -> ErrorPage {
    let problem = Problem::new(Code::PermissionDenied, "This form belongs to an earlier session.");
    let Some(path) = path.and_then(|path| path.strip_prefix('/')) else {
        return session.refuse(&problem.hint("Go back, reload the page, and send the form again."));
    };
    if session.request.is_partial {
        return session.refuse(&problem.hint("Save instead. You can then resubmit your input."));
    }
    ErrorPage::confirm_resubmit(&problem, &session.request, session.user(), made_for, path, fields)
}
