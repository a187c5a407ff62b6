//! The recorder's settings, read from its environment once, at start.

use std::env;

use audit_log_core::{
    deployment::{ConfigError, SharedConfig, required},
    ingestion::Catalogue,
};
use audit_log_web::authority::AuthorityConfig;

use crate::schema;

/// What the recorder is deployed with.
#[derive(Debug, Clone)]
pub struct RecorderConfig {
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets
    pub function_name: String,
    /// What it has in common with the other functions.
    pub shared: SharedConfig,
    /// The published catalogue and `EXTRA_ACTIONS`
    pub catalogue: Catalogue,
    /// `TOKEN_…`; nobody is let in over HTTP while none of them is set
    pub authority: Option<AuthorityConfig>,
}

impl RecorderConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If a table's name is missing, or something can't be used.
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
            catalogue: catalogue("EXTRA_ACTIONS", schema::CATALOGUE)?
                .extended(catalogue("EXTRA_ACTIONS", extra.as_deref().unwrap_or("{}"))?),
            authority: AuthorityConfig::from_lookup(&lookup)?,
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
    fn the_tables_are_enough_and_everything_else_has_its_documented_default() {
        let config = config(&[("EXTRA_ACTIONS", " ")]).unwrap();
        assert_eq!(config.catalogue, Catalogue::parse(schema::CATALOGUE).unwrap());
        assert_eq!(config.authority, None);
    }

    #[test]
    fn what_is_set_counts() {
        let config = config(&[
            ("EXTRA_ACTIONS", r#"{"Billing": ["Invoice Paid"]}"#),
            ("TOKEN_ISSUER", "https://id.test/"),
            ("TOKEN_AUDIENCE", "audit"),
            ("TOKEN_JWKS_URL", "https://id.test/keys"),
        ]);
        let config = config.unwrap();
        assert_ne!(config.catalogue, Catalogue::parse(schema::CATALOGUE).unwrap());
        assert_eq!(config.authority.unwrap().issuer, "https://id.test/");
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("TENANTS_TABLE", ""),
            ("EXTRA_ACTIONS", "Billing"),
            ("EXTRA_ACTIONS", r#"{"System": ["*"]}"#),
            ("TOKEN_ISSUER", "https://id.test/"),
        ] {
            let wrong = config(&[(name, value)]).unwrap_err().to_string();
            assert!(wrong.contains(if name == "TOKEN_ISSUER" { "TOKEN_AUDIENCE" } else { name }), "{wrong}");
        }
    }
}
