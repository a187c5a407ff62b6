//! What a run did: the answer to its caller, and the figures for logs and metrics.

use std::ops::AddAssign;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    failure::{Code, Failure, Party},
    timestamp,
};

/// How many failed tenants the answer names; the logs name all.
const MAX_LISTED_FAILURES: usize = 100;

/// What a run did. Serializes to the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The run's hour, in whole seconds.
    pub tick: String,
    /// Tenants that were due; each is one of `queued`, `exported`, `failed` and `deferred`.
    pub due: u64,
    /// Tenants sent to the queue.
    pub queued: u64,
    /// Tenants that are up to date now.
    pub exported: u64,
    pub failed: u64,
    /// Tenants whose next window waits for another run; [`Deferral`] lists the reasons.
    pub deferred: u64,
    /// Deferred tenants whose lease another run has.
    pub leased: u64,
    /// Recorded events in the committed windows.
    pub events: u64,
    /// Objects of the committed windows.
    pub objects: u64,
    /// Stored bytes of these objects.
    pub bytes: u64,
    /// The first 100 failed tenants.
    pub failures: Vec<FailedTenant>,
    #[serde(skip)]
    pub no_connected_tenant: bool,
    #[serde(skip)]
    pub failed_by_party: [(Party, u64); 2],
    /// Late arrivals, which were delivered with the next window.
    #[serde(skip)]
    pub late: u64,
    /// Failed tenants whose events could not be read.
    #[serde(skip)]
    pub unreadable: u64,
    /// Deferred tenants that have failed for so long that not every tick tries them.
    #[serde(skip)]
    pub backed_off: u64,
    /// Leased tenants that were due at the tick before this one, and had nothing delivered since.
    #[serde(skip)]
    pub leased_again: u64,
    /// Failed tenants whose run found its lease gone or expired.
    #[serde(skip)]
    pub lease_lost: u64,
    /// Windows whose manifest could not be signed: those that wait, and those that were committed nevertheless.
    #[serde(skip)]
    pub signing_failed: u64,
    /// Tenants whose backlog nears the retention.
    #[serde(skip)]
    pub near_retention: u64,
    /// Failed tenants whose export before this one had succeeded.
    #[serde(skip)]
    pub newly_failed: u64,
    /// Final deliveries of the run's tenants.
    #[serde(skip)]
    pub final_deliveries: FinalDeliveryCounts,
    /// Replays of the run's tenants.
    #[serde(skip)]
    pub replays: ReplayCounts,
    /// Stored objects of windows that are not committed yet.
    #[serde(skip)]
    pub uncommitted_objects: u64,
    /// Tenants that another run can go on with right away.
    #[serde(skip)]
    pub unfinished: Vec<String>,
    #[serde(skip)]
    pub failed_by_platform: Vec<String>,
    /// The longest time that a window had been due when it was deferred, whichever run goes on with it.
    #[serde(skip)]
    pub latest_deferred: TimeDelta,
    /// The longest time that a tenant's watermark was behind when its export ended.
    #[serde(skip)]
    pub longest_lag: TimeDelta,
}

/// A failed tenant in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedTenant {
    pub tenant_id: String,
    pub code: Code,
    /// Who must act.
    pub party: Party,
    /// What happened and what to do.
    pub message: String,
}

/// How a run ended for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is due any more.
    Exported,
    Deferred(Deferral),
    Failed(Failure),
}

/// Why a due window was deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    NotSettled,
    RecordsChanging,
    /// A failed request may still store an object, so another reading must not be stored under its key.
    UploadInDoubt,
    /// Another run has the tenant's lease.
    Leased {
        until: DateTime<Utc>,
    },
    OutOfTime,
    /// This run has exported its most windows of one tenant.
    MaxWindows,
    /// The tenant keeps failing, and its admin must act.
    Backoff,
    /// A replay waits until what is due is exported.
    DueWindowsFirst,
    /// A replay waits for the places that the tenant has left.
    FinalDeliveriesFirst,
}

impl Deferral {
    /// The reason, as logs have it.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::NotSettled => "the window has not settled",
            Self::RecordsChanging => "the tenant's records keep changing",
            Self::UploadInDoubt => "a failed request may still store an object",
            Self::Leased { .. } => "another run has the tenant's lease",
            Self::OutOfTime => "the remaining time is too short",
            Self::MaxWindows => "the tenant is further behind than one run catches up",
            Self::DueWindowsFirst => "due windows go first",
            Self::FinalDeliveriesFirst => "final deliveries to other places go first",
            Self::Backoff => "exports have failed for more than a day, and are tried every six hours",
        }
    }
}

/// How final deliveries ended; each is one place's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FinalDeliveryCounts {
    pub completed: u64,
    /// Failed, and tried again by a later run. Unreadable ones count too.
    pub failed: u64,
    /// Refused for a day, or failed for seven by the platform's fault, and tried no more.
    pub given_up: u64,
    /// Failed ones whose run found its lease gone or expired.
    #[serde(skip)]
    pub lease_lost: u64,
    /// Those whose manifest could not be signed.
    #[serde(skip)]
    pub signing_failed: u64,
}

impl AddAssign for FinalDeliveryCounts {
    fn add_assign(&mut self, Self { completed, failed, given_up, lease_lost, signing_failed }: Self) {
        self.completed += completed;
        self.failed += failed;
        self.given_up += given_up;
        self.lease_lost += lease_lost;
        self.signing_failed += signing_failed;
    }
}

/// What was done for replays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayCounts {
    /// Windows that were delivered again.
    pub windows: u64,
    /// Recorded events in them.
    pub events: u64,
    /// Stored bytes of their objects.
    pub bytes: u64,
    /// Windows that are left as they are.
    pub refused: u64,
    /// Windows whose manifest was amended.
    pub amended: u64,
    pub completed: u64,
    pub stopped: u64,
    /// Replays whose next window failed, and is tried again by a later run.
    pub failed: u64,
    /// Replays whose next window was refused for a day, or failed for seven by the platform's fault.
    pub given_up: u64,
    /// Failed ones whose run found its lease gone or expired.
    #[serde(skip)]
    pub lease_lost: u64,
    /// Failed ones whose manifests could not be signed.
    #[serde(skip)]
    pub signing_failed: u64,
    /// Tenants that another run can go on with right away.
    #[serde(skip)]
    pub unfinished: Vec<String>,
}

impl AddAssign for ReplayCounts {
    fn add_assign(&mut self, other: Self) {
        self.windows += other.windows;
        self.events += other.events;
        self.bytes += other.bytes;
        self.refused += other.refused;
        self.amended += other.amended;
        self.completed += other.completed;
        self.stopped += other.stopped;
        self.failed += other.failed;
        self.given_up += other.given_up;
        self.lease_lost += other.lease_lost;
        self.signing_failed += other.signing_failed;
        self.unfinished.extend(other.unfinished);
    }
}

/// What the hourly check found of replays in progress, and did for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingReplays {
    pub running: u64,
    /// Those that have made no progress for hours.
    pub stalled: u64,
    /// What this run did; with a queue, other invocations go on with them.
    #[serde(flatten)]
    pub counts: ReplayCounts,
}

/// What a run committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recorded events.
    pub events: u64,
    pub objects: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Late arrivals.
    pub late: u64,
    /// Windows with a manifest that is not signed.
    pub unsigned: u64,
}

/// What a run did for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantReport {
    pub tenant: String,
    /// What was exported and not added to the report yet.
    pub counts: Counts,
    /// How far the watermark is behind.
    pub lag: TimeDelta,
    /// How long the next window has been due.
    pub overdue: TimeDelta,
    pub was_failing: bool,
    /// Whether the tenant was due at the tick before this one, and nothing was delivered since.
    pub is_stuck: bool,
    pub outcome: Outcome,
}

impl TenantReport {
    /// A tenant that failed before anything was done.
    pub fn failed(tenant: String, failure: Failure) -> Self {
        let (zero, counts, outcome) = (TimeDelta::zero(), Counts::default(), Outcome::Failed(failure));
        Self { tenant, counts, lag: zero, overdue: zero, was_failing: false, is_stuck: false, outcome }
    }
}

impl Report {
    pub fn new(tick: DateTime<Utc>) -> Self {
        Self {
            tick: timestamp::seconds(tick),
            due: 0,
            queued: 0,
            exported: 0,
            failed: 0,
            deferred: 0,
            leased: 0,
            events: 0,
            objects: 0,
            bytes: 0,
            failures: Vec::new(),
            no_connected_tenant: false,
            failed_by_party: [(Party::Customer, 0), (Party::Platform, 0)],
            late: 0,
            unreadable: 0,
            backed_off: 0,
            leased_again: 0,
            lease_lost: 0,
            signing_failed: 0,
            newly_failed: 0,
            near_retention: 0,
            final_deliveries: FinalDeliveryCounts::default(),
            replays: ReplayCounts::default(),
            uncommitted_objects: 0,
            unfinished: Vec::new(),
            failed_by_platform: Vec::new(),
            latest_deferred: TimeDelta::zero(),
            longest_lag: TimeDelta::zero(),
        }
    }

    /// Whether several tenants have begun to fail at once and none was exported. Then the cause is more likely the platform's
    /// than each customer's: its role is refused everywhere, for example. Tenants that failed before don't count; if all
    /// tenants fail for long, a [reconciliation](crate::reconciliation) finds it.
    pub fn nothing_delivered(&self) -> bool {
        self.newly_failed > 2 && self.exported + self.objects + self.uncommitted_objects == 0
    }

    /// Adds what was exported of a tenant that has more windows.
    pub fn add_exported(&mut self, counts: Counts) {
        self.events += counts.events;
        self.objects += counts.objects;
        self.bytes += counts.bytes;
        self.late += counts.late;
        self.signing_failed += counts.unsigned;
    }

    /// Whether anything was stored or noted, so that the next run finds another state than this one did.
    pub fn made_progress(&self) -> bool {
        self.exported + self.failed + self.objects + self.uncommitted_objects > 0
    }

    pub fn add_queued(&mut self, tenants: u64) {
        self.due += tenants;
        self.queued += tenants;
    }

    /// Counts deferred tenants that were sent to the queue as queued.
    pub fn queue_deferred(&mut self, tenants: u64) {
        let tenants = tenants.min(self.deferred);
        self.deferred -= tenants;
        self.queued += tenants;
    }

    /// Adds tenants that were still waiting or being exported when the time was up.
    pub fn add_abandoned(&mut self, tenants: impl IntoIterator<Item = String>) {
        let before = self.unfinished.len();
        self.unfinished.extend(tenants);
        let tenants = (self.unfinished.len() - before) as u64;
        self.due += tenants;
        self.deferred += tenants;
    }

    pub fn add(&mut self, tenant: TenantReport) {
        self.due += 1;
        self.add_exported(tenant.counts);
        self.longest_lag = self.longest_lag.max(tenant.lag);
        match tenant.outcome {
            Outcome::Exported => self.exported += 1,
            Outcome::Deferred(deferral) => {
                self.deferred += 1;
                match deferral {
                    // However long it is due, time is not what is missing.
                    Deferral::Backoff => self.backed_off += 1,
                    Deferral::Leased { .. } => {
                        self.leased += 1;
                        self.leased_again += u64::from(tenant.is_stuck);
                    }
                    Deferral::NotSettled
                    | Deferral::RecordsChanging
                    | Deferral::UploadInDoubt
                    | Deferral::OutOfTime
                    | Deferral::MaxWindows
                    | Deferral::DueWindowsFirst
                    | Deferral::FinalDeliveriesFirst => self.latest_deferred = self.latest_deferred.max(tenant.overdue),
                }
                if matches!(deferral, Deferral::OutOfTime | Deferral::MaxWindows) {
                    self.unfinished.push(tenant.tenant);
                }
            }
            Outcome::Failed(Failure { code, party, message }) => {
                self.failed += 1;
                self.newly_failed += u64::from(!tenant.was_failing);
                self.unreadable += u64::from(code == Code::EventsUnreadable);
                self.lease_lost += u64::from(code == Code::LeaseLost);
                self.signing_failed += u64::from(code == Code::SigningFailed);
                for (of, count) in &mut self.failed_by_party {
                    *count += u64::from(*of == party);
                }
                if party == Party::Platform {
                    self.failed_by_platform.push(tenant.tenant.clone());
                }
                if self.failures.len() < MAX_LISTED_FAILURES {
                    let message = format!("{message} {}", code.hint());
                    self.failures.push(FailedTenant { tenant_id: tenant.tenant, code, party, message });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_documented_fields() {
        let mut report = Report::new("2026-11-21T11:00:00Z".parse().unwrap());
        for n in 0..101 {
            report.add(TenantReport::failed(format!("t{n}"), Failure::new(Code::BucketNotFound, "No bucket.")));
        }
        assert!(report.nothing_delivered());
        let mut unreadable = report.clone();
        unreadable.add(TenantReport::failed("x".to_owned(), Failure::new(Code::EventsUnreadable, "No.")));
        assert_eq!((report.unreadable, unreadable.unreadable), (0, 1));
        report.add(TenantReport {
            outcome: Outcome::Exported,
            counts: Counts { events: 5, objects: 2, bytes: 300, ..Counts::default() },
            ..TenantReport::failed("ok".to_owned(), Failure::new(Code::Throttled, ""))
        });
        assert!(!report.nothing_delivered());
        let failing = || TenantReport {
            was_failing: true,
            ..TenantReport::failed("x".to_owned(), Failure::new(Code::Throttled, ""))
        };
        let mut lasting = Report::new("2026-11-21T12:00:00Z".parse().unwrap());
        (0..3).for_each(|_| lasting.add(failing()));
        assert!(!lasting.nothing_delivered(), "these have failed before");
        assert_eq!(report.failures.len(), 100, "cut, but counted");
        let deferred = |hours| TenantReport {
            overdue: TimeDelta::hours(hours),
            outcome: Outcome::Deferred(Deferral::OutOfTime),
            ..TenantReport::failed("late".to_owned(), Failure::new(Code::Throttled, ""))
        };
        let mut late = report.clone();
        [3, 1].map(deferred).into_iter().for_each(|tenant| late.add(tenant));
        late.queue_deferred(2);
        assert_eq!(
            (late.latest_deferred, late.deferred),
            (TimeDelta::hours(3), 0),
            "also of tenants that another run goes on with"
        );
        assert_eq!(report.failed_by_party, [(Party::Customer, 101), (Party::Platform, 0)]);
        report.failures.truncate(1);
        insta::assert_snapshot!(serde_json::to_string(&report).unwrap(), @r#"{"tick":"2026-11-21T11:00:00Z","due":102,"queued":0,"exported":1,"failed":101,"deferred":0,"leased":0,"events":5,"objects":2,"bytes":300,"failures":[{"tenantId":"t0","code":"bucket_not_found","party":"customer","message":"No bucket. Create the bucket, or save the name of one that exists."}]}"#);
    }
}
