//! Which manifests are trusted: those that are signed, and those whose hash a trusted one names. What others say is not used.

use std::collections::{HashMap, HashSet};

use crate::{
    finding::{Finding, Kind},
    folder::Folder,
    hash::Sha256,
    manifest::Manifest,
    manifest_file::{Content, ManifestFile, SigningKey, reopen},
    names::{Class, ManifestName},
};

/// A manifest that is trusted.
#[derive(Debug)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) manifest: Manifest,
    /// None if it isn't signed, but named by a trusted one.
    pub(crate) key: Option<SigningKey>,
    /// Of an amended one, as its name says.
    pub(super) number: Option<u32>,
}

impl Text {
    pub(super) fn is_regular(&self) -> bool {
        self.manifest.is_regular()
    }
}

/// A manifest in its place that is not trusted.
#[derive(Debug)]
pub(super) struct Opaque {
    pub(super) path: String,
    pub(super) name: ManifestName,
    /// Whether the lack of a signature is all that is wrong with it. Of others, a finding says what is wrong.
    pub(super) is_unsigned: bool,
}

/// The manifests of a tenant's folder, each once.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    pub(super) texts: Vec<Text>,
    pub(super) opaque: Vec<Opaque>,
    pub(super) findings: Vec<Finding>,
    /// All files that are manifests or in the place of one.
    pub(crate) paths: HashSet<String>,
}

impl Texts {
    pub(crate) fn new(mut files: Vec<ManifestFile>, folder: &Folder, tenant: &str, head: Option<Sha256>) -> Self {
        let confirmed = confirmed_texts(&files, tenant, head);
        // Of copies, the one in its place is kept.
        files.sort_by_cached_key(|file| (!file.is_in_place(), file.path.clone()));
        let (mut texts, mut known) = (Self::default(), HashMap::new());
        for file in files {
            let is_confirmed =
                matches!(&file.content, Content::Unsigned(manifest) if confirmed.contains(&manifest.sha256));
            let is_trusted = is_confirmed || matches!(file.content, Content::Signed { .. });
            if !is_trusted && !file.is_in_folder() {
                // An unlisted file.
                continue;
            }
            texts.paths.insert(file.path.clone());
            let file = if is_confirmed { reopen(file, folder) } else { file };
            texts.add(file, tenant, is_trusted, &mut known);
        }
        texts
    }

    fn add(&mut self, file: ManifestFile, tenant: &str, is_trusted: bool, known: &mut HashMap<Sha256, String>) {
        let (is_in_place, place) = (file.is_in_place(), file.place());
        let is_in_folder = file.is_in_folder();
        let ManifestFile { path, name, content } = file;
        let found = |kind, detail: &str| {
            let finding = Finding::new(kind, detail).at(&path);
            // Where it is tells which window it is missing from.
            place.map_or(finding.clone(), |name| finding.of(name.window))
        };
        let (manifest, key, others) = match content {
            Content::Signed { manifest, key, others } => (manifest, Some(key), others),
            Content::Unsigned(manifest) if is_trusted => (manifest, None, Vec::new()),
            Content::Unsigned(manifest) => {
                let is_unsigned = is_in_place && manifest.tenant == tenant;
                if !is_unsigned {
                    let detail = "it has no signature, and its text is not of this name";
                    self.findings.push(found(Kind::ManifestChanged, detail));
                }
                self.opaque.extend(place.map(|name| Opaque { path: path.clone(), name, is_unsigned }));
                return;
            }
            Content::Unusable(kind, reason) => {
                self.findings.push(found(kind, &reason));
                self.opaque.extend(place.map(|name| Opaque { path: path.clone(), name, is_unsigned: false }));
                return;
            }
        };
        let moved = |detail: String| {
            let finding = Finding::new(Kind::ManifestMoved, detail).at(&path);
            // A file among the data is there whatever its window is.
            if is_in_folder { finding.of(manifest.window) } else { finding }
        };
        if manifest.tenant != tenant {
            let detail = format!("it is a manifest of the tenant {}", manifest.tenant);
            self.findings.push(Finding { window: place.map(|name| name.window), ..moved(detail) });
            return;
        }
        if let Some(original) = known.get(&manifest.sha256) {
            self.findings.push(moved(format!("it is a copy of {original}")));
            return;
        }
        if !is_in_place {
            let belongs = match manifest.class() {
                Some(class) => ManifestName { window: manifest.window, class }.path(),
                None => format!("the amended ones of {}", manifest.window.name()),
            };
            self.findings.push(moved(format!("it belongs at {belongs}")));
        }
        if !others.is_empty() {
            let detail = format!("also signed by {}", others.join(", "));
            self.findings.push(Finding::new(Kind::OtherSignature, detail).at(&path).of(manifest.window));
        }
        let number = name.filter(|name| manifest.fits(name)).and_then(|name| match name.class {
            Class::Amended(number) => Some(number),
            Class::Regular | Class::Final => None,
        });
        known.insert(manifest.sha256, path.clone());
        self.texts.push(Text { path, manifest, key, number });
    }
}

/// The unsigned texts that a trusted one names, or that are the head: nobody can make another text with the same hash.
fn confirmed_texts(files: &[ManifestFile], tenant: &str, head: Option<Sha256>) -> HashSet<Sha256> {
    let mut named = HashSet::new();
    let mut unsigned = Vec::new();
    for file in files {
        match &file.content {
            Content::Signed { manifest, .. } if manifest.tenant == tenant => named.extend(named_hashes(manifest)),
            Content::Unsigned(manifest) => {
                named.extend(head.filter(|head| manifest.is_regular() && *head == manifest.sha256));
                unsigned.push(manifest);
            }
            Content::Signed { .. } | Content::Unusable(..) => {}
        }
    }
    // A later window's manifest names an earlier one's, so one pass finds nearly all.
    unsigned.sort_by_key(|manifest| std::cmp::Reverse(manifest.window));
    let mut confirmed = HashSet::new();
    loop {
        let before = unsigned.len();
        unsigned.retain(|manifest| {
            let is_confirmed = named.contains(&manifest.sha256);
            if is_confirmed {
                confirmed.insert(manifest.sha256);
                named.extend(named_hashes(manifest));
            }
            !is_confirmed
        });
        if unsigned.len() == before {
            return confirmed;
        }
    }
}

fn named_hashes(manifest: &Manifest) -> impl Iterator<Item = Sha256> {
    let amended = manifest.amends.as_ref().map(|(amended, _)| *amended);
    manifest.previous.into_iter().chain(amended)
}
