//! The model of replays: windows that are delivered again. Each event that a committed window has in a place stays there at any
//! time, files keep their names and their ranges, and a manifest lists the files as they are. It shares no code with the core.

use std::{collections::BTreeSet, ops::Bound};

use audit_log_core::{
    fakes::{FakeObject, FakeState, FakeTenant},
    object::sha256,
    records::{Receipt, Refusal, Replay, ReplayState, StopCause},
    timestamp,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    facts::{Facts, Put, placed},
    lines::{is_window_event, object_lines},
    manifests::{self, is_final, is_manifest},
    plan::MAX_SKEW,
};

/// How long after a request to stop a run may begin another window: it reads the record every ten seconds, and answers are slow.
const MAX_STOP_DELAY: TimeDelta = TimeDelta::seconds(85);

/// How long a replay waits at least.
const WAITED_FOR: TimeDelta = TimeDelta::days(7);

/// How long a window is tried at least.
const TRIED_FOR: TimeDelta = TimeDelta::hours(24);

/// All that a replay leaves as it is, whatever it delivers.
pub fn untouched(tenant: &FakeTenant) -> impl PartialEq + use<> {
    let health = tenant.last_error.clone();
    (tenant.watermark.clone(), tenant.receipts.clone(), tenant.consecutive_failures, health, tenant.lease.clone())
}

/// The window of a file or of its manifest; none for late minutes and final deliveries.
fn window_of(key: &str) -> Option<(&str, DateTime<Utc>)> {
    let name = key.rsplit('/').next()?;
    if name.contains("_late_") || is_final(key) {
        return None;
    }
    let mut parts = name.split(['_', '.']);
    let (from, to) = (parts.next()?, parts.next()?);
    let to = chrono::NaiveDateTime::parse_from_str(to, "%Y%m%dT%H%M%SZ").ok()?;
    Some((from, to.and_utc()))
}

/// The receipt of a committed window.
fn receipt_of<'a>(state: &'a FakeState, tenant: &str, key: &str) -> Option<&'a Receipt> {
    let (from, to) = window_of(key)?;
    let receipt = state.tenants.get(tenant)?.receipts.get(&to)?;
    (timestamp::compact(receipt.window.from) == from).then_some(receipt)
}

/// Whether an object is of a committed window, so that only a replay may store it.
pub fn is_replayed(state: &FakeState, tenant: &str, key: &str) -> bool {
    receipt_of(state, tenant, key).is_some()
}

/// Checks a put of a committed window.
///
/// # Errors
/// If no replay may make it now.
pub fn check_put(state: &FakeState, facts: &Facts, put: &Put) -> Result<(), String> {
    let (bucket, key) = &put.place;
    let Some(original) = receipt_of(state, &put.tenant, key) else { return Ok(()) };
    let tenant = state.tenants.get(&put.tenant);
    let Some(replay) = tenant.and_then(|tenant| tenant.replay.as_ref()).filter(|replay| replay.is_running()) else {
        return Err(format!("{}: {key} is stored again without a replay", put.tenant));
    };
    if *bucket != replay.location.bucket || !key.starts_with(&replay.location.folder) {
        return Err(format!("{}: {bucket}/{key} is not where the replay leads", put.tenant));
    }
    let left_before = |since: DateTime<Utc>| since + MAX_SKEW * 2 <= replay.requested_at;
    let waiting = tenant.into_iter().flat_map(|tenant| &tenant.final_deliveries.places);
    if original.location != replay.location && waiting.into_iter().any(|it| left_before(it.since)) {
        return Err(format!("{}: {key} is stored elsewhere before a final delivery is made", put.tenant));
    }
    let is_other = |it: &&Put| it.place == put.place && it.run != put.run && it.sha256 != put.sha256;
    match facts.in_flight.values().find(is_other) {
        Some(other) if !is_manifest(key) => {
            Err(format!("{}: {key} is stored, and run {}'s put of it is in flight", put.tenant, other.run))
        }
        _ => Ok(()),
    }
}

/// Checks an object that was just stored over a committed one.
///
/// # Errors
/// If something of the committed window is gone.
pub fn check_overwritten(
    facts: &mut Facts,
    state: &FakeState,
    place: &(String, String),
    object: &FakeObject,
) -> Result<(), String> {
    let Facts { committed, replays, .. } = facts;
    let stored = sha256(&object.bytes);
    let (bucket, key) = place;
    if committed.get(place).is_none_or(|committed| *committed == stored) {
        return Ok(());
    }
    let wrong = || Err(format!("{bucket}/{key} was overwritten with other bytes than in its receipt"));
    let Some((text, was_signed)) = replays.notes.get(place) else {
        if is_manifest(key) || window_of(key).is_none() || !replays.requested.values().any(|it| is_of(it, key)) {
            return wrong();
        }
        let end = key.rfind('_').map_or(0, |at| at + 1);
        let placed = (bucket.clone(), key[..end].to_owned());
        let objects = state.buckets.get(bucket).into_iter().flatten();
        let mut now = BTreeSet::new();
        for (key, object) in objects.filter(|(key, _)| key.starts_with(&placed.1)) {
            if committed.contains_key(&(bucket.clone(), key.clone())) {
                now.extend(object_lines(key, &object.bytes)?);
            }
        }
        let gone = replays.lines.get(&placed).into_iter().flatten().find(|line| !now.contains(*line));
        replays.unlisted.insert(placed.clone());
        return gone.map_or(Ok(()), |line| Err(format!("{bucket}/{key} was overwritten, and this is gone: {line}")));
    };
    let manifest = manifests::Manifest::parse(&object.bytes)?;
    if manifest.sha256() != *text || *was_signed && manifest.signature.is_none() {
        return wrong();
    }
    let is_signed = manifest.signature.is_some();
    replays.notes.insert(place.clone(), (manifest.sha256(), is_signed));
    committed.insert(place.clone(), stored);
    Ok(())
}

fn is_of(tenant: &str, key: &str) -> bool {
    key.contains(&format!("/tenant={tenant}/")) || key.starts_with(&format!("audit-logs/tenant={tenant}/"))
}

/// Records the events of a window that was just committed.
pub fn note_lines(facts: &mut Facts, state: &FakeState, receipt: &Receipt) -> Result<(), String> {
    let placed = placed(&receipt.location, receipt.window);
    let mut lines = facts.replays.lines.remove(&placed).unwrap_or_default();
    for object in receipt.objects.iter().filter(|object| object.late.is_none()) {
        let stored = state.buckets.get(&placed.0).and_then(|objects| objects.get(&object.key));
        let stored = stored.ok_or_else(|| format!("{} is missing", object.key))?;
        lines.extend(object_lines(&object.key, &stored.bytes)?.into_iter().filter(|line| !is_window_event(line)));
    }
    facts.replays.unlisted.remove(&placed);
    facts.replays.lines.insert(placed, lines);
    Ok(())
}

/// Checks what has happened to a tenant's replay since the last step.
///
/// # Errors
/// The first violation.
pub fn check(
    facts: &mut Facts,
    state: &FakeState,
    id: &str,
    tenant: &FakeTenant,
    now: DateTime<Utc>,
    retention: Option<TimeDelta>,
) -> Result<(), String> {
    let Some(replay) = &tenant.replay else { return Ok(()) };
    let before = facts.replays.last.get(id);
    if before.is_some_and(|before| (&before.id, before.revision) == (&replay.id, replay.revision)) {
        return Ok(());
    }
    let before = before.cloned();
    facts.replays.last.insert(id.to_owned(), replay.clone());
    match before {
        Some(before) if before.id == replay.id => {
            check_progress(facts, state, id, tenant, (&before, replay), now, retention)
                .map_err(|what| format!("{id}: the replay {what}"))
        }
        Some(before) if before.is_running() => Err(format!("{id}: a replay is replaced by another: {before:?}")),
        Some(_) | None => Ok(()),
    }
}

fn check_progress(
    facts: &mut Facts,
    state: &FakeState,
    id: &str,
    tenant: &FakeTenant,
    (before, replay): (&Replay, &Replay),
    now: DateTime<Utc>,
    retention: Option<TimeDelta>,
) -> Result<(), String> {
    if !before.is_running() {
        let Replay { revision, retry_after, .. } = replay.clone();
        let same = Replay { revision, retry_after, ..before.clone() } == *replay;
        return if same { Ok(()) } else { Err(format!("had ended, and goes on: {replay:?}")) };
    }
    let done = |replay: &Replay| (replay.delivered.windows, replay.refused_count);
    let ((was_delivered, was_refused), (delivered, refused)) = (done(before), done(replay));
    let next = tenant.receipts.range((Bound::Excluded(before.next), Bound::Unbounded)).next();
    let next = next.map(|(_, receipt)| receipt).filter(|receipt| receipt.window.from < replay.range.to);
    match (delivered.checked_sub(was_delivered), refused.checked_sub(was_refused)) {
        (Some(0), Some(0)) if before.next == replay.next => {}
        // What was never exported has no receipt.
        (Some(0), Some(1)) if next.map_or(replay.range.to, |next| next.window.from) == replay.next => {
            let refused = replay.refused.last();
            if refused.is_none_or(|refused| refused.reason != Refusal::NoReceipt || before.next >= replay.next) {
                return Err(format!("leaves out what has no receipt, and says {refused:?}"));
            }
        }
        (Some(1), Some(0)) | (Some(0), Some(1)) => {
            let Some(next) = next.filter(|next| next.window.to == replay.next) else {
                return Err(format!("goes on at {} and leaves {next:?} out", replay.next));
            };
            if delivered > was_delivered {
                check_delivered(facts, state, id, tenant, replay, next)?;
                let stop = facts.replays.stop_requested_at.get(&replay.id);
                if stop.is_some_and(|stop| now - *stop > MAX_STOP_DELAY) {
                    let late = facts.replays.after_stop.entry(replay.id.clone()).or_default();
                    *late += 1;
                    if *late > 1 {
                        return Err("goes on, though it is to stop".to_owned());
                    }
                }
            } else {
                check_refused(facts, id, replay, next, now, retention)?;
            }
        }
        _ => return Err(format!("counts wrong: {before:?} {replay:?}")),
    }
    if replay.is_running() {
        return Ok(());
    }
    facts.replays.ended.push((id.to_owned(), replay.state));
    let is_early = || match (replay.state, replay.stopped) {
        (ReplayState::Completed, None) => next.is_none(),
        (ReplayState::Stopped, Some(StopCause::Requested)) => facts.replays.stop_requested_at.contains_key(&replay.id),
        (ReplayState::Stopped, Some(StopCause::Disconnected | StopCause::DestinationChanged)) => {
            facts.settings_changed_at.get(id).is_some_and(|at| *at + MAX_SKEW * 2 >= replay.requested_at)
        }
        (ReplayState::Failed, None) => {
            let has_failed = before.failing_since.is_some_and(|since| now - since + MAX_SKEW * 2 >= TRIED_FOR);
            has_failed || now - before.progressed_at + MAX_SKEW * 2 >= WAITED_FOR
        }
        _ => false,
    };
    if !is_early() {
        return Err(format!("ends for no reason: {replay:?}"));
    }
    // A request to stop it waits for the window in progress, unless that fails or waits.
    let is_between = before.checkpoint.is_none() && replay.stopped == Some(StopCause::Requested);
    if let Some(next) = next.filter(|_| !is_between) {
        facts.replays.interrupted.insert(placed(&replay.location, next.window));
    }
    Ok(())
}

/// A window is left as it is only if its files are there and its events may be deleted.
fn check_refused(
    facts: &mut Facts,
    id: &str,
    replay: &Replay,
    original: &Receipt,
    now: DateTime<Utc>,
    retention: Option<TimeDelta>,
) -> Result<(), String> {
    let reason = replay.refused.last().map(|refused| refused.reason);
    let key = (id.to_owned(), original.window.to, replay.location.hash());
    let is_here = original.location == replay.location;
    let standing = facts.replays.receipts.get(&key).or_else(|| is_here.then_some(original));
    // A run refuses what may be deleted before it ends.
    let is_old =
        retention.is_some_and(|retention| original.window.from < now + TimeDelta::hours(1) + retention / 8 - retention);
    let is_true = standing.is_some_and(|standing| match reason {
        Some(Refusal::EventsExpired | Refusal::PartlyReplaced) => is_old,
        Some(Refusal::TooManyFiles) => has_file_of_late_events(standing),
        Some(Refusal::NoReceipt | Refusal::ReceiptUnclear) | None => false,
    });
    facts.replays.interrupted.insert(placed(&replay.location, original.window));
    if !is_true {
        return Err(format!("leaves {} as it is for no reason: {reason:?}", original.window));
    }
    Ok(())
}

/// Whether a file has nothing but late events that belong into the one before it: in order, it would be empty.
fn has_file_of_late_events(standing: &Receipt) -> bool {
    let files: Vec<_> = standing.objects.iter().filter(|object| object.late.is_none()).collect();
    files.windows(2).any(|two| two[0].last_event.is_some() && two[0].last_event == two[1].last_event)
}

fn check_delivered(
    facts: &mut Facts,
    state: &FakeState,
    id: &str,
    tenant: &FakeTenant,
    replay: &Replay,
    original: &Receipt,
) -> Result<(), String> {
    let (window, location) = (original.window, &replay.location);
    let receipt = tenant.replayed.get(&(window.to, location.hash()));
    let receipt = receipt.ok_or_else(|| format!("delivers {window} without a receipt"))?;
    if receipt.window != window || receipt.location != *location {
        return Err(format!("delivers {window}, and the receipt is {receipt:?}"));
    }
    let key = (id.to_owned(), window.to, location.hash());
    let is_here = original.location == *location;
    let standing = facts.replays.receipts.get(&key).cloned().or_else(|| is_here.then(|| original.clone()));
    let objects = state.buckets.get(&location.bucket);
    for object in &receipt.objects {
        let stored = objects.and_then(|objects| objects.get(&object.key));
        if stored.is_none_or(|stored| sha256(&stored.bytes) != object.sha256) {
            return Err(format!("delivers {window}, but {} has other bytes", object.key));
        }
    }
    match &standing {
        Some(standing) => {
            let named = |receipt: &Receipt| -> Vec<_> {
                receipt.objects.iter().map(|it| (it.key.clone(), it.last_event.clone())).collect()
            };
            if named(standing) != named(receipt) {
                return Err(format!("delivers {window} as {:?} over {:?}", named(receipt), named(standing)));
            }
            // A late event that a resumed run read belongs into an earlier file than it was in.
            let mut more = 0;
            for (before, after) in standing.objects.iter().zip(&receipt.objects) {
                more = (more + after.events)
                    .checked_sub(before.events)
                    .ok_or_else(|| format!("delivers {window} with fewer events up to {}", after.key))?;
            }
        }
        None if receipt.objects.iter().any(|object| object.late.is_some()) => {
            return Err(format!("delivers late minutes of {window} elsewhere"));
        }
        None => {}
    }
    let amended = |receipt: &Receipt| receipt.manifest.as_ref().and_then(|manifest| manifest.amended.clone());
    let writer = facts.writers.get(id).cloned().unwrap_or_default();
    let notes = manifests::check_replayed(state, id, original, standing.as_ref(), receipt, Some(writer.key.as_ref()))?;
    for (place, (text, is_signed, bytes)) in notes {
        facts.replays.notes.insert(place.clone(), (text, is_signed));
        facts.committed.insert(place, bytes);
    }
    if standing.as_ref().is_some_and(|standing| amended(standing) != amended(receipt)) {
        facts.replays.amended.push((id.to_owned(), timestamp::seconds(window.from)));
    }
    for object in &receipt.objects {
        facts.committed.insert((location.bucket.clone(), object.key.clone()), object.sha256.clone());
    }
    facts.replays.receipts.insert(key, receipt.clone());
    note_lines(facts, state, receipt)
}
