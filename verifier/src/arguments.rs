//! The command line.

use std::{ffi::OsString, path::PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::{chain::Range, hash::Sha256, window::parse_argument};

/// What `--help` prints.
pub const HELP: &str = "\
Proves, offline, that a copy of your audit logs is complete and unchanged.

Usage: audit-log-verify --key FILE [--key FILE]... [OPTIONS] FOLDER

FOLDER is a copy of your folder in the bucket, tenant=<id>, with its manifests, or a folder above it:

  aws s3 sync s3://BUCKET/PREFIX/audit-logs/tenant=ID tenant=ID
  audit-log-verify --key platform.pem tenant=ID

Options:
  --key FILE      A public key of the platform: PEM, or a verifier key (<name>+<id>+<base64>), one a line. Get it once, from the
                  status page or GET /v1/manifest-keys, compare it with what the platform tells you in another way, and keep it:
                  its owner decides what is valid. Give old keys too if the platform changed its key
  --from INSTANT  Check windows from this instant on, and that they are all there: 2026-11-21T10:00:00Z or 2026-11-21 (UTC)
  --to INSTANT    Check windows up to this instant, and that they are all there
  --head SHA256   The head: the SHA-256 of the newest manifest's text, as the platform's status page shows it. The folder must
                  hold that manifest. Without it, nothing shows whether the newest windows
                  were cut off
  --strict        Files that are not proved (leftover, before_chain) make the folder invalid. For scripts that read all files
  --json          Print the report as one JSON document, with all findings
  -h, --help      Print this
  -V, --version   Print the version

What is checked: the signature of each manifest; that each one names the one before by its hash; that windows follow each other
without gap or overlap; each file's SHA-256, the number of its events and their dates; that no manifest and no file is missing,
changed, moved or added. Symbolic links are not followed. Files of operating systems (.DS_Store, ._*, Thumbs.db, desktop.ini) are
ignored, and the report says so.

Exit status:
  0  valid: the report says what was proved and what was not
  1  invalid: something is missing, changed or added, or is not proved
  2  not checked: no key, wrong arguments, a folder or file that can't be read, no manifest at all, or no window
";

/// What is to be done.
#[derive(Debug)]
pub enum Command {
    /// Print [`HELP`].
    Help,
    /// Print the version.
    Version,
    /// Check a folder.
    Check(Options),
}

/// What is to be checked.
#[derive(Debug)]
pub struct Options {
    /// A copy of a tenant's folder, or a folder above it.
    pub folder: PathBuf,
    /// The files with the keys; at least one.
    pub keys: Vec<PathBuf>,
    pub range: Range,
    /// The hash of the newest manifest.
    pub head: Option<Sha256>,
    /// Whether files that are not proved are errors.
    pub strict: bool,
    /// Whether the report is for machines.
    pub json: bool,
}

impl Command {
    /// Reads arguments, without the program's name.
    ///
    /// # Errors
    /// If they are wrong, and how to mend them.
    pub fn from_arguments(arguments: impl IntoIterator<Item = OsString>) -> Result<Self> {
        let mut arguments = arguments.into_iter();
        let (mut folders, mut keys, mut range, mut head) = (Vec::new(), Vec::new(), Range::default(), None);
        let (mut strict, mut json) = (false, false);
        let mut only_folders = false;
        while let Some(argument) = arguments.next() {
            let Some(text) = argument.to_str().filter(|text| !only_folders && text.len() > 1 && text.starts_with('-'))
            else {
                folders.push(PathBuf::from(argument));
                continue;
            };
            let (name, inline) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            let mut value = || {
                let value = inline.map(OsString::from).or_else(|| arguments.next());
                value.filter(|value| !value.is_empty()).with_context(|| format!("{name} needs a value"))
            };
            let mut word = || value()?.into_string().ok().with_context(|| format!("the value of {name} is not UTF-8"));
            match name {
                "--from" => range.from = Some(parse_argument(&word()?).context("--from")?),
                "--to" => range.to = Some(parse_argument(&word()?).context("--to")?),
                "--head" => head = Some(word()?.parse().context("--head")?),
                "--key" => keys.push(PathBuf::from(value()?)),
                _ if inline.is_some() => bail!("{name} is no option that takes a value"),
                "--strict" => strict = true,
                "--json" => json = true,
                "--" => only_folders = true,
                "-h" | "--help" => return Ok(Self::Help),
                "-V" | "--version" => return Ok(Self::Version),
                _ => bail!("{name} is no option"),
            }
        }
        if range.from.zip(range.to).is_some_and(|(from, to)| from >= to) {
            bail!("--to must be later than --from");
        }
        if keys.is_empty() && !folders.is_empty() {
            bail!(
                "no key. Save the platform's public key from its status page or from GET /v1/manifest-keys, compare it with what \
                 the platform tells you in another way, and give it with --key FILE"
            );
        }
        match <[PathBuf; 1]>::try_from(folders) {
            Ok([folder]) => Ok(Self::Check(Options { folder, keys, range, head, strict, json })),
            Err(folders) if folders.is_empty() => bail!("no folder. Name the copy of a tenant's folder, tenant=<id>"),
            Err(_) => bail!("more than one folder. Check one after the other"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> Result<Command> {
        Command::from_arguments(arguments.split(' ').filter(|word| !word.is_empty()).map(OsString::from))
    }

    #[test]
    fn options_may_stand_anywhere_and_hold_their_value_either_way() {
        let hash = Sha256::new(b"");
        let arguments = format!(
            "logs --key a.pem --key=b --from 2026-11-21 --to=2026-11-22T00:00:00Z --head {hash} --strict --json"
        );
        let Command::Check(options) = read(&arguments).unwrap() else { panic!("no check") };
        assert_eq!(options.folder, PathBuf::from("logs"));
        assert_eq!(options.keys, [PathBuf::from("a.pem"), PathBuf::from("b")]);
        assert!(options.range.from.is_some() && options.range.to.is_some() && options.strict && options.json);
        assert_eq!(options.head, Some(hash));
        assert!(matches!(read("--key k -- -folder").unwrap(), Command::Check(_)));
        assert!(matches!(read("--help").unwrap(), Command::Help));
        assert!(matches!(read("logs -V").unwrap(), Command::Version));
    }

    #[test]
    fn wrong_arguments_are_refused_with_what_to_do() {
        for (arguments, reason) in [
            ("", "no folder"),
            ("--key k", "no folder"),
            ("logs", "no key"),
            ("--key k a b", "more than one folder"),
            ("logs --key", "--key needs a value"),
            ("logs --key=", "--key needs a value"),
            ("logs --keys k", "--keys is no option"),
            ("logs --json=yes", "--json is no option that takes a value"),
            ("logs --key k --head abc", "--head"),
            ("logs --key k --from today", "--from"),
            ("logs --key k --from 2026-11-22 --to 2026-11-21", "later"),
        ] {
            let error = format!("{:#}", read(arguments).unwrap_err());
            assert!(error.contains(reason), "{arguments}: {error}");
        }
    }

    #[test]
    fn help_fits_a_wide_terminal() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 130));
    }
}
