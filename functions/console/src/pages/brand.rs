//! What the platform has chosen for all pages: name, logo, colors, who may frame them, and where users sign in.

use std::sync::{Arc, LazyLock};

use audit_log_web::problem::{Code, Problem};
use axum::{
    Extension,
    extract::Path,
    response::{IntoResponse as _, Response},
};
use http::{Extensions, HeaderMap, HeaderValue};
use url::Url;

use super::{
    assets::{self, Asset},
    palette::{self, DEFAULT_ACCENT},
    return_path::ReturnPath,
};
use crate::embedding::Embedding;

pub(crate) struct Brand {
    pub(super) product_name: String,
    pub(super) logo: Option<Url>,
    /// Sets the colors, unless they are the default ones.
    style: Option<Asset>,
    icon: Asset,
    /// The header `Content-Security-Policy` of each page.
    pub(super) policy: HeaderValue,
    sign_in: Option<Url>,
}

static DEFAULT: LazyLock<Arc<Brand>> = LazyLock::new(|| Arc::new(Brand::new(&Embedding::default())));

impl Brand {
    pub(crate) fn new(embedding: &Embedding) -> Self {
        let Embedding { product_name, logo, accent, frame_ancestors, sign_in } = embedding;
        let accent_or_default = accent.unwrap_or(DEFAULT_ACCENT);
        Self {
            product_name: product_name.clone(),
            style: accent.map(|accent| Asset::stylesheet("colors", palette::stylesheet(accent))),
            icon: Asset::icon(palette::favicon(accent_or_default)),
            policy: policy(logo.as_ref(), frame_ancestors),
            logo: logo.clone(),
            sign_in: sign_in.clone(),
        }
    }

    /// That of the router; without one, the default.
    pub(super) fn of(extensions: &Extensions) -> Arc<Self> {
        extensions.get::<Arc<Self>>().unwrap_or(&DEFAULT).clone()
    }

    pub(super) fn style(&self) -> Option<&str> {
        self.style.as_ref().map(Asset::name)
    }

    pub(super) fn icon(&self) -> &str {
        self.icon.name()
    }

    fn assets(&self) -> impl Iterator<Item = &Asset> {
        self.style.iter().chain([&self.icon])
    }

    /// The address of the platform's page that signs in, with the path to return to.
    pub(super) fn sign_in(&self, path: &ReturnPath) -> Option<String> {
        let mut address = self.sign_in.clone()?;
        address.query_pairs_mut().append_pair("path", &path.to_string());
        Some(address.into())
    }
}

/// Browsers load nothing from elsewhere but the logo, and only the platform's own pages may frame these.
fn policy(logo: Option<&Url>, frame_ancestors: &[String]) -> HeaderValue {
    let logo = logo.map(|logo| format!(" {}", logo.origin().ascii_serialization())).unwrap_or_default();
    let ancestors = if frame_ancestors.is_empty() { "'none'".to_owned() } else { frame_ancestors.join(" ") };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'{logo}; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
    );
    // Origins are ASCII, so there is always a value. Without one, nothing may run.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

/// A stylesheet, a script or the icon. Needs no session.
pub(super) async fn asset(
    Extension(brand): Extension<Arc<Brand>>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    match assets::fixed().into_iter().chain(brand.assets()).find(|asset| asset.name() == name) {
        Some(asset) => asset.response(&headers),
        None => Problem::new(Code::NotFound, "There is no such file.").into_response(),
    }
}
