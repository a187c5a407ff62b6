//! The console's configuration, from its environment.

use std::env;

use audit_log_core::{
    deployment::{ConfigError, SharedConfig, number, required},
    tenant::{Invalid, Platform, Region},
};
use audit_log_web::{access_token::TokenConfig, origin::OriginSecret};

use crate::embedding::{Embedding, origins};

#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    pub shared: SharedConfig,
    /// `EXPORTER_FUNCTION`, its ARN
    pub exporter_function: String,
    /// From that ARN.
    pub platform: Platform,
    /// `EXPORTER_ROLE_NAME`
    pub exporter_role: String,
    /// `CUSTOMER_TEMPLATE_URL`; blank where the template is not published.
    pub template_url: Option<String>,
    /// `AWS_REGION`, which Lambda sets
    pub region: Region,
    /// `TOKEN_…`; none where no issuer is configured yet.
    pub tokens: Option<TokenConfig>,
    /// `ORIGIN_SECRET`; none where requests need not come through a CDN.
    pub origin_secret: Option<OriginSecret>,
    /// `MAX_SEARCHES_PER_MINUTE`, of each tenant
    pub searches_per_minute: u32,
    /// `SIGN_IN_ORIGINS`
    pub sign_in_origins: Vec<String>,
    /// `PRODUCT_NAME` and others
    pub embedding: Embedding,
}

impl ConsoleConfig {
    /// # Errors
    /// If a required variable is missing or one can't be used.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the console's environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let region = required(&lookup, "AWS_REGION")?;
        let exporter_function = required(&lookup, "EXPORTER_FUNCTION")?;
        let no_arn = |invalid: Invalid| ConfigError::new("EXPORTER_FUNCTION", format!("can't be used: {}", invalid.0));
        let template_url = lookup("CUSTOMER_TEMPLATE_URL").filter(|url| !url.is_empty());
        if template_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err(ConfigError::new("CUSTOMER_TEMPLATE_URL", "is the https URL of a template in S3"));
        }
        Ok(Self {
            shared: SharedConfig::from_lookup(&lookup)?,
            platform: Platform::from_function_arn(&exporter_function).map_err(no_arn)?,
            exporter_function,
            exporter_role: required(&lookup, "EXPORTER_ROLE_NAME")?,
            template_url,
            region: Region::parse(&region).map_err(|invalid| ConfigError::new("AWS_REGION", invalid.0))?,
            tokens: TokenConfig::from_lookup(&lookup)?,
            origin_secret: OriginSecret::from_lookup(&lookup)?,
            searches_per_minute: number(&lookup, "MAX_SEARCHES_PER_MINUTE", 120, 1..=100_000)?,
            sign_in_origins: origins(&lookup, "SIGN_IN_ORIGINS")?,
            embedding: Embedding::from_lookup(&lookup)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<ConsoleConfig, ConfigError> {
        let needed = [
            ("AWS_REGION", "eu-west-1"),
            ("TENANTS_TABLE", "tenants"),
            ("EVENTS_TABLE", "events"),
            ("EXPORTER_FUNCTION", "arn:aws:lambda:eu-west-1:111111111111:function:exporter"),
            ("EXPORTER_ROLE_NAME", "audit-log-exporter"),
        ];
        let all = || pairs.iter().chain(&needed);
        ConsoleConfig::from_lookup(|name| all().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn variables_that_are_left_out_have_their_documented_defaults() {
        let config = config(&[("CUSTOMER_TEMPLATE_URL", "")]).unwrap();
        assert_eq!((config.template_url, config.tokens, config.searches_per_minute), (None, None, 120));
        assert_eq!(config.sign_in_origins, [""; 0]);
        assert_eq!(config.embedding, Embedding::default());
    }

    #[test]
    fn the_origins_that_may_sign_in_are_read() {
        let list =
            "https://app.example.com,https://b.example:8443,http://localhost:5173,http://127.0.0.1,https://c.example";
        let config = config(&[("SIGN_IN_ORIGINS", &format!("{list}:443"))]).unwrap();
        assert_eq!(config.sign_in_origins, list.split(',').collect::<Vec<_>>());
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for (name, value) in [
            ("AWS_REGION", "moon-1"),
            ("TENANTS_TABLE", ""),
            ("EXPORTER_FUNCTION", "exporter"),
            ("CUSTOMER_TEMPLATE_URL", "s3://bucket/template.yaml"),
            ("SETTLE_SECONDS", "-1"),
            ("TOKEN_ISSUER", "https://issuer.example/"),
            ("ORIGIN_SECRET", "short"),
            ("MAX_SEARCHES_PER_MINUTE", "0"),
            ("SIGN_IN_ORIGINS", "app.example.com"),
            ("SIGN_IN_ORIGINS", "http://app.example.com"),
            ("SIGN_IN_ORIGINS", "https://app.example.com/"),
            ("SIGN_IN_ORIGINS", "https://app.example.com,*"),
            ("SIGN_IN_ORIGINS", "null"),
            ("ACCENT_COLOR", "blue"),
        ] {
            let wrong = config(&[(name, value)]).unwrap_err().to_string();
            assert!(wrong.contains(name.split('_').next().unwrap()), "{wrong}");
        }
    }
}
