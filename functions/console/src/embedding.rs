//! How the pages fit into the platform's own product: name, logo, color, frames, and where users sign in.

use audit_log_core::deployment::ConfigError;
use url::Url;

/// The name where the platform gives none.
const PRODUCT_NAME: &str = "Audit log export";

/// The menu has room for about that much.
const MAX_NAME_CHARS: usize = 32;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// `PRODUCT_NAME`: what the pages call themselves, in their titles as well.
    pub product_name: String,
    /// `LOGO_URL`: an image beside the name.
    pub logo: Option<Url>,
    /// `ACCENT_COLOR`: of links, buttons and charts.
    pub accent: Option<Color>,
    /// `FRAME_ANCESTORS`: the origins whose pages may show these in a frame.
    pub frame_ancestors: Vec<String>,
    /// `SIGN_IN_URL`: the platform's page that signs its users in to these.
    pub sign_in: Option<Url>,
}

impl Default for Embedding {
    fn default() -> Self {
        let (product_name, frame_ancestors) = (PRODUCT_NAME.to_owned(), Vec::new());
        Self { product_name, logo: None, accent: None, frame_ancestors, sign_in: None }
    }
}

impl Embedding {
    /// # Errors
    /// If a variable can't be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let set = |name: &str| lookup(name).filter(|text| !text.trim().is_empty());
        let product_name = set("PRODUCT_NAME").map_or_else(|| PRODUCT_NAME.to_owned(), |name| name.trim().to_owned());
        if product_name.chars().count() > MAX_NAME_CHARS || product_name.chars().any(char::is_control) {
            let rule =
                format!("has at most {MAX_NAME_CHARS} characters, and no line breaks or other control characters");
            return Err(ConfigError::new("PRODUCT_NAME", rule));
        }
        let wrong_color =
            || ConfigError::new("ACCENT_COLOR", "is a color such as #2f4fd0, a number sign and six hex digits");
        Ok(Self {
            product_name,
            logo: url(&lookup, "LOGO_URL")?,
            accent: set("ACCENT_COLOR").map(|text| Color::parse(&text).ok_or_else(wrong_color)).transpose()?,
            frame_ancestors: origins(&lookup, "FRAME_ANCESTORS")?,
            sign_in: url(&lookup, "SIGN_IN_URL")?,
        })
    }
}

/// A color in sRGB: red, green, blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color(pub(crate) [u8; 3]);

impl Color {
    /// `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        let digits =
            text.strip_prefix('#').filter(|it| it.len() == 6 && it.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let channel = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self([channel(0)?, channel(2)?, channel(4)?]))
    }
}

impl std::fmt::Display for Color {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self([red, green, blue]) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// An https URL. Only the browser's own machine may do without TLS.
fn url(lookup: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<Option<Url>, ConfigError> {
    let Some(text) = lookup(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    let is_usable =
        |url: &Url| is_protected(url) && has_plain_host(url) && url.username().is_empty() && url.password().is_none();
    let url = Url::parse(&text).ok().filter(is_usable);
    url.map(Some).ok_or_else(|| ConfigError::new(name, "is a URL that begins with https:// and has no password"))
}

/// Origins separated by commas, each as browsers write it (RFC 6454, section 6.2). Without TLS, anyone on the way could
/// change a page of such an origin.
pub(crate) fn origins(lookup: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<Vec<String>, ConfigError> {
    let list = lookup(name).unwrap_or_default();
    let parse = |text: &str| {
        let url = Url::parse(text).ok().filter(|url| is_protected(url) && has_plain_host(url))?;
        // Without the scheme's own port, as browsers leave it out.
        let origin = url.origin().ascii_serialization();
        let port = text.strip_prefix(&origin)?;
        (matches!(port, "" | ":443" | ":80") && !text.contains('*')).then_some(origin)
    };
    let wrong = "has origins such as https://app.example.com, with a comma between";
    let texts = list.split(',').filter(|_| !list.is_empty());
    texts.map(|text| parse(text).ok_or_else(|| ConfigError::new(name, wrong))).collect()
}

fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || url.scheme() == "http" && matches!(url.host_str(), Some("localhost" | "127.0.0.1"))
}

/// Whether the host can stand in a header of directives. The URL standard also allows `;`, `,` and `'`, which would end a directive
/// or change its meaning.
fn has_plain_host(url: &Url) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".:[]-".contains(&byte);
    url.host_str().is_some_and(|host| host.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(name: &str, value: &str) -> Result<Embedding, ConfigError> {
        Embedding::from_lookup(|it| (it == name).then(|| value.to_owned()))
    }

    #[test]
    fn what_is_left_out_has_its_documented_default() {
        for name in ["PRODUCT_NAME", "LOGO_URL", "ACCENT_COLOR", "FRAME_ANCESTORS", "SIGN_IN_URL"] {
            assert_eq!(embedding(name, ""), Ok(Embedding::default()), "{name}");
        }
        assert_eq!(Embedding::default().product_name, "Audit log export");
    }

    #[test]
    fn each_variable_is_read() {
        assert_eq!(embedding("PRODUCT_NAME", " Größe & Co ").unwrap().product_name, "Größe & Co");
        assert_eq!(embedding("LOGO_URL", "https://cdn.example/l.svg").unwrap().logo.unwrap().path(), "/l.svg");
        assert_eq!(embedding("ACCENT_COLOR", "#FF6600").unwrap().accent.unwrap().to_string(), "#ff6600");
        let framing = embedding("FRAME_ANCESTORS", "https://app.example.com,https://b.example:443").unwrap();
        assert_eq!(framing.frame_ancestors, ["https://app.example.com", "https://b.example"]);
        let framing = embedding("FRAME_ANCESTORS", "https://[2001:db8::1]:8443").unwrap();
        assert_eq!(framing.frame_ancestors, ["https://[2001:db8::1]:8443"]);
        let sign_in = embedding("SIGN_IN_URL", "https://app.example.com/audit?from=pages").unwrap().sign_in.unwrap();
        assert_eq!(sign_in.query(), Some("from=pages"));
    }

    #[test]
    fn what_can_not_be_used_is_refused_by_name() {
        for (name, value) in [
            ("PRODUCT_NAME", "a\nb"),
            ("PRODUCT_NAME", &"x".repeat(33)),
            ("LOGO_URL", "http://cdn.example/l.svg"),
            ("LOGO_URL", "data:image/svg+xml,x"),
            ("LOGO_URL", "//cdn.example/l.svg"),
            ("LOGO_URL", "https://me:secret@cdn.example/l.svg"),
            ("ACCENT_COLOR", "#f60"),
            ("ACCENT_COLOR", "ff6600"),
            ("ACCENT_COLOR", "#ff660g"),
            ("ACCENT_COLOR", "#+f6600"),
            ("ACCENT_COLOR", "orange"),
            ("FRAME_ANCESTORS", "*"),
            ("FRAME_ANCESTORS", "https://app.example.com/"),
            ("FRAME_ANCESTORS", "https://*.example.com"),
            ("FRAME_ANCESTORS", "https://a.example; script-src *"),
            ("FRAME_ANCESTORS", "https://a;sandbox.example"),
            ("FRAME_ANCESTORS", "https://'none'"),
            ("LOGO_URL", "https://cdn.example;script-src/l.svg"),
            ("LOGO_URL", "https://'unsafe-inline'/l.svg"),
            ("SIGN_IN_URL", "https://a$b.example/"),
            ("SIGN_IN_URL", "javascript:alert(1)"),
            ("SIGN_IN_URL", "app.example.com"),
        ] {
            let wrong = embedding(name, value).unwrap_err().to_string();
            assert!(wrong.contains(name), "{wrong}");
        }
    }
}
