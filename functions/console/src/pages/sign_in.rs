//! Signing in and out.

use askama::Template;
use audit_log_core::{
    new_event::NewEvent,
    ports::{Recorder as _, SlotKind},
};
use audit_log_web::{
    body::Json,
    caller::{Caller, Read},
    problem::{Code, Problem},
};
use axum::{
    body::Bytes,
    extract::{self, FromRequest, FromRequestParts, Request},
    response::{IntoResponse, Response},
};
use chrono::DateTime;
use http::{StatusCode, header, request::Parts};
use serde::Deserialize;

use super::{
    error_page::ErrorPage,
    form::{Form, NoFields},
    layout::{Layout, NavItem, SignedIn, html},
    request::{PageRequest, SIGNED_IN, SIGNED_OUT, Sender, is_surely_same_origin},
    return_path::ReturnPath,
    session::{Session, set_cookie},
};
use crate::{
    app::{App, Backend},
    slots::take_slot,
};

/// What browsers keep of a cookie, by RFC 6265, section 6.1, less the name and the attributes.
const MAX_TOKEN_BYTES: usize = 3800;

/// The body of a sign-in.
#[derive(Deserialize)]
struct SignIn {
    token: String,
    /// That of the present session: its user has confirmed to leave it.
    #[serde(default)]
    csrf: String,
    /// Not blank if a [`ConfirmPage`] sends it.
    #[serde(default)]
    again: String,
    /// Where to go then, below the root of the pages.
    #[serde(default)]
    path: String,
}

/// Sends a sign-in once more, from a page of this site: at once for another site's, after a confirmation for another user's.
#[derive(Template)]
#[template(path = "confirm-signin.html")]
struct ConfirmPage {
    /// With the user of the present session, if that is another one.
    layout: Layout,
    token: String,
    new: SignedIn,
    path: String,
}

/// Signs in. A page of the platform posts the token as a form or as JSON; for a sign-in link, the pages' script posts it.
///
/// Someone may try to sign a browser in with a token of their own, so that its user configures or searches for the wrong
/// tenant (login CSRF). So only configured sites may post here, and a sign-in never replaces another user's session unasked.
/// Browsers don't send the session's cookie along with another site's form (`SameSite=Lax`), so that a page of this site
/// sends that form again.
pub(super) async fn sign_in<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    request: Request,
) -> Result<Response, ErrorPage> {
    let (mut parts, body) = request.into_parts();
    let page_request = PageRequest::from_parts(&parts);
    let refuse = |problem: &Problem| match problem.code().status() {
        StatusCode::UNAUTHORIZED => ErrorPage::sign_in(&page_request, Some(problem)),
        _ => ErrorPage::new(problem, &page_request, None),
    };
    let is_other_site = match Sender::from_headers(&parts.headers) {
        Sender::ThisSite => false,
        Sender::OtherSite(origin) if app.deployment().sign_in_origins.iter().any(|it| it == origin) => true,
        Sender::OtherSite(origin) => {
            tracing::info!(origin, "sign-in by another site refused");
            let detail = "Another site tried to sign this browser in. Nothing was changed.";
            let hint = "If you came from your product, ask its operators to add its origin to SignInOrigins.";
            return Err(refuse(&Problem::new(Code::PermissionDenied, detail).hint(hint)));
        }
    };
    let sent = read(Request::from_parts(parts.clone(), body), &app).await;
    let SignIn { token, csrf, again, path } = sent.map_err(|problem| refuse(&problem))?;
    let return_path = ReturnPath::parse(&path);
    if token.len() > MAX_TOKEN_BYTES {
        let detail = format!(
            "The access token has more than {MAX_TOKEN_BYTES} bytes, which is too long for a cookie. The platform must issue shorter ones for these pages."
        );
        return Err(refuse(&Problem::new(Code::BodyTooLarge, detail)));
    }
    let caller = Caller::<Read>::from_token(&token, &parts, &app).await.map_err(|problem| refuse(&problem))?;
    // The API accepts a token for a moment after its end, since clocks differ. No browser keeps a cookie that long.
    if caller.expires_at() <= app.time() {
        return Err(refuse(&Problem::new(Code::ExpiredToken, "The access token has expired. Sign in again.")));
    }
    let new = SignedIn::new(&caller, "");
    if is_other_site {
        // The page of this site would send itself again without an end.
        if !again.is_empty() {
            let detail = "The browser doesn't say that the console's own page sends this sign-in. Nothing was changed.";
            let hint = "Use a newer browser. If that doesn't help, ask the operators whether SignInOrigins has the console's own origin, and to remove it.";
            return Err(refuse(&Problem::new(Code::PermissionDenied, detail).hint(hint)));
        }
        let layout = Layout::new(&page_request, NavItem::None, "Signing in", None);
        let page = ConfirmPage { layout, token, new, path: return_path.to_string() };
        return Ok(html(StatusCode::OK, &page));
    }
    if let Ok(present) = Session::<Read>::from_request_parts(&mut parts, &app).await
        && !is_same_user(&present.caller, &caller)
        && !present.accepts(&csrf)
    {
        let layout = present.layout(NavItem::None, "Sign in as another user?");
        let page = ConfirmPage { layout, token, new, path: return_path.to_string() };
        return Ok(html(StatusCode::CONFLICT, &page));
    }
    let event = app.change(&caller).map(|change| change.signed_in(caller.tenant(), caller.expires_at()));
    let event = event.map_err(|failure| refuse(&failure.into()))?;
    record(&app, &event).await.map_err(|problem| refuse(&problem))?;
    tracing::info!(tenant = %caller.tenant(), "signed in to the pages");
    let cookie = set_cookie(&parts.headers, &token, caller.expires_at(), app.time());
    let location = return_path.location(page_request.root, SIGNED_IN);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::SET_COOKIE, cookie)]).into_response())
}

fn is_same_user<P>(a: &Caller<P>, b: &Caller<P>) -> bool {
    (a.tenant(), &a.actor().id) == (b.tenant(), &b.actor().id)
}

/// Someone with a token can sign in and out without an end. Each would be an event of the tenant.
async fn record<B: Backend>(app: &App<B>, event: &NewEvent) -> Result<(), Problem> {
    take_slot(app, &event.tenant, SlotKind::Session).await?;
    app.recorder().record(event).await?;
    Ok(())
}

async fn read<B: Backend>(request: Request, app: &App<B>) -> Result<SignIn, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.is_some_and(|text| text.starts_with("application/json")) {
        return Json::from_request(request, app).await.map(|Json(sent)| sent);
    }
    let unreadable = || Problem::new(Code::MalformedBody, "Send the access token as the form field token.");
    let body = Bytes::from_request(request, app).await.map_err(|_| unreadable())?;
    let sent: SignIn = serde_html_form::from_bytes(&body).map_err(|_| unreadable())?;
    Ok(SignIn { token: sent.token.trim().to_owned(), ..sent })
}

/// Signs out. A page of an earlier session may do that, too, as long as it surely is one of these pages.
pub(super) async fn sign_out<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    parts: Parts,
    session: Result<Session<Read>, ErrorPage>,
    form: Result<Form<Read, NoFields>, ErrorPage>,
) -> Result<Response, ErrorPage> {
    if !is_surely_same_origin(&parts.headers) {
        form?;
    }
    // A session that can't be recorded is ended all the same.
    if let Ok(Session { caller, .. }) = session {
        let event = app.change(&caller).map(|change| change.signed_out(caller.tenant()));
        let recorded = match event {
            Ok(event) => record(&app, &event).await,
            Err(failure) => Err(failure.into()),
        };
        if let Err(problem) = recorded {
            let (tenant, subject, code) = (caller.tenant(), &caller.actor().id, problem.code());
            tracing::error!(%tenant, subject, %code, reason = problem.detail(), "a sign-out was not recorded");
        }
    }
    let past = DateTime::UNIX_EPOCH;
    let cookie = set_cookie(&parts.headers, "", past, past);
    let location = format!("{}?{SIGNED_OUT}", PageRequest::from_parts(&parts).root);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::SET_COOKIE, cookie)]).into_response())
}
