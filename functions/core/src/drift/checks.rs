//! An hour's checks: whoever has a turn is verified, and what is found is kept and told.

use std::{collections::BTreeMap, pin::pin};

use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt as _, stream};
use serde::Serialize;

use super::{Checked, News, findings, is_let_in, is_the_platforms, turn};
use crate::{
    connect::State,
    failure::{Code, Failure, Party},
    ports::{Conditional, Connections, Due, Tenants, Verifier},
    record::{Stamp, own},
    records::TenantRecords,
    settings::{Draft, FieldError, FieldErrors, parse_version},
    tenant::{Invalid, TenantId},
    timestamp,
    verify::{Request, Verification},
};

/// How many connections are verified side by side. Each assumes the role five times, at the pace of all exports.
const SIDE_BY_SIDE: usize = 8;

/// From how many roles on it is hardly their customers' doing that all of them are refused, and none lets us in.
const SUSPICIOUS: usize = 3;

/// Among how many other tenants some are looked for whose roles let us in when they were checked last.
const OTHERS: usize = 50;

/// What a run of checks is given of the world outside.
#[derive(Clone, Copy)]
pub struct Run<'a> {
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
pub struct Report {
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
enum End {
    /// It was kept.
    Kept { found: Checked, news: Option<News> },
    /// The role was refused, and that is news. It waits for what becomes of the others.
    Refused(Refused),
    /// It is not to be checked after all: its admin was faster.
    Gone,
    /// Nothing was found out.
    Unclear,
}

struct Refused {
    tenant: TenantId,
    before: Option<Checked>,
    found: Checked,
}

/// The checks, over whatever implements their ports.
pub struct Checks<'a, S, V> {
    /// The tenants' records.
    pub store: &'a S,
    /// What verifies connections.
    pub verifier: &'a V,
}

impl<S: Tenants + Connections, V: Verifier> Checks<'_, S, V> {
    /// Checks the connected tenants whose turn it is and that have not had it.
    ///
    /// # Errors
    /// If it could not be read who has had a turn; then nobody was checked.
    pub async fn run(&self, connected: &[Due], run: Run<'_>) -> Result<Report, Failure> {
        let ids = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok());
        let turns: BTreeMap<TenantId, DateTime<Utc>> =
            ids.filter_map(|id| turn(&id, run.hour).map(|turn| (id, turn))).collect();
        let ids: Vec<TenantId> = turns.keys().cloned().collect();
        let mut waiting: Vec<_> = self.store.last_checks(&ids).await?.into_iter().collect();
        let now = (run.now)();
        let had_it = |id: &TenantId, last: &Checked| turns.get(id).is_none_or(|turn| last.stands_for(*turn, now));
        waiting.retain(|(id, last)| !last.as_ref().is_some_and(|last| had_it(id, last)));
        // Whoever has waited longest is the first.
        waiting.sort_unstable_by(|(a, _), (b, _)| (turns.get(a), a).cmp(&(turns.get(b), b)));

        let (mut report, mut refused, mut anyone_let_in) = (Report::default(), Vec::new(), false);
        let checks = waiting.into_iter().map(|(tenant, last)| {
            let turn = turns.get(&tenant).copied().unwrap_or(run.hour);
            self.check(tenant, last, turn, run)
        });
        let mut checks = pin!(stream::iter(checks).buffer_unordered(SIDE_BY_SIDE));
        while let Some((end, let_in)) = checks.next().await {
            anyone_let_in |= let_in;
            match end {
                End::Refused(it) => refused.push(it),
                end => report.add(&end),
            }
        }
        if !refused.is_empty() && !anyone_let_in && self.are_all_refused(&refused, connected, run).await {
            report.unchecked += refused.len() as u64;
            let tenants = refused.len();
            let what = "every role refuses the exporter: rather than its customers' doing, that is a right or a name of its \
                        own that is gone, and nobody is told";
            tracing::error!(tenants, "{what}");
            return Ok(report);
        }
        let kept = refused.into_iter().map(|Refused { tenant, before, found }| self.keep(tenant, before, found, run));
        let kept: Vec<End> = stream::iter(kept).buffer_unordered(SIDE_BY_SIDE).collect().await;
        kept.iter().for_each(|end| report.add(end));
        Ok(report)
    }

    /// Whether, beside those that are refused, no other tenant's role lets us in either.
    async fn are_all_refused(&self, refused: &[Refused], connected: &[Due], run: Run<'_>) -> bool {
        let ids = connected.iter().filter_map(|due| TenantId::parse(&due.tenant).ok());
        let others: Vec<TenantId> = ids.filter(|id| refused.iter().all(|it| it.tenant != *id)).take(OTHERS).collect();
        let Ok(last) = self.store.last_checks(&others).await else { return refused.len() >= SUSPICIOUS };
        let well = |last: &Checked| !last.fails();
        let others = last.into_iter().filter(|(_, last)| last.as_ref().is_none_or(well)).take(SUSPICIOUS);
        let mut count = refused.len();
        for (tenant, _) in others {
            if (run.should_stop)() {
                break;
            }
            let Ok(TenantRecords { config: Some(config), .. }) = self.store.load_one(&tenant).await else { continue };
            let role_alone = Draft { external_id: config.external_id, role_arn: config.role_arn, ..Draft::default() };
            let request = Request { tenant_id: tenant.to_string(), draft: role_alone };
            let Ok(verification) = self.verifier.verify(&request).await else { continue };
            if is_let_in(&verification) {
                return false;
            }
            count += usize::from(verification.steps.iter().any(|step| step.code == Some(Code::AssumeRoleDenied)));
        }
        count >= SUSPICIOUS
    }

    /// One tenant's check, and whether its role let the platform in.
    async fn check(&self, tenant: TenantId, before: Option<Checked>, turn: DateTime<Utc>, run: Run<'_>) -> (End, bool) {
        if (run.should_stop)() {
            tracing::info!(tenant = %tenant, "not checked: the remaining time is too short");
            return (End::Unclear, false);
        }
        match self.found(&tenant, turn, run).await {
            Ok(None) => (End::Gone, false),
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
                    return (End::Unclear, let_in);
                };
                let refused = found.findings.iter().any(|it| it.code == Code::AssumeRoleDenied.as_str());
                if refused && found.news(before.as_ref()).is_some() {
                    return (End::Refused(Refused { tenant, before, found }), let_in);
                }
                (self.keep(tenant, before, found, run).await, let_in)
            }
            Err(Failure { code, message, .. }) => {
                tracing::warn!(tenant = %tenant, code = %code, reason = message, "not checked");
                (End::Unclear, false)
            }
        }
    }

    /// What the verification of a tenant's saved settings finds; none of a tenant that is not connected any more.
    async fn found(
        &self,
        tenant: &TenantId,
        turn: DateTime<Utc>,
        run: Run<'_>,
    ) -> Result<Option<(Verification, Option<Checked>)>, Failure> {
        let Some((config, version)) = self.saved(tenant).await? else { return Ok(None) };
        let request = Request { tenant_id: tenant.to_string(), draft: config };
        let verification = self.verifier.verify(&request).await?;
        let at = timestamp::whole_seconds((run.now)());
        let found = findings(&request.draft, &verification);
        let found = found.map(|findings| Checked { turn, at, version, findings });
        Ok(Some((verification, found)))
    }

    /// The saved settings of a tenant, and their version; none of one that is not connected any more.
    async fn saved(&self, tenant: &TenantId) -> Result<Option<(Draft, u64)>, Failure> {
        let records = self.store.load_one(tenant).await?;
        let state = State::of(&records);
        let TenantRecords { config, watermark, .. } = records;
        if watermark.is_none_or(|watermark| watermark.due_shard.is_none()) {
            return Ok(None);
        }
        let Some(config) = config.filter(|_| state == State::Scheduled) else {
            let message = "The tenant is scheduled, but its settings or their role are gone.";
            return Err(Failure::by(Party::Platform, Code::ConfigInvalid, message));
        };
        let version = config.version.as_deref().map_or(Ok(0), parse_version);
        let damaged = |invalid: Invalid| FieldErrors(vec![FieldError { field: "version", message: invalid.0 }]);
        Ok(Some((config, version.map_err(|invalid| damaged(invalid).into_failure())?)))
    }

    /// Keeps what was found, and announces it if it is news.
    async fn keep(&self, tenant: TenantId, before: Option<Checked>, found: Checked, run: Run<'_>) -> End {
        let news = found.news(before.as_ref());
        let stamp = Stamp { at: (run.now)(), retention: run.retention };
        let announcement = news.map(|news| own::connection_checked(&tenant, stamp, news, &found));
        let kept = self.store.keep_check(&tenant, before.as_ref(), &found, announcement.as_ref()).await;
        let kept = match kept {
            Ok(Conditional::ConditionFailed) => self.is_overtaken(&tenant, &found, run).await,
            Ok(Conditional::Written) => {
                if let Some(news) = news {
                    let codes: Vec<&str> = found.findings.iter().map(|it| it.code.as_str()).collect();
                    tracing::warn!(tenant = %tenant, news = ?news, codes = codes.join(", "), "a connection has changed");
                }
                return End::Kept { found, news };
            }
            Err(failure) => Err(failure),
        };
        match kept {
            Ok(true) => End::Gone,
            Ok(false) => {
                let what = "the check was refused, although nobody has changed anything";
                tracing::error!(tenant = %tenant, code = %Code::Rejected, "{what}");
                End::Unclear
            }
            Err(Failure { code, message, .. }) => {
                tracing::error!(tenant = %tenant, code = %code, reason = message, "what a check found could not be kept");
                End::Unclear
            }
        }
    }

    /// Whether somebody was faster: the admin, who has saved or disconnected, or another run with the same turn.
    async fn is_overtaken(&self, tenant: &TenantId, found: &Checked, run: Run<'_>) -> Result<bool, Failure> {
        let is_same = self.saved(tenant).await?.is_some_and(|(_, version)| version == found.version);
        let last = self.store.last_check(tenant).await?;
        Ok(!is_same || last.is_some_and(|last| last.stands_for(found.turn, (run.now)())))
    }
}

impl Report {
    fn add(&mut self, end: &End) {
        match end {
            End::Kept { found, news } => {
                self.checked += 1;
                self.failing += u64::from(found.fails());
                self.drifted += u64::from(*news == Some(News::Drifted));
                self.restored += u64::from(*news == Some(News::Restored));
            }
            End::Refused(_) | End::Unclear => self.unchecked += 1,
            End::Gone => {}
        }
    }
}
