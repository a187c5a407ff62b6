//! What each bucket must hold once the trouble is over.
//!
//! The model is `expected`: a window's files, in order, are the events that were recorded in it. All else here compares
//! that with receipts and buckets.

mod announcements;
mod files;
mod lines;

use std::collections::BTreeMap;

use audit_log_core::{
    checkpoint::next_number,
    event::Body,
    fakes::{FakeState, FakeTenant},
    late_arrivals::LOOK_BACK,
    object::sha256,
    records::{Receipt, StoredObject},
    schedule::{Window, full_hour},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

pub use self::lines::lines;
use self::lines::{Skipped, is_about_the_window, is_line_of, is_next, take_skipped};
use crate::{
    plan::MAX_SKEW,
    world::{Facts, World},
};

/// An event that was recorded: where it sorts, and what was.
type Expected<'a> = ((&'a str, u16), (&'a Body, Option<DateTime<Utc>>));

/// The model: every event of the tenant that was recorded in the window, by `recorded_at`, `id` and shard, with when it
/// became visible if its writer broke the contract. Those that were deleted since are among them.
fn expected<'a>(state: &'a FakeState, facts: &'a Facts, tenant: &str, window: Window) -> Vec<Expected<'a>> {
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
    let (facts, state) = (world.facts(), world.fakes.state());
    for (id, tenant) in &state.tenants {
        let model = TenantModel { world, facts: &facts, state: &state, id, tenant };
        model.check().map_err(|what| format!("{id}: {what}"))?;
    }
    Ok(())
}

struct TenantModel<'a> {
    world: &'a World,
    facts: &'a Facts,
    state: &'a FakeState,
    id: &'a str,
    tenant: &'a FakeTenant,
}

impl TenantModel<'_> {
    fn check(&self) -> Result<(), String> {
        self.is_caught_up()?;
        self.windows_tile_time()?;
        for receipt in self.tenant.receipts.values() {
            self.receipt(receipt).map_err(|what| format!("{}: {what}", receipt.window))?;
        }
        self.no_others()?;
        self.all_is_announced()
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
        if let Some(lease) = self.tenant.lease.as_ref().filter(|lease| lease.until >= self.world.now()) {
            return Err(format!("the lease is left until {}", lease.until));
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
        let (mut found, mut own) = (Vec::new(), 0);
        let mut files: BTreeMap<Option<Window>, Vec<Vec<String>>> = BTreeMap::new();
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
            files.entry(told.late).or_default().push(lines.clone());
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
            found.extend(lines);
        }
        // A late minute may be deleted between the look at it and its delivery.
        if (receipt.late > 0) == again.is_empty() && !(again.is_empty() && self.may_have_gap(receipt)) {
            return Err(format!("{} late events, and {} minutes delivered again", receipt.late, again.len()));
        }
        self.is_split_alike(receipt, &files)?;
        for (minute, lines) in again {
            self.is_whole(receipt, minute, &lines).map_err(|what| format!("the late minute {minute} {what}"))?;
        }
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
    fn is_whole(&self, receipt: &Receipt, minute: Window, lines: &[String]) -> Result<(), String> {
        let recorded = expected(self.state, self.facts, self.id, minute);
        if recorded.iter().all(|(place, (_, late))| late.is_none() && !self.is_gone(receipt, *place)) {
            return Err("is delivered again for no reason".to_owned());
        }
        for (place, (body, late)) in recorded {
            let is_there = lines.iter().any(|line| is_line_of(line, place.0, body).is_some());
            if is_visible_to(receipt, late) && !is_there && !self.is_gone(receipt, place) {
                return Err(format!("lacks {place:?}"));
            }
        }
        Ok(())
    }

    /// Whether an event may have been deleted before the window was read.
    fn is_gone(&self, receipt: &Receipt, place: (&str, u16)) -> bool {
        self.may_have_gap(receipt) && self.is_expired(place)
    }

    fn is_expired(&self, (key, shard): (&str, u16)) -> bool {
        self.facts.expired.contains_key(&(self.id.to_owned(), shard, key.to_owned()))
    }

    /// An event that came too late for its window is delivered with the next, if it was visible when that was read, and
    /// its minute was looked at.
    fn is_delivered_late(
        &self,
        window: Window,
        (key, shard): (&str, u16),
        body: &Body,
        visible: DateTime<Utc>,
    ) -> Result<(), String> {
        let next = self.tenant.receipts.values().find(|receipt| receipt.window.from == window.to);
        let Some(next) = next else { return Ok(()) };
        let is_looked_at = key >= timestamp::millis(window.to - LOOK_BACK).as_str();
        if !is_visible_to(next, Some(visible)) || !is_looked_at || self.is_gone(next, (key, shard)) {
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

    /// No window is said to have a gap that is younger than the retention.
    fn gap_is_due(&self, receipt: &Receipt) -> Result<(), String> {
        if receipt.gap && !self.may_have_gap(receipt) {
            return Err("a gap, though nothing can have been deleted".to_owned());
        }
        Ok(())
    }

    /// Whether a run may have taken events of the window, or of the minutes before it, to be deleted, its clock ahead as far as
    /// clocks can be.
    fn may_have_gap(&self, receipt: &Receipt) -> bool {
        let Some(hours) = self.world.plan.retention else { return false };
        receipt.exported_at - receipt.window.from + LOOK_BACK >= TimeDelta::hours(hours) - TimeDelta::minutes(2)
    }

    /// The lines are the events: all of them, but for those whose absence is excused.
    fn holds(&self, receipt: &Receipt, found: &[String], own: u64) -> Result<(), String> {
        let expected = expected(self.state, self.facts, self.id, receipt.window);
        if own > 0 {
            let alone = found.len() == 1 && found[0].contains("Audit Log Export Completed");
            let is_excused = |place| receipt.gap && self.is_expired(place);
            let missed =
                expected.iter().find(|(place, (_, late))| is_visible_to(receipt, *late) && !is_excused(*place));
            for (place, (body, late)) in &expected {
                late.map_or(Ok(()), |visible| self.is_delivered_late(receipt.window, *place, body, visible))?;
            }
            return match missed {
                None if alone => Ok(()),
                missed => Err(format!("a heartbeat among {} lines, though there was {missed:?}", found.len())),
            };
        }
        let (mut lines, mut malformed) = (found.iter().peekable(), 0);
        let mut skipped: Vec<Skipped> = Vec::new();
        for (place, (body, late)) in &expected {
            malformed += take_skipped(&mut lines, &mut skipped);
            match is_next(&mut lines, place.0, body) {
                Some(was_malformed) => {
                    lines.next();
                    malformed += u64::from(was_malformed);
                }
                // It may have been read all the same by a run that goes on with the window, though others are past its place.
                None if let Some(visible) = late => skipped.push((*place, body, *visible)),
                None if receipt.gap && self.is_expired(*place) => {}
                None => return Err(format!("{place:?} is not where it belongs, but {:?} is", lines.peek())),
            }
        }
        malformed += take_skipped(&mut lines, &mut skipped);
        for (place, body, visible) in skipped {
            if is_visible_to(receipt, Some(visible)) && !self.is_gone(receipt, place) {
                return Err(format!("{place:?} was visible before the window was read, and is not there"));
            }
            self.is_delivered_late(receipt.window, place, body, visible)?;
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
}

/// Whether an event was visible before any run read the window: none of `late` is one that always was. A run's clock may be
/// off.
fn is_visible_to(receipt: &Receipt, late: Option<DateTime<Utc>>) -> bool {
    late.is_none_or(|visible| visible < receipt.exported_at - receipt.duration - MAX_SKEW)
}
