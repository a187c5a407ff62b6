//! What a request for a page says about itself: how deep its path is, whether a script sent it, and from which site.

use axum::extract::MatchedPath;
use http::{HeaderMap, header, request::Parts};

/// The query of the first page after signing out.
pub(super) const SIGNED_OUT: &str = "signedOut=yes";

/// `../` as often as a path that has no page may need.
const UP: &str = "../../../../../../../../../../../../../../../../";

/// The address of the page whose script sends a request, by "Reference" of htmx, section "Request Headers".
const PAGE_ADDRESS: &str = "hx-current-url";

/// Where a browser says that a request comes from, by "Fetch Metadata Request Headers".
const FETCH_SITE: &str = "sec-fetch-site";
const SAME_ORIGIN: &str = "same-origin";

#[derive(Clone, Copy)]
pub(crate) struct PageRequest {
    /// Leads from the path of the page that is shown up to the root of the pages, wherever a gateway has put that.
    pub(super) root: &'static str,
    /// Whether the page's own script asks, for a part of it.
    pub(super) is_partial: bool,
    pub(super) is_signed_out: bool,
}

impl PageRequest {
    pub(super) fn from_parts(parts: &Parts) -> Self {
        // Where there is no page, there is no matched path.
        let path = parts.extensions.get::<MatchedPath>().map_or(parts.uri.path(), MatchedPath::as_str);
        let is_partial = parts.headers.contains_key("hx-request");
        // Forms post to deeper paths than the pages are at that ask for a part.
        let path = if is_partial && !is_shown_at(path, &parts.headers) { "/" } else { path };
        let root = match path.matches('/').count() {
            0 | 1 => "./",
            depth => UP.get(..(depth - 1) * "../".len()).unwrap_or(UP),
        };
        let is_signed_out = parts.uri.query().is_some_and(|query| query == SIGNED_OUT);
        Self { root, is_partial, is_signed_out }
    }
}

/// Whether the browser shows the page at a path, which a gateway may have put below others.
fn is_shown_at(path: &str, headers: &HeaderMap) -> bool {
    let address = headers.get(PAGE_ADDRESS).and_then(|value| value.to_str().ok()).unwrap_or_default();
    address.split(['?', '#']).next().is_some_and(|address| address.ends_with(path))
}

/// Whether the browser states that a page of this origin sent the request, in a header that no page can set.
pub(super) fn is_surely_same_origin(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site == SAME_ORIGIN)
}

/// Who sent a request, as the browser states it.
pub(super) enum Sender<'a> {
    /// A page of this site, the address bar, or a program that is no browser.
    ThisSite,
    /// A page of another site, with its origin. Browsers name a page that hides it `null`.
    OtherSite(&'a str),
}

impl<'a> Sender<'a> {
    /// Old browsers send only `Origin`. By that, only pages of this very origin are of this site.
    pub(super) fn from_headers(headers: &'a HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        let origin = text(header::ORIGIN.as_str());
        match text(FETCH_SITE) {
            Some(SAME_ORIGIN | "same-site" | "none") => Self::ThisSite,
            None if may_be_same_origin(headers) => Self::ThisSite,
            _ => Self::OtherSite(origin.unwrap_or("null")),
        }
    }
}

/// Whether nothing says that another origin sent the request. Old browsers send only `Origin`, other programs neither header;
/// the CSRF token is checked in any case.
pub(super) fn may_be_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    match (text(FETCH_SITE), text(header::ORIGIN.as_str())) {
        (Some(site), _) => site == SAME_ORIGIN,
        (None, Some(origin)) => {
            origin.split_once("://").is_some_and(|(_, host)| Some(host) == text(header::HOST.as_str()))
        }
        (None, None) => true,
    }
}
