//! The command line.

use anyhow::{Context as _, Result, bail};
use audit_log_core::tenant::TenantId;

pub(crate) const USAGE: &str =
    "usage: erase --tenants-table <name> --events-table <name> --tenant <id> [--dry-run] [--yes]

  --tenants-table <name>  the stack's output TenantsTableName
  --events-table <name>   the stack's output EventsTableName
  --tenant <id>           the tenant to erase
  --dry-run               only counts
  --yes                   asks nothing

`make erase STACK=… TENANT=…` builds it and fills in the tables; docs/offboarding.md describes it.";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) tenants_table: String,
    pub(crate) events_table: String,
    pub(crate) tenant: TenantId,
    pub(crate) dry_run: bool,
    pub(crate) yes: bool,
}

impl Options {
    /// # Errors
    /// If an argument is missing, unknown or given twice, or the id is not a tenant's. Nothing has a default: the command
    /// must not erase what nobody named.
    pub(crate) fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let (mut tenants_table, mut events_table, mut tenant) = (None, None, None);
        let (mut dry_run, mut yes) = (false, false);
        while let Some(argument) = arguments.next() {
            let value = match argument.as_str() {
                "--tenants-table" => &mut tenants_table,
                "--events-table" => &mut events_table,
                "--tenant" => &mut tenant,
                "--dry-run" => {
                    dry_run = true;
                    continue;
                }
                "--yes" => {
                    yes = true;
                    continue;
                }
                unknown => bail!("{unknown} is unknown"),
            };
            let given = arguments.next().filter(|given| !given.is_empty());
            if value.replace(given.with_context(|| format!("{argument} needs a value"))?).is_some() {
                bail!("{argument} is given twice");
            }
        }
        Ok(Self {
            tenants_table: tenants_table.context("--tenants-table is missing")?,
            events_table: events_table.context("--events-table is missing")?,
            tenant: TenantId::parse(&tenant.context("--tenant is missing")?)?,
            dry_run,
            yes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::from_arguments(line.split(' ').map(str::to_owned)).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_command_without_flags_asks_and_erases() {
        let options = parse("--tenants-table t --events-table e --tenant acme").unwrap();
        assert_eq!((options.tenant.as_str(), options.dry_run, options.yes), ("acme", false, false));
        let options = parse("--dry-run --tenants-table t --yes --events-table e --tenant acme").unwrap();
        assert_eq!((&*options.tenants_table, &*options.events_table), ("t", "e"));
        assert!(options.dry_run && options.yes);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (line, words) in [
            ("--tenants-table t --events-table e", "--tenant is missing"),
            ("--tenants-table t --tenant acme", "--events-table is missing"),
            ("--events-table e --tenant acme", "--tenants-table is missing"),
            ("--tenants-table t --events-table e --tenant", "--tenant needs a value"),
            ("--tenants-table t --events-table e --tenant a#0", "a tenant id has"),
            ("--tenant acme --tenant globex", "given twice"),
            ("--force", "--force is unknown"),
        ] {
            let refused = parse(line).unwrap_err();
            assert!(refused.contains(words), "{line}: {refused}");
        }
    }
}
