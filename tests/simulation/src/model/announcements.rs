//! Checks that failures, recoveries and changes by admins are announced, as audit events and as notifications.

use std::collections::{BTreeMap, BTreeSet};

use audit_log_core::{event::Body, notification::Kind, records::ReplayState, timestamp};
use serde_json::Value;

use super::TenantModel;
use crate::facts::EndedDeliveries;

/// A system event: its action and, for failures and recoveries, the watermark and the days since the first failure.
type Announced = (String, String, i64);

/// A recovery whose window is unsigned announces that, too.
const RECOVERED: [&str; 2] = ["Export Recovered", "Export Recovered, unsigned"];

const COMPLETED_UNSIGNED: &str = "Final Delivery Completed, unsigned";

impl TenantModel<'_> {
    /// Returns the tenant's system events by id, deleted ones too.
    fn announced(&self) -> Result<BTreeMap<String, Announced>, String> {
        let stored = self.state.events.iter().filter(|((of, _), _)| of == self.id).flat_map(|(_, it)| it.values());
        let expired = self.facts.expired.iter().filter(|((of, _, _), _)| of == self.id).map(|(_, body)| body);
        let mut announced = BTreeMap::new();
        for body in stored.chain(expired) {
            let Body::Text(text) = body else { continue };
            let Ok(event) = serde_json::from_str::<Value>(text) else { continue };
            if event["logType"] != "Audit Log Export" {
                continue;
            }
            let info = &event["additionalInfo"];
            let [id, mut action] =
                [&event["id"], &event["action"]].map(|it| it.as_str().unwrap_or_default().to_owned());
            if info["unsigned"] == true {
                action.push_str(", unsigned");
            }
            let point = info["exportedUntil"].as_str().or(info["windowFrom"].as_str()).unwrap_or_default();
            let days = info["days"].as_i64().unwrap_or(0);
            if announced.insert(id.clone(), (action, point.to_owned(), days)).is_some() {
                return Err(format!("the audit event {id} is recorded twice"));
            }
        }
        Ok(announced)
    }

    /// Each failure is announced once, and once more after 1, 3 and 7 days. Each recovery and each change by an admin is
    /// announced once, and so is each window without a signature. Nothing else is announced. Each announcement is published under its event's id.
    pub(super) fn check_announcements(&self) -> Result<(), String> {
        let mut announced = self.announced()?;
        let of_failures = self.facts.due_announcements.iter().filter(|(of, ..)| of == self.id);
        let receipts = self.tenant.receipts.values().filter(|receipt| receipt.is_unsigned());
        let mut unsigned: BTreeSet<String> = receipts.map(|receipt| timestamp::seconds(receipt.window.from)).collect();
        for (_, action, point, days) in of_failures {
            let is_unsigned = *action == RECOVERED[0] && unsigned.remove(point);
            let due = (if is_unsigned { RECOVERED[1] } else { *action }, point.as_str(), *days);
            let is_due = |(what, at, after): &Announced| (what.as_str(), at.as_str(), *after) == due;
            let Some(id) = announced.iter().find_map(|(id, it)| is_due(it).then(|| id.clone())) else {
                return Err(format!("{action} at {point} after {days} days is not announced"));
            };
            announced.remove(&id);
            self.check_published(&id, action)?;
        }
        for (id, (_, action, kind)) in self.facts.changes.iter().filter(|(_, (of, ..))| of == self.id) {
            match announced.remove(id) {
                Some((recorded, ..)) if recorded == *action => self.check_published(id, action)?,
                other => return Err(format!("{action} has {other:?} as its audit event")),
            }
            if kind_of(action) != Some(*kind) {
                return Err(format!("{action} is no {kind:?}"));
            }
        }
        let parts = self.facts.unsigned_parts.get(self.id).into_iter().flatten().cloned();
        for from in unsigned.into_iter().chain(parts) {
            let due = ("Window Unsigned".to_owned(), from, 0);
            let id = announced.iter().find_map(|(id, it)| (*it == due).then(|| id.clone()));
            let id = id.ok_or_else(|| format!("the window from {} is unsigned and not announced", due.1))?;
            announced.remove(&id);
            self.check_published(&id, "Window Unsigned")?;
        }
        self.check_ended_deliveries(&mut announced)?;
        self.check_replays_announced(&mut announced)?;
        match announced.into_values().next() {
            Some(other) => Err(format!("announced without reason or too often: {other:?}")),
            None if !self.tenant.outbox.is_empty() => Err(format!("not published: {:?}", self.tenant.outbox)),
            None if self.tenant.outbox.dropped > 0 => Err("a notification was dropped".to_owned()),
            None => Ok(()),
        }
    }

    /// The end of each final delivery is an audit event. One that is given up is a notification too, unless the exports failed
    /// already when the place was left.
    fn check_ended_deliveries(&self, announced: &mut BTreeMap<String, Announced>) -> Result<(), String> {
        let EndedDeliveries { ended, given_up: most_given_up, silent: most_silent, unsigned } =
            self.facts.final_deliveries.get(self.id).copied().unwrap_or_default();
        let mut take = |action: &str| {
            let of_action: Vec<String> =
                announced.iter().filter(|(_, (of, ..))| of == action).map(|(id, _)| id.clone()).collect();
            announced.retain(|_, (of, ..)| of != action);
            of_action
        };
        let (mut completed, given_up) = (take("Final Delivery Completed"), take("Final Delivery Failed"));
        let without_signature = take(COMPLETED_UNSIGNED);
        if without_signature.len() != unsigned {
            return Err(format!("{unsigned} final deliveries are unsigned, but announced are {without_signature:?}"));
        }
        without_signature.iter().try_for_each(|id| self.check_published(id, COMPLETED_UNSIGNED))?;
        completed.extend(without_signature);
        if completed.len() + given_up.len() != ended || given_up.len() > most_given_up {
            return Err(format!(
                "{ended} final deliveries ended, but {} completed and {} are given up",
                completed.len(),
                given_up.len()
            ));
        }
        let is_published = |id: &&String| self.state.notifications.iter().any(|it| it.id == **id);
        let (published, silent): (Vec<&String>, Vec<&String>) = given_up.iter().partition(is_published);
        if silent.len() > most_silent {
            return Err(format!("final deliveries were given up without a notification: {silent:?}"));
        }
        published.into_iter().try_for_each(|id| self.check_published(id, "Final Delivery Failed"))
    }

    /// Each request for a replay is an audit event. Each end of one, and each manifest that another one amends, is a notification too.
    fn check_replays_announced(&self, announced: &mut BTreeMap<String, Announced>) -> Result<(), String> {
        let replays = &self.facts.replays;
        for id in replays.requested.iter().filter(|(_, of)| *of == self.id).map(|(id, _)| id) {
            match announced.remove(id) {
                Some((action, ..)) if action == "Export Replay Requested" => {}
                other => return Err(format!("a request for a replay has {other:?} as its audit event")),
            }
        }
        let action = |state: &ReplayState| match state {
            ReplayState::Completed | ReplayState::Running => "Export Replay Completed",
            ReplayState::Stopped => "Export Replay Stopped",
            ReplayState::Failed => "Export Replay Failed",
        };
        let ended =
            replays.ended.iter().filter(|(of, _)| of == self.id).map(|(_, state)| (action(state), String::new()));
        let amended = replays.amended.iter().filter(|(of, _)| of == self.id);
        let amended = amended.map(|(_, from)| ("Manifest Amended", from.clone()));
        for (action, from) in ended.chain(amended) {
            let is_it = |(of, at, _): &Announced| of == action && *at == from;
            let Some(id) = announced.iter().find_map(|(id, it)| is_it(it).then(|| id.clone())) else {
                return Err(format!("{action} {from} is not announced"));
            };
            announced.remove(&id);
            self.check_published(&id, action)?;
        }
        Ok(())
    }

    fn check_published(&self, id: &str, action: &str) -> Result<(), String> {
        let mut of_event = self.state.notifications.iter().filter(|notification| notification.id == id).peekable();
        if of_event.peek().is_none() {
            return Err(format!("{action} is announced and never published: {id}"));
        }
        match of_event.find(|it| Some(it.kind) != kind_of(action) || it.tenant.as_str() != self.id) {
            Some(other) => Err(format!("{action} is published as {other:?}")),
            None => Ok(()),
        }
    }
}

fn kind_of(action: &str) -> Option<Kind> {
    match action {
        "Export Failed" => Some(Kind::Failed),
        "Export Still Failing" => Some(Kind::StillFailing),
        "Export Recovered" => Some(Kind::Recovered),
        "Export Settings Changed" => Some(Kind::SettingsChanged),
        "Connector Disconnected" => Some(Kind::Disconnected),
        "Connector Connected" => Some(Kind::Connected),
        "Final Delivery Failed" => Some(Kind::FinalDeliveryFailed),
        "Export Replay Completed" => Some(Kind::ReplayCompleted),
        "Export Replay Stopped" => Some(Kind::ReplayStopped),
        "Export Replay Failed" => Some(Kind::ReplayFailed),
        "Manifest Amended" => Some(Kind::ManifestAmended),
        "Window Unsigned" | COMPLETED_UNSIGNED => Some(Kind::WindowUnsigned),
        _ => None,
    }
}
