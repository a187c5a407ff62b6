//! What a check proved and what it didn't, for people and for machines.

use std::fmt::{self, Write as _};

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    finding::{Finding, Kind, Severity},
    hash::Sha256,
    key::KeyId,
    window::Window,
};

/// Findings of one kind that are shown in words. JSON has all.
const MAX_SHOWN: usize = 10;

/// The report of a check.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The verdict.
    pub result: Outcome,
    /// The tenant's id.
    pub tenant: String,
    /// The folder that was checked.
    pub folder: String,
    /// From the first window to the last one. None if there is none.
    pub range: Option<Window>,
    /// Windows of the chain.
    pub windows: Totals,
    /// Final deliveries, which are beside the chain.
    pub final_deliveries: Totals,
    /// How the windows begin.
    pub begins: Begins,
    /// How they end.
    pub head: Head,
    /// The keys that signed, in the order of their use.
    pub keys: Vec<KeyUse>,
    /// By kind and time.
    pub findings: Vec<Finding>,
}

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All that is there is as the platform signed it, and nothing is missing in between.
    Valid,
    /// Something isn't, or can't be proved to be.
    Invalid,
    /// Nothing is wrong so far, but something couldn't be read.
    Unchecked,
}

/// Sums over deliveries. All but `total` and `bytes` are of valid ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Those that have a manifest.
    pub total: u64,
    /// Those whose manifest can be trusted and whose files are as it says.
    pub valid: u64,
    /// Recorded events, without late arrivals.
    pub events: u64,
    /// Late arrivals.
    pub late: u64,
    /// Data files.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
}

/// How the windows begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Begins {
    /// With the tenant's first manifest.
    FirstManifest,
    /// With one whose predecessor isn't in the folder.
    PredecessorAbsent,
    /// After others in the folder, which weren't asked for.
    Within,
    /// Their first manifest can't be used.
    Unknown,
}

/// How the windows end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The hash of the newest manifest's text.
    pub sha256: Option<Sha256>,
    /// The hash that was given.
    pub given: Option<Sha256>,
    /// The end of the window of that manifest, for the words. None if it isn't in the folder.
    #[serde(skip)]
    pub given_until: Option<DateTime<Utc>>,
}

/// A key and what it signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyUse {
    /// As signatures have it.
    pub name: String,
    /// The key's id.
    pub key_id: KeyId,
    /// Of the public key's DER.
    pub sha256: Sha256,
    /// How many manifests it signed.
    pub manifests: u64,
    /// From the first of them to the last.
    pub range: Window,
}

impl Report {
    /// The exit status.
    pub fn status(&self) -> u8 {
        match self.result {
            Outcome::Valid => 0,
            Outcome::Invalid => 1,
            Outcome::Unchecked => 2,
        }
    }

    /// The findings of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    fn count(&self, kind: Kind) -> usize {
        self.of_kind(kind).count()
    }

    /// What this check can't prove, in words.
    pub fn not_proved(&self) -> Vec<String> {
        let mut not_proved = Vec::new();
        match self.begins {
            Begins::PredecessorAbsent => {
                not_proved.push("what came before the first window, since its predecessor is absent")
            }
            Begins::Unknown => not_proved.push("what came before the first window"),
            Begins::FirstManifest | Begins::Within => {}
        }
        if self.head.given.is_none() {
            not_proved.push(
                "that nothing was cut off at the end: give --head with the head that the platform's status page shows",
            );
        }
        let mut not_proved: Vec<String> = not_proved.into_iter().map(str::to_owned).collect();
        for (kind, what) in [
            (Kind::Incomplete, "windows hold all of their events: the platform says that some may be missing"),
            (Kind::Leftover, "files beside others of their window are audit logs"),
            (Kind::BeforeChain, "files from before the first manifest are audit logs"),
        ] {
            let count = self.count(kind);
            if count > 0 {
                not_proved.push(format!("that {} {what}", number(count as u64)));
            }
        }
        not_proved
    }

    /// The JSON document.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a Report,
            not_proved: Vec<String>,
        }
        serde_json::to_string_pretty(&Document { report: self, not_proved: self.not_proved() })
    }

    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.result {
            Outcome::Valid => "VALID",
            Outcome::Invalid => "INVALID",
            Outcome::Unchecked => "NOT CHECKED COMPLETELY",
        };
        writeln!(f, "{verdict}: audit logs of the tenant {} in {}", printable(&self.tenant), printable(&self.folder))?;
        let Totals { total, valid, .. } = self.windows;
        match &self.range {
            Some(range) => {
                write!(f, "{} of {} valid from {range}", number(valid), plural(total, "window"))?;
            }
            None => write!(f, "no window of the chain")?,
        }
        let mut marked = |kind, what: &str| match self.count(kind) {
            0 => Ok(()),
            1 => write!(f, "; 1 window is {what}"),
            count => write!(f, "; {} windows are {what}", number(count as u64)),
        };
        marked(Kind::Incomplete, "marked incomplete")?;
        marked(Kind::UnsignedInChain, "proved by a later signature")?;
        marked(Kind::Amended, "amended")?;
        writeln!(f, ".")
    }

    fn proved(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nProved")?;
        let Totals { valid, events, late, files, bytes, .. } = self.windows;
        if valid > 0 {
            writeln!(
                f,
                "  {}: {} and {} in {}, each byte as signed ({} MB read)",
                plural(valid, "window"),
                plural(events, "event"),
                plural(late, "late arrival"),
                plural(files, "file"),
                number(bytes.div_ceil(1_000_000))
            )?;
        } else {
            writeln!(f, "  of no window that its files are as signed")?;
        }
        let Totals { total, valid, events, files, .. } = self.final_deliveries;
        if total > 0 {
            let (valid, total) = (number(valid), plural(total, "final delivery"));
            writeln!(f, "  {valid} of {total}: {} in {}", plural(events, "event"), plural(files, "file"))?;
        }
        let is_whole = self.findings.iter().all(|finding| finding.kind.severity() == Severity::Notice);
        if let (true, Some(range)) = (is_whole, &self.range) {
            writeln!(f, "  no window and no file is missing from {range}")?;
        }
        match (self.begins, &self.range) {
            (Begins::FirstManifest, Some(range)) => {
                writeln!(
                    f,
                    "  the chain begins at {} with the tenant's first manifest",
                    crate::window::instant(range.from)
                )?;
            }
            (Begins::PredecessorAbsent, Some(range)) => {
                writeln!(
                    f,
                    "  the chain begins at {}, but the tenant's did earlier",
                    crate::window::instant(range.from)
                )?;
            }
            _ => {}
        }
        if let Some(until) = self.head.given_until {
            let until = crate::window::instant(until);
            writeln!(f, "  nothing up to {until} was cut off: the head that was given is in the folder")?;
        }
        for KeyUse { name, key_id, sha256, manifests, range } in &self.keys {
            writeln!(
                f,
                "  {} signed {} from {range}",
                printable(&format!("{name}+{key_id}")),
                plural(*manifests, "manifest")
            )?;
            writeln!(f, "    the key's SHA-256 is {sha256}")?;
        }
        match self.head.sha256 {
            Some(head) => writeln!(f, "  the head of these windows is {head}"),
            None => Ok(()),
        }
    }

    fn group(&self, f: &mut fmt::Formatter<'_>, kind: Kind) -> fmt::Result {
        let count = self.count(kind);
        writeln!(f, "\n  {} ({})", kind.name(), number(count as u64))?;
        wrap(f, kind.meaning(), "    ")?;
        for Finding { window, path, detail, .. } in self.of_kind(kind).take(MAX_SHOWN) {
            let what = path.clone().or_else(|| window.filter(|_| detail.is_empty()).map(|window| window.to_string()));
            let parts: Vec<String> = what.into_iter().chain((!detail.is_empty()).then(|| detail.clone())).collect();
            let place = match (path, window) {
                (None, Some(window)) if !detail.is_empty() && *detail != window.to_string() => format!("{window}: "),
                _ => String::new(),
            };
            writeln!(f, "    - {place}{}", printable(&parts.join(": ")))?;
        }
        match count.saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "    … and {} more; --json lists all", number(more as u64)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary(f)?;
        self.proved(f)?;
        let not_proved = self.not_proved();
        if !not_proved.is_empty() {
            writeln!(f, "\nNot proved")?;
            not_proved.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        for (title, severity) in
            [("Wrong", Severity::Error), ("Not checked", Severity::Unchecked), ("Notices", Severity::Notice)]
        {
            let mut kinds =
                Kind::ALL.iter().filter(|kind| kind.severity() == severity && self.count(**kind) > 0).peekable();
            if kinds.peek().is_some() {
                writeln!(f, "\n{title}")?;
                kinds.try_for_each(|kind| self.group(f, *kind))?;
            }
        }
        Ok(())
    }
}

/// Without control characters: names of files and keys are others' texts, and this goes to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// With commas: `8,760`.
fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn plural(count: u64, what: &str) -> String {
    match (count, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{} {stem}ies", number(count)),
        (_, None) => format!("{} {what}s", number(count)),
    }
}

/// Writes a text in lines of at most 100 characters.
fn wrap(f: &mut fmt::Formatter<'_>, text: &str, indent: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.len() + line.len() + 1 + word.len() > 100 {
            writeln!(f, "{indent}{line}")?;
            line.clear();
        }
        let space = if line.is_empty() { "" } else { " " };
        write!(line, "{space}{word}")?;
    }
    writeln!(f, "{indent}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_and_words_their_plural() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(plural(1, "window"), "1 window");
        assert_eq!(plural(2, "final delivery"), "2 final deliveries");
    }

    #[test]
    fn a_name_of_a_file_can_not_control_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
