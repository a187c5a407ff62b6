//! Publishes outboxes outside of exports: after a change in the console, and what runs have left.

use std::time::Duration;

use chrono::TimeDelta;
use futures::{StreamExt as _, stream};
use serde::Serialize;

use super::{
    Export, Run,
    held_lease::{OutboxResult, log_error},
};
use crate::{
    failure::{Code, Failure},
    ports::{Bus, Fleet, Tenants},
    tenant::TenantId,
};

const CONCURRENT_OUTBOXES: usize = 8;

/// Outboxes that a check publishes at most. The next check begins with others.
const MAX_OUTBOXES: usize = 1_000;

/// How long one outbox may take. The caller's `should_stop` must leave more time than that.
pub const PUBLISH_TIMEOUT: Duration = Duration::from_secs(45);

/// How old the oldest notification of a stale outbox is.
const STALE_AGE: TimeDelta = TimeDelta::hours(2);

/// How publishing outboxes went. Serializes to a part of the function's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Publishing {
    /// Tenants whose outbox was not empty.
    pub pending: u64,
    pub published: u64,
    /// Tenants whose outbox is not empty, or was not read.
    pub left: u64,
    /// Tenants whose oldest notification has waited for more than two hours.
    pub stale: u64,
    /// Notifications that were dropped from full outboxes, since each of them was empty the last time.
    pub dropped: u64,
}

impl Publishing {
    fn add(&mut self, run: Run<'_>, tenant: &TenantId, published: Result<OutboxResult, Failure>) {
        match published {
            Ok(OutboxResult { published, left, dropped, oldest }) => {
                self.published += published;
                self.left += u64::from(left > 0);
                self.dropped += dropped;
                // Entries that can't be read have no age.
                let is_stale = left > 0 && oldest.is_none_or(|oldest| (run.now)() - oldest > STALE_AGE);
                self.stale += u64::from(is_stale);
                if is_stale {
                    tracing::error!(tenant = %tenant, left, "notifications have waited for more than two hours");
                }
            }
            Err(failure) => {
                log_error(tenant, &failure, "the outbox could not be published");
                self.left += 1;
            }
        }
    }
}

impl<T: Tenants, E, B, N: Bus, S> Export<T, E, B, N, S> {
    /// Publishes one tenant's outbox. If another run has the tenant's lease, that run or the hourly check publishes it.
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

impl<T: Tenants + Fleet, E: Sync, B: Sync, N: Bus, S: Sync> Export<T, E, B, N, S> {
    /// Publishes all outboxes, as far as there is time.
    ///
    /// # Errors
    /// If the index could not be read.
    pub async fn publish_pending(&self, run: Run<'_>) -> Result<Publishing, Failure> {
        let mut pending: Vec<TenantId> =
            self.tenants.pending().await?.iter().filter_map(|id| TenantId::parse(id).ok()).collect();
        let mut publishing = Publishing { pending: pending.len() as u64, ..Publishing::default() };
        // Each hour begins with another tenant, so that every outbox is published eventually.
        let hour = usize::try_from(run.tick.timestamp() / 3_600).unwrap_or_default();
        let begin = hour.wrapping_mul(MAX_OUTBOXES).checked_rem(pending.len()).unwrap_or_default();
        pending.rotate_left(begin);
        let attempted: Vec<&TenantId> = pending.iter().take(MAX_OUTBOXES).collect();
        publishing.left += (pending.len() - attempted.len()) as u64;
        let publish = async |tenant: &TenantId| {
            if (run.should_stop)() {
                return None;
            }
            let timed_out = |_| Err(Failure::new(Code::Unavailable, "Publishing took too long."));
            Some(tokio::time::timeout(PUBLISH_TIMEOUT, self.publish_alone(run, tenant)).await.unwrap_or_else(timed_out))
        };
        let results: Vec<_> = stream::iter(attempted)
            .map(async |tenant| (tenant, publish(tenant).await))
            .buffer_unordered(CONCURRENT_OUTBOXES)
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
