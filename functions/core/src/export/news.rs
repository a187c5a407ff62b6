//! What a run tells of failures and their end: the tenant in audit events, and others on the bus.
//!
//! An audit event goes with the change of the watermark that it tells of. The bus can't, so the watermark keeps what it was
//! told. A failure is published before it is noted, so that a run that dies in between leads to the same notice once more
//! and never to silence; its end is published once it is true, and again after the next window if that went wrong. So
//! whoever hears of a failure hears of its end, unless another run ends it while this one dies between telling and noting.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::{Export, Run, tenant::TenantExport};
use crate::{
    failure::Failure,
    notice::Notice,
    patience::{self, Told},
    ports::{Bus, Conditional, Tenants},
    record::{Stamp, own::Failing},
    records::{Outcome, StoredWatermark, TenantRecords},
    schedule::Window,
    tenant::TenantId,
    timestamp,
};

impl<T: Tenants, E, B, N: Bus> Export<T, E, B, N> {
    /// Notes a failure on the watermark, and tells of the first, and of one that lasts. If even that fails, the log and the
    /// answer still have it, and the next run's failure is told.
    pub(super) async fn note_failure(
        &self,
        run: Run<'_>,
        tenant: &TenantId,
        (watermark, outcome): (&StoredWatermark, &Outcome),
        failure: &Failure,
    ) {
        let at = (run.now)();
        let since = outcome.failing_since.unwrap_or(at);
        let exported_until = watermark.exported_until.as_deref().unwrap_or_default();
        let days = if planted!(LastingFailureIsUntold) { 0 } else { patience::days_failing(since, at) };
        let failing = Failing { tenant, exported_until, since, days, failure };
        let news = Told { exported_until: exported_until.to_owned(), days };
        let before = outcome.told.as_deref().and_then(Told::parse);
        let known = before.as_ref().is_some_and(|told| told.covers(&news));
        let event = (!known && !planted!(FailureIsUntold)).then(|| failing.event(self.stamp(run)));
        let told = match &event {
            Some(event) => {
                // Whatever becomes of this run: who may have heard of the failure has to hear of its end.
                self.note_told(tenant, Some(&news.clone().unrecorded())).await;
                let failures = outcome.consecutive_failures + 1;
                let notice = Notice::failing(&failing, event.id.clone(), at, failures, self.options.retention);
                // Of a failure before this one, whose end nobody has heard of: a commit whose answer was lost, for one.
                let end = before.as_ref().and_then(|told| ended(tenant, told, exported_until, at));
                self.publish(&end.into_iter().chain([notice]).collect::<Vec<_>>()).await
            }
            None => false,
        };
        // Stamped anew: all of that may have taken a while, and an event is visible soon after its stamp.
        let event = event.map(|_| failing.event(self.stamp(run)));
        match self.tenants.record_failure(tenant, watermark, failure, at, event.as_ref()).await {
            Ok(Conditional::Written) if told => self.note_told(tenant, Some(&news)).await,
            Ok(Conditional::LostRace) => {
                if let Some(news) = if told { Some(news) } else { before } {
                    self.take_back(tenant, news, told, at).await;
                }
            }
            Ok(Conditional::Written) => {}
            Err(error) => {
                not_noted(tenant, &error, "the failure could not be noted");
                // Somebody may have told the end meanwhile, before anybody heard of the failure.
                if told {
                    self.note_told(tenant, Some(&news.unrecorded())).await;
                }
            }
        }
    }

    /// Others were told of a failure, but somebody has moved the watermark since: tells them the end if the window is
    /// exported and nobody else has, or else leaves that to whoever exports the next one. Where it was this run that has told
    /// them, `just_now`, somebody else may have told the end before.
    pub(super) async fn take_back(&self, tenant: &TenantId, told: Told, just_now: bool, at: DateTime<Utc>) {
        let Ok(TenantRecords { watermark, outcome, .. }) = self.tenants.load_one(tenant).await else {
            if just_now {
                self.note_told(tenant, Some(&told.unrecorded())).await;
            }
            return;
        };
        let until =
            watermark.filter(|it| !it.failing && (just_now || outcome.told.is_some())).and_then(|it| it.exported_until);
        if let Some(end) = until.and_then(|until| ended(tenant, &told, &until, at))
            && self.publish(&[end]).await
        {
            self.note_told(tenant, None).await;
        }
    }

    /// After a commit: tells others that exports go well again, if they were told that they don't.
    pub(super) async fn tell_the_end<Bucket>(
        &self,
        run: Run<'_>,
        tenant: &mut TenantExport<Bucket>,
        window: Window,
        was_failing: bool,
    ) {
        let outcome = std::mem::take(&mut tenant.outcome);
        if !was_failing && outcome.told.is_none() || planted!(BusIsForgotten) {
            return;
        }
        let id = &tenant.config.tenant;
        let from = timestamp::seconds(window.from);
        let told = outcome.told.as_deref().and_then(Told::parse).map(|told| told.exported_until);
        // What others were told may be of a failure before this one, which ended in a commit whose answer was lost.
        let ended: BTreeSet<String> = told.into_iter().chain(was_failing.then_some(from)).collect();
        let end = |until: &String| Notice::recovered(id, until, outcome.failing_since, window, (run.now)());
        if self.publish(&ended.iter().map(end).collect::<Vec<_>>()).await {
            if outcome.told.is_some() {
                self.note_told(id, None).await;
            }
        } else {
            tenant.outcome.told = outcome.told;
        }
    }

    /// Whether all are published. If not, the bus has said why.
    async fn publish(&self, notices: &[Notice]) -> bool {
        self.bus.publish(notices).await.is_empty()
    }

    async fn note_told(&self, tenant: &TenantId, told: Option<&Told>) {
        let told = told.map(Told::to_text);
        if let Err(error) = self.tenants.note_told(tenant, told.as_deref()).await {
            not_noted(tenant, &error, "what others were told could not be noted, and they will be told once more");
        }
    }
}

impl<T, E, B, N> Export<T, E, B, N> {
    pub(super) fn stamp(&self, run: Run<'_>) -> Stamp {
        Stamp { at: (run.now)(), retention: self.options.retention }
    }
}

/// The end of a failure that others were told of, if the watermark has moved on since.
fn ended(tenant: &TenantId, told: &Told, exported_until: &str, at: DateTime<Utc>) -> Option<Notice> {
    let instant = timestamp::parse_seconds;
    let window = Window { from: instant(&told.exported_until)?, to: instant(exported_until)? };
    (window.from < window.to).then(|| Notice::recovered(tenant, &told.exported_until, None, window, at))
}

fn not_noted(tenant: &TenantId, Failure { code, message, .. }: &Failure, what: &str) {
    tracing::error!(tenant = %tenant, code = %code, reason = message, "{what}");
}
