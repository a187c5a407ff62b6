//! Compares audit events, outbox entries and notifications on the bus.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use audit_log_aws::sdk::dynamodb::types::AttributeValue;
use audit_log_core::{notification::Notification, outbox, tenant::TenantId};
use audit_log_tests::{Item, attribute};
use serde_json::Value;

/// A notification's `detail-type` is this and the action of its audit event.
const DETAIL_TYPE_PREFIX: &str = "Audit Log ";

/// An audit event, a notification or an outbox entry. Those of one change are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Announcement {
    tenant: String,
    action: String,
    id: String,
    /// The watermark of a failure or recovery.
    exported_until: Option<String>,
}

impl Announcement {
    fn new(tenant: &str, action: &str, id: &str, info: &Value) -> Self {
        let [failed, recovered] = ["exportedUntil", "windowFrom"].map(|field| info[field].as_str());
        Self {
            tenant: tenant.to_owned(),
            action: action.to_owned(),
            id: id.to_owned(),
            exported_until: failed.or(recovered).map(str::to_owned),
        }
    }

    /// From an audit event's document.
    pub(crate) fn from_event(tenant: &str, event: &Value) -> Result<Self> {
        let action = event["action"].as_str().context("an audit event without an action")?;
        let id = event["id"].as_str().context("an audit event without an id")?;
        Ok(Self::new(tenant, action, id, &event["additionalInfo"]))
    }

    /// The entries of an outbox, with sequence numbers.
    pub(crate) fn from_outbox(record: &Item) -> Result<Vec<(u64, Self)>> {
        let tenant = TenantId::parse(attribute(record, "tenant_id"))?;
        let entries = record.get("entries").and_then(|entries| entries.as_m().ok()).into_iter().flatten();
        let parsed = entries.map(|(id, entry)| {
            let entry = entry.as_s().ok().and_then(|text| outbox::parse(&tenant, id, text));
            let Notification { kind, sequence, info, .. } = entry.with_context(|| format!("the entry {id}"))?;
            let action = kind.detail_type().strip_prefix(DETAIL_TYPE_PREFIX).unwrap_or_default();
            Ok((sequence, Self::new(tenant.as_str(), action, id, &info.into())))
        });
        parsed.collect()
    }

    /// From an event on the bus, with its sequence number.
    pub(crate) fn from_bus(event: &Value) -> Result<(u64, Self)> {
        let detail = &event["detail"];
        let kind = event["detail-type"].as_str().and_then(|kind| kind.strip_prefix(DETAIL_TYPE_PREFIX));
        let [tenant, id] = ["tenantId", "id"].map(|field| detail[field].as_str());
        let announcement = Self::new(
            tenant.context("a notification of no tenant")?,
            kind.context("another system's notification")?,
            id.context("a notification without an id")?,
            detail,
        );
        Ok((detail["sequence"].as_u64().context("a notification without a sequence number")?, announcement))
    }
}

/// How audit events differ from those of an undisturbed run. A failure that the fault caused is announced once, and so is its
/// recovery. An older failure may be announced once more, since it has lasted for days.
pub(crate) fn differences(actual: &[Announcement], expected: &[Announcement]) -> Vec<String> {
    let by_failure = |announcements: &[Announcement]| {
        let mut actions: BTreeMap<(String, Option<String>), Vec<String>> = BTreeMap::new();
        for Announcement { tenant, action, exported_until, .. } in announcements {
            actions.entry((tenant.clone(), exported_until.clone())).or_default().push(action.clone());
        }
        actions.values_mut().for_each(|actions| actions.sort_unstable());
        actions
    };
    let (actual, expected) = (by_failure(actual), by_failure(expected));
    let of_a_fault = ["Export Failed", "Export Recovered"].map(str::to_owned);
    let failures: BTreeSet<_> = actual.keys().chain(expected.keys()).collect();
    let differences = failures.into_iter().filter_map(|failure| {
        let actual = actual.get(failure).cloned().unwrap_or_default();
        let expected = expected.get(failure).map_or(of_a_fault.as_slice(), Vec::as_slice);
        let (lasting, others): (Vec<_>, Vec<_>) =
            actual.iter().cloned().partition(|action| action == "Export Still Failing");
        let differs = others != expected || lasting.len() > 1;
        differs.then(|| format!("{failure:?}: announced {actual:?}, expected {expected:?}"))
    });
    differences.collect()
}

/// Notifications that are missing, out of order or never announced. Repetitions are allowed.
pub(crate) fn notification_differences(
    received: &[(u64, Announcement)],
    announced: &BTreeSet<Announcement>,
) -> Vec<String> {
    let mut differences = Vec::new();
    let mut latest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut distinct = BTreeSet::new();
    for (sequence, announcement) in received {
        if distinct.insert(announcement.clone()) {
            let before = latest.insert(&announcement.tenant, *sequence);
            if before.is_some_and(|before| before >= *sequence) {
                differences
                    .push(format!("{announcement:?} with sequence number {sequence} was received after {before:?}"));
            }
        }
    }
    differences.extend(announced.difference(&distinct).map(|it| format!("{it:?} was not received")));
    differences.extend(distinct.difference(announced).map(|it| format!("{it:?} was received and never announced")));
    differences
}

/// Whether an outbox is in the index `pending`.
pub(crate) fn is_pending(outbox: &Item) -> bool {
    matches!(outbox.get("pending_shard"), Some(AttributeValue::S(_)))
}
