//! The record of a connection check, and what has changed since the check before.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use crate::{failure::Code, timestamp, verification::StepStatus};

/// Something that is wrong with a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The verification's step.
    pub step: String,
    /// Whether deliveries fail or are not safe; else it is a warning.
    pub is_failure: bool,
    /// A code of this or another version.
    pub code: String,
    /// For the tenant.
    pub message: String,
}

impl Finding {
    /// What to do; none if this version doesn't know the code.
    pub fn hint(&self) -> Option<&'static str> {
        Code::ALL.iter().find(|code| code.as_str() == self.code).map(|code| code.hint())
    }

    fn to_json(&self) -> Value {
        let status = if self.is_failure { StepStatus::Failed } else { StepStatus::Warning };
        let Self { step, code, message, .. } = self;
        json!({ "step": step, "status": status, "code": code, "message": message, "hint": self.hint() })
    }
}

/// A connection check of one tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionCheck {
    /// The hour in which the check was due.
    pub due_hour: DateTime<Utc>,
    /// When the check ran, in whole seconds.
    pub at: DateTime<Utc>,
    /// The version of the config that was verified.
    pub version: u64,
    pub findings: Vec<Finding>,
}

/// How a connection has changed since the check before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionChange {
    /// There is a new finding.
    Drifted,
    /// Deliveries work again and are safe, or a warning is gone.
    Restored,
}

impl ConnectionCheck {
    /// Returns the change since the check before, if any. Warnings of a first check are no change: the admin saw them when the
    /// settings were verified. A finding that is gone is no change either while another failure remains.
    pub(crate) fn change_since(&self, before: Option<&Self>) -> Option<ConnectionChange> {
        let fails = self.fails();
        // New settings that fail have repaired nothing, and their findings were not announced.
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

    pub(crate) fn fails(&self) -> bool {
        self.findings.iter().any(|it| it.is_failure)
    }

    /// What identifies a finding.
    fn codes(&self) -> BTreeSet<(&str, &str, bool)> {
        self.findings.iter().map(|it| (it.step.as_str(), it.code.as_str(), it.is_failure)).collect()
    }

    /// Whether it is the check that was due in that hour, or a later one. One from the future doesn't count.
    pub(crate) fn covers(&self, due_hour: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        (due_hour..=now.max(due_hour)).contains(&self.due_hour)
    }

    /// The details for the audit event and the notification.
    pub(crate) fn info(&self) -> Map<String, Value> {
        let findings: Vec<Value> = self.findings.iter().map(Finding::to_json).collect();
        let info = [("checkedAt", timestamp::seconds(self.at).into()), ("findings", findings.into())];
        info.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
    }
}
