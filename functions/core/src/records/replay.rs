//! The record of a replay: past windows that are delivered again because an admin asked for it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Location, Place, Receipt, StoredReceipt, giving_up};
use crate::{
    event::User,
    failure::{Code, Failure, Party, message_for_tenant},
    schedule::Window,
    timestamp,
};

/// Without progress for so long, an alarm tells the platform.
const STALLED_AFTER: TimeDelta = TimeDelta::hours(6);

/// How long before its events expire a window that lies in the place is no longer begun: one that was begun must have the time to be
/// ended, also after failures, since it would have other files than its manifest lists otherwise.
pub fn time_to_end(retention: Option<TimeDelta>) -> TimeDelta {
    retention.map_or(TimeDelta::zero(), |retention| (retention / 8).min(giving_up::TRIED_FOR))
}

/// How many refused windows the record lists; it counts all.
const MAX_LISTED_REFUSALS: usize = 50;

/// A replay. Serializes to the stored form, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// The id of the audit event of the request.
    pub id: String,
    /// Raised by each write, which is conditional on it.
    #[serde(skip)]
    pub revision: u64,
    pub state: ReplayState,
    /// The range that was asked for: each committed window that overlaps it is delivered again.
    pub range: Window,
    /// Where the windows go. If the settings lead elsewhere, or would store them otherwise, the replay stops.
    pub place: Place,
    pub location: Location,
    pub requested_by: User,
    #[serde(with = "timestamp::serde_seconds")]
    pub requested_at: DateTime<Utc>,
    /// All windows that end at or before this are done.
    #[serde(with = "timestamp::serde_seconds")]
    pub next: DateTime<Utc>,
    /// Whether an admin has asked to stop it. A window with a checkpoint is ended first: else its files and its manifest could differ.
    pub stop_requested: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_requested_by: Option<User>,
    /// What was to be delivered when it was requested.
    pub planned: Progress,
    pub delivered: Progress,
    /// Windows whose manifest was amended.
    pub amended: u64,
    /// Windows that could not be delivered again, at most the first 50.
    pub refused: Vec<RefusedWindow>,
    pub refused_count: u64,
    /// A [`Checkpoint`](crate::checkpoint::Checkpoint) of a window of which files were stored, or were about to be, that the
    /// location didn't have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// Until then, a request that failed may still store an object.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub retry_after: Option<DateTime<Utc>>,
    /// When the next window failed first.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub failing_since: Option<DateTime<Utc>>,
    /// When it failed first for a reason that is the customer's.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub refused_since: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<ReplayError>,
    /// When it was requested, or delivered or refused a window last.
    #[serde(with = "timestamp::serde_seconds")]
    pub progressed_at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "timestamp::serde_optional_seconds")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopCause>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    Running,
    /// Every window was delivered or refused.
    Completed,
    Stopped,
    /// A window failed for too long.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    Requested,
    Disconnected,
    DestinationChanged,
}

/// How many windows, and what is in them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub windows: u64,
    /// Recorded events.
    pub events: u64,
    /// Stored bytes.
    pub bytes: u64,
}

impl Progress {
    pub fn add(&mut self, events: u64, bytes: u64) {
        self.windows += 1;
        self.events += events;
        self.bytes += bytes;
    }
}

/// A window that a replay leaves as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedWindow {
    pub window: Window,
    pub reason: Refusal,
}

/// Why a window is left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Its files lie in this place, and some of its events have expired or may have: complete files would be replaced by incomplete
    /// ones.
    EventsExpired,
    /// The same, but some of its files were replaced before.
    PartlyReplaced,
    /// It has more files than its receipt lists, or one that would be empty: a resumed export filled it with late events that belong
    /// into the file before.
    TooManyFiles,
    /// There is no receipt of it that can be read.
    NoReceipt,
    /// Its receipt doesn't lead to its manifest.
    ReceiptUnclear,
}

impl Refusal {
    /// Why a window is left as it is, if it is. `original` is the receipt of its export, `standing` that of its last delivery into the
    /// place of the replay, if there was one; `expires` says whether some of its events may be deleted before it is delivered.
    pub fn of(original: &StoredReceipt, standing: Option<&StoredReceipt>, expires: bool) -> Option<Self> {
        let is_cut = |stored: &StoredReceipt| stored.object_count > stored.receipt.objects.len() as u64;
        if standing.is_some_and(|standing| is_cut(standing) || has_empty_range(&standing.receipt))
            || original.receipt.manifest.is_some() && is_cut(original)
        {
            return Some(Self::TooManyFiles);
        }
        let is_incomplete = |standing: &StoredReceipt| expires || standing.receipt.gap;
        standing.is_some_and(is_incomplete).then_some(Self::EventsExpired)
    }

    /// For the tenant.
    pub fn message(self) -> &'static str {
        match self {
            Self::EventsExpired => {
                "Its events have expired, or do soon, so its files in the bucket are the complete ones and are left as they are."
            }
            Self::PartlyReplaced => {
                "Some of its files were replaced by ones with late events, and then events expired. Its manifest lists the former files."
            }
            Self::NoReceipt => "There is no receipt of it: it was not exported, or too long ago.",
            Self::ReceiptUnclear => "Its receipt doesn't lead to its manifest. The platform must look into it.",
            Self::TooManyFiles => "It has more files than a replay can compare, and is left as it is.",
        }
    }
}

/// Whether a file of the window ends where the one before does. In order, it would have no event.
fn has_empty_range(receipt: &Receipt) -> bool {
    let ends =
        || receipt.objects.iter().filter(|object| object.late.is_none()).map(|object| object.last_event.as_ref());
    ends().zip(ends().skip(1)).any(|(end, next)| end.is_some() && end == next)
}

/// Why the next window failed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayError {
    pub code: String,
    /// For the tenant.
    pub message: String,
    pub party: String,
    /// What the customer can do, if the customer must act.
    pub hint: Option<String>,
    #[serde(with = "timestamp::serde_seconds")]
    pub at: DateTime<Utc>,
}

impl ReplayError {
    pub fn new(Failure { code, party, message }: &Failure, at: DateTime<Utc>) -> Self {
        Self {
            code: code.to_string(),
            message: message_for_tenant(*party, code.as_str(), message),
            party: party.to_string(),
            hint: (*party == Party::Customer).then(|| code.hint().to_owned()),
            at: timestamp::whole_seconds(at),
        }
    }
}

impl Replay {
    /// A replay that was just requested.
    pub fn new(
        id: String,
        range: Window,
        place: Place,
        planned: Progress,
        requested_by: User,
        at: DateTime<Utc>,
        before: Option<&Self>,
    ) -> Self {
        let at = timestamp::whole_seconds(at);
        let location = Location { bucket: place.bucket.clone(), folder: place.folder.clone() };
        Self {
            id,
            revision: before.map_or(0, |before| before.revision) + 1,
            state: ReplayState::Running,
            range,
            location,
            requested_by,
            requested_at: at,
            next: range.from,
            stop_requested: false,
            stop_requested_by: None,
            place,
            planned,
            delivered: Progress::default(),
            amended: 0,
            refused: Vec::new(),
            refused_count: 0,
            checkpoint: None,
            // The keys are the same ones.
            retry_after: before.and_then(|before| before.retry_after),
            failing_since: None,
            refused_since: None,
            last_error: None,
            progressed_at: at,
            ended_at: None,
            stopped: None,
        }
    }

    /// Parses what [`Replay::to_text`] returns.
    pub fn parse(revision: u64, text: &str) -> Option<Self> {
        serde_json::from_str(text).ok().map(|replay| Self { revision, ..replay })
    }

    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        self.state == ReplayState::Running
    }

    /// Whether it makes no progress although the customer has nothing to repair.
    pub fn is_stalled(&self, now: DateTime<Utc>) -> bool {
        let is_refused = self.last_error.as_ref().is_some_and(|error| error.party == Party::Customer.to_string());
        self.is_running() && !is_refused && now - self.progressed_at >= STALLED_AFTER
    }

    /// Whether it has waited or failed for so long that it is ended.
    pub fn is_abandoned(&self, now: DateTime<Utc>) -> bool {
        self.is_running() && now - self.progressed_at >= giving_up::TRIED_FOR_BY_PLATFORM
    }

    /// Whether the next window's manifest could not be signed.
    pub fn has_failed_signing(&self) -> bool {
        self.last_error.as_ref().is_some_and(|error| error.code == Code::SigningFailed.as_str())
    }

    /// The same with a request to stop it.
    #[must_use]
    pub fn stopping(&self, by: User) -> Self {
        Self { stop_requested: true, stop_requested_by: Some(by), revision: self.revision + 1, ..self.clone() }
    }

    /// Whether a window that has just failed is tried no more. The time counts from its first failure.
    pub fn is_given_up(&self, failure: &Failure, now: DateTime<Utc>) -> bool {
        giving_up::is_given_up(failure.party, self.failing_since, self.refused_since, now)
    }

    /// The same after a failure.
    #[must_use]
    pub fn after_failure(&self, failure: &Failure, now: DateTime<Utc>) -> Self {
        let at = Some(timestamp::whole_seconds(now));
        let refused_since = self.refused_since.or(at.filter(|_| failure.party == Party::Customer));
        let last_error = Some(ReplayError::new(failure, now));
        Self { failing_since: self.failing_since.or(at), refused_since, last_error, ..self.clone() }
    }

    /// The same after a window was delivered again.
    #[must_use]
    pub fn after_window(&self, receipt: &Receipt, is_amended: bool, now: DateTime<Utc>) -> Self {
        let mut after = self.after(receipt.window, now);
        after.delivered.add(receipt.events(), receipt.bytes());
        after.amended += u64::from(is_amended);
        after
    }

    /// The same after a window was left as it is.
    #[must_use]
    pub fn after_refusal(&self, window: Window, reason: Refusal, now: DateTime<Utc>) -> Self {
        let mut after = self.after(window, now);
        if after.refused.len() < MAX_LISTED_REFUSALS {
            after.refused.push(RefusedWindow { window, reason });
        }
        after.refused_count += 1;
        after
    }

    fn after(&self, window: Window, now: DateTime<Utc>) -> Self {
        Self {
            next: window.to,
            checkpoint: None,
            retry_after: None,
            failing_since: None,
            refused_since: None,
            last_error: None,
            progressed_at: timestamp::whole_seconds(now),
            ..self.clone()
        }
    }

    /// The same, ended.
    #[must_use]
    pub fn ended(&self, state: ReplayState, stopped: Option<StopCause>, now: DateTime<Utc>) -> Self {
        let ended =
            Self { state, stopped, checkpoint: None, ended_at: Some(timestamp::whole_seconds(now)), ..self.clone() };
        match state {
            // What had failed was done nevertheless.
            ReplayState::Completed => Self { failing_since: None, refused_since: None, last_error: None, ..ended },
            _ => ended,
        }
    }
}
