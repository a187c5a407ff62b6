//! The exporter's settings, read from its environment once, at start.

use std::{env, num::NonZeroU32};

use audit_log_core::{
    deployment::{Shared, WrongSetting, number, required},
    export::{Budget, Options},
};

use crate::buckets::PART_BYTES;

/// S3 takes 10,000 parts; a larger object would be refused at its end, and at the end of every further try.
const LARGEST_OBJECT: u64 = 10_000 * PART_BYTES as u64;

/// Below STS's quota, with something left for whoever else asks.
const FASTEST: NonZeroU32 = NonZeroU32::new(500).unwrap();

/// What the exporter is deployed with.
#[derive(Debug, Clone)]
pub struct ExporterConfig {
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets
    pub function_name: String,
    /// `EXPORT_QUEUE_URL`: where ticks hand due tenants over; they export them by themselves if it is blank.
    pub queue_url: Option<String>,
    /// `EVENT_BUS_NAME`: where others hear of failures and recoveries; nobody does if it is blank.
    pub event_bus: Option<String>,
    /// `ASSUME_ROLES_PER_SECOND`: how many customers' roles an invocation assumes a second. STS takes some 600 requests a
    /// second of an account in a region (by "IAM and AWS STS quotas"), so this times the concurrency has to stay below.
    pub assume_roles_per_second: NonZeroU32,
    /// What it has in common with the other functions.
    pub shared: Shared,
    /// `MAX_CONCURRENT_EXPORTS`, `MAX_OBJECT_BYTES`, `MAX_WINDOWS_PER_TENANT`, and the times of `shared`
    pub options: Options,
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
        let shared = Shared::from_lookup(&lookup)?;
        Ok(Self {
            function_name: required(&lookup, "AWS_LAMBDA_FUNCTION_NAME")?,
            queue_url: lookup("EXPORT_QUEUE_URL").filter(|url| !url.is_empty()),
            event_bus: lookup("EVENT_BUS_NAME").filter(|name| !name.is_empty()),
            assume_roles_per_second: number(&lookup, "ASSUME_ROLES_PER_SECOND", FASTEST, NonZeroU32::MIN..=FASTEST)?,
            options: Options {
                settle: shared.settle,
                retention: shared.retention,
                concurrency: number(&lookup, "MAX_CONCURRENT_EXPORTS", 64, 1..=1024)?,
                // From the smallest size that still makes sense as a file to what fits into the parts of one upload.
                max_object_bytes: number(&lookup, "MAX_OBJECT_BYTES", 256 << 20, 64 << 10..=LARGEST_OBJECT)?,
                max_windows: number(&lookup, "MAX_WINDOWS_PER_TENANT", 168, 1..=100_000)?,
                // Half of the function's memory, the least of which is 128 MB.
                budget: Budget::new(number(&lookup, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 128, 1..=1 << 20)? << 19),
            },
            shared,
        })
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
        let ExporterConfig { options, queue_url, event_bus, .. } =
            config(&[("EXPORT_QUEUE_URL", ""), ("EVENT_BUS_NAME", "")]).unwrap();
        assert_eq!((queue_url, event_bus), (None, None));
        assert_eq!((options.concurrency, options.max_object_bytes, options.max_windows), (64, 268_435_456, 168));
    }

    #[test]
    fn a_wrong_setting_is_named_with_its_range() {
        for (name, value) in [
            ("MAX_CONCURRENT_EXPORTS", "0"),
            ("MAX_OBJECT_BYTES", "1k"),
            ("MAX_OBJECT_BYTES", "83886080001"),
            ("MAX_WINDOWS_PER_TENANT", "0"),
            ("TENANTS_TABLE", ""),
        ] {
            assert!(config(&[(name, value)]).unwrap_err().to_string().contains(name));
        }
    }
}
