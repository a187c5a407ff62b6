//! Tests of an object in a single PUT: the request, and its retries.

use std::time::Duration;

use audit_log_core::tenant::{BucketName, Region, TenantId};

use super::*;
use crate::{clients::MAX_ATTEMPTS, tests::stub::Sent};

const KEY: &str = "arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";

/// The PUT of an object with [`BODY`].
async fn put(config: TenantConfig) -> Sent {
    let aws = Aws::new().on("PutObject", [Reply::ok("")]);
    let mut upload = upload(&open(&aws, &config).await.unwrap(), &config);
    upload.write(BODY.to_vec()).await.unwrap();
    upload.finish(&sha256(BODY)).await.result.unwrap();
    assert_eq!(aws.operations(), ["PutObject"]);
    aws.sent("PutObject").remove(0)
}

/// The headers of a PUT, without any others.
const HEADERS: [(&str, &str); 9] = [
    ("content-length", "9"),
    ("content-type", "application/json"),
    ("x-amz-checksum-crc64nvme", CRC64_NVME),
    ("x-amz-expected-bucket-owner", "222222222222"),
    ("x-amz-meta-schema-version", "1"),
    ("x-amz-meta-tenant-id", "acme"),
    ("x-amz-meta-window-from", "2026-11-21T10:00:00Z"),
    ("x-amz-meta-window-to", "2026-11-21T11:00:00Z"),
    ("x-amz-sdk-checksum-algorithm", "CRC64NVME"),
];

#[tokio::test(start_paused = true)]
async fn an_object_is_sent_with_owner_checksum_and_metadata() {
    let request = put(config(Draft::default())).await;
    let folder = "https://acme-audit.s3.eu-west-1.amazonaws.com/security/audit-logs/tenant%3Dacme/dt%3D2026-11-21";
    assert_eq!(request.line, format!("PUT {folder}/20261121T100000Z_20261121T110000Z_0001.json?x-id=PutObject"));
    assert_eq!(request.body.as_bytes(), BODY);
    assert_eq!(request.chosen_headers(), HEADERS);
    // printf 123456789 | sha256sum
    let signed = "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225";
    assert_eq!(request.header("x-amz-content-sha256"), Some(signed), "S3 checks the receipt's hash");
}

/// "Virtual hosting of general purpose buckets" in the Amazon S3 user guide: such names are no host names.
#[tokio::test(start_paused = true)]
async fn an_old_bucket_of_us_east_1_is_addressed_in_the_path() {
    for name in ["ABCD_Central_1", "a..b", &"x".repeat(255)] {
        let (bucket, region) = (BucketName::parse(name).unwrap(), Region::parse("us-east-1").unwrap());
        let request = put(TenantConfig { bucket, region, ..config(Draft::default()) }).await;
        let url = format!("PUT https://s3.us-east-1.amazonaws.com/{name}/security/audit-logs/tenant%3Dacme/");
        assert!(request.line.starts_with(&url), "{}", request.line);
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_is_encrypted_as_the_settings_say() {
    let kms = [("x-amz-server-side-encryption", "aws:kms"), ("x-amz-server-side-encryption-aws-kms-key-id", KEY)];
    for (encryption, key, headers) in [
        ("bucket", None, &[][..]),
        ("bucket", Some(KEY), &[]),
        ("sse-s3", None, &[("x-amz-server-side-encryption", "AES256")]),
        ("sse-kms", Some(KEY), &kms),
    ] {
        let (encryption, kms_key_arn) = (Some(encryption.to_owned()), key.map(str::to_owned));
        let request = put(config(Draft { encryption, kms_key_arn, ..Draft::default() })).await;
        assert_eq!(request.chosen_headers(), [&HEADERS, headers].concat());
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_the_settings_is_expected() {
    let request = put(config(Draft { bucket_owner: Some("333333333333".to_owned()), ..Draft::default() })).await;
    assert_eq!(request.header("x-amz-expected-bucket-owner"), Some("333333333333"));
}

#[tokio::test(start_paused = true)]
async fn compressed_lines_keep_their_type_and_have_no_content_encoding() {
    let (format, compression) = (Some("ndjson".to_owned()), Some("gzip".to_owned()));
    let request = put(config(Draft { format, compression, ..Draft::default() })).await;
    assert!(request.line.contains("_0001.ndjson.gz?"), "{}", request.line);
    assert_eq!(
        (request.header("content-type"), request.header("content-encoding")),
        (Some("application/x-ndjson"), None)
    );
}

#[tokio::test(start_paused = true)]
async fn a_put_whose_response_is_lost_is_sent_again_unchanged() {
    let aws = Aws::new().on("PutObject", [Reply::Lost, Reply::ok("")]);
    store(&aws, BODY).await.unwrap();
    let [first, second] = &aws.sent("PutObject")[..] else { panic!("{:?}", aws.operations()) };
    assert_eq!(
        (&first.line, &first.body, first.chosen_headers()),
        (&second.line, &second.body, second.chosen_headers())
    );
}

#[tokio::test(start_paused = true)]
async fn transient_errors_are_retried() {
    for reply in [
        Reply::s3(503, "SlowDown", "Please reduce your request rate."),
        Reply::s3(503, "ServiceUnavailable", "Service is unable to handle request."),
        Reply::s3(500, "InternalError", "We encountered an internal error. Please try again."),
        Reply::s3(400, "RequestTimeout", "Your socket connection to the server was not read from or written to."),
        Reply::Silence,
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("PutObject", [reply.clone(), reply, Reply::ok("")]);
        assert_eq!(store(&aws, BODY).await, Ok(()), "{case}");
        assert_eq!(aws.operations(), ["PutObject"; 3], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn errors_that_stay_are_failures_after_all_attempts() {
    for (reply, code) in [
        (Reply::s3(503, "SlowDown", "Please reduce your request rate."), Code::Throttled),
        (Reply::s3(503, "ServiceUnavailable", "Service is unable to handle request."), Code::Unavailable),
        (Reply::s3(500, "InternalError", "We encountered an internal error. Please try again."), Code::Unavailable),
        (
            Reply::Response { status: 502, headers: Vec::new(), body: "<html>Bad Gateway</html>".to_owned() },
            Code::Unavailable,
        ),
        (Reply::Lost, Code::Unavailable),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("PutObject", [reply]);
        assert_eq!(failure_code(&aws, BODY).await, Some(code), "{case}");
        assert_eq!(aws.operations(), vec!["PutObject"; MAX_ATTEMPTS as usize], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_never_answers_times_out_after_90_seconds() {
    let aws = Aws::new().on("PutObject", [Reply::Silence]);
    let start_time = tokio::time::Instant::now();
    assert_eq!(failure_code(&aws, BODY).await, Some(Code::Unavailable));
    assert!(start_time.elapsed() <= Duration::from_secs(91), "{:?}", start_time.elapsed());
}

/// By default, the SDK has one budget of retries for all clients of a region.
#[tokio::test(start_paused = true)]
async fn failing_buckets_do_not_use_up_the_retries_of_others() {
    let throttled = Aws::new().on("PutObject", [Reply::s3(503, "SlowDown", "Please reduce your request rate.")]);
    for number in 0..150 {
        let bad =
            TenantConfig { tenant: TenantId::parse(&format!("bad-{number}")).unwrap(), ..config(Draft::default()) };
        let upload = upload(&open(&throttled, &bad).await.unwrap(), &bad);
        assert_eq!(upload.finish(&sha256(&[])).await.result.unwrap_err().code, Code::Throttled);
    }
    assert_eq!(throttled.operations().len(), 150 * MAX_ATTEMPTS as usize);
    let good =
        Aws::new().on("PutObject", [Reply::s3(503, "SlowDown", "Please reduce your request rate."), Reply::ok("")]);
    assert_eq!(store(&good, BODY).await, Ok(()));
}
