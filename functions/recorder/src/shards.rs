//! Over how many shards a tenant's events are spread, remembered for a minute.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use audit_log_core::{
    failure::Failure,
    ports::Recorder,
    tenant::{EventShards, TenantId},
};
use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::{Instant, timeout_at};

/// For how long what was read is believed. The number may only grow, so an old one names shards that are exported.
const BELIEVED_FOR: TimeDelta = TimeDelta::seconds(60);

/// How many tenants are remembered.
const MOST: usize = 10_000;

/// How long the reads before a batch's writes may take; without their answers its events are stored no less safely.
pub(crate) const READ_TIMEOUT: Duration = Duration::from_secs(3);

/// What was read, and when.
#[derive(Debug, Default)]
pub(crate) struct Shards(Mutex<HashMap<TenantId, (EventShards, DateTime<Utc>)>>);

impl Shards {
    /// Of a tenant, at `now`. One shard alone, which every export reads, if that can't be found out in time.
    pub(crate) async fn of(
        &self,
        tenant: &TenantId,
        recorder: &impl Recorder,
        now: DateTime<Utc>,
        until: Instant,
    ) -> EventShards {
        if let Some((shards, read_at)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tenant)
            && (now - *read_at).abs() < BELIEVED_FOR
        {
            return *shards;
        }
        let reason = match timeout_at(until, recorder.event_shards(tenant)).await {
            Ok(Ok(shards)) => {
                let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if known.len() >= MOST {
                    known.clear();
                }
                known.insert(tenant.clone(), (shards, now));
                return shards;
            }
            Ok(Err(Failure { message, .. })) => message,
            Err(_) => "DynamoDB did not answer in time.".to_owned(),
        };
        tracing::warn!(%tenant, reason, "event_shards could not be read; the events go into shard 0");
        EventShards::ONE
    }
}
