//! The tenants' records in memory, as the console reads and writes them.

use chrono::{DateTime, Utc};

use super::{FakeTenant, Fakes, Op, version};
use crate::{
    failure::Failure,
    new_event::NewEvent,
    outbox::Announcement,
    ports::{Conditional, Repairs, Rotations, Settings, SlotKind, being_erased},
    records::{Replay, StoredReceipt, StoredWatermark, TenantRecords},
    schedule::Schedule,
    settings::{Draft, TenantConfig},
    setup_draft::SetupDraft,
    tenant::{ExternalId, ExternalIds, RoleArn, TenantId},
    timestamp,
};

impl Settings for Fakes {
    async fn records(&self, tenant: &TenantId) -> Result<TenantRecords, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        Ok(self.state().records(tenant))
    }

    async fn external_id(
        &self,
        tenant: &TenantId,
        candidate: &ExternalId,
        viewed: &NewEvent,
    ) -> Result<String, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        if stored.erasing_since.is_some() {
            return Err(being_erased());
        }
        let config = stored.config.get_or_insert_default();
        if let Some(stored) = &config.external_id {
            return Ok(stored.clone());
        }
        config.external_id = Some(candidate.to_string());
        state.record(viewed);
        Ok(candidate.to_string())
    }

    async fn store_role(
        &self,
        tenant: &TenantId,
        role: Option<&RoleArn>,
        version: u64,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let Some(config) = stored.config.as_mut().filter(|config| config.external_id.is_some()) else {
            return Ok(Conditional::ConditionFailed);
        };
        if stored.watermark.is_some() || super::version(Some(config)) != Some(version) {
            return Ok(Conditional::ConditionFailed);
        }
        config.role_arn = role.map(|role| role.as_str().to_owned());
        config.version = Some((version + 1).to_string());
        state.announce(announcement);
        Ok(Conditional::Written)
    }

    async fn save_setup_draft(
        &self,
        tenant: &TenantId,
        version: u64,
        draft: &SetupDraft,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        let has_external_id = stored.config.as_ref().is_some_and(|config| config.external_id.is_some());
        if !has_external_id || super::version(stored.config.as_ref()) != Some(version) {
            return Ok(Conditional::ConditionFailed);
        }
        stored.setup_draft = Some(draft.clone());
        Ok(Conditional::Written)
    }

    async fn save(
        &self,
        config: &TenantConfig,
        as_read: Option<&StoredWatermark>,
        schedule: Schedule,
        is_verified: bool,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Settings, config.tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(config.tenant.to_string()).or_default();
        let unchanged = match (&stored.watermark, as_read) {
            (Some(stored), Some(as_read)) => stored.is_at_same_position(as_read),
            (stored, as_read) => stored.is_none() && as_read.is_none(),
        };
        let shards = stored.config.as_ref().and_then(|config| config.event_shards.as_ref());
        let fewer = shards.is_some_and(|text| text.parse().is_ok_and(|stored| config.event_shards.count() < stored));
        let is_leaving = stored.has_revision_before(announcement.final_deliveries.as_ref());
        let begins_elsewhere = as_read.is_some_and(|as_read| {
            as_read.exported_until.as_deref() != Some(timestamp::seconds(schedule.exported_until).as_str())
        });
        let may_begin = !begins_elsewhere || (stored.lease.is_none() && !stored.records().has_begun());
        let same_version = version(stored.config.as_ref()).unwrap_or(0) == config.version;
        if !unchanged || !may_begin || !is_leaving || fewer || !same_version || stored.erasing_since.is_some() {
            return Ok(Conditional::ConditionFailed);
        }
        let before = stored.config.take().unwrap_or_default();
        let after = Draft::from_config(config, config.version + 1);
        let (external_id, pending_external_id) = (before.external_id.or(after.external_id), before.pending_external_id);
        stored.config = Some(Draft { external_id, pending_external_id, ..after });
        stored.setup_draft = None;
        stored.verified_version = is_verified.then_some(config.version + 1);
        let StoredWatermark { exported_until, next_due, due_shard, .. } =
            StoredWatermark::connected(&config.tenant, schedule);
        let before = stored.watermark.take().unwrap_or_default();
        stored.watermark = Some(StoredWatermark { exported_until, next_due, due_shard, ..before });
        stored.backoff_reset_at = Some(announcement.event.stamp.at);
        state.announce(announcement);
        Ok(Conditional::Written)
    }

    async fn disconnect(
        &self,
        tenant: &TenantId,
        version: u64,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let Some(stored) = state.tenants.get_mut(tenant.as_str()) else { return Ok(Conditional::ConditionFailed) };
        let is_leaving = stored.has_revision_before(announcement.final_deliveries.as_ref());
        let watermark = stored.watermark.as_mut().filter(|watermark| watermark.due_shard.is_some());
        let (Some(watermark), Some(config)) = (watermark, stored.config.as_mut()) else {
            return Ok(Conditional::ConditionFailed);
        };
        if !is_leaving || super::version(Some(config)) != Some(version) {
            return Ok(Conditional::ConditionFailed);
        }
        (watermark.due_shard, watermark.signing_failed_since) = (None, None);
        config.version = Some((version + 1).to_string());
        state.announce(announcement);
        Ok(Conditional::Written)
    }

    async fn receipts(
        &self,
        tenant: &TenantId,
        before: Option<DateTime<Utc>>,
        most: usize,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let state = self.state();
        let receipts = state.tenants.get(tenant.as_str()).into_iter().flat_map(|tenant| tenant.receipts.values().rev());
        let earlier = receipts.filter(|receipt| before.is_none_or(|before| receipt.window.to < before));
        Ok(earlier.take(most).map(StoredReceipt::from_receipt).collect())
    }

    async fn replayed_receipts(
        &self,
        tenant: &TenantId,
        first: DateTime<Utc>,
        last: DateTime<Utc>,
    ) -> Result<Vec<StoredReceipt>, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let state = self.state();
        let receipts = state.tenants.get(tenant.as_str()).into_iter().flat_map(|tenant| tenant.replayed.values());
        let between = receipts.filter(|receipt| (first..=last).contains(&receipt.window.to));
        Ok(between.map(StoredReceipt::from_receipt).collect())
    }

    async fn request_replay(
        &self,
        tenant: &TenantId,
        after: &Replay,
        announcement: Option<&Announcement>,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let stored = state.tenants.entry(tenant.to_string()).or_default();
        if stored.config.is_none() || stored.erasing_since.is_some() || !stored.has_replay_before(after) {
            return Ok(Conditional::ConditionFailed);
        }
        stored.replay = Some(after.clone());
        announcement.into_iter().for_each(|announcement| state.announce(announcement));
        Ok(Conditional::Written)
    }

    async fn take_slot(
        &self,
        tenant: &TenantId,
        kind: SlotKind,
        since: DateTime<Utc>,
        most: u32,
    ) -> Result<bool, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let mut state = self.state();
        let taken = state.slots.entry((tenant.clone(), kind, since)).or_default();
        *taken += 1;
        Ok(*taken <= most)
    }
}

impl Repairs for Fakes {
    async fn reset_backoff(&self, tenant: &TenantId, at: DateTime<Utc>) -> Result<(), Failure> {
        self.inject(Op::ResetBackoff, tenant.as_str()).await?;
        let mut state = self.state();
        if let Some(stored) = state.tenants.get_mut(tenant.as_str()).filter(|stored| stored.failing_since.is_some()) {
            stored.backoff_reset_at = Some(at);
        }
        Ok(())
    }

    async fn mark_verified(&self, tenant: &TenantId, version: u64) -> Result<Conditional, Failure> {
        self.inject(Op::MarkVerified, tenant.as_str()).await?;
        let mut state = self.state();
        match state.tenants.get_mut(tenant.as_str()) {
            Some(FakeTenant { config: Some(config), verified_version, .. })
                if config.role_arn.is_some() && super::version(Some(config)) == Some(version) =>
            {
                *verified_version = Some(version);
                Ok(Conditional::Written)
            }
            _ => Ok(Conditional::ConditionFailed),
        }
    }
}

impl Rotations for Fakes {
    async fn replace_external_ids(
        &self,
        tenant: &TenantId,
        as_read: &ExternalIds,
        after: &ExternalIds,
        role: Option<&RoleArn>,
        announcement: &Announcement,
    ) -> Result<Conditional, Failure> {
        self.inject(Op::Settings, tenant.as_str()).await?;
        let text = |ids: &ExternalIds| (Some(ids.current.to_string()), ids.pending.as_ref().map(ToString::to_string));
        let mut state = self.state();
        let config = state.tenants.get_mut(tenant.as_str()).and_then(|stored| stored.config.as_mut());
        let is_as_read = |it: &&mut Draft| (it.external_id.clone(), it.pending_external_id.clone()) == text(as_read);
        let has_other_role = |it: &Draft| {
            let stored = it.role_arn.as_deref();
            stored.is_some_and(|stored| role.is_some_and(|role| role.as_str() != stored))
        };
        let Some(config) = config.filter(is_as_read).filter(|it| !has_other_role(it)) else {
            return Ok(Conditional::ConditionFailed);
        };
        (config.external_id, config.pending_external_id) = text(after);
        state.announce(announcement);
        Ok(Conditional::Written)
    }
}
