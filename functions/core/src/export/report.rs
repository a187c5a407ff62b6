//! What a tick did, for whoever invoked it, for the logs and for the metrics.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    failure::{Code, Failure, Party},
    timestamp,
};

/// How many failed tenants the answer names; the logs name all.
const MAX_LISTED_FAILURES: usize = 100;

/// What a tick did. Serialises to the function's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The hour that the tick stood for, in whole seconds.
    pub tick: String,
    /// Tenants that were due; each is one of `queued`, `exported`, `failed` and `deferred`.
    pub due: u64,
    /// Tenants handed to a queue.
    pub queued: u64,
    /// Tenants that are up to date now.
    pub exported: u64,
    /// Tenants that something went wrong for.
    pub failed: u64,
    /// Tenants whose next window has to wait for another tick: it isn't settled, time ran out, they are far behind, another run
    /// has their lease, or they have failed for so long that not every tick tries.
    pub deferred: u64,
    /// Of the deferred tenants, those whose lease another run has.
    pub leased: u64,
    /// Recorded events in what was exported.
    pub events: u64,
    /// Stored objects.
    pub objects: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Who failed and why, cut at 100.
    pub failures: Vec<FailedTenant>,
    /// Whether no tenant is connected at all, which is never a quiet success.
    #[serde(skip)]
    pub no_connected_tenant: bool,
    /// Failed tenants where the customer has to act, and where the platform has.
    #[serde(skip)]
    pub failed_by_party: [(Party, u64); 2],
    /// Events that came too late for their window, and were delivered with the next.
    #[serde(skip)]
    pub late: u64,
    /// Failed tenants whose events could not be read.
    #[serde(skip)]
    pub unreadable: u64,
    /// Of the deferred tenants, those that have failed for so long that not every tick tries.
    #[serde(skip)]
    pub backed_off: u64,
    /// Of the leased tenants, those that were due at the tick before this one already, and had nothing delivered since.
    #[serde(skip)]
    pub leased_again: u64,
    /// Of the failed tenants, those whose run found its lease gone or expired.
    #[serde(skip)]
    pub lease_lost: u64,
    /// Tenants whose backlog comes near to what is deleted.
    #[serde(skip)]
    pub near_retention: u64,
    /// Failed tenants whose export before this one had gone well.
    #[serde(skip)]
    pub newly_failed: u64,
    /// Stored objects of windows that are not committed yet.
    #[serde(skip)]
    pub kept: u64,
    /// Whoever another run could go on with right away.
    #[serde(skip)]
    pub unfinished: Vec<String>,
    /// Whoever failed for a reason that is the platform's to mend.
    #[serde(skip)]
    pub failed_by_platform: Vec<String>,
    /// For how long a window had been due that was put off all the same, at most; whoever goes on with it.
    #[serde(skip)]
    pub latest_deferred: TimeDelta,
    /// How far the tenant that is furthest behind was behind when its export ended.
    #[serde(skip)]
    pub longest_lag: TimeDelta,
}

/// A failed tenant in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedTenant {
    /// Whose export failed.
    pub tenant_id: String,
    /// The failure's stable code.
    pub code: Code,
    /// Who has to act.
    pub party: Party,
    /// What happened and what to do.
    pub message: String,
}

/// How a tenant's part of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is due any more.
    Exported,
    /// What is still due has to wait.
    Deferred(Deferral),
    /// Something went wrong.
    Failed(Failure),
}

/// Why a due window was deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deferral {
    /// It isn't settled, or its settings keep changing.
    ToTheNextTick,
    /// Another run has the tenant's lease.
    Leased,
    /// This run has no more time, or has done its share for the tenant.
    ToAnotherRun,
    /// The tenant keeps failing, for a reason that its admin has to mend.
    Backoff,
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Recorded events in the windows that this run committed.
    pub events: u64,
    /// Their objects.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Events that came too late for their own window.
    pub late: u64,
}

/// How a run ended for one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantReport {
    /// Whose.
    pub tenant: String,
    /// What was exported and not yet added.
    pub counts: Counts,
    /// How far behind the tenant is now.
    pub lag: TimeDelta,
    /// For how long its next window has been due.
    pub late: TimeDelta,
    /// Whether its exports had failed before.
    pub was_failing: bool,
    /// Whether its next window was due at the tick before this one already, and nothing was delivered since.
    pub is_stuck: bool,
    /// How it ended.
    pub end: Outcome,
}

impl TenantReport {
    /// Of a tenant that failed before anything was done.
    pub fn failed(tenant: String, failure: Failure) -> Self {
        let zero = TimeDelta::zero();
        let (counts, end) = (Counts::default(), Outcome::Failed(failure));
        Self { tenant, counts, lag: zero, late: zero, was_failing: false, is_stuck: false, end }
    }
}

impl Report {
    /// Of a tick that did nothing yet.
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
            newly_failed: 0,
            near_retention: 0,
            kept: 0,
            unfinished: Vec::new(),
            failed_by_platform: Vec::new(),
            latest_deferred: TimeDelta::zero(),
            longest_lag: TimeDelta::zero(),
        }
    }

    /// Whether several tenants have begun to fail at once and not one was exported. Each may have failed for a reason of its
    /// own customer's, but then it is more likely the platform's: its role is refused everywhere, for example. Those who
    /// failed before prove nothing; where everyone does, a [reconciliation](crate::reconciliation) tells of it.
    pub fn nothing_delivered(&self) -> bool {
        self.newly_failed > 2 && self.exported + self.objects + self.kept == 0
    }

    /// Adds what was exported of a tenant that is not done yet.
    pub fn add_exported(&mut self, counts: Counts) {
        self.events += counts.events;
        self.objects += counts.objects;
        self.bytes += counts.bytes;
        self.late += counts.late;
    }

    /// Whether anything was stored or noted, so that a further run finds another state than this one did.
    pub fn got_somewhere(&self) -> bool {
        self.exported + self.failed + self.objects + self.kept > 0
    }

    /// Adds tenants that were handed to a queue.
    pub fn add_queued(&mut self, tenants: u64) {
        self.due += tenants;
        self.queued += tenants;
    }

    /// So many of the deferred tenants were handed to a queue after all.
    pub fn queue_deferred(&mut self, tenants: u64) {
        let tenants = tenants.min(self.deferred);
        self.deferred -= tenants;
        self.queued += tenants;
    }

    /// Adds tenants that were still at it, or had no turn, when the time was up.
    pub fn add_given_up(&mut self, tenants: impl IntoIterator<Item = String>) {
        let before = self.unfinished.len();
        self.unfinished.extend(tenants);
        let tenants = (self.unfinished.len() - before) as u64;
        self.due += tenants;
        self.deferred += tenants;
    }

    /// Adds a tenant's part.
    pub fn add(&mut self, tally: TenantReport) {
        self.due += 1;
        self.add_exported(tally.counts);
        self.longest_lag = self.longest_lag.max(tally.lag);
        match tally.end {
            Outcome::Exported => self.exported += 1,
            Outcome::Deferred(deferral) => {
                self.deferred += 1;
                match deferral {
                    // However late, it is not for want of time.
                    Deferral::Backoff => self.backed_off += 1,
                    Deferral::Leased => {
                        self.leased += 1;
                        self.leased_again += u64::from(tally.is_stuck);
                    }
                    Deferral::ToTheNextTick => self.latest_deferred = self.latest_deferred.max(tally.late),
                    Deferral::ToAnotherRun => {
                        self.latest_deferred = self.latest_deferred.max(tally.late);
                        self.unfinished.push(tally.tenant);
                    }
                }
            }
            Outcome::Failed(Failure { code, party, message }) => {
                self.failed += 1;
                self.newly_failed += u64::from(!tally.was_failing);
                self.unreadable += u64::from(code == Code::EventsUnreadable);
                self.lease_lost += u64::from(code == Code::LeaseLost);
                for (of, count) in &mut self.failed_by_party {
                    *count += u64::from(*of == party);
                }
                if party == Party::Platform {
                    self.failed_by_platform.push(tally.tenant.clone());
                }
                if self.failures.len() < MAX_LISTED_FAILURES {
                    let message = format!("{message} {}", code.hint());
                    self.failures.push(FailedTenant { tenant_id: tally.tenant, code, party, message });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_has_the_fields_that_others_rely_on() {
        let mut report = Report::new("2026-11-21T11:00:00Z".parse().unwrap());
        for n in 0..101 {
            report.add(TenantReport::failed(format!("t{n}"), Failure::new(Code::BucketNotFound, "No bucket.")));
        }
        assert!(report.nothing_delivered());
        let mut unreadable = report.clone();
        unreadable.add(TenantReport::failed("x".to_owned(), Failure::new(Code::EventsUnreadable, "No.")));
        assert_eq!((report.unreadable, unreadable.unreadable), (0, 1));
        report.add(TenantReport {
            end: Outcome::Exported,
            counts: Counts { events: 5, objects: 2, bytes: 300, late: 0 },
            ..TenantReport::failed("ok".to_owned(), Failure::new(Code::Throttled, ""))
        });
        assert!(!report.nothing_delivered());
        let before = || TenantReport {
            was_failing: true,
            ..TenantReport::failed("x".to_owned(), Failure::new(Code::Throttled, ""))
        };
        let mut lasting = Report::new("2026-11-21T12:00:00Z".parse().unwrap());
        (0..3).for_each(|_| lasting.add(before()));
        assert!(!lasting.nothing_delivered(), "that was told when it began");
        assert_eq!(report.failures.len(), 100, "cut, but counted");
        let put_off = |hours| TenantReport {
            late: TimeDelta::hours(hours),
            end: Outcome::Deferred(Deferral::ToAnotherRun),
            ..TenantReport::failed("late".to_owned(), Failure::new(Code::Throttled, ""))
        };
        let mut late = report.clone();
        [3, 1].map(put_off).into_iter().for_each(|tally| late.add(tally));
        late.queue_deferred(2);
        assert_eq!((late.latest_deferred, late.deferred), (TimeDelta::hours(3), 0), "also of who goes on elsewhere");
        assert_eq!(report.failed_by_party, [(Party::Customer, 101), (Party::Platform, 0)]);
        report.failures.truncate(1);
        insta::assert_snapshot!(serde_json::to_string(&report).unwrap(), @r#"{"tick":"2026-11-21T11:00:00Z","due":102,"queued":0,"exported":1,"failed":101,"deferred":0,"leased":0,"events":5,"objects":2,"bytes":300,"failures":[{"tenantId":"t0","code":"bucket_not_found","party":"customer","message":"No bucket. Create the bucket, or save the name of one that exists."}]}"#);
    }
}
