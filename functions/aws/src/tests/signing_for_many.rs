//! Tests of signing manifests for many tenants while KMS throttles or does not answer.

use std::sync::Mutex;

use audit_log_core::ports::Signer as _;
use aws_config::Region;
use chrono::TimeDelta;
use futures::future::join_all;
use serde_json::json;
use tokio::time::{Duration, Instant};

use super::*;
use crate::{events::EventsTable, signer::KmsSigner, tenants::TenantsTable};

const KEY_ARN: &str = "arn:aws:kms:eu-central-1:111111111111:key/3f6c1d2e";

/// A key that signs so often in each second, and is throttled otherwise.
fn kms(signatures_a_second: u32) -> Aws {
    let public_key = json!({ "KeySpec": "ECC_NIST_P256", "PublicKey": "a2V5" });
    let second = Mutex::new((Instant::now(), 0));
    Aws::new()
        .on("GetPublicKey", [Reply::ok(public_key.to_string())])
        .on("GetItem", [Reply::ok("{}")])
        .on("PutItem", [Reply::ok("{}")])
        .answering("Sign", move |_, _| {
            let (begun, signed) = &mut *second.lock().unwrap();
            if begun.elapsed() >= Duration::from_secs(1) {
                (*begun, *signed) = (Instant::now(), 0);
            }
            *signed += 1;
            if *signed <= signatures_a_second {
                Reply::ok(json!({ "Signature": "c2lnbmF0dXJl" }).to_string())
            } else {
                Reply::dynamodb(400, "ThrottlingException", "")
            }
        })
}

/// In a region of its own for each test, since all clients of a region share their budget of retries.
fn signer(aws: &Aws, region: &'static str) -> KmsSigner {
    let shared = aws.sdk_config().into_builder().region(Region::new(region)).build();
    let events = EventsTable::new(dynamodb::client(aws), "events");
    let tenants = TenantsTable::new(dynamodb::client(aws), "tenants", events, TimeDelta::minutes(1));
    KmsSigner::new(&shared, KEY_ARN, "platform", tenants)
}

#[tokio::test(start_paused = true)]
async fn no_signature_of_a_fleet_fails_at_the_quota() {
    let aws = kms(10);
    let signer = signer(&aws, "eu-west-1");
    let started = Instant::now();
    // As many side by side as an invocation exports tenants, each with windows to catch up on.
    let signed = join_all((0..64).map(|_| async {
        for _ in 0..3 {
            signer.sign(&[7; 32], window().to, &|| false).await?;
        }
        Ok(())
    }));
    let failed: Vec<Failure> = signed.await.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed, []);
    // As fast as KMS takes them.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_always_throttled_costs_a_window_less_than_a_minute() {
    let aws = kms(0);
    let signer = signer(&aws, "eu-west-2");
    let started = Instant::now();
    let failure = signer.sign(&[7; 32], window().to, &|| false).await.unwrap_err();
    assert_eq!(failure.code, Code::SigningFailed);
    assert!(failure.message.contains("ThrottlingException"), "{}", failure.message);
    assert_no_secrets(&failure);
    assert!((30..60).contains(&started.elapsed().as_secs()), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tenants_that_wait_for_an_unreachable_key_fail_together() {
    let aws = Aws::new().on("GetPublicKey", [Reply::Silence]);
    let signer = signer(&aws, "eu-west-3");
    let started = Instant::now();
    let failed = join_all((0..64).map(|_| signer.sign(&[7; 32], window().to, &|| false))).await;
    assert!(failed.iter().all(|signed| signed.as_ref().is_err_and(|failure| failure.code == Code::SigningFailed)));
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_run_comes_to_all_tenants_while_kms_does_not_answer() {
    let public_key = json!({ "KeySpec": "ECC_NIST_P256", "PublicKey": "a2V5" });
    let aws = Aws::new()
        .on("GetPublicKey", [Reply::ok(public_key.to_string())])
        .on("GetItem", [Reply::ok("{}")])
        .on("PutItem", [Reply::ok("{}")])
        .on("Sign", [Reply::Silence]);
    let signer = signer(&aws, "eu-north-1");
    let started = Instant::now();
    // Eight at a time.
    for _ in 0..100 {
        let failed = join_all((0..8).map(|_| signer.sign(&[7; 32], window().to, &|| false))).await;
        assert!(failed.iter().all(Result::is_err));
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_should_stop_waits_for_no_throttled_signature() {
    let aws = kms(0);
    let signer = signer(&aws, "eu-south-1");
    let started = Instant::now();
    assert!(signer.sign(&[7; 32], window().to, &|| true).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(12), "{:?}", started.elapsed());
}
