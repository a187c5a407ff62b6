//! What each bucket must hold once the trouble is over.
//!
//! The model is `expected`: a window's files, in order, are the events that were recorded in it. All else here compares
//! that with receipts and buckets.

mod lines;
mod news;

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{
    event::Body,
    late::LOOK_BACK,
    memory::{State, Tenant},
    object::{Compression, Encoder, Format, sha256},
    progress::next_number,
    records::{Receipt, StoredObject},
    schedule::{Window, full_hour},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

pub use self::lines::lines;
use self::lines::{Skipped, is_about_the_window, is_line_of, is_next, take_skipped};
use crate::world::{Facts, World};

/// An event that was recorded: where it sorts, and what was.
type Expected<'a> = ((&'a str, u16), (&'a Body, Option<DateTime<Utc>>));

/// The model: every event of the tenant that was recorded in the window, by `recorded_at`, `id` and shard, with when it
/// became visible if its writer broke the contract. Those that were deleted since are among them.
fn expected<'a>(state: &'a State, facts: &'a Facts, tenant: &str, window: Window) -> Vec<Expected<'a>> {
    let (from, to) = (timestamp::millis(window.from), timestamp::millis(window.to));
    let stored =
        state.events.iter().flat_map(|((of, shard), events)| events.iter().map(move |(k, b)| (of, *shard, k, b)));
    let expired = facts.expired.iter().map(|((of, shard, key), body)| (of, *shard, key, body));
    let of_window = stored.chain(expired).filter(|(of, _, key, _)| *of == tenant && **key >= from && **key < to);
    let late = |shard, key: &String| facts.late.get(&(tenant.to_owned(), shard, key.clone())).copied();
    let mut events: Vec<_> = of_window.map(|(_, s, key, body)| ((key.as_str(), s), (body, late(s, key)))).collect();
    events.sort_by_key(|(place, _)| *place);
    events
}

/// Holds everything against the model.
///
/// # Errors
/// With the first thing that is not as it must be.
pub fn check(world: &World) -> Result<(), String> {
    let (facts, state) = (world.facts(), world.memory.state());
    for (id, tenant) in &state.tenants {
        let told = Tenants { world, facts: &facts, state: &state, id, tenant };
        told.check().map_err(|what| format!("{id}: {what}"))?;
    }
    Ok(())
}

struct Tenants<'a> {
    world: &'a World,
    facts: &'a Facts,
    state: &'a State,
    id: &'a str,
    tenant: &'a Tenant,
}

impl Tenants<'_> {
    fn check(&self) -> Result<(), String> {
        self.is_caught_up()?;
        self.windows_tile_time()?;
        let mut named = BTreeSet::new();
        for receipt in self.tenant.receipts.values() {
            // What may be deleted is not stored again, and its mark stays: an operator is told at every tick.
            let is_told =
                self.world.plan.retention.is_some() && self.tenant.doubts.iter().any(|it| it.window == receipt.window);
            if !is_told {
                self.receipt(receipt).map_err(|what| format!("{}: {what}", receipt.window))?;
            }
            named.extend(receipt.objects.iter().map(|object| (receipt.bucket.clone(), object.key.clone())));
        }
        self.no_others(&named)?;
        self.failures_are_told()?;
        self.news_are_told()?;
        self.others_hear_of_the_end()
    }

    fn is_caught_up(&self) -> Result<(), String> {
        let Some(watermark) = &self.tenant.watermark else { return Ok(()) };
        let schedule = watermark.schedule().map_err(|errors| format!("the watermark is damaged: {errors:?}"))?;
        if watermark.due_shard.is_some() && schedule.next_due <= full_hour(self.world.now()) {
            return Err(format!("{} is still due", timestamp::seconds(schedule.next_due)));
        }
        if watermark.due_shard.is_some() && self.tenant.consecutive_failures > 0 {
            return Err(format!("it is still failing: {:?}", self.tenant.last_error));
        }
        Ok(())
    }

    fn windows_tile_time(&self) -> Result<(), String> {
        let Some(mut end) = self.facts.begins.get(self.id).copied() else { return Ok(()) };
        let longest = TimeDelta::hours(self.facts.longest.get(self.id).copied().unwrap_or(1));
        for Receipt { window, .. } in self.tenant.receipts.values() {
            // A first window goes from where history begins to the next full hour; a save ends one early.
            if window.from != end || window.to != full_hour(window.to) || window.to - window.from > longest {
                return Err(format!("the window {window} does not follow {}", timestamp::seconds(end)));
            }
            end = window.to;
        }
        let until = self.tenant.watermark.as_ref().and_then(|watermark| watermark.exported_until.clone());
        if until != Some(timestamp::seconds(end)) {
            return Err(format!("the watermark stands at {until:?}, and the last receipt ends at {end}"));
        }
        Ok(())
    }

    fn receipt(&self, receipt: &Receipt) -> Result<(), String> {
        let bucket = self.state.buckets.get(&receipt.bucket).ok_or("there is no such bucket")?;
        let (mut found, mut own, mut files) = (Vec::new(), 0, Vec::new());
        let mut again: BTreeMap<Window, Vec<String>> = BTreeMap::new();
        for (at, told) in receipt.objects.iter().enumerate() {
            let number = next_number(&receipt.objects[..at], told.late);
            let name = match told.late {
                Some(minute) => format!("/{minute}_late_{number:04}."),
                None => format!("/{}_{number:04}.", receipt.window),
            };
            if !told.key.contains(&name) {
                return Err(format!("{} should be {name}", told.key));
            }
            let object = bucket.get(&told.key).ok_or_else(|| format!("{} is missing", told.key))?;
            if (sha256(&object.bytes), object.bytes.len() as u64) != (told.sha256.clone(), told.bytes) {
                return Err(format!("{} holds other bytes than its receipt says", told.key));
            }
            let lines = lines(&told.key, &object.bytes)?;
            if let Some(minute) = told.late {
                self.is_of_minute(told, minute, &lines)?;
                again.entry(minute).or_default().extend(lines);
                continue;
            }
            let by_system = lines.iter().filter(|line| is_about_the_window(line)).count() as u64;
            own += by_system;
            if lines.len() as u64 - by_system != told.events {
                return Err(format!("{} holds {} events, and not {}", told.key, lines.len(), told.events));
            }
            files.push(lines.clone());
            found.extend(lines);
        }
        for (minute, lines) in again {
            self.is_whole(minute, &lines).map_err(|what| format!("the late minute {minute} {what}"))?;
        }
        self.is_split_alike(receipt, &files)?;
        self.gap_is_due(receipt)?;
        if receipt.gap && found.first().is_some_and(|line| line.contains("Audit Log Retention Exceeded")) {
            found.remove(0);
            own -= 1;
        }
        self.holds(receipt, &found, own)
    }

    /// What is delivered again are events of that minute, and the minute is one of the last before a window.
    fn is_of_minute(&self, told: &StoredObject, minute: Window, lines: &[String]) -> Result<(), String> {
        let recorded = expected(self.state, self.facts, self.id, minute);
        let is_known =
            |line: &String| recorded.iter().any(|((key, _), (body, _))| is_line_of(line, key, body).is_some());
        match lines.iter().find(|line| !is_known(line)) {
            Some(line) => Err(format!("{} holds {line}, which is not of that minute", told.key)),
            None if lines.len() as u64 != told.events => Err(format!("{} holds {} events", told.key, lines.len())),
            None => Ok(()),
        }
    }

    /// A minute is delivered again because an event of it came too late, and with all others.
    fn is_whole(&self, minute: Window, lines: &[String]) -> Result<(), String> {
        let recorded = expected(self.state, self.facts, self.id, minute);
        if recorded.iter().all(|(_, (_, late))| late.is_none()) {
            return Err("is delivered again for no reason".to_owned());
        }
        for (place, (body, late)) in recorded {
            let is_there = lines.iter().any(|line| is_line_of(line, place.0, body).is_some());
            if late.is_none() && !is_there && !self.is_expired(place) {
                return Err(format!("lacks {place:?}"));
            }
        }
        Ok(())
    }

    fn is_expired(&self, (key, shard): (&str, u16)) -> bool {
        self.facts.expired.contains_key(&(self.id.to_owned(), shard, key.to_owned()))
    }

    /// An event that came too late for its window is delivered with the next, if it was visible when that was read, and
    /// its minute was looked at.
    fn is_delivered_late(&self, window: Window, key: &str, body: &Body, visible: DateTime<Utc>) -> Result<(), String> {
        let next = self.tenant.receipts.values().find(|receipt| receipt.window.from == window.to);
        let Some(next) = next else { return Ok(()) };
        // A run's clock may be off; and of a window that was stored again, it is not known when it was read first.
        let read_at = next.exported_at - next.duration - TimeDelta::seconds(30);
        let is_looked_at = key >= timestamp::millis(window.to - LOOK_BACK).as_str();
        let expired = self.facts.expired.keys().any(|(of, _, _)| of == self.id);
        if visible > read_at || next.amended > 0 || !is_looked_at || expired {
            return Ok(());
        }
        let bucket = self.state.buckets.get(&next.bucket).ok_or("there is no such bucket")?;
        for told in next.objects.iter().filter(|told| told.late.is_some()) {
            let object = bucket.get(&told.key).ok_or_else(|| format!("{} is missing", told.key))?;
            if lines(&told.key, &object.bytes)?.iter().any(|line| is_line_of(line, key, body).is_some()) {
                return Ok(());
            }
        }
        Err(format!("{key}, which came too late, is delivered neither with its window nor with the next"))
    }

    /// All files of a window are split where one and the same size says, unless what was read has changed in between.
    fn is_split_alike(&self, receipt: &Receipt, files: &[Vec<String>]) -> Result<(), String> {
        let key = receipt.objects.last().map(|object| object.key.trim_end_matches(".gz"));
        let Some(key) = key.filter(|_| !receipt.gap && !self.world.plan.readings_differ()) else { return Ok(()) };
        let format = if key.ends_with(".ndjson") { Format::Ndjson } else { Format::Json };
        let is_by = |limit: &u64| {
            let mut encoder = Encoder::new(format, Compression::None);
            let mut lines =
                files.iter().enumerate().flat_map(|(file, lines)| lines.iter().map(move |line| (file, line)));
            let mut last = 0;
            lines.all(|(file, line)| {
                let next = last != file;
                if next == encoder.has_room(line.len(), *limit) {
                    return false;
                }
                if next {
                    (encoder, last) = (Encoder::new(format, Compression::None), file);
                }
                encoder.push(line).is_ok()
            })
        };
        if self.facts.sizes.iter().any(is_by) { Ok(()) } else { Err("its files are split by no size".to_owned()) }
    }

    /// No window is said to have a gap that is younger than the retention.
    fn gap_is_due(&self, receipt: &Receipt) -> Result<(), String> {
        let Some(hours) = self.world.plan.retention.filter(|_| receipt.gap) else {
            return if receipt.gap { Err("a gap, though nothing is ever deleted".to_owned()) } else { Ok(()) };
        };
        if receipt.exported_at - receipt.window.from + LOOK_BACK < TimeDelta::hours(hours) - TimeDelta::seconds(90) {
            return Err("a gap, though nothing can have been deleted".to_owned());
        }
        Ok(())
    }

    /// The lines are the events: all of them, but for those whose absence is excused.
    fn holds(&self, receipt: &Receipt, found: &[String], own: u64) -> Result<(), String> {
        let expected = expected(self.state, self.facts, self.id, receipt.window);
        if own > 0 {
            let alone = found.len() == 1 && found[0].contains("Audit Log Export Completed");
            let is_excused = |place| receipt.gap && self.is_expired(place);
            let missed = expected.iter().find(|(place, (_, late))| late.is_none() && !is_excused(*place));
            for ((key, _), (body, late)) in &expected {
                late.map_or(Ok(()), |visible| self.is_delivered_late(receipt.window, key, body, visible))?;
            }
            return match missed {
                None if alone => Ok(()),
                missed => Err(format!("a heartbeat among {} lines, though there was {missed:?}", found.len())),
            };
        }
        let (mut lines, mut malformed) = (found.iter().peekable(), 0);
        let mut skipped: Vec<Skipped> = Vec::new();
        for (place, (body, late)) in &expected {
            // What came too late can still be read by who goes on with the window, though others are past its place.
            malformed += take_skipped(&mut lines, &mut skipped);
            match is_next(&mut lines, place.0, body) {
                Some(was_malformed) => {
                    lines.next();
                    malformed += u64::from(was_malformed);
                }
                None if let Some(visible) = late => skipped.push((place.0, body, *visible)),
                None if receipt.gap && self.is_expired(*place) => {}
                None => return Err(format!("{place:?} is not where it belongs, but {:?} is", lines.peek())),
            }
        }
        malformed += take_skipped(&mut lines, &mut skipped);
        for (key, body, visible) in skipped.into_iter().filter(|_| !receipt.gap) {
            self.is_delivered_late(receipt.window, key, body, visible)?;
        }
        if let Some(line) = lines.next() {
            return Err(format!("one too many: {line}"));
        }
        if found.is_empty() && !receipt.gap {
            return Err("neither events nor a heartbeat".to_owned());
        }
        if malformed != receipt.malformed {
            return Err(format!("{malformed} malformed events, and not {}", receipt.malformed));
        }
        Ok(())
    }

    /// Every object of the tenant is named by a receipt. Others are left only by a save in the middle, by a change of
    /// where files are split, or where events came too late or were deleted meanwhile; and they too hold nothing but its events.
    fn no_others(&self, named: &BTreeSet<(String, String)>) -> Result<(), String> {
        let saved = self.facts.saves.get(self.id).is_some_and(|saves| *saves > 0);
        let gap = self.tenant.receipts.values().any(|receipt| receipt.gap);
        let excused = saved || self.facts.resized || gap || self.world.plan.readings_differ();
        for (bucket, folder) in self.facts.folders.get(self.id).into_iter().flatten() {
            for key in self.state.buckets.get(bucket).into_iter().flat_map(|objects| objects.keys()) {
                let is_own = key.starts_with(folder.as_str());
                if is_own && !excused && !named.contains(&(bucket.clone(), key.clone())) {
                    return Err(format!("no receipt names {bucket}/{key}"));
                }
            }
        }
        Ok(())
    }
}
