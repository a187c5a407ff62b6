//! Tests of the adapters with the real SDK and a stub of AWS, for what the local AWS can't do.
//!
//! Time is paused, so that the SDK's pauses between attempts take none.

mod assume_role;
mod bus;
mod dynamodb;
mod exporter;
mod in_doubt;
mod multipart;
mod pages;
mod probes;
mod put;
mod queue;
mod refusals;
mod signer;
mod signing_for_many;
mod stub;

use std::num::NonZeroU32;

use audit_log_core::{
    export::Budget,
    failure::{Code, Failure},
    object::{ObjectSpec, sha256},
    ports::{Bucket, Buckets, Finish, Upload},
    schedule::Window,
    settings::{Draft, TenantConfig},
    tenant::{Platform, TenantId},
};

use aws_config::SdkConfig;

use crate::{
    buckets::{AssumedBuckets, PART_BYTES, S3Bucket, S3Upload},
    pace::Pace,
    tests::stub::{Aws, Reply, SECRETS},
};

/// The usual test vector for checksums. Its CRC-64/NVME is `ae8b14860a799888`.
const BODY: &[u8] = b"123456789";
const CRC64_NVME: &str = "rosUhgp5mIg=";

fn window() -> Window {
    Window { from: "2026-11-21T10:00:00Z".parse().unwrap(), to: "2026-11-21T11:00:00Z".parse().unwrap() }
}

fn config(draft: Draft) -> TenantConfig {
    let text = |text: &str| Some(text.to_owned());
    let draft = Draft {
        external_id: text("3f6c1d2e-external"),
        role_arn: text("arn:aws:iam::222222222222:role/audit"),
        bucket: draft.bucket.clone().or_else(|| text("acme-audit")),
        region: draft.region.clone().or_else(|| text("eu-west-1")),
        prefix: text("security"),
        frequency_hours: text("1"),
        version: text("3"),
        ..draft
    };
    let platform = Platform::from_function_arn("arn:aws:lambda:eu-central-1:111111111111:function:exporter").unwrap();
    draft.check(&TenantId::parse("acme").unwrap(), &platform).unwrap()
}

/// Without a limit of the pace, and with memory for several parts.
fn buckets(aws: &SdkConfig) -> AssumedBuckets {
    AssumedBuckets::new(aws, Pace::per_second(NonZeroU32::MAX), Budget::new(4 * PART_BYTES), false)
}

async fn open(aws: &Aws, config: &TenantConfig) -> Result<S3Bucket, Failure> {
    buckets(&aws.sdk_config()).open(config, window()).await.inspect_err(assert_no_secrets)
}

fn upload(bucket: &S3Bucket, config: &TenantConfig) -> S3Upload {
    bucket.upload(ObjectSpec::new(config, window(), 1))
}

/// Stores an object for a tenant with plain settings.
async fn store(aws: &Aws, bytes: &[u8]) -> Result<(), Failure> {
    finish(aws, bytes).await.result
}

async fn finish(aws: &Aws, bytes: &[u8]) -> Finish {
    let config = config(Draft::default());
    let bucket = match open(aws, &config).await {
        Ok(bucket) => bucket,
        Err(failure) => return Finish { result: Err(failure), in_doubt: false },
    };
    let mut upload = upload(&bucket, &config);
    let finish = match upload.write(bytes.to_vec()).await {
        Ok(()) => upload.finish(&sha256(bytes)).await,
        Err(failure) => {
            upload.abort().await;
            Finish { result: Err(failure), in_doubt: false }
        }
    };
    finish.result.as_ref().inspect_err(|failure| assert_no_secrets(failure)).ok();
    finish
}

/// Stores an object, and returns the failure's code.
async fn failure_code(aws: &Aws, bytes: &[u8]) -> Option<Code> {
    store(aws, bytes).await.err().map(|failure| failure.code)
}

/// Each failure of these tests is checked here, since customers read its message.
fn assert_no_secrets(failure: &Failure) {
    for secret in SECRETS {
        assert!(!failure.message.contains(secret), "{secret:?} is in the message: {}", failure.message);
    }
}
