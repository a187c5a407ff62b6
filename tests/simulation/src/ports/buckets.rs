//! The customers' buckets with faults.

use std::sync::Mutex;

use audit_log_core::{
    failure::{Code, Failure},
    fakes::{FakeUpload, Fakes},
    object::ObjectSpec,
    ports::{Bucket, Buckets, Finish, Upload},
    records::Place,
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{
    Fate, Ports,
    writes::{Answer, Request},
};
use crate::{
    bugs::{self, Bug, is_planted},
    facts::Put,
    manifests::{is_final, is_manifest},
    replays,
    world::{call_now, lock},
};

/// The largest age of settings when a run begins a window: ten seconds, and two slow answers.
const MAX_SETTINGS_AGE: TimeDelta = TimeDelta::seconds(35);

/// The same of a replay, which reads receipts in between.
const MAX_REPLAY_SETTINGS_AGE: TimeDelta = TimeDelta::seconds(85);

const SESSION_DURATION: TimeDelta = TimeDelta::minutes(15);

impl Buckets for Ports {
    type Bucket = SimulatedBucket;

    async fn open(&self, config: &TenantConfig, window: Window) -> Result<SimulatedBucket, Failure> {
        let is_backed_off = self.seen().backed_off.get(config.tenant.as_str()).is_some_and(|(first, _)| *first);
        if is_backed_off && !self.is_leaving(config) {
            self.world.violate(format!("{} is attempted during its backoff", config.tenant));
        }
        if self.world.facts().refused.get(config.tenant.as_str()) == Some(&true) {
            self.say(|| format!("assume role {}: denied", config.tenant));
            return Err(Failure::new(Code::AssumeRoleDenied, "The role can't be assumed."));
        }
        let bucket = self.read("assume role", config.tenant.as_str(), self.fakes().open(config, window)).await?;
        Ok(SimulatedBucket { ports: self.clone(), bucket, config: config.clone(), opened: self.world.now() })
    }
}

pub struct SimulatedBucket {
    ports: Ports,
    bucket: <Fakes as Buckets>::Bucket,
    config: TenantConfig,
    opened: DateTime<Utc>,
}

impl SimulatedBucket {
    /// No object is begun with settings that were outdated when the run last read settings. No window is begun with settings
    /// that were read too long ago.
    fn check_settings_age(&self, most: TimeDelta) {
        let TenantConfig { tenant, version, .. } = &self.config;
        let world = &self.ports.world;
        let changed = world.facts().settings_changed_at.get(tenant.as_str()).copied();
        let stored = world.fakes.state().tenants.get(tenant.as_str()).and_then(|tenant| tenant.config.clone());
        let is_current = stored.and_then(|config| config.version).is_some_and(|it| it == version.to_string());
        let Some((read, reading_since)) = self.ports.seen().settings_read.get(tenant.as_str()).copied() else { return };
        if let Some(changed) = changed.filter(|changed| !is_current && read - *changed > most) {
            world.violate(format!("{tenant}: an object is stored with settings that were changed at {changed}"));
        }
        if reading_since.is_some_and(|since| since - read > most) {
            world.violate(format!("{tenant}: a window is begun with settings that were read at {read}"));
        }
    }
}

impl Bucket for SimulatedBucket {
    type Upload = SimulatedUpload;

    fn upload(&self, spec: ObjectSpec) -> SimulatedUpload {
        let is_replayed = {
            let state = self.ports.fakes().state();
            replays::is_replayed(&state, self.config.tenant.as_str(), &spec.key)
        };
        if !is_final(&spec.key) {
            self.check_settings_age(if is_replayed { MAX_REPLAY_SETTINGS_AGE } else { MAX_SETTINGS_AGE });
        }
        SimulatedUpload {
            ports: self.ports.clone(),
            tenant: self.config.tenant.clone(),
            opened: self.opened,
            place: (self.config.bucket.to_string(), spec.key.clone()),
            // A request can take effect twice.
            uploads: [self.bucket.upload(spec.clone()), self.bucket.upload(spec)],
        }
    }
}

pub struct SimulatedUpload {
    ports: Ports,
    tenant: TenantId,
    opened: DateTime<Utc>,
    place: (String, String),
    uploads: [FakeUpload; 2],
}

impl Upload for SimulatedUpload {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        for upload in &mut self.uploads {
            upload.write(bytes.clone()).await?;
        }
        self.ports.read("write", &self.place.1, async { Ok(()) }).await
    }

    async fn finish(self, sha256: &str) -> Finish {
        let Self { ports, tenant, opened, place, uploads } = self;
        let refused = |code, message: &str| Answer { result: Err(Failure::new(code, message)), in_doubt: false };
        let is_refused = ports.world.facts().refused.contains_key(tenant.as_str());
        let Answer { result, in_doubt } = if ports.world.now() - opened > SESSION_DURATION {
            refused(Code::CredentialsExpired, "The session is over.")
        } else if is_refused && is_planted(Bug::DeniedIsStored) {
            return Finish { result: Ok(()), in_doubt: false };
        } else if is_postponed(&place.1) {
            let [upload, _] = uploads;
            ports.seen().postponed.push((upload, sha256.to_owned()));
            return Finish { result: Ok(()), in_doubt: false };
        } else {
            let request = store(&ports, &tenant, &place, sha256, uploads);
            if is_refused {
                ports.say(|| format!("put {}: 403", place.1));
                let mut answer = refused(Code::AccessDenied, "The bucket refused the object.");
                // An earlier attempt was given up, and may take effect.
                if ports.roll_fate() == Fate::GivenUp {
                    answer.in_doubt = true;
                    request.apply_later();
                }
                answer
            } else {
                ports.write_with_faults(request).await
            }
        };
        bugs::misplace(&ports.world, &tenant, &place.1);
        bugs::chain_final(&ports.world, &tenant, &place);
        if is_planted(Bug::ManifestBeforeLastObject) {
            ports.put_postponed().await;
        }
        let result = if is_planted(Bug::FailedPutIsStored) { Ok(()) } else { result };
        let is_hidden =
            is_planted(Bug::DoubtIsHidden) || is_planted(Bug::ManifestDoubtIsHidden) && is_manifest(&place.1);
        Finish { result, in_doubt: in_doubt && !is_hidden }
    }

    async fn abort(self) {
        self.ports.say(|| format!("abort {}", self.place.1));
        self.ports.world.delay().await;
    }
}

/// Whether a planted bug delays the put of this object.
fn is_postponed(key: &str) -> bool {
    let is_it = |bug: &Bug| match bug {
        Bug::ManifestAfterCommit => is_manifest(key),
        Bug::ManifestBeforeLastObject => !is_manifest(key),
        _ => true,
    };
    let bugs =
        [Bug::WatermarkBeforePut, Bug::CheckpointBeforePut, Bug::ManifestAfterCommit, Bug::ManifestBeforeLastObject];
    bugs.into_iter().any(|bug| is_planted(bug) && is_it(&bug))
}

fn store(
    ports: &Ports,
    tenant: &TenantId,
    place: &(String, String),
    sha256: &str,
    uploads: [FakeUpload; 2],
) -> Request<()> {
    let put = Put { tenant: tenant.to_string(), run: ports.run, place: place.clone(), sha256: sha256.to_owned() };
    let (storing, uploads, expected) = (ports.clone(), Mutex::new(uploads.into_iter()), put.clone());
    let apply = move |is_given_up: bool| {
        if !is_given_up && !storing.holds_lease(&expected.tenant) {
            storing.world.violate(format!("{}: run {} stores without the lease", expected.tenant, storing.run));
        }
        if !is_given_up {
            storing.check_final_put(&expected);
            storing.check_replayed_put(&expected);
        }
        let upload = lock(&uploads).next();
        upload.map_or(Ok(()), |upload| call_now(async { upload.finish(&expected.sha256).await.result }))
    };
    Request::new(ports, "put", place.1.clone(), apply).storing(put)
}

impl Ports {
    /// Whether the settings are those of a place that waits for its last events.
    fn is_leaving(&self, config: &TenantConfig) -> bool {
        let state = self.fakes().state();
        let places = state.tenants.get(config.tenant.as_str()).map(|stored| stored.final_deliveries.places.clone());
        let version = Some(config.version.to_string());
        places.unwrap_or_default().iter().any(|it| it.config.version == version)
    }

    /// A final delivery is stored only where one is pending, and not while another run's reading may still be stored.
    fn check_final_put(&self, put: &Put) {
        let (bucket, key) = &put.place;
        if !is_final(key) {
            return;
        }
        let places = self.fakes().state().tenants.get(&put.tenant).map(|stored| stored.final_deliveries.places.clone());
        let is_at = |place: &Place| place.bucket == *bucket && key.starts_with(&place.folder);
        if !places.unwrap_or_default().iter().any(|it| is_at(&it.place)) {
            self.world.violate(format!(
                "{}: run {} stores {bucket}/{key}, which nothing is left to deliver to",
                put.tenant, put.run
            ));
        }
        let facts = self.world.facts();
        let is_other = |it: &&Put| it.place == put.place && it.run != put.run && it.sha256 != put.sha256;
        let other = facts.in_flight.values().find(is_other).map(|it| it.run);
        drop(facts);
        if let Some(other) = other {
            self.world.violate(format!(
                "{}: run {} stores {key}, and run {other}'s put of it is in flight",
                put.tenant, put.run
            ));
        }
    }

    /// A window is replayed only by request, into the place of the request, not while another run's reading of it may still be stored,
    /// and elsewhere only after the final deliveries of places that were left before the request.
    fn check_replayed_put(&self, put: &Put) {
        let result = {
            let (state, facts) = (self.fakes().state(), self.world.facts());
            replays::check_put(&state, &facts, put)
        };
        result.unwrap_or_else(|violation| self.world.violate(format!("run {}: {violation}", self.run)));
    }

    /// Makes the puts that a planted bug has delayed.
    pub(super) async fn put_postponed(&self) {
        let postponed = std::mem::take(&mut self.seen().postponed);
        for (upload, sha256) in postponed {
            // The run already counts it as stored.
            let _ = upload.finish(&sha256).await;
            self.world.check_step();
        }
    }
}
