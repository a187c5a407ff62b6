//! The whole check of a folder.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io,
    path::Path,
};

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};

use crate::{
    chain::{Beginning, Chain, Delivery, Range},
    data_file::{self, DataFile, Scratch},
    events::Outside,
    finding::{Finding, Kind, Severity},
    folder::{EntryKind, Folder},
    hash::Sha256,
    key::Keys,
    manifest::Listed,
    manifest_file::{self, Content, ManifestFile},
    names::DataName,
    parallel,
    progress::Progress,
    report::{Begins, Head, KeyUse, Outcome, Report, Totals},
    unlisted::Unlisted,
    window::instant,
};

/// What is to be checked.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose signatures count.
    pub keys: Keys,
    /// Which windows.
    pub range: Range,
    /// The hash of the newest manifest, as the platform's status page shows it.
    pub head: Option<Sha256>,
}

/// Checks a folder.
///
/// # Errors
/// If it can't be checked at all: it can't be read, it is not that of one tenant, or it has no manifests.
pub fn check(folder: &Path, request: &Request, progress: &Progress) -> Result<Report> {
    let folder = Folder::open(folder)?;
    let files = manifest_file::read_all(&folder, &request.keys);
    ensure!(
        !files.is_empty(),
        "there is no manifest in {}: it wasn't copied, it was deleted, or the platform doesn't sign",
        folder.root().display()
    );
    let tenant = folder.tenant.clone().unwrap_or_else(|| most_frequent_tenant(&files));
    let manifests: HashSet<String> = files.iter().map(|file| file.path.clone()).collect();
    let chain = Chain::new(files, &tenant, request.range, request.head);
    let mut findings = chain.findings.clone();
    let data = Data::read(&folder, &chain, progress);
    let unlisted = UnlistedFiles::new(&folder, &chain, &manifests, request.range);
    let moved = find_moved(&folder, &data, &unlisted, progress);
    let (mut windows, mut finals) = (Totals::default(), Totals::default());
    windows.total = chain.slots.len() as u64;
    windows.bytes = data.results.iter().map(DataResult::bytes).sum();
    let mut results = data.results.iter();
    for delivery in &chain.deliveries {
        let files: Vec<_> = chain.files(delivery).zip(results.by_ref()).collect();
        let (found, outside) = check_delivery(&chain, delivery, &files, &moved);
        let manifest = &chain.texts[delivery.text].manifest;
        let is_original_usable = delivery.slot.is_none_or(|slot| chain.slots[slot].text.is_some());
        let is_valid = found.is_empty() && chain.texts[delivery.text].is_trusted && is_original_usable;
        findings.extend(found);
        if let Some((earliest, latest)) = outside.span {
            let detail = format!("{} events, from {} to {}", outside.events, instant(earliest), instant(latest));
            findings.push(Finding::new(Kind::DatesOutside, detail).of(manifest.window));
        }
        let totals = if manifest.is_final { &mut finals } else { &mut windows };
        totals.total += u64::from(manifest.is_final);
        if is_valid {
            totals.valid += u64::from(manifest.is_final || delivery.slot.is_some());
            totals.events += manifest.events;
            totals.late += manifest.late;
            totals.files += files.len() as u64;
        }
    }
    let sources: HashSet<&str> = moved.values().map(String::as_str).collect();
    findings.extend(unlisted.findings.into_iter().filter(|finding| {
        let path = finding.path.as_deref().unwrap_or_default();
        !sources.contains(path)
    }));
    findings.sort_by(|a, b| (a.kind, a.window, &a.path).cmp(&(b.kind, b.window, &b.path)));
    let result = match findings.iter().map(|finding| finding.kind.severity()).min() {
        Some(Severity::Error) => Outcome::Invalid,
        Some(Severity::Unchecked) => Outcome::Unchecked,
        Some(Severity::Notice) | None => Outcome::Valid,
    };
    Ok(Report {
        result,
        tenant,
        folder: folder.root().display().to_string(),
        range: chain
            .slots
            .first()
            .zip(chain.slots.iter().map(|slot| slot.window.to).max())
            .map(|(first, to)| crate::window::Window { from: first.window.from, to }),
        windows,
        final_deliveries: finals,
        begins: match chain.beginning {
            Beginning::First => Begins::FirstManifest,
            Beginning::After(_) => Begins::PredecessorAbsent,
            Beginning::Within => Begins::Within,
            Beginning::Unknown => Begins::Unknown,
        },
        head: Head { sha256: chain.head, given: request.head, given_until: given_until(&chain, request.head) },
        keys: key_uses(&chain),
        findings,
    })
}

fn most_frequent_tenant(files: &[ManifestFile]) -> String {
    let mut counts = BTreeMap::<&str, u64>::new();
    for file in files {
        // Anyone can write an unsigned one.
        match &file.content {
            Content::Signed { manifest, .. } => *counts.entry(&manifest.tenant).or_default() += 1_000_000,
            Content::Unsigned(manifest) => *counts.entry(&manifest.tenant).or_default() += 1,
            Content::Untrusted(_) => {}
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(tenant, _)| tenant.to_owned()).unwrap_or_default()
}

/// Until when the windows reach that the manifest with the given hash completes.
fn given_until(chain: &Chain, head: Option<Sha256>) -> Option<DateTime<Utc>> {
    let given = chain.texts.iter().find(|text| Some(text.manifest.sha256) == head);
    given.map(|text| text.manifest.window.to)
}

fn key_uses(chain: &Chain) -> Vec<KeyUse> {
    let mut uses = BTreeMap::<_, KeyUse>::new();
    for delivery in &chain.deliveries {
        let text = &chain.texts[delivery.text];
        let Some(key) = &text.key else { continue };
        let window = text.manifest.window;
        let unused =
            || KeyUse { name: key.name.clone(), key_id: key.id, sha256: key.sha256, manifests: 0, range: window };
        let used = uses.entry(key).or_insert_with(unused);
        used.manifests += 1;
        used.range.from = used.range.from.min(window.from);
        used.range.to = used.range.to.max(window.to);
    }
    let mut uses: Vec<KeyUse> = uses.into_values().collect();
    uses.sort_by_key(|used| used.range);
    uses
}

/// A listed file as it is.
enum DataResult {
    Missing(Option<&'static str>),
    Unreadable(io::Error),
    Read(DataFile),
}

impl DataResult {
    fn bytes(&self) -> u64 {
        match self {
            Self::Read(file) => file.bytes,
            Self::Missing(_) | Self::Unreadable(_) => 0,
        }
    }
}

/// All listed files, in the order of deliveries.
struct Data<'a> {
    files: Vec<&'a Listed>,
    results: Vec<DataResult>,
}

impl<'a> Data<'a> {
    fn read(folder: &Folder, chain: &'a Chain, progress: &Progress) -> Self {
        let files: Vec<&Listed> = chain.deliveries.iter().flat_map(|delivery| chain.files(delivery)).collect();
        for file in &files {
            if let Some(EntryKind::File { bytes }) = folder.find(&file.path).map(|entry| &entry.kind) {
                progress.expect(*bytes);
            }
        }
        let results = parallel::map(&files, Scratch::new, |scratch, file| {
            let path = &file.path;
            match folder.find(path).map(|entry| &entry.kind) {
                None => DataResult::Missing(None),
                Some(EntryKind::Other(what)) => DataResult::Missing(Some(what)),
                Some(EntryKind::File { .. }) => {
                    // The text of a manifest lists nothing but data files.
                    let Some(name) = DataName::parse(path) else { return DataResult::Missing(None) };
                    match data_file::read(&folder.locate(path), &name, scratch, progress) {
                        Ok(file) => DataResult::Read(file),
                        Err(error) => DataResult::Unreadable(error),
                    }
                }
            }
        });
        Self { files, results }
    }
}

struct UnlistedFiles {
    findings: Vec<Finding>,
    /// With those that need no mention.
    paths: Vec<String>,
}

impl UnlistedFiles {
    fn new(folder: &Folder, chain: &Chain, manifests: &HashSet<String>, range: Range) -> Self {
        let unlisted = Unlisted::new(chain, range);
        let (mut findings, mut paths) = (Vec::new(), Vec::new());
        for entry in &folder.entries {
            if manifests.contains(&entry.path) || chain.listed.contains(&entry.path) {
                continue;
            }
            let other = match entry.kind {
                EntryKind::File { .. } => None,
                EntryKind::Other(what) => Some(what),
            };
            findings.extend(unlisted.name(&entry.path, other));
            paths.extend(other.is_none().then(|| entry.path.clone()));
        }
        Self { findings, paths }
    }
}

/// Where the bytes of files are that aren't in their place: the other path, by the right one.
fn find_moved(
    folder: &Folder,
    data: &Data<'_>,
    unlisted: &UnlistedFiles,
    progress: &Progress,
) -> HashMap<String, String> {
    let mut wanted = HashMap::<Sha256, &str>::new();
    let mut places = HashMap::<Sha256, String>::new();
    for (file, result) in data.files.iter().zip(&data.results) {
        match result {
            DataResult::Read(found) if found.sha256 == file.sha256 => continue,
            DataResult::Read(found) => places.extend([(found.sha256, file.path.clone())]),
            DataResult::Missing(_) => {}
            DataResult::Unreadable(_) => continue,
        }
        wanted.insert(file.sha256, &file.path);
    }
    if wanted.is_empty() {
        return HashMap::new();
    }
    let hashes = parallel::map(&unlisted.paths, Scratch::new, |scratch, path| {
        // What can't be read is reported as unlisted.
        data_file::hash(&folder.locate(path), scratch, progress).ok()
    });
    let hashed =
        hashes.into_iter().zip(&unlisted.paths).filter_map(|(hash, path)| hash.map(|hash| (hash, path.clone())));
    // An unlisted one has to be moved back; one in another's place is only where its bytes are.
    places.extend(hashed);
    let moved =
        wanted.iter().filter_map(|(hash, path)| places.get(hash).map(|place| ((*path).to_owned(), place.clone())));
    moved.filter(|(path, place)| path != place).collect()
}

/// Compares the files of a delivery with its manifest.
fn check_delivery(
    chain: &Chain,
    delivery: &Delivery,
    files: &[(&Listed, &DataResult)],
    moved: &HashMap<String, String>,
) -> (Vec<Finding>, Outside) {
    let manifest = &chain.texts[delivery.text].manifest;
    let (mut findings, mut outside) = (Vec::new(), Outside::default());
    let mut counts = Some(Counts::default());
    for (listed, result) in files {
        let found = |kind, detail: String| Finding::new(kind, detail).at(&listed.path).of(manifest.window);
        let finding = match result {
            DataResult::Read(file) if file.sha256 == listed.sha256 => match &file.events {
                Ok(events) => {
                    outside.merge(&events.outside);
                    if let Some(counts) = &mut counts {
                        counts.add(&listed.path, events);
                    }
                    continue;
                }
                Err(reason) => found(Kind::EventsUnreadable, reason.clone()),
            },
            DataResult::Unreadable(error) => found(Kind::Unreadable, error.to_string()),
            DataResult::Missing(_) | DataResult::Read(_) if let Some(place) = moved.get(&listed.path) => {
                found(Kind::FileMoved, format!("its bytes are in {place}"))
            }
            DataResult::Missing(instead) => {
                found(Kind::FileMissing, instead.map(|what| format!("in its place is {what}")).unwrap_or_default())
            }
            DataResult::Read(file) => {
                found(Kind::FileChanged, format!("its SHA-256 is {}, signed is {}", file.sha256, listed.sha256))
            }
        };
        counts = None;
        findings.push(finding);
    }
    if let Some(reason) = counts.and_then(|counts| counts.differ(manifest)) {
        let path = &chain.texts[delivery.text].path;
        findings.push(Finding::new(Kind::EventsDiffer, reason).at(path).of(manifest.window));
    }
    (findings, outside)
}

/// What the files of one manifest have.
#[derive(Default)]
struct Counts {
    lines: u64,
    /// Lines that may be the exporter's own.
    own: u64,
    has_heartbeat: bool,
    malformed: u64,
    late: u64,
}

impl Counts {
    fn add(&mut self, path: &str, events: &crate::events::Events) {
        match DataName::parse(path) {
            Some(name) if name.is_late => self.late += events.lines,
            name => {
                let is_first = name.is_some_and(|name| name.number == 1);
                self.lines += events.lines;
                self.malformed += events.malformed;
                self.own += u64::from(is_first && events.begins_with_retention_exceeded);
                self.has_heartbeat |= is_first && events.begins_with_heartbeat;
            }
        }
    }

    /// Returns what doesn't fit the manifest.
    fn differ(&self, manifest: &crate::manifest::Manifest) -> Option<String> {
        // A heartbeat is alone in its window.
        let own = if self.has_heartbeat && self.lines == 1 { 1 } else { self.own };
        let recorded = self.lines - own;
        if manifest.events != recorded {
            return Some(format!("the manifest says {} events, and the files have {recorded}", manifest.events));
        }
        // Products may record what looks like a wrapped event, and a late minute is delivered whole.
        if self.malformed < manifest.malformed {
            return Some(format!(
                "the manifest says {} malformed events, and the files have {}",
                manifest.malformed, self.malformed
            ));
        }
        (self.late < manifest.late).then(|| {
            format!("the manifest says {} late arrivals, and their files have {} events", manifest.late, self.late)
        })
    }
}
