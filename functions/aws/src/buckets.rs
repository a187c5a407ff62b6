//! The customers' buckets: assuming roles with STS, storing objects in S3.

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
use aws_sdk_sts::operation::assume_role::AssumeRoleError;

pub use probes::S3Reach;
pub use upload::{PART_BYTES, S3Upload};

use crate::{
    errors::AwsError,
    pace::{AdaptPace, Pace},
};

/// The shortest session that STS grants, and as long as an invocation of Lambda.
const SESSION_SECONDS: i32 = 900;

/// Opens each tenant's bucket under the role of that tenant.
#[derive(Debug, Clone)]
pub struct AssumedBuckets {
    shared: SdkConfig,
    sts: aws_sdk_sts::Client,
    pace: Arc<Pace>,
    budget: Budget,
    denies_organization: bool,
}

impl AssumedBuckets {
    /// `shared` has the region of the STS endpoint, the HTTP client, the time limits and the exporter's credentials, which
    /// are used for STS alone. `budget` limits the memory of all uploads together. `denies_organization` says whether the
    /// exporter's own policy denies the roles of the platform's organization.
    pub fn new(shared: &SdkConfig, pace: Pace, budget: Budget, denies_organization: bool) -> Self {
        let sts = aws_sdk_sts::Client::new(shared);
        Self { shared: shared.clone(), sts, pace: Arc::new(pace), budget, denies_organization }
    }

    /// The one place that assumes roles.
    async fn assume_role(&self, request: RoleRequest<'_>) -> Result<Credentials, Failure> {
        let role = request.role.as_str();
        let region = self.shared.region().map_or("the exporter's region", AsRef::as_ref);
        self.pace.wait_for_slot().await;
        let output = self
            .sts
            .assume_role()
            .role_arn(role)
            .set_external_id(request.external_id.map(ToString::to_string))
            .role_session_name(request.session_name)
            .duration_seconds(SESSION_SECONDS)
            .set_policy(request.policy)
            .customize()
            .interceptor(AdaptPace::<AssumeRoleError>::new(&self.pace))
            .send()
            .await
            .map_err(|error| AwsError::from_sdk(&error).sts_failure(request.role, region, self.denies_organization))?;
        let credentials = output.credentials.ok_or_else(|| {
            Failure::new(
                Code::Unexpected,
                format!("STS answered without credentials while the role {role} was assumed."),
            )
        })?;
        let expires = SystemTime::try_from(credentials.expiration).ok();
        Ok(Credentials::new(
            credentials.access_key_id,
            credentials.secret_access_key,
            Some(credentials.session_token),
            expires,
            "AssumeRole",
        ))
    }

    fn client(&self, config: &TenantConfig, credentials: Credentials) -> aws_sdk_s3::Client {
        let s3 = aws_sdk_s3::config::Builder::from(&self.shared)
            .region(Region::new(config.region.as_str()))
            .credentials_provider(credentials)
            // A cache would keep one tenant's credentials beyond this bucket.
            .identity_cache(IdentityCache::no_cache())
            // The SDK has one budget of retries for all buckets of a region. Buckets that fail would use it up, and
            // requests to a slow bucket would not be retried.
            .retry_partition(RetryPartition::custom(config.bucket.to_string()).build())
            .build();
        aws_sdk_s3::Client::from_conf(s3)
    }

    /// Assumes the tenant's role with its external ID. In a rotation tries the pending one after a refusal.
    async fn assume_tenants_role(
        &self,
        config: &TenantConfig,
        session_name: String,
        policy: Option<String>,
    ) -> Result<Credentials, Failure> {
        let with = |external_id| {
            let (session_name, policy) = (session_name.clone(), policy.clone());
            self.assume_role(RoleRequest { role: &config.role, external_id: Some(external_id), session_name, policy })
        };
        let is_denied = |failure: &Failure| failure.code == Code::AssumeRoleDenied;
        match (with(&config.external_id).await, &config.pending_external_id) {
            (Err(denied), Some(pending)) if is_denied(&denied) => {
                with(pending).await.map_err(|failure| if is_denied(&failure) { denied } else { failure })
            }
            (assumed, _) => assumed,
        }
    }

    /// Opens the bucket with the rights of a delivery.
    async fn open_as(&self, config: &TenantConfig, session_name: String) -> Result<S3Bucket, Failure> {
        let policy = Some(session::policy(config));
        let credentials = self.assume_tenants_role(config, session_name, policy).await?;
        Ok(S3Bucket { client: self.client(config, credentials), config: config.clone(), budget: self.budget.clone() })
    }
}

impl Buckets for AssumedBuckets {
    type Bucket = S3Bucket;

    async fn open(&self, config: &TenantConfig, window: Window) -> Result<S3Bucket, Failure> {
        self.open_as(config, session::export_name(&config.tenant, window)).await
    }
}

struct RoleRequest<'a> {
    role: &'a RoleArn,
    external_id: Option<&'a ExternalId>,
    session_name: String,
    policy: Option<String>,
}

/// One tenant's bucket, with credentials for this tenant's folder alone.
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
