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
    failure::{Code, Failure, Party},
    settings::{Draft, FieldError, FieldErrors},
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
    /// see them when they were verified. What is mended in part is none either, as long as something else fails.
    fn news(&self, before: Option<&Self>) -> Option<News> {
        let fails = self.fails();
        // Other settings that fail have not mended anything, and nobody was told of these.
        let before = before.filter(|before| !fails || before.version == self.version);
        let Some(before) = before else { return fails.then_some(News::Drifted) };
        let (found, known) = (self.codes(), before.codes());
        match (fails, before.fails()) {
            (false, true) => Some(News::Restored),
            _ if !found.is_subset(&known) => Some(News::Drifted),
            (false, false) if found != known => Some(News::Restored),
            _ => None,
        }
    }

    /// Whether deliveries fail, or are not safe.
    fn fails(&self) -> bool {
        self.findings.iter().any(|it| it.is_failure)
    }

    /// What tells a finding from another.
    fn codes(&self) -> BTreeSet<(&str, &str, bool)> {
        self.findings.iter().map(|it| (it.step.as_str(), it.code.as_str(), it.is_failure)).collect()
    }

    /// Whether it stands for a turn: for that one or, to a run that is behind, for one since. What is said to be found in
    /// the future wasn't.
    fn stands_for(&self, turn: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        (turn..=now.max(turn)).contains(&self.turn)
    }

    /// What a tenant is told of it, and others on the bus.
    pub(crate) fn info(&self) -> Map<String, Value> {
        let findings: Vec<Value> = self.findings.iter().map(Finding::told).collect();
        let told = [("checkedAt", timestamp::seconds(self.at).into()), ("findings", findings.into())];
        told.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}

/// The last hour, up to this one, that was the tenant's turn: spread over the day by SHA-256 of the id. None if it is too
/// long ago to be taken now, or before all that an instant can be.
pub fn turn(tenant: &TenantId, hour: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let digest = Sha256::digest(tenant.as_str());
    // Not the first byte, of which the index's shard is made.
    let own = digest.iter().skip(8).take(4).fold(0_u32, |hash, byte| hash << 8 | u32::from(*byte)) % 24;
    let ago = i64::from((hour.hour() + 24 - own) % 24);
    if ago < HOURS_OF_A_TURN { hour.checked_sub_signed(TimeDelta::hours(ago)) } else { None }
}

/// What a verification of saved settings found, unless it proves nothing: AWS gave no clear answer, or it was the platform
/// that failed.
fn findings(saved: &Draft, verification: &Verification) -> Option<Vec<Finding>> {
    let finding = |step: &Step| {
        let is_failure = step.status == Status::Failed;
        let code = step.code.filter(|_| step.party() == Some(Party::Customer))?;
        let found = is_failure || step.status == Status::Warning;
        let message = step.message.clone();
        found.then(|| Finding { step: step.step.to_string(), is_failure, code: code.to_string(), message })
    };
    let mut found: Vec<Finding> = verification.steps.iter().filter_map(finding).collect();
    found.extend(without_bucket(saved));
    // What was let in that has to be refused is a fact, whatever stayed unclear.
    let is_clear = found.iter().any(|it| it.is_failure) || verification.passed();
    is_clear.then_some(found)
}

/// Without a bucket, a verification looks at the role alone, as before the first save. Of saved settings that is no pass.
fn without_bucket(saved: &Draft) -> Option<Finding> {
    let lost = saved.bucket.as_deref().is_none_or(str::is_empty);
    let error = || FieldError { field: "bucket", message: "is required".to_owned() };
    let Failure { code, message, .. } = lost.then(|| FieldErrors(vec![error()]).into_failure())?;
    Some(Finding { step: Name::PutObject.to_string(), is_failure: true, code: code.to_string(), message })
}

/// Whether it was the platform that failed, and not AWS that gave no answer.
fn is_the_platforms(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.status == Status::Failed && step.party() == Some(Party::Platform))
}

/// Whether the role can be assumed.
fn is_let_in(verification: &Verification) -> bool {
    verification.steps.iter().any(|step| step.step == Name::AssumeRole && step.passed())
}
