//! The customers' buckets with faults around them.

use std::sync::Mutex;

use audit_log_core::{
    failure::{Code, Failure},
    memory::{Memory, MemoryUpload},
    object::ObjectSpec,
    ports::{Bucket, Buckets, Upload},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Ports, lock};
use crate::{bugs, world::World};

/// After how long at most a run sees that settings have changed: ten seconds, and what two slow answers take.
const SEEN_AFTER: TimeDelta = TimeDelta::seconds(35);

/// For how long a role's credentials last.
const SESSION: TimeDelta = TimeDelta::minutes(15);

impl Buckets for Ports {
    type Bucket = SimulatedBucket;

    async fn open(&self, config: &TenantConfig, window: Window) -> Result<SimulatedBucket, Failure> {
        if lock(&self.put_off).get(config.tenant.as_str()).is_some_and(|(first, _)| *first) {
            self.world.violate(format!("{} is tried, though that is not due yet", config.tenant));
        }
        if self.world.facts().refused.get(config.tenant.as_str()) == Some(&true) {
            self.say(|| format!("assume role {}: denied", config.tenant));
            return Err(Failure::new(Code::AssumeRoleDenied, "The role may not be assumed."));
        }
        let bucket = self.reads("assume role", config.tenant.as_str(), self.memory().open(config, window)).await?;
        let (tenant, version, opened) = (config.tenant.clone(), config.version, self.world.now());
        Ok(SimulatedBucket { ports: self.clone(), bucket, tenant, version, opened })
    }
}

/// One tenant's bucket, as long as its credentials last.
pub struct SimulatedBucket {
    ports: Ports,
    bucket: <Memory as Buckets>::Bucket,
    tenant: TenantId,
    opened: DateTime<Utc>,
    version: u64,
}

/// Nothing is stored by settings that were changed a while ago.
fn by_current_settings(world: &World, tenant: &TenantId, version: u64) {
    let saved = world.facts().saved.get(tenant.as_str()).copied();
    let stored = world.memory.state().tenants.get(tenant.as_str()).and_then(|tenant| tenant.config.clone());
    let is_current = stored.and_then(|config| config.version).is_some_and(|it| it == version.to_string());
    if let Some(saved) = saved.filter(|_| !is_current)
        && world.now() - saved > SEEN_AFTER
    {
        world.violate(format!("{tenant}: an object is stored by settings that were changed at {saved}"));
    }
}

impl Bucket for SimulatedBucket {
    type Upload = SimulatedUpload;

    fn upload(&self, spec: ObjectSpec) -> SimulatedUpload {
        SimulatedUpload {
            ports: self.ports.clone(),
            tenant: self.tenant.clone(),
            opened: self.opened,
            version: self.version,
            key: spec.key.clone(),
            // A store that is made twice stores the same object twice.
            uploads: [self.bucket.upload(spec.clone()), self.bucket.upload(spec)],
        }
    }
}

/// An object on its way.
pub struct SimulatedUpload {
    ports: Ports,
    tenant: TenantId,
    opened: DateTime<Utc>,
    version: u64,
    key: String,
    uploads: [MemoryUpload; 2],
}

impl Upload for SimulatedUpload {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        for upload in &mut self.uploads {
            upload.write(bytes.clone()).await?;
        }
        self.ports.reads("write", &self.key, async { Ok(()) }).await
    }

    async fn finish(self, sha256: &str) -> Result<(), Failure> {
        let Self { ports, tenant, opened, version, key, uploads } = self;
        by_current_settings(&ports.world, &tenant, version);
        ports.may_die().await;
        if ports.world.now() - opened > SESSION {
            return Err(Failure::new(Code::CredentialsExpired, "The session is over."));
        }
        let refused = ports.world.facts().refused.contains_key(tenant.as_str());
        if refused && planted!(DeniedIsWell) {
            return Ok(());
        }
        if refused {
            ports.say(|| format!("put {key}: 403"));
            return Err(Failure::new(Code::AccessDenied, "The bucket refused the object."));
        }
        if planted!(WatermarkBeforePut) || planted!(ProgressBeforePut) {
            let [upload, _] = uploads;
            lock(&ports.deferred).push((upload, sha256.to_owned()));
            return Ok(());
        }
        let (uploads, sha256) = (Mutex::new(uploads.into_iter()), sha256.to_owned());
        let call = move || {
            let upload = lock(&uploads).next();
            let sha256 = sha256.clone();
            async move {
                match upload {
                    Some(upload) => upload.finish(&sha256).await,
                    None => Ok(()),
                }
            }
        };
        let result = ports.writes("put", &key, call).await;
        ports.may_die().await;
        bugs::misplace(&ports.world, &tenant, &key);
        if planted!(FailedPutIsWell) { Ok(()) } else { result }
    }

    async fn abort(self) {
        self.ports.say(|| format!("abort {}", self.key));
        self.ports.world.delay().await;
    }
}
