//! What daily checks have found, in memory.

use super::{FakeTenant, Fakes, Op, version};
use crate::{
    failure::Failure,
    outbox::Announcement,
    ports::{Conditional, Connections},
    records::ConnectionCheck,
    tenant::TenantId,
};

impl FakeTenant {
    fn last_check(&self) -> Option<&ConnectionCheck> {
        self.verification.as_ref().filter(|_| !self.unreadable_verification)
    }
}

impl Connections for Fakes {
    async fn last_checks(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, Option<ConnectionCheck>)>, Failure> {
        for tenant in tenants {
            self.pass(Op::LastChecks, tenant.as_str()).await?;
        }
        let state = self.state();
        let last = |id: &TenantId| state.tenants.get(id.as_str()).and_then(FakeTenant::last_check).cloned();
        Ok(tenants.iter().map(|id| (id.clone(), last(id))).collect())
    }

    async fn save_check(
        &self,
        tenant: &TenantId,
        as_read: Option<&ConnectionCheck>,
        found: &ConnectionCheck,
        announcement: Option<&Announcement>,
    ) -> Result<Conditional, Failure> {
        self.pass(Op::KeepCheck, tenant.as_str()).await?;
        let mut state = self.state();
        let Some(stored) = state.tenants.get_mut(tenant.as_str()) else { return Ok(Conditional::ConditionFailed) };
        let is_connected = stored.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some());
        let same_version = version(stored.config.as_ref()) == Some(found.version);
        if !is_connected || !same_version || stored.last_check() != as_read {
            return Ok(Conditional::ConditionFailed);
        }
        stored.verification = Some(found.clone());
        stored.unreadable_verification = false;
        announcement.into_iter().for_each(|announcement| state.announce(announcement));
        Ok(Conditional::Written)
    }
}
