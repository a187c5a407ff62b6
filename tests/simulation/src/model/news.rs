//! What must have been told in the end: of failures, of their end, to the tenant and to others.

use std::collections::BTreeMap;

use audit_log_core::{event::Body, notice::Kind, records::Receipt, timestamp};
use serde_json::Value;

use super::Tenants;

impl Tenants<'_> {
    /// Each failure that was told of as the first is followed by one recovery, once exports go well again.
    pub(super) fn failures_are_told(&self) -> Result<(), String> {
        let mut told: BTreeMap<String, [u32; 2]> = BTreeMap::new();
        let of_tenant =
            self.state.events.iter().filter(|((of, _), _)| of == self.id).flat_map(|(_, events)| events.values());
        for body in of_tenant {
            let Body::Text(text) = body else { continue };
            let Ok(event) = serde_json::from_str::<Value>(text) else { continue };
            let at = |field: &str| event["additionalInfo"][field].as_str().unwrap_or_default().to_owned();
            match event["action"].as_str() {
                Some("Export Failed") => told.entry(at("exportedUntil")).or_default()[0] += 1,
                Some("Export Recovered") => told.entry(at("windowFrom")).or_default()[1] += 1,
                _ => {}
            }
        }
        let stands = self.tenant.watermark.as_ref().and_then(|watermark| watermark.exported_until.as_deref());
        match told.iter().find(|(at, counts)| **counts != [1, 1] && Some(at.as_str()) != stands) {
            Some((at, [failed, recovered])) if self.facts.expired.is_empty() => {
                Err(format!("{failed} failures and {recovered} recoveries are told of at {at}"))
            }
            _ => Ok(()),
        }
    }

    /// What the system has recorded of failures and recoveries, deleted since or not: action, point of the watermark, days
    /// and id.
    fn told(&self) -> Vec<(String, String, i64, String)> {
        let stored = self.state.events.iter().filter(|((of, _), _)| of == self.id).flat_map(|(_, it)| it.values());
        let expired = self.facts.expired.iter().filter(|((of, _, _), _)| of == self.id).map(|(_, body)| body);
        let told = stored.chain(expired).filter_map(|body| {
            let Body::Text(text) = body else { return None };
            let event: Value = serde_json::from_str(text).ok()?;
            let info = &event["additionalInfo"];
            let action = event["action"].as_str().filter(|it| {
                event["logType"] == "Audit Log Export"
                    && ["Export Failed", "Export Still Failing", "Export Recovered"].contains(it)
            })?;
            let point = info["exportedUntil"].as_str().or(info["windowFrom"].as_str())?;
            let days = info["days"].as_i64().unwrap_or(0);
            Some((action.to_owned(), point.to_owned(), days, event["id"].as_str()?.to_owned()))
        });
        told.collect()
    }

    /// Each failure is told of once, and again once after each of the days; and what is recorded was published before, or
    /// soon after.
    pub(super) fn news_are_told(&self) -> Result<(), String> {
        let told = self.told();
        let due = self.facts.due_news.iter().filter(|(of, _, _)| of == self.id);
        for (_, point, days) in due {
            let action = if *days == 0 { "Export Failed" } else { "Export Still Failing" };
            let count =
                told.iter().filter(|(what, at, after, _)| what == action && at == point && after == days).count();
            if count != 1 {
                return Err(format!("{action} at {point} after {days} days is told {count} times"));
            }
        }
        for (action, point, _, id) in &told {
            let is_recovery = action == "Export Recovered";
            let is_left = self.is_left_to_the_next_window(point);
            let excused = self.has_trouble() || is_recovery && (is_left || self.facts.died);
            if !excused && !self.state.notices.iter().any(|notice| notice.id == *id) {
                return Err(format!("nobody has heard of {action} at {point}"));
            }
        }
        Ok(())
    }

    fn has_trouble(&self) -> bool {
        self.facts.unheard.contains(self.id) || self.facts.unnoted.iter().any(|(of, _)| of == self.id)
    }

    /// Whether the end of a failure is still to be told, with the window after the one that ended it.
    fn is_left_to_the_next_window(&self, point: &str) -> bool {
        let stands = self.tenant.watermark.as_ref().and_then(|watermark| watermark.exported_until.clone());
        let is_next = |receipt: &Receipt| {
            timestamp::seconds(receipt.window.from) == point && Some(timestamp::seconds(receipt.window.to)) == stands
        };
        let is_noted = self.tenant.told.as_deref().is_some_and(|told| told.starts_with(point));
        is_noted && self.tenant.receipts.values().any(is_next)
    }

    /// The last that others hear is that all is well, once a window was exported.
    pub(super) fn others_hear_of_the_end(&self) -> Result<(), String> {
        if self.has_trouble() || self.facts.died {
            return Ok(());
        }
        let last = self.state.notices.iter().rfind(|notice| notice.tenant.as_str() == self.id);
        let stands = self.tenant.watermark.as_ref().and_then(|watermark| watermark.exported_until.as_deref());
        match last.filter(|notice| notice.kind != Kind::Recovered) {
            Some(notice) => match notice.info.get("exportedUntil").and_then(Value::as_str) {
                Some(point) if Some(point) != stands && !self.is_left_to_the_next_window(point) => {
                    Err(format!("others have not heard of the end: {notice:?}"))
                }
                _ => Ok(()),
            },
            None => Ok(()),
        }
    }
}
