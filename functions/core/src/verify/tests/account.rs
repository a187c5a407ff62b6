//! A customer's account, as far as a verification sees it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

use super::*;
use crate::{ports::Reach, tenant::ExternalId};

/// Which external ID a role was asked for with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum With {
    Right,
    Wrong,
    None,
}

/// A customer's account: at first, all is as the quick-create template leaves it.
#[derive(Default)]
pub(super) struct Account {
    /// How the role answers, where it isn't the way it should.
    pub(super) role: BTreeMap<With, Result<(), Code>>,
    /// Whoever asks this way gets no answer.
    pub(super) silent: BTreeSet<With>,
    /// How S3 answers a delivery, where it isn't stored; or it never does.
    pub(super) put: Option<Failure>,
    pub(super) put_hangs: bool,
    /// How the session without a policy begins and what it may, where it isn't nothing.
    pub(super) reach: Option<Code>,
    pub(super) access: Vec<(Action, Access)>,
    pub(super) calls: Mutex<Vec<String>>,
}

impl Account {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    /// What was asked for, in order.
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
        self.note(format!("assume {with:?}"));
        if self.silent.contains(&with) {
            std::future::pending::<()>().await;
        }
        let as_it_should = if with == With::Right { Ok(()) } else { Err(Code::AssumeRoleDenied) };
        let answer = self.role.get(&with).copied().unwrap_or(as_it_should);
        answer.map_err(|code| Failure::new(code, format!("{code} by STS")))
    }

    async fn deliver(&self, config: &TenantConfig, spec: ObjectSpec, bytes: Vec<u8>) -> Result<(), Failure> {
        self.note(format!("deliver {}/{} {:?}", config.bucket, spec.key, String::from_utf8(bytes).unwrap()));
        if self.put_hangs {
            std::future::pending::<()>().await;
        }
        self.put.clone().map_or(Ok(()), Err)
    }

    async fn reach(&self, _config: &TenantConfig) -> Result<Self, Failure> {
        self.reach.map_or(Ok(*self), |code| Err(Failure::new(code, "no session")))
    }
}

impl Reach for &Account {
    async fn attempt(&self, action: Action, key: &str) -> Access {
        self.note(format!("{action} {key}"));
        let told = self.access.iter().find(|(of, _)| *of == action);
        told.map_or(Access::Refused, |(_, access)| *access)
    }
}
