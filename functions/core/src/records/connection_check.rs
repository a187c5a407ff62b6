//! What the last daily check of a connection found.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{failure::Code, timestamp, verification::StepStatus};

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
        let status = if self.is_failure { StepStatus::Failed } else { StepStatus::Warning };
        let Self { step, code, message, .. } = self;
        json!({ "step": step, "status": status, "code": code, "message": message, "hint": self.hint() })
    }
}

/// What a daily check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionCheck {
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
pub enum ConnectionChange {
    /// Something is wrong that was not known.
    Drifted,
    /// Deliveries work again, and are safe; or what was warned of is gone.
    Restored,
}

impl ConnectionCheck {
    /// What it found that the check before did not. Warnings of a first check are none: whoever saved the settings could
    /// see them when they were verified. What is mended in part is none either, as long as something else fails.
    pub(crate) fn change_since(&self, before: Option<&Self>) -> Option<ConnectionChange> {
        let fails = self.fails();
        // Other settings that fail have not mended anything, and nobody was told of these.
        let before = before.filter(|before| !fails || before.version == self.version);
        let Some(before) = before else { return fails.then_some(ConnectionChange::Drifted) };
        let (found, known) = (self.codes(), before.codes());
        match (fails, before.fails()) {
            (false, true) => Some(ConnectionChange::Restored),
            _ if !found.is_subset(&known) => Some(ConnectionChange::Drifted),
            (false, false) if found != known => Some(ConnectionChange::Restored),
            _ => None,
        }
    }

    /// Whether deliveries fail, or are not safe.
    pub(crate) fn fails(&self) -> bool {
        self.findings.iter().any(|it| it.is_failure)
    }

    /// What tells a finding from another.
    fn codes(&self) -> BTreeSet<(&str, &str, bool)> {
        self.findings.iter().map(|it| (it.step.as_str(), it.code.as_str(), it.is_failure)).collect()
    }

    /// Whether it stands for a turn: for that one or, to a run that is behind, for one since. What is said to be found in
    /// the future wasn't.
    pub(crate) fn stands_for(&self, turn: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        (turn..=now.max(turn)).contains(&self.turn)
    }

    /// What a tenant is told of it, and others on the bus.
    pub(crate) fn info(&self) -> Map<String, Value> {
        let findings: Vec<Value> = self.findings.iter().map(Finding::told).collect();
        let told = [("checkedAt", timestamp::seconds(self.at).into()), ("findings", findings.into())];
        told.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}
