//! Who looks at a page: the same access token that the API takes, in a cookie that no script and no other site can read.
//!
//! The API itself never looks at that cookie. A page is only shown, and a form only taken, for a [`Session`].

use audit_log_web::{
    body::Json,
    caller::{Caller, Permission, Read},
    problem::{Code, Problem},
};
use axum::{
    body::Bytes,
    extract::{self, FromRequest, FromRequestParts, MatchedPath, Request},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    form::{Form, NoFields, Proof, is_surely_from_here},
    render::{Frame, Place, Refused, SignedIn, confirmed, refused, signed_out},
};
use crate::app::{App, Backend};

/// As far up as a path without a page may need to be led.
const UP: &str = "../../../../../../../../../../../../../../../../";

/// What browsers keep of a cookie, by RFC 6265, section 6.1, less the name and the attributes.
const MAX_TOKEN_BYTES: usize = 3800;

/// The queries of the first page for who has just signed in, and out.
const ARRIVED: &str = "signedIn=yes";
const LEFT: &str = "signedOut=yes";

/// A caller with the permission `P` who came with the cookie.
pub(crate) struct Session<P> {
    pub(super) caller: Caller<P>,
    pub(super) request: Asked,
    csrf: String,
}

/// How a page was asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    /// Leads from the page's path up to the root of the pages, wherever a gateway has put that.
    pub(super) root: &'static str,
    /// Whether the page's own script asks, for a part of it.
    pub(super) partly: bool,
    /// Whether whoever asks comes from signing out.
    pub(super) left: bool,
}

impl Asked {
    pub(super) fn of(parts: &Parts) -> Self {
        // Where there is no page, there is no matched path.
        let path = parts.extensions.get::<MatchedPath>().map_or(parts.uri.path(), MatchedPath::as_str);
        let root = match path.matches('/').count() {
            0 | 1 => "./",
            depth => UP.get(..(depth - 1) * "../".len()).unwrap_or(UP),
        };
        let left = parts.uri.query().is_some_and(|query| query == LEFT);
        Self { root, partly: parts.headers.get("hx-request").is_some(), left }
    }
}

impl<P> Session<P> {
    /// What stands around the content of a page.
    pub(super) fn frame(&self, place: Place, title: &'static str) -> Frame {
        Frame { root: self.request.root, place, title, user: Some(SignedIn::of(&self.caller, &self.csrf)) }
    }

    /// What forms have to bring back.
    pub(super) fn csrf(&self) -> &str {
        &self.csrf
    }

    /// The same as fields, with whose session it is.
    pub(super) fn proof(&self) -> Proof {
        Proof { csrf: self.csrf.clone(), tenant: self.caller.tenant().to_string() }
    }

    /// The refusal of a form that was made for an earlier session. Where it surely comes from these pages, what was typed
    /// is kept, to be sent again with one click; `path` is blank where that isn't sure. `tenant` is the one that the form
    /// was made for, as far as it says.
    pub(super) fn ask_again(&self, path: &str, tenant: &str, sent: Vec<(String, String)>) -> Refused {
        let detail = "This form is not of the session that you are signed in with now.";
        let problem = Problem::new(Code::PermissionDenied, detail);
        let Some(path) = path.strip_prefix('/') else {
            return self.refuse(&problem.hint("Go back, reload the page, and send it again."));
        };
        if self.request.partly {
            let hint = "Save it instead: then you are asked whether to send it again, with all that you typed.";
            return self.refuse(&problem.hint(hint));
        }
        confirmed(&problem, self.request, SignedIn::of(&self.caller, &self.csrf), tenant, path, sent)
    }

    /// The refusal of something that this caller wanted.
    pub(super) fn refuse(&self, problem: &Problem) -> Refused {
        refused(problem, self.request, Some(SignedIn::of(&self.caller, &self.csrf)))
    }
}

impl<B: Backend, P: Permission> FromRequestParts<App<B>> for Session<P> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App<B>) -> Result<Self, Refused> {
        let request = Asked::of(parts);
        let Some(token) = cookie(&parts.headers) else { return Err(signed_out(request, None)) };
        let csrf = csrf_token(token);
        match Caller::of_token(token, app).await {
            Ok(caller) => Ok(Self { caller, request, csrf }),
            Err(problem) if problem.code() == Code::PermissionDenied => {
                let reader = Caller::<Read>::of_token(token, app).await.ok();
                Err(refused(&problem, request, reader.map(|reader| SignedIn::of(&reader, &csrf))))
            }
            Err(problem) if problem.code().status() == StatusCode::UNAUTHORIZED => {
                Err(signed_out(request, Some(&problem)))
            }
            Err(problem) => Err(refused(&problem, request, None)),
        }
    }
}

/// What a form of this session brings back, and no other site can know: it follows from the token, which is secret.
fn csrf_token(token: &str) -> String {
    Sha256::digest(format!("csrf:{token}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The body of a sign-in.
#[derive(Deserialize)]
pub(super) struct SignIn {
    token: String,
}

/// Signs in: with a form that a page of the platform posts here, with JSON, or by the link that the script of the pages
/// makes such a form of. Other sites may post here too, that is how it is meant; all that they can do is sign a browser
/// in with a good token of theirs, which the page that follows says, with the tenant's name.
pub(super) async fn begin<B: Backend>(
    extract::State(app): extract::State<App<B>>,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let (asked, headers) = (Asked::of(&parts), parts.headers.clone());
    let refuse = |problem: &Problem| match problem.code().status() {
        StatusCode::UNAUTHORIZED => signed_out(asked, Some(problem)),
        _ => refused(problem, asked, None),
    };
    let token = sent_token(Request::from_parts(parts, body), &app).await.map_err(|problem| refuse(&problem))?;
    if token.len() > MAX_TOKEN_BYTES {
        let detail = format!(
            "The access token has more than {MAX_TOKEN_BYTES} bytes, and browsers keep none so long. The platform has to issue shorter ones for these pages."
        );
        return Err(refuse(&Problem::new(Code::BodyTooLarge, detail)));
    }
    let caller = Caller::<Read>::of_token(&token, &app).await.map_err(|problem| refuse(&problem))?;
    // Clocks may differ a little, so a token counts a little beyond its end; but no browser keeps a cookie beyond its own.
    if caller.expires_at() <= app.time() {
        return Err(refuse(&Problem::new(Code::ExpiredToken, "The access token has expired.")));
    }
    tracing::info!(tenant = %caller.tenant(), "signed in to the pages");
    let cookie = set_cookie(&headers, &token, caller.expires_at(), app.time());
    let location = format!("{}?{ARRIVED}", asked.root);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::SET_COOKIE, cookie)]).into_response())
}

async fn sent_token<B: Backend>(request: Request, app: &App<B>) -> Result<String, Problem> {
    let media_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if media_type.is_some_and(|text| text.starts_with("application/json")) {
        let Json(SignIn { token }) = Json::from_request(request, app).await?;
        return Ok(token);
    }
    let unreadable = || Problem::new(Code::MalformedBody, "Send the access token as the field token of a form.");
    let body = Bytes::from_request(request, app).await.map_err(|_| unreadable())?;
    let SignIn { token } = serde_html_form::from_bytes(&body).map_err(|_| unreadable())?;
    Ok(token.trim().to_owned())
}

/// Signs out. A page that was opened in an earlier session may do that too: that it is one of these pages is enough.
pub(super) async fn end(parts: Parts, form: Result<Form<Read, NoFields>, Refused>) -> Result<Response, Refused> {
    if !is_surely_from_here(&parts.headers) {
        form?;
    }
    let past = DateTime::UNIX_EPOCH;
    let cookie = set_cookie(&parts.headers, "", past, past);
    let location = format!("{}?{LEFT}", Asked::of(&parts).root);
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location), (header::SET_COOKIE, cookie)]).into_response())
}

/// Whether the pages are looked at on the very machine that they run on, where there is no TLS and so no secure cookie.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

/// The prefix `__Host-` makes browsers refuse the cookie from subdomains and without TLS, by RFC 6265bis.
fn cookie_name(headers: &HeaderMap) -> &'static str {
    if is_local(headers) { "session" } else { "__Host-session" }
}

fn set_cookie(headers: &HeaderMap, token: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let (name, secure) = (cookie_name(headers), if is_local(headers) { "" } else { "; Secure" });
    let seconds = (expires_at - now).num_seconds().max(0);
    format!("{name}={token}; Path=/; Max-Age={seconds}; HttpOnly{secure}; SameSite=Lax")
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let name = cookie_name(headers);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(it, _)| *it == name).map(|(_, token)| token).filter(|token| !token.is_empty())
}

/// What every answer of the pages says to the browser: nothing may be loaded but from here, no page may be framed, and
/// nothing is kept. The referrer stays within the pages: without any, browsers would send forms with no origin.
pub(super) async fn protect(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
        connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let headers = response.headers_mut();
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
