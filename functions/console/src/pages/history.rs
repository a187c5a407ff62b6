//! What the status page tells about the last 30 days: the receipts, and the audit events about exports and their connection.

use audit_log_core::{
    ports::Settings as _,
    records::StoredReceipt,
    schedule::Window,
    search::{Filter, FoundEvent, Search, SearchPage},
    system_events::LOG_TYPE,
    tenant::TenantId,
    timestamp,
};
use audit_log_web::problem::{Code, Problem};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::{
    app::{App, Backend},
    logs::{self, ScanLimit},
};

/// Including today.
pub(super) const DAYS: u16 = 30;

/// The receipts of one read, and the number of reads. Hourly exports make 720 receipts in 30 days.
const READ_RECEIPTS: usize = 100;
const MAX_READS: usize = 10;

/// A window has at most one of each.
const ACTIONS: [&str; 7] = [
    "Export Failed",
    "Export Still Failing",
    "Export Recovered",
    "Window Unsigned",
    "Connection Drifted",
    "Connection Restored",
    "Connection Check Passed",
];
const MAX_EVENTS: usize = 500;

pub(super) struct History {
    /// The beginning of the first day.
    pub(super) from: DateTime<Utc>,
    pub(super) now: DateTime<Utc>,
    /// The latest window first.
    pub(super) receipts: Vec<StoredReceipt>,
    /// Newest first.
    pub(super) events: Vec<FoundEvent>,
    /// From when on the events were read, if there were too many to read all.
    pub(super) events_from: Option<DateTime<Utc>>,
}

impl History {
    pub(super) async fn load<B: Backend>(app: &App<B>, tenant: &TenantId) -> Result<Self, Problem> {
        let now = app.time();
        let from = (now.date_naive() - TimeDelta::days(i64::from(DAYS) - 1)).and_time(NaiveTime::MIN).and_utc();
        let (mut receipts, mut before) = (Vec::new(), None);
        for _ in 0..MAX_READS {
            let batch = app.settings().receipts(tenant, before, READ_RECEIPTS).await?;
            before = batch.last().map(|last| last.receipt.window.to);
            let more = batch.len() == READ_RECEIPTS && before.is_some_and(|before| before > from);
            receipts.extend(batch);
            if !more {
                break;
            }
        }
        // With what is recorded at this very moment.
        let search = Search {
            actions: Filter::only(ACTIONS),
            log_types: Filter::only([LOG_TYPE]),
            ..Search::all(Window { from, to: now + TimeDelta::seconds(1) })
        };
        let found = match logs::find(app, tenant, &search, None, MAX_EVENTS, ScanLimit::SHORT).await {
            // The status stays readable while something floods the search.
            Err(problem) if problem.code() == Code::RateLimited => {
                SearchPage { next: Some(timestamp::millis(now)), ..SearchPage::default() }
            }
            found => found?,
        };
        let events_from = found.next.as_deref().and_then(recorded_at);
        Ok(Self { from, now, receipts, events: found.events, events_from })
    }

    /// When a verification passed last, after an instant.
    pub(super) fn has_passed_after(&self, at: DateTime<Utc>) -> bool {
        let passed = self.events.iter().find(|event| event.columns.action == "Connection Check Passed");
        passed.and_then(|event| recorded_at(&event.position)).is_some_and(|passed| passed > at)
    }
}

/// The time in a `recorded_at_id`.
pub(super) fn recorded_at(position: &str) -> Option<DateTime<Utc>> {
    position.split('#').next()?.parse().ok()
}
