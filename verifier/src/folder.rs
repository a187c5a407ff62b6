//! Finds a tenant's folder and lists what is in it.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::names::MANIFEST_FOLDER;

#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// As the folder's name says. None if it was copied under another name.
    pub(crate) tenant: Option<String>,
    /// By path.
    pub(crate) entries: Vec<Entry>,
}

/// What is in a folder, except for folders.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    /// Relative to the tenant's folder, with slashes.
    pub(crate) path: String,
    pub(crate) kind: EntryKind,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    File {
        bytes: u64,
    },
    /// What isn't opened, and why.
    Other(&'static str),
}

impl Folder {
    /// Opens a tenant's folder, or the only one below a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let shown = folder.display();
        let folder = fs::canonicalize(folder).with_context(|| format!("can't open the folder {shown}"))?;
        let root = if tenant_of(&folder).is_some() || has_manifests(&folder) {
            folder
        } else {
            let mut found = Vec::new();
            find_tenants(&folder, &mut found)?;
            found.sort();
            match <[PathBuf; 1]>::try_from(found) {
                Ok([only]) => only,
                Err(found) if found.is_empty() => bail!(
                    "{shown} is no tenant's folder and has none below: name the folder tenant=<id> that was copied from the bucket"
                ),
                Err(found) => {
                    let names: Vec<_> = found.iter().map(|folder| format!("\n  {}", folder.display())).collect();
                    bail!("{shown} has several tenants' folders. Name one of them:{}", names.concat());
                }
            }
        };
        let mut entries = Vec::new();
        list(&root, "", &mut entries)?;
        entries.sort();
        let tenant = tenant_of(&root).map(str::to_owned);
        Ok(Self { root, tenant, entries })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a file of the folder is.
    pub(crate) fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.entries.get(at)
    }

    /// Reads a file, or its beginning if it has more bytes than `limit`.
    pub(crate) fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(self.locate(path))?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

fn has_manifests(folder: &Path) -> bool {
    folder.join(MANIFEST_FOLDER).is_dir()
}

/// The id in the name of a tenant's folder.
fn tenant_of(folder: &Path) -> Option<&str> {
    let id = folder.file_name()?.to_str()?.strip_prefix("tenant=")?;
    // The platform's daily check stores this beside a tenant's folder if its role has too many rights.
    let is_probe = id.rsplit_once("_audit-log-export-probe-").is_some_and(|(_, hash)| hash.len() == 32);
    (!is_probe).then_some(id)
}

fn find_tenants(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in entries(folder)? {
        if entry.file_type()?.is_dir() {
            let below = entry.path();
            if tenant_of(&below).is_some() {
                found.push(below);
            } else {
                find_tenants(&below, found)?;
            }
        }
    }
    Ok(())
}

fn list(folder: &Path, path: &str, into: &mut Vec<Entry>) -> Result<()> {
    for entry in entries(folder)? {
        let name = entry.file_name();
        let slash = if path.is_empty() { "" } else { "/" };
        let below = format!("{path}{slash}{}", name.to_string_lossy());
        // Links aren't followed.
        let kind = entry.file_type().with_context(|| format!("can't look at {}", entry.path().display()))?;
        if kind.is_dir() {
            list(&entry.path(), &below, into)?;
            continue;
        }
        let kind = if kind.is_symlink() {
            EntryKind::Other("a symbolic link, which is not followed")
        } else if !kind.is_file() {
            EntryKind::Other("not a file")
        } else if name.to_str().is_none() {
            EntryKind::Other("a file whose name is not UTF-8")
        } else {
            let metadata = entry.metadata().with_context(|| format!("can't look at {}", entry.path().display()))?;
            EntryKind::File { bytes: metadata.len() }
        };
        into.push(Entry { path: below, kind });
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect);
    entries.with_context(|| format!("can't list the folder {}", folder.display()))
}
