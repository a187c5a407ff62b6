//! The tenants' records in memory, as the export sees them.

use chrono::{DateTime, Utc};

use super::{Memory, Op};
use crate::{
    failure::Failure,
    ports::{Conditional, Due, Tenants},
    record::NewEvent,
    records::{Doubt, Receipt, ReceiptDigest, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};

impl Tenants for Memory {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<Due>, Failure> {
        self.pass(Op::Due, &shard.to_string()).await?;
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
        self.pass(Op::AnyConnected, &shard.to_string()).await?;
        let mut watermarks: Vec<_> =
            self.state().tenants.values().filter_map(|tenant| tenant.watermark.clone()).collect();
        watermarks.retain(|watermark| watermark.next_due.is_some());
        Ok(watermarks.into_iter().any(|watermark| watermark.due_shard == Some(shard.to_string())))
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        for tenant in tenants {
            self.pass(Op::Load, tenant.as_str()).await?;
        }
        let state = self.state();
        Ok(tenants.iter().map(|tenant| (tenant.clone(), state.records(tenant))).collect())
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        after: Schedule,
        receipt: &Receipt,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::Commit, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        if !stored.is_as_read(config, as_read) {
            return Ok(Conditional::LostRace);
        }
        stored.watermark = Some(as_read.after(receipt, after));
        stored.last_success_at = Some(receipt.exported_at);
        stored.last_error = receipt.loss().map(|loss| (loss, receipt.exported_at));
        stored.consecutive_failures = 0;
        (stored.failing_since, stored.renewed_at) = (None, None);
        stored.receipts.insert(receipt.window.to, receipt.clone());
        news.map(|event| state.record(event));
        Ok(Conditional::Written)
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        as_read: &StoredWatermark,
        failure: &Failure,
        at: DateTime<Utc>,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::RecordFailure, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        if !stored.watermark.as_ref().is_some_and(|stored| stored.stands_where(as_read)) {
            return Ok(Conditional::LostRace);
        }
        stored.last_error = Some((failure.clone(), at));
        stored.consecutive_failures += 1;
        stored.failing_since.get_or_insert(at);
        news.map(|event| state.record(event));
        Ok(Conditional::Written)
    }

    async fn renew(&self, tenant: &TenantId, at: DateTime<Utc>) -> Result<(), Failure> {
        self.pass(Op::Renew, tenant.as_str()).await?;
        let mut state = self.state();
        let failing = state.tenants.get_mut(tenant.as_str()).filter(|stored| stored.failing_since.is_some());
        if let Some(stored) = failing {
            stored.renewed_at = Some(at);
        }
        Ok(())
    }

    async fn note_told(&self, tenant: &TenantId, told: Option<&str>) -> Result<(), Failure> {
        self.pass(Op::NoteTold, tenant.as_str()).await?;
        let mut state = self.state();
        if let Some(stored) = state.tenants.get_mut(tenant.as_str()).filter(|stored| stored.watermark.is_some()) {
            stored.told = told.map(str::to_owned);
        }
        Ok(())
    }

    async fn keep_progress(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        progress: &str,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::KeepProgress, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        if !stored.is_as_read(config, as_read) {
            return Ok(Conditional::LostRace);
        }
        stored.watermark = Some(StoredWatermark { progress: Some(progress.to_owned()), ..as_read.clone() });
        Ok(Conditional::Written)
    }

    async fn disturb(&self, tenant: &TenantId, progress: Option<&str>) -> Result<Conditional, Failure> {
        self.pass(Op::Disturb, tenant.as_str()).await?;
        if let Some(watermark) = self.state().tenants.get_mut(tenant.as_str()).and_then(|t| t.watermark.as_mut()) {
            if progress.is_some() && watermark.progress.as_deref() != progress {
                return Ok(Conditional::LostRace);
            }
            let before = watermark.disturbed.as_deref().and_then(|count| count.parse().ok()).unwrap_or(0_u64);
            watermark.disturbed = Some((before + 1).to_string());
            watermark.progress = progress.map(str::to_owned);
        }
        Ok(Conditional::Written)
    }

    async fn receipt(&self, tenant: &TenantId, window_end: DateTime<Utc>) -> Result<Option<ReceiptDigest>, Failure> {
        self.pass(Op::Receipt, tenant.as_str()).await?;
        let state = self.state();
        let stored = state.tenants.get(tenant.as_str()).and_then(|tenant| tenant.receipts.get(&window_end));
        Ok(stored.map(ReceiptDigest::of))
    }

    async fn doubt(&self, tenant: &TenantId, doubt: Doubt) -> Result<(), Failure> {
        self.pass(Op::Doubt, tenant.as_str()).await?;
        if let Some(tenant) = self.state().tenants.get_mut(tenant.as_str()).filter(|it| it.watermark.is_some()) {
            tenant.doubts.insert(doubt);
        }
        Ok(())
    }

    async fn settle(&self, tenant: &TenantId, doubts: &[Doubt]) -> Result<(), Failure> {
        self.pass(Op::Settle, tenant.as_str()).await?;
        if let Some(tenant) = self.state().tenants.get_mut(tenant.as_str()) {
            tenant.doubts.retain(|doubt| !doubts.contains(doubt));
        }
        Ok(())
    }

    async fn amend_receipt(
        &self,
        tenant: &TenantId,
        as_read: &ReceiptDigest,
        receipt: &Receipt,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::AmendReceipt, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.get_mut(tenant.as_str()).and_then(|t| t.receipts.get_mut(&receipt.window.to));
        match stored {
            Some(stored) if ReceiptDigest::of(stored) == *as_read => {
                *stored = receipt.clone();
                Ok(Conditional::Written)
            }
            _ => Ok(Conditional::LostRace),
        }
    }
}
