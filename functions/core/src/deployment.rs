//! The configuration that all functions share, parsed from their environment variables.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use chrono::TimeDelta;

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("the environment variable {name} {problem}; correct it in infra/template.yaml and deploy again")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl ConfigError {
    /// `problem` continues a sentence that begins with the variable's name.
    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self { name, problem: problem.into() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedConfig {
    pub tenants_table: String,
    pub events_table: String,
    /// `SETTLE_SECONDS`: how long after its end a window is read.
    pub settle: TimeDelta,
    /// `EVENTS_RETENTION_DAYS`; none keeps events forever.
    pub retention: Option<TimeDelta>,
}

impl SharedConfig {
    /// # Errors
    /// If a table's name is missing, or a number is invalid or out of its range.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let retention_days: i64 = number(&lookup, "EVENTS_RETENTION_DAYS", 0, 0..=36_500)?;
        Ok(Self {
            tenants_table: required(&lookup, "TENANTS_TABLE")?,
            events_table: required(&lookup, "EVENTS_TABLE")?,
            settle: TimeDelta::seconds(number(&lookup, "SETTLE_SECONDS", 60, 0..=3600)?),
            retention: (retention_days > 0).then(|| TimeDelta::days(retention_days)),
        })
    }
}

/// # Errors
/// If the variable is missing or blank.
pub fn required(lookup: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<String, ConfigError> {
    lookup(name).filter(|value| !value.is_empty()).ok_or_else(|| ConfigError::new(name, "is missing"))
}

/// Returns the variable as a whole number, or the default if it is missing or blank.
///
/// # Errors
/// If it is no whole number or out of its range.
pub fn number<N: FromStr + PartialOrd + Display>(
    lookup: impl Fn(&str) -> Option<String>,
    name: &'static str,
    default: N,
    range: RangeInclusive<N>,
) -> Result<N, ConfigError> {
    let Some(text) = lookup(name).filter(|value| !value.is_empty()) else { return Ok(default) };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (from, to) = (range.start(), range.end());
            Err(ConfigError::new(name, format!("is a whole number from {from} to {to}, not {text:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(pairs: &[(&str, &str)]) -> Result<SharedConfig, ConfigError> {
        let tables = [("TENANTS_TABLE", "tenants"), ("EVENTS_TABLE", "events")];
        let all = || pairs.iter().chain(&tables);
        SharedConfig::from_lookup(|name| all().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn only_the_tables_are_required_and_the_rest_has_its_documented_default() {
        for none in ["", "0"] {
            let shared = shared(&[("EVENTS_RETENTION_DAYS", none)]).unwrap();
            assert_eq!((shared.settle, shared.retention), (TimeDelta::minutes(1), None));
        }
        assert_eq!(shared(&[("EVENTS_RETENTION_DAYS", "90")]).unwrap().retention, Some(TimeDelta::days(90)));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_range() {
        for (name, value) in
            [("SETTLE_SECONDS", "-1"), ("EVENTS_RETENTION_DAYS", "x"), ("TENANTS_TABLE", ""), ("EVENTS_TABLE", "")]
        {
            assert!(shared(&[(name, value)]).unwrap_err().to_string().contains(name));
        }
    }
}
