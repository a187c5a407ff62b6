//! What a run holds of a tenant: its lease, and the record `watermark` as of the moment at which the lease was acquired.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Export, Run};
use crate::{
    failure::{Code, Failure},
    lease::{LEASE_MARGIN, Lease, PUBLISHING_LEASE},
    outbox::Outbox,
    ports::{Acquisition, Bus, Fence, Purpose, Tenants},
    records::{ExportHealth, StoredWatermark, TenantRecords},
    settings::TenantConfig,
    tenant::TenantId,
};

/// How long a run goes on publishing what one outbox holds, and how long when it should stop. The next run goes on with the
/// rest.
const PUBLISHING_TIME: [TimeDelta; 2] = [TimeDelta::seconds(30), TimeDelta::seconds(5)];

/// From one tick to the next.
const TICK_INTERVAL: TimeDelta = TimeDelta::hours(1);

/// How often an outbox is published alone before what is added meanwhile is left to the next check.
const MAX_PUBLISHINGS: usize = 3;

/// What a run holds of a tenant.
pub(super) struct HeldLease {
    pub(super) tenant: TenantId,
    pub(super) watermark: StoredWatermark,
    /// How exports went before this run.
    pub(super) health: ExportHealth,
    /// None before it is acquired, and after it is released.
    pub(super) lease: Option<Lease>,
    /// Whether there is anything in the outbox that this run has not tried to publish.
    pub(super) has_notifications: bool,
    /// Whether a request to store an object that was given up may still be carried out. Then nobody else may store another
    /// reading until it can't be any more, so the lease is left to expire.
    pub(super) in_doubt: bool,
}

/// Why a lease was not acquired.
pub(super) enum NotAcquired {
    /// Another run has it until then.
    HeldUntil(DateTime<Utc>),
    /// The tenant is no longer as it was read.
    Changed,
}

/// What became of an outbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) published: u64,
    pub(super) left: u64,
    pub(super) dropped: u64,
    /// When the oldest of those that are left was added.
    pub(super) oldest: Option<DateTime<Utc>>,
}

impl Published {
    fn left_of(outbox: &Outbox) -> Self {
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

    /// Under what this run may write to the record; none without a lease.
    pub(super) fn fence(&self) -> Option<Fence<'_>> {
        self.lease.as_ref().map(|lease| Fence { lease, as_read: &self.watermark })
    }

    /// Whether the records are still as this run goes by: the settings, the connection, where the watermark stands, and the
    /// lease.
    pub(super) fn is_as_read(&self, run: Run<'_>, config: &TenantConfig, records: &TenantRecords) -> bool {
        let stored = records.config.as_ref().map(|stored| stored.check(&self.tenant, run.platform));
        let stands = records.watermark.as_ref().is_some_and(|watermark| watermark.stands_where(&self.watermark));
        stands && self.holds(records) && matches!(stored, Some(Ok(stored)) if stored == *config)
    }

    /// Whether the tenant was due at the tick before this one already, and nothing was delivered to it since.
    pub(super) fn is_stuck(&self, run: Run<'_>, next_due: DateTime<Utc>) -> bool {
        let before = run.tick - TICK_INTERVAL;
        next_due <= before && self.health.last_success_at.is_none_or(|at| at < before)
    }

    /// Whether these records still held this run's lease.
    pub(super) fn holds(&self, records: &TenantRecords) -> bool {
        let token = |lease| Option::map(lease, |lease: &Lease| lease.token.as_str());
        self.lease.is_some() && token(records.lease.as_ref()) == token(self.lease.as_ref())
    }
}

/// The failure of a run that finds its lease gone or expired. It has stored objects, and moves nothing.
pub(super) fn lease_lost() -> Failure {
    let message = "The run's lease was gone or had expired when the run was about to write under it.";
    Failure::new(Code::LeaseLost, message)
}

impl<T: Tenants, E, B, N: Bus> Export<T, E, B, N> {
    /// Acquires the lease for a regular export, and publishes what earlier runs have left in the outbox.
    pub(super) async fn acquire(&self, run: Run<'_>, held: &mut HeldLease) -> Result<Option<NotAcquired>, Failure> {
        let lease = run.new_lease(run.deadline + LEASE_MARGIN)?;
        let purpose = Purpose::Export(&held.watermark);
        match self.acquire_or_release(&held.tenant, purpose, &lease, (run.now)()).await? {
            Acquisition::Acquired(watermark, health) => {
                (held.watermark, held.health, held.lease) = (watermark, health, Some(lease));
                self.publish(run, held).await;
                Ok(None)
            }
            Acquisition::HeldUntil(until) => Ok(Some(NotAcquired::HeldUntil(until))),
            Acquisition::ConditionFailed => Ok(Some(NotAcquired::Changed)),
        }
    }

    /// Publishes what the outbox holds. If that fails, the next run of the tenant or the hourly check tries again.
    pub(super) async fn publish(&self, run: Run<'_>, held: &mut HeldLease) {
        if held.lease.is_none() || !std::mem::take(&mut held.has_notifications) {
            return;
        }
        if let Err(failure) = self.publish_outbox(run, &held.tenant).await {
            not_done(&held.tenant, &failure, "the outbox could not be published");
        }
    }

    /// Publishes in order, up to the first notification that is refused, and removes what is published.
    async fn publish_outbox(&self, run: Run<'_>, tenant: &TenantId) -> Result<Published, Failure> {
        let mut outbox = self.tenants.outbox(tenant).await?;
        let (started, mut published) = ((run.now)(), Vec::new());
        for id in &outbox.unreadable {
            tracing::error!(tenant = %tenant, id, "a notification in the outbox can't be read, and stays there");
        }
        for notification in &outbox.entries {
            if (run.now)() - started > PUBLISHING_TIME[usize::from((run.should_stop)())] {
                break;
            }
            match self.bus.publish(notification).await {
                Ok(()) => published.push(notification.id.clone()),
                Err(failure) => {
                    not_done(tenant, &failure, "a notification was not published");
                    break;
                }
            }
        }
        if !published.is_empty() {
            self.tenants.remove_published(tenant, &outbox, &published).await?;
        }
        let dropped = outbox.dropped;
        outbox.remove(&published);
        Ok(Published { published: published.len() as u64, dropped, ..Published::left_of(&outbox) })
    }

    /// Publishes the outbox of a tenant that this run does not export, unless another run has the lease. What goes wrong after
    /// the outbox was read is logged, and told by what is left.
    pub(super) async fn publish_alone(&self, run: Run<'_>, tenant: &TenantId) -> Result<Published, Failure> {
        let mut all = Published::default();
        // Once more after each time: a request to publish what was added meanwhile has found the lease held, and left it to
        // this run.
        for _ in 0..MAX_PUBLISHINGS {
            let outbox = self.tenants.outbox(tenant).await?;
            all = Published { published: all.published, ..Published::left_of(&outbox) };
            if outbox.is_empty() {
                if all.published == 0 {
                    // A change by hand may have left it in the index all the same.
                    self.tenants.remove_published(tenant, &outbox, &[]).await?;
                }
                break;
            }
            match self.publish_under_lease(run, tenant).await {
                Ok(Some(published)) => all = Published { published: all.published + published.published, ..published },
                Ok(None) => {
                    tracing::info!(tenant = %tenant, "the outbox is left to the run that has the tenant's lease");
                    break;
                }
                Err(failure) => {
                    not_done(tenant, &failure, "the outbox could not be published");
                    break;
                }
            }
            if all.left > 0 {
                break;
            }
        }
        Ok(all)
    }

    /// Publishes once, under a lease of its own. None if another run has it.
    async fn publish_under_lease(&self, run: Run<'_>, tenant: &TenantId) -> Result<Option<Published>, Failure> {
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

    /// Acquires a lease. Without an answer it may be this run's all the same, and would keep others away for nothing: no object
    /// was asked for yet.
    async fn acquire_or_release(
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
            not_done(
                tenant,
                &failure,
                "a lease that may have been acquired could not be released, and expires by itself",
            );
        }
        acquired
    }

    /// Publishes what is left and releases the lease, unless an object may still be stored by what this run has asked for.
    pub(super) async fn finish(&self, run: Run<'_>, held: &mut HeldLease) {
        self.publish(run, held).await;
        let Some(lease) = held.lease.take() else { return };
        if held.in_doubt {
            let until = lease.until;
            tracing::warn!(tenant = %held.tenant, %until, "an object may still be stored by a request that was given up, so the lease is left to expire");
            return;
        }
        if let Err(failure) = self.tenants.release_lease(&held.tenant, &lease).await {
            not_done(&held.tenant, &failure, "the lease could not be released, and expires by itself");
        }
    }
}

pub(super) fn not_done(tenant: &TenantId, Failure { code, message, .. }: &Failure, what: &str) {
    tracing::error!(tenant = %tenant, code = %code, reason = message, "{what}");
}
