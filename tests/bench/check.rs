//! Nobody wins by losing: before anything is measured, every event has to arrive, once and as it was recorded.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use audit_log_tests::gunzip;

use crate::process::Program;
use crate::trial::Bench;
use crate::world::{Behaviour, Dataset, Tenant};

impl Bench {
    /// Has a program export a dataset, and compares what arrives with what was recorded.
    pub(crate) async fn check(&self, program: &Program, data: &Arc<Dataset>) -> Result<()> {
        let behaviour = Behaviour { keep_objects: true, ..Behaviour::default() };
        // Small objects and parts, so that the places where files and uploads are split are among what is checked.
        let trial = self.trial(program, data, behaviour, &[("MAX_OBJECT_BYTES", (24 << 20).to_string())]).await?;
        for tenant in &data.tenants {
            let (expected, delivered) = (recorded(data, tenant), delivered(tenant, &trial.objects)?);
            ensure!(
                expected == delivered,
                "{} delivered {} events for {}, which are not the {} that were recorded",
                program.name,
                delivered.len(),
                tenant.id,
                expected.len()
            );
        }
        Ok(())
    }
}

/// The hashes of a tenant's events, in order.
fn recorded(data: &Dataset, tenant: &Tenant) -> Vec<u64> {
    let events = tenant
        .partitions
        .iter()
        .flat_map(|partition| (0..partition.events).map(|number| hash(&data.pool.document(partition, number))));
    in_order(events)
}

/// The hashes of the lines in a tenant's objects, in order.
fn delivered(tenant: &Tenant, objects: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u64>> {
    let folder = format!("{}/security/audit-logs/tenant%3D{}/", tenant.bucket(), tenant.id);
    let mut hashes = Vec::new();
    for (place, object) in objects.iter().filter(|(place, _)| place.replace('=', "%3D").starts_with(&folder)) {
        let object = if tenant.gzip { gunzip(object)?.into_bytes() } else { object.clone() };
        let lines = object.strip_prefix(b"[\n").and_then(|rest| rest.strip_suffix(b"\n]\n"));
        let lines = lines.with_context(|| format!("{place} is no array with an event a line"))?;
        hashes.extend(lines.split(|byte| *byte == b'\n').map(|line| hash(line.strip_suffix(b",").unwrap_or(line))));
    }
    Ok(in_order(hashes))
}

fn in_order(hashes: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut hashes: Vec<u64> = hashes.into_iter().collect();
    hashes.sort_unstable();
    hashes
}

fn hash(line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    line.hash(&mut hasher);
    hasher.finish()
}
