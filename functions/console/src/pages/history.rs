//! What the status page tells about the last 30 days: the receipts, and the audit events about exports and their connection.

use audit_log_core::{
    ports::Settings as _,
    records::StoredReceipt,
    schedule::Window,
    search::{Filter, FoundEvent, Search, SearchPage},
    settings::Draft,
    system_events::LOG_TYPE,
    tenant::TenantId,
    timestamp,
    verification::StepStatus,
};
use audit_log_web::problem::{Code, Problem};
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    app::{App, Backend},
    logs::{self, ScanLimit},
};

/// Including today.
pub(super) const DAYS: u16 = 30;

/// The receipts of one read, and the number of reads. Hourly exports make 720 receipts in 30 days.
const READ_RECEIPTS: usize = 100;
const MAX_READS: usize = 10;

/// A window has at most one of each; admins make the last four.
const ACTIONS: [&str; 10] = [
    "Export Failed",
    "Export Still Failing",
    "Export Recovered",
    "Window Unsigned",
    "Connection Drifted",
    "Connection Restored",
    "Connection Check Passed",
    "Export Settings Changed",
    "Connector Changed",
    "Connector Disconnected",
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

    /// Whether a verification of the saved settings has passed after an instant.
    pub(super) fn has_passed_after(&self, at: DateTime<Utc>, saved: &Draft) -> bool {
        let later = self.events.iter().filter(|event| recorded_at(&event.position).is_some_and(|passed| passed > at));
        let mut passed = later.filter(|event| event.columns.action == "Connection Check Passed");
        passed.any(|event| info::<Verified>(event).is_some_and(|verified| verified.is_of(saved)))
    }
}

/// What a verification has tried, and what its steps found, as its audit event says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Verified {
    purpose: Option<String>,
    role_arn: Option<String>,
    bucket: Option<String>,
    region: Option<String>,
    prefix: Option<String>,
    kms_key_arn: Option<String>,
    bucket_owner: Option<String>,
    steps: Option<Vec<VerifiedStep>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VerifiedStep {
    step: String,
    status: String,
}

impl Verified {
    /// Whether it has tried the saved settings: neither the role alone nor values that were typed.
    pub(super) fn is_of(&self, saved: &Draft) -> bool {
        let tried = [&self.role_arn, &self.bucket, &self.region, &self.prefix, &self.kms_key_arn, &self.bucket_owner];
        let saved =
            [&saved.role_arn, &saved.bucket, &saved.region, &saved.prefix, &saved.kms_key_arn, &saved.bucket_owner];
        // Blank and absent are the same.
        let same = |(tried, saved): (&Option<String>, &Option<String>)| {
            tried.as_deref().unwrap_or_default() == saved.as_deref().unwrap_or_default()
        };
        self.purpose.as_deref() == Some("check") && tried.into_iter().zip(saved).all(same)
    }

    pub(super) fn has_passed(&self, step: &str) -> bool {
        self.steps.iter().flatten().any(|it| it.step == step && it.status == StepStatus::Passed.to_string())
    }
}

/// Reads the event's `additionalInfo`.
pub(super) fn info<T: DeserializeOwned>(event: &FoundEvent) -> Option<T> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document<T> {
        additional_info: T,
    }
    serde_json::from_str(&event.document).ok().map(|Document { additional_info }| additional_info)
}

/// The time in a `recorded_at_id`.
pub(super) fn recorded_at(position: &str) -> Option<DateTime<Utc>> {
    position.split('#').next()?.parse().ok()
}
