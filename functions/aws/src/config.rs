//! Reads the exporter's configuration from its environment.

use std::{env, num::NonZeroU32, sync::Arc};

use audit_log_core::{
    deployment::{ConfigError, SharedConfig, number, required},
    export::{Budget, Options},
    ocsf,
};
use chrono::TimeDelta;

use crate::buckets::PART_BYTES;

/// The mapping to OCSF, which platforms extend before they build.
const OCSF_MAPPING: &str = include_str!("../../schema/ocsf.json");

/// How long a run replays before it goes on by a message to itself.
const REPLAY_TIME_WITH_QUEUE: TimeDelta = TimeDelta::minutes(2);

/// The same without a queue: as long as an invocation.
const REPLAY_TIME: TimeDelta = TimeDelta::minutes(15);

/// S3 takes 10,000 parts, and would refuse the last one of a larger object at every attempt.
const MAX_OBJECT_BYTES: u64 = 10_000 * PART_BYTES as u64;

/// Below STS's quota, with a reserve for other callers in the account.
const MAX_ASSUME_ROLES_PER_SECOND: NonZeroU32 = NonZeroU32::new(500).unwrap();

#[derive(Debug, Clone)]
pub struct ExporterConfig {
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets.
    pub function_name: String,
    /// `AWS_LAMBDA_FUNCTION_MEMORY_SIZE`, which Lambda sets.
    pub memory_mb: usize,
    /// `EXPORT_QUEUE_URL`: the queue for due tenants. If it is blank, a tick exports them itself.
    pub queue_url: Option<String>,
    /// `EVENT_BUS_NAME`: the bus for notifications. If it is blank, none are published.
    pub event_bus: Option<String>,
    /// `ASSUME_ROLES_PER_SECOND`: how many customers' roles an invocation assumes a second. This times the number of
    /// concurrent invocations has to stay below STS's quota, some 600 requests a second for an account in a region ("IAM and
    /// AWS STS quotas").
    pub assume_roles_per_second: NonZeroU32,
    /// `ORGANIZATION_ID`: the exporter's role is denied all roles of this organization. If it is blank, there is no such denial.
    pub denies_organization: bool,
    /// `MANIFEST_KEY_ARN`: the key that signs manifests. If it is blank, no chain of manifests begins.
    pub manifest_key_arn: Option<String>,
    /// `MANIFEST_KEY_NAME`: the key's name in signatures.
    pub manifest_key_name: String,
    pub shared: SharedConfig,
    /// `MAX_CONCURRENT_EXPORTS`, `MAX_OBJECT_BYTES`, `MAX_WINDOWS_PER_TENANT`, and the times of `shared`.
    pub options: Options,
}

impl ExporterConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If a table's name is missing, a number is invalid or out of range, or the mapping to OCSF was changed to an invalid one.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the exporter's environment")]
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| env::var(name).ok())
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let shared = SharedConfig::from_lookup(&lookup)?;
        let manifest_key_arn = lookup("MANIFEST_KEY_ARN").filter(|arn| !arn.is_empty());
        let queue_url = lookup("EXPORT_QUEUE_URL").filter(|url| !url.is_empty());
        // Lambda's smallest size.
        let memory_mb = number(&lookup, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 128, 1..=1 << 20)?;
        Ok(Self {
            memory_mb,
            function_name: required(&lookup, "AWS_LAMBDA_FUNCTION_NAME")?,
            event_bus: lookup("EVENT_BUS_NAME").filter(|name| !name.is_empty()),
            assume_roles_per_second: number(
                &lookup,
                "ASSUME_ROLES_PER_SECOND",
                MAX_ASSUME_ROLES_PER_SECOND,
                NonZeroU32::MIN..=MAX_ASSUME_ROLES_PER_SECOND,
            )?,
            denies_organization: lookup("ORGANIZATION_ID").is_some_and(|id| !id.is_empty()),
            manifest_key_name: match &manifest_key_arn {
                Some(_) => required(&lookup, "MANIFEST_KEY_NAME")?,
                None => String::new(),
            },
            manifest_key_arn,
            options: Options {
                settle: shared.settle,
                retention: shared.retention,
                concurrency: number(&lookup, "MAX_CONCURRENT_EXPORTS", 64, 1..=1024)?,
                // From the smallest useful file to what fits into the parts of one upload.
                max_object_bytes: number(&lookup, "MAX_OBJECT_BYTES", 256 << 20, 64 << 10..=MAX_OBJECT_BYTES)?,
                replay_time: if queue_url.is_some() { REPLAY_TIME_WITH_QUEUE } else { REPLAY_TIME },
                max_windows: number(&lookup, "MAX_WINDOWS_PER_TENANT", 168, 1..=100_000)?,
                budget: Budget::new((memory_mb << 20) / 2),
                ocsf: Arc::new(
                    ocsf::Mapping::parse(OCSF_MAPPING)
                        .map_err(|invalid| ConfigError::new("functions/schema/ocsf.json", invalid.0))?,
                ),
            },
            queue_url,
            shared,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const TEMPLATE: &str = include_str!("../../../infra/template.yaml");
    const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");

    fn config(pairs: &[(&str, &str)]) -> Result<ExporterConfig, ConfigError> {
        let tables =
            [("AWS_LAMBDA_FUNCTION_NAME", "exporter"), ("TENANTS_TABLE", "tenants"), ("EVENTS_TABLE", "events")];
        let all = || pairs.iter().chain(&tables);
        ExporterConfig::from_lookup(|name| all().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn all_but_the_tables_has_its_documented_default() {
        let ExporterConfig { options, queue_url, event_bus, denies_organization, .. } =
            config(&[("EXPORT_QUEUE_URL", ""), ("EVENT_BUS_NAME", ""), ("ORGANIZATION_ID", "")]).unwrap();
        assert_eq!((queue_url, event_bus, denies_organization), (None, None, false));
        let with_queue = config(&[("EXPORT_QUEUE_URL", "https://queue.example")]).unwrap().options;
        assert_eq!((options.replay_time, with_queue.replay_time), (TimeDelta::minutes(15), TimeDelta::minutes(2)));
        assert!(config(&[("ORGANIZATION_ID", "o-a1b2c3d4e5")]).unwrap().denies_organization);
        assert_eq!((options.concurrency, options.max_object_bytes, options.max_windows), (64, 268_435_456, 168));
    }

    #[test]
    fn without_a_key_no_manifest_is_signed_and_a_key_needs_a_name() {
        for config in [config(&[]), config(&[("MANIFEST_KEY_ARN", ""), ("MANIFEST_KEY_NAME", "platform")])] {
            assert_eq!(config.unwrap().manifest_key_arn, None);
        }
        let arn = ("MANIFEST_KEY_ARN", "arn:aws:kms:eu-west-1:111111111111:key/1234");
        let named = config(&[arn, ("MANIFEST_KEY_NAME", "platform")]).unwrap();
        assert_eq!((named.manifest_key_arn.as_deref(), named.manifest_key_name.as_str()), (Some(arn.1), "platform"));
        for name in [&[arn][..], &[arn, ("MANIFEST_KEY_NAME", "")]] {
            assert!(config(name).unwrap_err().to_string().contains("MANIFEST_KEY_NAME"));
        }
    }

    #[test]
    fn an_invalid_variable_is_named() {
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

    /// The rows of a section's table.
    fn table(page: &'static str, heading: &str) -> Vec<Vec<&'static str>> {
        let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
        let rows = section.split("\n## ").next().unwrap().lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    /// The lines of the template after this one, up to the next blank line.
    fn block(line: &str) -> impl Iterator<Item = &'static str> {
        let (_, block) = TEMPLATE.split_once(&format!("\n{line}\n")).unwrap();
        block.split("\n\n").next().unwrap().lines()
    }

    /// The name that a line of a block declares.
    fn declared(line: &'static str) -> Option<&'static str> {
        line.strip_prefix("  ")?.strip_suffix(':').filter(|name| !name.starts_with([' ', '#']))
    }

    fn is_variable(name: &str) -> bool {
        name.contains('_') && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    }

    #[test]
    fn the_documented_parameters_and_defaults_are_exactly_those_of_the_template() {
        let mut parameters: Vec<(&str, String)> = Vec::new();
        for line in block("Parameters:") {
            if let Some(name) = declared(line) {
                parameters.push((name, String::new()));
            } else if let (Some(default), Some(last)) = (line.strip_prefix("    Default: "), parameters.last_mut()) {
                let default = default.trim_matches('"');
                last.1 = if default.is_empty() { "blank".to_owned() } else { format!("`{default}`") };
            }
        }
        let rows = table(CONFIGURATION, "Stack parameters");
        let documented: Vec<_> = rows.iter().map(|row| (row[0].trim_matches('`'), row[1].to_owned())).collect();
        assert_eq!(documented, parameters);
    }

    #[test]
    fn the_documented_outputs_are_exactly_those_of_the_template() {
        let rows = table(include_str!("../../../docs/deployment.md"), "Outputs");
        let documented: BTreeSet<_> =
            rows.iter().flat_map(|row| row[0].split(", ")).map(|name| name.trim_matches('`')).collect();
        assert_eq!(documented, block("Outputs:").filter_map(declared).collect());
    }

    #[test]
    fn the_documented_variables_are_exactly_those_that_the_template_sets_and_the_functions_read() {
        let mut set: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (line, function) in
            [("Globals:", "all"), ("  Exporter:", "exporter"), ("  Console:", "console"), ("  Recorder:", "recorder")]
        {
            let lines = block(line).filter_map(|line| line.trim_start().split_once(": "));
            for (name, _) in lines.filter(|(name, _)| is_variable(name)) {
                set.entry(name).or_default().push(function);
            }
        }
        let set: BTreeMap<_, _> = set.into_iter().map(|(name, functions)| (name, functions.join(", "))).collect();
        let rows = table(CONFIGURATION, "Environment variables");
        let documented: BTreeMap<_, _> = rows.iter().map(|row| (row[0].trim_matches('`'), row[1].to_owned())).collect();
        assert_eq!(documented, set);

        // A library reads this one.
        let mut read = BTreeSet::from(["RUST_LOG"]);
        for source in [
            include_str!("config.rs"),
            include_str!("../../core/src/deployment.rs"),
            include_str!("../../console/src/config.rs"),
            include_str!("../../console/src/embedding.rs"),
            include_str!("../../recorder/src/config.rs"),
            include_str!("../../web/src/access_token/config.rs"),
            include_str!("../../web/src/origin.rs"),
        ] {
            let source = source.split("#[cfg(test)]").next().unwrap();
            read.extend(source.split('"').filter(|text| is_variable(text)));
        }
        let by_lambda = ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_REGION"];
        for name in by_lambda {
            assert!(CONFIGURATION.contains(&format!("`{name}`")), "{name} is not in docs/configuration.md");
        }
        assert_eq!(read, set.into_keys().chain(by_lambda).collect());
    }
}
