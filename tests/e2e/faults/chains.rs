//! Verifies the chains of manifests with the auditors' program.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use audit_log_core::manifest::ManifestKey;
use audit_log_tests::attribute;
use audit_log_verify::{Request, check, key::Keys, progress::Progress, report::Outcome};

use crate::scenario::Scenario;
use crate::start::is_record;
use crate::world::World;

impl World {
    /// Each bucket with a manifest holds a valid chain that ends with the watermark's head.
    pub(crate) async fn verify_chains(&self, scenario: Scenario) -> Result<()> {
        let records = self.records().await?;
        let mut keys = Keys::default();
        for key in records.iter().filter_map(|item| item.get("keys")?.as_l().ok()).flatten() {
            let key = key.as_m().ok().context("a key isn't a map")?;
            let key = ManifestKey::from_base64(attribute(key, "name"), attribute(key, "public_key"));
            keys.add(&key.context("a key isn't base64")?.verifier_key())?;
        }
        for tenant in scenario.tenants() {
            let is_its = |record: &str| {
                let is_it = |item: &&_| attribute(item, "tenant_id") == *tenant && is_record(item, record);
                records.iter().find(is_it)
            };
            let (bucket, s3) = self.bucket(tenant)?;
            let copy = tempfile::Builder::new().prefix("audited-").tempdir_in(&self.scratch)?;
            let folder = copy.path().join(format!("tenant={tenant}"));
            let mut has_manifest = false;
            for object in s3.list_objects_v2().bucket(&bucket).send().await?.contents.unwrap_or_default() {
                let key = object.key.context("an object without a key")?;
                has_manifest |= key.ends_with(".manifest");
                let path = key.split_once(&format!("tenant={tenant}/")).context("not in the tenant's folder")?.1;
                let path = folder.join(path);
                let bytes = s3.get_object().bucket(&bucket).key(&key).send().await?.body.collect().await?;
                fs::create_dir_all(path.parent().context("no folder")?)?;
                fs::write(path, bytes.to_vec())?;
            }
            if !has_manifest {
                continue;
            }
            let head = is_its("watermark").map(|item| attribute(item, "manifest_sha256")).unwrap_or_default();
            let head = Some(head.parse().ok().context("a head that isn't a checksum")?);
            let request = Request { keys: keys.clone(), head, ..Request::default() };
            let report = check(&folder, &request, &Progress::hidden())?;
            ensure!(report.result == Outcome::Valid, "{bucket} isn't proved: {:?}", report.findings);
        }
        Ok(())
    }
}
