//! The model: what buckets and records must hold in the end.
//!
//! By `expected`, a window's files are the events recorded in it, in order. Everything else compares this with receipts and
//! buckets.

mod announcements;
mod files;

use std::collections::BTreeMap;

use audit_log_core::{
    checkpoint::next_number,
    event::Body,
    fakes::{FakeState, FakeTenant},
    late_arrivals::TRAILING_PERIOD,
    object::sha256,
    records::{Receipt, StoredObject},
    schedule::{Window, full_hour},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    facts::{Facts, expected},
    lines::{Skipped, is_window_event, match_line, match_next, object_lines, take_skipped},
    manifests,
    plan::MAX_SKEW,
    world::World,
};

/// Compares everything with the model.
///
/// # Errors
/// The first violation.
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
        self.check_caught_up()?;
        self.check_windows()?;
        manifests::check_chain(self.facts, self.state, self.id, self.tenant)?;
        for receipt in self.tenant.receipts.values() {
            let replayed = self.tenant.replayed.get(&(receipt.window.to, receipt.location.hash()));
            if replayed.is_none() && !self.facts.replays.is_interrupted(&receipt.location, receipt.window) {
                self.check_receipt(receipt).map_err(|what| format!("{}: {what}", receipt.window))?;
            }
        }
        self.check_replays()?;
        self.check_final_deliveries()?;
        self.check_other_objects()?;
        self.check_announcements()
    }

    fn check_caught_up(&self) -> Result<(), String> {
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

    /// The receipts of replays say what is stored, as those of exports do, and no replay is left.
    fn check_replays(&self) -> Result<(), String> {
        if let Some(replay) = self.tenant.replay.as_ref().filter(|replay| replay.is_running()) {
            return Err(format!("a replay never ends: {replay:?}"));
        }
        for receipt in self.tenant.replayed.values() {
            if self.facts.replays.is_interrupted(&receipt.location, receipt.window) {
                continue;
            }
            let of_window = |what| format!("replayed {}: {what}", receipt.window);
            self.check_receipt(receipt).map_err(of_window)?;
            let original = self.tenant.receipts.get(&receipt.window.to);
            let original = original.ok_or_else(|| of_window("it was never exported".to_owned()))?;
            // The standing one is this one.
            manifests::check_replayed(self.state, self.id, original, Some(receipt), receipt, None)
                .map_err(of_window)?;
        }
        Ok(())
    }

    /// Nothing is left to deliver. What was delivered has been checked when it was.
    fn check_final_deliveries(&self) -> Result<(), String> {
        match self.facts.leaving.get(self.id).and_then(|leaving| leaving.first()) {
            Some(leaving) => Err(format!("a place that was left never got its last events: {leaving:?}")),
            None => Ok(()),
        }
    }

    fn check_windows(&self) -> Result<(), String> {
        let Some(mut end) = self.facts.begins.get(self.id).copied() else { return Ok(()) };
        let longest = TimeDelta::hours(self.facts.longest.get(self.id).copied().unwrap_or(1));
        for Receipt { window, .. } in self.tenant.receipts.values() {
            // The first window ends at the next full hour; a save of the frequency may end one early.
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

    fn check_receipt(&self, receipt: &Receipt) -> Result<(), String> {
        let bucket = self.state.buckets.get(&receipt.location.bucket).ok_or("there is no such bucket")?;
        let (mut found, mut system_events) = (Vec::new(), 0);
        let mut files: BTreeMap<Option<Window>, Vec<Vec<String>>> = BTreeMap::new();
        let mut redelivered: BTreeMap<Window, Vec<String>> = BTreeMap::new();
        for (at, object) in receipt.objects.iter().enumerate() {
            let number = next_number(&receipt.objects[..at], object.late);
            let name = match object.late {
                Some(minute) => format!("/{minute}_late_{number:04}."),
                None => format!("/{}_{number:04}.", receipt.window),
            };
            if !object.key.contains(&name) {
                return Err(format!("{} should be {name}", object.key));
            }
            let stored = bucket.get(&object.key).ok_or_else(|| format!("{} is missing", object.key))?;
            if (sha256(&stored.bytes), stored.bytes.len() as u64) != (object.sha256.clone(), object.bytes) {
                return Err(format!("{} holds other bytes than in its receipt", object.key));
            }
            let lines = object_lines(&object.key, &stored.bytes)?;
            files.entry(object.late).or_default().push(lines.clone());
            if let Some(minute) = object.late {
                self.check_minute_events(object, minute, &lines)?;
                redelivered.entry(minute).or_default().extend(lines);
                continue;
            }
            let by_system = lines.iter().filter(|line| is_window_event(line)).count() as u64;
            system_events += by_system;
            if lines.len() as u64 - by_system != object.events {
                return Err(format!("{} holds {} events, and not {}", object.key, lines.len(), object.events));
            }
            found.extend(lines);
        }
        // The events of a late minute may be deleted after they were counted and before they are delivered.
        if (receipt.late > 0) == redelivered.is_empty() && !(redelivered.is_empty() && self.may_have_gap(receipt)) {
            return Err(format!("{} late events, and {} minutes delivered again", receipt.late, redelivered.len()));
        }
        // Where a window is delivered again, its files keep their ranges.
        let is_replayed = self.tenant.replayed.contains_key(&(receipt.window.to, receipt.location.hash()));
        if !is_replayed {
            self.check_split(receipt, &files)?;
        }
        for (minute, lines) in redelivered {
            self.check_whole_minute(receipt, minute, &lines)
                .map_err(|what| format!("the late minute {minute} {what}"))?;
        }
        self.check_gap(receipt)?;
        if receipt.gap && found.first().is_some_and(|line| line.contains("Audit Log Retention Exceeded")) {
            found.remove(0);
            system_events -= 1;
        }
        self.check_events(receipt, &found, system_events)
    }

    /// All lines are events of that minute.
    fn check_minute_events(&self, object: &StoredObject, minute: Window, lines: &[String]) -> Result<(), String> {
        let recorded = expected(self.state, self.facts, self.id, minute);
        let is_known =
            |line: &String| recorded.iter().any(|((key, _), (body, _))| match_line(line, key, body).is_some());
        match lines.iter().find(|line| !is_known(line)) {
            Some(line) => Err(format!("{} holds {line}, which is not of that minute", object.key)),
            None if lines.len() as u64 != object.events => Err(format!("{} holds {} events", object.key, lines.len())),
            None => Ok(()),
        }
    }

    /// A minute is delivered again only if an event of it is late, and then with all its events.
    fn check_whole_minute(&self, receipt: &Receipt, minute: Window, lines: &[String]) -> Result<(), String> {
        // A replay leaves these files as the export has stored them.
        let receipt = self.tenant.receipts.get(&receipt.window.to).unwrap_or(receipt);
        let recorded = expected(self.state, self.facts, self.id, minute);
        if recorded.iter().all(|(place, (_, late))| late.is_none() && !self.is_gone(receipt, *place)) {
            return Err("is delivered again for no reason".to_owned());
        }
        for (place, (body, late)) in recorded {
            let is_there = lines.iter().any(|line| match_line(line, place.0, body).is_some());
            if is_visible_to(receipt, late) && !is_there && !self.is_gone(receipt, place) {
                return Err(format!("lacks {place:?}"));
            }
        }
        Ok(())
    }

    /// Whether the event may have been deleted before the window was read.
    fn is_gone(&self, receipt: &Receipt, place: (&str, u16)) -> bool {
        self.may_have_gap(receipt) && self.is_expired(place)
    }

    fn is_expired(&self, (key, shard): (&str, u16)) -> bool {
        self.facts.expired.contains_key(&(self.id.to_owned(), shard, key.to_owned()))
    }

    /// A late event is delivered with the next window if it was visible when that was read, and its minute was counted.
    fn check_late_delivery(
        &self,
        window: Window,
        (key, shard): (&str, u16),
        body: &Body,
        visible: DateTime<Utc>,
    ) -> Result<(), String> {
        let next = self.tenant.receipts.values().find(|receipt| receipt.window.from == window.to);
        let Some(next) = next else { return Ok(()) };
        let is_counted = key >= timestamp::millis(window.to - TRAILING_PERIOD).as_str();
        if !is_visible_to(next, Some(visible)) || !is_counted || self.is_gone(next, (key, shard)) {
            return Ok(());
        }
        let bucket = self.state.buckets.get(&next.location.bucket).ok_or("there is no such bucket")?;
        for object in next.objects.iter().filter(|object| object.late.is_some()) {
            let stored = bucket.get(&object.key).ok_or_else(|| format!("{} is missing", object.key))?;
            if object_lines(&object.key, &stored.bytes)?.iter().any(|line| match_line(line, key, body).is_some()) {
                return Ok(());
            }
        }
        Err(format!("the late event {key} is delivered neither with its window nor with the next"))
    }

    /// No window within the retention has a gap.
    fn check_gap(&self, receipt: &Receipt) -> Result<(), String> {
        if receipt.gap && !self.may_have_gap(receipt) {
            return Err("a gap, though nothing can have been deleted".to_owned());
        }
        Ok(())
    }

    /// Whether a run whose clock is ahead by the largest skew may have counted events of the window, or of the minutes before
    /// it, as deleted.
    fn may_have_gap(&self, receipt: &Receipt) -> bool {
        let Some(hours) = self.world.plan.retention else { return false };
        receipt.exported_at - receipt.window.from + TRAILING_PERIOD >= TimeDelta::hours(hours) - TimeDelta::minutes(2)
    }

    /// The lines are the expected events, except those that may be absent.
    fn check_events(&self, receipt: &Receipt, found: &[String], system_events: u64) -> Result<(), String> {
        let expected = expected(self.state, self.facts, self.id, receipt.window);
        if system_events > 0 {
            let alone = found.len() == 1 && found[0].contains("Audit Log Export Completed");
            let is_excused = |place| receipt.gap && self.is_expired(place);
            let missed =
                expected.iter().find(|(place, (_, late))| is_visible_to(receipt, *late) && !is_excused(*place));
            for (place, (body, late)) in &expected {
                late.map_or(Ok(()), |visible| self.check_late_delivery(receipt.window, *place, body, visible))?;
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
            match match_next(&mut lines, place.0, body) {
                Some(was_malformed) => {
                    lines.next();
                    malformed += u64::from(was_malformed);
                }
                // A run that continues the window may still read it after later events.
                None if let Some(visible) = late => skipped.push((*place, body, *visible)),
                None if receipt.gap && self.is_expired(*place) => {}
                None => return Err(format!("{place:?} is not where it belongs, but {:?} is", lines.peek())),
            }
        }
        malformed += take_skipped(&mut lines, &mut skipped);
        let is_replayed = self.tenant.replayed.get(&(receipt.window.to, receipt.location.hash())) == Some(receipt);
        for (place, body, visible) in skipped {
            if is_visible_to(receipt, Some(visible)) && !self.is_gone(receipt, place) {
                return Err(format!("{place:?} was visible before the window was read, and is missing"));
            }
            // The export may have had it in time, before it was deleted.
            if is_replayed && self.is_gone(receipt, place) {
                continue;
            }
            self.check_late_delivery(receipt.window, place, body, visible)?;
        }
        if let Some(line) = lines.next() {
            return Err(format!("one line too many: {line}"));
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

/// Whether an event was visible before any run read the window, whatever the run's clock skew. `late` is `None` for events
/// that are not late.
fn is_visible_to(receipt: &Receipt, late: Option<DateTime<Utc>>) -> bool {
    late.is_none_or(|visible| visible < receipt.exported_at - receipt.duration - MAX_SKEW)
}
