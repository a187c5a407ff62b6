//! The daily check of every connection, before an export finds out.
//!
//! A customer's account changes without a word to the platform: a role is deleted, its trust no longer demands the external
//! ID, a bucket is made anew elsewhere. Each connected tenant has an hour of the day at which its saved settings are
//! verified as its admin would. What is found is kept, and told where it differs from what was found before.

mod checks;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Timelike as _, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

pub use checks::{Checks, Report, Run};

use crate::{
    failure::{Code, Party},
    tenant::TenantId,
    timestamp,
    verify::{Name, Status, Step, Verification},
};

/// In how many hours, its own included, a tenant's turn is taken. What a run could not do, the next ones catch up with.
const HOURS_OF_A_TURN: i64 = 3;

/// What is wrong with a connection, as it is kept; the codes may be of another version than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The verification's step.
    pub step: String,
    /// Whether deliveries fail by it or are not safe; otherwise it is a warning.
    pub is_failure: bool,
    /// A stable code.
    pub code: String,
    /// What was found, in plain words for the tenant.
    pub message: String,
}

impl Finding {
    /// What to do about it, where this version knows the code.
    pub fn hint(&self) -> Option<&'static str> {
        Code::ALL.iter().find(|code| code.as_str() == self.code).map(|code| code.hint())
    }

    fn told(&self) -> Value {
        let status = if self.is_failure { Status::Failed } else { Status::Warning };
        let Self { step, code, message, .. } = self;
        json!({ "step": step, "status": status, "code": code, "message": message, "hint": self.hint() })
    }
}

/// What a daily check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The hour of the tenant's turn that it stands for, whenever it ran.
    pub turn: DateTime<Utc>,
    /// When it ran, in whole seconds.
    pub at: DateTime<Utc>,
    /// The version of the config that was verified; it tells nothing of another.
    pub version: u64,
    /// What is wrong; nothing, if all is well.
    pub findings: Vec<Finding>,
}

/// What of a check is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// Something is wrong that was not known.
    Drifted,
    /// Deliveries work again, and are safe; or what was warned of is gone.
    Restored,
}

impl Checked {
    /// What it found that the check before did not. Warnings of a first check are none: whoever saved the settings could
    /// see them when they were verified.
    fn news(&self, before: Option<&Self>) -> Option<News> {
        let codes = |checked: &Self| -> BTreeSet<(String, String)> {
            checked.findings.iter().map(|it| (it.step.clone(), it.code.clone())).collect()
        };
        let fails = |checked: &Self| checked.findings.iter().any(|it| it.is_failure);
        let Some(before) = before else { return fails(self).then_some(News::Drifted) };
        if codes(self) == codes(before) {
            return None;
        }
        let worse = fails(self) || !fails(before) && !codes(self).is_subset(&codes(before));
        Some(if worse { News::Drifted } else { News::Restored })
    }

    /// What a tenant is told of it, and others on the bus.
    pub(crate) fn info(&self) -> Map<String, Value> {
        let findings: Vec<Value> = self.findings.iter().map(Finding::told).collect();
        let told = [("checkedAt", timestamp::seconds(self.at).into()), ("findings", findings.into())];
        told.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}

/// The last hour, up to this one, that was the tenant's turn: spread over the day by SHA-256 of the id. None if it is too
/// long ago to be taken now.
pub fn turn(tenant: &TenantId, hour: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let digest = Sha256::digest(tenant.as_str());
    // Not the first byte, of which the index's shard is made.
    let own = digest.iter().skip(8).take(4).fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte)) % 24;
    let ago = i64::from((hour.hour() + 24 - own) % 24);
    (ago < HOURS_OF_A_TURN).then(|| hour - TimeDelta::hours(ago))
}

/// What a verification found, unless it proves nothing: AWS gave no clear answer, or it was the platform that failed.
fn findings(verification: &Verification) -> Option<Vec<Finding>> {
    let finding = |step: &Step| {
        let is_failure = step.status == Status::Failed;
        let code = step.code.filter(|code| code.party() == Party::Customer)?;
        let found = is_failure || step.status == Status::Warning;
        let message = step.message.clone();
        found.then(|| Finding { step: step.step.to_string(), is_failure, code: code.to_string(), message })
    };
    let found: Vec<Finding> = verification.steps.iter().filter_map(finding).collect();
    // What was let in that has to be refused is a fact, whatever stayed unclear.
    let is_clear = found.iter().any(|it| it.is_failure)
        || verification.steps.iter().all(|step| !matches!(step.status, Status::Failed | Status::Inconclusive));
    is_clear.then_some(found)
}

/// Whether the role can be assumed.
fn is_let_in(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.step == Name::AssumeRole && step.passed())
}
