//! The names of files in a tenant's folder: data files and manifests. Paths are relative to that folder.

use crate::window::Window;

/// Where manifests are.
pub(crate) const MANIFEST_FOLDER: &str = "_audit-log-export/manifests/";

/// The file with which the platform checks that it may write.
pub(crate) const CONNECTIVITY_CHECK: &str = "_audit-log-export/connectivity-check";

/// The name of a data file: `20261121T100000Z_20261121T110000Z_0001.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataName {
    /// The window or, of a late file, the minute.
    pub window: Window,
    /// `final_` in the name.
    pub is_final: bool,
    /// `late_` in the name.
    pub is_late: bool,
    /// Counts from 1 in a window.
    pub number: u32,
    /// `json` or `ndjson`.
    pub format: Format,
    /// `.gz` at the end.
    pub is_gzip: bool,
}

/// How events are written in a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One array, one event a line.
    Json,
    /// One event a line.
    Ndjson,
}

impl DataName {
    /// Reads the name at the end of a path. None if it isn't that of a data file.
    pub fn parse(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (stem, extension) = name.split_once('.')?;
        let (extension, is_gzip) = extension.strip_suffix(".gz").map_or((extension, false), |plain| (plain, true));
        let format = match extension {
            "json" => Format::Json,
            "ndjson" => Format::Ndjson,
            _ => return None,
        };
        let (stem, number) = stem.rsplit_once('_')?;
        let number = number.parse().ok().filter(|count| *count > 0 && format!("{count:04}") == number)?;
        let (stem, is_late) = stem.strip_suffix("_late").map_or((stem, false), |stem| (stem, true));
        let (stem, is_final) = stem.strip_suffix("_final").map_or((stem, false), |stem| (stem, true));
        Some(Self { window: Window::parse_name(stem).ok()?, is_final, is_late, number, format, is_gzip })
    }

    /// The path up to the number, which the files of a window share.
    pub(crate) fn stem(&self) -> String {
        let Self { window, is_final, is_late, .. } = self;
        let (is_final, late) = (if *is_final { "_final" } else { "" }, if *is_late { "_late" } else { "" });
        format!("dt={}/{}{is_final}{late}_", window.day(), window.name())
    }

    /// The end of the path, after the number.
    pub(crate) fn extension(&self) -> &'static str {
        match (self.format, self.is_gzip) {
            (Format::Json, false) => ".json",
            (Format::Json, true) => ".json.gz",
            (Format::Ndjson, false) => ".ndjson",
            (Format::Ndjson, true) => ".ndjson.gz",
        }
    }

    /// The path that a file of this name must have.
    pub fn path(&self) -> String {
        format!("{}{:04}{}", self.stem(), self.number, self.extension())
    }
}

/// The name of a manifest: `20261121T100000Z_20261121T110000Z.manifest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManifestName {
    /// The window or, of a final delivery, its time.
    pub window: Window,
    /// What the manifest is of.
    pub class: Class,
}

/// What a manifest is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A window; these are the chain.
    Regular,
    /// A window that was delivered again; the number counts from 1.
    Amended(u32),
    /// A final delivery to a place that was left.
    Final,
}

impl ManifestName {
    /// Reads the name at the end of a path. None if it isn't that of a manifest.
    pub fn parse(path: &str) -> Option<Self> {
        let stem = path.rsplit('/').next()?.strip_suffix(".manifest")?;
        let (stem, class) = match stem.split_once('.') {
            None => (stem, Class::Regular),
            Some((stem, "final")) => (stem, Class::Final),
            Some((stem, amended)) => {
                let number = amended.strip_prefix("amended-")?;
                let count = number.parse().ok().filter(|count: &u32| *count > 0 && count.to_string() == number)?;
                (stem, Class::Amended(count))
            }
        };
        Some(Self { window: Window::parse_name(stem).ok()?, class })
    }

    /// The path that a manifest of this name must have.
    pub fn path(&self) -> String {
        let class = match self.class {
            Class::Regular => String::new(),
            Class::Amended(number) => format!(".amended-{number}"),
            Class::Final => ".final".to_owned(),
        };
        format!("{MANIFEST_FOLDER}{}/{}{class}.manifest", self.window.day(), self.window.name())
    }
}

/// Whether an operating system, and not the platform, puts files of this name into folders that people look at.
pub(crate) fn is_of_operating_system(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    matches!(name, ".DS_Store" | "Thumbs.db" | "desktop.ini") || name.starts_with("._")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_files_name_is_read_and_gives_its_path() {
        for path in [
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_0012.ndjson.gz",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_12345.json.gz",
            "dt=2026-11-21/20261121T105000Z_20261121T105100Z_late_0001.ndjson",
            "dt=2026-11-21/20261121T100000Z_20261121T102233Z_final_0001.json",
            "dt=2026-11-21/20261121T100000Z_20261121T100100Z_final_late_0002.json",
        ] {
            assert_eq!(DataName::parse(path).unwrap().path(), path);
        }
        let moved = DataName::parse("dt=2026-11-22/20261121T100000Z_20261121T110000Z_0001.json").unwrap();
        assert_eq!(moved.path(), "dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json");
        for path in [
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_1.json",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_0000.json",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_00001.json",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_+001.json",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.json.gz.gz",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_0001.csv",
            "dt=2026-11-21/20261121T100000Z_20261121T110000Z_late_final_0001.json",
            "dt=2026-11-21/20261121T110000Z_20261121T100000Z_0001.json",
            "readme",
        ] {
            assert_eq!(DataName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_manifests_name_is_read_and_gives_its_path() {
        for name in ["", ".final", ".amended-1", ".amended-23"] {
            let path =
                format!("_audit-log-export/manifests/2026-11-21/20261121T100000Z_20261121T110000Z{name}.manifest");
            assert_eq!(ManifestName::parse(&path).unwrap().path(), path);
        }
        for name in [".amended-0", ".amended-01", ".amended", ".last", ".final.amended-1"] {
            assert_eq!(ManifestName::parse(&format!("20261121T100000Z_20261121T110000Z{name}.manifest")), None);
        }
    }
}
