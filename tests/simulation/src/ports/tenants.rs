//! The tenants' records with faults around them.

use audit_log_core::{
    failure::Failure,
    ports::{Conditional, Due, Tenants},
    record::NewEvent,
    records::{Doubt, Receipt, ReceiptDigest, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::TenantConfig,
    tenant::{DueShard, TenantId},
    timestamp,
};
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};

use super::{Ports, lock};
use crate::bugs;

impl Tenants for Ports {
    async fn due(&self, shard: DueShard, tick: DateTime<Utc>) -> Result<Vec<Due>, Failure> {
        // Sixteen calls a run: only some of them go wrong.
        let due = if self.world.roll(8) == 0 {
            self.reads("due", &shard.to_string(), self.memory().due(shard, tick)).await
        } else {
            self.memory().due(shard, tick).await
        };
        match &due {
            Ok(due) => lock(&self.listed).extend(due.iter().map(|due| due.tenant.clone())),
            Err(_) => *lock(&self.unread) += 1,
        }
        due
    }

    async fn any_connected(&self, shard: DueShard) -> Result<bool, Failure> {
        self.memory().any_connected(shard).await
    }

    async fn load(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, TenantRecords)>, Failure> {
        let names: Vec<_> = tenants.iter().map(TenantId::as_str).collect();
        let load = async {
            let loaded = self.memory().load(tenants).await;
            self.note_patience(tenants);
            loaded
        };
        self.reads("load", &names.join(" "), load).await
    }

    async fn commit(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        after: Schedule,
        receipt: &Receipt,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        let of = format!("{} {} {} objects", config.tenant, receipt.window, receipt.objects.len());
        if planted!(ProgressBeforePut) {
            bugs::put_deferred(self).await;
        }
        let (memory, config, as_read) = (self.memory().clone(), config.clone(), as_read.clone());
        let (config, as_read) = bugs::commit_condition(&self.world, config, as_read);
        let (receipt, news) = (receipt.clone(), news.cloned());
        let call = move || {
            let (memory, config, as_read) = (memory.clone(), config.clone(), as_read.clone());
            let (receipt, news) = (receipt.clone(), news.clone());
            async move { memory.commit(&config, &as_read, after, &receipt, news.as_ref()).await }
        };
        let result = self.writes("commit", &of, call).await;
        bugs::put_deferred(self).await;
        result
    }

    async fn record_failure(
        &self,
        tenant: &TenantId,
        as_read: &StoredWatermark,
        failure: &Failure,
        at: DateTime<Utc>,
        news: Option<&NewEvent>,
    ) -> Result<Conditional, Failure> {
        let of = format!("{tenant} {} {}", failure.code, failure.message);
        let (memory, tenant, as_read) = (self.memory().clone(), tenant.clone(), as_read.clone());
        let (failure, news) = (failure.clone(), news.cloned());
        let call = move || {
            let (memory, tenant, as_read) = (memory.clone(), tenant.clone(), as_read.clone());
            let (failure, news) = (failure.clone(), news.clone());
            async move {
                bugs::failure_moves_the_watermark(&memory, &tenant);
                memory.record_failure(&tenant, &as_read, &failure, at, news.as_ref()).await
            }
        };
        self.writes("note failure", &of, call).await
    }

    async fn renew(&self, tenant: &TenantId, at: DateTime<Utc>) -> Result<(), Failure> {
        self.memory().renew(tenant, at).await
    }

    async fn note_told(&self, tenant: &TenantId, told: Option<&str>) -> Result<(), Failure> {
        let (memory, of, told) = (self.memory().clone(), tenant.clone(), told.map(str::to_owned));
        let call = move || {
            let (memory, of, told) = (memory.clone(), of.clone(), told.clone());
            async move { memory.note_told(&of, told.as_deref()).await }
        };
        let noted = self.writes("note told", tenant.as_str(), call).await;
        if noted.is_err() {
            self.world.facts().unheard.insert(tenant.to_string());
        }
        self.world.facts().unnoted.remove(&(tenant.to_string(), self.run));
        noted
    }

    async fn keep_progress(
        &self,
        config: &TenantConfig,
        as_read: &StoredWatermark,
        progress: &str,
    ) -> Result<Conditional, Failure> {
        let of = config.tenant.to_string();
        if planted!(WatermarkBeforePut) {
            bugs::put_deferred(self).await;
        }
        let (memory, config) = (self.memory().clone(), config.clone());
        let (as_read, progress) = (as_read.clone(), progress.to_owned());
        let (config, as_read) = bugs::progress_condition(&self.world, config, as_read);
        let call = move || {
            let (memory, config) = (memory.clone(), config.clone());
            let (as_read, progress) = (as_read.clone(), progress.clone());
            async move { memory.keep_progress(&config, &as_read, &progress).await }
        };
        let result = self.writes("keep progress", &of, call).await;
        bugs::put_deferred(self).await;
        result
    }

    async fn disturb(&self, tenant: &TenantId, progress: Option<&str>) -> Result<Conditional, Failure> {
        let (memory, of, progress) = (self.memory().clone(), tenant.clone(), progress.map(str::to_owned));
        let call = move || {
            let (memory, of, progress) = (memory.clone(), of.clone(), progress.clone());
            async move { bugs::disturb(&memory, &of, progress.as_deref()).await }
        };
        self.writes("disturb", tenant.as_str(), call).await
    }

    async fn receipt(&self, tenant: &TenantId, window_end: DateTime<Utc>) -> Result<Option<ReceiptDigest>, Failure> {
        let of = format!("{tenant} {}", timestamp::seconds(window_end));
        let receipt = self.reads("receipt", &of, self.memory().receipt(tenant, window_end)).await?;
        self.repairs.store(receipt.is_some(), Ordering::Relaxed);
        Ok(receipt)
    }

    async fn doubt(&self, tenant: &TenantId, doubt: Doubt) -> Result<(), Failure> {
        let (memory, tenant) = (self.memory().clone(), tenant.clone());
        let of = format!("{tenant} {doubt}");
        let call = move || {
            let (memory, tenant) = (memory.clone(), tenant.clone());
            async move { memory.doubt(&tenant, doubt).await }
        };
        self.writes("doubt", &of, call).await
    }

    async fn settle(&self, tenant: &TenantId, doubts: &[Doubt]) -> Result<(), Failure> {
        let (memory, tenant, doubts) = (self.memory().clone(), tenant.clone(), doubts.to_vec());
        let of = tenant.to_string();
        let call = move || {
            let (memory, tenant, doubts) = (memory.clone(), tenant.clone(), doubts.clone());
            async move { memory.settle(&tenant, &doubts).await }
        };
        self.repairs.store(false, Ordering::Relaxed);
        self.writes("settle", &of, call).await
    }

    async fn amend_receipt(
        &self,
        tenant: &TenantId,
        as_read: &ReceiptDigest,
        receipt: &Receipt,
    ) -> Result<Conditional, Failure> {
        let of = format!("{tenant} {}", receipt.window);
        let (memory, tenant) = (self.memory().clone(), tenant.clone());
        let (as_read, receipt) = (as_read.clone(), receipt.clone());
        let call = move || {
            let (memory, tenant) = (memory.clone(), tenant.clone());
            let (as_read, receipt) = (as_read.clone(), receipt.clone());
            async move { memory.amend_receipt(&tenant, &as_read, &receipt).await }
        };
        if planted!(AmendDoesNothing) {
            return Ok(Conditional::Written);
        }
        self.writes("amend receipt", &of, call).await
    }
}
