//! Checks what must hold after every step: no object lies in another tenant's bucket or folder, no watermark moves before
//! its objects are stored, no committed object changes, and no notification is lost.

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    checkpoint::{Checkpoint, next_number},
    fakes::{FakeObject, FakeState, FakeTenant},
    object::{ObjectSpec, sha256},
    records::{Receipt, StoredObject},
    schedule::Window,
    settings::TenantConfig,
    tenant::{Platform, TenantId},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    backoff,
    facts::Facts,
    leaving,
    lines::object_lines,
    manifests::{self, Manifest, is_manifest},
    plan::TENANTS,
    replays,
};

/// What the steps so far have shown.
pub struct Monitor {
    platform: Platform,
    retention: Option<TimeDelta>,
    /// Each tenant's `exported_until` and checkpoint.
    watermarks: BTreeMap<String, (Option<String>, Option<String>)>,
    /// Each tenant's outbox: its last sequence number, and the ids of its entries.
    outboxes: BTreeMap<String, (u64, Vec<String>)>,
    /// The sequence numbers of each notification that was ever in an outbox, by its id.
    stored: BTreeMap<String, BTreeSet<u64>>,
    /// The ids of all published notifications.
    published: BTreeSet<String>,
    /// The last sequence number of each tenant's first publications.
    sequences: BTreeMap<String, u64>,
    /// The number of publications that were checked.
    checked_publications: usize,
}

impl Monitor {
    pub fn new(platform: Platform, retention: Option<TimeDelta>) -> Self {
        Self {
            platform,
            retention,
            watermarks: BTreeMap::new(),
            outboxes: BTreeMap::new(),
            stored: BTreeMap::new(),
            published: BTreeSet::new(),
            sequences: BTreeMap::new(),
            checked_publications: 0,
        }
    }

    /// Checks what has changed since the last step.
    ///
    /// # Errors
    /// The first violation.
    pub fn check_step(&mut self, state: &mut FakeState, facts: &mut Facts, now: DateTime<Utc>) -> Result<(), String> {
        let stored = std::mem::take(&mut state.stored);
        for (id, tenant) in &state.tenants {
            let before = self.watermarks.get(id).and_then(|(until, _)| until.clone());
            backoff::observe(facts, id, tenant, before.as_deref());
            self.check_watermark(now, facts, state, id, tenant)?;
            self.record_entries(id, tenant);
        }
        for place in stored {
            if let Some(object) = state.buckets.get(&place.0).and_then(|objects| objects.get(&place.1)) {
                check_owner(facts, state, &place, object)?;
                replays::check_overwritten(facts, state, &place, object)?;
            }
        }
        state.tenants.iter().try_for_each(|(id, tenant)| leaving::check(facts, state, id, tenant, now))?;
        let retention = self.retention;
        state.tenants.iter().try_for_each(|(id, it)| replays::check(facts, state, id, it, now, retention))?;
        self.check_publications(state)?;
        state.tenants.iter().try_for_each(|(id, tenant)| self.check_outbox(id, tenant))
    }

    fn check_watermark(
        &mut self,
        now: DateTime<Utc>,
        facts: &mut Facts,
        state: &FakeState,
        id: &str,
        tenant: &FakeTenant,
    ) -> Result<(), String> {
        let Some(watermark) = &tenant.watermark else { return Ok(()) };
        let current = (&watermark.exported_until, &watermark.checkpoint);
        let Some((until, checkpoint)) = self.watermarks.get(id) else {
            self.watermarks.insert(id.to_owned(), (current.0.clone(), current.1.clone()));
            return Ok(());
        };
        if current == (until, checkpoint) {
            return Ok(());
        }
        let (until, checkpoint) = (until.clone(), checkpoint.clone());
        self.watermarks.insert(id.to_owned(), (current.0.clone(), current.1.clone()));
        let config = self.parse_config(id, tenant);
        if *current.0 != until {
            facts.saved_at.remove(id);
            let end = current.0.as_deref().and_then(timestamp::parse_seconds);
            let receipt = end.and_then(|end| tenant.receipts.get(&end));
            let receipt = receipt.ok_or_else(|| format!("{id}: the watermark moved to {end:?} without a receipt"))?;
            if Some(timestamp::seconds(receipt.window.from)) != until {
                return Err(format!("{id}: {} was committed when the watermark stood at {until:?}", receipt.window));
            }
            if watermark.due_shard.is_none() {
                return Err(format!("{id}: {} was committed for a disconnected tenant", receipt.window));
            }
            check_place(id, config.as_ref(), receipt)?;
            for object in &receipt.objects {
                check_stored(state, id, &receipt.location.bucket, object, "the watermark moved")?;
                facts.committed.insert((receipt.location.bucket.clone(), object.key.clone()), object.sha256.clone());
            }
            manifests::check_commit(facts, state, id, tenant, receipt)?;
            replays::note_lines(facts, state, receipt)?;
        }
        if *current.1 != checkpoint
            && current.1.is_some()
            && let Some(config) = config
        {
            let schedule = watermark.schedule().map_err(|_| format!("{id}: the watermark is damaged"))?;
            let window = Window { from: schedule.exported_until, to: schedule.next_due };
            for object in Checkpoint::for_run(watermark.checkpoint.as_deref(), &config, window, false, 0, now).objects {
                check_stored(state, id, config.bucket.as_str(), &object, "a checkpoint was saved")?;
            }
        }
        Ok(())
    }

    /// Records the new entries of an outbox.
    fn record_entries(&mut self, id: &str, tenant: &FakeTenant) {
        if self.outboxes.get(id).map_or(0, |(sequence, _)| *sequence) != tenant.outbox.sequence {
            for entry in &tenant.outbox.entries {
                self.stored.entry(entry.id.clone()).or_default().insert(entry.sequence);
            }
        }
    }

    /// Only stored notifications are published, and their first publications keep the order of the sequence numbers.
    fn check_publications(&mut self, state: &FakeState) -> Result<(), String> {
        for published in state.notifications.iter().skip(self.checked_publications) {
            let known = self.stored.get(&published.id).is_some_and(|numbers| numbers.contains(&published.sequence));
            if !known {
                return Err(format!("published without being stored with a change: {published:?}"));
            }
            let last = self.sequences.entry(published.tenant.to_string()).or_default();
            if self.published.insert(published.id.clone()) {
                if published.sequence <= *last {
                    return Err(format!("published after number {last}: {published:?}"));
                }
                *last = published.sequence;
            }
        }
        self.checked_publications = state.notifications.len();
        Ok(())
    }

    /// A notification leaves an outbox only after it was published.
    fn check_outbox(&mut self, id: &str, tenant: &FakeTenant) -> Result<(), String> {
        let (outbox, before) = (&tenant.outbox, self.outboxes.get(id));
        let (before, ids) = before.map_or((0, &[][..]), |(sequence, ids)| (*sequence, ids.as_slice()));
        if before == outbox.sequence && ids.len() == outbox.entries.len() {
            return Ok(());
        }
        let is_there = |id: &String| outbox.entries.iter().any(|entry| entry.id == *id);
        let lost = ids.iter().find(|id| !is_there(id) && !self.published.contains(*id));
        if let Some(lost) = lost.filter(|_| outbox.dropped == 0) {
            return Err(format!("{id}: the notification {lost} left the outbox and was never published"));
        }
        let ids = outbox.entries.iter().map(|entry| entry.id.clone()).collect();
        self.outboxes.insert(id.to_owned(), (outbox.sequence, ids));
        Ok(())
    }

    fn parse_config(&self, id: &str, tenant: &FakeTenant) -> Option<TenantConfig> {
        tenant.config.as_ref()?.check(&TenantId::parse(id).ok()?, &self.platform).ok()
    }
}

/// Committed objects lie where the settings of that moment say.
fn check_place(id: &str, config: Option<&TenantConfig>, receipt: &Receipt) -> Result<(), String> {
    let Some(config) = config else { return Err(format!("{id}: a window was committed without settings")) };
    let is_right = |(at, object): (usize, &StoredObject)| {
        let file = next_number(&receipt.objects[..at], object.late);
        let spec = match object.late {
            Some(minute) => ObjectSpec::late(config, minute, file),
            None => ObjectSpec::new(config, receipt.window, file),
        };
        object.key == spec.key
    };
    if receipt.location.bucket != config.bucket.as_str() || !receipt.objects.iter().enumerate().all(is_right) {
        return Err(format!("{id}: {} was committed with outdated settings", receipt.window));
    }
    Ok(())
}

/// An object that a record names is stored, with the record's bytes.
fn check_stored(state: &FakeState, id: &str, bucket: &str, recorded: &StoredObject, when: &str) -> Result<(), String> {
    match state.buckets.get(bucket).and_then(|objects| objects.get(&recorded.key)) {
        None => Err(format!("{id}: {when} before {} was stored", recorded.key)),
        Some(object) if sha256(&object.bytes) != recorded.sha256 => {
            Err(format!("{id}: {when}, but {} has other bytes", recorded.key))
        }
        Some(_) => Ok(()),
    }
}

/// An object lies in a folder of its tenant's settings, and holds no event of another tenant. A manifest lists stored data.
fn check_owner(
    facts: &Facts,
    state: &FakeState,
    (bucket, key): &(String, String),
    object: &FakeObject,
) -> Result<(), String> {
    let is_in = |(of, folder): &(String, String)| of == bucket && key.starts_with(folder.as_str());
    let owner = facts.folders.iter().find(|(_, folders)| folders.iter().any(is_in)).map(|(tenant, _)| tenant.as_str());
    let Some(owner) = owner else { return Err(format!("{bucket}/{key} belongs to no tenant")) };
    let is_labeled = object.metadata.iter().any(|(name, value)| *name == "tenant-id" && value == owner);
    if !is_labeled {
        return Err(format!("{bucket}/{key} of {owner} has another tenant's metadata"));
    }
    if is_manifest(key) {
        let manifest = Manifest::parse(&object.bytes)?;
        let folder = key.split_once("_audit-log-export/").map(|(folder, _)| folder).unwrap_or_default();
        if !manifest.text.contains(&format!("\ntenant {owner}\n")) {
            return Err(format!("{bucket}/{key} of {owner} says {:?}", manifest.text));
        }
        let objects = state.buckets.get(bucket).into_iter().next();
        // A window that is delivered again gets its manifest of before, too, whatever its files are now.
        let is_of_chain = facts.heads.get(owner).is_some_and(|heads| heads.values().any(|it| *it == manifest.sha256()));
        return objects.filter(|_| !is_of_chain).map_or(Ok(()), |objects| manifest.check_files(objects, folder));
    }
    for line in object_lines(key, &object.bytes)? {
        if let Some(other) = TENANTS.iter().find(|tenant| **tenant != owner && line.contains(**tenant)) {
            return Err(format!("{bucket}/{key} of {owner} holds an event of {other}: {line}"));
        }
    }
    Ok(())
}
