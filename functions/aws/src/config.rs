//! The exporter's settings, read from its environment once, at start; and what reading any function's takes.

use std::{env, fmt::Display, ops::RangeInclusive, str::FromStr};

use audit_log_core::export::Options;
use chrono::TimeDelta;

use crate::buckets::PART_BYTES;

/// S3 takes 10,000 parts; a larger object would be refused at its end, and at the end of every further try.
const LARGEST_OBJECT: u64 = 10_000 * PART_BYTES as u64;

/// What the exporter is deployed with.
#[derive(Debug, Clone)]
pub struct ExporterConfig {
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets
    pub function_name: String,
    /// `TENANTS_TABLE`
    pub tenants_table: String,
    /// `EVENTS_TABLE`
    pub events_table: String,
    /// `SETTLE_SECONDS`, `EVENTS_RETENTION_DAYS`, `MAX_CONCURRENT_EXPORTS`, `MAX_OBJECT_BYTES`,
    /// `MAX_WINDOWS_PER_TENANT`
    pub options: Options,
}

/// A setting that is missing or wrong; the platform has to correct the deployment.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the environment variable {name} {problem}; correct it in infra/template.yaml and deploy again")]
pub struct WrongSetting {
    name: &'static str,
    problem: String,
}

impl WrongSetting {
    /// What is wrong with the variable of that name, as the rest of a sentence that begins with it.
    pub fn new(name: &'static str, problem: impl Into<String>) -> Self {
        Self { name, problem: problem.into() }
    }
}

impl ExporterConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If a table's name is missing, or a number is not one or out of its range.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the exporter's environment")]
    pub fn from_env() -> Result<Self, WrongSetting> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, WrongSetting> {
        let retention_days: i64 = number(&lookup, "EVENTS_RETENTION_DAYS", 0, 0..=36_500)?;
        Ok(Self {
            function_name: required(&lookup, "AWS_LAMBDA_FUNCTION_NAME")?,
            tenants_table: required(&lookup, "TENANTS_TABLE")?,
            events_table: required(&lookup, "EVENTS_TABLE")?,
            options: Options {
                settle: TimeDelta::seconds(number(&lookup, "SETTLE_SECONDS", 60, 0..=3600)?),
                retention: (retention_days > 0).then(|| TimeDelta::days(retention_days)),
                concurrency: number(&lookup, "MAX_CONCURRENT_EXPORTS", 64, 1..=1024)?,
                // From the smallest size that still makes sense as a file to what fits into the parts of one upload.
                max_object_bytes: number(&lookup, "MAX_OBJECT_BYTES", 256 << 20, 64 << 10..=LARGEST_OBJECT)?,
                max_windows: number(&lookup, "MAX_WINDOWS_PER_TENANT", 168, 1..=100_000)?,
            },
        })
    }
}

/// A text that has to be there.
///
/// # Errors
/// If it is missing or blank.
pub fn required(lookup: impl Fn(&str) -> Option<String>, name: &'static str) -> Result<String, WrongSetting> {
    lookup(name).filter(|value| !value.is_empty()).ok_or_else(|| WrongSetting::new(name, "is missing"))
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
) -> Result<N, WrongSetting> {
    let Some(text) = lookup(name).filter(|value| !value.is_empty()) else { return Ok(default) };
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (from, to) = (range.start(), range.end());
            Err(WrongSetting::new(name, format!("is a whole number from {from} to {to}, not {text:?}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<ExporterConfig, WrongSetting> {
        let tables =
            [("AWS_LAMBDA_FUNCTION_NAME", "exporter"), ("TENANTS_TABLE", "tenants"), ("EVENTS_TABLE", "events")];
        let all = || pairs.iter().chain(&tables);
        ExporterConfig::from_lookup(|name| all().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn the_tables_are_enough_and_everything_else_has_its_documented_default() {
        let options = config(&[]).unwrap().options;
        assert_eq!((options.settle, options.retention), (TimeDelta::minutes(1), None));
        assert_eq!((options.concurrency, options.max_object_bytes, options.max_windows), (64, 268_435_456, 168));
        assert_eq!(config(&[("EVENTS_RETENTION_DAYS", "90")]).unwrap().options.retention, Some(TimeDelta::days(90)));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_range() {
        for (name, value) in [
            ("SETTLE_SECONDS", "-1"),
            ("MAX_CONCURRENT_EXPORTS", "0"),
            ("MAX_OBJECT_BYTES", "1k"),
            ("MAX_OBJECT_BYTES", "83886080001"),
            ("MAX_WINDOWS_PER_TENANT", "0"),
            ("EVENTS_RETENTION_DAYS", "x"),
            ("TENANTS_TABLE", ""),
        ] {
            assert!(config(&[(name, value)]).unwrap_err().to_string().contains(name));
        }
    }
}
