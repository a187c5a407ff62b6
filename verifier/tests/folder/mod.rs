//! Builds tenants' folders as the platform delivers them, from plans. Shares no code with what it tests but the cryptography.

#![allow(dead_code, reason = "the tests and the bench use different parts")]

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};

pub(crate) const TENANT: &str = "acme";

/// A private key with a name.
pub(crate) struct Signer {
    name: String,
    pair: EcdsaKeyPair,
}

impl Signer {
    pub(crate) fn new(name: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        Self { name: name.to_owned(), pair }
    }

    /// By RFC 5480: the algorithm, the curve, and the point.
    fn der(&self) -> Vec<u8> {
        let header = STANDARD.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap();
        // The last byte is the point's first.
        [&header[..26], self.pair.public_key().as_ref()].concat()
    }

    pub(crate) fn pem(&self) -> String {
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(self.der()))
    }

    pub(crate) fn verifier_key(&self) -> String {
        let id = &hash(&self.der())[..8];
        format!("{}+{id}+{}\n", self.name, STANDARD.encode([&[2], &self.der()[..]].concat()))
    }

    /// Returns the text with its signature.
    pub(crate) fn sign(&self, text: &str) -> String {
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        let id = &digest(&SHA256, &self.der()).as_ref()[..4].to_vec();
        format!("{text}\n— {} {}\n", self.name, STANDARD.encode([id, signature.as_ref()].concat()))
    }
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a manifest names as its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Previous {
    /// The manifest before or, for the first one, nothing.
    Natural,
    None,
    /// The manifest of the window with this number.
    Of(usize),
    /// One that isn't there.
    Absent,
}

/// One window.
#[derive(Debug, Clone)]
pub(crate) struct WindowPlan {
    pub(crate) minutes: i64,
    /// Recorded events in each file. None: a heartbeat.
    pub(crate) files: Vec<usize>,
    /// Events in the file of a late minute.
    pub(crate) late: usize,
    pub(crate) gap: bool,
    /// `json`, `ndjson`, `json.gz` or `ndjson.gz`.
    pub(crate) extension: &'static str,
    /// Whether the events are in OCSF.
    pub(crate) is_ocsf: bool,
    /// Which key signs, if any.
    pub(crate) signer: Option<usize>,
    /// Whether it was delivered again.
    pub(crate) is_amended: bool,
    /// Whether a final delivery begins at its end.
    pub(crate) has_final: bool,
    pub(crate) previous: Previous,
    /// How many minutes there are between the window before and this one.
    pub(crate) hole: i64,
    /// What the manifest says beyond the truth.
    pub(crate) extra_events: u64,
    /// Whether the data are no events.
    pub(crate) is_garbage: bool,
}

impl Default for WindowPlan {
    fn default() -> Self {
        Self {
            minutes: 60,
            files: vec![2],
            late: 0,
            gap: false,
            extension: "json",
            is_ocsf: false,
            signer: Some(0),
            is_amended: false,
            has_final: false,
            previous: Previous::Natural,
            hole: 0,
            extra_events: 0,
            is_garbage: false,
        }
    }
}

impl WindowPlan {
    fn encode(&self, lines: &[String]) -> Vec<u8> {
        let lines = lines.iter().map(|line| if self.is_ocsf { in_ocsf(line) } else { line.clone() });
        encode(&lines.collect::<Vec<_>>(), self.extension)
    }
}

/// A delivered window.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) manifest: String,
    pub(crate) text: String,
    /// Of the window and of a late minute.
    pub(crate) files: Vec<String>,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

/// A tenant's folder in memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// The regular ones, in order.
    pub(crate) windows: Vec<Delivered>,
    pub(crate) amended: Vec<Delivered>,
    pub(crate) finals: Vec<Delivered>,
}

impl Folder {
    pub(crate) fn new(tenant: &str, start: &str, plans: &[WindowPlan], signers: &[Signer]) -> Self {
        let mut folder = Self::empty();
        let mut at: DateTime<Utc> = start.parse().unwrap();
        for plan in plans {
            let from = at + TimeDelta::minutes(plan.hole);
            at = from + TimeDelta::minutes(plan.minutes);
            folder.deliver(tenant, plan, from, at, signers);
        }
        folder
    }

    pub(crate) fn empty() -> Self {
        let check = ("_audit-log-export/connectivity-check".to_owned(), b"ok\n".to_vec());
        Self { files: BTreeMap::from([check]), ..Self::default() }
    }

    /// Adds a window.
    pub(crate) fn deliver(
        &mut self,
        tenant: &str,
        plan: &WindowPlan,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        signers: &[Signer],
    ) {
        let mut files = Vec::new();
        if plan.late > 0 {
            let minute = (from - TimeDelta::minutes(5), from - TimeDelta::minutes(4));
            files.push((path(minute.0, minute.1, "late_0001", plan.extension), events(minute.0, plan.late, "late")));
        }
        let recorded: usize = plan.files.iter().sum();
        for (at, count) in plan.files.iter().enumerate() {
            let mut lines = events(from, *count, &format!("file {at}"));
            if plan.gap && at == 0 {
                lines.insert(0, system_event(to, "Audit Log Retention Exceeded"));
            } else if recorded == 0 {
                lines = vec![system_event(to, "Audit Log Export Completed")];
            }
            files.push((path(from, to, &format!("{:04}", at + 1), plan.extension), lines));
        }
        let previous = match plan.previous {
            Previous::Natural => self.windows.last().map(|before| hash(before.text.as_bytes())),
            Previous::None => None,
            Previous::Of(window) => Some(hash(self.windows[window].text.as_bytes())),
            Previous::Absent => Some(hash(b"absent")),
        };
        let stored: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(path, lines)| {
                let lines = if plan.is_garbage { vec!["not JSON".to_owned()] } else { lines.clone() };
                (path.clone(), plan.encode(&lines))
            })
            .collect();
        let counts = format!(
            "events {} late {} malformed 0 gap {}",
            recorded as u64 + plan.extra_events,
            plan.late.min(1),
            if plan.gap { "yes" } else { "no" }
        );
        let signer = plan.signer.map(|signer| &signers[signer]);
        let head = |kind: &str, from: DateTime<Utc>, to: DateTime<Utc>, counts: &str, previous: &Option<String>| {
            let previous = previous.clone().unwrap_or_else(|| "none".to_owned());
            format!(
                "audit-log-export manifest v1\ntenant {tenant}\n{kind} {} {}\n{counts}\nprevious {previous}\n",
                from.format("%Y-%m-%dT%H:%M:%SZ"),
                to.format("%Y-%m-%dT%H:%M:%SZ")
            )
        };
        let text = format!("{}{}", head("window", from, to, &counts, &previous), checksums(&stored));
        let regular = self.store(&text, from, to, "", &stored, signer);
        if plan.is_amended {
            // One more event came to the last file.
            let (path, mut lines) = files.pop().unwrap();
            let more = if recorded == 0 {
                events(from, 1, "amended")
            } else {
                events(to - TimeDelta::minutes(1), 1, "amended")
            };
            if recorded == 0 && !plan.gap {
                lines.clear();
            }
            lines.extend(more);
            let own: Vec<_> = stored.iter().filter(|(stored, _)| *stored != path).cloned().collect();
            let again = [own, vec![(path, plan.encode(&lines))]].concat();
            let counts = counts.replacen(
                &format!("events {recorded} late {}", plan.late.min(1)),
                &format!("events {} late {}", recorded + 1, plan.late.min(1)),
                1,
            );
            let amends = format!("amends {} late-events\n", hash(text.as_bytes()));
            let text = format!("{}{amends}{}", head("window", from, to, &counts, &previous), checksums(&again));
            let amended = self.store(&text, from, to, ".amended-1", &again, Some(&signers[0]));
            self.amended.push(amended);
        }
        self.windows.push(regular);
        if plan.has_final {
            let until = to + TimeDelta::seconds(1234);
            let minute = (to - TimeDelta::minutes(2), to - TimeDelta::minutes(1));
            let files = vec![
                (
                    path(minute.0, minute.1, "final_late_0001", plan.extension),
                    plan.encode(&events(minute.0, 2, "late")),
                ),
                (path(to, until, "final_0001", plan.extension), plan.encode(&events(to, 3, "final"))),
            ];
            let previous = Some(hash(text.as_bytes()));
            let head = head("final", to, until, "events 3 late 1 malformed 0 gap no", &previous);
            let text = format!("{head}{}", checksums(&files));
            let last = self.store(&text, to, until, ".final", &files, Some(&signers[0]));
            self.finals.push(last);
        }
    }

    /// Delivers a window's last file once more, with other events. The files of late minutes stay.
    pub(crate) fn amend(&mut self, window: usize, signer: &Signer) {
        let files = &self.windows[window].files;
        let late = files.iter().filter(|path| path.contains("_late_"));
        let late = late.filter_map(|path| Some((path.clone(), self.files.get(path)?.clone()))).collect();
        self.amend_with(window, late, signer);
    }

    /// The same in another place, which has no files of late minutes.
    pub(crate) fn amend_elsewhere(&mut self, window: usize, signer: &Signer) {
        self.amend_with(window, Vec::new(), signer);
        self.windows[window].files.retain(|path| !path.contains("_late_"));
        self.files.retain(|path, _| !path.contains("_late_"));
    }

    fn amend_with(&mut self, window: usize, late: Vec<(String, Vec<u8>)>, signer: &Signer) {
        let Delivered { from, to, files, text: original, .. } = self.windows[window].clone();
        let before: Vec<&Delivered> = self.amended.iter().filter(|amended| amended.from == from).collect();
        let (number, amends) = (before.len() + 1, hash(before.last().map_or(&original, |last| &last.text).as_bytes()));
        let path = files.last().unwrap().clone();
        let data = encode(&events(from, number, &format!("again {number}")), "json");
        let previous = original.lines().nth(4).unwrap();
        let files = [late.clone(), vec![(path, data)]].concat();
        let head: Vec<&str> = original.lines().take(3).collect();
        let text = format!(
            "{}\nevents {number} late {} malformed 0 gap no\n{previous}\namends {amends} late-events\n{}",
            head.join("\n"),
            late.len(),
            checksums(&files)
        );
        let amended = self.store(&text, from, to, &format!(".amended-{number}"), &files, Some(signer));
        self.amended.push(amended);
    }

    fn store(
        &mut self,
        text: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        class: &str,
        files: &[(String, Vec<u8>)],
        signer: Option<&Signer>,
    ) -> Delivered {
        let manifest = manifest_path(from, to, class);
        let note = signer.map_or_else(|| text.to_owned(), |signer| signer.sign(text));
        self.files.insert(manifest.clone(), note.into_bytes());
        self.files.extend(files.iter().cloned());
        let files = files.iter().map(|(path, _)| path.clone()).collect();
        Delivered { manifest, text: text.to_owned(), files, from, to }
    }

    pub(crate) fn head(&self) -> String {
        hash(self.windows.last().unwrap().text.as_bytes())
    }

    /// All data files.
    pub(crate) fn data(&self) -> Vec<String> {
        self.files.keys().filter(|path| path.starts_with("dt=")).cloned().collect()
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) {
        let bytes = self.files.remove(from).unwrap();
        self.files.insert(to.to_owned(), bytes);
    }

    pub(crate) fn write(&self, root: &Path) {
        for (path, bytes) in &self.files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
}

pub(crate) fn manifest_path(from: DateTime<Utc>, to: DateTime<Utc>, class: &str) -> String {
    let day = from.format("%Y-%m-%d");
    format!("_audit-log-export/manifests/{day}/{}_{}{class}.manifest", in_names(from), in_names(to))
}

pub(crate) fn path(from: DateTime<Utc>, to: DateTime<Utc>, number: &str, extension: &str) -> String {
    format!("dt={}/{}_{}_{number}.{extension}", from.format("%Y-%m-%d"), in_names(from), in_names(to))
}

fn in_names(at: DateTime<Utc>) -> String {
    at.format("%Y%m%dT%H%M%SZ").to_string()
}

/// As `sha256sum` writes them.
fn checksums(files: &[(String, Vec<u8>)]) -> String {
    files.iter().map(|(path, bytes)| format!("{}  {path}\n", hash(bytes))).collect()
}

/// Events as the exporter writes them, all different.
pub(crate) fn events(from: DateTime<Utc>, count: usize, id: &str) -> Vec<String> {
    let event = |at: usize| {
        let date = (from + TimeDelta::milliseconds(at as i64)).format("%Y-%m-%dT%H:%M:%S%.3fZ");
        format!(
            r#"{{"id":"{id} {at} {date}","date":"{date}","logType":"User","action":"Signed In","user":{{"id":"7f3c","name":"Jürgen 🦀","email":"juergen@example.com"}},"additionalInfo":{{"ip":"203.0.113.7","date":"2001-01-01T00:00:00.000Z","userAgent":"Mozilla/5.0 (X11; Linux x86_64) \"quoted\" ]}}"}}}}"#
        )
    };
    (0..count).map(event).collect()
}

fn system_event(to: DateTime<Utc>, action: &str) -> String {
    let date = to.format("%Y-%m-%dT%H:%M:%S%.3fZ");
    format!(
        r#"{{"id":"{action} {date}","date":"{date}","logType":"System","action":"{action}","user":{{"id":"system","name":"System"}},"additionalInfo":{{}}}}"#
    )
}

/// An event in OCSF like the exporter's own of that action, else like a recorded one. What is no event stays.
fn in_ocsf(line: &str) -> String {
    let Ok(native) = serde_json::from_str::<serde_json::Value>(line) else { return line.to_owned() };
    let examples = include_str!("../../../functions/schema/examples/ocsf.ndjson").lines();
    let examples: Vec<serde_json::Value> = examples.map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_like = |example: &&serde_json::Value| example["metadata"]["event_code"] == native["action"];
    let mut event = examples.iter().find(is_like).unwrap_or(&examples[0]).clone();
    for (name, native_name) in
        [("uid", "id"), ("log_name", "logType"), ("event_code", "action"), ("original_time", "date")]
    {
        event["metadata"][name] = native[native_name].clone();
    }
    event["unmapped"]["additionalInfo"] = native["additionalInfo"].clone();
    event.to_string()
}

pub(crate) fn encode(lines: &[String], extension: &str) -> Vec<u8> {
    let (format, is_gzip) = extension.strip_suffix(".gz").map_or((extension, false), |format| (format, true));
    let text = match format {
        "json" => format!("[\n{}\n]\n", lines.join(",\n")),
        _ => lines.iter().map(|line| format!("{line}\n")).collect(),
    };
    if !is_gzip {
        return text.into_bytes();
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}
