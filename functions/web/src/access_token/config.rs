//! The settings of [`TokenVerifier`](super::TokenVerifier), by their names in the environment.

use audit_log_core::deployment::ConfigError;
use chrono::TimeDelta;
pub use jsonwebtoken::Algorithm;
use reqwest::Url;

/// The asymmetric algorithms: only the issuer can sign, and anyone can verify.
const ALGORITHMS: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// A year.
const MAX_HOURS: i64 = 8760;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// `TOKEN_ISSUER`: equals the claim `iss`, character for character.
    pub issuer: String,
    /// `TOKEN_AUDIENCE`: is in the claim `aud`.
    pub audience: String,
    /// `TOKEN_JWKS` or `TOKEN_JWKS_URL`.
    pub keys: KeySource,
    /// `TOKEN_TENANT_CLAIM`: the name of a claim (it may hold dots, slashes and colons), or, if it begins with `/`, a
    /// JSON pointer into the claims.
    pub tenant_claim: String,
    /// `TOKEN_PERMISSIONS_CLAIM`, likewise.
    pub permissions_claim: String,
    /// `TOKEN_ALGORITHMS`, separated by commas. HMAC is not possible: symmetric keys are never used.
    pub algorithms: Vec<Algorithm>,
    /// `TOKEN_MAX_HOURS`: how far ahead the claim `exp` may be.
    pub max_lifetime: TimeDelta,
}

/// Where the issuer's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A JSON Web Key Set, by RFC 7517.
    Inline(String),
    /// Where the key set is downloaded.
    Url(Url),
}

impl TokenConfig {
    /// With the default claims and algorithms.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, keys: KeySource) -> Self {
        Self {
            issuer: issuer.into(),
            audience: audience.into(),
            keys,
            tenant_claim: "tenant_id".to_owned(),
            permissions_claim: "permissions".to_owned(),
            algorithms: vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA],
            max_lifetime: TimeDelta::hours(24),
        }
    }

    /// Reads the settings. A blank one counts as missing. Returns `None` if none of the required ones is set.
    ///
    /// # Errors
    /// If only some of the required settings are set, or one is invalid.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let read = |name| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let (issuer, audience) = (read("TOKEN_ISSUER"), read("TOKEN_AUDIENCE"));
        let (jwks, url) = (read("TOKEN_JWKS"), read("TOKEN_JWKS_URL"));
        if [&issuer, &audience, &jwks, &url].iter().all(|setting| setting.is_none()) {
            return Ok(None);
        }
        let missing = |name| move || ConfigError::new(name, "is missing, but other token settings are set");
        let issuer = issuer.ok_or_else(missing("TOKEN_ISSUER"))?;
        let audience = audience.ok_or_else(missing("TOKEN_AUDIENCE"))?;
        let keys = match (jwks, url) {
            (Some(jwks), None) => KeySource::Inline(jwks),
            (None, Some(url)) => KeySource::Url(parse_url(&url)?),
            (None, None) => return Err(missing("TOKEN_JWKS_URL")()),
            (Some(_), Some(_)) => return Err(ConfigError::new("TOKEN_JWKS", "conflicts with TOKEN_JWKS_URL")),
        };
        let mut config = Self::new(issuer, audience, keys);
        if let Some(list) = read("TOKEN_ALGORITHMS") {
            config.algorithms = parse_algorithms(&list)?;
        }
        if let Some(hours) = read("TOKEN_MAX_HOURS") {
            let hours = hours.parse().ok().filter(|hours| (1..=MAX_HOURS).contains(hours));
            let wrong = || ConfigError::new("TOKEN_MAX_HOURS", format!("must be a number from 1 to {MAX_HOURS}"));
            config.max_lifetime = TimeDelta::hours(hours.ok_or_else(wrong)?);
        }
        if let Some(claim) = read("TOKEN_TENANT_CLAIM") {
            config.tenant_claim = claim;
        }
        if let Some(claim) = read("TOKEN_PERMISSIONS_CLAIM") {
            config.permissions_claim = claim;
        }
        Ok(Some(config))
    }
}

/// Parses a name of RFC 7518 or RFC 8037. `None` for `none` and for the algorithms with a shared secret.
pub(super) fn parse_algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.contains(&name).then(|| name.parse().ok()).flatten()
}

fn parse_algorithms(list: &str) -> Result<Vec<Algorithm>, ConfigError> {
    let wrong = || ConfigError::new("TOKEN_ALGORITHMS", format!("must be a list of any of {}", ALGORITHMS.join(",")));
    list.split(',').map(|name| parse_algorithm(name.trim()).ok_or_else(wrong)).collect()
}

/// Anyone who can change the keys in transit can forge tokens, so the URL needs TLS.
fn parse_url(text: &str) -> Result<Url, ConfigError> {
    let wrong = || ConfigError::new("TOKEN_JWKS_URL", "must be a URL that begins with https:// and has no password");
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    if url.scheme() == "https" && url.has_host() { Ok(url) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Option<TokenConfig>, ConfigError> {
        let lookup = |name: &str| pairs.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
        TokenConfig::from_lookup(lookup)
    }

    const REQUIRED: [(&str, &str); 3] =
        [("TOKEN_ISSUER", "https://id.test/"), ("TOKEN_AUDIENCE", "audit"), ("TOKEN_JWKS", r#"{"keys":[]}"#)];

    #[test]
    fn tokens_are_not_configured_while_nothing_is_set() {
        assert_eq!(config(&[]), Ok(None));
        assert_eq!(config(&[("TOKEN_ISSUER", " "), ("TOKEN_TENANT_CLAIM", "org"), ("TOKEN_JWKS_URL", "")]), Ok(None));
    }

    #[test]
    fn an_issuer_an_audience_and_keys_are_required_and_the_rest_has_its_documented_default() {
        let keys = KeySource::Inline(r#"{"keys":[]}"#.to_owned());
        assert_eq!(config(&REQUIRED), Ok(Some(TokenConfig::new("https://id.test/", "audit", keys))));

        let more = [
            ("TOKEN_TENANT_CLAIM", "https://acme.example/tenant"),
            ("TOKEN_PERMISSIONS_CLAIM", "/access/audit"),
            ("TOKEN_ALGORITHMS", "PS256, ES384"),
            ("TOKEN_MAX_HOURS", "720"),
        ];
        let set = config(&[&REQUIRED[..], &more[..]].concat()).unwrap().unwrap();
        assert_eq!((set.tenant_claim.as_str(), set.permissions_claim.as_str()), (more[0].1, more[1].1));
        assert_eq!(set.algorithms, [Algorithm::PS256, Algorithm::ES384]);
        assert_eq!(set.max_lifetime, TimeDelta::days(30));
    }

    #[test]
    fn a_missing_or_invalid_setting_is_named() {
        let without = |name: &str| REQUIRED.into_iter().filter(|(it, _)| *it != name).collect::<Vec<_>>();
        let with = |name, value| [&REQUIRED[..], &[(name, value)]].concat();
        let url = |url| [&without("TOKEN_JWKS")[..], &[("TOKEN_JWKS_URL", url)]].concat();
        for (pairs, name) in [
            (without("TOKEN_ISSUER"), "TOKEN_ISSUER"),
            (without("TOKEN_AUDIENCE"), "TOKEN_AUDIENCE"),
            (without("TOKEN_JWKS"), "TOKEN_JWKS_URL"),
            (with("TOKEN_JWKS_URL", "https://id.test/keys"), "TOKEN_JWKS"),
            (with("TOKEN_ALGORITHMS", "RS256,HS256"), "TOKEN_ALGORITHMS"),
            (with("TOKEN_ALGORITHMS", "none"), "TOKEN_ALGORITHMS"),
            (with("TOKEN_ALGORITHMS", ","), "TOKEN_ALGORITHMS"),
            (with("TOKEN_MAX_HOURS", "0"), "TOKEN_MAX_HOURS"),
            (with("TOKEN_MAX_HOURS", "8761"), "TOKEN_MAX_HOURS"),
            (with("TOKEN_MAX_HOURS", "a day"), "TOKEN_MAX_HOURS"),
            (url("http://id.test/keys"), "TOKEN_JWKS_URL"),
            (url("http://127.0.0.1:8080/keys"), "TOKEN_JWKS_URL"),
            (url("http://localhost/keys"), "TOKEN_JWKS_URL"),
            (url("https://me:secret@id.test/keys"), "TOKEN_JWKS_URL"),
            (url("file:///keys"), "TOKEN_JWKS_URL"),
            (url("id.test/keys"), "TOKEN_JWKS_URL"),
        ] {
            let wrong = config(&pairs).unwrap_err().to_string();
            assert!(wrong.contains(&format!(" {name} ")), "{pairs:?}: {wrong}");
        }
        assert!(config(&url("https://id.test/keys")).is_ok());
    }
}
