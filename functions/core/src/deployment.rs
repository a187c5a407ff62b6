//! What a function is deployed with: texts by their names, from whoever reads the environment. What is missing or wrong
//! is named, for the platform to correct.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use chrono::TimeDelta;

/// A setting that is missing or wrong; the platform has to correct the deployment.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("the environment variable {name} {problem}; correct it in infra/template.yaml and deploy again")]
pub struct ConfigError {
    name: &'static str,
    problem: String,
}

impl ConfigError {
    /// What is wrong with the variable of that name, as the rest of a sentence that begins with it.
    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self { name, problem: problem.into() }
    }
}

/// What every function is deployed with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedConfig {
    /// `TENANTS_TABLE`
    pub tenants_table: String,
    /// `EVENTS_TABLE`
    pub events_table: String,
    /// `SETTLE_SECONDS`: how long after its end a window is left alone.
    pub settle: TimeDelta,
    /// `EVENTS_RETENTION_DAYS`: how long events are kept; for ever, if it is 0 or blank.
    pub retention: Option<TimeDelta>,
}

impl SharedConfig {
    /// Reads the settings by their names.
    ///
    /// # Errors
    /// If a table's name is missing, or a number is not one or out of its range.
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

/// A text that has to be there.
///
/// # Errors
/// If it is missing or blank.
pub fn required(lookup: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<String, ConfigError> {
    lookup(name).filter(|value| !value.is_empty()).ok_or_else(|| ConfigError::new(name, "is missing"))
}

/// A whole number, or its default if it is missing or blank.
///
/// # Errors
/// If it is something else, or out of its range.
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
    fn the_tables_are_enough_and_everything_else_has_its_documented_default() {
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
