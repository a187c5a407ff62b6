//! Verifications and connection checks in memory.

use super::{FakeTenant, Fakes, Op, version};
use crate::{
    failure::Failure,
    outbox::Announcement,
    ports::{Conditional, Connections, Verifier},
    records::ConnectionCheck,
    tenant::TenantId,
    verification::{Step, StepName, StepStatus, Verification, VerificationRequest},
};

impl FakeTenant {
    fn last_check(&self) -> Option<&ConnectionCheck> {
        self.connection_check.as_ref().filter(|_| !self.unreadable_connection_check)
    }
}

impl Connections for Fakes {
    async fn last_checks(&self, tenants: &[TenantId]) -> Result<Vec<(TenantId, Option<ConnectionCheck>)>, Failure> {
        for tenant in tenants {
            self.inject(Op::LastChecks, tenant.as_str()).await?;
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
        self.inject(Op::SaveCheck, tenant.as_str()).await?;
        let mut state = self.state();
        let Some(stored) = state.tenants.get_mut(tenant.as_str()) else { return Ok(Conditional::ConditionFailed) };
        let is_connected = stored.watermark.as_ref().is_some_and(|watermark| watermark.due_shard.is_some());
        let same_version = version(stored.config.as_ref()) == Some(found.version);
        if !is_connected || !same_version || stored.last_check() != as_read {
            return Ok(Conditional::ConditionFailed);
        }
        stored.connection_check = Some(found.clone());
        stored.unreadable_connection_check = false;
        announcement.into_iter().for_each(|announcement| state.announce(announcement));
        Ok(Conditional::Written)
    }
}

/// Every step passes unless the state has another finding.
impl Verifier for Fakes {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        self.inject(Op::Verify, &request.tenant_id).await?;
        let mut state = self.state();
        state.verified.push(request.clone());
        let without_bucket = request.draft.bucket.is_none();
        let step = |name| {
            let is_bucket_step = !matches!(name, StepName::AssumeRole | StepName::ExternalIdEnforced);
            let status = if without_bucket && is_bucket_step { StepStatus::Skipped } else { StepStatus::Passed };
            let message = "As planned.".to_owned();
            let passed = || Step { step: name, status, code: None, message, hint: None, party: None };
            state.findings.get(&name).cloned().unwrap_or_else(passed)
        };
        Ok(Verification { steps: StepName::ALL.map(step).to_vec() })
    }
}
