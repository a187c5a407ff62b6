//! The whole check of a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use anyhow::{Result, bail, ensure};

use crate::{
    chain::{Chain, Delivery, Range, Texts},
    comparison,
    data::{Data, DataResult, sources},
    finding::{Finding, Kind, Severity},
    folder::Folder,
    hash::Sha256,
    key::Keys,
    manifest_file::{self, Content, ManifestFile},
    progress::Progress,
    report::{Head, KeyUse, Outcome, Report, Totals},
    unlisted::Unlisted,
    window::{Window, instant},
};

/// What is to be checked.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Whose signatures count.
    pub keys: Keys,
    pub range: Range,
    /// The hash of the newest manifest, as the platform's status page shows it.
    pub head: Option<Sha256>,
    /// Whether files that are not proved are errors.
    pub strict: bool,
}

/// Checks a folder.
///
/// # Errors
/// If it can't be checked at all: it can't be read, it is not that of one tenant, or it has no manifests.
pub fn check(folder: &Path, request: &Request, progress: &Progress) -> Result<Report> {
    let folder = Folder::open(folder)?;
    let files = manifest_file::read_all(&folder, &request.keys);
    // Else the missing manifests are findings.
    ensure!(
        !files.is_empty() || request.head.is_some() || request.range.is_limited(),
        "there is no manifest in {}: it wasn't copied, it was deleted, or the platform doesn't sign",
        folder.root().display()
    );
    let tenant = match &folder.tenant {
        Some(tenant) => tenant.clone(),
        None => only_tenant(&files)?,
    };
    let mut texts = Texts::new(files, &folder, &tenant, request.head);
    let manifests = std::mem::take(&mut texts.paths);
    let chain = Chain::new(texts, request.range, request.head);
    let data = Data::read(&folder, &chain.deliveries, progress);
    let unlisted = Unlisted::new(&folder, &chain, &manifests, request.range);
    let moved = data.find_moved(&folder, &unlisted.paths, progress);
    let mut findings = chain.findings.clone();
    let (mut windows, mut final_deliveries) = (Totals::default(), Totals::default());
    windows.total = chain.slots.len() as u64;
    let mut results = data.results.iter();
    for delivery in &chain.deliveries {
        let files: Vec<_> = delivery.files.iter().zip(results.by_ref()).collect();
        let (found, outside) = comparison::check(&chain, delivery, &files, &moved);
        let manifest = &chain.texts[delivery.text].manifest;
        let totals = if manifest.is_final { &mut final_deliveries } else { &mut windows };
        let bytes = files.iter().map(|(_, result)| DataResult::bytes(result)).sum();
        add(totals, &chain, delivery, found.is_empty(), bytes);
        findings.extend(found);
        if let Some((earliest, latest)) = outside.span {
            let detail = format!("{} events, from {} to {}", outside.events, instant(earliest), instant(latest));
            findings.push(Finding::new(Kind::DatesOutside, detail).of(manifest.window));
        }
    }
    let sources = sources(&moved);
    let is_source = |finding: &Finding| finding.path.as_deref().is_some_and(|path| sources.contains(path));
    findings.extend(unlisted.findings.into_iter().filter(|finding| !is_source(finding)));
    if request.strict {
        findings.iter_mut().filter(|finding| finding.kind.is_unproved_file()).for_each(Finding::make_error);
    }
    findings.sort_by(|a, b| (a.kind, a.window, &a.path).cmp(&(b.kind, b.window, &b.path)));
    let first_and_end = chain.slots.first().zip(chain.slots.iter().map(|slot| slot.window.to).max());
    let mut report = Report {
        result: outcome(&findings, &chain),
        tenant,
        folder: folder.root().display().to_string(),
        range: first_and_end.map(|(first, to)| Window { from: first.window.from, to }),
        windows,
        final_deliveries,
        begins: chain.beginning.into(),
        head: Head { sha256: chain.head, given: request.head, found: chain.given_head },
        is_limited: request.range.is_limited(),
        lacks_next: request.range.to.is_some() && !chain.has_next,
        keys: key_uses(&chain, request.range),
        findings,
        omitted: BTreeMap::new(),
    };
    report.omit_findings();
    Ok(report)
}

fn outcome(findings: &[Finding], chain: &Chain) -> Outcome {
    match findings.iter().map(|finding| finding.severity).min() {
        Some(Severity::Error) => Outcome::Invalid,
        Some(Severity::Unchecked) => Outcome::Unchecked,
        // Final deliveries alone prove no window.
        Some(Severity::Notice) | None if chain.slots.is_empty() => Outcome::Unchecked,
        Some(Severity::Notice) | None => Outcome::Valid,
    }
}

fn add(totals: &mut Totals, chain: &Chain, delivery: &Delivery, is_valid: bool, bytes: u64) {
    let manifest = &chain.texts[delivery.text].manifest;
    totals.bytes = totals.bytes.saturating_add(bytes);
    if !delivery.is_whole {
        return;
    }
    totals.total += u64::from(manifest.is_final);
    if is_valid && delivery.has_original {
        totals.valid += 1;
        totals.events = totals.events.saturating_add(manifest.events);
        totals.late = totals.late.saturating_add(manifest.late);
        totals.files = totals.files.saturating_add(delivery.files.len() as u64);
    }
}

/// The tenant of a folder whose name doesn't say it.
fn only_tenant(files: &[ManifestFile]) -> Result<String> {
    // Anyone can write an unsigned manifest.
    let signed = files.iter().filter_map(|file| match &file.content {
        Content::Signed { manifest, .. } => Some(manifest.tenant.as_str()),
        Content::Unsigned(_) | Content::Unusable(..) => None,
    });
    let mut signed = signed.collect::<BTreeSet<&str>>().into_iter();
    match (signed.next(), signed.next()) {
        (Some(tenant), None) => return Ok(tenant.to_owned()),
        (Some(a), Some(b)) => {
            let names: Vec<&str> = [a, b].into_iter().chain(signed).collect();
            bail!("the folder has manifests of several tenants: {}. Name it tenant=<id>", names.join(", "));
        }
        (None, _) => {}
    }
    let mut counts = BTreeMap::<&str, u64>::new();
    for file in files {
        if let Content::Unsigned(manifest) = &file.content {
            *counts.entry(&manifest.tenant).or_default() += 1;
        }
    }
    Ok(counts.into_iter().max_by_key(|(_, count)| *count).map(|(tenant, _)| tenant.to_owned()).unwrap_or_default())
}

/// The keys that signed the trusted manifests in the range, those that don't stand as well.
fn key_uses(chain: &Chain, range: Range) -> Vec<KeyUse> {
    let mut uses = BTreeMap::<_, KeyUse>::new();
    for text in chain.texts.iter().filter(|text| range.includes(&text.manifest.window)) {
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
