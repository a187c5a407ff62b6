//! A customer's account with planned answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use super::*;
use crate::{ports::Reach, tenant::ExternalId};

/// The external ID of an AssumeRole call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum With {
    Right,
    Wrong,
    None,
}

/// By default the account is as the quick-create template leaves it.
#[derive(Default)]
pub(super) struct Account {
    /// The role's answers that differ from a correct role.
    pub(super) role: BTreeMap<With, Result<(), Code>>,
    /// How often AWS refuses every AssumeRole call, since it doesn't know the new role yet.
    pub(super) unknown_for: usize,
    /// AssumeRole calls that are never answered.
    pub(super) silent: BTreeSet<With>,
    /// S3's error to the put or to the multipart upload, or whether it never answers.
    pub(super) delivery: Option<DeliveryFailure>,
    pub(super) put_hangs: bool,
    /// The error of the session without a policy, and its answers that are no refusal.
    pub(super) reach: Option<Code>,
    pub(super) access: Vec<(Action, Access)>,
    pub(super) calls: Mutex<Vec<String>>,
}

impl Account {
    fn record(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Probes for &Account {
    type Reach = Self;

    async fn assume(&self, connection: &Connection, external_id: Option<&ExternalId>) -> Result<(), Failure> {
        let with = match external_id {
            Some(id) if *id == connection.external_id => With::Right,
            Some(_) => With::Wrong,
            None => With::None,
        };
        self.record(format!("assume {with:?}"));
        if self.silent.contains(&with) {
            std::future::pending::<()>().await;
        }
        let answered = self.calls().iter().filter(|call| call.starts_with("assume ")).count();
        if answered <= self.unknown_for {
            return Err(Failure::new(Code::AssumeRoleDenied, "STS doesn't know the role yet"));
        }
        let correct = if with == With::Right { Ok(()) } else { Err(Code::AssumeRoleDenied) };
        let answer = self.role.get(&with).copied().unwrap_or(correct);
        answer.map_err(|code| Failure::new(code, format!("{code} by STS")))
    }

    async fn deliver(&self, config: &TenantConfig, spec: ObjectSpec, bytes: Vec<u8>) -> Result<(), DeliveryFailure> {
        self.record(format!("deliver {}/{} {:?}", config.bucket, spec.key, String::from_utf8(bytes).unwrap()));
        if self.put_hangs {
            std::future::pending::<()>().await;
        }
        self.delivery.clone().map_or(Ok(()), Err)
    }

    async fn reach(&self, _config: &TenantConfig) -> Result<Self, Failure> {
        self.reach.map_or(Ok(*self), |code| Err(Failure::new(code, "no session")))
    }
}

impl Reach for &Account {
    async fn attempt(&self, action: Action, key: &str) -> Access {
        self.record(format!("{action} {key}"));
        let planned = self.access.iter().find(|(of, _)| *of == action);
        planned.map_or(Access::Refused, |(_, access)| *access)
    }
}
