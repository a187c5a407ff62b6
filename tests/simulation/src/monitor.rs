//! What must hold at every step, and not only in the end: nothing is written to a foreign bucket or folder, and no
//! watermark moves before its objects are stored.

use std::collections::BTreeMap;

use audit_log_core::{
    memory::{Object, State, Tenant},
    object::{ObjectSpec, sha256},
    progress::{Progress, next_number},
    records::{Receipt, StoredObject},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};

use crate::{model, patience, plan::TENANTS, world::World};

/// What was seen so far.
#[derive(Default)]
pub struct Monitor {
    /// Each tenant's `exported_until`, and its progress.
    watermarks: BTreeMap<String, (Option<String>, Option<String>)>,
}

impl Monitor {
    /// Looks at what has changed.
    ///
    /// # Errors
    /// If something is as it must never be.
    pub fn look(&mut self, world: &World) -> Result<(), String> {
        let mut state = world.memory.state();
        for (bucket, key) in std::mem::take(&mut state.stored) {
            if let Some(object) = state.buckets.get(&bucket).and_then(|objects| objects.get(&key)) {
                belongs(world, &bucket, &key, object)?;
            }
        }
        for (id, tenant) in &state.tenants {
            self.watermark(world, &state, id, tenant)?;
            patience::watch(&mut world.facts(), id, tenant);
        }
        Ok(())
    }

    fn watermark(&mut self, world: &World, state: &State, id: &str, tenant: &Tenant) -> Result<(), String> {
        let Some(watermark) = &tenant.watermark else { return Ok(()) };
        let now = (watermark.exported_until.clone(), watermark.progress.clone());
        let before = self.watermarks.insert(id.to_owned(), now.clone());
        let Some((until, progress)) = before else { return Ok(()) };
        if now.0 != until {
            let end = now.0.as_deref().and_then(timestamp::parse_seconds);
            let receipt = end.and_then(|end| tenant.receipts.get(&end));
            let receipt = receipt.ok_or_else(|| format!("{id}: the watermark moved to {end:?} without a receipt"))?;
            if Some(timestamp::seconds(receipt.window.from)) != until {
                return Err(format!("{id}: {} was committed when the watermark stood at {until:?}", receipt.window));
            }
            by_the_settings(world, id, tenant, receipt)?;
            for object in &receipt.objects {
                stored(world, state, id, &receipt.bucket, object, "the watermark moved")?;
            }
        }
        if now.1 != progress && now.1.is_some() {
            self.progress(world, state, id, tenant)?;
        }
        Ok(())
    }

    fn progress(&self, world: &World, state: &State, id: &str, tenant: &Tenant) -> Result<(), String> {
        let parsed = TenantId::parse(id).ok();
        let config = parsed.and_then(|parsed| tenant.config.as_ref()?.check(&parsed, &world.platform).ok());
        let (Some(config), Some(watermark)) = (config, &tenant.watermark) else { return Ok(()) };
        let Ok(schedule) = watermark.schedule() else { return Err(format!("{id}: the watermark is damaged")) };
        let window = Window { from: schedule.exported_until, to: schedule.next_due };
        let limit = world.max_object_bytes.load(std::sync::atomic::Ordering::Relaxed);
        for object in Progress::of(watermark, &config, window, limit).into_iter().flat_map(|kept| kept.objects) {
            stored(world, state, id, config.bucket.as_str(), &object, "progress was kept")?;
        }
        Ok(())
    }
}

/// What is committed lies where the settings say at that moment.
fn by_the_settings(world: &World, id: &str, tenant: &Tenant, receipt: &Receipt) -> Result<(), String> {
    let parsed = TenantId::parse(id).ok();
    let config = parsed.and_then(|parsed| tenant.config.as_ref()?.check(&parsed, &world.platform).ok());
    let Some(config) = config else { return Err(format!("{id}: a window was committed without settings")) };
    let is_right = |(at, object): (usize, &StoredObject)| {
        let file = next_number(&receipt.objects[..at], object.late);
        let spec = match object.late {
            Some(minute) => ObjectSpec::late(&config, minute, file),
            None => ObjectSpec::new(&config, receipt.window, file),
        };
        object.key == spec.key
    };
    if receipt.bucket != config.bucket.as_str() || !receipt.objects.iter().enumerate().all(is_right) {
        return Err(format!("{id}: {} was committed by settings that had been changed", receipt.window));
    }
    Ok(())
}

/// An object that a record tells of is there, with its bytes.
fn stored(world: &World, state: &State, id: &str, bucket: &str, told: &StoredObject, when: &str) -> Result<(), String> {
    match state.buckets.get(bucket).and_then(|objects| objects.get(&told.key)) {
        None => Err(format!("{id}: {when} before {} was stored", told.key)),
        // Where readings differ, another run's may lie there for the moment; what counts is how it ends.
        Some(object) if !world.plan.readings_differ() && sha256(&object.bytes) != told.sha256 => {
            Err(format!("{id}: {when}, but {} has other bytes", told.key))
        }
        Some(_) => Ok(()),
    }
}

/// An object lies in a folder that its tenant has configured, and holds nothing of another tenant.
fn belongs(world: &World, bucket: &str, key: &str, object: &Object) -> Result<(), String> {
    let facts = world.facts();
    let is_in = |(of, folder): &(String, String)| of == bucket && key.starts_with(folder.as_str());
    let owner = facts.folders.iter().find(|(_, folders)| folders.iter().any(is_in)).map(|(tenant, _)| tenant.as_str());
    let Some(owner) = owner else { return Err(format!("{bucket}/{key} is no tenant's")) };
    let labelled = object.metadata.iter().any(|(name, value)| *name == "tenant-id" && value == owner);
    if !labelled {
        return Err(format!("{bucket}/{key} of {owner} is labelled as another's"));
    }
    for line in model::lines(key, &object.bytes)? {
        if let Some(other) = TENANTS.iter().find(|tenant| **tenant != owner && line.contains(**tenant)) {
            return Err(format!("{bucket}/{key} of {owner} holds an event of {other}: {line}"));
        }
    }
    Ok(())
}
