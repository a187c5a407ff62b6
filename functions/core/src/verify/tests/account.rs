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
    /// The one of a rotation.
    Pending,
    /// Of the same length.
    Random,
    /// With another first character.
    FirstChanged,
    /// With another last character.
    LastChanged,
    /// With one character more.
    Appended,
    None,
}

pub(super) const PENDING: &str = "9b0e7a44-pending";

impl With {
    pub(super) const DECOYS: [Self; 5] =
        [Self::None, Self::Random, Self::FirstChanged, Self::LastChanged, Self::Appended];

    fn of(connection: &Connection, external_id: Option<&ExternalId>) -> Self {
        let Some(id) = external_id else { return Self::None };
        let pending = ExternalId::parse(PENDING).unwrap();
        for (with, right) in [(Self::Right, &connection.external_id), (Self::Pending, &pending)] {
            let (id, right) = (id.as_str(), right.as_str());
            let (all_but_last, all_but_first) = (&right[..right.len() - 1], &right[1..]);
            match () {
                () if id == right => return with,
                () if id.strip_prefix(right).is_some_and(|rest| rest.len() == 1) => return Self::Appended,
                () if id.strip_prefix(all_but_last).is_some_and(|rest| rest.len() == 1) => return Self::LastChanged,
                () if id.strip_suffix(all_but_first).is_some_and(|first| first.len() == 1) => {
                    return Self::FirstChanged;
                }
                () => {}
            }
        }
        assert!([connection.external_id.as_str().len(), PENDING.len()].contains(&id.as_str().len()), "another shape");
        Self::Random
    }
}

/// By default the account is as the quick-create template leaves it.
#[derive(Default)]
pub(super) struct Account {
    /// The role's answers that differ from a correct role, in order; the last one is repeated.
    pub(super) role: BTreeMap<With, Vec<Result<(), Code>>>,
    /// AssumeRole calls that are never answered.
    pub(super) silent: BTreeSet<With>,
    /// S3's error to the put or to the multipart upload, or whether it never answers.
    pub(super) delivery: Option<DeliveryFailure>,
    /// Whether only the first delivery has that error.
    pub(super) delivers_later: bool,
    pub(super) put_hangs: bool,
    /// The error of the session without a policy, and its answers that are no refusal.
    pub(super) reach: Option<Code>,
    pub(super) access: Vec<(Action, Access)>,
    /// Whether the role may write under all of `audit-logs/`, as from a stack without `TenantId`.
    pub(super) folder_too_wide: bool,
    pub(super) calls: Mutex<Vec<String>>,
}

impl Account {
    fn record(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }

    /// How many calls begin with these words.
    pub(super) fn count(&self, words: &str) -> usize {
        self.calls().iter().filter(|call| call.starts_with(words)).count()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

impl Probes for &Account {
    type Reach = Self;

    async fn assume(&self, connection: &Connection, external_id: Option<&ExternalId>) -> Result<(), Failure> {
        let with = With::of(connection, external_id);
        let call = format!("assume {with:?}");
        let earlier = self.count(&call);
        self.record(call);
        if self.silent.contains(&with) {
            std::future::pending::<()>().await;
        }
        let correct = if with == With::Right { Ok(()) } else { Err(Code::AssumeRoleDenied) };
        let planned = self.role.get(&with).and_then(|answers| answers.get(earlier).or(answers.last()));
        let answer = planned.copied().unwrap_or(correct);
        answer.map_err(|code| Failure::new(code, format!("{code} by STS")))
    }

    async fn deliver(
        &self,
        config: &TenantConfig,
        spec: ObjectSpec,
        bytes: Vec<u8>,
        deadline: Instant,
    ) -> Result<(), DeliveryFailure> {
        let is_first = self.count("deliver ") == 0;
        self.record(format!("deliver {}/{} {:?}", config.bucket, spec.key, String::from_utf8(bytes).unwrap()));
        if self.put_hangs {
            let hangs = std::future::pending::<Result<(), DeliveryFailure>>();
            return before(deadline, hangs).await;
        }
        let failure = self.delivery.clone().filter(|_| is_first || !self.delivers_later);
        failure.map_or(Ok(()), Err)
    }

    async fn reach(&self, _config: &TenantConfig) -> Result<Self, Failure> {
        self.reach.map_or(Ok(*self), |code| Err(Failure::new(code, "no session")))
    }
}

impl Reach for &Account {
    async fn attempt(&self, action: Action, key: &str) -> Access {
        self.record(format!("{action} {key}"));
        if self.folder_too_wide && action == Action::Put && key.contains("audit-logs/") {
            return Access::Allowed;
        }
        let planned = self.access.iter().find(|(of, _)| *of == action);
        planned.map_or(Access::Refused, |(_, access)| *access)
    }
}
