//! What all pages share: the layout around their content, badges, alerts, and how a template becomes a response.

use std::sync::Arc;

use askama::Template;
use audit_log_core::failure::Party;
use audit_log_web::{
    caller::Caller,
    problem::{Code, Problem},
};
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use super::{assets, brand::Brand, request::PageRequest, text::shown};
use crate::status::ExportState;

/// The frame around a page's content.
pub(crate) struct Layout {
    /// Leads up to the root of the pages.
    pub(super) root: &'static str,
    pub(super) nav_item: NavItem,
    pub(super) title: &'static str,
    pub(super) user: Option<SignedIn>,
    pub(super) brand: Arc<Brand>,
    /// Names tenant and user on the first page after signing in, since other sites can sign a browser in, too.
    pub(super) welcome: Option<Alert>,
}

impl Layout {
    pub(super) fn new(request: &PageRequest, nav_item: NavItem, title: &'static str, user: Option<SignedIn>) -> Self {
        let welcome = user.as_ref().filter(|_| request.is_signed_in).map(|user| {
            Alert::good(&format!("You are now signed in for the tenant {}", user.tenant), &format!("As {}.", user.name))
        });
        Self { root: request.root, nav_item, title, user, brand: request.brand.clone(), welcome }
    }

    pub(super) fn style(&self) -> &'static str {
        assets::style()
    }

    pub(super) fn script(&self) -> &'static str {
        assets::script()
    }

    pub(super) fn htmx(&self) -> &'static str {
        assets::htmx()
    }

    /// Whether the menu begins with the setup.
    pub(super) fn leads_to_setup(&self) -> bool {
        self.user.as_ref().is_some_and(|user| user.admin && user.setup_pending)
    }

    /// The address of the audit logs. Without a query, it leads to the setup while that is pending.
    pub(super) fn logs(&self) -> String {
        format!("{}{}", self.root, if self.leads_to_setup() { "?period=7d" } else { "" })
    }

    /// Whether the page says what to ask an administrator for.
    pub(super) fn asks_for_setup(&self) -> bool {
        let is_landing = matches!(self.nav_item, NavItem::Logs | NavItem::Status);
        is_landing && self.user.as_ref().is_some_and(|user| !user.admin && user.setup_pending)
    }

    /// The value of a menu entry's `aria-current`.
    pub(super) fn current(&self, nav_item: NavItem) -> &'static str {
        if self.nav_item == nav_item { "page" } else { "false" }
    }
}

/// An entry of the menu.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NavItem {
    Setup,
    Logs,
    Status,
    Connector,
    Settings,
    None,
}

/// Who is signed in, as pages show it.
pub(crate) struct SignedIn {
    pub(super) tenant: String,
    pub(super) name: String,
    pub(super) admin: bool,
    pub(super) csrf: String,
    /// Whether exports are still to be set up.
    pub(super) setup_pending: bool,
}

impl SignedIn {
    pub(super) fn new<P>(caller: &Caller<P>, csrf: &str) -> Self {
        let actor = caller.actor();
        let name = actor.email.as_ref().or(actor.name.as_ref()).unwrap_or(&actor.id);
        Self {
            tenant: caller.tenant().to_string(),
            name: shown(name, 80),
            admin: caller.permissions().admin,
            csrf: csrf.to_owned(),
            setup_pending: false,
        }
    }
}

/// A state in a word or two.
pub(super) struct Badge {
    pub(super) tone: &'static str,
    pub(super) text: &'static str,
}

impl From<ExportState> for Badge {
    fn from(state: ExportState) -> Self {
        let (tone, text) = match state {
            ExportState::Disconnected => ("warn", "Disconnected"),
            ExportState::NotConnected => ("quiet", "Not connected"),
            ExportState::Failing => ("bad", "Failing"),
            ExportState::Retrying => ("warn", "Retrying"),
            ExportState::NotVerified => ("warn", "Not verified"),
            ExportState::WaitingForFirstExport => ("info", "Waiting for the first export"),
            ExportState::Healthy => ("good", "Exporting"),
        };
        Self { tone, text }
    }
}

/// A page's words for what the API calls by its own.
pub(super) fn title(code: Code) -> &'static str {
    match code {
        Code::NotFound => "Page not found",
        Code::MethodNotAllowed => "There is no page at this address",
        Code::InvalidParameter => "This address is not valid",
        Code::MalformedBody => "The form could not be read",
        Code::BodyTooLarge => "That is too long",
        Code::ConnectorRequired => "No role is connected",
        code => code.title(),
    }
}

/// What went well or wrong.
#[derive(Template)]
#[template(path = "alert.html")]
pub(crate) struct Alert {
    pub(super) tone: &'static str,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) hint: Option<String>,
    pub(super) party: Option<&'static str>,
    /// Where to connect a role, if that is missing.
    pub(super) connector: Option<String>,
    /// The platform's page that signs in, for another tab.
    pub(super) sign_in: Option<String>,
}

impl Alert {
    pub(super) fn good(title: &str, detail: &str) -> Self {
        Self {
            tone: "good",
            title: title.to_owned(),
            detail: detail.to_owned(),
            hint: None,
            party: None,
            connector: None,
            sign_in: None,
        }
    }

    pub(super) fn from_problem(problem: &Problem) -> Self {
        let detail = match problem.code() {
            // The parameters' names are words of the API.
            Code::InvalidParameter if !problem.errors().is_empty() => {
                "Go back to the page before, and choose again.".to_owned()
            }
            Code::ConnectorRequired => "Connect a role first.".to_owned(),
            _ => {
                let fields = problem.errors().iter().map(|error| format!(" {}: {}.", error.field, error.message));
                fields.fold(problem.detail().to_owned(), |detail, field| detail + &field)
            }
        };
        let wait = problem.wait().map(|wait| format!("Try again in {} seconds.", wait.as_secs().max(1)));
        Self {
            tone: "bad",
            title: title(problem.code()).to_owned(),
            detail,
            hint: problem.what_to_do().map(str::to_owned).or(wait),
            party: problem.acting_party().map(|party| match party {
                Party::Customer => "Action needed",
                Party::Platform => "Platform issue",
            }),
            connector: None,
            sign_in: None,
        }
    }
}

pub(super) fn html<T: Template>(status: StatusCode, page: &T) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!(reason = %error, "a page can't be rendered");
            Problem::unavailable().into_response()
        }
    }
}
