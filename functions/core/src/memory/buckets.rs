//! Buckets in memory: an object is there once its upload is finished, and only in its own tenant's folder.

use super::{Memory, Object, Op};
use crate::{
    failure::{Code, Failure},
    object::{ObjectSpec, tenant_folder},
    ports::{Bucket, Buckets, Finish, Upload},
    schedule::Window,
    settings::TenantConfig,
    tenant::TenantId,
};

impl Buckets for Memory {
    type Bucket = MemoryBucket;

    async fn open(&self, config: &TenantConfig, _window: Window) -> Result<MemoryBucket, Failure> {
        self.pass(Op::Open, config.tenant.as_str()).await?;
        let folder = tenant_folder(&config.prefix, &config.tenant);
        let (tenant, bucket) = (config.tenant.clone(), config.bucket.to_string());
        Ok(MemoryBucket { memory: self.clone(), tenant, bucket, folder })
    }
}

/// One tenant's bucket; it exists once the state has it.
pub struct MemoryBucket {
    memory: Memory,
    tenant: TenantId,
    bucket: String,
    folder: String,
}

impl Bucket for MemoryBucket {
    type Upload = MemoryUpload;

    fn upload(&self, spec: ObjectSpec) -> MemoryUpload {
        let (memory, tenant) = (self.memory.clone(), self.tenant.clone());
        let (bucket, folder) = (self.bucket.clone(), self.folder.clone());
        MemoryUpload { memory, tenant, bucket, folder, spec, bytes: Vec::new() }
    }
}

/// An object on its way.
pub struct MemoryUpload {
    memory: Memory,
    tenant: TenantId,
    bucket: String,
    folder: String,
    spec: ObjectSpec,
    bytes: Vec<u8>,
}

impl Upload for MemoryUpload {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.memory.pass(Op::Write, self.tenant.as_str()).await?;
        self.bytes.extend(bytes);
        Ok(())
    }

    async fn finish(self, sha256: &str) -> Finish {
        let in_doubt = self.memory.state().in_doubt;
        Finish { result: self.store(sha256).await, in_doubt }
    }

    async fn abort(self) {
        // A fault here would have nobody to tell; the call is counted.
        let _ = self.memory.pass(Op::Abort, self.tenant.as_str()).await;
    }
}

impl MemoryUpload {
    async fn store(self, sha256: &str) -> Result<(), Failure> {
        self.memory.pass(Op::Finish, self.tenant.as_str()).await?;
        if crate::object::sha256(&self.bytes) != sha256 {
            return Err(Failure::new(Code::Rejected, "The checksum is not that of what was written."));
        }
        // As the session policy has it on AWS: a delivery reaches its own tenant's folder alone.
        if !self.spec.key.starts_with(&self.folder) {
            let message = format!("The role may not write s3://{}/{}.", self.bucket, self.spec.key);
            return Err(Failure::new(Code::AccessDenied, message));
        }
        let mut state = self.memory.state();
        let missing = || Failure::new(Code::BucketNotFound, format!("There is no bucket {}.", self.bucket));
        let bucket = state.buckets.get_mut(&self.bucket).ok_or_else(missing)?;
        let ObjectSpec { key, content_type, metadata } = self.spec;
        bucket.insert(key.clone(), Object { bytes: self.bytes, content_type, metadata });
        state.stored.push((self.bucket, key));
        Ok(())
    }
}
