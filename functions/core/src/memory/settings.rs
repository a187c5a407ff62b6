//! The tenants' records in memory, as whoever connects a tenant sees them.

use chrono::{DateTime, Utc};

use super::{Memory, Op, version};
use crate::{
    failure::Failure,
    ports::{Conditional, Settings},
    record::NewEvent,
    records::{StoredReceipt, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, TenantConfig},
    tenant::{ExternalId, RoleArn, TenantId},
};

impl Settings for Memory {
    async fn records(&self, tenant: &TenantId) -> Result<TenantRecords, Failure> {
        self.pass(Op::Settings, tenant.as_str()).await?;
        Ok(self.state().records(tenant))
    }

    async fn external_id(&self, tenant: &TenantId, candidate: &ExternalId) -> Result<String, Failure> {
        self.pass(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let config = state.tenants.entry(tenant.to_string()).or_default().config.get_or_insert_default();
        Ok(config.external_id.get_or_insert_with(|| candidate.to_string()).clone())
    }

    async fn store_role(
        &self,
        tenant: &TenantId,
        role: Option<&RoleArn>,
        version: u64,
        news: &NewEvent,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let Some(config) = stored.config.as_mut().filter(|config| config.external_id.is_some()) else {
            return Ok(Conditional::LostRace);
        };
        if stored.watermark.is_some() || super::version(Some(config)) != Some(version) {
            return Ok(Conditional::LostRace);
        }
        config.role_arn = role.map(|role| role.as_str().to_owned());
        config.version = Some((version + 1).to_string());
        state.record(news);
        Ok(Conditional::Written)
    }

    async fn save(
        &self,
        config: &TenantConfig,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
        news: &NewEvent,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::Settings, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        let unchanged = match (&stored.watermark, as_read) {
            (Some(stored), Some(as_read)) => stored.stands_where(as_read),
            (stored, as_read) => stored.is_none() && as_read.is_none(),
        };
        let shards = stored.config.as_ref().and_then(|config| config.event_shards.as_ref());
        let fewer = shards.is_some_and(|text| text.parse().is_ok_and(|stored| config.event_shards.count() < stored));
        if !unchanged || fewer || version(stored.config.as_ref()).unwrap_or(0) != config.version {
            return Ok(Conditional::LostRace);
        }
        stored.config = Some(Draft::of(config, config.version + 1));
        let StoredWatermark { disturbed, progress, tail, .. } = stored.watermark.take().unwrap_or_default();
        let connected = StoredWatermark::connected(&config.tenant, schedule);
        stored.watermark = Some(StoredWatermark { disturbed, progress, tail, ..connected });
        if !planted!(SaveLeavesTheWait) {
            stored.renewed_at = Some(news.stamp.at);
        }
        state.record(news);
        Ok(Conditional::Written)
    }

    async fn disconnect(&self, tenant: &TenantId, news: &NewEvent) -> Result<Conditional, Failure> {
        self.pass(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let watermark = state.tenants.get_mut(tenant.as_str()).and_then(|tenant| tenant.watermark.as_mut());
        match watermark.and_then(|watermark| watermark.due_shard.take()) {
            None => Ok(Conditional::LostRace),
            Some(_) => {
                state.record(news);
                Ok(Conditional::Written)
            }
        }
    }

    async fn receipts(
        &self,
        tenant: &TenantId,
        before: Option<DateTime<Utc>>,
        most: usize,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        self.pass(Op::Settings, tenant.as_str()).await?;
        let state = self.state();
        let receipts = state.tenants.get(tenant.as_str()).into_iter().flat_map(|tenant| tenant.receipts.values().rev());
        let earlier = receipts.filter(|receipt| before.is_none_or(|before| receipt.window.to < before));
        Ok(earlier.take(most).map(StoredReceipt::of).collect())
    }

    async fn take_turn(&self, tenant: &TenantId, since: DateTime<Utc>, most: u32) -> Result<bool, Failure> {
        self.pass(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let taken = state.tenants.entry(tenant.to_string()).or_default().turns.entry(since).or_default();
        *taken += 1;
        Ok(*taken <= most)
    }
}
