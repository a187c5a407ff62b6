//! Tests of an object in parts.

use super::*;
use crate::{buckets::PART_BYTES, clients::MAX_ATTEMPTS};

const CREATED: &str = "<InitiateMultipartUploadResult><Bucket>acme-audit</Bucket><Key>k</Key>\
    <UploadId>upload-1</UploadId></InitiateMultipartUploadResult>";

pub(super) const COMPLETED: &str = "<CompleteMultipartUploadResult><Bucket>acme-audit</Bucket><Key>k</Key>\
    <ETag>&quot;whole&quot;</ETag></CompleteMultipartUploadResult>";

/// S3 without errors.
pub(super) fn s3() -> Aws {
    Aws::new()
        .on("CreateMultipartUpload", [Reply::ok(CREATED)])
        .on(
            "UploadPart",
            [
                Reply::ok("").with_header("etag", "\"one\"").with_header("x-amz-checksum-crc64nvme", "AAAAAAAAAAE="),
                Reply::ok("").with_header("etag", "\"two\"").with_header("x-amz-checksum-crc64nvme", CRC64_NVME),
            ],
        )
        .on("CompleteMultipartUpload", [Reply::ok(COMPLETED)])
        .on("AbortMultipartUpload", [Reply::Response { status: 204, headers: Vec::new(), body: String::new() }])
}

/// A part, and [`BODY`] as the last one.
pub(super) fn two_parts() -> Vec<u8> {
    [&vec![b'-'; PART_BYTES], BODY].concat()
}

/// The operations of all requests, after checking that each expects the owner.
fn operations_with_owner(aws: &Aws) -> Vec<String> {
    let operations = aws.operations();
    for request in operations.iter().flat_map(|operation| aws.sent(operation)) {
        assert_eq!(request.header("x-amz-expected-bucket-owner"), Some("222222222222"), "{}", request.operation);
    }
    operations
}

#[tokio::test(start_paused = true)]
async fn a_large_object_is_sent_in_parts_with_owner_and_checksum() {
    const KEY: &str = "arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let aws = s3();
    let config =
        config(Draft { encryption: Some("sse-kms".to_owned()), kms_key_arn: Some(KEY.to_owned()), ..Draft::default() });
    let mut upload = upload(&open(&aws, &config).await.unwrap(), &config);
    upload.write(two_parts()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(aws.operations(), ["CreateMultipartUpload", "UploadPart"], "a full part is sent at once");
    upload.finish(&sha256(&two_parts())).await.result.unwrap();
    assert_eq!(
        operations_with_owner(&aws),
        ["CreateMultipartUpload", "UploadPart", "UploadPart", "CompleteMultipartUpload"]
    );

    let create = aws.sent("CreateMultipartUpload").remove(0);
    let labels = [
        ("content-type", "application/json"),
        ("x-amz-checksum-algorithm", "CRC64NVME"),
        ("x-amz-expected-bucket-owner", "222222222222"),
        ("x-amz-meta-schema-version", "1"),
        ("x-amz-meta-tenant-id", "acme"),
        ("x-amz-meta-window-from", "2026-11-21T10:00:00Z"),
        ("x-amz-meta-window-to", "2026-11-21T11:00:00Z"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-aws-kms-key-id", KEY),
    ];
    let mut chosen = create.chosen_headers();
    chosen.retain(|(name, _)| *name != "content-length");
    assert_eq!(chosen, labels);

    let parts = aws.sent("UploadPart");
    for (part, expected) in parts.iter().zip(["partNumber=1&uploadId=upload-1", "partNumber=2&uploadId=upload-1"]) {
        assert!(part.line.ends_with(expected), "{}", part.line);
        assert_eq!(part.header("x-amz-sdk-checksum-algorithm"), Some("CRC64NVME"));
    }
    assert_eq!(parts[0].body.len(), PART_BYTES);
    assert_eq!((parts[1].body.as_bytes(), parts[1].header("x-amz-checksum-crc64nvme")), (BODY, Some(CRC64_NVME)));

    let complete = aws.sent("CompleteMultipartUpload").remove(0);
    assert!(complete.line.ends_with("uploadId=upload-1"), "{}", complete.line);
    let listed = |number: u8, etag: &str, checksum: &str| {
        let (etag, checksum) =
            (format!("<ETag>&quot;{etag}&quot;</ETag>"), format!("<ChecksumCRC64NVME>{checksum}</ChecksumCRC64NVME>"));
        assert!(complete.body.contains(&etag) && complete.body.contains(&checksum), "{}", complete.body);
        complete.body.find(&format!("<PartNumber>{number}</PartNumber>")).unwrap()
    };
    assert!(listed(1, "one", "AAAAAAAAAAE=") < listed(2, "two", CRC64_NVME), "{}", complete.body);
}

#[tokio::test(start_paused = true)]
async fn an_object_has_as_many_parts_as_it_needs_and_none_is_empty() {
    for (size, parts) in [
        (PART_BYTES, &[][..]),
        (PART_BYTES + 1, &[PART_BYTES, 1]),
        (2 * PART_BYTES, &[PART_BYTES, PART_BYTES]),
        (2 * PART_BYTES + 1, &[PART_BYTES, PART_BYTES, 1]),
    ] {
        let aws = s3().on("PutObject", [Reply::ok("")]);
        store(&aws, &vec![b'-'; size]).await.unwrap();
        assert_eq!(aws.sent("UploadPart").iter().map(|part| part.body.len()).collect::<Vec<_>>(), parts, "{size}");
        assert_eq!(aws.sent("PutObject").len(), usize::from(parts.is_empty()), "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_part_is_filled_while_another_is_sent_and_no_third() {
    let aws = s3().on("UploadPart", [Reply::Silence]);
    let config = config(Draft::default());
    let mut upload = upload(&open(&aws, &config).await.unwrap(), &config);
    let second = std::time::Duration::from_secs(1);
    for filled in [true, true, false] {
        let write = tokio::time::timeout(second, upload.write(vec![b'-'; PART_BYTES])).await;
        assert_eq!(write.is_ok(), filled, "{write:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_first_part_fails_is_aborted() {
    let aws = s3().on("UploadPart", [Reply::s3(400, "EntityTooLarge", "Your proposed upload is too large.")]);
    assert_eq!(failure_code(&aws, &two_parts()).await, Some(Code::Unexpected));
    assert_eq!(operations_with_owner(&aws), ["CreateMultipartUpload", "UploadPart", "AbortMultipartUpload"]);
    assert!(aws.sent("AbortMultipartUpload")[0].line.contains("uploadId=upload-1"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_whose_last_part_fails_is_aborted() {
    let aws = s3().on("UploadPart", [Reply::ok("").with_header("etag", "\"one\""), Reply::s3(503, "SlowDown", "")]);
    assert_eq!(failure_code(&aws, &two_parts()).await, Some(Code::Throttled));
    let operations = operations_with_owner(&aws);
    assert_eq!(operations.iter().filter(|operation| *operation == "UploadPart").count(), 1 + MAX_ATTEMPTS as usize);
    assert_eq!(operations.last().map(String::as_str), Some("AbortMultipartUpload"));
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_can_not_be_completed_is_aborted() {
    let aws =
        s3().on("CompleteMultipartUpload", [Reply::s3(400, "InvalidPart", "One or more parts could not be found.")]);
    assert_eq!(failure_code(&aws, &two_parts()).await, Some(Code::Unexpected));
    assert_eq!(operations_with_owner(&aws)[3..], ["CompleteMultipartUpload", "AbortMultipartUpload"]);
}

/// By "CompleteMultipartUpload" in the S3 API reference, S3 answers 200 before it is done, and the body may hold an error.
/// If that counted as a success, a window would lack its object.
#[tokio::test(start_paused = true)]
async fn an_error_with_status_200_is_no_success() {
    let error = Reply::s3(200, "InternalError", "We encountered an internal error. Please try again.");
    let aws = s3().on("CompleteMultipartUpload", [error.clone(), error.clone(), Reply::ok(COMPLETED)]);
    assert_eq!(store(&aws, &two_parts()).await, Ok(()));
    assert_eq!(aws.sent("CompleteMultipartUpload").len(), 3);

    let aws = s3().on("CompleteMultipartUpload", [error]);
    assert_eq!(failure_code(&aws, &two_parts()).await, Some(Code::Unavailable));
    assert_eq!(aws.sent("AbortMultipartUpload").len(), 1);
}

/// By "CompleteMultipartUpload" in the S3 API reference, `NoSuchUpload` means that the upload was aborted or completed. The
/// window is exported again, which replaces the object if it is there.
#[tokio::test(start_paused = true)]
async fn an_upload_that_is_gone_when_it_is_completed_is_tried_again_later() {
    let gone = || Reply::s3(404, "NoSuchUpload", "The specified multipart upload does not exist.");
    let error = || Reply::s3(200, "InternalError", "We encountered an internal error. Please try again.");
    for (replies, in_doubt) in [
        // Completed by the first attempt, whose answer was lost.
        (vec![Reply::Lost, gone()], true),
        (vec![error(), gone()], true),
        // Aborted by another actor, such as a lifecycle rule.
        (vec![gone()], false),
    ] {
        let case = format!("{replies:?}");
        let aws = s3()
            .answering("CompleteMultipartUpload", move |_, nth| replies[nth.min(replies.len() - 1)].clone())
            .on("AbortMultipartUpload", [gone()]);
        let finish = finish(&aws, &two_parts()).await;
        let failure = finish.result.unwrap_err();
        assert_eq!((failure.code, finish.in_doubt), (Code::Unavailable, in_doubt), "{case}");
        assert!(failure.message.contains("no longer had the unfinished upload"), "{}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_can_not_be_created_is_not_aborted() {
    let aws = s3().on("CreateMultipartUpload", [Reply::s3(404, "NoSuchBucket", "The specified bucket does not exist")]);
    assert_eq!(failure_code(&aws, &two_parts()).await, Some(Code::BucketNotFound));
    assert_eq!(aws.operations(), ["CreateMultipartUpload"]);
}

#[tokio::test(start_paused = true)]
async fn an_upload_is_aborted_once_and_by_its_id() {
    let aws = s3().on("AbortMultipartUpload", [Reply::s3(403, "AccessDenied", "Access Denied")]);
    let config = config(Draft::default());
    let mut upload = upload(&open(&aws, &config).await.unwrap(), &config);
    upload.write(two_parts()).await.unwrap();
    // S3 refuses it, and that is only logged.
    upload.abort().await;
    let [abort] = &aws.sent("AbortMultipartUpload")[..] else { panic!("{:?}", aws.operations()) };
    assert!(abort.line.contains("uploadId=upload-1"), "{}", abort.line);
}

#[tokio::test(start_paused = true)]
async fn a_part_whose_response_is_lost_is_sent_again_with_its_number() {
    let stored = || Reply::ok("").with_header("etag", "\"one\"");
    let aws = s3().on("UploadPart", [Reply::Lost, stored(), Reply::Lost, stored()]);
    assert_eq!(store(&aws, &two_parts()).await, Ok(()));
    let numbers: Vec<_> = aws.sent("UploadPart").iter().map(|part| part.line.contains("partNumber=1")).collect();
    assert_eq!(numbers, [true, true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stalls_is_sent_again_when_the_attempts_time_is_up() {
    let part = || Reply::ok("").with_header("etag", "\"one\"").with_header("x-amz-checksum-crc64nvme", CRC64_NVME);
    let aws = s3().on("UploadPart", [Reply::Silence, part(), part()]);
    let config = config(Draft::default());
    let mut upload = upload(&open(&aws, &config).await.unwrap(), &config);
    let began = tokio::time::Instant::now();
    upload.write(two_parts()).await.unwrap();
    upload.finish(&sha256(&two_parts())).await.result.unwrap();
    assert_eq!(aws.sent("UploadPart").len(), 3);
    let seconds = began.elapsed().as_secs();
    assert!((30..40).contains(&seconds), "an attempt has 30 seconds, and the retry waits a little: {seconds}");
}
