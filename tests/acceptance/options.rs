//! The command line.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) const USAGE: &str = "usage: acceptance --stack <name> --platform-profile <profile> --customer-profile <profile> --token-command <command>

  --stack <name>                 the deployed stack
  --platform-profile <profile>   the AWS CLI's profile for the platform's account
  --customer-profile <profile>   the AWS CLI's profile for another account, which plays the customer
  --token-command <command>      a shell command that prints an access token for the tenant in TENANT_ID
  --aws <path>                   the AWS CLI; by default the one in the path
  --region <region>              the stack's region; by default the platform profile's
  --tenant <id>                  the throw-away tenant; by default a new id
  --api-url <url>                your own address of the API; by default the stack's
  --wait                         waits for the next hour's own tick, up to 75 minutes
  --keep                         removes nothing afterwards
  --remove <run>                 only removes what an earlier run left
  --yes                          asks nothing
  --json <file>                  writes the results as JSON as well
  --quiet-minutes <minutes>      waits if the hourly tick is nearer than this; 25 by default

`make acceptance` builds it first; docs/deployment.md describes it.";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) stack: String,
    pub(crate) platform_profile: String,
    pub(crate) customer_profile: String,
    pub(crate) token_command: String,
    /// The program of the AWS CLI.
    pub(crate) aws: PathBuf,
    pub(crate) region: Option<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) api_url: Option<String>,
    pub(crate) wait: bool,
    pub(crate) keep: bool,
    /// The id of an earlier run.
    pub(crate) remove: Option<String>,
    pub(crate) yes: bool,
    pub(crate) json: Option<PathBuf>,
    pub(crate) quiet_minutes: u32,
}

impl Options {
    /// The command that removes what a run left.
    pub(crate) fn to_remove(&self, run: &str) -> String {
        let given = [
            ("STACK", Some(&self.stack)),
            ("PLATFORM_PROFILE", Some(&self.platform_profile)),
            ("CUSTOMER_PROFILE", Some(&self.customer_profile)),
            ("TOKEN_COMMAND", Some(&self.token_command)),
            ("REGION", self.region.as_ref()),
            ("API_URL", self.api_url.as_ref()),
            ("TENANT", self.tenant.as_ref()),
        ];
        let given = given.iter().filter_map(|(name, value)| Some(format!("{name}={} ", quoted((*value)?))));
        format!("make acceptance {}REMOVE={run}", given.collect::<String>())
    }

    pub(crate) fn from_arguments(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let (mut stack, mut platform_profile, mut customer_profile, mut token_command) = (None, None, None, None);
        let mut aws = PathBuf::from("aws");
        let (mut region, mut tenant, mut api_url, mut remove, mut json) = (None, None, None, None, None);
        let (mut wait, mut keep, mut yes, mut quiet_minutes) = (false, false, false, 25);
        while let Some(argument) = arguments.next() {
            // A variable of the Makefile that isn't set gives a blank value.
            let mut value = || {
                let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
                anyhow::Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty()))
            };
            match argument.as_str() {
                "--stack" => stack = value()?,
                "--platform-profile" => platform_profile = value()?,
                "--customer-profile" => customer_profile = value()?,
                "--token-command" => token_command = value()?,
                "--aws" => aws = value()?.map_or(aws, PathBuf::from),
                "--region" => region = value()?,
                "--tenant" => tenant = value()?,
                "--api-url" => api_url = value()?.map(|url| url.trim_end_matches('/').to_owned()),
                "--remove" => remove = value()?,
                "--json" => json = value()?.map(PathBuf::from),
                "--quiet-minutes" => {
                    quiet_minutes = value()?.context("--quiet-minutes needs a value")?.parse()?;
                    ensure!(quiet_minutes < 55, "--quiet-minutes must be less than 55");
                }
                "--wait" => wait = true,
                "--keep" => keep = true,
                "--yes" => yes = true,
                unknown => bail!("{unknown} is unknown"),
            }
        }
        if let Some(run) = &remove {
            let is_run = run.len() == 8 && run.bytes().all(|byte| byte.is_ascii_hexdigit());
            ensure!(is_run, "--remove needs the id of a run: eight hexadecimal digits");
        }
        Ok(Self {
            stack: stack.context("set STACK (--stack), the name of the deployed stack")?,
            platform_profile: platform_profile
                .context("set PLATFORM_PROFILE (--platform-profile), a profile of the platform's account")?,
            customer_profile: customer_profile
                .context("set CUSTOMER_PROFILE (--customer-profile), a profile of another account")?,
            token_command: token_command
                .context("set TOKEN_COMMAND (--token-command), a command that prints a token for $TENANT_ID")?,
            aws,
            region,
            tenant,
            api_url,
            wait,
            keep,
            remove,
            yes,
            json,
            quiet_minutes,
        })
    }
}

/// As a shell reads it.
fn quoted(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&byte);
    if value.bytes().all(is_plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(more: &[&str]) -> Result<Options, String> {
        let all = ["--stack", "s", "--platform-profile", "p", "--customer-profile", "c", "--token-command", "t"];
        let all = all.iter().chain(more).map(|argument| (*argument).to_owned());
        Options::from_arguments(all).map_err(|error| error.to_string())
    }

    #[test]
    fn blank_values_are_the_defaults() {
        let given =
            ["--region", "", "--tenant", "", "--api-url", "https://audit.example.com/", "--remove", "", "--json", ""];
        let options = parse(&given).unwrap();
        assert_eq!((&options.region, &options.tenant, &options.remove, &options.json), (&None, &None, &None, &None));
        assert_eq!(options.api_url.as_deref(), Some("https://audit.example.com"));
    }

    #[test]
    fn the_command_that_removes_has_all_that_the_run_was_given() {
        let given = ["--token-command", "mint 'a b' c", "--region", "eu-west-1", "--tenant", "trial"];
        let expected = r"make acceptance STACK=s PLATFORM_PROFILE=p CUSTOMER_PROFILE=c TOKEN_COMMAND='mint '\''a b'\'' c' REGION=eu-west-1 TENANT=trial REMOVE=01234567";
        assert_eq!(parse(&given).unwrap().to_remove("01234567"), expected);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (more, words) in [
            (&["--stack", ""][..], "set STACK"),
            (&["--token-command", " "], "set TOKEN_COMMAND"),
            (&["--region"], "--region needs a value"),
            (&["--remove", "acme"], "the id of a run"),
            (&["--quiet-minutes", "60"], "less than 55"),
            (&["--fast"], "--fast is unknown"),
        ] {
            let refused = parse(more).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }
}
