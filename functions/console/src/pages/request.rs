//! What a request for a page says about itself: how deep its path is, whether a script sent it, and from which site.

use std::sync::Arc;

use http::{HeaderMap, header, request::Parts};

use super::{brand::Brand, return_path::ReturnPath};

/// The query of the first page after signing in and after signing out.
pub(super) const SIGNED_IN: &str = "signedIn=yes";
pub(super) const SIGNED_OUT: &str = "signedOut=yes";

/// `../` as often as a path that has no page may need.
const UP: &str = "../../../../../../../../../../../../../../../../";

/// By which a page tells what leads from it up to the root, when its script asks for a part of it. The path of such a request
/// may be deeper than that of the page.
const PAGE_ROOT: &str = "page-root";

/// Where a browser says that a request comes from, by "Fetch Metadata Request Headers".
const FETCH_SITE: &str = "sec-fetch-site";
const SAME_ORIGIN: &str = "same-origin";

#[derive(Clone)]
pub(crate) struct PageRequest {
    pub(super) brand: Arc<Brand>,
    /// Leads from the path of the page that is shown up to the root of the pages, wherever a gateway has put that.
    pub(super) root: &'static str,
    /// Whether the page's own script asks, for a part of it.
    pub(super) is_partial: bool,
    /// Whether this is the first page after signing in.
    pub(super) is_signed_in: bool,
    pub(super) is_signed_out: bool,
    /// Where a sign-in leads.
    pub(super) return_path: ReturnPath,
}

impl PageRequest {
    pub(super) fn from_parts(parts: &Parts) -> Self {
        let is_partial = parts.headers.contains_key("hx-request");
        let sent_root = parts.headers.get(PAGE_ROOT).filter(|_| is_partial).and_then(|value| value.to_str().ok());
        // The part of the path below a router's prefix, if it has one.
        let depth = parts.uri.path().matches('/').count();
        let has = |parameter| parts.uri.query().is_some_and(|query| query.split('&').any(|it| it == parameter));
        Self {
            brand: Brand::of(&parts.extensions),
            root: sent_root.and_then(known_root).unwrap_or_else(|| root_of_depth(depth)),
            is_partial,
            is_signed_in: has(SIGNED_IN),
            is_signed_out: has(SIGNED_OUT),
            return_path: ReturnPath::from_uri(&parts.uri),
        }
    }
}

/// Leads from a path with so many slashes up to the root.
fn root_of_depth(slashes: usize) -> &'static str {
    match slashes {
        0 | 1 => "./",
        depth => UP.get(..(depth - 1) * "../".len()).unwrap_or(UP),
    }
}

/// A root that a page may have.
fn known_root(text: &str) -> Option<&'static str> {
    if text == "./" {
        return Some("./");
    }
    UP.get(..text.len()).filter(|root| !root.is_empty() && *root == text && root.ends_with('/'))
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
