//! Tests of S3's refusals: which failure each is, and who must act.

use audit_log_core::failure::Party;

use super::*;
use crate::tests::stub::Sent;

fn access_denied() -> Reply {
    Reply::s3(403, "AccessDenied", "Access Denied")
}

fn no_such_upload() -> Reply {
    Reply::s3(404, "NoSuchUpload", "The specified multipart upload does not exist.")
}

/// S3 that refuses the object, and answers the diagnosis by whether the request has the owner.
fn refusing(with_owner: Reply, without_owner: Reply) -> Aws {
    let diagnosis = move |sent: &Sent, _| {
        let has_owner = sent.header("x-amz-expected-bucket-owner").is_some();
        if has_owner { with_owner.clone() } else { without_owner.clone() }
    };
    Aws::new().on("PutObject", [access_denied()]).answering("AbortMultipartUpload", diagnosis)
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_another_account_has_another_failure_than_missing_rights() {
    let aws = refusing(access_denied(), no_such_upload());
    let failure = store(&aws, BODY).await.unwrap_err();
    assert_eq!((failure.code, failure.party), (Code::BucketOwnerMismatch, Party::Customer));
    assert_eq!(
        failure.message,
        "The bucket acme-audit does not belong to the account 222222222222; nothing was written to it."
    );
    // The only request without the owner aborts an upload that doesn't exist.
    assert_eq!(aws.operations(), ["PutObject", "AbortMultipartUpload", "AbortMultipartUpload"]);
    assert!(aws.sent("AbortMultipartUpload").iter().all(|probe| probe.line.contains("uploadId=no-such-upload")));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_not_clearly_about_the_owner_is_about_rights() {
    let unclear = || Reply::s3(404, "NoSuchBucket", "The specified bucket does not exist");
    for (with_owner, without_owner, probes) in [
        // Both are refused: the role lacks rights, whether or not the owner is right.
        (access_denied(), access_denied(), 2),
        // Aborting is allowed, so the owner is right and only the put is refused.
        (no_such_upload(), no_such_upload(), 1),
        (no_such_upload(), access_denied(), 1),
        // One of them has no clear answer.
        (unclear(), no_such_upload(), 1),
        (access_denied(), unclear(), 2),
    ] {
        let case = format!("{with_owner:?} {without_owner:?}");
        let aws = refusing(with_owner, without_owner);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::AccessDenied, Party::Customer), "{case}");
        assert_eq!(aws.sent("AbortMultipartUpload").len(), probes, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_object_for_a_bucket_of_another_account_has_that_failure_too() {
    let aws = refusing(access_denied(), no_such_upload()).on("CreateMultipartUpload", [access_denied()]);
    assert_eq!(failure_code(&aws, &vec![b'-'; crate::buckets::PART_BYTES + 1]).await, Some(Code::BucketOwnerMismatch));
}

#[tokio::test(start_paused = true)]
async fn the_message_names_the_bucket_and_its_region() {
    let redirect = || {
        Reply::s3(
            301,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the endpoint.",
        )
    };
    let malformed = || {
        let message = "The authorization header is malformed; the region 'eu-west-1' is wrong; expecting 'us-east-2'";
        Reply::s3(400, "AuthorizationHeaderMalformed", message)
    };
    let region = |reply: Reply| reply.with_header("x-amz-bucket-region", "us-east-2");
    for (reply, location) in [
        (region(redirect()), "is in us-east-2"),
        (redirect(), "is in another region"),
        (region(Reply::Response { status: 301, headers: Vec::new(), body: String::new() }), "is in us-east-2"),
        (region(Reply::s3(307, "TemporaryRedirect", "")), "is in us-east-2"),
        (region(malformed()), "is in us-east-2"),
        (malformed(), "is in another region"),
    ] {
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, BODY).await.unwrap_err();
        let message = format!("The bucket acme-audit {location}, but the settings say eu-west-1.");
        assert_eq!(failure, Failure::new(Code::WrongRegion, message));
        assert_eq!(aws.operations(), ["PutObject"], "nothing is sent to another region");
    }
}

#[tokio::test(start_paused = true)]
async fn a_redirection_that_names_no_other_region_is_not_about_the_settings() {
    let bare = |status| Reply::Response { status, headers: Vec::new(), body: String::new() };
    let same = |reply: Reply| reply.with_header("x-amz-bucket-region", "eu-west-1");
    for (reply, code) in [
        (Reply::s3(307, "TemporaryRedirect", ""), Code::Unavailable),
        (same(Reply::s3(307, "TemporaryRedirect", "")), Code::Unavailable),
        (Reply::s3(307, "Redirect", ""), Code::Unavailable),
        (bare(307), Code::Unavailable),
        (same(Reply::s3(301, "PermanentRedirect", "")), Code::Rejected),
        (same(bare(301)), Code::Rejected),
        (same(Reply::s3(400, "AuthorizationHeaderMalformed", "")), Code::Rejected),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.message.contains("eu-west-1")), (code, false), "{case}: {failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_has_another_failure_than_a_refused_bucket() {
    let denied = "User: arn:aws:sts::222222222222:assumed-role/audit/acme is not authorized to perform: kms:GenerateDataKey \
                  on resource: arn:aws:kms:eu-west-1:222222222222:key/1 because no identity-based policy allows it";
    for reply in [
        Reply::s3(403, "AccessDenied", denied),
        Reply::s3(400, "KMS.DisabledException", "arn:aws:kms:eu-west-1:222222222222:key/1 is disabled."),
        Reply::s3(400, "KMS.NotFoundException", "Key 'arn:aws:kms:eu-west-1:222222222222:key/1' does not exist"),
        Reply::s3(400, "KMS.KMSInvalidStateException", "The key is pending deletion."),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::KmsDenied, Party::Customer), "{case}");
        assert_eq!(aws.operations(), ["PutObject"], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn expired_credentials_are_the_platforms_failure() {
    for reply in [
        Reply::s3(400, "ExpiredToken", "The provided token has expired."),
        Reply::s3(400, "TokenRefreshRequired", "The provided token must be refreshed."),
    ] {
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::CredentialsExpired, Party::Platform));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_error_is_named_by_its_code_alone() {
    for (code, named) in
        [("SomethingNew", "SomethingNew"), ("&lt;script&gt;", "an unknown code"), ("", "an unknown code")]
    {
        let aws = Aws::new().on("PutObject", [Reply::s3(400, code, "tenant-token")]);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::Rejected, Party::Platform));
        assert!(failure.message.starts_with(&format!("AWS answered {named} while ")), "{}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn fresh_credentials_that_s3_does_not_know_are_the_customers_failure() {
    for reply in [
        Reply::s3(403, "InvalidToken", "The provided token is malformed or otherwise invalid."),
        Reply::s3(400, "InvalidToken", "The provided token is malformed or otherwise invalid."),
        Reply::s3(403, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records."),
    ] {
        let case = format!("{reply:?}");
        let aws = Aws::new().on("PutObject", [reply]);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::RegionNotEnabled, Party::Customer), "{case}");
        assert!(failure.message.starts_with("S3 in eu-west-1 did not accept the credentials"), "{}", failure.message);
        assert_eq!(aws.operations(), ["PutObject"], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_kind_of_policy_that_aws_names() {
    let user = "User: arn:aws:sts::222222222222:assumed-role/audit/acme is not authorized to perform:";
    let put = format!("{user} s3:PutObject on resource: \"arn:aws:s3:::acme-audit/because no session policy/x.json\"");
    let key = format!("{user} kms:GenerateDataKey on resource: arn:aws:kms:eu-west-1:222222222222:key/1");
    for (message, code, named) in [
        (format!("{put} with an explicit deny in a service control policy"), Code::AccessDenied, "(SCP)"),
        (format!("{put} with an explicit deny in a resource control policy"), Code::AccessDenied, "(RCP)"),
        (
            format!("{put} because no permissions boundary allows the s3:PutObject action"),
            Code::AccessDenied,
            "boundary",
        ),
        (format!("{put} because no identity-based policy allows the s3:PutObject action"), Code::AccessDenied, "own"),
        (format!("{put} with an explicit deny in a resource-based policy"), Code::AccessDenied, "the bucket policy"),
        (format!("{put} because no VPC endpoint policy allows it"), Code::PlatformDenied, "platform's VPC endpoint"),
        (format!("{key} because no resource-based policy allows it"), Code::KmsDenied, "the key's policy"),
        (
            format!("{put} because no session policy allows it"),
            Code::PlatformDenied,
            "The session policy that the exporter",
        ),
        (format!("{key} with an explicit deny in a service control policy"), Code::KmsDenied, "(SCP)"),
    ] {
        let aws =
            refusing(no_such_upload(), no_such_upload()).on("PutObject", [Reply::s3(403, "AccessDenied", &message)]);
        let failure = store(&aws, BODY).await.unwrap_err();
        assert_eq!(failure.code, code, "{message}");
        assert!(failure.message.contains(named), "{message}: {}", failure.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_the_session_policy_refuses_is_the_customers_failure_only_if_the_settings_name_the_buckets_key() {
    let message =
        "User: x is not authorized to perform: kms:GenerateDataKey on resource: y because no session policy allows it";
    let key = || Some("arn:aws:kms:eu-west-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab".to_owned());
    for (encryption, kms_key_arn, code) in [
        ("bucket", key(), Code::KmsDenied),
        ("bucket", None, Code::PlatformDenied),
        ("sse-kms", key(), Code::PlatformDenied),
    ] {
        let aws = Aws::new().on("PutObject", [Reply::s3(403, "AccessDenied", message)]);
        let config = config(Draft { encryption: Some(encryption.to_owned()), kms_key_arn, ..Draft::default() });
        let bucket = open(&aws, &config).await.unwrap();
        let failure = upload(&bucket, &config).finish(&sha256(&[])).await.result.unwrap_err();
        assert_eq!(failure.code, code, "{encryption}: {failure}");
        let names_settings = failure.message.contains("another key than that of the settings");
        assert_eq!(names_settings, code == Code::KmsDenied, "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_role_accounts_quota_of_kms_is_the_customers_failure() {
    for reply in [
        Reply::s3(400, "KMS.ThrottlingException", "You have exceeded the rate at which you may call KMS."),
        Reply::s3(503, "SlowDown", "Please reduce your request rate for operations involving AWS KMS."),
    ] {
        let failure = store(&Aws::new().on("PutObject", [reply]), BODY).await.unwrap_err();
        assert_eq!((failure.code, failure.party), (Code::KmsThrottled, Party::Customer));
        assert!(
            failure.message.contains("the role's account has reached its request quota of KMS in eu-west-1"),
            "{failure}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_s3_does_not_know_is_tried_again_with_its_window() {
    let created = "<InitiateMultipartUploadResult><UploadId>upload-1</UploadId></InitiateMultipartUploadResult>";
    let aws = Aws::new()
        .on("CreateMultipartUpload", [Reply::ok(created)])
        .on("UploadPart", [no_such_upload()])
        .on("AbortMultipartUpload", [no_such_upload()]);
    let code = failure_code(&aws, &vec![b'-'; crate::buckets::PART_BYTES + 1]).await;
    assert_eq!(code, Some(Code::Unavailable));
}
