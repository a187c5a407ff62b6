//! Buckets in memory. An object exists once its upload is finished, in its tenant's folder only.

use super::{FakeObject, Fakes, Op};
use crate::{
    failure::{Code, Failure},
    object::{ObjectSpec, tenant_folder},
    ports::{Bucket, Buckets, Finish, Upload},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
};

impl Buckets for Fakes {
    type Bucket = FakeBucket;

    async fn open(&self, config: &TenantConfig, _window: Window) -> Result<FakeBucket, Failure> {
        self.inject(Op::Open, config.tenant.as_str()).await?;
        self.state().opened = Some(config.clone());
        let folder = tenant_folder(&config.prefix, &config.tenant);
        let (tenant, bucket) = (config.tenant.clone(), config.bucket.to_string());
        Ok(FakeBucket { fakes: self.clone(), tenant, bucket, folder })
    }
}

/// The bucket exists once the state has it.
pub struct FakeBucket {
    fakes: Fakes,
    tenant: TenantId,
    bucket: String,
    folder: String,
}

impl Bucket for FakeBucket {
    type Upload = FakeUpload;

    fn upload(&self, spec: ObjectSpec) -> FakeUpload {
        let (fakes, tenant) = (self.fakes.clone(), self.tenant.clone());
        let (bucket, folder) = (self.bucket.clone(), self.folder.clone());
        FakeUpload { fakes, tenant, bucket, folder, spec, bytes: Vec::new() }
    }
}

pub struct FakeUpload {
    fakes: Fakes,
    tenant: TenantId,
    bucket: String,
    folder: String,
    spec: ObjectSpec,
    bytes: Vec<u8>,
}

impl Upload for FakeUpload {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.fakes.inject(Op::Write, self.tenant.as_str()).await?;
        self.bytes.extend(bytes);
        Ok(())
    }

    async fn finish(self, sha256: &str) -> Finish {
        let in_doubt = self.fakes.state().in_doubt;
        Finish { result: self.store(sha256).await, in_doubt }
    }

    async fn abort(self) {
        // Counts the call; an abort can't report a fault.
        let _ = self.fakes.inject(Op::Abort, self.tenant.as_str()).await;
    }
}

impl FakeUpload {
    async fn store(self, sha256: &str) -> Result<(), Failure> {
        self.fakes.inject(Op::Finish, self.tenant.as_str()).await?;
        if crate::object::sha256(&self.bytes) != sha256 {
            return Err(Failure::new(Code::Rejected, "The checksum is not that of the bytes."));
        }
        // As by the session policy on AWS.
        if !self.spec.key.starts_with(&self.folder) {
            let message = format!("The role may not write s3://{}/{}.", self.bucket, self.spec.key);
            return Err(Failure::new(Code::AccessDenied, message));
        }
        let mut state = self.fakes.state();
        let missing = || Failure::new(Code::BucketNotFound, format!("There is no bucket {}.", self.bucket));
        let bucket = state.buckets.get_mut(&self.bucket).ok_or_else(missing)?;
        let ObjectSpec { key, content_type, metadata } = self.spec;
        bucket.insert(key.clone(), FakeObject { bytes: self.bytes, content_type, metadata });
        state.stored.push((self.bucket, key));
        Ok(())
    }
}
