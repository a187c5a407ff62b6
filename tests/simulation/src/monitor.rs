//! What must hold at every step, and not only in the end: nothing is written to a foreign bucket or folder, no watermark
//! moves before its objects are stored, no committed object changes, and no notification is lost.

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    checkpoint::{Checkpoint, next_number},
    fakes::{FakeObject, FakeState, FakeTenant},
    object::{ObjectSpec, sha256},
    records::{Receipt, StoredObject},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
    timestamp,
};

use crate::{
    backoff, model,
    plan::TENANTS,
    world::{Facts, World},
};

/// What was seen so far.
#[derive(Default)]
pub struct Monitor {
    /// Each tenant's `exported_until`, and its checkpoint.
    watermarks: BTreeMap<String, (Option<String>, Option<String>)>,
    /// Each tenant's outbox: how many entries it had in all its life, and the ids of those that it holds.
    outboxes: BTreeMap<String, (u64, Vec<String>)>,
    /// Every notification that was stored: its id with its sequence numbers.
    stored: BTreeMap<String, BTreeSet<u64>>,
    /// Every notification that was published.
    published: BTreeSet<String>,
    /// The last sequence number of each tenant that was published for the first time.
    sequences: BTreeMap<String, u64>,
    /// How many publications were looked at.
    looked_at: usize,
}

impl Monitor {
    /// Looks at what has changed.
    ///
    /// # Errors
    /// If something is as it must never be.
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        let mut state = world.fakes.state();
        let stored = std::mem::take(&mut state.stored);
        let facts = &mut *world.facts();
        for (id, tenant) in &state.tenants {
            let before = self.watermarks.get(id).and_then(|(until, _)| until.clone());
            backoff::watch(facts, id, tenant, before.as_deref());
            self.watermark(world, facts, &state, id, tenant)?;
            self.store(id, tenant);
        }
        for place in stored {
            if let Some(object) = state.buckets.get(&place.0).and_then(|objects| objects.get(&place.1)) {
                belongs(facts, &place, object)?;
                if facts.committed.get(&place).is_some_and(|committed| *committed != sha256(&object.bytes)) {
                    return Err(format!(
                        "{}/{} was stored anew, with other bytes than its receipt says",
                        place.0, place.1
                    ));
                }
            }
        }
        self.publications(&state)?;
        state.tenants.iter().try_for_each(|(id, tenant)| self.outbox(id, tenant))
    }

    fn watermark(
        &mut self,
        world: &World,
        facts: &mut Facts,
        state: &FakeState,
        id: &str,
        tenant: &FakeTenant,
    ) -> Result<(), String> {
        let Some(watermark) = &tenant.watermark else { return Ok(()) };
        let now = (&watermark.exported_until, &watermark.checkpoint);
        let Some((until, checkpoint)) = self.watermarks.get(id) else {
            self.watermarks.insert(id.to_owned(), (now.0.clone(), now.1.clone()));
            return Ok(());
        };
        if now == (until, checkpoint) {
            return Ok(());
        }
        let (until, checkpoint) = (until.clone(), checkpoint.clone());
        self.watermarks.insert(id.to_owned(), (now.0.clone(), now.1.clone()));
        let config = parsed_config(world, id, tenant);
        if *now.0 != until {
            facts.renewed.remove(id);
            let end = now.0.as_deref().and_then(timestamp::parse_seconds);
            let receipt = end.and_then(|end| tenant.receipts.get(&end));
            let receipt = receipt.ok_or_else(|| format!("{id}: the watermark moved to {end:?} without a receipt"))?;
            if Some(timestamp::seconds(receipt.window.from)) != until {
                return Err(format!("{id}: {} was committed when the watermark stood at {until:?}", receipt.window));
            }
            if watermark.due_shard.is_none() {
                return Err(format!("{id}: {} was committed of a disconnected tenant", receipt.window));
            }
            by_the_settings(id, config.as_ref(), receipt)?;
            for object in &receipt.objects {
                is_stored(state, id, &receipt.bucket, object, "the watermark moved")?;
                facts.committed.insert((receipt.bucket.clone(), object.key.clone()), object.sha256.clone());
            }
        }
        if *now.1 != checkpoint
            && now.1.is_some()
            && let Some(config) = config
        {
            let schedule = watermark.schedule().map_err(|_| format!("{id}: the watermark is damaged"))?;
            let window = Window { from: schedule.exported_until, to: schedule.next_due };
            for object in Checkpoint::for_run(watermark, &config, window, 0, world.now()).objects {
                is_stored(state, id, config.bucket.as_str(), &object, "a checkpoint was saved")?;
            }
        }
        Ok(())
    }

    /// Takes note of what is in an outbox for the first time.
    fn store(&mut self, id: &str, tenant: &FakeTenant) {
        if self.outboxes.get(id).map_or(0, |(sequence, _)| *sequence) != tenant.outbox.sequence {
            for entry in &tenant.outbox.entries {
                self.stored.entry(entry.id.clone()).or_default().insert(entry.sequence);
            }
        }
    }

    /// Only what was stored is published, and for the first time in the order in which it was.
    fn publications(&mut self, state: &FakeState) -> Result<(), String> {
        for published in state.notifications.iter().skip(self.looked_at) {
            let known = self.stored.get(&published.id).is_some_and(|numbers| numbers.contains(&published.sequence));
            if !known {
                return Err(format!("published, but not stored with any change: {published:?}"));
            }
            let last = self.sequences.entry(published.tenant.to_string()).or_default();
            if self.published.insert(published.id.clone()) {
                if published.sequence <= *last {
                    return Err(format!("published after number {last}: {published:?}"));
                }
                *last = published.sequence;
            }
        }
        self.looked_at = state.notifications.len();
        Ok(())
    }

    /// What leaves an outbox was published.
    fn outbox(&mut self, id: &str, tenant: &FakeTenant) -> Result<(), String> {
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
}

fn parsed_config(world: &World, id: &str, tenant: &FakeTenant) -> Option<TenantConfig> {
    tenant.config.as_ref()?.check(&TenantId::parse(id).ok()?, &world.platform).ok()
}

/// What is committed lies where the settings say at that moment.
fn by_the_settings(id: &str, config: Option<&TenantConfig>, receipt: &Receipt) -> Result<(), String> {
    let Some(config) = config else { return Err(format!("{id}: a window was committed without settings")) };
    let is_right = |(at, object): (usize, &StoredObject)| {
        let file = next_number(&receipt.objects[..at], object.late);
        let spec = match object.late {
            Some(minute) => ObjectSpec::late(config, minute, file),
            None => ObjectSpec::new(config, receipt.window, file),
        };
        object.key == spec.key
    };
    if receipt.bucket != config.bucket.as_str() || !receipt.objects.iter().enumerate().all(is_right) {
        return Err(format!("{id}: {} was committed by settings that had been changed", receipt.window));
    }
    Ok(())
}

/// An object that a record tells of is there, with its bytes.
fn is_stored(state: &FakeState, id: &str, bucket: &str, told: &StoredObject, when: &str) -> Result<(), String> {
    match state.buckets.get(bucket).and_then(|objects| objects.get(&told.key)) {
        None => Err(format!("{id}: {when} before {} was stored", told.key)),
        Some(object) if sha256(&object.bytes) != told.sha256 => {
            Err(format!("{id}: {when}, but {} has other bytes", told.key))
        }
        Some(_) => Ok(()),
    }
}

/// An object lies in a folder that its tenant has configured, and holds nothing of another tenant.
fn belongs(facts: &Facts, (bucket, key): &(String, String), object: &FakeObject) -> Result<(), String> {
    let is_in = |(of, folder): &(String, String)| of == bucket && key.starts_with(folder.as_str());
    let owner = facts.folders.iter().find(|(_, folders)| folders.iter().any(is_in)).map(|(tenant, _)| tenant.as_str());
    let Some(owner) = owner else { return Err(format!("{bucket}/{key} is no tenant's")) };
    let is_labeled = object.metadata.iter().any(|(name, value)| *name == "tenant-id" && value == owner);
    if !is_labeled {
        return Err(format!("{bucket}/{key} of {owner} is labeled as another's"));
    }
    for line in model::lines(key, &object.bytes)? {
        if let Some(other) = TENANTS.iter().find(|tenant| **tenant != owner && line.contains(**tenant)) {
            return Err(format!("{bucket}/{key} of {owner} holds an event of {other}: {line}"));
        }
    }
    Ok(())
}
