//! An hour's checks: whoever has a turn is verified, and what is found is kept and told.

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
    onboarding::ConnectorState,
    ports::{Conditional, Connections, Due, Tenants, Verifier},
    records::{ConnectionChange, ConnectionCheck, Finding, TenantRecords},
    settings::{Draft, FieldError, FieldErrors, parse_version},
    system_events,
    tenant::{Invalid, TenantId},
    timestamp,
    verification::{Step, StepName, StepStatus, Verification, VerificationRequest},
};

/// In how many hours, its own included, a tenant's turn is taken. What a run could not do, the next ones catch up with.
const HOURS_TO_CATCH_UP: i64 = 3;

/// How many connections are verified side by side. Each assumes the role five times, at the pace of all exports.
const CONCURRENCY: usize = 8;

/// From how many roles on it is hardly their customers' doing that all of them are refused, and none lets us in.
const SUSPICIOUS: usize = 3;

/// Among how many other tenants some are looked for whose roles let us in when they were checked last.
const OTHERS: usize = 50;

/// What a run of checks is given of the world outside.
#[derive(Clone, Copy)]
pub struct CheckContext<'a> {
    /// The hour that it stands for.
    pub hour: DateTime<Utc>,
    /// The wall clock.
    pub now: &'a (dyn Fn() -> DateTime<Utc> + Send + Sync),
    /// Whether the remaining time is too short to begin with another tenant.
    pub should_stop: &'a (dyn Fn() -> bool + Send + Sync),
    /// For how long events are kept, if not for ever.
    pub retention: Option<TimeDelta>,
}

/// What the checks of an hour came to. Serialises to a part of the function's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CheckCounts {
    /// Connections of which something was found out.
    pub checked: u64,
    /// Of these, those that would fail, or are not safe.
    pub failing: u64,
    /// Those of which something new is wrong.
    pub drifted: u64,
    /// Those of which something is right again.
    pub restored: u64,
    /// Connections whose turn it was, and of which nothing was found out.
    pub unchecked: u64,
}

/// How the check of one tenant ended.
enum CheckOutcome {
    /// It was kept.
    Kept { found: ConnectionCheck, news: Option<ConnectionChange> },
    /// The role was refused, and that is news. It waits for what becomes of the others.
    Refused(RefusedRole),
    /// It is not to be checked after all: its admin was faster.
    Gone,
    /// Nothing was found out.
    Unclear,
}

struct RefusedRole {
    tenant: TenantId,
    before: Option<ConnectionCheck>,
    found: ConnectionCheck,
}

/// The checks, over whatever implements their ports.
pub struct ConnectionChecks<'a, S, V> {
    /// The tenants' records.
    pub store: &'a S,
    /// What verifies connections.
    pub verifier: &'a V,
}

impl<S: Tenants + Connections, V: Verifier> ConnectionChecks<'_, S, V> {
    /// ConnectionChecks the connected tenants whose turn it is and that have not had it.
    ///
    /// # Errors
    /// If it could not be read who has had a turn; then nobody was checked.
    pub async fn run(&self, connected: &[Due], context: CheckContext<'_>) -> Result<CheckCounts, Failure> {
        let ids = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok());
        let turns: BTreeMap<TenantId, DateTime<Utc>> =
            ids.filter_map(|id| due_hour(&id, context.hour).map(|turn| (id, turn))).collect();
        let ids: Vec<TenantId> = turns.keys().cloned().collect();
        let mut waiting: Vec<_> = self.store.last_checks(&ids).await?.into_iter().collect();
        let now = (context.now)();
        let had_it =
            |id: &TenantId, last: &ConnectionCheck| turns.get(id).is_none_or(|turn| last.stands_for(*turn, now));
        waiting.retain(|(id, last)| !last.as_ref().is_some_and(|last| had_it(id, last)));
        // Whoever has waited longest is the first.
        waiting.sort_unstable_by(|(a, _), (b, _)| (turns.get(a), a).cmp(&(turns.get(b), b)));

        let (mut report, mut refused, mut anyone_let_in) = (CheckCounts::default(), Vec::new(), false);
        let checks = waiting.into_iter().map(|(tenant, last)| {
            let turn = turns.get(&tenant).copied().unwrap_or(context.hour);
            self.check(tenant, last, turn, context)
        });
        let mut checks = pin!(stream::iter(checks).buffer_unordered(CONCURRENCY));
        while let Some((end, let_in)) = checks.next().await {
            anyone_let_in |= let_in;
            match end {
                CheckOutcome::Refused(it) => refused.push(it),
                end => report.add(&end),
            }
        }
        if !refused.is_empty() && !anyone_let_in && self.are_all_refused(&refused, connected, context).await {
            report.unchecked += refused.len() as u64;
            let tenants = refused.len();
            let what = "every role refuses the exporter: rather than its customers' doing, that is a right or a name of its \
                        own that is gone, and nobody is told";
            tracing::error!(tenants, "{what}");
            return Ok(report);
        }
        let kept =
            refused.into_iter().map(|RefusedRole { tenant, before, found }| self.keep(tenant, before, found, context));
        let kept: Vec<CheckOutcome> = stream::iter(kept).buffer_unordered(CONCURRENCY).collect().await;
        kept.iter().for_each(|end| report.add(end));
        Ok(report)
    }

    /// Whether, beside those that are refused, no other tenant's role lets us in either.
    async fn are_all_refused(&self, refused: &[RefusedRole], connected: &[Due], context: CheckContext<'_>) -> bool {
        let ids = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok());
        let others: Vec<TenantId> = ids.filter(|id| refused.iter().all(|it| it.tenant != *id)).take(OTHERS).collect();
        let Ok(last) = self.store.last_checks(&others).await else { return refused.len() >= SUSPICIOUS };
        let well = |last: &ConnectionCheck| !last.fails();
        let others = last.into_iter().filter(|(_, last)| last.as_ref().is_none_or(well)).take(SUSPICIOUS);
        let mut count = refused.len();
        for (tenant, _) in others {
            if (context.should_stop)() {
                break;
            }
            let Ok(TenantRecords { config: Some(config), .. }) = self.store.load_one(&tenant).await else { continue };
            let role_alone = Draft { external_id: config.external_id, role_arn: config.role_arn, ..Draft::default() };
            let request = VerificationRequest { tenant_id: tenant.to_string(), draft: role_alone };
            let Ok(verification) = self.verifier.verify(&request).await else { continue };
            if is_let_in(&verification) {
                return false;
            }
            count += usize::from(verification.steps.iter().any(|step| step.code == Some(Code::AssumeRoleDenied)));
        }
        count >= SUSPICIOUS
    }

    /// One tenant's check, and whether its role let the platform in.
    async fn check(
        &self,
        tenant: TenantId,
        before: Option<ConnectionCheck>,
        turn: DateTime<Utc>,
        context: CheckContext<'_>,
    ) -> (CheckOutcome, bool) {
        if (context.should_stop)() {
            tracing::info!(tenant = %tenant, "not checked: the remaining time is too short");
            return (CheckOutcome::Unclear, false);
        }
        match self.found(&tenant, turn, context).await {
            Ok(None) => (CheckOutcome::Gone, false),
            Ok(Some((verification, found))) => {
                let let_in = is_let_in(&verification);
                let Some(found) = found else {
                    let codes: Vec<_> =
                        verification.steps.iter().filter_map(|step| step.code).map(Code::as_str).collect();
                    let codes = codes.join(", ");
                    if is_the_platforms(&verification) {
                        tracing::error!(tenant = %tenant, codes, "not checked: the platform itself failed, and has to act");
                    } else {
                        tracing::warn!(tenant = %tenant, codes, "not checked: there was no clear answer");
                    }
                    return (CheckOutcome::Unclear, let_in);
                };
                let refused = found.findings.iter().any(|it| it.code == Code::AssumeRoleDenied.as_str());
                if refused && found.change_since(before.as_ref()).is_some() {
                    return (CheckOutcome::Refused(RefusedRole { tenant, before, found }), let_in);
                }
                (self.keep(tenant, before, found, context).await, let_in)
            }
            Err(Failure { code, message, .. }) => {
                tracing::warn!(tenant = %tenant, code = %code, reason = message, "not checked");
                (CheckOutcome::Unclear, false)
            }
        }
    }

    /// What the verification of a tenant's saved settings finds; none of a tenant that is not connected any more.
    async fn found(
        &self,
        tenant: &TenantId,
        turn: DateTime<Utc>,
        context: CheckContext<'_>,
    ) -> Result<Option<(Verification, Option<ConnectionCheck>)>, Failure> {
        let Some((config, version)) = self.saved(tenant).await? else { return Ok(None) };
        let request = VerificationRequest { tenant_id: tenant.to_string(), draft: config };
        let verification = self.verifier.verify(&request).await?;
        let at = timestamp::whole_seconds((context.now)());
        let found = findings(&request.draft, &verification);
        let found = found.map(|findings| ConnectionCheck { turn, at, version, findings });
        Ok(Some((verification, found)))
    }

    /// The saved settings of a tenant, and their version; none of one that is not connected any more.
    async fn saved(&self, tenant: &TenantId) -> Result<Option<(Draft, u64)>, Failure> {
        let records = self.store.load_one(tenant).await?;
        let state = ConnectorState::of(&records);
        let TenantRecords { config, watermark, .. } = records;
        if watermark.is_none_or(|watermark| watermark.due_shard.is_none()) {
            return Ok(None);
        }
        let Some(config) = config.filter(|_| state == ConnectorState::Scheduled) else {
            let message = "The tenant is scheduled, but its settings or their role are gone.";
            return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
        };
        let version = config.version.as_deref().map_or(Ok(0), parse_version);
        let damaged = |invalid: Invalid| FieldErrors(vec![FieldError { field: "version", message: invalid.0 }]);
        Ok(Some((config, version.map_err(|invalid| damaged(invalid).into_failure())?)))
    }

    /// Keeps what was found, and announces it if it is news.
    async fn keep(
        &self,
        tenant: TenantId,
        before: Option<ConnectionCheck>,
        found: ConnectionCheck,
        context: CheckContext<'_>,
    ) -> CheckOutcome {
        let news = found.change_since(before.as_ref());
        let stamp = Stamp { at: (context.now)(), retention: context.retention };
        let announcement = news.map(|news| system_events::connection_checked(&tenant, stamp, news, &found));
        let kept = self.store.save_check(&tenant, before.as_ref(), &found, announcement.as_ref()).await;
        let kept = match kept {
            Ok(Conditional::ConditionFailed) => self.is_overtaken(&tenant, &found, context).await,
            Ok(Conditional::Written) => {
                if let Some(news) = news {
                    let codes: Vec<&str> = found.findings.iter().map(|it| it.code.as_str()).collect();
                    tracing::warn!(tenant = %tenant, news = ?news, codes = codes.join(", "), "a connection has changed");
                }
                return CheckOutcome::Kept { found, news };
            }
            Err(failure) => Err(failure),
        };
        match kept {
            Ok(true) => CheckOutcome::Gone,
            Ok(false) => {
                let what = "the check was refused, although nobody has changed anything";
                tracing::error!(tenant = %tenant, code = %Code::Rejected, "{what}");
                CheckOutcome::Unclear
            }
            Err(Failure { code, message, .. }) => {
                tracing::error!(tenant = %tenant, code = %code, reason = message, "what a check found could not be kept");
                CheckOutcome::Unclear
            }
        }
    }

    /// Whether somebody was faster: the admin, who has saved or disconnected, or another run with the same turn.
    async fn is_overtaken(
        &self,
        tenant: &TenantId,
        found: &ConnectionCheck,
        context: CheckContext<'_>,
    ) -> Result<bool, Failure> {
        let is_same = self.saved(tenant).await?.is_some_and(|(_, version)| version == found.version);
        let last = self.store.last_check(tenant).await?;
        Ok(!is_same || last.is_some_and(|last| last.stands_for(found.turn, (context.now)())))
    }
}

impl CheckCounts {
    fn add(&mut self, end: &CheckOutcome) {
        match end {
            CheckOutcome::Kept { found, news } => {
                self.checked += 1;
                self.failing += u64::from(found.fails());
                self.drifted += u64::from(*news == Some(ConnectionChange::Drifted));
                self.restored += u64::from(*news == Some(ConnectionChange::Restored));
            }
            CheckOutcome::Refused(_) | CheckOutcome::Unclear => self.unchecked += 1,
            CheckOutcome::Gone => {}
        }
    }
}

/// The last hour, up to this one, that was the tenant's turn: spread over the day by SHA-256 of the id. None if it is too
/// long ago to be taken now, or before all that an instant can be.
pub fn due_hour(tenant: &TenantId, hour: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let digest = Sha256::digest(tenant.as_str());
    // Not the first byte, of which the index's shard is made.
    let own = digest.iter().skip(8).take(4).fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte)) % 24;
    let ago = i64::from((hour.hour() + 24 - own) % 24);
    if ago < HOURS_TO_CATCH_UP { hour.checked_sub_signed(TimeDelta::hours(ago)) } else { None }
}

/// What a verification of saved settings found, unless it proves nothing: AWS gave no clear answer, or it was the platform
/// that failed.
fn findings(saved: &Draft, verification: &Verification) -> Option<Vec<Finding>> {
    let finding = |step: &Step| {
        let is_failure = step.status == StepStatus::Failed;
        let code = step.code.filter(|_| step.party() == Some(Party::Customer))?;
        let found = is_failure || step.status == StepStatus::Warning;
        let message = step.message.clone();
        found.then(|| Finding { step: step.step.to_string(), is_failure, code: code.to_string(), message })
    };
    let mut found: Vec<Finding> = verification.steps.iter().filter_map(finding).collect();
    found.extend(without_bucket(saved));
    // What was let in that has to be refused is a fact, whatever stayed unclear.
    let is_clear = found.iter().any(|it| it.is_failure) || verification.passed();
    is_clear.then_some(found)
}

/// Without a bucket, a verification looks at the role alone, as before the first save. Of saved settings that is no pass.
fn without_bucket(saved: &Draft) -> Option<Finding> {
    let lost = saved.bucket.as_deref().is_none_or(str::is_empty);
    let error = || FieldError { field: "bucket", message: "is required".to_owned() };
    let Failure { code, message, .. } = lost.then(|| FieldErrors(vec![error()]).into_failure())?;
    Some(Finding { step: StepName::PutObject.to_string(), is_failure: true, code: code.to_string(), message })
}

/// Whether it was the platform that failed, and not AWS that gave no answer.
fn is_the_platforms(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.status == StepStatus::Failed && step.party() == Some(Party::Platform))
}

/// Whether the role can be assumed.
fn is_let_in(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.step == StepName::AssumeRole && step.passed())
}
