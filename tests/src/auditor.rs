//! An auditor: a copy of a tenant's folder, the keys that were pinned, and the project's verifier.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::Customer;

/// A folder with a copy of a tenant's folder, `tenant=<id>`, and a file of verifier keys, `keys.txt`.
#[derive(Debug)]
pub struct Auditor {
    directory: TempDir,
    tenant: String,
}

/// What the verifier says.
#[derive(Debug)]
pub struct Verdict {
    /// 0 is valid, 1 invalid, 2 not checked.
    pub code: Option<i32>,
    /// The report in words, or its JSON document, or the error.
    pub printed: String,
}

impl Auditor {
    /// Copies the folder from the customer's bucket, and keeps the keys.
    pub async fn new(customer: &Customer, verifier_keys: &[String]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("auditor-").tempdir()?;
        let auditor = Self { directory, tenant: customer.tenant.clone() };
        customer.bucket.download(&customer.folder(), &auditor.folder()).await?;
        auditor.pin(verifier_keys)?;
        Ok(auditor)
    }

    /// Replaces the keys.
    pub fn pin(&self, verifier_keys: &[String]) -> Result<()> {
        Ok(fs::write(self.directory().join("keys.txt"), format!("{}\n", verifier_keys.join("\n")))?)
    }

    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.directory().join(self.folder_name())
    }

    #[must_use]
    pub fn folder_name(&self) -> String {
        format!("tenant={}", self.tenant)
    }

    /// The paths of all files in the folder that `is_one` selects, relative to it and sorted.
    pub fn files(&self, is_one: impl Fn(&str) -> bool) -> Result<Vec<String>> {
        let (root, mut found, mut folders) = (self.folder(), Vec::new(), vec![self.folder()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(file) = path.strip_prefix(&root)?.to_str().filter(|file| is_one(file)) {
                    found.push(file.to_owned());
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// The manifests of the folder, sorted.
    pub fn manifests(&self) -> Result<Vec<String>> {
        self.files(|file| file.starts_with("_audit-log-export/manifests/"))
    }

    /// Changes one bit of a byte of a file. The position is that many bytes from the file's beginning.
    pub fn flip(&self, file: &str, position: usize) -> Result<()> {
        let path = self.folder().join(file);
        let mut bytes = fs::read(&path)?;
        *bytes.get_mut(position).with_context(|| format!("{file} has no byte {position}"))? ^= 1;
        Ok(fs::write(path, bytes)?)
    }

    /// Runs the verifier with the keys on the folder, and has it print JSON.
    pub fn verify(&self, options: &[&str]) -> Result<Verdict> {
        self.report(&[&["--json"], options].concat())
    }

    /// Runs the verifier with the keys on the folder.
    pub fn report(&self, options: &[&str]) -> Result<Verdict> {
        let mut command = Command::new(Self::verifier()?);
        command.current_dir(self.directory()).args(["--key", "keys.txt"]).args(options).arg(self.folder_name());
        let output = command.output().context("running the verifier")?;
        let printed = String::from_utf8([output.stdout, output.stderr].concat())?;
        Ok(Verdict { code: output.status.code(), printed })
    }

    /// The verifier's path: as `make build` builds it, beside the demo or above the folder of a test.
    pub fn verifier() -> Result<PathBuf> {
        let own = env::current_exe()?;
        let folders = own.ancestors().skip(1).take(2).map(|folder| folder.join("audit-log-verify"));
        let found = folders.into_iter().find(|path| path.exists());
        found.with_context(|| format!("audit-log-verify is missing near {}: `make build` builds it", own.display()))
    }
}

impl Verdict {
    /// The kinds of all findings, each once, sorted. It is an error if the exit status is another one.
    pub fn kinds(&self, code: i32) -> Result<Vec<String>> {
        ensure!(self.code == Some(code), "the verifier exits with {:?}, not {code}:\n{}", self.code, self.printed);
        let report: Value = serde_json::from_str(&self.printed)?;
        let findings = report["findings"].as_array().context("a report without findings")?;
        let kinds: BTreeSet<_> = findings.iter().filter_map(|finding| finding["kind"].as_str()).collect();
        Ok(kinds.into_iter().map(str::to_owned).collect())
    }
}
