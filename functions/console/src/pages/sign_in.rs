//! Signing in and out.

use audit_log_web::{
    body::Json,
    caller::{Caller, Read},
    problem::{Code, Problem},
};
use axum::{
    body::Bytes,
    extract::{self, FromRequest, Request},
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use http::{StatusCode, header, request::Parts};
use serde::Deserialize;

use super::{
    error_page::ErrorPage,
    form::{Form, NoFields},
    request::{PageRequest, SIGNED_OUT, is_surely_same_origin},
    session::set_cookie,
};
use crate::app::{App, Backend};

/// What browsers keep of a cookie, by RFC 6265, section 6.1, less the name and the attributes.
const MAX_TOKEN_BYTES: usize = 3800;

/// The query of the first page after signing in.
const SIGNED_IN: &str = "signedIn=yes";

/// The body of a sign-in.
#[derive(Deserialize)]
struct SignIn {
    token: String,
}

/// Signs in. A page of the platform posts the token as a form or as JSON; for a sign-in link, the pages' script posts it.
///
/// Other sites may post here, by design. All they can do is sign a browser in with a valid token of theirs, and the next page
/// names that token's tenant.
pub(super) async fn sign_in<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    request: Request,
) -> Result<Response, ErrorPage> {
    let (parts, body) = request.into_parts();
    let (page_request, headers) = (PageRequest::from_parts(&parts), parts.headers.clone());
    let refuse = |problem: &Problem| match problem.code().status() {
        StatusCode::UNAUTHORIZED => ErrorPage::sign_in(page_request, Some(problem)),
        _ => ErrorPage::new(problem, page_request, None),
    };
    let token = sent_token(Request::from_parts(parts, body), &app).await.map_err(|problem| refuse(&problem))?;
    if token.len() > MAX_TOKEN_BYTES {
        let detail = format!(
            "The access token has more than {MAX_TOKEN_BYTES} bytes, which is too long for a cookie. The platform must issue shorter ones for these pages."
        );
        return Err(refuse(&Problem::new(Code::BodyTooLarge, detail)));
    }
    let caller = Caller::<Read>::from_token(&token, &app).await.map_err(|problem| refuse(&problem))?;
    // The API accepts a token for a moment after its end, since clocks differ. No browser keeps a cookie that long.
    if caller.expires_at() <= app.time() {
        return Err(refuse(&Problem::new(Code::ExpiredToken, "The access token has expired. Sign in again.")));
    }
    tracing::info!(tenant = %caller.tenant(), "signed in to the pages");
    let cookie = set_cookie(&headers, &token, caller.expires_at(), app.time());
    let location = format!("{}?{SIGNED_IN}", page_request.root);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::SET_COOKIE, cookie)]).into_response())
}

async fn sent_token<B: Backend>(request: Request, app: &App<B>) -> Result<String, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.is_some_and(|text| text.starts_with("application/json")) {
        let Json(SignIn { token }) = Json::from_request(request, app).await?;
        return Ok(token);
    }
    let unreadable = || Problem::new(Code::MalformedBody, "Send the access token as the form field token.");
    let body = Bytes::from_request(request, app).await.map_err(|_| unreadable())?;
    let SignIn { token } = serde_html_form::from_bytes(&body).map_err(|_| unreadable())?;
    Ok(token.trim().to_owned())
}

/// Signs out. A page of an earlier session may do that, too, as long as it surely is one of these pages.
pub(super) async fn sign_out(
    parts: Parts,
    form: Result<Form<Read, NoFields>, ErrorPage>,
) -> Result<Response, ErrorPage> {
    if !is_surely_same_origin(&parts.headers) {
        form?;
    }
    let past = DateTime::UNIX_EPOCH;
    let cookie = set_cookie(&parts.headers, "", past, past);
    let location = format!("{}?{SIGNED_OUT}", PageRequest::from_parts(&parts).root);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::SET_COOKIE, cookie)]).into_response())
}
