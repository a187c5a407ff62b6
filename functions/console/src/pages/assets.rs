//! The stylesheets, the scripts and the icon. Each name contains a digest of the content, so that browsers may cache it
//! forever.

use std::{
    borrow::Cow,
    sync::{LazyLock, OnceLock},
};

use audit_log_web::compression::{accepts_gzip, gzip};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use sha2::{Digest, Sha256};

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The best, since each file is compressed only once.
const LEVEL: u32 = 9;

pub(super) struct Asset {
    name: String,
    media_type: &'static str,
    content: Cow<'static, str>,
    compressed: OnceLock<Vec<u8>>,
}

impl Asset {
    fn new(stem: &str, extension: &str, media_type: &'static str, content: impl Into<Cow<'static, str>>) -> Self {
        let content = content.into();
        let digest: String =
            Sha256::digest(content.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{stem}-{digest}.{extension}"), media_type, content, compressed: OnceLock::new() }
    }

    pub(super) fn stylesheet(stem: &str, content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(stem, "css", CSS, content)
    }

    pub(super) fn icon(content: String) -> Self {
        Self::new("icon", "svg", SVG, content)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn response(&self, headers: &HeaderMap) -> Response {
        let fixed =
            [(header::CONTENT_TYPE, self.media_type), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
        if !accepts_gzip(headers) {
            return (fixed, self.content.clone().into_owned()).into_response();
        }
        let compressed = self.compressed.get_or_init(|| gzip(self.content.as_bytes(), LEVEL)).clone();
        let encoding = [(header::CONTENT_ENCODING, "gzip"), (header::VARY, "accept-encoding")];
        (fixed, encoding, compressed).into_response()
    }
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| Asset::stylesheet("pages", include_str!("../../assets/pages.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("pages", "js", JAVASCRIPT, include_str!("../../assets/pages.js")));
static HTMX: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("htmx-2.0.8", "js", JAVASCRIPT, include_str!("../../assets/htmx-2.0.8.min.js")));

pub(super) fn style() -> &'static str {
    &STYLE.name
}

pub(super) fn script() -> &'static str {
    &SCRIPT.name
}

pub(super) fn htmx() -> &'static str {
    &HTMX.name
}

/// What all deployments have.
pub(super) fn fixed() -> [&'static Asset; 3] {
    [&STYLE, &SCRIPT, &HTMX]
}
