//! A run's lease of a tenant: acquires and releases it, and publishes the outbox under it.

use chrono::{DateTime, TimeDelta, Utc};

use super::{AbortReason, Export, Run, report::Deferral};
use crate::{
    failure::{Code, Failure},
    lease::{LEASE_MARGIN, Lease, PUBLISHING_LEASE},
    outbox::Outbox,
    ports::{Acquisition, Bus, Fence, Purpose, Tenants},
    records::{ExportHealth, StoredWatermark, TenantRecords},
    settings::TenantConfig,
    tenant::TenantId,
};

/// How long a run publishes one outbox, and how long if it should stop. The next run publishes the rest.
const MAX_PUBLISH_TIME: [TimeDelta; 2] = [TimeDelta::seconds(30), TimeDelta::seconds(5)];

const TICK_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// How often one outbox is published outside of exports. Later additions are left to the next check.
const MAX_PUBLISH_ROUNDS: usize = 3;

/// A tenant's lease, and the record `watermark` as it was when the lease was acquired.
pub(super) struct HeldLease {
    pub(super) tenant: TenantId,
    pub(super) watermark: StoredWatermark,
    /// How exports went before this run.
    pub(super) health: ExportHealth,
    /// None before it is acquired and after it is released.
    pub(super) lease: Option<Lease>,
    /// Whether the outbox may hold notifications that this run has not tried to publish.
    pub(super) has_notifications: bool,
    /// Whether a request to store an object that failed may still be carried out. Then no other run may store anything
    /// until it can't be any more, so the lease is left to expire.
    pub(super) in_doubt: bool,
}

/// How publishing an outbox went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OutboxResult {
    pub(super) published: u64,
    pub(super) left: u64,
    pub(super) dropped: u64,
    /// When the oldest entry that is left was added.
    pub(super) oldest: Option<DateTime<Utc>>,
}

impl OutboxResult {
    fn remaining(outbox: &Outbox) -> Self {
        let left = (outbox.entries.len() + outbox.unreadable.len()) as u64;
        Self { published: 0, left, dropped: outbox.dropped, oldest: outbox.oldest() }
    }
}

impl HeldLease {
    pub(super) fn new(
        tenant: TenantId,
        watermark: StoredWatermark,
        health: ExportHealth,
        has_notifications: bool,
    ) -> Self {
        Self { tenant, watermark, health, lease: None, has_notifications, in_doubt: false }
    }

    pub(super) fn fence(&self) -> Option<Fence<'_>> {
        self.lease.as_ref().map(|lease| Fence { lease, as_read: &self.watermark })
    }

    /// Whether the settings, the connection, the watermark's position and the lease are as this run has read them.
    pub(super) fn is_unchanged(&self, run: Run<'_>, config: &TenantConfig, records: &TenantRecords) -> bool {
        let stored = records.config.as_ref().map(|stored| stored.check(&self.tenant, run.platform));
        let is_at_same_position =
            records.watermark.as_ref().is_some_and(|watermark| watermark.is_at_same_position(&self.watermark));
        is_at_same_position && self.holds(records) && matches!(stored, Some(Ok(stored)) if stored == *config)
    }

    /// Whether the tenant was due at the tick before this one, and nothing was delivered to it since.
    pub(super) fn is_stuck(&self, run: Run<'_>, next_due: DateTime<Utc>) -> bool {
        let before = run.tick - TICK_INTERVAL;
        next_due <= before && self.health.last_success_at.is_none_or(|at| at < before)
    }

    /// Whether these records hold this run's lease.
    pub(super) fn holds(&self, records: &TenantRecords) -> bool {
        self.lease.as_ref().zip(records.lease.as_ref()).is_some_and(|(held, stored)| held.token == stored.token)
    }
}

/// The failure of a run that has stored objects and finds its lease gone or expired. It doesn't move the watermark.
pub(super) fn lease_lost() -> Failure {
    let message = "The run's lease was gone or had expired when the run was about to write under it.";
    Failure::new(Code::LeaseLost, message)
}

impl<T: Tenants, E, B, N: Bus, S> Export<T, E, B, N, S> {
    /// Acquires the lease for an export, and publishes what earlier runs have left in the outbox.
    pub(super) async fn acquire(&self, run: Run<'_>, held: &mut HeldLease) -> Result<(), AbortReason> {
        let lease = run.new_lease(run.deadline + LEASE_MARGIN)?;
        let purpose = Purpose::Export(&held.watermark);
        match self.acquire_or_release(&held.tenant, purpose, &lease, (run.now)()).await? {
            Acquisition::Acquired(watermark, health) => {
                (held.watermark, held.health, held.lease) = (watermark, health, Some(lease));
                self.publish(run, held).await;
                Ok(())
            }
            Acquisition::HeldUntil(until) => Err(AbortReason::Deferred(Deferral::Leased { until })),
            Acquisition::ConditionFailed => Err(AbortReason::Changed),
        }
    }

    /// Publishes the outbox. If that fails, the tenant's next run or the hourly check publishes it.
    pub(super) async fn publish(&self, run: Run<'_>, held: &mut HeldLease) {
        if held.lease.is_none() || !std::mem::take(&mut held.has_notifications) {
            return;
        }
        if let Err(failure) = self.publish_outbox(run, &held.tenant).await {
            log_error(&held.tenant, &failure, "the outbox could not be published");
        }
    }

    /// Publishes in order, up to the first notification that is refused, and removes the published ones.
    async fn publish_outbox(&self, run: Run<'_>, tenant: &TenantId) -> Result<OutboxResult, Failure> {
        let mut outbox = self.tenants.outbox(tenant).await?;
        let (started, mut published) = ((run.now)(), Vec::new());
        for id in &outbox.unreadable {
            tracing::error!(tenant = %tenant, id, "unreadable notification in the outbox");
        }
        for notification in &outbox.entries {
            if (run.now)() - started > MAX_PUBLISH_TIME[usize::from((run.should_stop)())] {
                break;
            }
            match self.bus.publish(notification).await {
                Ok(()) => published.push(notification.id.clone()),
                Err(failure) => {
                    log_error(tenant, &failure, "the notification could not be published");
                    break;
                }
            }
        }
        if !published.is_empty() {
            self.tenants.remove_published(tenant, &outbox, &published).await?;
        }
        let dropped = outbox.dropped;
        outbox.remove(&published);
        Ok(OutboxResult { published: published.len() as u64, dropped, ..OutboxResult::remaining(&outbox) })
    }

    /// Publishes the outbox of a tenant that this run does not export, unless another run has the lease.
    ///
    /// # Errors
    /// If the outbox could not be read. Later errors are logged, and show in [`OutboxResult::left`].
    pub(super) async fn publish_alone(&self, run: Run<'_>, tenant: &TenantId) -> Result<OutboxResult, Failure> {
        let mut all = OutboxResult::default();
        // A request to publish a notification that was added meanwhile has found this lease, and left the outbox to this
        // run. So it is read again after each round.
        for _ in 0..MAX_PUBLISH_ROUNDS {
            let outbox = self.tenants.outbox(tenant).await?;
            all = OutboxResult { published: all.published, ..OutboxResult::remaining(&outbox) };
            if outbox.is_empty() {
                if all.published == 0 {
                    // After a change by hand, the index may list an empty outbox.
                    self.tenants.remove_published(tenant, &outbox, &[]).await?;
                }
                break;
            }
            match self.publish_under_lease(run, tenant).await {
                Ok(Some(published)) => {
                    all = OutboxResult { published: all.published + published.published, ..published }
                }
                Ok(None) => {
                    tracing::info!(tenant = %tenant, "another run has the tenant's lease, and publishes the outbox");
                    break;
                }
                Err(failure) => {
                    log_error(tenant, &failure, "the outbox could not be published");
                    break;
                }
            }
            if all.left > 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Publishes once, under a short lease. None if another run has the lease.
    async fn publish_under_lease(&self, run: Run<'_>, tenant: &TenantId) -> Result<Option<OutboxResult>, Failure> {
        let now = (run.now)();
        let lease = run.new_lease(now + PUBLISHING_LEASE)?;
        match self.acquire_or_release(tenant, Purpose::Publish, &lease, now).await? {
            Acquisition::Acquired(..) => {}
            Acquisition::HeldUntil(_) | Acquisition::ConditionFailed => return Ok(None),
        }
        let published = self.publish_outbox(run, tenant).await;
        self.tenants.release_lease(tenant, &lease).await?;
        published.map(Some)
    }

    /// Acquires a lease. If there is no answer, the lease is released: it may have been acquired, and would exclude other runs
    /// although nothing was stored under it.
    pub(super) async fn acquire_or_release(
        &self,
        tenant: &TenantId,
        purpose: Purpose<'_>,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> Result<Acquisition, Failure> {
        let acquired = self.tenants.acquire_lease(tenant, purpose, lease, now).await;
        if acquired.is_err()
            && let Err(failure) = self.tenants.release_lease(tenant, lease).await
        {
            log_error(
                tenant,
                &failure,
                "the lease may have been acquired and could not be released; it expires by itself",
            );
        }
        acquired
    }

    /// Publishes what is left in the outbox and releases the lease. In doubt, the lease is left to expire.
    pub(super) async fn finish(&self, run: Run<'_>, held: &mut HeldLease) {
        self.publish(run, held).await;
        let Some(lease) = held.lease.take() else { return };
        if held.in_doubt {
            let until = lease.until;
            tracing::warn!(tenant = %held.tenant, %until, "the lease is left to expire: a failed request may still store an object");
            return;
        }
        if let Err(failure) = self.tenants.release_lease(&held.tenant, &lease).await {
            log_error(&held.tenant, &failure, "the lease could not be released; it expires by itself");
        }
    }
}

/// Logs an error that affects no export.
pub(super) fn log_error(tenant: &TenantId, Failure { code, message, .. }: &Failure, what: &str) {
    tracing::error!(tenant = %tenant, code = %code, reason = message, "{what}");
}
