//! Attacks by somebody who can write to the bucket and has no key, each with what the report must say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic outside its own function too")]

mod chain;
mod files;
#[path = "../folder/mod.rs"]
mod folder;
mod folders;

use audit_log_verify::{Request, chain::Range, check, finding::Kind, key::Keys, progress::Progress, report::Report};
use chrono::{DateTime, TimeDelta, Utc};
use folder::{Delivered, Folder, Signer, TENANT, WindowPlan, encode, events, hash};

const START: &str = "2026-11-21T10:00:00Z";
const NONE: [Kind; 0] = [];

/// A tenant's folder with the key that signed it.
struct Case {
    folder: Folder,
    signers: [Signer; 1],
    range: Range,
    head: Option<String>,
    strict: bool,
}

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

/// Long before the folder's first window.
fn long_ago() -> (DateTime<Utc>, DateTime<Utc>) {
    let from = "2020-01-01T00:00:00Z".parse().unwrap();
    (from, from + TimeDelta::hours(1))
}

fn data() -> Vec<u8> {
    encode(&events(at("12:10:00"), 3, "evil"), "json")
}

/// A text that anyone can write.
fn text(kind: &str, from: DateTime<Utc>, to: DateTime<Utc>, amends: &str, files: &[&str]) -> Vec<u8> {
    let written = |at: DateTime<Utc>| at.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let files: String = files.iter().map(|file| format!("{}  {file}\n", hash(&data()))).collect();
    let (from, to) = (written(from), written(to));
    format!(
        "audit-log-export manifest v1\ntenant {TENANT}\n{kind} {from} {to}\nevents 3 late 0 malformed 0 gap yes\n\
         previous none\n{amends}{files}"
    )
    .into_bytes()
}

impl Case {
    fn new(plans: &[WindowPlan]) -> Self {
        let signers = [Signer::new("platform")];
        let folder = Folder::new(TENANT, START, plans, &signers);
        Self { folder, signers, range: Range::default(), head: None, strict: false }
    }

    fn hours(count: usize) -> Self {
        Self::new(&vec![WindowPlan::default(); count])
    }

    fn with_final(count: usize) -> Self {
        let mut plans = vec![WindowPlan::default(); count];
        plans[count - 1].has_final = true;
        Self::new(&plans)
    }

    fn from(mut self, from: &str) -> Self {
        self.range.from = Some(at(from));
        self
    }

    fn to(mut self, to: &str) -> Self {
        self.range.to = Some(at(to));
        self
    }

    fn head(mut self) -> Self {
        self.head = Some(self.folder.head());
        self
    }

    fn add(&mut self, path: impl Into<String>, bytes: impl Into<Vec<u8>>) {
        self.folder.files.insert(path.into(), bytes.into());
    }

    fn remove(&mut self, delivered: &Delivered) {
        delivered.files.iter().chain([&delivered.manifest]).for_each(|path| drop(self.folder.files.remove(path)));
    }

    fn remove_window(&mut self, window: usize) {
        self.remove(&self.folder.windows[window].clone());
    }

    fn try_check(&self, folder: &str) -> Result<Report, String> {
        let root = tempfile::tempdir().unwrap();
        let tenant = root.path().join(folder);
        self.folder.write(&tenant);
        let mut keys = Keys::default();
        keys.add(&self.signers[0].verifier_key()).unwrap();
        let head = self.head.as_ref().map(|head| head.parse().unwrap());
        let request = Request { keys, range: self.range, head, strict: self.strict };
        check(&tenant, &request, &Progress::hidden()).map_err(|error| error.to_string())
    }

    fn check(&self) -> Report {
        self.try_check(&format!("tenant={TENANT}")).unwrap()
    }

    /// Asserts which kinds are found, one for each finding.
    fn finds(&self, kinds: impl IntoIterator<Item = Kind>) -> Report {
        let report = self.check();
        let found: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(found, kinds.into_iter().collect::<Vec<_>>(), "{report}");
        report
    }
}
