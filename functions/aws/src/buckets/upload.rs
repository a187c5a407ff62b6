//! One object on its way: a single PUT if it fits into one buffer, a multipart upload if it doesn't. A part goes while the
//! next one is filled.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use audit_log_core::{
    export::{Budget, FREE_BYTES, Taken},
    failure::{Code, Failure},
    object::ObjectSpec,
    ports::{Finish, Upload},
    settings::TenantConfig,
};
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::{
    Client,
    config::timeout::TimeoutConfig,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, ServerSideEncryption},
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        interceptors::{
            Intercept,
            context::{
                BeforeSerializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
                FinalizerInterceptorContextRef,
            },
            dyn_dispatch_hint,
        },
        runtime_components::RuntimeComponents,
    },
};
use aws_smithy_types::config_bag::ConfigBag;
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::errors::AwsError;

/// The size of a part; of an object, at most one is held and one is on its way. S3 takes parts from 5 MiB on, and 10,000 of them.
pub const PART_BYTES: usize = 8 * 1024 * 1024;

/// S3 combines the parts' CRC-64/NVME into that of the whole object, and checks both what arrives and what it keeps.
const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

/// An object on its way to S3.
#[derive(Debug)]
pub struct S3Upload {
    budget: Budget,
    /// For the buffer, once it is more than what is free.
    taken: Option<Taken>,
    client: Client,
    bucket: String,
    region: &'static str,
    expected_owner: String,
    kms_key: Option<String>,
    spec: ObjectSpec,
    buffer: Vec<u8>,
    multipart: Option<Multipart>,
    /// Those to make the object visible.
    attempts: Arc<Attempts>,
}

#[derive(Debug)]
struct Multipart {
    id: String,
    /// How many parts were begun.
    begun: i32,
    /// Dropped, they are given up.
    on_their_way: JoinSet<Result<CompletedPart, AwsError>>,
    parts: Vec<CompletedPart>,
}

impl Multipart {
    /// Waits until no more than so many parts are on their way.
    async fn wait(&mut self, until: usize) -> Result<(), AwsError> {
        while self.on_their_way.len() > until {
            let Some(part) = self.on_their_way.join_next().await else { break };
            self.parts.push(part.map_err(|_| AwsError::nonsense("PartGivenUp"))??);
        }
        Ok(())
    }
}

impl S3Upload {
    pub(super) fn new(client: Client, config: &TenantConfig, spec: ObjectSpec, budget: Budget) -> Self {
        Self {
            budget,
            taken: None,
            client,
            bucket: config.bucket.to_string(),
            region: config.region.as_str(),
            expected_owner: config.expected_bucket_owner().to_string(),
            kms_key: config.kms_key.as_ref().map(ToString::to_string),
            spec,
            buffer: Vec::new(),
            multipart: None,
            attempts: Arc::default(),
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        self.spec.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        self.kms_key.as_ref().map(|_| ServerSideEncryption::AwsKms)
    }

    /// The object in a single request, with all its headers. Where its SHA-256 is known, S3 is asked to check that very
    /// one, and not one that is computed anew.
    pub(super) async fn put(&self, bytes: Vec<u8>, sha256: Option<&str>) -> Result<(), AwsError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .checksum_algorithm(CHECKSUM)
            .content_type(self.spec.content_type)
            .set_metadata(Some(self.metadata()))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.kms_key.clone())
            .body(ByteStream::from(bytes))
            .customize()
            .interceptor(Counting(Arc::clone(&self.attempts)));
        let put = match sha256 {
            Some(sha256) => put.interceptor(Signing(PayloadSigningOverride::Precomputed(sha256.to_owned()))),
            None => put,
        };
        put.send().await.map(|_| ()).map_err(|error| AwsError::of(&error))
    }

    async fn begin_multipart(&self) -> Result<Multipart, AwsError> {
        let create = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .checksum_algorithm(CHECKSUM)
            .content_type(self.spec.content_type)
            .set_metadata(Some(self.metadata()))
            .set_server_side_encryption(self.encryption())
            .set_ssekms_key_id(self.kms_key.clone());
        let created = create.send().await.map_err(|error| AwsError::of(&error))?;
        let id = created.upload_id.ok_or_else(|| AwsError::nonsense("NoUploadId"))?;
        Ok(Multipart { id, begun: 0, on_their_way: JoinSet::new(), parts: Vec::new() })
    }

    /// Sends a part off, once the one before it has arrived.
    async fn part(&mut self, bytes: Vec<u8>) -> Result<(), AwsError> {
        let taken = self.taken.take();
        let mut multipart = match self.multipart.take() {
            Some(multipart) => multipart,
            None => self.begin_multipart().await?,
        };
        let arrived = multipart.wait(0).await;
        multipart.begun += 1;
        let number = multipart.begun;
        let upload = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .upload_id(&multipart.id)
            .part_number(number)
            .checksum_algorithm(CHECKSUM)
            .body(ByteStream::from(bytes));
        if arrived.is_ok() {
            let upload = async move {
                let part = upload.send().await.map_err(|error| AwsError::of(&error))?;
                drop(taken);
                let completed = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
                Ok(completed.set_checksum_crc64_nvme(part.checksum_crc64_nvme).build())
            };
            multipart.on_their_way.spawn(upload.in_current_span());
        }
        // Kept even if a part failed, so that the upload can be aborted.
        self.multipart = Some(multipart);
        arrived
    }

    /// Puts the object together from its parts and these last bytes.
    async fn finish_multipart(&mut self, last: Vec<u8>) -> Result<(), AwsError> {
        self.part(last).await?;
        match &mut self.multipart {
            Some(multipart) => multipart.wait(0).await?,
            None => return Ok(()),
        }
        match &self.multipart {
            Some(multipart) => self.complete(multipart).await,
            None => Ok(()),
        }
    }

    async fn complete(&self, multipart: &Multipart) -> Result<(), AwsError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(multipart.parts.clone())).build();
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .upload_id(&multipart.id)
            .multipart_upload(parts);
        // S3 can take minutes to put many parts together (CompleteMultipartUpload in the S3 API reference).
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(120))
            .operation_timeout(Duration::from_secs(300));
        let longer = aws_sdk_s3::config::Config::builder().timeout_config(timeouts.build());
        let complete = complete.customize().config_override(longer).interceptor(Counting(Arc::clone(&self.attempts)));
        complete.send().await.map(|_| ()).map_err(|error| AwsError::of(&error))
    }

    /// Tells a bucket of another account from missing rights. S3 answers both with the same refusal, so this asks for
    /// something harmless, with and without naming the owner: to abort an upload that never was. Whoever may abort
    /// hears that there is no such upload. Only a refusal that goes away with the owner's name is about the owner.
    async fn diagnose(&self, answer: AwsError) -> Failure {
        let failure = answer.from_s3(&self.bucket, self.region, &self.spec.key);
        if !answer.is_access_denied() {
            return failure;
        }
        let refused_with_owner = self.may_abort(Some(&self.expected_owner)).await == Some(false);
        if refused_with_owner && self.may_abort(None).await == Some(true) {
            let Self { bucket, expected_owner, .. } = self;
            let message = format!(
                "The bucket {bucket} does not belong to the account {expected_owner}; nothing was written to it."
            );
            return Failure::new(Code::BucketOwnerMismatch, message);
        }
        failure
    }

    /// Whether the role may abort uploads of this object; none if S3 gave no clear answer.
    async fn may_abort(&self, expected_owner: Option<&str>) -> Option<bool> {
        let abort = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .set_expected_bucket_owner(expected_owner.map(str::to_owned))
            .upload_id("no-such-upload");
        match abort.send().await {
            Ok(_) => Some(true),
            Err(error) => match AwsError::of(&error).code.as_str() {
                "NoSuchUpload" => Some(true),
                "AccessDenied" => Some(false),
                _ => None,
            },
        }
    }
}

/// How many attempts to store an object were sent, and to how many of them S3 has given a clear answer.
#[derive(Debug, Default)]
struct Attempts {
    sent: AtomicU32,
    answered: AtomicU32,
}

impl Attempts {
    /// Whether S3 may still carry one of them out, whatever it answered to the others.
    fn are_in_doubt(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > self.answered.load(Ordering::Relaxed)
    }
}

/// Counts attempts.
#[derive(Debug)]
struct Counting(Arc<Attempts>);

#[dyn_dispatch_hint]
impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let is_stored = context.output_or_error().is_some_and(|went| went.is_ok());
        // An error of 200 is one that S3 came upon while it was completing an upload.
        let is_refused = context.response().is_some_and(|answer| (300..500).contains(&answer.status().as_u16()));
        if is_stored || is_refused {
            self.0.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Which SHA-256 of the body is signed.
#[derive(Debug)]
struct Signing(PayloadSigningOverride);

#[dyn_dispatch_hint]
impl Intercept for Signing {
    fn name(&self) -> &'static str {
        "Signing"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(self.0.clone());
        Ok(())
    }
}

impl Upload for S3Upload {
    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Failure> {
        self.buffer.extend_from_slice(&bytes);
        while self.buffer.len() > PART_BYTES {
            let rest = self.buffer.split_off(PART_BYTES);
            let part = std::mem::replace(&mut self.buffer, rest);
            if let Err(answer) = self.part(part).await {
                return Err(self.diagnose(answer).await);
            }
        }
        if self.buffer.len() > FREE_BYTES && self.taken.is_none() {
            self.taken = self.budget.take(PART_BYTES).await;
            // A vector that doubles would take twice of what was asked for.
            self.buffer.reserve_exact((PART_BYTES + FREE_BYTES / 2).saturating_sub(self.buffer.len()));
        }
        Ok(())
    }

    async fn finish(mut self, sha256: &str) -> Finish {
        let last = std::mem::take(&mut self.buffer);
        let stored = match self.multipart {
            None => self.put(last, Some(sha256)).await,
            Some(_) => self.finish_multipart(last).await,
        };
        let in_doubt = self.attempts.are_in_doubt();
        match stored {
            Ok(()) => Finish { result: Ok(()), in_doubt },
            Err(answer) => {
                let failure = self.diagnose(answer).await;
                self.abort().await;
                Finish { result: Err(failure), in_doubt }
            }
        }
    }

    async fn abort(self) {
        let Some(mut multipart) = self.multipart else { return };
        // A part that arrives after the abort would stay.
        multipart.on_their_way.shutdown().await;
        let abort = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .upload_id(&multipart.id);
        if let Err(error) = abort.send().await {
            // A lifecycle rule, which a bucket made by the customer's template has, drops it; the log says where it is.
            let code = AwsError::of(&error).code;
            tracing::warn!(
                bucket = self.bucket,
                key = self.spec.key,
                upload_id = multipart.id,
                aws_code = code,
                "an unfinished upload was left behind"
            );
        }
    }
}
