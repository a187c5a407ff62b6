//! Verifying a connection in memory: every step passes unless something else was planned for it.

use super::{Fakes, Op};
use crate::{
    failure::Failure,
    ports::Verifier,
    verification::{Step, StepName, StepStatus, Verification, VerificationRequest},
};

impl Verifier for Fakes {
    async fn verify(&self, request: &VerificationRequest) -> Result<Verification, Failure> {
        self.pass(Op::Verify, &request.tenant_id).await?;
        let mut state = self.state();
        state.verified.push(request.clone());
        let without_bucket = request.draft.bucket.is_none();
        let step = |name| {
            let about_the_bucket = !matches!(name, StepName::AssumeRole | StepName::ExternalIdEnforced);
            let status = if without_bucket && about_the_bucket { StepStatus::Skipped } else { StepStatus::Passed };
            let message = "As planned.".to_owned();
            let passed = || Step { step: name, status, code: None, message, hint: None, party: None };
            state.findings.get(&name).cloned().unwrap_or_else(passed)
        };
        Ok(Verification { steps: StepName::ALL.map(step).to_vec() })
    }
}
