//! The records of the tenants table, beside the config: watermarks, receipts, connection checks.

mod connection_check;
mod final_delivery;
mod giving_up;
mod manifest;
mod receipt;
mod replay;

use chrono::{DateTime, NaiveDate, Utc};

pub use connection_check::{ConnectionChange, ConnectionCheck, Finding};
pub use final_delivery::{FinalDeliveries, FinalDelivery, MAX_CHECKPOINT_BYTES, MAX_PLACES, Place};
pub use manifest::{AmendedManifest, Chain, ManifestState, StoredManifest};
pub use receipt::{
    EventPosition, Location, RECEIPT_PREFIX, RECEIPT_RETENTION, REPLAYED_PREFIX, Receipt, StoredObject, StoredReceipt,
};
pub use replay::{Progress, Refusal, RefusedWindow, Replay, ReplayError, ReplayState, StopCause, time_to_end};

use crate::{
    lease::Lease,
    schedule::Schedule,
    settings::{Draft, FieldError, FieldErrors, parse_version},
    setup_draft::SetupDraft,
    tenant::{DueShard, TenantId, quoted},
    timestamp,
};

/// The part of the record `watermark` that says how far a tenant is exported; fields are the attributes of that name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredWatermark {
    pub exported_until: Option<String>,
    pub next_due: Option<String>,
    pub due_shard: Option<String>,
    /// A [`Checkpoint`](crate::checkpoint::Checkpoint) of the window that is due.
    pub checkpoint: Option<String>,
    /// The [`TrailingCounts`](crate::late_arrivals::TrailingCounts) of the last window.
    pub trailing_counts: Option<String>,
    /// Up to where a place that was left has everything, if any was.
    pub final_delivered_until: Option<String>,
    /// SHA-256 of the text of the last window's [manifest](crate::manifest), in lower-case hex.
    pub manifest_sha256: Option<String>,
    /// When signing a manifest failed first since the last signed one, another failure, or the connection.
    pub signing_failed_since: Option<String>,
    /// Whether runs have failed since the last success. A commit announces a recovery if and only if this is set.
    pub failing: bool,
    /// Whether the last failure since the last success is the customer's.
    pub refused: bool,
}

impl StoredWatermark {
    /// The watermark of a connected tenant.
    pub fn connected(tenant: &TenantId, schedule: Schedule) -> Self {
        Self {
            exported_until: Some(timestamp::seconds(schedule.exported_until)),
            next_due: Some(timestamp::seconds(schedule.next_due)),
            due_shard: Some(DueShard::from_tenant(tenant).to_string()),
            ..Self::default()
        }
    }

    /// The watermark after a window was exported.
    #[must_use]
    pub fn after(&self, receipt: &Receipt, schedule: Schedule) -> Self {
        Self {
            trailing_counts: Some(receipt.trailing_counts.to_text()),
            exported_until: Some(timestamp::seconds(schedule.exported_until)),
            next_due: Some(timestamp::seconds(schedule.next_due)),
            checkpoint: None,
            failing: false,
            refused: false,
            due_shard: self.due_shard.clone(),
            final_delivered_until: self.final_delivered_until.clone(),
            manifest_sha256: receipt.manifest.as_ref().map(|it| it.sha256.clone()).or(self.manifest_sha256.clone()),
            signing_failed_since: self.signing_failed_since.clone().filter(|_| receipt.signing_failure.is_some()),
        }
    }

    /// Where the chain of manifests stands.
    pub fn chain(&self) -> Chain<'_> {
        // A damaged instant must not keep windows waiting for ever.
        let since = |text: &str| timestamp::parse_seconds(text).unwrap_or(DateTime::UNIX_EPOCH);
        let signing_failed_since = self.signing_failed_since.as_deref().map(since);
        Chain { head: self.manifest_sha256.as_deref(), signing_failed_since }
    }

    /// Whether both have the same schedule. The other fields don't matter to a lease or a save.
    pub fn is_at_same_position(&self, other: &Self) -> bool {
        let position = |it: &Self| (it.exported_until.clone(), it.next_due.clone(), it.due_shard.clone());
        position(self) == position(other)
    }

    /// # Errors
    /// If an instant is missing or not written as whole seconds in UTC, or if `next_due` is not after `exported_until`. A
    /// watermark is never guessed: a wrong guess loses events.
    pub fn schedule(&self) -> Result<Schedule, FieldErrors> {
        let mut errors = Vec::new();
        let mut instant = |field: &'static str, text: &Option<String>| {
            let parsed = text.as_deref().and_then(timestamp::parse_seconds);
            if parsed.is_none() {
                let text = quoted(text.as_deref().unwrap_or_default());
                let message = format!("the watermark's instant looks like 2026-11-21T11:00:00Z, not {text}");
                errors.push(FieldError { field, message });
            }
            parsed
        };
        match (instant("exported_until", &self.exported_until), instant("next_due", &self.next_due)) {
            (Some(exported_until), Some(next_due)) if exported_until < next_due => {
                Ok(Schedule { exported_until, next_due })
            }
            (Some(_), Some(_)) => Err(FieldErrors(vec![FieldError {
                field: "next_due",
                message: "the watermark is due before it was exported".to_owned(),
            }])),
            _ => Err(FieldErrors(errors)),
        }
    }
}

/// A tenant's records; each may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantRecords {
    /// Unchecked.
    pub config: Option<Draft>,
    /// What an unfinished setup has typed.
    pub setup_draft: Option<SetupDraft>,
    /// The version of the settings that passed a verification last.
    pub verified_version: Option<u64>,
    /// Unchecked.
    pub watermark: Option<StoredWatermark>,
    pub health: ExportHealth,
    /// The lease in the record `watermark`, expired or not; none if it can't be read.
    pub lease: Option<Lease>,
    /// Whether the outbox is not empty.
    pub has_notifications: bool,
    /// What is left to deliver to places that the tenant has left.
    pub final_deliveries: FinalDeliveries,
    /// The last replay, in progress or ended.
    pub replay: Option<Replay>,
    /// The revision of the record `replay`, also if the rest of it can't be read; 0 without one.
    pub replay_revision: u64,
}

impl TenantRecords {
    /// Whether anything was stored in any place: a window, a final delivery, or files of either by a run that then stopped.
    pub fn has_begun(&self) -> bool {
        let is_stored = |it: &StoredWatermark| {
            let StoredWatermark { checkpoint, trailing_counts, manifest_sha256, final_delivered_until, .. } = it;
            [checkpoint, trailing_counts, manifest_sha256, final_delivered_until].into_iter().any(Option::is_some)
        };
        self.health.last_success_at.is_some()
            || self.watermark.as_ref().is_some_and(is_stored)
            || self.final_deliveries.places.iter().any(|place| place.checkpoint.is_some())
    }

    /// The version of the settings; 0 without the attribute. None without a config, or if it can't be read.
    pub fn version(&self) -> Option<u64> {
        self.config.as_ref()?.version.as_deref().map_or(Some(0), |text| parse_version(text).ok())
    }

    /// Whether the settings, as they are, have passed a verification or delivered a window.
    pub fn is_verified(&self) -> bool {
        self.version().is_some_and(|version| self.verified_version == Some(version))
            || self.health.has_exported_since_save()
    }
}

/// How a tenant's last exports went: the rest of the record `watermark`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportHealth {
    /// When a window was exported last.
    pub last_success_at: Option<DateTime<Utc>>,
    /// The last object of that window.
    pub last_object_key: Option<String>,
    /// The last failure since.
    pub last_error: Option<LastError>,
    /// Runs that have failed in a row.
    pub consecutive_failures: u64,
    /// When the first of them failed.
    pub failing_since: Option<DateTime<Utc>>,
    /// When the settings were saved or passed a verification, or an admin asked for a retry, since the last success.
    pub backoff_reset_at: Option<DateTime<Utc>>,
}

impl ExportHealth {
    pub fn is_failing(&self) -> bool {
        self.consecutive_failures > 0 || self.failing_since.is_some()
    }

    /// Whether a window was exported since the settings were saved. Each save sets `backoff_reset_at`, and each commit, which
    /// is conditional on the version of the settings, removes it.
    fn has_exported_since_save(&self) -> bool {
        self.last_success_at.is_some() && self.backoff_reset_at.is_none()
    }
}

/// The last failure in the record `watermark`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// A code of this or another version.
    pub code: String,
    pub message: String,
    /// Who must act; none in older records.
    pub party: Option<String>,
    pub at: Option<DateTime<Utc>>,
}

/// A day's first count of connected tenants, and that of the last day before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectedCount {
    pub day: NaiveDate,
    pub connected: u64,
    pub before: Option<u64>,
}

impl ConnectedCount {
    /// Returns the count to store after tenants were counted on a day.
    #[must_use]
    pub fn after(last: Option<Self>, day: NaiveDate, connected: u64) -> Self {
        match last {
            Some(last) if last.day >= day => last,
            last => Self { day, connected, before: last.map(|last| last.connected) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(exported_until: &str, next_due: &str) -> Vec<&'static str> {
        let text = |text: &str| Some(text.to_owned());
        let stored = StoredWatermark {
            exported_until: text(exported_until),
            next_due: text(next_due),
            ..StoredWatermark::default()
        };
        match stored.schedule() {
            Ok(schedule) => {
                let connected = StoredWatermark::connected(&TenantId::parse("acme").unwrap(), schedule);
                assert!(
                    StoredWatermark { due_shard: None, ..connected } == stored,
                    "conditions are made of what was read"
                );
                vec![]
            }
            Err(errors) => errors.0.into_iter().map(|error| error.field).collect(),
        }
    }

    #[test]
    fn a_damaged_watermark_is_named_and_never_guessed() {
        assert_eq!(fields("2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"), [""; 0]);
        assert_eq!(fields("yesterday", "2026-11-21T11:00:00.000Z"), ["exported_until", "next_due"]);
        assert_eq!(fields("2026-11-21T11:00:00Z", "2026-11-21T11:00:00Z"), ["next_due"]);
        assert!(StoredWatermark::default().schedule().is_err());
    }
}
