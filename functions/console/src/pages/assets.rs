//! The stylesheet and the scripts. Each name contains a digest of the content, so that browsers may cache it forever.

use std::sync::LazyLock;

use audit_log_web::problem::{Code, Problem};
use axum::{
    extract::Path,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, header};
use sha2::{Digest, Sha256};

struct Asset {
    name: String,
    media_type: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, extension: &str, media_type: &'static str, content: &'static str) -> Self {
        let digest: String = Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { name: format!("{stem}-{digest}.{extension}"), media_type, content }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("pages", "css", "text/css; charset=utf-8", include_str!("../../assets/pages.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("pages", "js", "text/javascript; charset=utf-8", include_str!("../../assets/pages.js"))
});
static HTMX: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("htmx-2.0.8", "js", "text/javascript; charset=utf-8", include_str!("../../assets/htmx-2.0.8.min.js"))
});

pub(super) fn style() -> &'static str {
    &STYLE.name
}

pub(super) fn script() -> &'static str {
    &SCRIPT.name
}

pub(super) fn htmx() -> &'static str {
    &HTMX.name
}

/// Needs no session.
pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let Some(asset) = [&STYLE, &SCRIPT, &HTMX].into_iter().find(|asset| asset.name == name) else {
        return Problem::new(Code::NotFound, "There is no such file.").into_response();
    };
    let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
    let media_type = HeaderValue::from_static(asset.media_type);
    ([(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, forever)], asset.content).into_response()
}
