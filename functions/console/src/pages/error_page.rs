//! Refusals as pages: an error, a request to sign in, and forms that can be resubmitted after signing in again.

use askama::Template;
use audit_log_web::problem::{Code, Problem};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{
    layout::{Alert, Layout, NavItem, SignedIn, html, title},
    request::PageRequest,
    settings_form::label,
    text::shown,
};

/// A refusal as a page. To the page's own script, it is a notice at the top, and everything else on the page stays.
pub(crate) struct ErrorPage(Box<Response>);

#[derive(Template)]
#[template(path = "message.html")]
struct MessagePage {
    layout: Layout,
    alert: Alert,
}

#[derive(Template)]
#[template(path = "resubmit.html")]
struct ResubmitPage {
    layout: Layout,
    alert: Alert,
    path: String,
    fields: Vec<(String, String)>,
}

impl ResubmitPage {
    /// The labels and values of the fields that were filled in.
    fn filled_in(&self) -> Vec<(&'static str, &String)> {
        let filled_in = self.fields.iter().filter(|(_, value)| !value.is_empty());
        filled_in.filter_map(|(name, value)| Some((label(name)?, value))).collect()
    }
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    layout: Layout,
    is_signed_out: bool,
    reason: Option<String>,
    /// The platform's page that signs in, if it is known.
    sign_in: Option<String>,
}

impl ErrorPage {
    pub(super) fn new(problem: &Problem, request: &PageRequest, user: Option<SignedIn>) -> Self {
        let (title, status) = (title(problem.code()), problem.code().status());
        let alert = Alert { title: title.to_owned(), detail: detail(problem), ..Alert::from_problem(problem) };
        let mut response = if request.is_partial {
            notice(status, &alert)
        } else {
            html(status, &MessagePage { layout: layout(request, title, user), alert })
        };
        if let Some(wait) = problem.wait() {
            response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
        }
        Self(Box::new(response))
    }

    /// Asks to sign in. `problem` is what is wrong with the access token, if there is one.
    pub(super) fn sign_in(request: &PageRequest, problem: Option<&Problem>) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        Self(Box::new(if request.is_partial {
            let detail =
                "Sign in again in another tab, then continue here. Keep this page open: your input stays here.";
            let sign_in = request.brand.sign_in(&request.return_path);
            notice(status, &Alert { tone: "bad", sign_in, ..Alert::good("Your session has ended", detail) })
        } else {
            let reason = problem.map(detail);
            let is_signed_out = request.is_signed_out && reason.is_none();
            let sign_in = request.brand.sign_in(&request.return_path);
            html(status, &SignInPage { layout: layout(request, "Sign in", None), is_signed_out, reason, sign_in })
        }))
    }

    /// Answers a form whose session has ended, and keeps its fields. Only for forms that surely come from these pages. The
    /// next session differs, so [`ErrorPage::confirm_resubmit`] asks before anything is changed.
    pub(super) fn session_ended(request: &PageRequest, path: &str, fields: Vec<(String, String)>) -> Self {
        if request.is_partial {
            return Self::sign_in(request, None);
        }
        let sign_in = request.brand.sign_in(&request.return_path);
        let how = match sign_in {
            Some(_) => "Sign in again in another tab.",
            None => "In another tab, open this page from your product to sign in.",
        };
        let detail = format!("{how} Then continue here. Nothing was changed, and your input is still here.");
        let alert = Alert { tone: "warn", sign_in, ..Alert::good("Your session has ended", &detail) };
        let layout = layout(request, "Sign in to resubmit your changes", None);
        let fields = fields.into_iter().filter(|(name, _)| name != "csrf").collect();
        let page = ResubmitPage { layout, alert, path: path.trim_start_matches('/').to_owned(), fields };
        Self(Box::new(html(StatusCode::UNAUTHORIZED, &page)))
    }

    /// Asks whether to resubmit a form of an earlier session. `made_for` is the tenant that the form names, or blank.
    pub(super) fn confirm_resubmit(
        problem: &Problem,
        request: &PageRequest,
        user: SignedIn,
        made_for: &str,
        path: &str,
        fields: Vec<(String, String)>,
    ) -> Self {
        let tenant = &user.tenant;
        let (tone, title, detail) = if made_for.is_empty() || made_for == tenant {
            let detail = format!("Nothing was changed yet. If you resubmit, the changes apply to the tenant {tenant}.");
            ("info", "You signed in again", detail)
        } else {
            let detail = format!(
                "The page was for the tenant {}. You are now signed in for the tenant {tenant}. Nothing was changed yet. If \
                you resubmit, the changes apply to {tenant}.",
                shown(made_for, 80)
            );
            ("warn", "You signed in for another tenant", detail)
        };
        let alert = Alert { tone, title: title.to_owned(), detail, ..Alert::from_problem(problem) };
        let fields = fields.into_iter().filter(|(name, _)| !matches!(name.as_str(), "csrf" | "tenant")).collect();
        let layout = layout(request, "Resubmit your changes?", Some(user));
        let page = ResubmitPage { layout, alert, path: path.to_owned(), fields };
        Self(Box::new(html(problem.code().status(), &page)))
    }

    pub(super) fn is_unauthorized(&self) -> bool {
        self.0.status() == StatusCode::UNAUTHORIZED
    }
}

impl IntoResponse for ErrorPage {
    fn into_response(self) -> Response {
        *self.0
    }
}

fn detail(problem: &Problem) -> String {
    let ask = "Ask an administrator of your product for it.";
    match (problem.code(), problem.missing_scope()) {
        (Code::PermissionDenied, Some(scope)) => format!("Your account lacks the permission {scope}. {ask}"),
        (Code::InvalidParameter, _) => "Open the page from the menu.".to_owned(),
        (Code::MissingToken | Code::ExpiredToken, _) => "Your session has expired. Sign in again.".to_owned(),
        (Code::InvalidToken, _) => "Your sign-in is not valid. Sign in again.".to_owned(),
        _ => Alert::from_problem(problem).detail,
    }
}

fn layout(request: &PageRequest, title: &'static str, user: Option<SignedIn>) -> Layout {
    Layout::new(request, NavItem::None, title, user)
}

fn notice(status: StatusCode, alert: &Alert) -> Response {
    let mut response = html(status, alert);
    for (name, value) in [("hx-retarget", "#notice"), ("hx-reswap", "innerHTML"), ("hx-reselect", ".alert")] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
