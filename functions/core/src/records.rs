//! What the tenants table holds of a tenant, beside its config: the watermark and the receipts.

mod connected_count;
mod connection_check;
mod receipt;

use chrono::{DateTime, Utc};

pub use connected_count::ConnectedCount;
pub use connection_check::{ConnectionChange, ConnectionCheck, Finding};
pub use receipt::{RECEIPT_RETENTION, Receipt, StoredObject, StoredReceipt};

use crate::{
    lease::Lease,
    schedule::Schedule,
    settings::{Draft, FieldError, FieldErrors},
    tenant::{DueShard, TenantId, quoted},
    timestamp,
};

/// The part of the record `watermark` that says how far a tenant is exported, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the attribute of that name")]
pub struct StoredWatermark {
    pub exported_until: Option<String>,
    pub next_due: Option<String>,
    pub due_shard: Option<String>,
    /// A [`Checkpoint`](crate::checkpoint::Checkpoint) of the window that is due.
    pub checkpoint: Option<String>,
    /// The [`TrailingCounts`](crate::late_arrivals::TrailingCounts) of the last window.
    pub trailing_counts: Option<String>,
    /// Whether runs have failed since the last success; a commit that ends that has a recovery to announce, and one that
    /// doesn't must not.
    pub failing: bool,
}

impl StoredWatermark {
    /// What a connected tenant's watermark holds at that point of its schedule.
    pub fn connected(tenant: &TenantId, schedule: Schedule) -> Self {
        Self {
            exported_until: Some(timestamp::seconds(schedule.exported_until)),
            next_due: Some(timestamp::seconds(schedule.next_due)),
            due_shard: Some(DueShard::of(tenant).to_string()),
            ..Self::default()
        }
    }

    /// The same watermark, further on, after a window was exported.
    #[must_use]
    pub fn after(&self, receipt: &Receipt, schedule: Schedule) -> Self {
        Self {
            trailing_counts: Some(receipt.trailing_counts.to_text()),
            exported_until: Some(timestamp::seconds(schedule.exported_until)),
            next_due: Some(timestamp::seconds(schedule.next_due)),
            checkpoint: None,
            failing: false,
            due_shard: self.due_shard.clone(),
        }
    }

    /// Whether both stand at the same point of the same schedule. All else is a commit's concern alone.
    pub fn stands_where(&self, other: &Self) -> bool {
        let point = |it: &Self| (it.exported_until.clone(), it.next_due.clone(), it.due_shard.clone());
        point(self) == point(other)
    }

    /// The schedule that the watermark holds.
    ///
    /// # Errors
    /// If one of its instants is missing or not written as whole seconds in UTC, or if it is due before it was
    /// exported. A watermark is never guessed: a wrong guess loses events.
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
    /// The record `config`, unchecked.
    pub config: Option<Draft>,
    /// The record `watermark`, unchecked.
    pub watermark: Option<StoredWatermark>,
    /// What the watermark says of how exports went.
    pub health: ExportHealth,
    /// The lease that the record `watermark` holds, expired or not; none where it can't be read.
    pub lease: Option<Lease>,
    /// Whether the record `outbox` holds anything.
    pub has_notifications: bool,
}

/// How a tenant's last exports went, as the watermark's record has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportHealth {
    /// When a window was exported last.
    pub last_success_at: Option<DateTime<Utc>>,
    /// The last object of that window.
    pub last_object_key: Option<String>,
    /// What went wrong since.
    pub last_error: Option<LastError>,
    /// How many runs have failed in a row.
    pub consecutive_failures: u64,
    /// The first of these failures.
    pub failing_since: Option<DateTime<Utc>>,
    /// When the settings were saved, or passed a verification, since the last success.
    pub backoff_reset_at: Option<DateTime<Utc>>,
}

/// A failure as it was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// Its code, which may be of another version than this.
    pub code: String,
    /// What happened.
    pub message: String,
    /// Who has to act, by its name; an older record doesn't say.
    pub party: Option<String>,
    /// When.
    pub at: Option<DateTime<Utc>>,
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
                    "what was read is what a condition is made of"
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
