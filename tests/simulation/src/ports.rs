//! The ports of a run: fakes with faults. A call may fail, lose its reply, be made twice, never return, or take effect after
//! it was given up.

mod buckets;
mod bus;
mod events;
mod signing;
mod tenants;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
};

use audit_log_core::{
    batch::Batch,
    failure::{Code, Failure},
    fakes::{FakeUpload, Fakes},
    manifest::ManifestKey,
    settings::Draft,
    tenant::TenantId,
};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    backoff,
    facts::Writer,
    world::{World, lock},
};

#[derive(Clone)]
pub struct Ports {
    world: Arc<World>,
    /// The run's number.
    run: u64,
    /// Delivers a message of the queue to the function.
    deliver: fn(&Arc<World>, &Batch),
    /// How far its clock is off.
    skew: TimeDelta,
    /// The key that it signs manifests with.
    key: Option<ManifestKey>,
    seen: Arc<Mutex<Seen>>,
}

/// What a run has seen through its ports.
#[derive(Default)]
pub struct Seen {
    pub tick: Option<DateTime<Utc>>,
    /// The number of due shards that could not be read.
    pub unread: u32,
    /// Tenants that the index listed as due.
    pub listed: BTreeSet<String>,
    /// Tenants that were queued.
    pub sent: BTreeSet<String>,
    /// Loaded tenants, and whether the model's backoff applies: at the first load, and at any.
    pub backed_off: BTreeMap<String, (bool, bool)>,
    /// Tenants whose lease another run holds.
    pub leased: BTreeSet<String>,
    /// Tenants whose lease ended with a write of this run.
    pub released: BTreeSet<String>,
    /// The end of this run's lease of each tenant.
    pub leases: BTreeMap<String, DateTime<Utc>>,
    /// When the run last read a tenant's settings, and when it first read events after that.
    settings_read: BTreeMap<String, (DateTime<Utc>, Option<DateTime<Utc>>)>,
    /// Puts that a planted bug delays.
    postponed: Vec<(FakeUpload, String)>,
    /// Whether its key is noted.
    key_is_noted: bool,
    /// Each tenant's config at the first read, for a planted bug.
    first_configs: BTreeMap<String, Option<Draft>>,
}

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Well,
    Fails,
    LosesReply,
    Twice,
    Hangs,
    /// An attempt is given up while it is in flight, and may be repeated.
    GivenUp,
}

impl Ports {
    pub fn new(world: &Arc<World>, run: u64, skew: TimeDelta, deliver: fn(&Arc<World>, &Batch)) -> Self {
        let key = world.fakes.state().manifest_key.clone();
        Self { world: Arc::clone(world), run, deliver, skew, key, seen: Arc::default() }
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    fn fakes(&self) -> &Fakes {
        &self.world.fakes
    }

    fn roll_fate(&self) -> Fate {
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

    fn roll_failure(&self) -> Failure {
        let code = match self.world.roll(4) {
            0 => Code::Throttled,
            1 => Code::PlatformDenied,
            2 => Code::CredentialsExpired,
            _ => Code::Unavailable,
        };
        Failure::new(code, "A simulated fault.")
    }

    fn say(&self, line: impl FnOnce() -> String) {
        self.world.say(|| format!("run {:<3} {}", self.run, line()));
    }

    /// Makes a call that changes nothing.
    async fn read<R>(
        &self,
        what: &str,
        of: &str,
        call: impl Future<Output = Result<R, Failure>>,
    ) -> Result<R, Failure> {
        self.world.delay().await;
        match self.roll_fate() {
            Fate::Fails | Fate::LosesReply => {
                self.say(|| format!("{what} {of}: fails"));
                Err(self.roll_failure())
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

    fn holds_lease(&self, tenant: &str) -> bool {
        let lease = self.fakes().state().tenants.get(tenant).and_then(|stored| stored.lease.clone());
        lease.is_some_and(|lease| self.world.facts().lease_runs.get(&lease.token) == Some(&self.run))
    }

    /// Records that this run writes under the tenant's lease.
    fn note_writer(&self, tenant: &TenantId) {
        let writer = Writer { key: self.key.clone(), now: self.world.now() + self.skew };
        self.world.facts().writers.insert(tenant.to_string(), writer);
    }

    /// Records for which tenants the model's backoff applies.
    fn note_backoff(&self, tenants: &[TenantId]) {
        let Some(tick) = self.seen().tick else { return };
        let (state, facts) = (self.fakes().state(), self.world.facts());
        for id in tenants.iter().map(TenantId::as_str) {
            let is = state.tenants.get(id).is_some_and(|stored| backoff::is_backed_off(&facts, id, stored, tick));
            self.seen().backed_off.entry(id.to_owned()).or_insert((is, is)).1 |= is;
        }
    }

    /// Records that the run has read a tenant's settings.
    fn note_settings_read(&self, tenant: &TenantId) {
        self.seen().settings_read.insert(tenant.to_string(), (self.world.now(), None));
    }
}
