//! Sessions: the API's access token in a cookie that no script and no other site can read.
//!
//! The API ignores that cookie. Pages are shown, and forms accepted, only with a [`Session`].

use std::convert::Infallible;

use audit_log_web::{
    caller::{Caller, Permission, Read},
    origin::is_equal,
    problem::{Code, Problem},
};
use axum::extract::FromRequestParts;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header, request::Parts};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{
    error_page::ErrorPage,
    layout::{Alert, Layout, NavItem, SignedIn},
    request::PageRequest,
};
use crate::{
    app::{App, Backend},
    setup,
};

/// A caller with the permission `P` who sent the cookie.
pub(crate) struct Session<P> {
    pub(super) caller: Caller<P>,
    pub(super) request: PageRequest,
    secret: CsrfSecret,
    /// The secret, masked for this answer.
    csrf: String,
    /// Whether exports are still to be set up. Parts of pages don't say that.
    pub(super) setup_pending: bool,
}

/// What proves that a form is of a session. No other site can know it: it is derived from the access token, which is secret.
///
/// Pages are compressed, and their length says how often a text occurs in them (BREACH). So each answer has the secret in a
/// form of its own: random bytes, and the exclusive or of these and the secret.
struct CsrfSecret([u8; 32]);

impl CsrfSecret {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(format!("csrf:{token}")).into())
    }

    fn masked(&self, mask: [u8; 32]) -> String {
        let masked = self.0.iter().zip(mask).map(|(byte, mask)| byte ^ mask);
        mask.into_iter().chain(masked).map(|byte| format!("{byte:02x}")).collect()
    }

    fn is_in(&self, masked: &str) -> bool {
        let byte = |at: usize| u8::from_str_radix(masked.get(2 * at..2 * at + 2)?, 16).ok();
        let bytes: Option<Vec<u8>> = (0..self.0.len()).map(|at| Some(byte(at)? ^ byte(at + self.0.len())?)).collect();
        masked.len() == 4 * self.0.len() && bytes.is_some_and(|bytes| is_equal(&bytes, &self.0))
    }
}

/// The fields that every form has: a proof that it is of the caller's session, and the tenant that it was made for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct CsrfToken {
    pub(super) csrf: String,
    pub(super) tenant: String,
}

impl<P> Session<P> {
    pub(super) fn layout(&self, nav_item: NavItem, title: &'static str) -> Layout {
        Layout::new(&self.request, nav_item, title, Some(self.user()))
    }

    pub(super) fn user(&self) -> SignedIn {
        SignedIn { setup_pending: self.setup_pending, ..SignedIn::new(&self.caller, &self.csrf) }
    }

    /// Whether a form's token is of this session.
    pub(super) fn accepts(&self, csrf: &str) -> bool {
        self.secret.is_in(csrf)
    }

    pub(super) fn csrf_token(&self) -> CsrfToken {
        CsrfToken { csrf: self.csrf.clone(), tenant: self.caller.tenant().to_string() }
    }

    /// What is wrong. Leads to the connector if a role is missing.
    pub(super) fn alert(&self, problem: &Problem) -> Alert {
        let is_required = problem.code() == Code::ConnectorRequired;
        let connector = is_required.then(|| format!("{}connector", self.request.root));
        Alert { connector, ..Alert::from_problem(problem) }
    }

    pub(super) fn refuse(&self, problem: &Problem) -> ErrorPage {
        ErrorPage::new(problem, &self.request, Some(self.user()))
    }
}

impl<B: Backend, P: Permission> FromRequestParts<App<B>> for Session<P> {
    type Rejection = ErrorPage;

    async fn from_request_parts(parts: &mut Parts, app: &App<B>) -> Result<Self, ErrorPage> {
        let request = PageRequest::from_parts(parts);
        let Some(token) = cookie(&parts.headers) else { return Err(ErrorPage::sign_in(&request, None)) };
        let secret = CsrfSecret::of(token);
        let mask = app.random().map_err(|failure| ErrorPage::new(&failure.into(), &request, None))?;
        let csrf = secret.masked(mask);
        match Caller::from_token(token, parts, app).await {
            Ok(caller) => {
                let setup_pending = !request.is_partial && setup::is_pending(app, caller.tenant()).await;
                Ok(Self { caller, request, secret, csrf, setup_pending })
            }
            Err(problem) if problem.code() == Code::PermissionDenied => {
                let reader = Caller::<Read>::from_token(token, parts, app).await.ok();
                Err(ErrorPage::new(&problem, &request, reader.map(|reader| SignedIn::new(&reader, &csrf))))
            }
            Err(problem) if problem.code().status() == StatusCode::UNAUTHORIZED => {
                Err(ErrorPage::sign_in(&request, Some(&problem)))
            }
            Err(problem) => Err(ErrorPage::new(&problem, &request, None)),
        }
    }
}

/// The visitor of a page that is the same for everybody: a signed-in user, or nobody.
pub(crate) struct Visitor {
    request: PageRequest,
    user: Option<SignedIn>,
}

impl Visitor {
    pub(super) fn layout(self, title: &'static str) -> Layout {
        Layout::new(&self.request, NavItem::None, title, self.user)
    }
}

impl<B: Backend> FromRequestParts<App<B>> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App<B>) -> Result<Self, Infallible> {
        let session = Session::<Read>::from_request_parts(parts, app).await.ok();
        Ok(Self { request: PageRequest::from_parts(parts), user: session.map(|session| session.user()) })
    }
}

/// Whether the pages run on the browser's own machine, where there is no TLS and so no secure cookie.
fn is_local(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost" | "[::1]")
}

/// The prefix `__Host-` makes browsers refuse the cookie from subdomains and without TLS, by RFC 6265bis.
fn cookie_name(headers: &HeaderMap) -> &'static str {
    if is_local(headers) { "audit-log-session" } else { "__Host-audit-log-session" }
}

/// The value of `Set-Cookie`.
pub(super) fn set_cookie(headers: &HeaderMap, token: &str, expires_at: DateTime<Utc>, now: DateTime<Utc>) -> String {
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
