//! The manifests in a folder, with what their signatures say.

use crate::{
    finding::Kind,
    folder::{Entry, EntryKind, Folder},
    hash::Sha256,
    key::{KeyId, Keys},
    manifest::{FIRST_LINE, Manifest},
    names::{CONNECTIVITY_CHECK, DataName, MANIFEST_FOLDER, ManifestName, is_of_operating_system},
    note::{Note, Signature},
    parallel,
};

/// A manifest of 2,500 files, more than a window can have, has about 375 KB.
const MAX_MANIFEST_BYTES: u64 = 4 * 1024 * 1024;

/// A file that is, or should be, a manifest.
#[derive(Debug)]
pub(crate) struct ManifestFile {
    pub(crate) path: String,
    /// As its path says.
    pub(crate) name: Option<ManifestName>,
    pub(crate) content: Content,
}

/// A given key, with the name that it was given with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SigningKey {
    pub(crate) name: Option<String>,
    pub(crate) id: KeyId,
    pub(crate) sha256: Sha256,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// By a given key.
    Signed { manifest: Manifest, key: SigningKey, others: Vec<String> },
    /// By nobody. Without its files: anyone can write a list of them, and [`reopen`] reads it.
    Unsigned(Manifest),
    /// What is wrong with it.
    Unusable(Kind, String),
}

impl ManifestFile {
    /// Whether it is where manifests are.
    pub(crate) fn is_in_folder(&self) -> bool {
        self.path.starts_with(MANIFEST_FOLDER)
    }

    /// Its name, if a manifest of this name belongs where the file is.
    pub(crate) fn place(&self) -> Option<ManifestName> {
        self.name.filter(|name| name.path() == self.path)
    }

    /// Whether it is where its text belongs.
    pub(crate) fn is_in_place(&self) -> bool {
        match &self.content {
            Content::Signed { manifest, .. } | Content::Unsigned(manifest) => {
                self.place().is_some_and(|name| manifest.fits(&name))
            }
            Content::Unusable(..) => false,
        }
    }
}

/// Reads all manifests of a folder.
pub(crate) fn read_all(folder: &Folder, keys: &Keys) -> Vec<ManifestFile> {
    let read = parallel::map(&folder.entries, || (), |(), entry| read(folder, keys, entry));
    read.into_iter().flatten().collect()
}

/// Reads an unsigned manifest with its files.
pub(crate) fn reopen(file: ManifestFile, folder: &Folder) -> ManifestFile {
    let Content::Unsigned(before) = &file.content else { return file };
    let content = match folder.read(&file.path, MAX_MANIFEST_BYTES) {
        Ok(bytes) => {
            let text = Note::open(&bytes, &Keys::default()).ok().map(|note| note.text);
            let manifest = text.and_then(|text| Manifest::parse(text).ok());
            match manifest.filter(|manifest| manifest.sha256 == before.sha256) {
                Some(manifest) => Content::Unsigned(manifest),
                None => Content::Unusable(Kind::Unreadable, "it was changed during the check".to_owned()),
            }
        }
        Err(error) => Content::Unusable(Kind::Unreadable, format!("can't be read: {error}")),
    };
    ManifestFile { content, ..file }
}

fn read(folder: &Folder, keys: &Keys, Entry { path, kind }: &Entry) -> Option<ManifestFile> {
    let EntryKind::File { bytes } = kind else { return None };
    let is_data = || DataName::parse(path).is_some_and(|name| name.path() == *path);
    if is_of_operating_system(path) || path == CONNECTIVITY_CHECK || is_data() {
        return None;
    }
    // One that was renamed is still known by its first line.
    let is_named = path.starts_with(MANIFEST_FOLDER) && path.ends_with(".manifest");
    let is_manifest = || folder.read(path, FIRST_LINE.len() as u64).is_ok_and(|begin| begin == FIRST_LINE.as_bytes());
    if !is_named && !is_manifest() {
        return None;
    }
    let content = if *bytes > MAX_MANIFEST_BYTES {
        Content::Unusable(Kind::ManifestChanged, "it is too large for a manifest".to_owned())
    } else {
        match folder.read(path, MAX_MANIFEST_BYTES) {
            Ok(bytes) => open(&bytes, keys),
            Err(error) => Content::Unusable(Kind::Unreadable, format!("can't be read: {error}")),
        }
    };
    Some(ManifestFile { path: path.clone(), name: ManifestName::parse(path), content })
}

fn open(bytes: &[u8], keys: &Keys) -> Content {
    let changed = |reason: String| Content::Unusable(Kind::ManifestChanged, reason);
    let Note { text, signature } = match Note::open(bytes, keys) {
        Ok(note) => note,
        Err(reason) => return changed(format!("{reason}, so it is no signed note")),
    };
    // The text of a note counts only once its signature is checked.
    match signature {
        Signature::Valid { name, id, key_sha256, others } => match Manifest::parse(text) {
            Ok(manifest) => {
                let key = SigningKey { name, id, sha256: key_sha256 };
                Content::Signed { manifest, key, others }
            }
            Err(error) => changed(format!(
                "the signature of the key {id} is valid, but this program can't read the text: {error:#}. A newer one may"
            )),
        },
        Signature::Absent => match Manifest::parse(text) {
            Ok(manifest) => Content::Unsigned(Manifest { files: Vec::new(), ..manifest }),
            Err(error) => changed(format!("it has no signature, and its text is no manifest: {error:#}")),
        },
        Signature::Unknown(keys) => Content::Unusable(Kind::UnknownKey, format!("signed by {}", keys.join(", "))),
        Signature::Wrong { name, id } => changed(format!("the signature of {name}+{id} is not that of this text")),
    }
}
