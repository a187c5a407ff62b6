//! A verification's request and its answer: five steps, each with a finding and a hint.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    failure::{Code, Failure, Party},
    settings::Draft,
};

/// A connection to verify, saved or not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "RequestFields", into = "RequestFields")]
pub struct VerificationRequest {
    pub tenant_id: String,
    /// Checked by the rules of saved settings; frequency, format and the like are ignored. Without a bucket only the role
    /// is verified. A pending external ID is read from the tenant's record.
    pub draft: Draft,
}

/// The request's fields as JSON: what the console sends and the exporter reads.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestFields {
    tenant_id: String,
    role_arn: Option<String>,
    external_id: Option<String>,
    bucket: Option<String>,
    region: Option<String>,
    prefix: Option<String>,
    encryption: Option<String>,
    kms_key_arn: Option<String>,
    bucket_owner: Option<String>,
}

impl From<RequestFields> for VerificationRequest {
    fn from(fields: RequestFields) -> Self {
        let RequestFields {
            tenant_id,
            role_arn,
            external_id,
            bucket,
            region,
            prefix,
            encryption,
            kms_key_arn,
            bucket_owner,
        } = fields;
        let draft = Draft {
            role_arn,
            external_id,
            bucket,
            region,
            prefix,
            encryption,
            kms_key_arn,
            bucket_owner,
            pending_external_id: None,
            frequency_hours: None,
            format: None,
            compression: None,
            schema: None,
            event_shards: None,
            version: None,
        };
        Self { tenant_id, draft }
    }
}

impl From<VerificationRequest> for RequestFields {
    fn from(VerificationRequest { tenant_id, draft }: VerificationRequest) -> Self {
        let Draft {
            role_arn,
            external_id,
            bucket,
            region,
            prefix,
            encryption,
            kms_key_arn,
            bucket_owner,
            pending_external_id: _,
            frequency_hours: _,
            format: _,
            compression: _,
            schema: _,
            event_shards: _,
            version: _,
        } = draft;
        Self { tenant_id, role_arn, external_id, bucket, region, prefix, encryption, kms_key_arn, bucket_owner }
    }
}

/// The hint of an inconclusive step.
const TRY_AGAIN: &str = "Change nothing yet: try again in a minute. If it stays like this, ask the platform's operators: the exporter's log has the reason.";

/// In the order of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// The role can be assumed with the external ID.
    AssumeRole,
    /// The role can be assumed neither with wrong external IDs nor without one.
    ExternalIdEnforced,
    /// The bucket is in the region of the settings.
    Region,
    /// A delivery can be stored.
    PutObject,
    /// The role has no right that a delivery doesn't need.
    LeastPrivilege,
}

impl StepName {
    pub const ALL: [Self; 5] =
        [Self::AssumeRole, Self::ExternalIdEnforced, Self::Region, Self::PutObject, Self::LeastPrivilege];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    Passed,
    /// Deliveries would fail or be unsafe.
    Failed,
    /// Deliveries would work, but something should be corrected.
    Warning,
    /// AWS gave no clear answer.
    Inconclusive,
    /// Not tried.
    Skipped,
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for StepStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub step: StepName,
    pub status: StepStatus,
    /// Absent if the step passed or was skipped.
    pub code: Option<Code>,
    pub message: String,
    /// Names the party that must act and what to do; absent if the step passed or was skipped.
    pub hint: Option<String>,
    /// The party that must act; absent if the step passed or was skipped.
    pub party: Option<Party>,
}

impl Step {
    pub(crate) fn pass(step: StepName, message: impl Into<String>) -> Self {
        Self { step, status: StepStatus::Passed, code: None, message: message.into(), hint: None, party: None }
    }

    pub(crate) fn skip(step: StepName, message: impl Into<String>) -> Self {
        Self { step, status: StepStatus::Skipped, code: None, message: message.into(), hint: None, party: None }
    }

    /// A finding that a party must act on.
    pub(crate) fn finding(step: StepName, status: StepStatus, failure: &Failure) -> Self {
        let addressee = match failure.party {
            Party::Customer => "How to fix it",
            Party::Platform => "For the platform's operators",
        };
        let hint = Some(format!("{addressee}: {}", failure.code.hint()));
        let (code, party) = (Some(failure.code), Some(failure.party));
        Self { step, status, code, message: failure.message.clone(), hint, party }
    }

    pub(crate) fn inconclusive(step: StepName, failure: &Failure) -> Self {
        let (code, party) = (Some(failure.code), Some(failure.party));
        let (status, hint) = (StepStatus::Inconclusive, Some(TRY_AGAIN.to_owned()));
        Self { step, status, code, message: failure.message.clone(), hint, party }
    }

    /// A failed step, or an inconclusive one if the failure may pass by itself.
    pub(crate) fn from_failure(step: StepName, failure: &Failure) -> Self {
        match failure.code {
            Code::Throttled | Code::KmsThrottled | Code::Unavailable | Code::CredentialsExpired => {
                Self::inconclusive(step, failure)
            }
            _ => Self::finding(step, StepStatus::Failed, failure),
        }
    }

    pub fn passed(&self) -> bool {
        self.status == StepStatus::Passed
    }
}

/// The answer of the function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// All five steps in order.
    pub steps: Vec<Step>,
}

impl Verification {
    /// Whether deliveries would work and be safe; warnings are allowed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.status, StepStatus::Passed | StepStatus::Warning))
    }

    /// Returns the first step that forbids using the role: one of the two steps about it that has not passed. Steps
    /// about the bucket don't count.
    pub fn blocking_role_step(&self) -> Option<&Step> {
        let role_steps = [StepName::AssumeRole, StepName::ExternalIdEnforced];
        self.steps.iter().find(|step| role_steps.contains(&step.step) && !step.passed())
    }
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// Returns the answer, with the remaining steps skipped.
    pub(crate) fn skip_remaining(mut self, reason: &str) -> Verification {
        let remaining = StepName::ALL.into_iter().skip(self.0.len());
        self.0.extend(remaining.map(|name| Step::skip(name, reason)));
        Verification { steps: self.0 }
    }

    /// Returns the answer with its last step.
    pub(crate) fn finish_with(mut self, step: Step) -> Verification {
        self.0.push(step);
        Verification { steps: self.0 }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;

    fn code_spans(text: &str) -> Vec<&str> {
        text.split('`').skip(1).step_by(2).collect()
    }

    /// Serde's error names all variants.
    fn variants<T: DeserializeOwned + fmt::Debug>() -> String {
        let error = serde_json::from_str::<T>(r#""no variant""#).unwrap_err().to_string();
        error.split_once("expected one of").unwrap().1.to_owned()
    }

    #[test]
    fn the_documented_steps_and_statuses_are_exactly_these() {
        let page = include_str!("../../../docs/verification.md");
        let (_, section) = page.split_once("\n### The five steps\n").unwrap();
        let (steps, statuses) = section.split_once("\n| status |").unwrap();
        let first_spans = |table: &'static str| -> Vec<_> {
            table.lines().filter(|line| line.starts_with("| `")).map(|row| code_spans(row)[0]).collect()
        };
        assert_eq!(first_spans(steps), StepName::ALL.map(|step| step.to_string()));
        assert_eq!(first_spans(steps), code_spans(&variants::<StepName>()));
        let statuses = statuses.split("\n\n").next().unwrap();
        assert_eq!(first_spans(statuses), code_spans(&variants::<StepStatus>()));
    }
}
