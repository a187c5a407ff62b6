//! What all pages have in common: the frame, refusals, and how a template becomes an answer.

use askama::Template;
use audit_log_core::failure::Party;
use audit_log_web::{caller::Caller, problem::Problem};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};

use super::{assets, session::Asked, settings::label, text::shown};

/// What stands around a page's content.
pub(crate) struct Frame {
    /// Leads up to the root of the pages.
    pub(super) root: &'static str,
    /// Which entry of the menu is the page's.
    pub(super) place: Place,
    /// The page's title.
    pub(super) title: &'static str,
    /// Who is signed in.
    pub(super) user: Option<SignedIn>,
}

impl Frame {
    pub(super) fn style(&self) -> &'static str {
        assets::style()
    }

    pub(super) fn script(&self) -> &'static str {
        assets::script()
    }

    pub(super) fn htmx(&self) -> &'static str {
        assets::htmx()
    }

    /// The attribute of a menu entry that says whether one is there.
    pub(super) fn current(&self, place: Place) -> &'static str {
        if self.place == place { "page" } else { "false" }
    }
}

/// An entry of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Logs,
    Status,
    Connector,
    Settings,
    Nowhere,
}

/// Who is signed in.
pub(crate) struct SignedIn {
    pub(super) tenant: String,
    pub(super) who: String,
    pub(super) admin: bool,
    pub(super) csrf: String,
}

impl SignedIn {
    pub(super) fn of<P>(caller: &Caller<P>, csrf: &str) -> Self {
        let actor = caller.actor();
        let who = actor.email.as_ref().or(actor.name.as_ref()).unwrap_or(&actor.id);
        Self {
            tenant: caller.tenant().to_string(),
            who: shown(who, 80),
            admin: caller.permissions().admin,
            csrf: csrf.to_owned(),
        }
    }
}

/// Something that went wrong, or well, in words.
#[derive(Template)]
#[template(path = "alert.html")]
pub(crate) struct Alert {
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) hint: Option<String>,
    pub(super) turn: Option<&'static str>,
}

impl Alert {
    pub(super) fn good(title: &str, detail: &str) -> Self {
        Self { tone: "good", title: title.to_owned(), detail: detail.to_owned(), hint: None, turn: None }
    }

    pub(super) fn of(problem: &Problem) -> Self {
        let fields = problem.errors().iter().map(|error| format!(" {}: {}.", error.field, error.message));
        let wait = problem.wait().map(|wait| format!("Try again in {} seconds.", wait.as_secs().max(1)));
        Self {
            tone: "bad",
            title: problem.code().title().to_owned(),
            detail: fields.fold(problem.detail().to_owned(), |detail, field| detail + &field),
            hint: problem.what_to_do().map(str::to_owned).or(wait),
            turn: problem.whose_turn().map(turn),
        }
    }
}

/// Who has to act, for a customer's admin who reads it.
pub(super) fn turn(party: Party) -> &'static str {
    match party {
        Party::Customer => "Your turn",
        Party::Platform => "The platform's turn",
    }
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    alert: Alert,
}

#[derive(Template)]
#[template(path = "again.html")]
struct Again {
    frame: Frame,
    alert: Alert,
    path: String,
    fields: Vec<(String, String)>,
}

impl Again {
    /// What was typed, by what the fields are called on their pages.
    fn typed(&self) -> Vec<(&'static str, &String)> {
        let typed = self.fields.iter().filter(|(_, value)| !value.is_empty());
        typed.filter_map(|(name, value)| Some((label(name)?, value))).collect()
    }
}

#[derive(Template)]
#[template(path = "signin.html")]
struct SignInPage {
    frame: Frame,
    /// Whether this is what signing out has led to.
    left: bool,
    why: Option<String>,
}

/// A refusal as a page, or as a part of one.
pub(crate) struct Refused(Box<Response>);

impl Refused {
    /// Whether signing in would help.
    pub(super) fn is_for_the_lack_of_a_session(&self) -> bool {
        self.0.status() == StatusCode::UNAUTHORIZED
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// A template as an answer.
pub(super) fn html<T: Template>(status: StatusCode, page: &T) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(reason = %error, "a page can't be rendered");
            Problem::unavailable().into_response()
        }
    }
}

/// A refusal. What the page's script asked for in part is answered with a note at the top of the page, and everything
/// else stays as it is.
pub(super) fn refused(problem: &Problem, request: Asked, user: Option<SignedIn>) -> Refused {
    let (alert, status) = (Alert::of(problem), problem.code().status());
    let mut response = if request.partly {
        note(status, &alert)
    } else {
        let frame = Frame { root: request.root, place: Place::Nowhere, title: problem.code().title(), user };
        html(status, &Message { frame, alert })
    };
    if let Some(wait) = problem.wait() {
        response.headers_mut().insert(header::RETRY_AFTER, wait.as_secs().into());
    }
    Refused(Box::new(response))
}

/// The same for a form that may be sent again as it is. `made_for` is the tenant that it was made for, as far as it says.
pub(super) fn confirmed(
    problem: &Problem,
    request: Asked,
    user: SignedIn,
    made_for: &str,
    path: &str,
    sent: Vec<(String, String)>,
) -> Refused {
    let tenant = user.tenant.clone();
    let another = !made_for.is_empty() && made_for != tenant;
    let (tone, title, detail) = if another {
        let made_for = shown(made_for, 80);
        let detail = format!(
            "That page was of the tenant {made_for}, and now you are signed in for the tenant {tenant}. Sent again, this \
            changes {tenant}. Nothing was changed yet, and what you typed is still here."
        );
        ("warn", "You are signed in for another tenant now", detail)
    } else {
        let detail = format!(
            "Nothing was changed yet, and what you typed is still here. Sent again, it counts for the tenant {tenant}."
        );
        ("info", "You have signed in anew since you opened that page", detail)
    };
    let frame = Frame { root: request.root, place: Place::Nowhere, title: "Send it again?", user: Some(user) };
    let fields = sent.into_iter().filter(|(name, _)| !matches!(name.as_str(), "csrf" | "tenant")).collect();
    let alert = Alert { tone, title: title.to_owned(), detail, ..Alert::of(problem) };
    let page = Again { frame, alert, path: path.to_owned(), fields };
    Refused(Box::new(html(problem.code().status(), &page)))
}

/// The answer to a form that one of these pages has surely sent, but whose session has ended: it keeps what was typed.
/// Whoever signs in again has another session, and is asked by [`confirmed`] whether to send it again.
pub(super) fn signed_out_meanwhile(request: Asked, path: &str, sent: Vec<(String, String)>) -> Refused {
    if request.partly {
        return signed_out(request, None);
    }
    let detail = "Sign in again in another tab: open these pages there from the product that you use them with. Then go \
        on here. Nothing was changed yet, and what you typed is still here.";
    let alert = Alert { tone: "warn", ..Alert::good("Your session has ended", detail) };
    let frame = Frame { root: request.root, place: Place::Nowhere, title: "Sign in and send it again", user: None };
    let fields = sent.into_iter().filter(|(name, _)| name != "csrf").collect();
    let page = Again { frame, alert, path: path.trim_start_matches('/').to_owned(), fields };
    Refused(Box::new(html(StatusCode::UNAUTHORIZED, &page)))
}

/// The page of whoever is not signed in, or no longer.
pub(super) fn signed_out(request: Asked, problem: Option<&Problem>) -> Refused {
    let status = StatusCode::UNAUTHORIZED;
    Refused(Box::new(if request.partly {
        let detail = "Sign in again in another tab, and go on here. Leave this page open: what you typed stays here.";
        let title = "Your session has ended".to_owned();
        note(status, &Alert { tone: "bad", title, detail: detail.to_owned(), hint: None, turn: None })
    } else {
        let frame = Frame { root: request.root, place: Place::Nowhere, title: "Sign in", user: None };
        let why = problem.map(|problem| problem.detail().to_owned());
        html(status, &SignInPage { frame, left: request.left && why.is_none(), why })
    }))
}

fn note(status: StatusCode, alert: &Alert) -> Response {
    let mut response = html(status, alert);
    for (name, value) in [("hx-retarget", "#notice"), ("hx-reswap", "innerHTML"), ("hx-reselect", ".alert")] {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}
