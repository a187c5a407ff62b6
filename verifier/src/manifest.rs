//! The text of a manifest: what the platform says that it delivered for one window.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail, ensure};
use chrono::TimeDelta;

use crate::{
    hash::Sha256,
    names::{Class, DataName, ManifestName},
    window::Window,
};

/// The first line of each manifest.
pub(crate) const FIRST_LINE: &str = "audit-log-export manifest v1";

/// How long before a window the minutes of its late arrivals may be.
pub(crate) const TRAILING_PERIOD: TimeDelta = TimeDelta::minutes(15);

/// A manifest as its text has it. Whether the text can be trusted is another matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    pub tenant: String,
    /// The window or, of a final delivery, its time.
    pub window: Window,
    /// Whether it is that of a final delivery.
    pub is_final: bool,
    /// Recorded events of the window, without late arrivals.
    pub events: u64,
    /// Late arrivals of the window before.
    pub late: u64,
    /// Events of `events` that are wrapped.
    pub malformed: u64,
    /// Whether events may be missing.
    pub gap: bool,
    /// The hash of the text of the manifest before. None: the first one.
    pub previous: Option<Sha256>,
    /// The hash of the text that this one amends, and why.
    pub amends: Option<(Sha256, String)>,
    /// At least one.
    pub files: Vec<Listed>,
    /// The hash of this text.
    pub sha256: Sha256,
}

/// A file in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Relative to the tenant's folder.
    pub path: String,
    /// Of the stored bytes.
    pub sha256: Sha256,
}

impl Manifest {
    /// Reads a text.
    ///
    /// # Errors
    /// If it isn't exactly what the format says, and where.
    pub fn parse(text: &str) -> Result<Self> {
        ensure!(text.ends_with('\n') && !text.contains('\r'), "its lines don't end with line feeds");
        let mut lines = text.lines().peekable();
        let mut next = |name: &str| {
            let line = lines.next().unwrap_or_default();
            let value = line.strip_prefix(name).and_then(|rest| rest.strip_prefix(' '));
            value.with_context(|| format!("{line:?} is where the line {name:?} has to be"))
        };
        let version = next("audit-log-export")?;
        ensure!(version == "manifest v1", "it begins with {version:?}, which this version of the program can't read");
        let tenant = next("tenant")?;
        ensure!(is_tenant(tenant), "{tenant:?} is no tenant's id");
        let (window, is_final) = match next("window") {
            Ok(window) => (window, false),
            // The line has been taken; its name is checked below.
            Err(_) => {
                (text.lines().nth(2).and_then(|line| line.strip_prefix("final ")).context("it has no window")?, true)
            }
        };
        let window = Window::parse(window)?;
        let counts = next("events")?;
        let (events, late, malformed, gap) =
            parse_counts(counts).with_context(|| format!("{counts:?} are no counts"))?;
        let previous = match next("previous")? {
            "none" => None,
            hash => Some(hash.parse()?),
        };
        let amends = match lines.next_if(|line| line.starts_with("amends ")) {
            Some(line) => Some(parse_amends(line).with_context(|| format!("{line:?} names no amended manifest"))?),
            None => None,
        };
        ensure!(!(is_final && amends.is_some()), "a final delivery amends nothing");
        let files = lines.map(|line| parse_file(line, window, is_final)).collect::<Result<Vec<_>>>()?;
        ensure!(!files.is_empty(), "it lists no file");
        ensure!(
            files.iter().map(|file| &file.path).collect::<HashSet<_>>().len() == files.len(),
            "it lists a file twice"
        );
        let (tenant, sha256) = (tenant.to_owned(), Sha256::new(text.as_bytes()));
        Ok(Self { tenant, window, is_final, events, late, malformed, gap, previous, amends, files, sha256 })
    }

    /// Whether it is of the chain: neither amended nor final.
    pub(crate) fn is_regular(&self) -> bool {
        self.class() == Some(Class::Regular)
    }

    /// None for an amended one, whose number its text doesn't say.
    pub(crate) fn class(&self) -> Option<Class> {
        match (self.is_final, &self.amends) {
            (true, _) => Some(Class::Final),
            (false, None) => Some(Class::Regular),
            (false, Some(_)) => None,
        }
    }

    /// Whether a file of this name may hold this text.
    pub(crate) fn fits(&self, name: &ManifestName) -> bool {
        let fits = match name.class {
            Class::Regular => !self.is_final && self.amends.is_none(),
            Class::Amended(_) => self.amends.is_some(),
            Class::Final => self.is_final,
        };
        fits && name.window == self.window
    }
}

fn is_tenant(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Reads `<events> late <late> malformed <malformed> gap <yes or no>`.
fn parse_counts(line: &str) -> Option<(u64, u64, u64, bool)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [events, "late", late, "malformed", malformed, "gap", gap] = words[..] else { return None };
    let count = |word: &str| word.parse::<u64>().ok().filter(|count| count.to_string() == word);
    let gap = match gap {
        "yes" => true,
        "no" => false,
        _ => return None,
    };
    let counts = (count(events)?, count(late)?, count(malformed)?, gap);
    (counts.2 <= counts.0).then_some(counts)
}

/// Reads `amends <hash> <cause>`.
fn parse_amends(line: &str) -> Result<(Sha256, String)> {
    let (hash, cause) = line.trim_start_matches("amends ").split_once(' ').context("the cause is missing")?;
    ensure!(
        !cause.is_empty() && cause.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
        "{cause:?} is no cause"
    );
    Ok((hash.parse()?, cause.to_owned()))
}

/// Reads a line of `sha256sum`. The path can't lead out of the folder, since it is that of a data file.
fn parse_file(line: &str, window: Window, is_final: bool) -> Result<Listed> {
    let Some((sha256, path)) = line.split_once("  ") else { bail!("{line:?} is no line of sha256sum") };
    let name = DataName::parse(path).filter(|name| name.path() == path);
    let name = name.with_context(|| format!("{path:?} is no data file's path"))?;
    let fits = if name.is_late { may_be_late(name.window, window) } else { name.window == window };
    ensure!(name.is_final == is_final && fits, "{path:?} is of another window");
    Ok(Listed { path: path.to_owned(), sha256: sha256.parse()? })
}

/// Whether a window's late arrivals may be of a minute, which is shorter where windows begin or end within it.
fn may_be_late(minute: Window, window: Window) -> bool {
    let ends_before = minute.to <= window.from;
    ends_before && minute.from >= window.from - TRAILING_PERIOD && minute.to - minute.from <= TimeDelta::minutes(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "822b33ad87c148a0a20a5ba7cd5ebcaa68d36a18e7aad165554903f52ca82757";

    fn regular() -> String {
        format!(
            "audit-log-export manifest v1\ntenant acme\nwindow 2026-11-21T10:00:00Z 2026-11-21T11:00:00Z\n\
             events 613 late 2 malformed 1 gap no\nprevious {HASH}\n\
             {HASH}  dt=2026-11-21/20261121T095000Z_20261121T095100Z_late_0001.json\n\
             {HASH}  dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json\n"
        )
    }

    #[test]
    fn a_regular_manifest_is_read() {
        let manifest = Manifest::parse(&regular()).unwrap();
        assert_eq!((manifest.tenant.as_str(), manifest.is_final, manifest.gap), ("acme", false, false));
        assert_eq!((manifest.events, manifest.late, manifest.malformed), (613, 2, 1));
        assert_eq!(manifest.previous, Some(HASH.parse().unwrap()));
        assert_eq!(manifest.files.len(), 2);
        assert_eq!(manifest.sha256, Sha256::new(regular().as_bytes()));
    }

    #[test]
    fn the_first_the_amended_and_the_final_ones_are_read() {
        let first = regular().replacen(&format!("previous {HASH}"), "previous none", 1);
        assert_eq!(Manifest::parse(&first).unwrap().previous, None);
        let amended = regular().replacen("previous", &format!("previous {HASH}\namends {HASH} replay\nprevious"), 1);
        let amended = amended.replacen(&format!("replay\nprevious {HASH}\n"), "replay\n", 1);
        assert_eq!(Manifest::parse(&amended).unwrap().amends.unwrap().1, "replay");
        let last =
            regular().replace("window ", "final ").replace("_late_", "_final_late_").replace("Z_0001", "Z_final_0001");
        assert!(Manifest::parse(&last).unwrap().is_final);
    }

    #[test]
    fn any_other_text_is_refused() {
        let none = "0 late 0 malformed 0 gap no";
        for (from, to) in [
            ("v1", "v2"),
            ("tenant acme", "tenant a/c"),
            ("tenant acme", "tenant"),
            ("window 2", "windows 2"),
            ("events 613", "events 0613"),
            ("events 613", "events +613"),
            ("events 613", "events 0"),
            ("gap no", "gap maybe"),
            ("events", none),
            (HASH, "0"),
            ("  dt", " dt"),
            ("  dt", " *dt"),
            ("  dt=", "  ../dt="),
            ("dt=2026-11-21/20261121T10", "dt=2026-11-22/20261121T10"),
            ("_20261121T110000Z_0001", "_20261121T113000Z_0001"),
            ("Z_0001", "Z_final_0001"),
            ("T095000Z_20261121T095100Z_late", "T100000Z_20261121T110000Z"),
            ("T095000Z_20261121T095100Z_late", "T094400Z_20261121T094500Z_late"),
            ("T095000Z_20261121T095100Z_late", "T095000Z_20261121T095200Z_late"),
            ("T095000Z_20261121T095100Z_late", "T095930Z_20261121T100030Z_late"),
            ("previous", "amends 0 replay\nprevious"),
            ("\nevents", "\n\nevents"),
            (".json\n", ".json\n\n"),
            (".json\n", ".json\r\n"),
        ] {
            let text = regular().replacen(from, to, 1);
            assert_ne!(text, regular());
            assert!(Manifest::parse(&text).is_err(), "{text}");
        }
        let text = regular();
        assert!(Manifest::parse(text.trim_end()).is_err());
        let without_files: Vec<&str> = text.lines().take(5).collect();
        assert!(Manifest::parse(&without_files.join("\n")).is_err());
    }
}
