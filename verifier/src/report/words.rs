//! The report in words.

use std::fmt;

use super::{
    Begins, KeyUse, Outcome, Report, Totals,
    text::{number, plural, printable, size, wrap},
};
use crate::{
    chain::GivenHead,
    finding::{Finding, Kind, Severity},
    window::instant,
};

/// Findings of one kind that are shown. JSON has all.
const MAX_SHOWN: usize = 10;

impl Report {
    fn summary(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.result, self.unproved_files()) {
            (Outcome::Valid, 0) => "VALID".to_owned(),
            (Outcome::Valid, 1) => "VALID, with 1 file that is not proved".to_owned(),
            (Outcome::Valid, files) => format!("VALID, with {} files that are not proved", number(files)),
            (Outcome::Invalid, _) => "INVALID".to_owned(),
            (Outcome::Unchecked, _) if self.windows.total == 0 => "NO WINDOW COULD BE CHECKED".to_owned(),
            (Outcome::Unchecked, _) => "NOT CHECKED COMPLETELY".to_owned(),
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
                "  {}: {} and {} in {}, each byte as signed ({} read)",
                plural(valid, "window"),
                plural(events, "event"),
                plural(late, "late arrival"),
                plural(files, "file"),
                size(bytes)
            )?;
        } else {
            writeln!(f, "  of no window that its files are as signed")?;
        }
        let Totals { total, valid, events, files, bytes, .. } = self.final_deliveries;
        if total > 0 {
            let (valid, total) = (number(valid), plural(total, "final delivery"));
            let (events, files, read) = (plural(events, "event"), plural(files, "file"), size(bytes));
            writeln!(f, "  {valid} of {total}: {events} in {files} ({read} read)")?;
        }
        let is_whole = self.findings.iter().all(|finding| finding.severity == Severity::Notice);
        if let (true, Some(range)) = (is_whole, &self.range) {
            writeln!(f, "  no window and no file is missing from {range}")?;
        }
        match (self.begins, &self.range) {
            (Begins::FirstManifest, Some(range)) => {
                writeln!(f, "  the chain begins at {} with the tenant's first manifest", instant(range.from))?;
            }
            (Begins::PredecessorAbsent, Some(range)) => {
                writeln!(f, "  the chain begins at {}, but the tenant's did earlier", instant(range.from))?;
            }
            _ => {}
        }
        if let GivenHead::Until { until, .. } = self.head.found {
            let until = instant(until);
            writeln!(f, "  nothing up to {until} was cut off: the head that was given is in the folder")?;
        }
        for KeyUse { name, key_id, sha256, manifests, range } in &self.keys {
            let key = name.as_ref().map_or(format!("the key {key_id}"), |name| printable(&format!("{name}+{key_id}")));
            writeln!(f, "  {key} signed {} from {range}", plural(*manifests, "manifest"))?;
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
            more => writeln!(f, "    … and {} more; --json lists them", number(more as u64)),
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
            let is_shown = |kind: &&Kind| self.of_kind(**kind).any(|finding| finding.severity == severity);
            let mut kinds = Kind::ALL.iter().filter(is_shown).peekable();
            if kinds.peek().is_some() {
                writeln!(f, "\n{title}")?;
                kinds.try_for_each(|kind| self.group(f, *kind))?;
            }
        }
        Ok(())
    }
}
