//! Tests of signing manifests, and of noting the key that signs them.

use std::time::Duration;

use audit_log_core::{
    failure::Party,
    manifest::{ManifestKey, Signature, UsedKey},
    ports::{ManifestKeys as _, Signer as _},
};
use aws_sdk_kms::config::retry::RetryPartition;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::{signer::KmsSigner, tests::dynamodb::table};

const KEY_ARN: &str = "arn:aws:kms:eu-central-1:111111111111:key/1234";
const KEY_NAME: &str = "111111111111.eu-central-1.audit-logs";

/// A public key of the kind ECC_NIST_P256.
const PUBLIC_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEDwtxdcf4dowrkaQ2y/638kxD3D8b1vqrjgHOVvilq0BqKxDFMo+x3fw9WFmp4KZRdvoktV7ITOaQQ2lxXWwVfA==";
const KEY_ID: [u8; 4] = [0xd5, 0x26, 0xf3, 0x65];

const DIGEST: [u8; 32] = [7; 32];

fn now() -> DateTime<Utc> {
    window().to
}

fn key() -> ManifestKey {
    ManifestKey::from_base64(KEY_NAME, PUBLIC_KEY).unwrap()
}

fn public_key(spec: &str) -> Reply {
    Reply::ok(
        json!({ "KeyId": KEY_ARN, "KeySpec": spec, "KeyUsage": "SIGN_VERIFY", "PublicKey": PUBLIC_KEY }).to_string(),
    )
}

fn signature(base64: &str) -> Reply {
    Reply::ok(json!({ "KeyId": KEY_ARN, "Signature": base64, "SigningAlgorithm": "ECDSA_SHA_256" }).to_string())
}

/// A KMS that signs, and a table without the record.
fn signing() -> Aws {
    Aws::new()
        .on("GetPublicKey", [public_key("ECC_NIST_P256")])
        .on("Sign", [signature("AQID")])
        .on("GetItem", [Reply::ok("{}")])
        .on("PutItem", [Reply::ok("{}")])
}

/// A key as the record `manifest_keys` holds it.
fn noted(name: &str, retired_at: Option<&str>) -> Value {
    let mut key = json!({
        "name": { "S": name }, "public_key": { "S": PUBLIC_KEY }, "first_used_at": { "S": "2026-11-01T00:00:00Z" },
    });
    if let Some(at) = retired_at {
        key["retired_at"] = json!({ "S": at });
    }
    json!({ "M": key })
}

/// A response to GetItem with the record.
fn record(keys: &Value, revision: &Value) -> Reply {
    let item = json!({
        "tenant_id": { "S": "#platform" }, "record": { "S": "manifest_keys" }, "keys": keys, "revision": revision,
    });
    Reply::ok(json!({ "Item": item }).to_string())
}

/// With its own budget of retries, which is otherwise one for all tests of the process.
fn signer(aws: &Aws) -> KmsSigner {
    let config = aws_sdk_kms::config::Builder::from(&aws.sdk_config());
    let config = config.retry_partition(RetryPartition::custom("tests").build());
    KmsSigner::from_config(config, KEY_ARN, KEY_NAME, table(aws))
}

async fn sign(signer: &KmsSigner) -> Result<Signature, Failure> {
    signer.sign(&DIGEST, now(), &|| false).await.inspect_err(|failure| {
        assert_no_secrets(failure);
        assert_eq!((failure.code, failure.party), (Code::SigningFailed, Party::Platform), "{failure}");
    })
}

/// The failure's message. Each failure of these tests must have the same code and party.
async fn refusal(signer: &KmsSigner) -> String {
    sign(signer).await.unwrap_err().message
}

fn body(sent: &stub::Sent) -> Value {
    serde_json::from_str(&sent.body).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_digest_is_signed_with_the_platforms_key() {
    let aws = signing();
    let signed = sign(&signer(&aws)).await;
    assert_eq!(signed, Ok(Signature { key_name: KEY_NAME.to_owned(), key_id: KEY_ID, der: vec![1, 2, 3] }));
    let [sent] = &aws.sent("Sign")[..] else { panic!("{:?}", aws.operations()) };
    let digest = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let expected =
        json!({ "KeyId": KEY_ARN, "Message": digest, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256" });
    assert_eq!(body(sent), expected);
    assert_eq!(body(&aws.sent("GetPublicKey")[0]), json!({ "KeyId": KEY_ARN }));
}

#[tokio::test(start_paused = true)]
async fn the_key_is_read_once_and_noted_before_the_first_signature() {
    let aws = signing();
    let signer = signer(&aws);
    let signed = join_all((0..5).map(|_| sign(&signer))).await;
    assert!(signed.iter().all(Result::is_ok), "{signed:?}");
    assert_eq!(aws.operations(), ["GetPublicKey", "GetItem", "PutItem", "Sign", "Sign", "Sign", "Sign", "Sign"]);
    let get = body(&aws.sent("GetItem")[0]);
    assert_eq!(get["Key"], json!({ "tenant_id": { "S": "#platform" }, "record": { "S": "manifest_keys" } }));
    assert_eq!(get["ConsistentRead"], true);
    let put = body(&aws.sent("PutItem")[0]);
    let key = json!({ "M": {
        "name": { "S": KEY_NAME }, "public_key": { "S": PUBLIC_KEY }, "first_used_at": { "S": "2026-11-21T11:00:00Z" },
    } });
    let item = json!({
        "tenant_id": { "S": "#platform" }, "record": { "S": "manifest_keys" }, "keys": { "L": [key] },
        "revision": { "N": "1" },
    });
    assert_eq!((&put["Item"], &put["ConditionExpression"]), (&item, &json!("attribute_not_exists(tenant_id)")));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_noted_as_the_one_in_use_is_not_noted_again() {
    let keys = json!({ "L": [noted(KEY_NAME, None), noted("old", Some("2026-11-01T00:00:00Z"))] });
    let aws = signing().on("GetItem", [record(&keys, &json!({ "N": "2" }))]);
    sign(&signer(&aws)).await.unwrap();
    assert_eq!(aws.operations(), ["GetPublicKey", "GetItem", "Sign"]);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_retires_the_one_before_unless_another_run_has_noted_it_meanwhile() {
    let before = record(&json!({ "L": [noted("old", None)] }), &json!({ "N": "1" }));
    let aws = signing().on("GetItem", [before.clone()]);
    sign(&signer(&aws)).await.unwrap();
    let put = body(&aws.sent("PutItem")[0]);
    assert_eq!(put["ConditionExpression"], "revision = :read");
    assert_eq!(put["ExpressionAttributeValues"], json!({ ":read": { "N": "1" } }));
    assert_eq!(put["Item"]["revision"], json!({ "N": "2" }));
    assert_eq!(put["Item"]["keys"]["L"][1], noted("old", Some("2026-11-21T11:00:00Z")));

    let condition_fails = Reply::dynamodb(400, "ConditionalCheckFailedException", "");
    let keys = json!({ "L": [noted(KEY_NAME, None), noted("old", Some("2026-11-21T11:00:00Z"))] });
    let aws = signing()
        .on("GetItem", [before.clone(), record(&keys, &json!({ "N": "2" }))])
        .on("PutItem", [condition_fails.clone()]);
    sign(&signer(&aws)).await.unwrap();
    assert_eq!(aws.operations(), ["GetPublicKey", "GetItem", "PutItem", "GetItem", "Sign"]);

    let forever = signing().on("GetItem", [before]).on("PutItem", [condition_fails]);
    let busy = "DynamoDB was still busy with the same items while the manifest key was noted.";
    assert_eq!(refusal(&signer(&forever)).await, busy);
    assert_eq!(forever.sent("Sign").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_could_not_be_noted_signs_nothing_and_is_noted_by_the_next_signature() {
    let denied = Reply::dynamodb(400, "AccessDeniedException", "");
    let aws = signing().on("PutItem", [denied, Reply::ok("{}")]);
    let signer = signer(&aws);
    let message = "DynamoDB answered AccessDeniedException while the manifest key was noted.";
    assert_eq!(refusal(&signer).await, message);
    assert_eq!(aws.operations(), ["GetPublicKey", "GetItem", "PutItem"]);
    sign(&signer).await.unwrap();
    assert_eq!(aws.operations()[3..], ["GetPublicKey", "GetItem", "PutItem", "Sign"]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_not_overwritten_and_nothing_is_signed() {
    let (one, keys) = (json!({ "N": "1" }), json!({ "L": [noted("old", None)] }));
    let with = |name: &str, value: Value| {
        let mut key = noted("old", None);
        key["M"][name] = value;
        json!({ "L": [noted(KEY_NAME, None), key] })
    };
    let mut without_name = noted("old", None);
    without_name["M"].as_object_mut().unwrap().remove("name");
    for (keys, revision) in [
        (keys.clone(), json!({ "S": "1" })),
        (keys.clone(), json!({ "N": "-1" })),
        (json!({ "S": "none" }), one.clone()),
        (json!({ "L": [{ "S": "none" }] }), one.clone()),
        (json!({ "L": [without_name] }), one.clone()),
        (with("public_key", json!({ "S": "no base64" })), one.clone()),
        (with("first_used_at", json!({ "S": "yesterday" })), one.clone()),
        (with("retired_at", json!({ "S": "" })), one.clone()),
        (with("retired_at", json!({ "NULL": true })), one.clone()),
    ] {
        let aws = signing().on("GetItem", [record(&keys, &revision)]);
        assert_eq!(refusal(&signer(&aws)).await, "The record manifest_keys of #platform can't be read.", "{keys}");
        assert_eq!(aws.operations(), ["GetPublicKey", "GetItem"], "{keys}");
        assert_eq!(table(&aws).manifest_keys().await.map_err(|failure| failure.code), Err(Code::Unexpected));
    }
    let item = json!({ "tenant_id": { "S": "#platform" }, "record": { "S": "manifest_keys" } });
    let aws = signing().on("GetItem", [Reply::ok(json!({ "Item": item }).to_string())]);
    refusal(&signer(&aws)).await;
    assert_eq!(aws.sent("PutItem").len(), 0, "it has no keys");
}

#[tokio::test(start_paused = true)]
async fn all_noted_keys_are_returned() {
    let keys = json!({ "L": [noted(KEY_NAME, None), noted("old", Some("2026-11-01T00:00:00Z"))] });
    let aws = Aws::new().on("GetItem", [record(&keys, &json!({ "N": "2" })), Reply::ok("{}")]);
    let first: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
    let old = ManifestKey { name: "old".to_owned(), ..key() };
    let expected = vec![
        UsedKey { key: key(), first_used_at: first, retired_at: None },
        UsedKey { key: old, first_used_at: first, retired_at: Some(first) },
    ];
    assert_eq!(table(&aws).manifest_keys().await, Ok(expected));
    assert_eq!(table(&aws).manifest_keys().await, Ok(Vec::new()), "without the record");
}

#[tokio::test(start_paused = true)]
async fn a_key_of_another_kind_and_an_empty_signature_are_failures() {
    let other = signing().on("GetPublicKey", [public_key("RSA_2048")]);
    let message = "The manifest key has the spec RSA_2048 instead of ECC_NIST_P256.";
    assert_eq!(refusal(&signer(&other)).await, message);
    assert_eq!(other.operations(), ["GetPublicKey"], "it is not noted");
    let nothing = signing().on("GetPublicKey", [Reply::ok("{}")]);
    assert!(refusal(&signer(&nothing)).await.contains("the spec unknown"));
    for empty in [signature(""), Reply::ok("{}")] {
        let aws = signing().on("Sign", [empty]);
        assert_eq!(refusal(&signer(&aws)).await, "KMS answered without a signature.");
    }
}

/// How often a request is sent that KMS refuses for a while.
const ATTEMPTS: usize = 4;

#[tokio::test(start_paused = true)]
async fn whatever_kms_answers_is_a_failure_to_sign_that_names_its_code() {
    for (status, code, attempts) in [
        (400, "AccessDeniedException", 1),
        (400, "DisabledException", 1),
        (400, "KMSInvalidStateException", 1),
        (400, "NotFoundException", 1),
        (400, "InvalidKeyUsageException", 1),
        (400, "UnrecognizedClientException", 1),
        (500, "KMSInternalException", ATTEMPTS),
        (503, "DependencyTimeoutException", ATTEMPTS),
        (500, "KeyUnavailableException", ATTEMPTS),
    ] {
        let refused = || Reply::dynamodb(status, code, "");
        let aws = signing().on("Sign", [refused()]);
        let signer = signer(&aws);
        assert_eq!(refusal(&signer).await, format!("KMS answered {code} while a manifest was signed."));
        assert_eq!(aws.sent("Sign").len(), attempts, "{code}");
        let unread = signing().on("GetPublicKey", [refused()]);
        let message = refusal(&self::signer(&unread)).await;
        assert_eq!(message, format!("KMS answered {code} while the manifest key was read."));
        assert_eq!(unread.operations(), vec!["GetPublicKey"; attempts], "{code}");
    }
    let aws = signing().on("Sign", [Reply::dynamodb(400, "<script>", "")]);
    assert_eq!(refusal(&signer(&aws)).await, "KMS answered an unknown code while a manifest was signed.");
}

#[tokio::test(start_paused = true)]
async fn a_signature_that_kms_refuses_for_a_while_is_retried() {
    let throttled = Reply::dynamodb(400, "ThrottlingException", "");
    let aws = signing().on("Sign", [throttled.clone(), Reply::Lost, signature("AQID")]);
    let signer = signer(&aws);
    assert_eq!(sign(&signer).await.unwrap().der, [1, 2, 3]);
    let aws = signing().on("GetPublicKey", [throttled, Reply::Silence, public_key("ECC_NIST_P256")]);
    assert_eq!(sign(&self::signer(&aws)).await.unwrap().der, [1, 2, 3]);
}

/// A run has 15 seconds to end in good order once its time is up, and KMS's answer is not all that it waits for.
#[tokio::test(start_paused = true)]
async fn without_an_answer_all_tenants_wait_ten_seconds_together() {
    for silent in ["GetPublicKey", "GetItem", "PutItem", "Sign"] {
        let aws = signing().on(silent, [Reply::Silence]);
        let signer = signer(&aws);
        let start_time = Instant::now();
        let messages = join_all((0..20).map(|_| refusal(&signer))).await;
        // The pace spaces the requests out.
        assert!(start_time.elapsed() <= Duration::from_secs(11), "{silent}: {:?}", start_time.elapsed());
        for message in messages {
            let expected = [
                "The manifest key was not read and noted in time.",
                "AWS did not answer while the manifest key was read.",
                "AWS did not answer while a manifest was signed.",
            ];
            assert!(expected.contains(&message.as_str()), "{silent}: {message}");
        }
    }
    let lost = signing().on("Sign", [Reply::Lost]);
    assert_eq!(refusal(&signer(&lost)).await, "AWS did not answer while a manifest was signed.");
    assert_eq!(lost.sent("Sign").len(), ATTEMPTS);
}
