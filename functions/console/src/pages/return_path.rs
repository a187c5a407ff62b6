//! Where a sign-in leads: the page that was asked for.

use std::fmt;

use http::Uri;
use url::form_urlencoded;

/// The pages to which a sign-in may lead, as paths below the root. No files: a download needs a click.
pub(crate) const PAGES: [&str; 12] = [
    "",
    "connector",
    "connector/disconnect",
    "connector/external-id",
    "event",
    "obstacles",
    "proof",
    "replay",
    "settings",
    "setup",
    "setup/steps",
    "status",
];

/// Longer queries than pages make.
const MAX_QUERY_BYTES: usize = 4_000;

/// The parameters by which a redirect tells the next page what was just done. A link with them must not claim it.
const NOTICES: [&str; 10] =
    ["signedIn", "signedOut", "slash", "saved", "connected", "tested", "disconnected", "rotated", "retry", "replay"];

/// A page and its query. It can't be another address: the path is one of [`PAGES`], and the query is encoded anew.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ReturnPath {
    page: &'static str,
    query: String,
}

impl ReturnPath {
    /// Reads a path with or without a slash at its beginning, or returns the first page for anything else.
    pub(super) fn parse(text: &str) -> Self {
        let text = text.split('#').next().unwrap_or_default();
        let text = text.strip_prefix('/').unwrap_or(text);
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let Some(page) = PAGES.into_iter().find(|page| *page == path) else { return Self::default() };
        let query = Some(query).filter(|query| query.len() <= MAX_QUERY_BYTES).unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !NOTICES.contains(&name.as_ref()));
        Self { page, query: form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish() }
    }

    pub(super) fn from_uri(uri: &Uri) -> Self {
        Self::parse(uri.path_and_query().map_or(uri.path(), |it| it.as_str()))
    }

    /// The path from a page with this root, with one more parameter.
    pub(super) fn location(&self, root: &str, parameter: &str) -> String {
        let separator = if self.query.is_empty() { "" } else { "&" };
        format!("{root}{}?{}{separator}{parameter}", self.page, self.query)
    }
}

/// The path below the root of the pages; blank for the first page.
impl fmt::Display for ReturnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.query.is_empty() { "" } else { "?" };
        write!(f, "{}{separator}{}", self.page, self.query)
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::*;

    #[test]
    fn pages_and_their_queries_are_kept() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("status", "status"),
            ("/status", "status"),
            ("connector/external-id", "connector/external-id"),
            ("?period=24h&q=a%20b&q=%C3%BC", "?period=24h&q=a+b&q=%C3%BC"),
            ("/status?pageToken=MjAy&signedIn=yes&signedOut=yes#head", "status?pageToken=MjAy"),
            ("?slash=added&period=24h", "?period=24h"),
            ("settings?saved=yes", "settings"),
            ("connector?connected=yes&tested=yes&disconnected=yes&rotated=yes", "connector"),
            ("status?retry=requested&replay=stopped", "status"),
        ] {
            assert_eq!(ReturnPath::parse(text).to_string(), path, "{text}");
        }
        assert_eq!(ReturnPath::parse("status?a=b").location("../", "signedIn=yes"), "../status?a=b&signedIn=yes");
        assert_eq!(ReturnPath::default().location("./", "signedIn=yes"), "./?signedIn=yes");
    }

    #[test]
    fn nothing_else_is_reached_from_any_base_path() {
        let long = format!("status?{}", "x".repeat(5_000));
        let hostile = [
            "//evil.example",
            "/\\evil.example",
            "\\\\evil.example\\status",
            "https://evil.example/status",
            "https:status",
            "javascript:alert(1)",
            "data:text/html,x",
            "../status",
            "./../../other",
            "..%2f..%2fother",
            "%2e%2e/other",
            "/.//evil.example",
            "status/../../other",
            "status/",
            "Status",
            "status%0d%0aset-cookie:x=y",
            "status\r\nLocation: https://evil.example",
            "status?\r\nLocation:%20https://evil.example",
            "status?x=\u{0}\u{7f}\u{2028}ü<>\"'\\",
            "?//evil.example",
            "?https://evil.example/",
            "#//evil.example",
            "session",
            "session/end",
            "audit-logs.csv",
            "v1/status",
            "assets/x",
            "@evil.example",
            ":80",
            "\u{a0}status",
            long.as_str(),
        ];
        for text in hostile {
            for base in ["https://a.example/session", "https://a.example/product/audit/session"] {
                let location = ReturnPath::parse(text).location("./", "signedIn=yes");
                let reached = Url::parse(base).unwrap().join(&location).unwrap();
                let root = Url::parse(base).unwrap().join("./").unwrap();
                let page = reached.as_str().strip_prefix(root.as_str()).unwrap_or_else(|| panic!("{text}: {reached}"));
                assert!(PAGES.contains(&page.split('?').next().unwrap()), "{text}: {reached}");
                assert!(http::HeaderValue::from_str(&location).is_ok(), "{text}: {location}");
                assert!(location.bytes().all(|byte| byte.is_ascii_graphic()) && location.len() < 8_000, "{location}");
            }
        }
    }
}
