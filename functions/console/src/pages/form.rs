//! Forms that change something. A handler that takes a [`Form`] can't be reached by one that another site has sent.

use audit_log_web::{
    caller::Permission,
    problem::{Code, Problem},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, MatchedPath, Request},
};
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    render::{Refused, signed_out_meanwhile},
    session::{Asked, Session},
};
use crate::app::{App, Backend};

/// Where a browser says that a request comes from, by "Fetch Metadata Request Headers".
const FETCH_SITE: &str = "sec-fetch-site";
const SAME_ORIGIN: &str = "same-origin";

/// What was sent, by a page of the caller's own session.
pub(crate) struct Form<P, T> {
    pub(super) session: Session<P>,
    pub(super) fields: T,
}

/// A form that is only a button.
#[derive(Deserialize)]
pub(crate) struct NoFields {}

/// The fields that every form has: what proves that it is of the caller's session, and whose data it was made for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Proof {
    pub(super) csrf: String,
    pub(super) tenant: String,
}

impl<B: Backend, P: Permission, T: DeserializeOwned> FromRequest<App<B>> for Form<P, T> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App<B>) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        // Only of a form that a page of this origin has sent for sure is said again what it holds.
        let surely = is_surely_from_here(&parts.headers);
        let path = parts.extensions.get::<MatchedPath>().filter(|_| surely).map(|path| path.as_str().to_owned());
        let session = match (Session::<P>::from_request_parts(&mut parts, app).await, &path) {
            (Ok(session), _) => session,
            (Err(refused), Some(path)) if refused.is_for_the_lack_of_a_session() => {
                let asked = Asked::of(&parts);
                let body = Bytes::from_request(Request::from_parts(parts, body), app).await.unwrap_or_default();
                let sent = serde_html_form::from_bytes(&body).unwrap_or_default();
                return Err(signed_out_meanwhile(asked, path, sent));
            }
            (Err(refused), _) => return Err(refused),
        };
        if !is_from_here(&parts.headers) {
            let problem = Problem::new(Code::PermissionDenied, "Another site has sent this form; nothing was changed.");
            return Err(session.refuse(&problem));
        }
        let body = match Bytes::from_request(Request::from_parts(parts, body), app).await {
            Ok(body) => body,
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                return Err(session.refuse(&Problem::new(Code::BodyTooLarge, "Shorten what you typed.")));
            }
            Err(_) => return Err(session.refuse(&Problem::new(Code::MalformedBody, "The form broke off."))),
        };
        let proof = serde_html_form::from_bytes::<Proof>(&body).unwrap_or_default();
        if !same(&proof.csrf, session.csrf()) {
            let sent = serde_html_form::from_bytes(&body).unwrap_or_default();
            return Err(session.ask_again(path.as_deref().unwrap_or_default(), &proof.tenant, sent));
        }
        match serde_html_form::from_bytes(&body) {
            Ok(fields) => Ok(Self { session, fields }),
            Err(_) => {
                Err(session.refuse(&Problem::new(Code::MalformedBody, "The form lacks a field, or has one twice.")))
            }
        }
    }
}

/// Whether a browser says so itself, in a header that no page can set.
pub(super) fn is_surely_from_here(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site == SAME_ORIGIN)
}

/// Whether the browser says that a page of this origin has sent it. Old ones name only the origin, and what is no browser
/// says nothing; the field has to be there anyway.
fn is_from_here(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(FETCH_SITE), text(header::ORIGIN.as_str())) {
        (Some(site), _) => site == SAME_ORIGIN,
        (None, Some(origin)) => {
            origin.split_once("://").is_some_and(|(_, host)| Some(host) == text(header::HOST.as_str()))
        }
        (None, None) => true,
    }
}

/// Compares without telling by the time it takes how much was right.
fn same(given: &str, expected: &str) -> bool {
    let differing = given.bytes().zip(expected.bytes()).fold(0, |differing, (one, other)| differing | (one ^ other));
    given.len() == expected.len() && differing == 0
}
