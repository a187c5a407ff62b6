//! Verifies the connected tenants whose check is due in an hour, and stores and announces the findings.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, pin::pin};

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use futures::{StreamExt as _, stream};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::{
    failure::{Code, Failure, Party},
    new_event::Stamp,
    onboarding::{ConnectorState, stored_version},
    ports::{Conditional, Connections, Due, Tenants, Verifier},
    records::{ConnectionChange, ConnectionCheck, Finding, TenantRecords},
    settings::{Draft, FieldError, FieldErrors},
    system_events,
    tenant::TenantId,
    timestamp,
    verification::{Step, StepName, StepStatus, Verification, VerificationRequest},
};

/// A tenant is checked in its due hour or the two after it, so that a later run catches up with an earlier one.
const CATCH_UP_HOURS: i64 = 3;

/// Connections verified at once. Each assumes the role seven times, at the pace that all exports share.
const CONCURRENCY: usize = 8;

/// If at least so many roles refuse the exporter and none can be assumed, the platform is more likely the cause than the
/// customers.
const MIN_REFUSALS_BY_PLATFORM: usize = 3;

/// The tenants among which roles are looked for that could be assumed at their last check.
const MAX_SAMPLED_TENANTS: usize = 50;

#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// The hour that is checked, which may be earlier than `now`.
    pub hour: DateTime<Utc>,
    pub now: &'a (dyn Fn() -> DateTime<Utc> + Send + Sync),
    /// Whether the remaining time is too short for another tenant.
    pub should_stop: &'a (dyn Fn() -> bool + Send + Sync),
    /// None keeps events forever.
    pub retention: Option<TimeDelta>,
}

/// The tenants by the outcome of their check: a part of the function's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CheckCounts {
    pub checked: u64,
    /// Checked tenants whose deliveries would fail or be unsafe.
    pub failing: u64,
    /// Checked tenants with a new finding.
    pub drifted: u64,
    /// Checked tenants that have recovered from findings.
    pub restored: u64,
    /// Due tenants whose check gave no result.
    pub unchecked: u64,
}

/// The outcome of one tenant's check.
enum CheckOutcome {
    Stored {
        check: ConnectionCheck,
        change: Option<ConnectionChange>,
    },
    /// The role refuses the exporter, and did not at the last check. Not stored before the other tenants are known.
    Refused(RefusedRole),
    /// The check no longer applies: the admin has saved or disconnected, or another run has checked.
    Superseded,
    NoResult,
}

struct RefusedRole {
    tenant: TenantId,
    last: Option<ConnectionCheck>,
    check: ConnectionCheck,
}

pub struct ConnectionChecks<'a, S, V> {
    pub store: &'a S,
    pub verifier: &'a V,
}

impl<S: Tenants + Connections, V: Verifier> ConnectionChecks<'_, S, V> {
    /// Checks the connected tenants that are due and not yet checked.
    ///
    /// # Errors
    /// If the last checks can't be read; then no tenant was checked.
    pub async fn run(&self, connected: &[Due], context: CheckContext<'_>) -> Result<CheckCounts, Failure> {
        let ids = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok());
        let due_hours: BTreeMap<TenantId, DateTime<Utc>> =
            ids.filter_map(|id| due_hour(&id, context.hour).map(|due_hour| (id, due_hour))).collect();
        let ids: Vec<TenantId> = due_hours.keys().cloned().collect();
        let last = self.store.last_checks(&ids).await?;
        let now = (context.now)();
        let mut unchecked: Vec<_> = last
            .into_iter()
            .filter_map(|(id, last)| {
                let due_hour = *due_hours.get(&id)?;
                let is_checked = last.as_ref().is_some_and(|last| last.covers(due_hour, now));
                (!is_checked).then_some((due_hour, id, last))
            })
            .collect();
        // The longest due first.
        unchecked.sort_unstable_by(|(hour_a, a, _), (hour_b, b, _)| (hour_a, a).cmp(&(hour_b, b)));

        let (mut counts, mut refused, mut is_any_assumable) = (CheckCounts::default(), Vec::new(), false);
        let checks = unchecked.into_iter().map(|(due_hour, tenant, last)| self.check(tenant, last, due_hour, context));
        let mut checks = pin!(stream::iter(checks).buffer_unordered(CONCURRENCY));
        while let Some((outcome, is_assumable)) = checks.next().await {
            is_any_assumable |= is_assumable;
            match outcome {
                CheckOutcome::Refused(role) => refused.push(role),
                outcome => counts.add(&outcome),
            }
        }
        if !refused.is_empty() && !is_any_assumable && self.is_every_role_refused(&refused, connected, context).await {
            counts.unchecked += refused.len() as u64;
            let tenants = refused.len();
            tracing::error!(
                tenants,
                "every role refuses the exporter: probably its own role lacks a right or has another name; no tenant is notified"
            );
            return Ok(counts);
        }
        let outcomes =
            refused.into_iter().map(|RefusedRole { tenant, last, check }| self.store(tenant, last, check, context));
        let outcomes: Vec<CheckOutcome> = stream::iter(outcomes).buffer_unordered(CONCURRENCY).collect().await;
        outcomes.iter().for_each(|outcome| counts.add(outcome));
        Ok(counts)
    }

    /// Whether enough roles refuse the exporter and no sampled role of another tenant can be assumed.
    async fn is_every_role_refused(
        &self,
        refused: &[RefusedRole],
        connected: &[Due],
        context: CheckContext<'_>,
    ) -> bool {
        let ids = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok());
        let others: Vec<TenantId> =
            ids.filter(|id| refused.iter().all(|it| it.tenant != *id)).take(MAX_SAMPLED_TENANTS).collect();
        let mut refusals = refused.len();
        let Ok(last) = self.store.last_checks(&others).await else { return refusals >= MIN_REFUSALS_BY_PLATFORM };
        let had_no_failure = |last: &ConnectionCheck| !last.fails();
        let sampled = last.into_iter().filter(|(_, last)| last.as_ref().is_none_or(had_no_failure));
        for (tenant, _) in sampled.take(MIN_REFUSALS_BY_PLATFORM) {
            if (context.should_stop)() {
                break;
            }
            let Ok(TenantRecords { config: Some(config), .. }) = self.store.load_one(&tenant).await else { continue };
            let role_alone = Draft { external_id: config.external_id, role_arn: config.role_arn, ..Draft::default() };
            let request = VerificationRequest { tenant_id: tenant.to_string(), draft: role_alone };
            let Ok(verification) = self.verifier.verify(&request).await else { continue };
            if is_role_assumable(&verification) {
                return false;
            }
            refusals += usize::from(verification.steps.iter().any(|step| step.code == Some(Code::AssumeRoleDenied)));
        }
        refusals >= MIN_REFUSALS_BY_PLATFORM
    }

    /// Checks one tenant; also returns whether its role could be assumed.
    async fn check(
        &self,
        tenant: TenantId,
        last: Option<ConnectionCheck>,
        due_hour: DateTime<Utc>,
        context: CheckContext<'_>,
    ) -> (CheckOutcome, bool) {
        if (context.should_stop)() {
            tracing::info!(tenant = %tenant, "connection not checked: the remaining time is too short");
            return (CheckOutcome::NoResult, false);
        }
        match self.verify_saved(&tenant, due_hour, context).await {
            Ok(None) => (CheckOutcome::Superseded, false),
            Ok(Some((verification, check))) => {
                let is_assumable = is_role_assumable(&verification);
                let Some(check) = check else {
                    let codes: Vec<_> =
                        verification.steps.iter().filter_map(|step| step.code).map(Code::as_str).collect();
                    let codes = codes.join(", ");
                    if is_platform_failure(&verification) {
                        tracing::error!(tenant = %tenant, codes, "connection not checked: the platform failed and must act");
                    } else {
                        tracing::warn!(tenant = %tenant, codes, "connection not checked: AWS gave no clear answer");
                    }
                    return (CheckOutcome::NoResult, is_assumable);
                };
                let is_refused = check.findings.iter().any(|it| it.code == Code::AssumeRoleDenied.as_str());
                if is_refused && check.change_since(last.as_ref()).is_some() {
                    return (CheckOutcome::Refused(RefusedRole { tenant, last, check }), is_assumable);
                }
                (self.store(tenant, last, check, context).await, is_assumable)
            }
            Err(Failure { code, message, .. }) => {
                tracing::warn!(tenant = %tenant, code = %code, reason = message, "connection not checked");
                (CheckOutcome::NoResult, false)
            }
        }
    }

    /// Verifies a tenant's saved settings. None if the tenant is no longer connected; no check if the verification proves
    /// nothing.
    async fn verify_saved(
        &self,
        tenant: &TenantId,
        due_hour: DateTime<Utc>,
        context: CheckContext<'_>,
    ) -> Result<Option<(Verification, Option<ConnectionCheck>)>, Failure> {
        let Some((config, version)) = self.load_saved(tenant).await? else { return Ok(None) };
        let request = VerificationRequest { tenant_id: tenant.to_string(), draft: config };
        let verification = self.verifier.verify(&request).await?;
        let at = timestamp::whole_seconds((context.now)());
        let check =
            findings(&request.draft, &verification).map(|findings| ConnectionCheck { due_hour, at, version, findings });
        Ok(Some((verification, check)))
    }

    /// Loads a tenant's saved settings and their version; none if the tenant is no longer connected.
    async fn load_saved(&self, tenant: &TenantId) -> Result<Option<(Draft, u64)>, Failure> {
        let records = self.store.load_one(tenant).await?;
        let state = ConnectorState::from_records(&records);
        let TenantRecords { config, watermark, .. } = records;
        if watermark.is_none_or(|watermark| watermark.due_shard.is_none()) {
            return Ok(None);
        }
        let Some(config) = config.filter(|_| state == ConnectorState::Scheduled) else {
            let message = "The tenant is scheduled, but it has no settings or no role.";
            return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
        };
        let version = stored_version(&config)?;
        Ok(Some((config, version)))
    }

    /// Stores a check, and announces its change since the last one.
    async fn store(
        &self,
        tenant: TenantId,
        last: Option<ConnectionCheck>,
        check: ConnectionCheck,
        context: CheckContext<'_>,
    ) -> CheckOutcome {
        let change = check.change_since(last.as_ref());
        let stamp = Stamp { at: (context.now)(), retention: context.retention };
        let announcement = change.map(|change| system_events::connection_checked(&tenant, stamp, change, &check));
        let is_superseded = match self.store.save_check(&tenant, last.as_ref(), &check, announcement.as_ref()).await {
            Ok(Conditional::Written) => {
                if let Some(change) = change {
                    let codes: Vec<&str> = check.findings.iter().map(|it| it.code.as_str()).collect();
                    tracing::warn!(tenant = %tenant, change = ?change, codes = codes.join(", "), "connection changed");
                }
                return CheckOutcome::Stored { check, change };
            }
            Ok(Conditional::ConditionFailed) => self.is_superseded(&tenant, &check, context).await,
            Err(failure) => Err(failure),
        };
        match is_superseded {
            Ok(true) => CheckOutcome::Superseded,
            Ok(false) => {
                tracing::error!(tenant = %tenant, code = %Code::Unexpected, "connection check not stored: refused without a change of the records");
                CheckOutcome::NoResult
            }
            Err(Failure { code, message, .. }) => {
                tracing::error!(tenant = %tenant, code = %code, reason = message, "connection check not stored");
                CheckOutcome::NoResult
            }
        }
    }

    /// Whether the admin has saved or disconnected in the meantime, or another run has checked.
    async fn is_superseded(
        &self,
        tenant: &TenantId,
        check: &ConnectionCheck,
        context: CheckContext<'_>,
    ) -> Result<bool, Failure> {
        let is_same_version = self.load_saved(tenant).await?.is_some_and(|(_, version)| version == check.version);
        let last = self.store.last_check(tenant).await?;
        Ok(!is_same_version || last.is_some_and(|last| last.covers(check.due_hour, (context.now)())))
    }
}

impl CheckCounts {
    fn add(&mut self, outcome: &CheckOutcome) {
        match outcome {
            CheckOutcome::Stored { check, change } => {
                self.checked += 1;
                self.failing += u64::from(check.fails());
                self.drifted += u64::from(*change == Some(ConnectionChange::Drifted));
                self.restored += u64::from(*change == Some(ConnectionChange::Restored));
            }
            CheckOutcome::Refused(_) | CheckOutcome::NoResult => self.unchecked += 1,
            CheckOutcome::Superseded => {}
        }
    }
}

/// Returns the tenant's last due hour up to `hour`; SHA-256 of the id spreads the tenants over the day. None if it is too
/// long ago to catch up with, or earlier than the first representable time.
pub fn due_hour(tenant: &TenantId, hour: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let digest = Sha256::digest(tenant.as_str());
    // The first byte decides the due shard already.
    let hour_of_day = digest.iter().skip(8).take(4).fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte)) % 24;
    let ago = i64::from((hour.hour() + 24 - hour_of_day) % 24);
    if ago < CATCH_UP_HOURS { hour.checked_sub_signed(TimeDelta::hours(ago)) } else { None }
}

/// Returns the findings of a verification of saved settings; none if it proves nothing, since AWS gave no clear answer or
/// the platform failed.
fn findings(saved: &Draft, verification: &Verification) -> Option<Vec<Finding>> {
    let finding = |step: &Step| {
        let is_failure = step.status == StepStatus::Failed;
        let code = step.code.filter(|_| step.party == Some(Party::Customer))?;
        // The settings alone decide on the ownership warning, so it would stay after the customer has acted on it.
        let is_finding = is_failure || (step.status == StepStatus::Warning && code != Code::ObjectOwnership);
        let message = step.message.clone();
        is_finding.then(|| Finding { step: step.step.to_string(), is_failure, code: code.to_string(), message })
    };
    let mut findings: Vec<Finding> = verification.steps.iter().filter_map(finding).collect();
    findings.extend(missing_bucket(saved));
    // A failed step proves something even if another step is inconclusive.
    let is_conclusive = findings.iter().any(|it| it.is_failure) || verification.passed();
    is_conclusive.then_some(findings)
}

/// Without a bucket a verification tries the role alone and passes, but saved settings need one.
fn missing_bucket(saved: &Draft) -> Option<Finding> {
    let is_missing = saved.bucket.as_deref().is_none_or(str::is_empty);
    let error = || FieldError { field: "bucket", message: "is required".to_owned() };
    let Failure { code, message, .. } = is_missing.then(|| FieldErrors(vec![error()]).into_failure())?;
    Some(Finding { step: StepName::PutObject.to_string(), is_failure: true, code: code.to_string(), message })
}

fn is_platform_failure(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.status == StepStatus::Failed && step.party == Some(Party::Platform))
}

fn is_role_assumable(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.step == StepName::AssumeRole && step.passed())
}
