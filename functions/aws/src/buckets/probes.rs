//! What a verification tries in the customer's account, with all rights of the role or with those of a delivery.

use std::time::Duration;

use audit_log_core::{
    export::Budget,
    failure::{Code, Failure},
    object::{ObjectSpec, sha256},
    ports::{Access, Action, Bucket as _, DeliveryFailure, Probes, Reach, Upload as _},
    settings::{Connection, TenantConfig},
    tenant::ExternalId,
};
use chrono::DateTime;
use tokio::time::{Instant, timeout_at};

use super::{AssumedBuckets, RoleRequest, S3Upload, session};
use crate::errors::AwsError;

/// The part of the time before the deadline in which a multipart upload can be aborted.
const ABORT_TIME: Duration = Duration::from_secs(3);

impl Probes for AssumedBuckets {
    type Reach = S3Reach;

    async fn assume(&self, connection: &Connection, external_id: Option<&ExternalId>) -> Result<(), Failure> {
        let session_name = session::check_name(&connection.tenant);
        let request = RoleRequest { role: &connection.role, external_id, session_name, policy: None };
        self.assume_role(request).await.map(drop)
    }

    async fn deliver(
        &self,
        config: &TenantConfig,
        spec: ObjectSpec,
        bytes: Vec<u8>,
        deadline: Instant,
    ) -> Result<(), DeliveryFailure> {
        let send_until = deadline.checked_sub(ABORT_TIME).unwrap_or(deadline);
        let store = async {
            let bucket = self.open_as(config, session::check_name(&config.tenant)).await?;
            let mut upload = bucket.upload(spec.clone());
            upload.write(bytes.clone()).await?;
            upload.finish(&sha256(&bytes)).await.result?;
            Ok::<_, Failure>(bucket)
        };
        let bucket = match timeout_at(send_until, store).await {
            Ok(stored) => stored?,
            Err(_) => return Err(Failure::new(Code::Unavailable, "AWS did not answer in time.").into()),
        };
        let upload = bucket.upload(spec);
        upload.try_multipart(bytes, send_until, deadline).await.map_err(DeliveryFailure::Multipart)
    }

    async fn reach(&self, config: &TenantConfig) -> Result<S3Reach, Failure> {
        let credentials = self.assume_tenants_role(config, session::check_name(&config.tenant), None).await?;
        Ok(S3Reach { client: self.client(config, credentials), config: config.clone() })
    }
}

/// One tenant's bucket, with all rights of the role.
#[derive(Debug)]
pub struct S3Reach {
    client: aws_sdk_s3::Client,
    config: TenantConfig,
}

impl S3Reach {
    /// Sends the headers of a delivery. A bucket policy may refuse requests without them, and that would hide a right.
    async fn put_empty(&self, key: &str) -> Result<(), AwsError> {
        let labels = ObjectSpec::connectivity_check(&self.config, DateTime::UNIX_EPOCH);
        let spec = ObjectSpec { key: key.to_owned(), ..labels };
        S3Upload::new(self.client.clone(), &self.config, spec, Budget::new(0)).put(Vec::new(), None).await
    }
}

impl Reach for S3Reach {
    async fn attempt(&self, action: Action, key: &str) -> Access {
        let bucket = self.config.bucket.as_str();
        let owner = self.config.expected_bucket_owner().as_str();
        let s3 = &self.client;
        let result = match action {
            Action::Get => {
                let get = s3.get_object().bucket(bucket).key(key).expected_bucket_owner(owner).send().await;
                get.map(drop).map_err(|error| AwsError::from_sdk(&error))
            }
            Action::List => {
                let list = s3.list_objects_v2().bucket(bucket).prefix(key).max_keys(1).expected_bucket_owner(owner);
                list.send().await.map(drop).map_err(|error| AwsError::from_sdk(&error))
            }
            Action::Delete => {
                let delete = s3.delete_object().bucket(bucket).key(key).expected_bucket_owner(owner).send().await;
                delete.map(drop).map_err(|error| AwsError::from_sdk(&error))
            }
            Action::Put => self.put_empty(key).await,
        };
        match result {
            Ok(()) => Access::Allowed,
            Err(error) => error.access(self.config.region.as_str()),
        }
    }
}
