//! The customers' buckets: STS for the role, S3 for the objects.

mod pace;
mod probes;
mod session;
mod upload;

use std::{sync::Arc, time::SystemTime};

use audit_log_core::{
    export::Budget,
    failure::{Code, Failure},
    object::ObjectSpec,
    ports::{Bucket, Buckets},
    schedule::Window,
    settings::TenantConfig,
    tenant::{ExternalId, RoleArn},
};
use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_sdk_s3::config::{IdentityCache, Region, retry::RetryPartition};

use pace::Listening;
pub use pace::Pace;
pub use probes::S3Reach;
pub use upload::{PART_BYTES, S3Upload};

use crate::errors::AwsError;

/// How long a session lasts: the shortest that STS grants, and as long as a Lambda can run.
const SESSION_SECONDS: i32 = 900;

/// Opens each tenant's bucket under the tenant's own role.
#[derive(Debug, Clone)]
pub struct AssumedBuckets {
    shared: SdkConfig,
    sts: aws_sdk_sts::Client,
    pace: Arc<Pace>,
    budget: Budget,
}

impl AssumedBuckets {
    /// `shared` gives the region of the STS endpoint, the HTTP client and the time limits; its credentials are the
    /// exporter's own and only ever used for STS. Roles are assumed at that pace, and uploads hold no more than the budget
    /// has.
    pub fn new(shared: &SdkConfig, pace: Pace, budget: Budget) -> Self {
        Self { shared: shared.clone(), sts: aws_sdk_sts::Client::new(shared), pace: Arc::new(pace), budget }
    }
}

/// How a role is asked for.
struct Ask<'a> {
    role: &'a RoleArn,
    external_id: Option<&'a ExternalId>,
    session_name: String,
    policy: Option<String>,
}

impl AssumedBuckets {
    /// The one place that assumes roles.
    async fn assume(&self, ask: Ask<'_>) -> Result<Credentials, Failure> {
        let role = ask.role.as_str();
        self.pace.turn().await;
        let answer = self
            .sts
            .assume_role()
            .role_arn(role)
            .set_external_id(ask.external_id.map(ToString::to_string))
            .role_session_name(ask.session_name)
            .duration_seconds(SESSION_SECONDS)
            .set_policy(ask.policy)
            .customize()
            .interceptor(Listening(Arc::clone(&self.pace)))
            .send()
            .await
            .map_err(|error| AwsError::of(&error).from_sts(role))?;
        let given = answer.credentials.ok_or_else(|| {
            Failure::new(Code::Rejected, format!("STS answered without credentials when the role {role} was assumed."))
        })?;
        let expires = SystemTime::try_from(given.expiration).ok();
        Ok(Credentials::new(
            given.access_key_id,
            given.secret_access_key,
            Some(given.session_token),
            expires,
            "AssumeRole",
        ))
    }

    /// A client for the tenant's bucket.
    fn client(&self, config: &TenantConfig, credentials: Credentials) -> aws_sdk_s3::Client {
        let s3 = aws_sdk_s3::config::Builder::from(&self.shared)
            .region(Region::new(config.region.as_str()))
            .credentials_provider(credentials)
            // A cache would keep one tenant's credentials beyond this bucket.
            .identity_cache(IdentityCache::no_cache())
            // The SDK's own budget of retries is one for all buckets of a region: those that fail would use it up, and
            // a tenant whose bucket is merely slow would get no second try.
            .retry_partition(RetryPartition::custom(config.bucket.to_string()).build())
            .build();
        aws_sdk_s3::Client::from_conf(s3)
    }

    /// The tenant's bucket under a delivery's session policy.
    async fn open_as(&self, config: &TenantConfig, session_name: String) -> Result<S3Bucket, Failure> {
        let (role, external_id) = (&config.role, Some(&config.external_id));
        let policy = Some(session::policy(config));
        let credentials = self.assume(Ask { role, external_id, session_name, policy }).await?;
        Ok(S3Bucket { client: self.client(config, credentials), config: config.clone(), budget: self.budget.clone() })
    }
}

impl Buckets for AssumedBuckets {
    type Bucket = S3Bucket;

    async fn open(&self, config: &TenantConfig, window: Window) -> Result<S3Bucket, Failure> {
        self.open_as(config, session::name(&config.tenant, window)).await
    }
}

/// One tenant's bucket, with credentials that reach this tenant's folder and end with it.
#[derive(Debug)]
pub struct S3Bucket {
    client: aws_sdk_s3::Client,
    config: TenantConfig,
    budget: Budget,
}

impl Bucket for S3Bucket {
    type Upload = S3Upload;

    fn upload(&self, spec: ObjectSpec) -> S3Upload {
        S3Upload::new(self.client.clone(), &self.config, spec, self.budget.clone())
    }
}
