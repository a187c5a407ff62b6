//! The customers' buckets: STS for the role, S3 for the objects.

mod session;
mod upload;

use std::time::SystemTime;

use audit_log_core::{
    failure::{Code, Failure},
    object::ObjectSpec,
    ports::{Bucket, Buckets},
    schedule::Window,
    settings::TenantConfig,
};
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_s3::config::{IdentityCache, Region, retry::RetryPartition};

pub use upload::{PART_BYTES, S3Upload};

use crate::answers::Answer;

/// How long a session lasts: the shortest that STS grants, and as long as a Lambda can run.
const SESSION_SECONDS: i32 = 900;

/// Opens each tenant's bucket under the tenant's own role.
#[derive(Debug, Clone)]
pub struct AssumedBuckets {
    shared: SdkConfig,
    sts: aws_sdk_sts::Client,
}

impl AssumedBuckets {
    /// `shared` gives the region of the STS endpoint, the HTTP client and the time limits; its credentials are the
    /// exporter's own and only ever used for STS.
    pub fn new(shared: &SdkConfig) -> Self {
        Self { shared: shared.clone(), sts: aws_sdk_sts::Client::new(shared) }
    }
}

impl Buckets for AssumedBuckets {
    type Bucket = S3Bucket;

    async fn open(&self, config: &TenantConfig, window: Window) -> Result<S3Bucket, Failure> {
        let role = config.role.as_str();
        let answer = self
            .sts
            .assume_role()
            .role_arn(role)
            .external_id(config.external_id.as_str())
            .role_session_name(session::name(&config.tenant, window))
            .duration_seconds(SESSION_SECONDS)
            .policy(session::policy(config))
            .send()
            .await
            .map_err(|error| Answer::of(&error).from_sts(role))?;
        let given = answer.credentials.ok_or_else(|| {
            Failure::new(Code::Rejected, format!("STS answered without credentials when the role {role} was assumed."))
        })?;
        let expires = SystemTime::try_from(given.expiration).ok();
        let credentials = Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            expires,
            "AssumeRole",
        );
        let s3 = aws_sdk_s3::config::Builder::from(&self.shared)
            .region(Region::new(config.region.as_str()))
            .credentials_provider(credentials)
            // A cache would keep one tenant's credentials beyond this bucket.
            .identity_cache(IdentityCache::no_cache())
            // The SDK's own budget of retries is one for all buckets of a region: those that fail would use it up, and
            // a tenant whose bucket is merely slow would get no second try.
            .retry_partition(RetryPartition::custom(config.bucket.to_string()).build())
            .build();
        Ok(S3Bucket { client: aws_sdk_s3::Client::from_conf(s3), config: config.clone() })
    }
}

/// One tenant's bucket, with credentials that reach this tenant's folder and end with it.
#[derive(Debug)]
pub struct S3Bucket {
    client: aws_sdk_s3::Client,
    config: TenantConfig,
}

impl Bucket for S3Bucket {
    type Upload = S3Upload;

    fn upload(&self, spec: ObjectSpec) -> S3Upload {
        S3Upload::new(self.client.clone(), &self.config, spec)
    }
}
