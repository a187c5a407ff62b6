//! Publishing outboxes of tenants that no run exports: after a change in the console, and what runs have left.

use std::time::Duration;

use chrono::TimeDelta;
use futures::{StreamExt as _, stream};
use serde::Serialize;

use super::{
    Export, Run,
    held_lease::{Published, not_done},
};
use crate::{
    failure::{Code, Failure},
    ports::{Bus, Fleet, Tenants},
    tenant::TenantId,
};

/// How many outboxes are published side by side.
const CONCURRENCY: usize = 8;

/// How many outboxes a check publishes at most; the next one begins with others.
const MAX_OUTBOXES: usize = 1_000;

/// How long one outbox may take of a check's time. The caller's `should_stop` has to leave more than that.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(45);

/// When a notification that is not published is more than a passing trouble.
const STALE: TimeDelta = TimeDelta::hours(2);

/// What became of outboxes. Serialises to a part of the function's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Publishing {
    /// Tenants whose outbox held anything.
    pub pending: u64,
    /// Notifications that are published.
    pub published: u64,
    /// Tenants whose outbox still holds something, or was not looked at.
    pub left: u64,
    /// Tenants whose oldest notification has waited for more than two hours.
    pub stale: u64,
    /// Notifications that were dropped from these outboxes, which were full, since each of them was empty.
    pub dropped: u64,
}

impl Publishing {
    fn add(&mut self, run: Run<'_>, tenant: &TenantId, published: Result<Published, Failure>) {
        match published {
            Ok(Published { published, left, dropped, oldest }) => {
                self.published += published;
                self.left += u64::from(left > 0);
                self.dropped += dropped;
                // Without an age, it is one that can't be read.
                let is_stale = left > 0 && oldest.is_none_or(|oldest| (run.now)() - oldest > STALE);
                self.stale += u64::from(is_stale);
                if is_stale {
                    tracing::error!(tenant = %tenant, left, "notifications have waited for more than two hours");
                }
            }
            Err(failure) => {
                not_done(tenant, &failure, "the outbox could not be published");
                self.left += 1;
            }
        }
    }
}

impl<T: Tenants, E, B, N: Bus> Export<T, E, B, N> {
    /// Publishes what one tenant's outbox holds. If another run has the tenant's lease, it is left to that run or to the hourly
    /// check.
    ///
    /// # Errors
    /// If the outbox could not be read.
    pub async fn publish_one(&self, run: Run<'_>, tenant: &TenantId) -> Result<Publishing, Failure> {
        let published = self.publish_alone(run, tenant).await?;
        let mut publishing = Publishing { pending: 1, ..Publishing::default() };
        publishing.add(run, tenant, Ok(published));
        Ok(publishing)
    }
}

impl<T: Tenants + Fleet, E: Sync, B: Sync, N: Bus> Export<T, E, B, N> {
    /// Publishes what any outbox holds, as far as there is time.
    ///
    /// # Errors
    /// If the index could not be read.
    pub async fn publish_pending(&self, run: Run<'_>) -> Result<Publishing, Failure> {
        let mut pending: Vec<TenantId> =
            self.tenants.pending().await?.iter().filter_map(|id| TenantId::parse(id).ok()).collect();
        let mut publishing = Publishing { pending: pending.len() as u64, ..Publishing::default() };
        // Each check begins elsewhere, so that none is left behind for good.
        let hour = usize::try_from(run.tick.timestamp() / 3_600).unwrap_or_default();
        let begin = hour.wrapping_mul(MAX_OUTBOXES).checked_rem(pending.len()).unwrap_or_default();
        pending.rotate_left(begin);
        let tried: Vec<&TenantId> = pending.iter().take(MAX_OUTBOXES).collect();
        publishing.left += (pending.len() - tried.len()) as u64;
        let publish = async |tenant: &TenantId| {
            if (run.should_stop)() {
                return None;
            }
            let late = |_| Err(Failure::new(Code::Unavailable, "Publishing took too long."));
            Some(tokio::time::timeout(PUBLISH_TIMEOUT, self.publish_alone(run, tenant)).await.unwrap_or_else(late))
        };
        let results: Vec<_> = stream::iter(tried)
            .map(async |tenant| (tenant, publish(tenant).await))
            .buffer_unordered(CONCURRENCY)
            .collect()
            .await;
        for (tenant, published) in results {
            match published {
                Some(published) => publishing.add(run, tenant, published),
                None => publishing.left += 1,
            }
        }
        Ok(publishing)
    }
}
