//! The model of signed manifests: what a manifest must say by the stored bytes, and when it may lack a signature. It shares no
//! code with the core but the checksum.

use std::collections::BTreeMap;

use audit_log_core::{
    fakes::{FakeObject, FakeState, FakeTenant},
    manifest::ManifestKey,
    object::sha256,
    records::{ManifestState, Receipt},
    timestamp,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    backoff::hour,
    facts::{Facts, Leaving},
    lines::{is_window_event, object_lines},
    plan::MAX_SKEW,
};

/// For so many hours, a window waits for its signature.
const SIGNING_TRIED_FOR: i64 = 6;

/// How long after it tried to sign a run may record the failure.
const MAX_RECORDING_DELAY: TimeDelta = TimeDelta::minutes(5);

type Objects = BTreeMap<String, FakeObject>;

/// A stored manifest.
pub(crate) struct Manifest {
    pub(crate) text: String,
    /// `window` or `final`.
    kind: String,
    pub(crate) from: String,
    to: String,
    counts: String,
    pub(crate) previous: String,
    /// Checksum and path of each file.
    files: Vec<(String, String)>,
    /// The key's name, its id in hex, and the signature.
    pub(crate) signature: Option<(String, String, Vec<u8>)>,
}

pub(crate) fn is_manifest(key: &str) -> bool {
    key.ends_with(".manifest")
}

/// Whether an object belongs to a final delivery.
pub(crate) fn is_final(key: &str) -> bool {
    key.contains("_final_") || key.ends_with(".final.manifest")
}

/// The platform's key of a number.
pub(crate) fn key(number: u32) -> ManifestKey {
    ManifestKey { name: "111111111111.eu-west-1.audit-logs".to_owned(), public_key: format!("key {number}").into() }
}

fn compact(instant: &str) -> String {
    instant.replace(['-', ':'], "")
}

fn manifest_key(folder: &str, kind: &str, from: &str, to: &str) -> String {
    let end = if kind == "final" { ".final" } else { "" };
    let (day, from, to) = (from.get(..10).unwrap_or_default(), compact(from), compact(to));
    format!("{folder}_audit-log-export/manifests/{day}/{from}_{to}{end}.manifest")
}

impl Manifest {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let note = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let (text, signature) = match note.split_once("\n\n") {
            Some((text, signature)) => (format!("{text}\n"), Some(parse_signature(signature)?)),
            None => (note.to_owned(), None),
        };
        let wrong = || format!("a manifest that can't be read: {note}");
        let mut lines = text.lines();
        let mut next = |prefix: &str| lines.next().and_then(|line| line.strip_prefix(prefix)).ok_or_else(wrong);
        next("audit-log-export manifest v1")?;
        next("tenant ")?;
        let window: Vec<String> = next("")?.split(' ').map(str::to_owned).collect();
        let [kind, from, to] = <[String; 3]>::try_from(window).map_err(|_| wrong())?;
        let (counts, previous) = (next("")?.to_owned(), next("previous ")?.to_owned());
        let mut lines = lines.peekable();
        lines.next_if(|line| line.starts_with("amends "));
        let file = |line: &str| line.split_once("  ").map(|(sha256, path)| (sha256.to_owned(), path.to_owned()));
        let files = lines.map(file).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        Ok(Self { kind, from, to, counts, previous, files, signature, text })
    }

    pub(crate) fn sha256(&self) -> String {
        sha256(self.text.as_bytes())
    }

    /// Only data is listed that is stored with the very bytes.
    pub(crate) fn check_files(&self, objects: &Objects, folder: &str) -> Result<(), String> {
        for (checksum, path) in &self.files {
            match objects.get(&format!("{folder}{path}")) {
                None => return Err(format!("a manifest was stored before {path}")),
                Some(object) if sha256(&object.bytes) != *checksum => {
                    return Err(format!("a manifest was stored, but {path} has other bytes"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// The lines of the files that are not late ones, in order.
    pub(crate) fn lines(&self, objects: &Objects, folder: &str) -> Result<Vec<String>, String> {
        let mut lines = Vec::new();
        for (_, path) in self.files.iter().filter(|(_, path)| !path.contains("_late_")) {
            let key = format!("{folder}{path}");
            let object = objects.get(&key).ok_or_else(|| format!("{key} is missing"))?;
            lines.extend(object_lines(&key, &object.bytes)?);
        }
        Ok(lines)
    }

    /// The signature is of the text, by that key, which is published.
    fn check_signature(&self, key: &ManifestKey, state: &FakeState) -> Result<(), String> {
        let Some((name, id, signature)) = &self.signature else { return Err("there is no signature".to_owned()) };
        if *name != key.name || sha256(&key.public_key).get(..8) != Some(id.as_str()) {
            return Err(format!("a manifest is signed with the key {name} {id} instead of {key:?}"));
        }
        let digest: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        if digest != self.sha256() {
            return Err("a manifest's signature is of another text".to_owned());
        }
        if !state.manifest_keys.iter().any(|used| used.key == *key) {
            return Err(format!("{key:?} signs and is not published"));
        }
        Ok(())
    }
}

fn parse_signature(line: &str) -> Result<(String, String, Vec<u8>), String> {
    let wrong = || format!("a signature that can't be read: {line}");
    let line = line.strip_prefix("\u{2014} ").and_then(|line| line.strip_suffix('\n')).ok_or_else(wrong)?;
    let (name, base64) = line.split_once(' ').ok_or_else(wrong)?;
    let bytes = STANDARD.decode(base64).map_err(|_| wrong())?;
    let (id, signature) = bytes.split_at_checked(4).ok_or_else(wrong)?;
    Ok((name.to_owned(), id.iter().map(|byte| format!("{byte:02x}")).collect(), signature.to_vec()))
}

/// The line of counts, by the lines of a window's files.
fn counts(lines: &[String], late: u64, gap: bool) -> String {
    let events = lines.iter().filter(|line| !is_window_event(line)).count();
    let malformed = lines.iter().filter(|line| line.contains("Malformed Audit Event")).count();
    format!("events {events} late {late} malformed {malformed} gap {}", if gap { "yes" } else { "no" })
}

/// What the manifest of a window must say by the stored objects. `amends` is the end of its line of that name.
fn expected_text(
    objects: &Objects,
    id: &str,
    receipt: &Receipt,
    head: Option<&str>,
    amends: Option<&str>,
) -> Result<String, String> {
    let (mut lines, mut files) = (Vec::new(), String::new());
    for object in &receipt.objects {
        let stored = objects.get(&object.key).ok_or_else(|| format!("{} is missing", object.key))?;
        let path = object.key.strip_prefix(&receipt.location.folder).unwrap_or_default();
        files.push_str(&format!("{}  {path}\n", sha256(&stored.bytes)));
        if object.late.is_none() {
            lines.extend(object_lines(&object.key, &stored.bytes)?);
        }
    }
    let [from, to] = [receipt.window.from, receipt.window.to].map(timestamp::seconds);
    Ok(format!(
        "audit-log-export manifest v1\ntenant {id}\nwindow {from} {to}\n{}\nprevious {}\n{}{files}",
        counts(&lines, receipt.late, receipt.gap),
        head.unwrap_or("none"),
        amends.map(|amends| format!("amends {amends}\n")).unwrap_or_default(),
    ))
}

/// Bucket and key of a manifest; the hash of its text, whether it is signed, and the hash of its bytes.
type Note = ((String, String), (String, bool, String));

/// A window that was delivered again has the manifest of its export and, if its files are others, one that amends the one that
/// stood there. Returns those that are in the place. `key` is that of the run, if it is known.
pub(crate) fn check_replayed(
    state: &FakeState,
    id: &str,
    original: &Receipt,
    standing: Option<&Receipt>,
    receipt: &Receipt,
    key: Option<Option<&ManifestKey>>,
) -> Result<Vec<Note>, String> {
    let window = receipt.window;
    let (chain, stored) = match (&original.manifest, &receipt.manifest) {
        (None, None) => return Ok(Vec::new()),
        (Some(chain), Some(stored)) => (chain, stored),
        (chain, stored) => return Err(format!("{id}: {window} has {stored:?}, and its export had {chain:?}")),
    };
    let (bucket, folder) = (&receipt.location.bucket, &receipt.location.folder);
    let empty = Objects::new();
    let objects = state.buckets.get(bucket).unwrap_or(&empty);
    let [from, to] = [window.from, window.to].map(timestamp::seconds);
    let regular = manifest_key(folder, "window", &from, &to);
    let mut notes = Vec::new();
    let mut check = |name: &str, is_it: &dyn Fn(&Manifest) -> bool| {
        let object = objects.get(name).ok_or_else(|| format!("{id}: {window} has no {name}"))?;
        let manifest = Manifest::parse(&object.bytes)?;
        if !is_it(&manifest) {
            return Err(format!("{id}: {name} says {:?}", manifest.text));
        }
        // Without a key, manifests that are there stay.
        if let Some(Some(key)) = key {
            manifest.check_signature(key, state).map_err(|what| format!("{id}: {name}: {what}"))?;
        }
        let note = (manifest.sha256(), manifest.signature.is_some(), sha256(&object.bytes));
        notes.push(((bucket.clone(), name.to_owned()), note));
        Ok(())
    };
    check(&regular, &|manifest| manifest.sha256() == chain.sha256)?;
    let before = standing.and_then(|standing| standing.manifest.as_ref()?.amended.clone());
    let head = chain.previous.as_deref();
    let Some(amended) = &stored.amended else {
        let text = expected_text(objects, id, receipt, head, None)?;
        if before.is_some() || sha256(text.as_bytes()) != chain.sha256 || stored.key != regular {
            return Err(format!("{id}: {window} has {stored:?}, and should say {text:?}"));
        }
        return Ok(notes);
    };
    let text = expected_text(objects, id, receipt, head, Some(&format!("{} {}", amended.amends, amended.cause)))?;
    let name = regular.replace(".manifest", &format!(".amended-{}.manifest", amended.number));
    check(&name, &|manifest| manifest.text == text && manifest.sha256() == amended.sha256)?;
    let is_cause = ["late-events", "events-expired", "changed-events", "other-files"].contains(&amended.cause.as_str());
    let is_next = match (&before, standing) {
        (Some(before), _) if before == amended => true,
        (Some(before), _) => (before.number + 1, &before.sha256) == (amended.number, &amended.amends),
        (None, _) => (1, &chain.sha256) == (amended.number, &amended.amends),
    };
    if !is_cause || !is_next || stored.key != name {
        return Err(format!("{id}: {window} has {stored:?} after {before:?}"));
    }
    Ok(notes)
}

/// What a receipt says of its manifest is what is stored, and that says what the stored objects say.
pub(crate) fn check_receipt(
    state: &FakeState,
    id: &str,
    receipt: &Receipt,
    head: Option<&str>,
) -> Result<Option<Manifest>, String> {
    let window = receipt.window;
    let Some(stored) = &receipt.manifest else {
        return head.map_or(Ok(None), |_| Err(format!("{id}: {window} of a chain was committed without a manifest")));
    };
    let empty = Objects::new();
    let objects = state.buckets.get(&receipt.location.bucket).unwrap_or(&empty);
    let object = objects.get(&stored.key);
    let object = object.ok_or_else(|| format!("{id}: {window} was committed before {} was stored", stored.key))?;
    let manifest = Manifest::parse(&object.bytes)?;
    let (folder, [from, to]) = (&receipt.location.folder, [window.from, window.to].map(timestamp::seconds));
    let expected = expected_text(objects, id, receipt, head, None)?;
    let is_signed = manifest.signature.is_some();
    if manifest.text != expected {
        return Err(format!("{id}: the manifest of {window} says {:?} instead of {expected:?}", manifest.text));
    }
    if stored.key != manifest_key(folder, "window", &from, &to)
        || stored.sha256 != sha256(expected.as_bytes())
        || (stored.state == ManifestState::Signed) != is_signed
    {
        return Err(format!("{id}: the receipt of {window} has {stored:?}, and it is signed: {is_signed}"));
    }
    Ok(Some(manifest))
}

/// Checks the manifest of a window that was just committed: it goes on with the chain, and is signed with the key of its run
/// unless signing has failed for hours.
pub(crate) fn check_commit(
    facts: &mut Facts,
    state: &FakeState,
    id: &str,
    tenant: &FakeTenant,
    receipt: &Receipt,
) -> Result<(), String> {
    let window = receipt.window;
    let head = facts.heads.get(id).and_then(|heads| heads.values().next_back().cloned());
    let writer = facts.writers.get(id).cloned().unwrap_or_default();
    let manifest = check_receipt(state, id, receipt, head.as_deref())?;
    let Some(manifest) = manifest else {
        facts.signing_failed_since.remove(id);
        return writer.key.map_or(Ok(()), |_| Err(format!("{id}: {window} was committed without a manifest")));
    };
    if head.is_none() && writer.key.is_none() {
        return Err(format!("{id}: {window} has a manifest, though there is neither a key nor a chain"));
    }
    if tenant.consecutive_failures > 0 {
        return Err(format!("{id}: {window} is committed, and exports still fail"));
    }
    match &writer.key {
        Some(key) if manifest.signature.is_some() => {
            manifest.check_signature(key, state).map_err(|what| format!("{id}: {window}: {what}"))?;
            facts.signing_failed_since.remove(id);
        }
        Some(_) => {
            let since = facts.signing_failed_since.get(id);
            if since.is_none_or(|since| hour(writer.now) - hour(*since) < SIGNING_TRIED_FOR) {
                return Err(format!("{id}: {window} is unsigned, though signing has failed only since {since:?}"));
            }
        }
        None if manifest.signature.is_some() => return Err(format!("{id}: {window} is signed without a key")),
        None => drop(facts.signing_failed_since.remove(id)),
    }
    let sha256_of_text = manifest.sha256();
    if tenant.watermark.as_ref().and_then(|it| it.manifest_sha256.as_ref()) != Some(&sha256_of_text) {
        return Err(format!("{id}: {window} was committed without the chain's head"));
    }
    facts.heads.entry(id.to_owned()).or_default().insert(timestamp::seconds(window.to), sha256_of_text);
    if let Some(stored) = &receipt.manifest
        && let Some(object) = state.buckets.get(&receipt.location.bucket).and_then(|objects| objects.get(&stored.key))
    {
        let place = (receipt.location.bucket.clone(), stored.key.clone());
        facts.committed.insert(place.clone(), sha256(&object.bytes));
        facts.replays.note_manifest(place, manifest.sha256(), manifest.signature.is_some());
    }
    Ok(())
}

/// Records that a tenant's window was not committed since its manifest could not be signed. After hours, it must be.
///
/// # Errors
/// If it should have been committed.
pub(crate) fn note_failure(facts: &mut Facts, id: &str, at: DateTime<Utc>) -> Result<(), String> {
    let since = *facts.signing_failed_since.entry(id.to_owned()).or_insert(at);
    if hour(at - MAX_RECORDING_DELAY) - hour(since) >= SIGNING_TRIED_FOR {
        return Err(format!("{id}: signing has failed since {since}, and no window is committed"));
    }
    Ok(())
}

/// The chain at the end, across all buckets: the manifests of all receipts from the first one that has one.
pub(crate) fn check_chain(facts: &Facts, state: &FakeState, id: &str, tenant: &FakeTenant) -> Result<(), String> {
    let mut head: Option<String> = None;
    for receipt in tenant.receipts.values() {
        let replayed = tenant.replayed.get(&(receipt.window.to, receipt.location.hash()));
        let is_interrupted = facts.replays.is_interrupted(&receipt.location, receipt.window);
        head = if replayed.is_some() || is_interrupted {
            // Their files and manifests are checked apart.
            let manifest = receipt.manifest.as_ref();
            if manifest.is_some_and(|manifest| manifest.previous != head) {
                return Err(format!("{} doesn't follow {head:?}", receipt.window));
            }
            manifest.map(|manifest| manifest.sha256.clone())
        } else {
            let mut receipt = receipt.clone();
            if let Some(manifest) = &mut receipt.manifest
                && facts.replays.is_signed(&receipt.location, &manifest.key)
            {
                manifest.state = ManifestState::Signed;
            }
            check_receipt(state, id, &receipt, head.as_deref())?.map(|manifest| manifest.sha256())
        };
    }
    let stored = tenant.watermark.as_ref().and_then(|watermark| watermark.manifest_sha256.as_ref());
    if stored != head.as_ref() {
        return Err(format!("the head of the chain is {head:?}, and the watermark has {stored:?}"));
    }
    Ok(())
}

impl Leaving {
    /// Finds and checks the manifest of the part that was just delivered. Returns none without a chain and a key.
    ///
    /// `next_head` is what the next part names, if there is one.
    pub(crate) fn check_manifest(
        &self,
        facts: &Facts,
        state: &FakeState,
        id: &str,
        next_head: Option<Option<&str>>,
    ) -> Result<Option<(String, Manifest)>, String> {
        let writer = facts.writers.get(id).cloned().unwrap_or_default();
        if self.head.is_none() && writer.key.is_none() {
            return Ok(None);
        }
        let empty = Objects::new();
        let objects = state.buckets.get(&self.bucket).unwrap_or(&empty);
        let [from, until] = [self.from, self.until].map(timestamp::seconds);
        let last = manifest_key(&self.folder, "final", &from, &until);
        let mut found = None;
        for (key, object) in objects.iter().filter(|(key, _)| key.starts_with(&self.folder)) {
            let is_of_part = key.ends_with(".final.manifest") && key.contains(&format!("/{}_", compact(&from)));
            let is_it = |manifest: &Manifest| match next_head {
                None => *key == last,
                Some(head) => head == Some(manifest.sha256().as_str()),
            };
            if is_of_part && let Some(manifest) = Some(Manifest::parse(&object.bytes)?).filter(is_it) {
                found = Some((key.clone(), manifest));
            }
        }
        let (key, manifest) =
            found.ok_or_else(|| format!("{} has no manifest of the final delivery from {from}", self.bucket))?;
        let lines = manifest.lines(objects, &self.folder)?;
        let number = |word: &str| {
            let mut words = manifest.counts.split(' ');
            words.find(|it| *it == word).and_then(|_| words.next()).unwrap_or_default().to_owned()
        };
        let (late, gap) = (number("late").parse().unwrap_or_default(), number("gap") == "yes");
        if manifest.counts != counts(&lines, late, gap)
            || manifest.previous != self.head.as_deref().unwrap_or("none")
            || key != manifest_key(&self.folder, "final", &manifest.from, &manifest.to)
            || manifest.kind != "final"
            || !manifest.text.contains(&format!("\ntenant {id}\n"))
        {
            return Err(format!("{key} of {self:?} says {:?}", manifest.text));
        }
        manifest.check_files(objects, &self.folder)?;
        match &writer.key {
            Some(key) if manifest.signature.is_some() => manifest.check_signature(key, state)?,
            Some(_) => {
                let is_reason = |at: &&DateTime<Utc>| {
                    hour(writer.now) - hour(**at) >= SIGNING_TRIED_FOR && **at >= self.since - MAX_SKEW * 2
                };
                if facts.failed_signatures.iter().find(is_reason).is_none() {
                    return Err(format!("{key} is unsigned, though signing has not failed for hours"));
                }
            }
            None if manifest.signature.is_some() => return Err(format!("{key} is signed without a key")),
            None => {}
        }
        Ok(Some((key, manifest)))
    }
}
