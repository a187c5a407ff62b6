//! Reads the recorder's configuration from its environment.

use std::env;

use audit_log_core::{
    deployment::{ConfigError, SharedConfig, required},
    ingestion::Catalogue,
};
use audit_log_web::{access_token::TokenConfig, origin::OriginSecret};

/// The log types and actions without `EXTRA_ACTIONS`.
pub const CATALOGUE: &str = include_str!("../../schema/catalogue.json");

#[derive(Debug, Clone)]
pub struct RecorderConfig {
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets.
    pub function_name: String,
    pub shared: SharedConfig,
    /// The published catalogue and `EXTRA_ACTIONS`.
    pub catalogue: Catalogue,
    /// `TOKEN_…`. If none of them is set, every request over HTTP is refused.
    pub tokens: Option<TokenConfig>,
    /// `ORIGIN_SECRET`. If it is not set, requests need not come through a CDN.
    pub origin_secret: Option<OriginSecret>,
}

impl RecorderConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If a table's name is missing, or a variable is invalid.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the recorder's environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let catalogue = |name: &'static str, text: &str| {
            Catalogue::parse(text).map_err(|invalid| ConfigError::new(name, invalid.0))
        };
        let extra = lookup("EXTRA_ACTIONS").filter(|text| !text.trim().is_empty());
        Ok(Self {
            function_name: required(&lookup, "AWS_LAMBDA_FUNCTION_NAME")?,
            shared: SharedConfig::from_lookup(&lookup)?,
            catalogue: catalogue("EXTRA_ACTIONS", CATALOGUE)?
                .extended(catalogue("EXTRA_ACTIONS", extra.as_deref().unwrap_or("{}"))?),
            tokens: TokenConfig::from_lookup(&lookup)?,
            origin_secret: OriginSecret::from_lookup(&lookup)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<RecorderConfig, ConfigError> {
        let tables =
            [("AWS_LAMBDA_FUNCTION_NAME", "recorder"), ("TENANTS_TABLE", "tenants"), ("EVENTS_TABLE", "events")];
        let all = || pairs.iter().chain(&tables);
        RecorderConfig::from_lookup(|name| all().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn all_but_the_tables_has_its_documented_default() {
        let config = config(&[("EXTRA_ACTIONS", " ")]).unwrap();
        assert_eq!(config.catalogue, Catalogue::parse(CATALOGUE).unwrap());
        assert_eq!(config.tokens, None);
    }

    #[test]
    fn extra_actions_and_the_issuer_are_read() {
        let config = config(&[
            ("EXTRA_ACTIONS", r#"{"Billing": ["Invoice Paid"]}"#),
            ("TOKEN_ISSUER", "https://id.test/"),
            ("TOKEN_AUDIENCE", "audit"),
            ("TOKEN_JWKS_URL", "https://id.test/keys"),
        ]);
        let config = config.unwrap();
        assert_ne!(config.catalogue, Catalogue::parse(CATALOGUE).unwrap());
        assert_eq!(config.tokens.unwrap().issuer, "https://id.test/");
    }

    #[test]
    fn an_invalid_variable_is_named() {
        for (name, value) in [
            ("TENANTS_TABLE", ""),
            ("EXTRA_ACTIONS", "Billing"),
            ("EXTRA_ACTIONS", r#"{"System": ["*"]}"#),
            ("TOKEN_ISSUER", "https://id.test/"),
            ("ORIGIN_SECRET", "short"),
        ] {
            let wrong = config(&[(name, value)]).unwrap_err().to_string();
            assert!(wrong.contains(if name == "TOKEN_ISSUER" { "TOKEN_AUDIENCE" } else { name }), "{wrong}");
        }
    }
}
