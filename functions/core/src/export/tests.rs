//! Tests of the export over fakes.

mod backoff;
mod delivery;
mod failures;
mod fan_out;
mod final_delivery;
mod late_arrivals;
mod leases;
mod manifests;
mod outbox;
mod overlaps;
mod replay;
mod resuming;
mod retention;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;

use super::{Budget, Export, Options, Report, Run};
use crate::{
    event::{Body, StoredEvent},
    failure::Failure,
    fakes::Fakes,
    ocsf,
    onboarding::{self, Verified, tests::change_at},
    outbox::Outbox,
    ports::{Conditional, Settings as _},
    schedule::Schedule,
    settings::{
        Draft,
        tests::{draft, platform},
    },
    system_events,
    tenant::TenantId,
    timestamp,
};

pub(super) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A time like `10:00` on the day of these tests.
pub(super) fn clock(time: &str) -> DateTime<Utc> {
    at(&format!("2026-11-21T{time}:00Z"))
}

pub(super) fn id(tenant: &str) -> TenantId {
    TenantId::parse(tenant).unwrap()
}

pub(super) type FakeExport = Export<Fakes, Fakes, Fakes, Fakes, Fakes>;

/// From a run's beginning to its deadline.
pub(super) const RUN_TIME: TimeDelta = TimeDelta::minutes(15);

/// A platform. Each tenant's bucket is named after the tenant.
#[derive(Clone)]
pub(super) struct World {
    pub(super) fakes: Fakes,
    pub(super) options: Options,
}

impl World {
    pub(super) fn new() -> Self {
        let options = Options {
            settle: TimeDelta::minutes(1),
            retention: None,
            concurrency: 4,
            max_object_bytes: 1 << 20,
            max_windows: 168,
            replay_time: TimeDelta::minutes(15),
            budget: Budget::new(1 << 24),
            ocsf: ocsf::tests::fixture(),
        };
        Self { fakes: Fakes::default(), options }
    }

    /// A world with one tenant, `acme`, whose hourly exports begin at 10:00.
    pub(super) fn with_acme() -> Self {
        let world = Self::new();
        world.connect("acme", "1", "10:00");
        world
    }

    /// The same, with events in OCSF.
    pub(super) fn with_acme_in_ocsf() -> Self {
        let world = Self::with_acme();
        let (bucket, schema) = (Some("acme-bucket".to_owned()), Some("ocsf".to_owned()));
        world.save("acme", &Draft { bucket, schema, ..draft() }, clock("10:00"));
        world
    }

    /// Connects a tenant whose settings were saved at that time.
    pub(super) fn connect(&self, tenant: &str, frequency_hours: &str, saved_at: &str) {
        let bucket = format!("{tenant}-bucket");
        self.fakes.state().buckets.entry(bucket.clone()).or_default();
        let frequency_hours = Some(frequency_hours.to_owned());
        self.save(tenant, &Draft { frequency_hours, bucket: Some(bucket), ..draft() }, clock(saved_at));
        // These tests count the notifications of runs.
        self.fakes.state().tenants.get_mut(tenant).unwrap().outbox = Outbox::default();
    }

    pub(super) fn save(&self, tenant: &str, draft: &Draft, saved_at: DateTime<Utc>) {
        let version = self.fakes.state().tenants.get(tenant).and_then(|tenant| tenant.config.clone()?.version);
        let records = self.fakes.records(&id(tenant)).now_or_never().unwrap().unwrap();
        // The role's account is also the default, but a save without a change would write nothing.
        let before = records.config.as_ref().and_then(|config| config.bucket_owner.clone());
        let other = before.is_none().then(|| "222222222222".to_owned());
        let bucket_owner = draft.bucket_owner.clone().or(other);
        let config = Draft { version, bucket_owner, ..draft.clone() }.check(&id(tenant), &platform()).unwrap();
        let saved = onboarding::save(&self.fakes, &records, &config, None, Verified::NotTried, &change_at(saved_at))
            .now_or_never()
            .unwrap();
        assert_eq!(saved, Ok(Conditional::Written));
        self.delete_change_events(tenant);
    }

    pub(super) fn disconnect(&self, tenant: &str) {
        let (id, change) = (id(tenant), change_at(clock("10:00")));
        let records = self.fakes.records(&id).now_or_never().unwrap().unwrap();
        let disconnected = onboarding::disconnect(&self.fakes, &records, &id, &change).now_or_never().unwrap();
        assert_eq!(disconnected, Ok(Conditional::Written));
        self.delete_change_events(tenant);
    }

    /// Deletes the audit events of admins' changes and what is left to deliver to a place: these tests count only their own
    /// events and files.
    fn delete_change_events(&self, tenant: &str) {
        let is_change = |body: &mut Body| matches!(body, Body::Text(text) if text.contains(system_events::LOG_TYPE));
        let mut state = self.fakes.state();
        let shard = state.events.entry((tenant.to_owned(), 0)).or_default();
        shard.retain(|_, body| !is_change(body));
        state.tenants.get_mut(tenant).unwrap().final_deliveries.places.clear();
    }

    /// Records `{"n":<name>}` at an instant like `2026-11-21T10:30:00.000Z`.
    pub(super) fn event(&self, tenant: &str, recorded_at: &str, name: &str) {
        self.event_in_shard(tenant, 0, recorded_at, name);
    }

    pub(super) fn event_in_shard(&self, tenant: &str, shard: u16, recorded_at: &str, name: &str) {
        let body = Body::Text(format!("{{\"n\":\"{name}\"}}"));
        self.fakes.put_event(&id(tenant), shard, StoredEvent { recorded_at_id: format!("{recorded_at}#{name}"), body });
    }

    /// Runs an hour's tick, two minutes into the hour.
    pub(super) fn tick(&self, hour: &str) -> Result<Report, Failure> {
        self.try_tick(hour).expect("the tick never ended")
    }

    /// The same; none if it never ends.
    pub(super) fn try_tick(&self, hour: &str) -> Option<Result<Report, Failure>> {
        let now = clock(hour) + TimeDelta::minutes(2);
        self.run(clock(hour), &move || now, &|| false)
    }

    /// Runs a tick with a given clock; none if it never ends.
    pub(super) fn run(
        &self,
        tick: DateTime<Utc>,
        now: &(dyn Fn() -> DateTime<Utc> + Send + Sync),
        should_stop: &(dyn Fn() -> bool + Send + Sync),
    ) -> Option<Result<Report, Failure>> {
        self.run_of(tick, now, should_stop, async |export, run| export.tick(run).await)
    }

    /// Runs anything with a given clock; none if it never ends.
    pub(super) fn run_of<R>(
        &self,
        tick: DateTime<Utc>,
        now: &(dyn Fn() -> DateTime<Utc> + Send + Sync),
        should_stop: &(dyn Fn() -> bool + Send + Sync),
        job: impl AsyncFnOnce(FakeExport, Run<'_>) -> R,
    ) -> Option<R> {
        let (platform, random) = (platform(), |bytes: &mut [u8]| self.fakes.random(bytes));
        let deadline = now() + RUN_TIME;
        Self::wait_for(job(
            self.export(),
            Run { tick, platform: &platform, now, should_stop, deadline, random: &random },
        ))
    }

    /// Awaits a run in virtual time; none if it never ends.
    pub(super) fn wait_for<R>(run: impl Future<Output = R>) -> Option<R> {
        // A fault may be another run in the middle of this one. It is inside of this one's runtime, and waits for no timer.
        if tokio::runtime::Handle::try_current().is_ok() {
            let mut run = std::pin::pin!(run);
            return (0..10_000).find_map(|_| run.as_mut().now_or_never());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(900), run).await.ok() })
    }

    /// Makes the lease of a run that died expire.
    pub(super) fn expire_lease(&self, tenant: &str) {
        self.fakes.state().tenants.get_mut(tenant).unwrap().lease.as_mut().unwrap().until = clock("00:00");
    }

    pub(super) fn is_leased(&self, tenant: &str) -> bool {
        self.fakes.state().tenants[tenant].lease.is_some()
    }

    pub(super) fn export(&self) -> FakeExport {
        let fakes = || self.fakes.clone();
        let options = self.options.clone();
        Export { tenants: fakes(), events: fakes(), buckets: fakes(), bus: fakes(), signer: fakes(), options }
    }

    /// The objects in a tenant's bucket: file name and text.
    pub(super) fn objects(&self, tenant: &str) -> Vec<(String, String)> {
        let state = self.fakes.state();
        let name = |key: &str| key.rsplit('/').next().unwrap().to_owned();
        let objects = state.buckets[&format!("{tenant}-bucket")].iter();
        objects.map(|(key, object)| (name(key), String::from_utf8(object.bytes.clone()).unwrap())).collect()
    }

    /// The names of the recorded events in a tenant's bucket, object by object.
    pub(super) fn names(&self, tenant: &str) -> Vec<Vec<String>> {
        let name = |event: &serde_json::Value| event["n"].as_str().unwrap_or("-").to_owned();
        let parse = |text: &String| -> Vec<serde_json::Value> { serde_json::from_str(text).unwrap() };
        self.objects(tenant).iter().map(|(_, text)| parse(text).iter().map(name).collect()).collect()
    }

    /// The actions of the events in OCSF in a tenant's bucket, object by object.
    pub(super) fn event_codes(&self, tenant: &str) -> Vec<Vec<String>> {
        let code = |event: &serde_json::Value| event["metadata"]["event_code"].as_str().unwrap_or("-").to_owned();
        let parse = |text: &String| -> Vec<serde_json::Value> { serde_json::from_str(text).unwrap() };
        self.objects(tenant).iter().map(|(_, text)| parse(text).iter().map(code).collect()).collect()
    }

    pub(super) fn schedule(&self, tenant: &str) -> Schedule {
        self.fakes.state().tenants[tenant].watermark.clone().unwrap().schedule().unwrap()
    }

    pub(super) fn exported_until(&self, tenant: &str) -> String {
        timestamp::seconds(self.schedule(tenant).exported_until)
    }
}

/// Exported, failed and deferred tenants.
pub(super) fn counts(report: &Report) -> (u64, u64, u64) {
    assert_eq!(report.due, report.exported + report.failed + report.deferred);
    (report.exported, report.failed, report.deferred)
}
