//! The answer of a verification: five steps, each with what was found and who does what about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    failure::{Code, Failure, Party},
    settings::Draft,
};

/// A connection as it was asked for, saved or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerificationRequest {
    /// Whose connection it is to be.
    pub tenant_id: String,
    /// Its fields, under the very rules of saved settings; frequency, format and the like play no role. Without a
    /// bucket only the role is verified.
    pub draft: Draft,
}

/// What there is to do about an answer that is none.
const TRY_AGAIN: &str = "Nobody has to change anything yet: try again in a minute. If it stays like this, the platform's operators find the reason in the exporter's log.";

/// A step, in the order of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepName {
    /// The role lets itself be assumed with the external ID.
    AssumeRole,
    /// And neither with a wrong one nor without any.
    ExternalIdEnforced,
    /// The bucket is in the region that the settings say.
    Region,
    /// A delivery can be stored.
    PutObject,
    /// The role can do nothing beyond that.
    LeastPrivilege,
}

impl StepName {
    /// All five, in order.
    pub const ALL: [Self; 5] =
        [Self::AssumeRole, Self::ExternalIdEnforced, Self::Region, Self::PutObject, Self::LeastPrivilege];
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// It is as it should be.
    Passed,
    /// It isn't, and deliveries would fail or be unsafe.
    Failed,
    /// It isn't, but deliveries would work.
    Warning,
    /// AWS gave no clear answer; this proves nothing either way.
    Inconclusive,
    /// It was not tried.
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

/// One step of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which one.
    pub step: StepName,
    /// How it ended.
    pub status: StepStatus,
    /// A stable code, where something was found.
    pub code: Option<Code>,
    /// What was found, in plain words.
    pub message: String,
    /// Who does what about it.
    pub hint: Option<String>,
    /// Who has to act, where that is not the code's own party. The answer has it in the hint alone.
    #[serde(skip)]
    pub party: Option<Party>,
}

impl Step {
    pub(crate) fn pass(step: StepName, message: impl Into<String>) -> Self {
        Self { step, status: StepStatus::Passed, code: None, message: message.into(), hint: None, party: None }
    }

    pub(crate) fn skip(step: StepName, message: impl Into<String>) -> Self {
        Self { step, status: StepStatus::Skipped, code: None, message: message.into(), hint: None, party: None }
    }

    /// A finding that someone has to act on.
    pub(crate) fn finding(step: StepName, status: StepStatus, failure: &Failure) -> Self {
        let who = match failure.party {
            Party::Customer => "For the admin of the AWS account or of these settings",
            Party::Platform => "For the platform's operators",
        };
        let hint = Some(format!("{who}: {}", failure.code.hint()));
        let (code, party) = (Some(failure.code), Some(failure.party));
        Self { step, status, code, message: failure.message.clone(), hint, party }
    }

    pub(crate) fn inconclusive(step: StepName, failure: &Failure) -> Self {
        let (code, message) = (Some(failure.code), failure.message.clone());
        Self { step, status: StepStatus::Inconclusive, code, message, hint: Some(TRY_AGAIN.to_owned()), party: None }
    }

    /// A failure of what has to work. What may pass by itself is no finding.
    pub(crate) fn of(step: StepName, failure: &Failure) -> Self {
        match failure.code {
            Code::Throttled | Code::Unavailable | Code::CredentialsExpired => Self::inconclusive(step, failure),
            _ => Self::finding(step, StepStatus::Failed, failure),
        }
    }

    /// Who has to act, where something was found.
    pub fn party(&self) -> Option<Party> {
        self.party.or(self.code.map(Code::party))
    }

    /// Whether it is as it should be.
    pub fn passed(&self) -> bool {
        self.status == StepStatus::Passed
    }
}

/// The whole answer. Serialises to the function's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// All five steps, in order.
    pub steps: Vec<Step>,
}

impl Verification {
    /// Whether deliveries would work, and safely; a warning does not stand against it.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.status, StepStatus::Passed | StepStatus::Warning))
    }

    /// The first step that keeps the role from being used: it can be assumed, and by nobody else, or nothing may be done
    /// with it. What is wrong with the bucket doesn't count here.
    pub fn distrusted(&self) -> Option<&Step> {
        let about_the_role = [StepName::AssumeRole, StepName::ExternalIdEnforced];
        self.steps.iter().find(|step| about_the_role.contains(&step.step) && !step.passed())
    }
}

/// The steps so far.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    pub(crate) fn push(&mut self, step: Step) {
        self.0.push(step);
    }

    /// The answer; the steps that are left are skipped, for that reason.
    pub(crate) fn rest_skipped(mut self, reason: &str) -> Verification {
        let rest = StepName::ALL.into_iter().skip(self.0.len());
        self.0.extend(rest.map(|name| Step::skip(name, reason)));
        Verification { steps: self.0 }
    }

    /// The answer, with its last step.
    pub(crate) fn and_last(mut self, step: Step) -> Verification {
        self.0.push(step);
        Verification { steps: self.0 }
    }
}
