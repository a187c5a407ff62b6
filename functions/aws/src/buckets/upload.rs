//! Uploads one object: in a single PUT if it fits into one buffer, otherwise in parts. One part is sent while the next is
//! filled.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use audit_log_core::{
    export::{Budget, BudgetPermit, EXEMPT_BYTES},
    failure::{Code, Failure},
    object::ObjectSpec,
    ports::{Finish, Upload},
    settings::TenantConfig,
    tenant::Encryption,
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
use tokio::{
    task::JoinSet,
    time::{Instant, error::Elapsed, timeout_at},
};
use tracing::Instrument as _;

use crate::errors::AwsError;

/// The size of a part. An upload holds at most two: one in the buffer, one being sent. S3 takes 10,000 parts of at least 5 MiB.
pub const PART_BYTES: usize = 8 * 1024 * 1024;

/// S3 combines the CRC-64/NVME of the parts into that of the object, and checks what it receives and what it stores.
const CHECKSUM: ChecksumAlgorithm = ChecksumAlgorithm::Crc64Nvme;

#[derive(Debug)]
pub struct S3Upload {
    budget: Budget,
    /// Reserves memory for the buffer, once that is larger than the exempt bytes.
    permit: Option<BudgetPermit>,
    client: Client,
    bucket: String,
    region: &'static str,
    expected_owner: String,
    encryption: Encryption,
    spec: ObjectSpec,
    buffer: Vec<u8>,
    multipart: Option<Multipart>,
    /// The attempts to make the object visible.
    attempts: Arc<Attempts>,
}

#[derive(Debug)]
struct Multipart {
    id: String,
    started_parts: i32,
    /// Dropping it cancels them.
    in_flight: JoinSet<Result<CompletedPart, AwsError>>,
    completed: Vec<CompletedPart>,
}

impl Multipart {
    async fn wait_for_parts(&mut self) -> Result<(), AwsError> {
        while let Some(part) = self.in_flight.join_next().await {
            self.completed.push(part.map_err(|_| AwsError::invalid_response("PartCancelled"))??);
        }
        Ok(())
    }
}

impl S3Upload {
    pub(super) fn new(client: Client, config: &TenantConfig, spec: ObjectSpec, budget: Budget) -> Self {
        Self {
            budget,
            permit: None,
            client,
            bucket: config.bucket.to_string(),
            region: config.region.as_str(),
            expected_owner: config.expected_bucket_owner().to_string(),
            encryption: config.encryption.clone(),
            spec,
            buffer: Vec::new(),
            multipart: None,
            attempts: Arc::default(),
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        self.spec.metadata.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// The headers `x-amz-server-side-encryption` and `x-amz-server-side-encryption-aws-kms-key-id`.
    fn encryption_headers(&self) -> (Option<ServerSideEncryption>, Option<String>) {
        match &self.encryption {
            Encryption::Bucket(_) => (None, None),
            Encryption::SseS3 => (Some(ServerSideEncryption::Aes256), None),
            Encryption::SseKms(key) => (Some(ServerSideEncryption::AwsKms), Some(key.to_string())),
        }
    }

    /// Sends the object in a single request. S3 checks the body against `sha256`; without it, the SDK computes one.
    pub(super) async fn put(&self, bytes: Vec<u8>, sha256: Option<&str>) -> Result<(), AwsError> {
        let (encryption, key) = self.encryption_headers();
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .checksum_algorithm(CHECKSUM)
            .content_type(self.spec.content_type)
            .set_metadata(Some(self.metadata()))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key)
            .body(ByteStream::from(bytes))
            .customize()
            .interceptor(AttemptCounter(Arc::clone(&self.attempts)));
        let put = match sha256 {
            Some(sha256) => put.interceptor(PayloadHash(PayloadSigningOverride::Precomputed(sha256.to_owned()))),
            None => put,
        };
        put.send().await.map(|_| ()).map_err(|error| AwsError::from_sdk(&error))
    }

    async fn create_multipart(&self) -> Result<Multipart, AwsError> {
        let (encryption, key) = self.encryption_headers();
        let create = self
            .client
            .create_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .checksum_algorithm(CHECKSUM)
            .content_type(self.spec.content_type)
            .set_metadata(Some(self.metadata()))
            .set_server_side_encryption(encryption)
            .set_ssekms_key_id(key);
        let created = create.send().await.map_err(|error| AwsError::from_sdk(&error))?;
        let id = created.upload_id.ok_or_else(|| AwsError::invalid_response("NoUploadId"))?;
        Ok(Multipart { id, started_parts: 0, in_flight: JoinSet::new(), completed: Vec::new() })
    }

    /// Starts to send a part, once the one before it is stored.
    ///
    /// The SDK signs the part's SHA-256, although the core computes one of the whole object, and S3 checks the CRC-64/NVME. An
    /// unsigned payload would save a fifteenth of the CPU of a large window. But a bucket may refuse it: a policy can deny
    /// `UNSIGNED-PAYLOAD` by the key `s3:x-amz-content-sha256` ("Amazon S3 Signature Version 4 Authentication Specific Policy
    /// Keys" in the S3 API reference).
    async fn send_part(&mut self, bytes: Vec<u8>) -> Result<(), AwsError> {
        let permit = self.permit.take();
        let mut multipart = match self.multipart.take() {
            Some(multipart) => multipart,
            None => self.create_multipart().await?,
        };
        let previous = multipart.wait_for_parts().await;
        multipart.started_parts += 1;
        let number = multipart.started_parts;
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
        if previous.is_ok() {
            let upload = async move {
                let part = upload.send().await.map_err(|error| AwsError::from_sdk(&error))?;
                drop(permit);
                let completed = CompletedPart::builder().part_number(number).set_e_tag(part.e_tag);
                Ok(completed.set_checksum_crc64_nvme(part.checksum_crc64_nvme).build())
            };
            multipart.in_flight.spawn(upload.in_current_span());
        }
        // Kept even if a part failed, so that the upload can be aborted.
        self.multipart = Some(multipart);
        previous
    }

    /// Sends the last part and completes the upload.
    async fn finish_multipart(&mut self, last: Vec<u8>) -> Result<(), AwsError> {
        self.send_part(last).await?;
        match &mut self.multipart {
            Some(multipart) => multipart.wait_for_parts().await?,
            None => return Ok(()),
        }
        match &self.multipart {
            Some(multipart) => self.complete(multipart).await,
            None => Ok(()),
        }
    }

    async fn complete(&self, multipart: &Multipart) -> Result<(), AwsError> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(multipart.completed.clone())).build();
        let complete = self
            .client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .upload_id(&multipart.id)
            .multipart_upload(parts);
        // S3 can take minutes to combine many parts ("CompleteMultipartUpload" in the S3 API reference).
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_secs(120))
            .operation_timeout(Duration::from_secs(300));
        let longer = aws_sdk_s3::config::Config::builder().timeout_config(timeouts.build());
        let complete =
            complete.customize().config_override(longer).interceptor(AttemptCounter(Arc::clone(&self.attempts)));
        complete.send().await.map(|_| ()).map_err(|error| AwsError::from_sdk(&error))
    }

    /// Creates a multipart upload, sends a single part and aborts it: that needs rights that a single PUT doesn't, and shows
    /// no object. S3 uses `kms:Decrypt` for each part ("Protecting data using SSE-KMS" in the S3 user guide). What isn't sent
    /// by `send_until` is given up, so that the upload can be aborted by `deadline`.
    pub(super) async fn try_multipart(
        mut self,
        part: Vec<u8>,
        send_until: Instant,
        deadline: Instant,
    ) -> Result<(), Failure> {
        // Fails only if the upload isn't created: there is no part before this one.
        let created = timeout_at(send_until, self.send_part(part)).await;
        self.multipart_result("A multipart upload could not be created", "s3:PutObject", created)?;
        let Some(mut multipart) = self.multipart.take() else { return Ok(()) };
        let sent = timeout_at(send_until, multipart.wait_for_parts()).await;
        let sent = self.multipart_result("A part of a multipart upload could not be stored", "s3:PutObject", sent);
        let aborted = timeout_at(deadline, self.abort_multipart(&mut multipart)).await;
        let what = "A multipart upload could not be aborted";
        let aborted = self.multipart_result(what, "s3:AbortMultipartUpload", aborted).map_err(|failure| {
            let left =
                "What was sent stays in the bucket, unseen but billed, until a lifecycle rule aborts the upload.";
            Failure { message: format!("{} {left}", failure.message), ..failure }
        });
        match (sent, aborted) {
            (Err(sent), Err(aborted)) => {
                Err(Failure { message: format!("{} {}", sent.message, aborted.message), ..sent })
            }
            (sent, aborted) => sent.and(aborted),
        }
    }

    /// Says which request failed, and which right it takes if S3 refused it.
    fn multipart_result<T>(
        &self,
        what: &str,
        right: &str,
        answer: Result<Result<T, AwsError>, Elapsed>,
    ) -> Result<T, Failure> {
        let Self { bucket, region, spec, .. } = self;
        let key = &spec.key;
        let error = match answer {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::new(Code::Unavailable, format!("{what}: AWS did not answer in time."))),
        };
        let failure = error.s3_failure(bucket, region, key, &self.encryption);
        let message = match (failure.code, error.denying_policy()) {
            (Code::AccessDenied, Some(reason)) => {
                format!("{what}: S3 refused {right} on s3://{bucket}/{key}: {reason}.")
            }
            (Code::AccessDenied, None) => format!("{what}: S3 refused {right} on s3://{bucket}/{key}."),
            _ => format!("{what}: {}", failure.message),
        };
        Err(Failure { message, ..failure })
    }

    async fn abort_multipart(&self, multipart: &mut Multipart) -> Result<(), AwsError> {
        // A part that S3 receives after the abort would stay.
        multipart.in_flight.shutdown().await;
        let abort = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(&self.spec.key)
            .expected_bucket_owner(&self.expected_owner)
            .upload_id(&multipart.id);
        match abort.send().await.map_err(|error| AwsError::from_sdk(&error)) {
            // It is completed, or aborted already.
            Err(error) if error.code == "NoSuchUpload" => Ok(()),
            aborted => aborted.map(drop),
        }
    }

    /// Finds out whether the bucket belongs to another account or rights are missing. S3 refuses both in the same way, so
    /// this tries to abort an upload that doesn't exist, with and without the expected owner. A role that may abort gets
    /// `NoSuchUpload`. If only the request with the owner is refused, the owner is wrong.
    async fn diagnose(&self, error: AwsError) -> Failure {
        let failure = error.s3_failure(&self.bucket, self.region, &self.spec.key, &self.encryption);
        if !error.is_access_denied() {
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

    /// Whether the role may abort uploads of this object; `None` if S3 gave no clear answer.
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
            Err(error) => match AwsError::from_sdk(&error).code.as_str() {
                "NoSuchUpload" => Some(true),
                "AccessDenied" => Some(false),
                _ => None,
            },
        }
    }
}

/// Counts the attempts to store an object that were sent, and those that S3 answered clearly.
#[derive(Debug, Default)]
struct Attempts {
    sent: AtomicU32,
    answered: AtomicU32,
}

impl Attempts {
    /// Whether S3 may still carry one of them out, however it answered the others.
    fn are_in_doubt(&self) -> bool {
        self.sent.load(Ordering::Relaxed) > self.answered.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct AttemptCounter(Arc<Attempts>);

#[dyn_dispatch_hint]
impl Intercept for AttemptCounter {
    fn name(&self) -> &'static str {
        "AttemptCounter"
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
        let is_stored = context.output_or_error().is_some_and(|result| result.is_ok());
        // S3 answers 200 before it has completed an upload, and can still fail then: that is no refusal.
        let is_refused = context.response().is_some_and(|response| (300..500).contains(&response.status().as_u16()));
        if is_stored || is_refused {
            self.0.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Signs a SHA-256 of the body that is known already.
#[derive(Debug)]
struct PayloadHash(PayloadSigningOverride);

#[dyn_dispatch_hint]
impl Intercept for PayloadHash {
    fn name(&self) -> &'static str {
        "PayloadHash"
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
            if let Err(error) = self.send_part(part).await {
                return Err(self.diagnose(error).await);
            }
        }
        if self.buffer.len() > EXEMPT_BYTES && self.permit.is_none() {
            self.permit = self.budget.reserve(PART_BYTES).await;
            // A vector that grows by doubling would exceed the permit.
            self.buffer.reserve_exact((PART_BYTES + EXEMPT_BYTES / 2).saturating_sub(self.buffer.len()));
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
            Err(error) => {
                let failure = self.diagnose(error).await;
                self.abort().await;
                Finish { result: Err(failure), in_doubt }
            }
        }
    }

    async fn abort(mut self) {
        let Some(mut multipart) = self.multipart.take() else { return };
        if let Err(error) = self.abort_multipart(&mut multipart).await {
            // In a bucket of the customer's template, a lifecycle rule deletes it.
            tracing::warn!(
                bucket = self.bucket,
                key = self.spec.key,
                upload_id = multipart.id,
                aws_code = error.code,
                "an unfinished upload is left in the bucket"
            );
        }
    }
}
