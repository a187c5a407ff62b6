//! What a check proved and what it didn't, for people and for machines.

mod text;
mod words;

use std::collections::BTreeMap;

use serde::Serialize;

use self::text::number;

use crate::{
    chain::{Beginning, GivenHead},
    finding::{Finding, Kind},
    hash::Sha256,
    key::KeyId,
    window::{Window, instant},
};

/// Findings of one kind that are kept.
const MAX_KEPT: usize = 10_000;

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub result: Outcome,
    pub tenant: String,
    /// The folder that was checked.
    pub folder: String,
    /// From the first window to the last one. None if there is none.
    pub range: Option<Window>,
    /// Windows of the chain.
    pub windows: Totals,
    /// Final deliveries, which are beside the chain.
    pub final_deliveries: Totals,
    pub begins: Begins,
    pub head: Head,
    /// Whether only a part of the time was asked for.
    #[serde(skip)]
    pub(crate) is_limited: bool,
    /// Whether the manifest after the range is missing, which lists late arrivals of the last window.
    #[serde(skip)]
    pub(crate) lacks_next: bool,
    /// The keys that signed, in the order of their use.
    pub keys: Vec<KeyUse>,
    /// By kind and time, at most 10,000 of a kind.
    pub findings: Vec<Finding>,
    /// How many more findings there are of a kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub omitted: BTreeMap<Kind, u64>,
}

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

impl From<Beginning> for Begins {
    fn from(beginning: Beginning) -> Self {
        match beginning {
            Beginning::First => Self::FirstManifest,
            Beginning::After(_) => Self::PredecessorAbsent,
            Beginning::Within => Self::Within,
            Beginning::Unknown => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Head {
    /// The hash of the newest manifest's text.
    pub sha256: Option<Sha256>,
    pub given: Option<Sha256>,
    #[serde(skip)]
    pub(crate) found: GivenHead,
}

/// A key and what it signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyUse {
    /// As it was given. None if it was read from a PEM file.
    pub name: Option<String>,
    pub key_id: KeyId,
    /// Of the public key's DER.
    pub sha256: Sha256,
    /// How many manifests it signed.
    pub manifests: u64,
    /// From the first of them to the last.
    pub range: Window,
}

impl Report {
    pub fn status(&self) -> u8 {
        match self.result {
            Outcome::Valid => 0,
            Outcome::Invalid => 1,
            Outcome::Unchecked => 2,
        }
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }

    fn count(&self, kind: Kind) -> usize {
        self.of_kind(kind).count()
            + self.omitted.get(&kind).map_or(0, |more| usize::try_from(*more).unwrap_or(usize::MAX))
    }

    /// Counts the findings beyond those that anyone reads: an attacker can add any number of files.
    pub(crate) fn omit_findings(&mut self) {
        let (mut kept, omitted) = (BTreeMap::<Kind, usize>::new(), &mut self.omitted);
        self.findings.retain(|finding| {
            let count = kept.entry(finding.kind).or_default();
            *count += 1;
            let is_kept = *count <= MAX_KEPT;
            if !is_kept {
                *omitted.entry(finding.kind).or_default() += 1;
            }
            is_kept
        });
    }

    /// Files that are not proved, and yet no error unless `--strict` is given.
    fn unproved_files(&self) -> u64 {
        let kinds = Kind::ALL.iter().filter(|kind| kind.is_unproved_file());
        kinds.map(|kind| self.count(*kind) as u64).sum()
    }

    /// What this check can't prove, in words.
    pub fn not_proved(&self) -> Vec<String> {
        let mut not_proved = Vec::new();
        let mut add = |text: &str| not_proved.push(text.to_owned());
        match self.begins {
            Begins::PredecessorAbsent => add("what came before the first window, since its predecessor is absent"),
            Begins::Unknown => add("what came before the first window"),
            Begins::FirstManifest | Begins::Within => {}
        }
        match self.head.found {
            GivenHead::None => add(
                "that nothing was cut off at the end: give --head with the head that the platform's status page shows",
            ),
            GivenHead::Earlier => {
                add("that nothing was cut off at the end: the head that was given is of an earlier window")
            }
            GivenHead::Until { until, newer: newer @ 1.. } => add(&format!(
                "that nothing was cut off after {}: {} newer than the head that was given, and nothing shows whether more \
                 were cut off after them",
                instant(until),
                if newer == 1 { "1 window is".to_owned() } else { format!("{} windows are", number(newer)) }
            )),
            GivenHead::Until { .. } | GivenHead::Absent | GivenHead::Unconnected => {}
        }
        if self.lacks_next {
            add("late arrivals of the last 15 minutes: they are listed by the manifest after --to, which is not here");
        }
        add("that no final delivery was deleted: no other manifest names them, and the head is that of a window");
        if self.count(Kind::Amended) > 0 {
            add("that each amended manifest is the last one of its window: nothing names a later one");
        }
        if self.is_limited {
            add("files of other times than those that were asked for");
        }
        for (kind, one, many) in [
            (Kind::Incomplete, "window holds all of its events", "windows hold all of their events"),
            (
                Kind::Leftover,
                "file beside those of its window is audit logs",
                "files beside those of their windows are audit logs",
            ),
            (
                Kind::BeforeChain,
                "file from before the first manifest is audit logs",
                "files from before the first manifest are audit logs",
            ),
        ] {
            match self.count(kind) {
                0 => {}
                1 => add(&format!("that 1 {one}")),
                count => add(&format!("that {} {many}", number(count as u64))),
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
}
