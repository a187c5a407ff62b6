//! Checks before a measurement that a program delivers every event once and unchanged.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::gunzip;

use crate::process::Program;
use crate::trial::Bench;
use crate::world::{Behavior, Dataset, Tenant};

impl Bench {
    /// Exports a dataset with a program and compares the objects with the recorded events.
    pub(crate) async fn check(&self, program: &Program, data: &Arc<Dataset>) -> Result<()> {
        let behavior = Behavior { keep_objects: true, ..Behavior::default() };
        // Small objects and parts, so that splits are checked too.
        let trial = self.trial(program, data, behavior, &[("MAX_OBJECT_BYTES", (24 << 20).to_string())]).await?;
        for tenant in &data.tenants {
            let (expected, delivered) = (recorded(data, tenant), delivered(tenant, &trial.objects)?);
            ensure!(
                expected == delivered,
                "{} delivered {} events for {}, which differ from the {} recorded ones",
                program.name,
                delivered.len(),
                tenant.id,
                expected.len()
            );
        }
        Ok(())
    }
}

/// The sorted hashes of a tenant's events.
fn recorded(data: &Dataset, tenant: &Tenant) -> Vec<u64> {
    let events = tenant
        .partitions
        .iter()
        .flat_map(|partition| (0..partition.events).map(|number| hash(&data.pool.document(partition, number))));
    sorted(events)
}

/// The sorted hashes of the lines in a tenant's objects.
fn delivered(tenant: &Tenant, objects: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u64>> {
    let folder = format!("{}/security/audit-logs/tenant%3D{}/", tenant.bucket(), tenant.id);
    let mut hashes = Vec::new();
    for (path, object) in objects.iter().filter(|(path, _)| path.replace('=', "%3D").starts_with(&folder)) {
        let object = if tenant.gzip { gunzip(object)?.into_bytes() } else { object.clone() };
        let lines = object.strip_prefix(b"[\n").and_then(|rest| rest.strip_suffix(b"\n]\n"));
        let lines = lines.with_context(|| format!("{path} isn't an array with one event a line"))?;
        hashes.extend(lines.split(|byte| *byte == b'\n').map(|line| hash(line.strip_suffix(b",").unwrap_or(line))));
    }
    Ok(sorted(hashes))
}

fn sorted(hashes: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut hashes: Vec<u64> = hashes.into_iter().collect();
    hashes.sort_unstable();
    hashes
}

fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}
