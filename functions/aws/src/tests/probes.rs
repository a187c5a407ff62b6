//! Tests of a verification's requests, and of what the responses mean.

use audit_log_core::{
    ports::{Access, Action, DeliveryFailure, Probes as _, Reach as _},
    settings::Connection,
};

use tokio::time::{Duration, Instant};

use super::*;
use crate::{
    clients::MAX_ATTEMPTS,
    tests::{multipart, stub::Sent},
};

fn probes(aws: &Aws) -> AssumedBuckets {
    buckets(&aws.sdk_config())
}

fn connection() -> Connection {
    let TenantConfig { tenant, external_id, pending_external_id, role, .. } = config(Draft::default());
    Connection { tenant, external_id, pending_external_id, role }
}

fn check_spec(config: &TenantConfig) -> ObjectSpec {
    ObjectSpec::connectivity_check(config, window().from)
}

fn in_20_seconds() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

const KEY: &str = "security/audit-logs/tenant=acme/_audit-log-export/connectivity-check";

#[tokio::test(start_paused = true)]
async fn a_role_is_assumed_with_the_given_external_id_or_without_one() {
    let aws = Aws::new();
    let connection = connection();
    let wrong = connection.external_id.last_changed();
    for (external_id, field) in [
        (Some(&connection.external_id), Some("ExternalId=3f6c1d2e-external".to_owned())),
        (Some(&wrong), Some(format!("ExternalId={wrong}"))),
        (None, None),
    ] {
        probes(&aws).assume(&connection, external_id).await.unwrap();
        let body = aws.sent("AssumeRole").pop().unwrap().body;
        let sent = body.split('&').find(|field| field.starts_with("ExternalId="));
        assert_eq!(sent.map(str::to_owned), field);
        assert!(body.contains("RoleSessionName=acme-connectivity-check"), "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_access_denied_counts_as_a_refusal_of_the_role() {
    for (reply, access, tries) in [
        (stub::role_credentials(), Access::Allowed, 1),
        (Reply::sts(403, "AccessDenied"), Access::Refused, 1),
        (Reply::sts(400, "Throttling"), Access::Unclear(Code::Throttled), MAX_ATTEMPTS),
        (Reply::sts(500, "InternalFailure"), Access::Unclear(Code::Unavailable), MAX_ATTEMPTS),
        (Reply::Lost, Access::Unclear(Code::Unavailable), MAX_ATTEMPTS),
        (Reply::sts(403, "ExpiredTokenException"), Access::Unclear(Code::CredentialsExpired), 1),
        (Reply::sts(403, "RegionDisabledException"), Access::Unclear(Code::StsRegionDisabled), 1),
        (Reply::sts(400, "ValidationError"), Access::Unclear(Code::Unexpected), 1),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("AssumeRole", [reply]);
        let answer = probes(&aws).assume(&connection(), None).await.inspect_err(assert_no_secrets);
        assert_eq!(Access::from(answer), access, "{case}");
        assert_eq!(aws.sent("AssumeRole").len(), tries as usize, "{case}");
    }
}

/// The fields of an AssumeRole that a check and a delivery must have in common.
fn fields_without_session_name(request: &Sent) -> Vec<String> {
    let fields = request.body.split('&').filter(|field| !field.starts_with("RoleSessionName="));
    fields.map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn the_object_of_a_check_is_sent_like_a_delivery() {
    let key = "arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let owner = "333333333333";
    let text = |text: &str| Some(text.to_owned());
    let config = config(Draft {
        encryption: text("sse-kms"),
        kms_key_arn: text(key),
        bucket_owner: text(owner),
        ..Draft::default()
    });
    let delivered = Aws::new().on("PutObject", [Reply::ok("")]);
    let mut delivery = upload(&open(&delivered, &config).await.unwrap(), &config);
    delivery.write(BODY.to_vec()).await.unwrap();
    delivery.finish(&sha256(BODY)).await.result.unwrap();

    let checked = multipart::s3().on("PutObject", [Reply::ok("")]);
    probes(&checked).deliver(&config, check_spec(&config), BODY.to_vec(), in_20_seconds()).await.unwrap();
    assert_eq!(
        fields_without_session_name(&checked.sent("AssumeRole")[0]),
        fields_without_session_name(&delivered.sent("AssumeRole")[0]),
        "the same rights"
    );
    let (check, delivery) = (checked.sent("PutObject").remove(0), delivered.sent("PutObject").remove(0));
    assert!(
        check.line.contains("/security/audit-logs/tenant%3Dacme/_audit-log-export/connectivity-check?"),
        "{}",
        check.line
    );
    assert_eq!(check.header("x-amz-expected-bucket-owner"), Some(owner));
    assert_eq!(check.header("x-amz-server-side-encryption-aws-kms-key-id"), Some(key));
    let labels = |sent: &Sent| {
        let mut headers = sent.headers.clone();
        // A check has no window, only an instant, and is no export.
        headers.insert("x-amz-meta-window-to".to_owned(), "later".to_owned());
        headers.insert("content-type".to_owned(), "another".to_owned());
        Sent { headers, ..sent.clone() }
    };
    assert_eq!(labels(&check).chosen_headers(), labels(&delivery).chosen_headers());
}

#[tokio::test(start_paused = true)]
async fn the_multipart_upload_of_a_check_is_sent_like_a_delivery_and_aborted() {
    let key = "arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let config = config(Draft { kms_key_arn: Some(key.to_owned()), ..Draft::default() });
    let checked = multipart::s3().on("PutObject", [Reply::ok("")]);
    probes(&checked).deliver(&config, check_spec(&config), BODY.to_vec(), in_20_seconds()).await.unwrap();
    assert_eq!(checked.operations(), ["PutObject", "CreateMultipartUpload", "UploadPart", "AbortMultipartUpload"]);
    assert_eq!(checked.sent("AssumeRole").len(), 1, "one session for both");

    let delivered = multipart::s3();
    let mut delivery = upload(&open(&delivered, &config).await.unwrap(), &config);
    delivery.write(multipart::two_parts()).await.unwrap();
    delivery.finish(&sha256(&multipart::two_parts())).await.result.unwrap();
    for operation in ["CreateMultipartUpload", "UploadPart"] {
        let (check, delivery) = (checked.sent(operation).remove(0), delivered.sent(operation).remove(0));
        let names = |sent: &Sent| sent.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&check), names(&delivery), "{operation}");
    }
    for operation in checked.operations() {
        let sent = checked.sent(&operation).remove(0);
        assert!(sent.line.contains("/tenant%3Dacme/_audit-log-export/connectivity-check?"), "{}", sent.line);
        assert_eq!(sent.header("x-amz-expected-bucket-owner"), Some("222222222222"), "{operation}");
    }
    assert!(checked.sent("AbortMultipartUpload")[0].line.contains("uploadId=upload-1"));
}

#[tokio::test(start_paused = true)]
async fn a_check_says_which_request_of_a_multipart_upload_failed() {
    let denied = || Reply::s3(403, "AccessDenied", "Access Denied");
    let by_scp =
        || Reply::s3(403, "AccessDenied", "x is not authorized with an explicit deny in a service control policy");
    let no_decrypt = || Reply::s3(403, "AccessDenied", "User: x is not authorized to perform: kms:Decrypt on: y");
    for (operation, reply, code, words) in [
        ("CreateMultipartUpload", denied(), Code::AccessDenied, "could not be created: S3 refused s3:PutObject"),
        ("UploadPart", no_decrypt(), Code::KmsDenied, "could not be stored: KMS refused"),
        (
            "AbortMultipartUpload",
            denied(),
            Code::AccessDenied,
            "could not be aborted: S3 refused s3:AbortMultipartUpload",
        ),
        (
            "AbortMultipartUpload",
            by_scp(),
            Code::AccessDenied,
            "/connectivity-check: a service control policy (SCP) of the role's organization doesn't allow it.",
        ),
        ("AbortMultipartUpload", Reply::Lost, Code::Unavailable, "could not be aborted: AWS did not answer"),
    ] {
        let aws = multipart::s3().on("PutObject", [Reply::ok("")]).on(operation, [reply]);
        let config = config(Draft::default());
        let failure =
            probes(&aws).deliver(&config, check_spec(&config), BODY.to_vec(), in_20_seconds()).await.unwrap_err();
        let DeliveryFailure::Multipart(failure) = failure else { panic!("{failure:?}") };
        assert_no_secrets(&failure);
        assert_eq!(failure.code, code, "{operation}");
        assert!(failure.message.contains(words), "{}", failure.message);
        let is_left = failure.message.contains("until a lifecycle rule aborts the upload");
        assert_eq!(is_left, operation == "AbortMultipartUpload", "{}", failure.message);
        let aborts = aws.sent("AbortMultipartUpload").len();
        assert_eq!(aborts > 0, operation != "CreateMultipartUpload", "what is created is aborted");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_that_fails_and_can_not_be_aborted_is_reported_as_left_behind() {
    let denied = || Reply::s3(403, "AccessDenied", "Access Denied");
    let s3 = multipart::s3().on("PutObject", [Reply::ok("")]);
    let aws = s3.on("UploadPart", [denied()]).on("AbortMultipartUpload", [denied()]);
    let config = config(Draft::default());
    let failure = probes(&aws).deliver(&config, check_spec(&config), BODY.to_vec(), in_20_seconds()).await.unwrap_err();
    let DeliveryFailure::Multipart(failure) = failure else { panic!("{failure:?}") };
    for words in ["could not be stored: S3 refused s3:PutObject", "could not be aborted: S3 refused"] {
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_check_that_is_not_answered_in_time_still_aborts_its_multipart_upload() {
    for (silent, words, aborts, seconds) in [
        (&["PutObject"][..], None, 0, 17),
        (&["CreateMultipartUpload"], Some("could not be created: AWS did not answer in time."), 0, 17),
        (&["UploadPart"], Some("could not be stored: AWS did not answer in time."), 1, 17),
        (&["UploadPart", "AbortMultipartUpload"], Some("until a lifecycle rule aborts the upload"), 1, 20),
    ] {
        let s3 = multipart::s3().on("PutObject", [Reply::ok("")]);
        let aws = silent.iter().fold(s3, |aws, operation| aws.on(operation, [Reply::Silence]));
        let config = config(Draft::default());
        let began = Instant::now();
        let delivered = probes(&aws).deliver(&config, check_spec(&config), BODY.to_vec(), in_20_seconds()).await;
        assert_eq!(
            (began.elapsed().as_secs(), aws.sent("AbortMultipartUpload").len()),
            (seconds, aborts),
            "{silent:?}"
        );
        // Once the object is stored, the failure says so.
        let (is_stored, failure) = match delivered.unwrap_err() {
            DeliveryFailure::Put(failure) => (false, failure),
            DeliveryFailure::Multipart(failure) => (true, failure),
        };
        assert_eq!((is_stored, failure.code), (words.is_some(), Code::Unavailable), "{silent:?}");
        assert!(words.is_none_or(|words| failure.message.contains(words)), "{}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_check_has_the_failure_of_a_refused_delivery() {
    for (reply, code) in [
        (Reply::s3(301, "PermanentRedirect", "").with_header("x-amz-bucket-region", "us-east-2"), Code::WrongRegion),
        (Reply::s3(404, "NoSuchBucket", ""), Code::BucketNotFound),
        (Reply::s3(403, "AccessDenied", "Access Denied"), Code::BucketOwnerMismatch),
    ] {
        let no_such_upload = |sent: &Sent, _: usize| match sent.header("x-amz-expected-bucket-owner") {
            Some(_) => Reply::s3(403, "AccessDenied", "Access Denied"),
            None => Reply::s3(404, "NoSuchUpload", ""),
        };
        let aws = Aws::new().on("PutObject", [reply]).answering("AbortMultipartUpload", no_such_upload);
        let config = config(Draft::default());
        let failure =
            probes(&aws).deliver(&config, check_spec(&config), Vec::new(), in_20_seconds()).await.unwrap_err();
        let DeliveryFailure::Put(failure) = failure else { panic!("{failure:?}") };
        assert_no_secrets(&failure);
        assert_eq!(failure.code, code);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rights_of_the_role_are_tried_without_a_session_policy_on_one_key_with_the_owner() {
    let aws = ["GetObject", "ListObjectsV2", "PutObject", "DeleteObject"]
        .into_iter()
        .fold(Aws::new(), |aws, operation| aws.on(operation, [Reply::s3(403, "AccessDenied", "Access Denied")]));
    let reach = probes(&aws).reach(&config(Draft::default())).await.unwrap();
    for action in [Action::Get, Action::List, Action::Put, Action::Delete] {
        assert_eq!(reach.attempt(action, KEY).await, Access::Refused, "{action}");
    }
    let request = aws.sent("AssumeRole").remove(0).body;
    assert!(!request.contains("Policy=") && request.contains("ExternalId=3f6c1d2e-external"), "{request}");
    // One request each: refusals are not diagnosed.
    assert_eq!(aws.operations(), ["GetObject", "ListObjectsV2", "PutObject", "DeleteObject"]);
    for operation in aws.operations() {
        let sent = aws.sent(&operation).remove(0);
        assert_eq!(sent.header("x-amz-expected-bucket-owner"), Some("222222222222"), "{operation}");
        assert!(sent.line.contains("connectivity-check"), "{}", sent.line);
    }
    let list = aws.sent("ListObjectsV2").remove(0).line;
    assert!(list.contains("max-keys=1") && list.contains("prefix=security"), "{list}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_allowed_refused_or_unclear() {
    let kms = "User: x is not authorized to perform: kms:Decrypt on resource: y";
    for (reply, access) in [
        (Reply::ok(""), Access::Allowed),
        (Reply::s3(403, "AccessDenied", "Access Denied"), Access::Refused),
        (Reply::s3(403, "AccessDenied", kms), Access::Allowed),
        (Reply::s3(503, "SlowDown", ""), Access::Unclear(Code::Throttled)),
        (Reply::s3(500, "InternalError", ""), Access::Unclear(Code::Unavailable)),
        (Reply::s3(404, "NoSuchKey", ""), Access::Unclear(Code::Rejected)),
        (Reply::Lost, Access::Unclear(Code::Unavailable)),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("GetObject", [reply]);
        let reach = probes(&aws).reach(&config(Draft::default())).await.unwrap();
        assert_eq!(reach.attempt(Action::Get, KEY).await, access, "{case}");
    }
}
