//! Reads the files that manifests list.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use crate::{
    chain::Delivery,
    data_file::{self, DataFile, Scratch},
    folder::{EntryKind, Folder},
    hash::Sha256,
    manifest::Listed,
    names::DataName,
    parallel,
    progress::Progress,
};

/// A listed file as it is.
pub(crate) enum DataResult {
    /// With what is in its place.
    Missing(Option<&'static str>),
    Unreadable(io::Error),
    Read(DataFile),
}

impl DataResult {
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Read(file) => file.bytes,
            Self::Missing(_) | Self::Unreadable(_) => 0,
        }
    }
}

/// All listed files, in the order of deliveries.
pub(crate) struct Data<'a> {
    files: Vec<&'a Listed>,
    pub(crate) results: Vec<DataResult>,
}

impl<'a> Data<'a> {
    pub(crate) fn read(folder: &Folder, deliveries: &'a [Delivery], progress: &Progress) -> Self {
        let files: Vec<&Listed> = deliveries.iter().flat_map(|delivery| &delivery.files).collect();
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
                    match data_file::read(&folder.locate(path), &name, file.sha256, scratch, progress) {
                        Ok(file) => DataResult::Read(file),
                        Err(error) => DataResult::Unreadable(error),
                    }
                }
            }
        });
        Self { files, results }
    }

    /// Where the bytes of files are that aren't in their place: the other path, by the right one.
    pub(crate) fn find_moved(
        &self,
        folder: &Folder,
        unlisted: &[String],
        progress: &Progress,
    ) -> HashMap<String, String> {
        let mut wanted = HashMap::<Sha256, &str>::new();
        let mut places = HashMap::<Sha256, &str>::new();
        for (file, result) in self.files.iter().zip(&self.results) {
            match result {
                DataResult::Read(found) if found.sha256 == file.sha256 => continue,
                DataResult::Read(found) => places.extend([(found.sha256, file.path.as_str())]),
                DataResult::Missing(_) => {}
                DataResult::Unreadable(_) => continue,
            }
            wanted.insert(file.sha256, &file.path);
        }
        if wanted.is_empty() {
            return HashMap::new();
        }
        let hashes = parallel::map(unlisted, Scratch::new, |scratch, path| {
            // What can't be read is reported as unlisted.
            data_file::hash(&folder.locate(path), scratch, progress).ok()
        });
        let hashed = hashes.into_iter().zip(unlisted).filter_map(|(hash, path)| hash.map(|hash| (hash, path.as_str())));
        // An unlisted one has to be moved back; one in another's place is only where its bytes are.
        places.extend(hashed);
        let moved = wanted.iter().filter_map(|(hash, path)| places.get(hash).map(|place| (*path, *place)));
        moved.filter(|(path, place)| path != place).map(|(path, place)| (path.to_owned(), place.to_owned())).collect()
    }
}

/// The files that were moved: nothing else has to be said about them.
pub(crate) fn sources(moved: &HashMap<String, String>) -> HashSet<&str> {
    moved.values().map(String::as_str).collect()
}
