//! The tenants' records in memory, as the export reads and writes them.

use chrono::{DateTime, Utc};

use super::{Fakes, Op};
use crate::{
    failure::{Code, Failure},
    lease::Lease,
    outbox::Outbox,
    ports::{Acquisition, Commit, Conditional, Due, FailureRecord, Fence, FinalDeliveryWrite, Purpose, Tenants},
    records::{StoredWatermark, TenantRecords},
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};

impl Tenants for Fakes {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<Due>, Failure> {
        self.inject(Op::Due, &shard.to_string()).await?;
        let tick = timestamp::seconds(tick);
        let is_due = |watermark: &StoredWatermark| {
            watermark.due_shard == Some(shard.to_string())
                && watermark.next_due.as_ref().is_some_and(|due| *due <= tick)
        };
        let state = self.state();
        let watermarks = state.tenants.iter().filter_map(|(id, tenant)| Some((id, tenant.watermark.as_ref()?)));
        let due = watermarks.filter(|(_, watermark)| is_due(watermark));
        let entry = |(tenant, watermark): (&String, &StoredWatermark)| Due {
            tenant: tenant.clone(),
            next_due: watermark.next_due.clone().unwrap_or_default(),
        };
        Ok(due.map(entry).collect())
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        self.inject(Op::AnyConnected, &shard.to_string()).await?;
        let mut watermarks: Vec<_> =
            self.state().tenants.values().filter_map(|tenant| tenant.watermark.clone()).collect();
        watermarks.retain(|watermark| watermark.next_due.is_some());
        Ok(watermarks.into_iter().any(|watermark| watermark.due_shard == Some(shard.to_string())))
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        for tenant in tenants {
            self.inject(Op::Load, tenant.as_str()).await?;
        }
        let state = self.state();
        Ok(tenants.iter().map(|tenant| (tenant.clone(), state.records(tenant))).collect())
    }

    async fn final_deliveries(&self) -> Result<Vec<String>, Failure> {
        self.inject(Op::FinalDeliveries, "").await?;
        let state = self.state();
        let leaving = state.tenants.iter().filter(|(_, tenant)| !tenant.final_deliveries.is_empty());
        Ok(leaving.map(|(id, _)| id.clone()).collect())
    }

    async fn write_final_deliveries(
        &self,
        tenant: &TenantId,
        lease: &Lease,
        FinalDeliveryWrite { after, delivered_until, announcement }: FinalDeliveryWrite<'_>,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::WriteFinalDeliveries, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let is_held = stored.lease.as_ref().is_some_and(|stored| stored.token == lease.token);
        if !is_held || !stored.has_revision_before(Some(after)) {
            return Ok(Conditional::ConditionFailed);
        }
        stored.final_deliveries = after.clone();
        if let Some((watermark, until)) = stored.watermark.as_mut().zip(delivered_until) {
            watermark.final_delivered_until = Some(timestamp::seconds(until));
        }
        announcement.into_iter().for_each(|announcement| state.announce(announcement));
        Ok(Conditional::Written)
    }

    async fn acquire_lease(
        &self,
        tenant: &TenantId,
        purpose: Purpose<'_>,
        lease: &Lease,
        now: DateTime<Utc>,
    ) -> Result<Acquisition, Failure> {
        self.inject(Op::AcquireLease, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let other = stored.lease.as_ref().filter(|stored| stored.token != lease.token);
        if let Some(other) = other.filter(|other| other.excludes_others(now)) {
            return Ok(Acquisition::HeldUntil(other.until));
        }
        let TenantRecords { watermark, health, .. } = stored.records();
        let is_as_read = match purpose {
            Purpose::Export(as_read) => watermark.as_ref().is_some_and(|it| it.is_at_same_position(as_read)),
            Purpose::Publish | Purpose::FinalDelivery => true,
        };
        if !is_as_read {
            return Ok(Acquisition::ConditionFailed);
        }
        stored.lease = Some(lease.clone());
        Ok(Acquisition::Acquired(watermark.unwrap_or_default(), health))
    }

    async fn release_lease(&self, tenant: &TenantId, lease: &Lease) -> Result<(), Failure> {
        self.inject(Op::ReleaseLease, tenant.as_str()).await?;
        if let Some(stored) = self.state().tenants.get_mut(tenant.as_str()) {
            stored.lease.take_if(|stored| stored.token == lease.token);
        }
        Ok(())
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        Commit { after, receipt, announcement, releases }: Commit<'_>,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Commit, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        if !stored.is_as_read(config, fence) {
            return Ok(Conditional::ConditionFailed);
        }
        stored.watermark = stored.watermark.as_ref().map(|watermark| watermark.after(receipt, after));
        stored.last_success_at = Some(receipt.exported_at);
        stored.last_error = receipt.loss().map(|loss| (loss, receipt.exported_at));
        stored.consecutive_failures = 0;
        (stored.failing_since, stored.backoff_reset_at) = (None, None);
        stored.lease.take_if(|_| releases);
        stored.receipts.insert(receipt.window.to, receipt.clone());
        announcement.into_iter().for_each(|announcement| state.announce(announcement));
        Ok(Conditional::Written)
    }

    async fn save_checkpoint(
        &self,
        config: &TenantConfig,
        fence: Fence<'_>,
        checkpoint: &str,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::SaveCheckpoint, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        match stored.is_as_read(config, fence).then_some(stored.watermark.as_mut()).flatten() {
            Some(watermark) => {
                watermark.checkpoint = Some(checkpoint.to_owned());
                Ok(Conditional::Written)
            }
            None => Ok(Conditional::ConditionFailed),
        }
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        fence: Fence<'_>,
        FailureRecord { failure, at, announcement, releases }: FailureRecord<'_>,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::RecordFailure, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        if !stored.is_within(fence) {
            return Ok(Conditional::ConditionFailed);
        }
        stored.last_error = Some((failure.clone(), at));
        stored.consecutive_failures += 1;
        stored.failing_since.get_or_insert(at);
        if let Some(StoredWatermark { signing_failed_since, .. }) = &mut stored.watermark {
            match failure.code {
                Code::SigningFailed => {
                    signing_failed_since.get_or_insert(timestamp::seconds(at));
                }
                _ => *signing_failed_since = None,
            }
        }
        stored.lease.take_if(|_| releases);
        announcement.into_iter().for_each(|announcement| state.announce(announcement));
        Ok(Conditional::Written)
    }

    async fn outbox(&self, tenant: &TenantId) -> Result<Outbox, Failure> {
        self.inject(Op::Outbox, tenant.as_str()).await?;
        Ok(self.state().tenants.get(tenant.as_str()).map(|stored| stored.outbox.clone()).unwrap_or_default())
    }

    async fn remove_published(&self, tenant: &TenantId, _as_read: &Outbox, ids: &[String]) -> Result<(), Failure> {
        self.inject(Op::RemovePublished, tenant.as_str()).await?;
        if let Some(stored) = self.state().tenants.get_mut(tenant.as_str()) {
            stored.outbox.remove(ids);
        }
        Ok(())
    }
}
