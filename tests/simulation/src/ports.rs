//! The fakes with faults around them: every call of a run goes through here, and may fail, lose its reply, be made twice,
//! never come back, or land after it was given up.

mod buckets;
mod bus;
mod events;
mod tenants;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use audit_log_core::{
    failure::{Code, Failure},
    fakes::{FakeUpload, Fakes},
    settings::Draft,
    tenant::TenantId,
};
use chrono::{DateTime, Utc};

use crate::{backoff, world::World};

/// The ports of one run.
#[derive(Clone)]
pub struct Ports {
    /// The world that they reach.
    pub world: Arc<World>,
    /// The run's number.
    pub run: u64,
    seen: Arc<Mutex<Seen>>,
}

/// What a run was told by its ports.
#[derive(Default)]
pub struct Seen {
    /// The hour that the run stands for.
    pub tick: Option<DateTime<Utc>>,
    /// Parts of the index that could not be read.
    pub unread: u32,
    /// Tenants that the index has listed.
    pub listed: BTreeSet<String>,
    /// Tenants that were handed over.
    pub sent: BTreeSet<String>,
    /// Tenants that were loaded, and whether the model has them wait: at the first look, and at any.
    pub backed_off: BTreeMap<String, (bool, bool)>,
    /// Tenants whose lease another run has.
    pub leased: BTreeSet<String>,
    /// Tenants whose lease ended with a write of this run.
    pub released: BTreeSet<String>,
    /// Until when this run's lease of each tenant lasts.
    pub leases: BTreeMap<String, DateTime<Utc>>,
    /// When the run has looked at a tenant's settings, and since when it has read events since then.
    looked: BTreeMap<String, (DateTime<Utc>, Option<DateTime<Utc>>)>,
    /// Puts that a planted bug makes too late.
    postponed: Vec<(FakeUpload, String)>,
    /// Each tenant's config as it was read first, for a planted bug.
    first_configs: BTreeMap<String, Option<Draft>>,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Fails,
    LosesReply,
    Twice,
    Hangs,
    /// An attempt is given up while it is on its way, and may be repeated.
    GivenUp,
}

/// Whatever a panic elsewhere has left of it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ports {
    /// Of a run.
    pub fn new(world: &Arc<World>, run: u64) -> Self {
        Self { world: Arc::clone(world), run, seen: Arc::default() }
    }

    /// What the run was told.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    fn fakes(&self) -> &Fakes {
        &self.world.fakes
    }

    fn fate(&self) -> Fate {
        let (world, faults) = (&self.world, self.world.plan.faults);
        if world.is_calm() {
            Fate::Well
        } else if world.happens(faults.fail) {
            Fate::Fails
        } else if world.happens(faults.lost_reply) {
            Fate::LosesReply
        } else if world.happens(faults.twice) {
            Fate::Twice
        } else if world.happens(faults.hang) {
            Fate::Hangs
        } else if world.happens(faults.given_up) {
            Fate::GivenUp
        } else {
            Fate::Well
        }
    }

    fn failure(&self) -> Failure {
        let code = match self.world.roll(4) {
            0 => Code::Throttled,
            1 => Code::PlatformDenied,
            2 => Code::CredentialsExpired,
            _ => Code::Unavailable,
        };
        Failure::new(code, "The simulation wanted it so.")
    }

    fn say(&self, line: impl FnOnce() -> String) {
        self.world.say(|| format!("run {:<3} {}", self.run, line()));
    }

    /// A call that changes nothing.
    async fn reads<R>(
        &self,
        what: &str,
        of: &str,
        call: impl Future<Output = Result<R, Failure>>,
    ) -> Result<R, Failure> {
        self.world.delay().await;
        match self.fate() {
            Fate::Fails | Fate::LosesReply => {
                self.say(|| format!("{what} {of}: fails"));
                Err(self.failure())
            }
            Fate::Hangs => {
                self.say(|| format!("{what} {of}: hangs"));
                pending().await
            }
            Fate::Well | Fate::Twice | Fate::GivenUp => {
                let result = call.await;
                self.world.delay().await;
                result
            }
        }
    }

    /// Whether the tenant's lease is this run's.
    fn has_lease(&self, tenant: &str) -> bool {
        let lease = self.fakes().state().tenants.get(tenant).and_then(|stored| stored.lease.clone());
        lease.is_some_and(|lease| self.world.facts().holders.get(&lease.token) == Some(&self.run))
    }

    /// Takes note of which tenants have to wait by the model.
    fn note_backoff(&self, tenants: &[TenantId]) {
        let Some(tick) = self.seen().tick else { return };
        let (state, facts) = (self.fakes().state(), self.world.facts());
        for id in tenants.iter().map(TenantId::as_str) {
            let is = state.tenants.get(id).is_some_and(|stored| backoff::is_backed_off(&facts, id, stored, tick));
            self.seen().backed_off.entry(id.to_owned()).or_insert((is, is)).1 |= is;
        }
    }

    /// Takes note that the run has looked at a tenant's settings.
    fn note_looked(&self, tenant: &TenantId) {
        self.seen().looked.insert(tenant.to_string(), (self.world.now(), None));
    }
}
