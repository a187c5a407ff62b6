//! The manifests in a folder, with what their signatures say.

use crate::{
    finding::{Finding, Kind},
    folder::{Entry, EntryKind, Folder},
    hash::Sha256,
    key::{KeyId, Keys},
    manifest::{FIRST_LINE, Manifest},
    names::{CONNECTIVITY_CHECK, DataName, ManifestName},
    note::{Note, Signature},
    parallel,
};

/// A manifest of ten thousand files has about one megabyte.
const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// A file that is, or should be, a manifest.
#[derive(Debug)]
pub(crate) struct ManifestFile {
    pub(crate) path: String,
    /// As its path says.
    pub(crate) name: Option<ManifestName>,
    /// None if it can't be told apart from its signatures.
    pub(crate) text_sha256: Option<Sha256>,
    pub(crate) content: Content,
}

/// A given key, with the name that a signature has for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SigningKey {
    pub(crate) name: String,
    pub(crate) id: KeyId,
    pub(crate) sha256: Sha256,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// By a given key.
    Signed { manifest: Manifest, key: SigningKey, others: Vec<String> },
    /// By nobody.
    Unsigned(Manifest),
    /// Nothing that it says may be used. The finding says why.
    Untrusted(Finding),
}

impl ManifestFile {
    /// Whether its path is the one that its own name belongs to.
    pub(crate) fn is_in_place(&self, manifest: &Manifest) -> bool {
        self.name.is_some_and(|name| name.path() == self.path && manifest.fits(&name))
    }
}

/// Reads all manifests of a folder.
pub(crate) fn read_all(folder: &Folder, keys: &Keys) -> Vec<ManifestFile> {
    let read = parallel::map(&folder.entries, || (), |(), entry| read(folder, keys, entry));
    read.into_iter().flatten().collect()
}

fn read(folder: &Folder, keys: &Keys, Entry { path, kind }: &Entry) -> Option<ManifestFile> {
    let EntryKind::File { bytes } = kind else { return None };
    if path == CONNECTIVITY_CHECK || DataName::parse(path).is_some_and(|name| name.path() == *path) {
        return None;
    }
    // One that was renamed is still known by its first line.
    let is_named = path.ends_with(".manifest");
    let is_manifest = || folder.read(path, FIRST_LINE.len() as u64).is_ok_and(|begin| begin == FIRST_LINE.as_bytes());
    if !is_named && !is_manifest() {
        return None;
    }
    let (text_sha256, content) = if *bytes > MAX_MANIFEST_BYTES {
        (None, Err(Finding::new(Kind::ManifestChanged, "it is too large for a manifest")))
    } else {
        match folder.read(path, MAX_MANIFEST_BYTES) {
            Ok(bytes) => open(&bytes, keys),
            Err(error) => (None, Err(Finding::new(Kind::Unreadable, format!("can't be read: {error}")))),
        }
    };
    let name = ManifestName::parse(path);
    let content = content.unwrap_or_else(|finding| {
        let finding = finding.at(path);
        Content::Untrusted(match name {
            Some(name) => finding.of(name.window),
            None => finding,
        })
    });
    Some(ManifestFile { path: path.clone(), name, text_sha256, content })
}

fn open(bytes: &[u8], keys: &Keys) -> (Option<Sha256>, Result<Content, Finding>) {
    let changed = |reason: String| Finding::new(Kind::ManifestChanged, reason);
    let Note { text, signature } = match Note::open(bytes, keys) {
        Ok(note) => note,
        Err(reason) => return (None, Err(changed(format!("{reason}, so it is no signed note")))),
    };
    // The text of a note counts only once its signature is checked.
    let content = match signature {
        Signature::Valid { name, id, key_sha256, others } => match Manifest::parse(text) {
            Ok(manifest) => {
                let key = SigningKey { name, id, sha256: key_sha256 };
                Ok(Content::Signed { manifest, key, others })
            }
            Err(error) => Err(changed(format!(
                "the signature of {name}+{id} is valid, but this program can't read the text: {error:#}. A newer one may"
            ))),
        },
        Signature::Absent => match Manifest::parse(text) {
            Ok(manifest) => Ok(Content::Unsigned(manifest)),
            Err(error) => Err(changed(format!("it has no signature, and its text is no manifest: {error:#}"))),
        },
        Signature::Unknown(keys) => Err(Finding::new(Kind::UnknownKey, format!("signed by {}", keys.join(", ")))),
        Signature::Wrong { name, id } => Err(changed(format!("the signature of {name}+{id} is not that of this text"))),
    };
    (Some(Sha256::of(text.as_bytes())), content)
}
