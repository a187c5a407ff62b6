//! The console's settings, read from its environment once, at start.

use std::env;

use audit_log_aws::config::{WrongSetting, number, required};
use audit_log_core::tenant::{Invalid, Platform, Region};
use audit_log_web::authority::{self, AuthorityConfig};
use chrono::TimeDelta;

/// What the console is deployed with.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// `TENANTS_TABLE`
    pub tenants_table: String,
    /// `EVENTS_TABLE`
    pub events_table: String,
    /// `EXPORTER_FUNCTION`, its ARN
    pub exporter_function: String,
    /// Whose system it is, by that ARN.
    pub platform: Platform,
    /// `EXPORTER_ROLE_NAME`
    pub exporter_role: String,
    /// `CUSTOMER_TEMPLATE_URL`; blank where the template is not published.
    pub template_url: Option<String>,
    /// `AWS_REGION`, which Lambda sets
    pub region: Region,
    /// `SETTLE_SECONDS`
    pub settle: TimeDelta,
    /// `EVENTS_RETENTION_DAYS`; 0 is for ever.
    pub retention: Option<TimeDelta>,
    /// `TOKEN_…`; none where nobody has said yet whose tokens count.
    pub authority: Option<AuthorityConfig>,
}

/// A setting that is missing or wrong; the platform has to correct the deployment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Wrong {
    /// One of the console's own.
    #[error(transparent)]
    Setting(#[from] WrongSetting),
    /// One of those that say whose tokens count.
    #[error(transparent)]
    Authority(#[from] authority::WrongSetting),
}

impl ConsoleConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If something that is needed is missing, or can't be used.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the console's environment")]
    pub fn from_env() -> Result<Self, Wrong> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Wrong> {
        let region = required(&lookup, "AWS_REGION")?;
        let exporter_function = required(&lookup, "EXPORTER_FUNCTION")?;
        let no_arn = |invalid: Invalid| WrongSetting::new("EXPORTER_FUNCTION", format!("can't be used: {}", invalid.0));
        let template_url = lookup("CUSTOMER_TEMPLATE_URL").filter(|url| !url.is_empty());
        if template_url.as_ref().is_some_and(|url| !url.starts_with("https://")) {
            return Err(WrongSetting::new("CUSTOMER_TEMPLATE_URL", "is the https URL of a template in S3").into());
        }
        let retention_days: i64 = number(&lookup, "EVENTS_RETENTION_DAYS", 0, 0..=36_500)?;
        Ok(Self {
            tenants_table: required(&lookup, "TENANTS_TABLE")?,
            events_table: required(&lookup, "EVENTS_TABLE")?,
            platform: Platform::from_function_arn(&exporter_function).map_err(no_arn)?,
            exporter_function,
            exporter_role: required(&lookup, "EXPORTER_ROLE_NAME")?,
            template_url,
            region: Region::parse(&region).map_err(|invalid| WrongSetting::new("AWS_REGION", invalid.0))?,
            settle: TimeDelta::seconds(number(&lookup, "SETTLE_SECONDS", 60, 0..=3600)?),
            retention: (retention_days > 0).then(|| TimeDelta::days(retention_days)),
            authority: AuthorityConfig::from_lookup(&lookup)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<ConsoleConfig, Wrong> {
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
    fn what_is_left_out_has_its_documented_default() {
        let config = config(&[("CUSTOMER_TEMPLATE_URL", ""), ("EVENTS_RETENTION_DAYS", "0")]).unwrap();
        assert_eq!((config.settle, config.retention), (TimeDelta::minutes(1), None));
        assert_eq!((config.template_url, config.authority), (None, None));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        for (name, value) in [
            ("AWS_REGION", "moon-1"),
            ("TENANTS_TABLE", ""),
            ("EXPORTER_FUNCTION", "exporter"),
            ("CUSTOMER_TEMPLATE_URL", "s3://bucket/template.yaml"),
            ("SETTLE_SECONDS", "-1"),
            ("TOKEN_ISSUER", "https://issuer.example/"),
        ] {
            let wrong = config(&[(name, value)]).unwrap_err().to_string();
            assert!(wrong.contains(name.split('_').next().unwrap()), "{wrong}");
        }
    }
}
