//! The model of a change of destination: each place that an admin leaves gets everything up to and including that change,
//! unless it refuses it for a day. It shares no code with the core.

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    fakes::{FakeObject, FakeState, FakeTenant},
    object::{sha256, tenant_folder},
    records::TenantRecords,
    schedule::Window,
    settings::TenantConfig,
    tenant::{Prefix, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    facts::{EndedDeliveries, Facts, Leaving, expected},
    lines::{match_line, object_lines},
    manifests::{is_final, is_manifest},
};

/// Bucket and key of a part's manifest with its checksum, and where the part begins if it is not signed.
type Committed = (((String, String), String), Option<String>);

/// Records a change by an admin. `after` are the settings from now on; none if nothing is delivered any more. `key` is that of
/// the change's audit event.
pub fn note_change(
    facts: &mut Facts,
    tenant: &TenantId,
    records: &TenantRecords,
    after: Option<&TenantConfig>,
    key: String,
) {
    let watermark = records.watermark.as_ref().filter(|watermark| watermark.due_shard.is_some());
    let (Some(before), Some(watermark)) = (&records.config, watermark) else { return };
    let Some(prefix) = Prefix::parse(before.prefix.as_deref().unwrap_or_default()).ok() else { return };
    let left = (before.bucket.clone().unwrap_or_default(), tenant_folder(&prefix, tenant));
    let place = |it: &TenantConfig| (it.bucket.to_string(), tenant_folder(&it.prefix, &it.tenant));
    let at = key.split('#').next().and_then(|at| at.parse::<DateTime<Utc>>().ok());
    let Some(at) = at.filter(|_| after.is_none_or(|after| place(after) != left)) else { return };
    let exported_until = watermark.exported_until.as_deref().and_then(timestamp::parse_seconds).unwrap_or(at);
    // A disconnect that meets a commit leaves the place as the admin has read it, and the delivery begins there.
    let of_tenant = facts.heads.entry(tenant.to_string()).or_default();
    let head = of_tenant.range(..=timestamp::seconds(exported_until)).next_back().map(|(_, head)| head.clone());
    let leaving = facts.leaving.entry(tenant.to_string()).or_default();
    let until = timestamp::whole_seconds(at) + TimeDelta::seconds(1);
    match leaving.iter_mut().find(|it| (&it.bucket, &it.folder) == (&left.0, &left.1)) {
        Some(waiting) => {
            waiting.until = waiting.until.max(until);
            waiting.from = waiting.from.min(timestamp::whole_seconds(at));
            waiting.was_failing &= watermark.refused;
            waiting.changes.insert(key);
        }
        None => {
            let since = timestamp::whole_seconds(at);
            let ((bucket, folder), from) = (left, exported_until.min(since));
            let was_failing = watermark.refused;
            let changes = BTreeSet::from([key]);
            leaving.push(Leaving { bucket, folder, from, until, since, was_failing, head, changes });
        }
    }
}

/// Checks what has been delivered since the last step.
///
/// # Errors
/// The first violation.
pub fn check(
    facts: &mut Facts,
    state: &FakeState,
    id: &str,
    tenant: &FakeTenant,
    now: DateTime<Utc>,
) -> Result<(), String> {
    let stored = &tenant.final_deliveries.places;
    let mut leaving = facts.leaving.remove(id).unwrap_or_default();
    let is_of = |it: &Leaving, bucket: &str, folder: &str| it.bucket == bucket && it.folder == folder;
    if let Some(other) = stored.iter().find(|p| !leaving.iter().any(|it| is_of(it, &p.place.bucket, &p.place.folder))) {
        return Err(format!("{id}: a final delivery to {:?}, which was not left", other.place));
    }
    let mut still_leaving = Vec::new();
    for mut place in leaving.drain(..) {
        let found = stored.iter().find(|it| is_of(&place, &it.place.bucket, &it.place.folder));
        let (to, has_ended) = found.map_or((place.until, true), |it| (it.from, false));
        if let Some(found) = found.filter(|it| (it.until, it.since) != (place.until, place.since)) {
            return Err(format!("{id}: {found:?} is pending instead of {place:?}"));
        }
        if has_ended || to != place.from {
            // The clock of the run may be ahead.
            let may_be_given_up = has_ended && now - place.since >= TimeDelta::hours(24) - TimeDelta::minutes(1);
            let result = place.check_delivered(facts, state, id, to, found.map(|it| it.manifest_sha256.as_deref()));
            let mut unsigned = None;
            match result {
                Ok(None) => {}
                Ok(Some((committed, from))) => {
                    facts.committed.extend([committed]);
                    unsigned = from;
                }
                Err(_) if may_be_given_up => {}
                Err(what) => return Err(format!("{id}: {what}")),
            }
            place.from = to;
            if !has_ended {
                facts.unsigned_parts.entry(id.to_owned()).or_default().extend(unsigned);
            } else {
                let EndedDeliveries { ended, given_up, silent, unsigned: without_signature } =
                    facts.final_deliveries.entry(id.to_owned()).or_default();
                *ended += 1;
                *without_signature += usize::from(unsigned.is_some());
                *given_up += usize::from(may_be_given_up);
                *silent += usize::from(may_be_given_up && place.was_failing);
                let is_deleted = |key: &&String| facts.expired.contains_key(&(id.to_owned(), 0, (*key).clone()));
                if let Some(change) = place.changes.iter().find(|key| !may_be_given_up && !is_deleted(key)) {
                    return Err(format!("{id}: {} never got {change}", place.bucket));
                }
            }
        }
        if !has_ended {
            still_leaving.push(place);
        }
    }
    facts.leaving.insert(id.to_owned(), still_leaving);
    Ok(())
}

impl Leaving {
    /// The place has all events up to `to`, except those that were late or are deleted. Returns the place and checksum of the
    /// part's manifest.
    fn check_delivered(
        &mut self,
        facts: &Facts,
        state: &FakeState,
        id: &str,
        to: DateTime<Utc>,
        next_head: Option<Option<&str>>,
    ) -> Result<Option<Committed>, String> {
        let empty = Default::default();
        let objects = state.buckets.get(&self.bucket).unwrap_or(&empty);
        let manifest = self.check_manifest(facts, state, id, next_head)?;
        let lines = match &manifest {
            Some((_, manifest)) => manifest.lines(objects, &self.folder)?,
            None => self.lines_of_part(objects)?,
        };
        for ((key, shard), (body, late)) in expected(state, facts, id, Window { from: self.from, to }) {
            let is_there = lines.iter().any(|line| match_line(line, key, body).is_some());
            if is_there {
                self.changes.remove(key);
            } else if late.is_none() && !facts.expired.contains_key(&(id.to_owned(), shard, key.to_owned())) {
                return Err(format!("{} lacks {key} of the final delivery up to {to}", self.bucket));
            }
        }
        self.head = manifest.as_ref().map(|(_, manifest)| manifest.sha256()).or(self.head.take());
        Ok(manifest.and_then(|(key, manifest)| {
            let bytes = &objects.get(&key)?.bytes;
            let unsigned = manifest.signature.is_none().then(|| manifest.from.clone());
            Some((((self.bucket.clone(), key), sha256(bytes)), unsigned))
        }))
    }

    /// The lines of all files that begin where the part begins: without a manifest, nothing says which of them are its.
    fn lines_of_part(&self, objects: &BTreeMap<String, FakeObject>) -> Result<Vec<String>, String> {
        let (mut lines, from) = (Vec::new(), timestamp::compact(self.from));
        for (key, object) in objects.iter().filter(|(key, _)| key.starts_with(&self.folder) && is_final(key)) {
            // Where the place was left again, the rest begins earlier than this part ends.
            if key.contains(&format!("/{from}_")) && !key.contains("_late_") && !is_manifest(key) {
                lines.extend(object_lines(key, &object.bytes)?);
            }
        }
        Ok(lines)
    }
}
